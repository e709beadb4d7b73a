"""What policy says of one step of one incident: the case is put together here, the tables decide."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bot.action import Action
from bot.engine.policy import Policy, Severity, reach_size
from bot.engine.steps import Ruling
from bot.model import Before, Effect, Liveness, Machine, Triage, Trust
from bot.signing import GROUPS, WORLD, is_played, is_slack
from bot.store import IncidentRow, Store, iso
from bot.world import Clock

DRILL = "range"  # the World of drills: policy's modes and brake do not hold there, it always acts


def drilled_name(playbook: str) -> str:
    """The setting under which a playbook's last passed drill stands."""
    return f"drilled:{playbook}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rulebook:
    """Policy, the installation's mode and the people it names."""

    policy: Policy
    default_mode: str
    people: frozenset[str]
    store: Store
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)  # posture -> Slack user groups that may answer
    aliases: Mapping[str, str] = field(default_factory=dict)  # slack:U… -> the name that the same person has elsewhere

    def mode(self, row: IncidentRow) -> str:
        """observe, ask or act for this incident. A playbook that no drill proves never acts."""
        if row.world == DRILL:
            return "act"
        mode = self.policy.mode(row.body["playbook"]["id"], row.body["repository"], self.default_mode)
        return "ask" if mode == "act" and not self._drilled(row) else mode

    def _drilled(self, row: IncidentRow) -> bool:
        """Whether a drill was passed here with this very text of the playbook (``playbook check --drill``)."""
        book = row.body["playbook"]
        passed = self.store.setting(drilled_name(book["id"]))
        return bool(passed) and json.loads(passed)["sha256"] == book["sha256"]

    def may(self, person: str, posture: str, said: Mapping[str, Any] | None = None) -> bool:
        """Whether this person may answer where the posture asks for people.

        ``said``: the decision's body. It names the Slack groups that its person was in; it is believed because nobody
        counts a decision of such a person whose attestation does not hold.
        """
        if is_played(person):  # in a drill and nowhere else
            return (said or {}).get(WORLD) == DRILL
        asked = posture if posture in ("one", "two", "person") else "one"
        if any(name in self.people or self.policy.may(name, asked) for name in (person, self.human(person))):
            return True
        named = (said or {}).get(GROUPS, ())
        groups = self.groups.get(posture) or self.groups.get(asked, frozenset())
        return is_slack(person) and isinstance(named, list) and bool(groups & set(named))

    def human(self, person: str) -> str:
        """One name for everybody who is known under several: nobody is two people."""
        return self.aliases.get(person, person)

    def severity(self, triage: Triage) -> Severity:
        """How bad the incident is."""
        if triage.order.repository:
            return Severity(level="low", rule="ordered", reason="Nothing has leaked: somebody has ordered it.")
        axes = {
            "kind": triage.credential.kind, "live": triage.live.value, "exposure": triage.exposure.value,
            "reach": reach_size(None if any(not r.known for r in triage.reach) else len(triage.reach)),
        }  # fmt: skip
        return self.policy.severity(axes)

    def ruling(
        self, row: IncidentRow, triage: Triage, action: Action[Any, Any, Any], before: Before, clock: Clock
    ) -> Ruling:
        """How many people must agree to this step, and why."""
        if action.effect == Effect.READ:
            return Ruling(posture="act", on_silence="hold", after_s=0, rule="reads", reason="it only reads")
        if triage.order.repository and action.effect == Effect.CHANGE:
            why = action.asks or "Nothing has leaked, so there is no hurry, and it changes what others rely on."
            return Ruling(posture="one", on_silence="hold", after_s=0, rule="ordered", reason=why)
        said = self.policy.posture(case(row, triage, action, self.store))
        posture, rule, reason, silence = said.posture, said.rule, said.reason, said.on_silence
        report = row.body["report"]
        if posture == "act" and report.get("asks") and row.world != DRILL:
            posture, rule, reason = "one", report.get("authority", ""), report.get("why", "")
        elif posture == "act" and self.mode(row) == "ask":
            posture, rule, reason = "one", "mode-ask", "this installation asks before every change"
        elif posture == "act" and action.effect == Effect.CONTAIN and self._braked(row, clock):
            brake = self.policy.brake
            posture, rule = "one", "brake"
            # What asks because of the brake must not go on by itself, or the brake would only be a delay.
            silence = "escalate" if silence == "act" else silence
            reason = (
                f"{brake.unattended_cuts} incidents were cut unattended within {brake.within_s} s: "
                "somebody may be using us to cut what works"
            )
        if action.asks and (posture == "act" or silence == "act"):
            # No hurry, and no word of nobody: what it opens stays open.
            posture = "one" if posture == "act" else posture
            rule, reason, silence = "asked-by-the-action", action.asks, "hold"
            return Ruling(posture=posture, on_silence=silence, after_s=0, rule=rule, reason=reason)
        tells = self.policy.escalate if silence == "escalate" else ()
        return Ruling(posture=posture, on_silence=silence, after_s=said.after_s, rule=rule, reason=reason, tells=tells)

    def _braked(self, row: IncidentRow, clock: Clock) -> bool:
        """Whether this incident must ask. Who may cut unattended takes a grant, so that many at once get no more."""
        if row.world == DRILL or self.mode(row) == "observe":
            return False
        now = clock.now()
        since, most = iso(now - timedelta(seconds=self.policy.brake.within_s)), self.policy.brake.unattended_cuts
        return not self.store.grant(f"brake:{row.world}", row.id, at=iso(now), since=since, most=most)


def case(row: IncidentRow, triage: Triage, action: Action[Any, Any, Any], store: Store) -> dict[str, str]:
    """The axes of the posture table for one step."""
    # What watches a stolen token sees the first cut, and a step that kills none, not at all. A person's step goes by
    # the same rule, since it is what the cut waits for.
    kills_first = (action.kills is not None or action.person) and not _has_cut(row, triage, store)
    tried = triage.live == Liveness.LIVE and bool(triage.credential.fingerprint)
    return {
        "source": "drill" if row.world == DRILL else str(row.body["report"].get("trust", Trust.OPERATOR)),
        "possession": "live" if tried else "id-only" if triage.credential.id else "unknown",
        "effect": action.effect.value,
        "undoable": "yes" if action.undo else "no",
        "exposure": triage.exposure.value,
        "kind": triage.credential.kind,
        "machine": (triage.machine if kills_first else Machine.NONE).value,
    }


def _has_cut(row: IncidentRow, triage: Triage, store: Store) -> bool:
    """Whether a token has been cut in this incident. Only asked where it matters: it reads the timeline."""
    if triage.machine is not Machine.EXISTS:
        return False
    events = [event for event in store.events(row.id) if event["body"] is not None]
    kills = {event["step"] for event in events if event["kind"] == "look" and event["body"].get("kills")}
    return any(event["kind"] == "outcome" and event["step"] in kills for event in events)
