"""One credential at one place -> an incident, a sighting on one that stands, or why there is neither.

The same credential once: every name that a case has is looked up. An open incident gets a sighting, once a place. A
closed one is taken up by a new incident, unless the scanner has only said again what it had said. A report that is
worth more than the one which opened the standing incident opens its own, and the standing one goes into it: otherwise
whoever is quick with an unsigned report could keep a signed one from acting.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bot.engine.decisions import HOUSE
from bot.engine.policy import Authority, Storm
from bot.intake.storm import Guard
from bot.model import Credential, Exposure, Machine, Report, Trust
from bot.playbook import Playbook, match
from bot.store import IncidentRow, Store, canonical, when
from bot.store_intake import Known
from bot.timeline import Event, Timeline
from bot.vault import Vault
from bot.world import World

RANK = {trust: k for k, trust in enumerate(Trust)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One credential at one place, as it stands in a delivery, scrubbed. ``url``: a run or an image to read."""

    credential: Credential
    names: tuple[str, ...] = ()
    place: str = ""
    where: str = ""
    line: int = 0
    repository: str = ""
    commit: str = ""
    link: str = ""
    url: str = ""
    exposure: Exposure = Exposure.UNKNOWN
    called: str = ""
    validity: str = ""
    note: str = ""  # what could not be found out about it


@dataclass(slots=True)
class Ends:
    """What became of the cases of one delivery."""

    opened: list[str] = field(default_factory=list)  # to be begun
    seen: list[str] = field(default_factory=list)  # incidents that have a sighting more
    held: list[str] = field(default_factory=list)
    none: list[str] = field(default_factory=list)
    written: list[Future[Event]] = field(default_factory=list)

    @property
    def incidents(self) -> list[str]:
        """Each incident once."""
        return list(dict.fromkeys([*self.opened, *self.seen]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Opens incidents."""

    store: Store
    vault: Vault
    timeline: Timeline
    playbooks: Mapping[str, Playbook]
    worlds: Mapping[str, Callable[[str], World]]
    authority: Callable[[Mapping[str, str]], Authority]
    storm: Storm
    boundary: Callable[[str], None]
    hands: Callable[[str, Credential], str]  # (World, credential) -> whose hands reach the place that it is of

    @property
    def known(self) -> Known:
        """Names of credentials."""
        return Known(self.store)

    def take(self, row: Mapping[str, Any], case: Case, ends: Ends) -> None:
        """Do what there is to do for one case; doing it again after a crash does it once."""
        playbook = match(self.playbooks, case.credential, self.hands(row["body"]["world"], case.credential))
        if playbook is None:
            ends.none.append(f"no playbook knows {case.called or case.credential.kind} ({case.credential.kind})")
            return
        said = self.authority(self._axes(row, case))
        if said.starts == "hold":
            ends.held.append(f"{said.rule}: {said.reason}")
            return
        found = self._standing(row, case)
        own = self._id(row, case)
        standing = next((one for one in found if one.id == own), None) or next(iter(found), None)
        if standing is None and (storm := self._storm(row, case, ends)) is not None:
            said = storm
        if said.starts == "hold":
            ends.held.append(f"{said.rule}: {said.reason}")
        elif standing is None:
            self._open(row, case, playbook, said, ends)
        elif standing.id == own:
            if standing.body["report"].get("place", "") != case.place:
                self._sight(row, case, standing, ends)
            elif standing.status == "open":  # opened before a crash
                if standing.body["report"].get("instead"):
                    self._replace(standing, row["landed_at"], ends)
                ends.opened.append(own)
        elif standing.status == "open":
            self._join(row, case, playbook, said, standing, ends)
        elif self._seen_there(standing, case):
            ends.seen.append(standing.id)
        else:
            self._again(row, case, playbook, said, standing, ends)

    def _storm(self, row: Mapping[str, Any], case: Case, ends: Ends) -> Authority | None:
        """What an alert may start while many come at once, which the first incident of them tells, once; else None."""
        exposed = case.exposure is Exposure.PUBLIC and case.validity == "live"
        held = Guard(self.store, self.storm).look(row, case.names, case.repository, exposed=exposed)
        if held is None:
            return None
        ends.written.append(self.timeline.append(held.head, "incident", "storm", dict(held.told), at=row["landed_at"]))
        return held.said

    def _axes(self, row: Mapping[str, Any], case: Case) -> dict[str, str]:
        body = row["body"]
        return {
            "source": body.get("trust", Trust.OPERATOR), "by": row["source"], "exposure": case.exposure.value,
            "kind": case.credential.kind, "repository": case.repository,
        }  # fmt: skip

    @staticmethod
    def _id(row: Mapping[str, Any], case: Case) -> str:
        drawn = hashlib.sha256((row["id"] + case.credential.key).encode()).hexdigest()[:8]
        return f"inc-{row['landed_at'][:10]}-{drawn}"

    def _standing(self, row: Mapping[str, Any], case: Case) -> list[IncidentRow]:
        """Incidents that know one of the case's names: open ones first, then the newest."""
        world = row["body"]["world"]
        known = self.known.find(world, {case.credential.key, *case.names})
        found = [self.store.incident(name) for name in sorted(set(known.values()))]
        found.sort(key=lambda one: (one.opened_at, one.id), reverse=True)
        return sorted(found, key=lambda one: one.status != "open")

    # opening --------------------------------------------------------------------------------------------------------

    def _open(
        self, row: Mapping[str, Any], case: Case, playbook: Playbook, said: Authority, ends: Ends, *, again: str = "",
        instead: str = "",
    ) -> str:  # fmt: skip
        """The incident: a new one, or the one that somebody else has opened at this very moment."""
        body, incident = row["body"], self._id(row, case)
        report = Report(
            source=row["source"], by=body["by"], text=_told(body["text"], case), url=case.url,
            credential=case.credential, exposure=case.exposure, machine=Machine(body.get("machine", "unknown")),
            machine_name=body.get("machine_name", ""), trust=Trust(body.get("trust", Trust.OPERATOR)),
            authority=said.rule, why=said.reason, asks=said.starts == "ask", place=case.place, again=again,
            instead=instead,
        )  # fmt: skip
        values = {
            "id": incident, "opened_at": row["landed_at"], "world": body["world"], "status": "open",
            "title": playbook.title, "credential_key": case.credential.key,
            "body": canonical({
                "report": asdict(report), "inbox": row["id"], "repository": case.repository,
                "playbook": bound(playbook),
            }),
        }  # fmt: skip
        world = self.worlds[body["world"]]
        held = self.vault.value(row["id"], case.credential.key)
        labels = [f"{what}:{case.credential.key}" for what in ("session-token", "around")]
        beside = {label: self.vault.open(f"vault:{row['id']}:{label}") for label in labels}
        at = world(incident).now()
        self.boundary("before inbox/incident/1")
        with self.store.begin() as c:
            if instead:
                standing, new = incident, self.store.add_incident(c, values)
            else:
                standing, new = self.store.open_incident(c, values)
            self.known.move(c, body["world"], {case.credential.key, *case.names}, standing)
            key = case.credential.key
            if new and held is not None:
                self.vault.seal(c, incident, f"leaked:{key}", held.reveal(), key, at)
            for label, text in beside.items():
                if new and text is not None:
                    self.vault.seal(c, incident, label, text.reveal(), "", at)
        self.boundary("after inbox/incident/1")
        if standing == incident:
            ends.opened.append(incident)
        else:
            self._sight(row, case, self.store.incident(standing), ends)
        return standing

    def _again(
        self, row: Mapping[str, Any], case: Case, playbook: Playbook, said: Authority, closed: IncidentRow, ends: Ends
    ) -> None:  # fmt: skip
        """Seen at a new place after it was closed: what was proven may no longer hold, so all is looked at anew."""
        incident = self._open(row, case, playbook, said, ends, again=closed.id)
        body = {"incident": incident, "where": _place(case), "source": row["source"], "by": row["body"]["by"]}
        step = f"sighting:{case.place or row['id']}"
        ends.written.append(self.timeline.append(closed.id, step, "seen-again", body, at=row["landed_at"]))

    def _seen_there(self, closed: IncidentRow, case: Case) -> bool:
        """Whether the closed incident knew of this very place already."""
        if not case.place:
            return False
        if closed.body["report"].get("place", "") == case.place:
            return True
        steps = {event["step"] for event in self.store.events(closed.id) if event["kind"] in ("sighting", "seen-again")}
        return f"sighting:{case.place}" in steps

    # joining --------------------------------------------------------------------------------------------------------

    def _join(
        self, row: Mapping[str, Any], case: Case, playbook: Playbook, said: Authority, standing: IncidentRow,
        ends: Ends,
    ) -> None:  # fmt: skip
        worth = RANK[Trust(row["body"].get("trust", Trust.OPERATOR))]
        before = RANK[Trust(standing.body["report"].get("trust", Trust.OPERATOR))]
        if worth > before and said.starts == "act" and not standing.body["report"].get("beside"):
            case, said = self._with_run(row, case, said, standing)
            incident = self._open(row, case, playbook, said, ends, instead=standing.id)
            self._replace(self.store.incident(incident), row["landed_at"], ends)
            return
        self._sight(row, case, standing, ends)

    def _with_run(
        self, row: Mapping[str, Any], case: Case, said: Authority, standing: IncidentRow
    ) -> tuple[Case, Authority]:
        """The case with the run that the standing incident knows, where it names none itself and may act there too.

        Who reported that incident is not believed in this: an alert's run is kept only where the run itself was read
        and holds the credential (``bot.intake.cases``).
        """
        url = standing.body["report"]["url"]
        if case.url or not url:
            return case, said
        fuller = replace(case, url=url, repository=case.repository or standing.body.get("repository", ""))
        there = self.authority(self._axes(row, fuller))
        return (fuller, there) if there.starts == "act" else (case, said)

    def _replace(self, incident: IncidentRow, at: str, ends: Ends) -> None:
        """Let the incident that this one was opened instead of go into it."""
        why = "a report that is worth more has opened an incident of its own for the same credential"
        one = self.store.incident(incident.body["report"]["instead"])
        self.merge(one, incident, by=HOUSE, reason=why, at=at, ends=ends)

    def _sight(self, row: Mapping[str, Any], case: Case, standing: IncidentRow, ends: Ends) -> None:
        if case.place and standing.body["report"].get("place", "") == case.place:
            ends.seen.append(standing.id)  # what it was opened by, said again
            return
        body = {
            "by": row["body"]["by"], "source": row["source"], "url": case.url or case.link,
            "text": _told(row["body"]["text"], case), "where": _place(case), "exposure": case.exposure.value,
            "trust": row["body"].get("trust", Trust.OPERATOR),
        }  # fmt: skip
        value = self.vault.value(row["id"], case.credential.key)
        key = standing.credential_key
        with self.store.begin() as c:
            self.known.add(c, row["body"]["world"], {case.credential.key, *case.names}, standing.id)
            if value is not None and self.vault.value(standing.id, key) is None:
                self.vault.seal(c, standing.id, f"leaked:{key}", value.reveal(), key, when(row["landed_at"]))
        step = f"sighting:{case.place or row['id']}"
        ends.written.append(self.timeline.append(standing.id, step, "sighting", body, at=row["landed_at"]))
        ends.seen.append(standing.id)

    def merge(self, one: IncidentRow, into: IncidentRow, *, by: str, reason: str, at: str, ends: Ends) -> None:
        """Move what was seen, every name and the value from one incident into another. Steps are dropped by the engine.

        The decision that drops them is a row of its own, which whoever calls this has landed (``bulkhead``: lands it).
        """
        report = one.body["report"]
        seen = [(e["step"], e["body"]) for e in self.store.events(one.id) if e["kind"] == "sighting" and e["body"]]
        first = {name: report.get(name, "") for name in ("by", "source", "url", "text", "exposure", "trust")}
        seen.insert(0, (f"sighting:{report.get('place') or one.body['inbox']}", first))
        for step, body in seen:
            ends.written.append(self.timeline.append(into.id, step, "sighting", {**body, "from": one.id}, at=at))
        value = self.vault.value(one.id, one.credential_key)
        with self.store.begin() as c:
            self.known.move(c, one.world, self.known.of(one.world, one.id), into.id)
            if value is not None and self.vault.value(into.id, into.credential_key) is None:
                key = into.credential_key
                self.vault.seal(c, into.id, f"leaked:{key}", value.reveal(), key, when(at))
        told = {"into": into.id, "by": by, "reason": reason}
        ends.written.append(self.timeline.append(one.id, "incident", "merged", told, at=at))
        if by == HOUSE:
            body = {"into": into.id, "reason": reason}
            self.store.add_decision({
                "incident": one.id, "step": "incident", "kind": "merge", "by": by, "at": at, "plan_hash": "",
                "body": body,
            })  # fmt: skip


def bound(playbook: Playbook) -> dict[str, Any]:
    """A playbook as an incident keeps it: its text too, so that a running incident never changes."""
    return {name: getattr(playbook, name) for name in ("id", "sha256", "text", "source", "drill")}


def _place(case: Case) -> str:
    where = f"{case.where}, line {case.line}" if case.where and case.line else case.where
    return f"{where} of {case.repository}" if where and case.repository else where or case.repository or case.link


def _told(text: str, case: Case) -> str:
    """What was said, with the place of this case and what is not known of it."""
    more = [part for part in (_place(case) if case.place else "", case.link if case.place else "", case.note) if part]
    return "\n".join([text, *more])[:4000]
