"""What policy says of one step of one incident: the case is put together here, the tables decide."""

from __future__ import annotations

from typing import Any

from bot.action import Action
from bot.engine.policy import Policy
from bot.engine.steps import Ruling
from bot.model import Before, Effect, Triage
from bot.store import IncidentRow

DRILL = "range"  # the World of drills: policy's modes do not hold there, it always acts
SIMULATED = " (simulated)"


class Rulebook:
    """Policy, the installation's mode and its responders."""

    def __init__(self, policy: Policy, mode: str, people: frozenset[str]) -> None:
        self._policy, self._mode, self._people = policy, mode, people

    def mode(self, row: IncidentRow) -> str:
        """observe, ask or act for this incident. A playbook that no drill proves never acts."""
        if row.world == DRILL:
            return "act"
        mode = self._policy.mode(row.body["playbook"]["id"], "", self._mode)
        return "ask" if mode == "act" and not row.body["playbook"]["drill"] else mode

    def may(self, person: str, group: str) -> bool:
        """Whether this person belongs to the group. Simulated responders exist in drills only, and are named so."""
        return person in self._people

    def ruling(self, row: IncidentRow, triage: Triage, action: Action[Any, Any, Any], before: Before) -> Ruling:
        """How many people must agree to this step, and why."""
        if action.effect == Effect.READ:
            return Ruling(posture="act", on_silence="hold", after_s=0, rule="reads", reason="it only reads")
        verdict = self._policy.posture(case(row, triage, action))
        posture, rule, reason = verdict.posture, verdict.rule, verdict.reason
        if posture == "act" and self.mode(row) == "ask":
            posture, rule, reason = "one", "mode: ask", "this installation asks before every change"
        return Ruling(posture=posture, on_silence=verdict.on_silence, after_s=verdict.after_s, rule=rule, reason=reason)


def case(row: IncidentRow, triage: Triage, action: Action[Any, Any, Any]) -> dict[str, str]:
    """The axes of the posture table for one step."""
    return {
        "source": "drill" if row.world == DRILL else "operator",
        "possession": "live" if triage.live == "live" and triage.credential.fingerprint else "id-only" if triage.credential.id else "unknown",
        "effect": action.effect.value,
        "undoable": "yes" if action.undo else "no",
        "exposure": triage.exposure.value,
        "kind": triage.credential.kind,
    }  # fmt: skip
