"""Land, acknowledge, work.

``land`` takes the secret out at the border, seals it and writes the scrubbed report, in one transaction. ``work``
turns a landed report into incidents: one a credential; a credential that has an open incident is sighted there.
A crash between the two repeats ``work``, whose ids are drawn from the delivery, so nothing is opened twice.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from bot.action import Action
from bot.errors import InputError
from bot.images import IMAGE_REF
from bot.model import Credential, Exposure, Machine, Report, Triage
from bot.playbook import Playbook, match
from bot.redact import Scrubber
from bot.store import IncidentRow, Store, canonical, iso
from bot.timeline import Timeline
from bot.triage import find_in_image, find_in_run
from bot.triage.identify import Found, Recognizer
from bot.vault import Vault
from bot.world import World

RUN_URL = re.compile(r"https?://[^/\s]+/([\w.-]+/[\w.-]+)/actions/runs/(\d+)")


def _bound(playbook: Playbook) -> dict[str, Any]:
    """A playbook as an incident keeps it: its text too, so that a running incident never changes."""
    return {name: getattr(playbook, name) for name in ("id", "sha256", "text", "source", "drill")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """What the reporter is told at once. ``new`` is False when this very report was here already."""

    id: str
    new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """Where every report lands."""

    store: Store
    vault: Vault
    timeline: Timeline
    recognizer: Recognizer
    playbooks: Mapping[str, Playbook]
    catalogue: Mapping[str, Action[Any, Any, Any]]
    worlds: Mapping[str, Callable[[str], World]]
    boundary: Callable[[str], None] = lambda _name: (
        None
    )  # called around every durable write; tests kill the process there

    def land(
        self, *, source: str, world: str, by: str, text: str, at: datetime, delivery: str = "",
        exposure: Exposure = Exposure.UNKNOWN, machine: Machine = Machine.UNKNOWN, machine_name: str = "",
    ) -> Landed:  # fmt: skip
        """Land one report: an address of a run, an identifier, or a text that holds a secret. Nothing is asked here.

        Raises InputError when it holds nothing that could be worked on.
        """
        found = [f for f in self.recognizer.find(text) if f.kind != "generic"]
        where = RUN_URL.search(text) or IMAGE_REF.search(text)
        if not (found or where):
            raise InputError(
                "no secret, key id or run address was recognised in the report, and no image; give one of: the secret "
                "itself (bulkhead report --secret), an access key id (AKIA…), "
                "https://github.com/OWNER/REPO/actions/runs/ID, or REGISTRY/OWNER/NAME:TAG"
            )
        raw = hashlib.sha256(text.encode()).hexdigest()
        key = delivery or hashlib.sha256(canonical([source, by, raw, iso(at)[:16]]).encode()).hexdigest()[:16]
        inbox_id = f"{source}:{key}"
        scrubber = Scrubber(self.vault.fingerprinter)
        credentials = []
        for one in found:
            if one.value:
                scrubber.add(self.vault.fingerprinter.secret(one.value))
            credentials.append(self._credential(one))
        body = {
            "by": by, "world": world, "text": scrubber.scrub(text)[:4000], "exposure": exposure.value,
            "url": where[0] if where else "", "credentials": [asdict(c) for c in credentials],
            "machine": machine.value, "machine_name": scrubber.scrub(machine_name)[:200],
        }  # fmt: skip
        self.boundary("before inbox/landed/1")
        with self.store.begin() as c:
            new = self.store.land(
                c, {"id": inbox_id, "source": source, "landed_at": iso(at), "body": body, "raw_sha256": raw}
            )
            if new:
                for one, credential in zip(found, credentials, strict=True):
                    if one.value:
                        self.vault.seal(c, inbox_id, f"leaked:{credential.key}", one.value, credential.key, at)
        self.boundary("after inbox/landed/1")
        return Landed(id=inbox_id, new=new)

    def work(self, row: dict[str, Any]) -> list[str]:
        """Turn a landed report into incidents; returns their ids. What cannot be worked is dead, with the reason."""
        body = row["body"]
        world = self.worlds[body["world"]]
        credentials = [Credential(**c) for c in body["credentials"]]
        run = RUN_URL.search(body["url"]) if body["url"] else None
        if run is not None:
            found = find_in_run(world(row["id"]), self.recognizer, run[1], int(run[2]))
            credentials += [self._credential(f) for f in found if f.kind != "generic"]
        elif body["url"]:
            pulled = find_in_image(world(row["id"]), self.recognizer, body["url"])
            credentials += [self._credential(f) for f in pulled if f.kind != "generic"]
        chosen = self._choose(credentials)
        if not chosen:
            self._settle(row, "dead", "no credential that a playbook knows was found in it")
            return []
        opened = [self._open(row, credential, playbook) for credential, playbook in chosen]
        self._settle(row, "worked", ", ".join(opened))
        return opened

    def _choose(self, credentials: list[Credential]) -> list[tuple[Credential, Playbook]]:
        """Each credential once, the most telling form of it, with its playbook."""
        best: dict[str, Credential] = {}
        for one in credentials:
            if one.key not in best or (one.fingerprint and not best[one.key].fingerprint):
                best[one.key] = one
        pairs = [(credential, match(self.playbooks, credential)) for credential in best.values()]
        return [(credential, playbook) for credential, playbook in pairs if playbook is not None]

    def _credential(self, found: Found) -> Credential:
        return Credential(
            provider=found.provider, kind=found.kind, id=found.id, account=found.account,
            fingerprint=self.vault.fingerprint(found.value) if found.value else "",
        )  # fmt: skip

    def _open(self, row: dict[str, Any], credential: Credential, playbook: Playbook) -> str:
        incident = (
            f"inc-{row['landed_at'][:10]}-{hashlib.sha256((row['id'] + credential.key).encode()).hexdigest()[:8]}"
        )
        repository = RUN_URL.search(row["body"]["url"])
        report = Report(
            source=row["source"], by=row["body"]["by"], text=row["body"]["text"], url=row["body"]["url"],
            credential=credential, exposure=Exposure(row["body"]["exposure"]),
            machine=Machine(row["body"].get("machine", "unknown")), machine_name=row["body"].get("machine_name", ""),
        )  # fmt: skip
        values = {
            "id": incident, "opened_at": row["landed_at"], "world": row["body"]["world"], "status": "open",
            "title": playbook.title, "credential_key": credential.key,
            "body": canonical({
                "report": asdict(report), "inbox": row["id"], "repository": repository[1] if repository else "",
                "playbook": _bound(playbook),
            }),
        }  # fmt: skip
        held = self.vault.of(row["id"], self.worlds[row["body"]["world"]](row["id"]).clock).of(credential.key)
        self.boundary("before inbox/incident/1")
        at = self.worlds[row["body"]["world"]](incident).now()
        with self.store.begin() as c:
            standing, new = self.store.open_incident(c, values)
            if new and held is not None:
                self.vault.seal(c, incident, f"leaked:{credential.key}", held.reveal(), credential.key, at)
        self.boundary("after inbox/incident/1")
        return incident if standing == incident else self._sight(row, standing)

    def beside(self, row: IncidentRow, found: Triage) -> dict[str, str]:
        """Open an incident for each other credential in an incident's reach that is known and has a playbook.

        Returns credential key -> incident. What was opened this way opens no more: its reach is the first one's.
        """
        report: Report = TypeAdapter(Report).validate_python(row.body["report"])
        known = {each.credential.key: each.credential for each in found.reach if each.credential and each.credential.id}
        opened = {}
        for key, credential in known.items() if not report.beside else ():
            playbook = match(self.playbooks, credential)
            if key != row.credential_key and playbook is not None:
                opened[key] = self._open_beside(row, report, credential, playbook)
        return opened

    def _open_beside(self, row: IncidentRow, report: Report, credential: Credential, playbook: Playbook) -> str:
        incident = f"{row.id[:15]}{hashlib.sha256((row.id + credential.key).encode()).hexdigest()[:8]}"
        body = {
            "report": asdict(replace(report, credential=credential, beside=row.id)), "inbox": row.body["inbox"],
            "repository": row.body["repository"], "playbook": _bound(playbook),
        }  # fmt: skip
        with self.store.begin() as c:
            # Another one where somebody has reported it by itself.
            return self.store.open_incident(c, {
                "id": incident, "opened_at": row.opened_at, "world": row.world, "status": "open",
                "title": playbook.title, "credential_key": credential.key, "body": canonical(body),
            })[0]  # fmt: skip

    def _sight(self, row: dict[str, Any], standing: str) -> str:
        body = {
            "by": row["body"]["by"],
            "source": row["source"],
            "url": row["body"]["url"],
            "text": row["body"]["text"],
        }
        self.timeline.append(standing, f"sighting:{row['id']}", "sighting", body, at=row["landed_at"]).result()
        return standing

    def _settle(self, row: dict[str, Any], state: str, note: str) -> None:
        self.boundary("before inbox/worked/1")
        with self.store.begin() as c:
            self.store.set_inbox(c, row["id"], state, note)
        self.boundary("after inbox/worked/1")
        at = self.worlds[row["body"]["world"]](row["id"]).now()
        self.vault.wipe(owner=row["id"], at=at)
