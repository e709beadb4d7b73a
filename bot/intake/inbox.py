"""Land, acknowledge, work.

``land`` takes what a person reports, ``receive`` what a sender delivers: the secret is taken out at the border and
sealed, the scrubbed report is written, in one transaction. ``work`` turns landed deliveries into incidents, what is
worst first: one a credential; a credential that has an open incident is sighted there. A crash between the two repeats
``work``, whose ids are drawn from the delivery, so nothing is opened twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from bot.action import Action
from bot.engine.policy import Authority, Storm
from bot.errors import BulkheadError, InputError, RateLimited, Unavailable
from bot.images import IMAGE_REF
from bot.intake.border import Border, Crossed
from bot.intake.cases import RUN_URL, Cases, case_of, credential_of
from bot.intake.delivery import Delivery, Fact, Reading, Sender
from bot.intake.opening import Case, Ends, Opening, bound
from bot.intake.proof import moment
from bot.model import Credential, Exposure, Machine, MigrationOrder, Report, Secret, Triage
from bot.playbook import OURS, Playbook, match
from bot.redact import Scrubber
from bot.store import IncidentRow, Store, canonical, iso
from bot.store_intake import DEAD, HELD, WORKED, Facts, Known, Lander, settle
from bot.timeline import Timeline
from bot.triage import migration
from bot.triage.campaign import KIND as CAMPAIGN
from bot.triage.campaign import NAMED, Hunt
from bot.triage.identify import Recognizer
from bot.vault import Vault
from bot.world import REAL, World

LONGEST = 4000  # characters of a text that is kept


def everything(_case: Mapping[str, str]) -> Authority:
    """The authority of an inbox that was given no policy: whoever may land may start."""
    return Authority(starts="act", rule="", reason="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """What the reporter is told at once. ``new`` is False when this very report was here already."""

    id: str
    new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What will become of a credential: opens, sighting, again (its incident is closed), none (no playbook)."""

    credential: str
    becomes: str
    incident: str


@dataclass(slots=True)
class Worked:
    """What became of a batch. ``opened``: incidents to begin; ``later``: why deliveries wait for another round."""

    opened: list[str] = field(default_factory=list)
    later: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Inbox:
    """Where every report lands."""

    store: Store
    vault: Vault
    timeline: Timeline
    recognizer: Recognizer
    playbooks: Mapping[str, Playbook]
    catalogue: Mapping[str, Action[Any, Any, Any]]
    worlds: Mapping[str, Callable[[str], World]]
    authority: Callable[[Mapping[str, str]], Authority] = everything
    storm: Storm = field(default_factory=Storm)
    fetch_values: bool = True  # ask GitHub for the value of an alert, which it does not send
    hands: Callable[[str, Credential], str] = lambda _world, _credential: OURS  # who reaches what a credential is of
    # called around every durable write; tests kill the process there
    boundary: Callable[[str], None] = lambda _name: None

    lander: Lander = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lander", Lander(self.store))

    @property
    def opening(self) -> Opening:
        """What opens incidents."""
        return Opening(
            store=self.store, vault=self.vault, timeline=self.timeline, playbooks=self.playbooks, worlds=self.worlds,
            authority=self.authority, storm=self.storm, boundary=self.boundary, hands=self.hands,
        )  # fmt: skip

    @property
    def cases(self) -> Cases:
        """What reads landed rows."""
        return Cases(
            store=self.store, vault=self.vault, recognizer=self.recognizer, playbooks=self.playbooks,
            worlds=self.worlds, fetch_values=self.fetch_values,
        )  # fmt: skip

    # landing --------------------------------------------------------------------------------------------------------

    def land(
        self, *, source: str, world: str, by: str, text: str, at: datetime, delivery: str = "",
        exposure: Exposure = Exposure.UNKNOWN, machine: Machine = Machine.UNKNOWN, machine_name: str = "",
        secrets: Iterable[Secret] = (),
    ) -> Landed:  # fmt: skip
        """Land one report: an address of a run, an identifier, or a text that holds a secret. Nothing is asked here.

        ``secrets``: what is known to be one, recognised or not; it is not written down. Raises InputError when the text
        holds nothing that could be worked on.
        """
        found = [f for f in self.recognizer.find(text) if f.kind != "generic"]
        where = RUN_URL.search(text) or IMAGE_REF.search(text)
        hunts = [Hunt.of(Credential(provider="github", kind=CAMPAIGN, id=name)) for name in NAMED.findall(text)]
        if not (found or where or hunts):
            raise InputError(
                "no secret, key id or run address was recognised in the report, and no image; give one of: the secret "
                "itself (bulkhead report --secret), an access key id (AKIA…), "
                "https://github.com/OWNER/REPO/actions/runs/ID, or REGISTRY/OWNER/NAME:TAG"
            )
        raw = hashlib.sha256(text.encode()).hexdigest()
        key = delivery or hashlib.sha256(canonical([source, by, raw, iso(at)[:16]]).encode()).hexdigest()[:16]
        scrubber = Scrubber(self.vault.fingerprinter)
        scrubber.add(*secrets)
        crossed = Crossed()
        credentials = []
        for one in found:
            credentials.append(credential_of(self.vault, one))
            if one.value:
                scrubber.add(self.vault.fingerprinter.secret(one.value))
                crossed.secrets[f"leaked:{one.key}"] = (one.value, one.key)
            if one.session_token:
                scrubber.add(self.vault.fingerprinter.secret(one.session_token))
            crossed.secrets |= {label: (text, "") for label, text in one.beside.items()}
        credentials += [hunt.credential for hunt in hunts]
        body = {
            "by": by, "world": world, "text": scrubber.scrub(text)[:LONGEST], "exposure": exposure.value,
            "url": where[0] if where and not hunts else "", "credentials": [asdict(c) for c in credentials],
            "machine": machine.value, "machine_name": scrubber.scrub(machine_name)[:200],
        }  # fmt: skip
        row = {"id": f"{source}:{key}", "source": source, "landed_at": iso(at), "body": body, "raw_sha256": raw}
        return self._land(row, crossed, [], at)

    def campaign(self, hunt: Hunt, *, by: str, at: datetime, world: str = REAL, source: str = "cli") -> Landed:
        """Land a question about runs; the worker opens its incident, whose triage looks for the answer."""
        text = f"Which runs used the {hunt.what} {hunt.name}@{hunt.ref}, and what was in their reach?"
        return self._asked(hunt.credential, text, by=by, at=at, world=world, source=source)

    def migration(
        self, order: MigrationOrder, *, by: str, at: datetime, world: str = REAL, source: str = "cli",
        delivery: str = "",
    ) -> Landed:  # fmt: skip
        """Land the order to move a repository to OIDC; the worker opens its incident, which asks people."""
        text = f"{order.repository} is to move from static secrets to OIDC"
        wanted = migration.credential_of(order)
        return self._asked(wanted, text, by=by, at=at, world=world, source=source, delivery=delivery)

    def ordered(self, order: MigrationOrder, world: str = REAL) -> str:
        """The incident that is open for this very order, or ''."""
        key = migration.credential_of(order).key
        found = Known(self.store).find(world, [key]).get(key)
        return found if found and self.store.incident(found).status == "open" else ""

    def ordered_otherwise(self, order: MigrationOrder, world: str = REAL) -> str:
        """The incident that is open for the same credentials with other answers (another role), or ''."""
        for row in self.store.incidents(status="open"):
            if row.world != world or not migration.is_order(row.credential_key):
                continue
            other = migration.order_of_key(row.credential_key)
            same = other.repository.lower() == order.repository.lower()
            if same and other != order and (other.secret == order.secret or not (other.secret and order.secret)):
                return row.id
        return ""

    def opened_for(self, order: MigrationOrder, since: datetime, world: str = REAL) -> str:
        """The incident of an order that landed at a time, also when it has ended since; '' until a worker opens it."""
        key = migration.credential_of(order).key
        found = Known(self.store).find(world, [key]).get(key, "")
        row = self.store.incident(found) if found else None
        return found if row and (row.status == "open" or row.opened_at >= iso(since)) else ""

    def _asked(
        self, credential: Credential, text: str, *, by: str, at: datetime, world: str, source: str, delivery: str = ""
    ) -> Landed:  # fmt: skip
        """Land what is no leak, under the name that it has in its incident."""
        body = {
            "by": by, "world": world, "text": text, "exposure": Exposure.UNKNOWN.value, "url": "",
            "credentials": [asdict(credential)], "machine": Machine.UNKNOWN.value, "machine_name": "",
        }  # fmt: skip
        raw = hashlib.sha256(canonical([credential.id, by, iso(at)[:16]]).encode()).hexdigest()
        name = delivery or raw[:16]
        row = {"id": f"{source}:{name}", "source": source, "landed_at": iso(at), "body": body, "raw_sha256": raw}
        return self._land(row, Crossed(), [], at)

    def receive(self, delivery: Delivery, sender: Sender, reading: Reading, world: str = REAL) -> Landed:
        """Land what a source has read, whose sender has been checked. Nothing of it is written unscrubbed.

        The row's key is what was signed, not the number that stands beside it in a header: with that alone, whoever
        has one signed body could deliver it as often as they like.
        """
        scrubber = Scrubber(self.vault.fingerprinter)
        crossed = Border(self.recognizer, self.vault.fingerprinter).cross(delivery.source, reading.seen, scrubber)
        if not any(one.text or one.value for one in reading.seen):
            self._read(reading, scrubber)
        clean = _cleaner(scrubber)
        key = (reading.key or delivery.sha256)[:64]
        inbox_id = f"{delivery.source}:{key}"
        body = clean({
            "by": reading.by or sender.by, "world": world, "event": reading.event, "text": reading.text[:LONGEST],
            "trust": sender.trust.value, "sender": sender.by, "run": sender.run_url,
            "settled": [asdict(one) for one in reading.settled],
        }) | {"cases": crossed.cases}  # fmt: skip
        facts = [self._fact(inbox_id, k, one, delivery, clean) for k, one in enumerate(reading.facts)]
        rank = min([case["rank"] for case in crossed.cases], default=9)
        row = {
            "id": inbox_id, "source": delivery.source, "landed_at": iso(delivery.at), "body": body,
            "raw_sha256": delivery.sha256, "rank": rank,
        }  # fmt: skip
        if not (crossed.cases or reading.settled):
            row |= {"state": WORKED, "note": f"{len(facts)} facts"}
        return self._land(row, crossed, facts, delivery.at)

    def _read(self, reading: Reading, scrubber: Scrubber) -> None:
        """Know what stands in words of a source that sends no values: a branch or a title can hold anything."""
        words = "\n".join(_texts([reading.text, reading.by, *(dict(one.body) for one in reading.facts)]))
        for hit in self.recognizer.find(words):
            if hit.value and hit.kind != "generic":
                scrubber.add(self.vault.fingerprinter.secret(hit.value))

    def refuse(self, delivery: Delivery, why: str) -> Landed:
        """Keep that an authentic delivery came which nobody understood: visible, without what it held."""
        row = {
            "id": f"{delivery.source}:{delivery.sha256}", "source": delivery.source, "landed_at": iso(delivery.at),
            "body": {"world": REAL, "by": delivery.source, "text": "", "cases": []}, "raw_sha256": delivery.sha256,
            "state": DEAD, "note": f"it is from {delivery.source} and could not be read: {why}", "rank": 9,
        }  # fmt: skip
        return self._land(row, Crossed(), [], delivery.at)

    def _fact(
        self, inbox_id: str, k: int, one: Fact, delivery: Delivery, clean: Callable[[Any], Any]
    ) -> dict[str, Any]:  # fmt: skip
        at = moment(one.at) or delivery.at
        told: dict[str, Any] = clean({"kind": one.kind, "repository": one.repository, "body": dict(one.body)})
        when = {"at": iso(at), "landed_at": iso(delivery.at)}
        return told | {"id": f"{inbox_id}#{k}", "source": delivery.source} | when

    def _land(self, row: dict[str, Any], crossed: Crossed, facts: list[dict[str, Any]], at: datetime) -> Landed:
        kept = Facts(self.store)

        def write(c: Any) -> bool:
            if not self.store.land(c, row):
                return False
            for label, (value, key) in crossed.secrets.items():
                self.vault.seal(c, row["id"], label, value, key, at)
            for fact in facts:
                kept.land(c, fact)
            return True

        self.boundary("before inbox/landed/1")
        new = self.lander.land(write)
        self.boundary("after inbox/landed/1")
        return Landed(id=row["id"], new=new)

    # working --------------------------------------------------------------------------------------------------------

    def work(self, row: dict[str, Any]) -> list[str]:
        """Turn one landed delivery into incidents; returns their ids, also of one that it was sighted on.

        What cannot be worked is dead, visible, with the reason. Raises what a provider that is away says.
        """
        cases, why = self.cases.of(row)
        ends = self._ends(row, cases)
        self._settle([(row["id"], *_became(ends, why))], row["body"]["world"])
        return ends.incidents

    def work_all(self, rows: Iterable[dict[str, Any]]) -> Worked:
        """The same for a batch, in its order, with what is written at the end of each written once for all."""
        worked = Worked()
        became: dict[str, list[tuple[str, str, str]]] = {}
        for row in rows:
            world = row["body"]["world"]
            if world not in self.worlds:
                continue
            try:
                cases, why = self.cases.of(row)
                ends = self._ends(row, cases, wait=False)
                worked.opened += ends.opened
                for future in ends.written:
                    future.result()
                became.setdefault(world, []).append((row["id"], *_became(ends, why)))
            except (Unavailable, RateLimited) as exc:
                worked.later[row["id"]] = str(exc)
            except BulkheadError as exc:
                became.setdefault(world, []).append((row["id"], DEAD, str(exc)))
        for world, settled in became.items():
            self._settle(settled, world)
        worked.opened = list(dict.fromkeys(worked.opened))
        return worked

    def _ends(self, row: dict[str, Any], cases: list[Case], *, wait: bool = True) -> Ends:
        ends = Ends()
        for case in cases:
            self.opening.take(row, case, ends)
        for one in row["body"].get("settled", ()):
            self._over(row, one, ends)
        for future in ends.written if wait else ():
            future.result()
        return ends

    def merge(self, one: IncidentRow, into: IncidentRow, *, by: str, reason: str, at: datetime) -> None:
        """Move what was seen of one incident into another of the same World; a person has ordered it at the desk."""
        ends = Ends()
        self.opening.merge(one, into, by=by, reason=reason, at=iso(at), ends=ends)
        for future in ends.written:
            future.result()

    def _over(self, row: Mapping[str, Any], one: Mapping[str, Any], ends: Ends) -> None:
        """A scanner's alert is over. When it does not say that the credential was revoked, that itself is a signal."""
        body = row["body"]
        told = {name: one[name] for name in ("revoked", "resolution", "by")} | {
            "source": row["source"], "text": body["text"], "signal": not one["revoked"],
        }  # fmt: skip
        found = sorted(set(Known(self.store).find(body["world"], one["names"]).values()))
        for incident in found:
            step = f"scanner:{_told_once(row, one)}"
            ends.written.append(self.timeline.append(incident, step, "scanner-closed", told, at=row["landed_at"]))
            ends.seen.append(incident)
        if not found:
            ends.none.append("a scanner's alert is over for which there is no incident")

    def _settle(self, rows: list[tuple[str, str, str]], world: str) -> None:
        self.boundary("before inbox/worked/1")
        with self.store.begin() as c:
            settle(c, rows)
        self.boundary("after inbox/worked/1")
        for inbox_id, state, _ in rows:
            if state != HELD:  # what waits for a person keeps its value until then, or until its maximum age
                self.vault.wipe(owner=inbox_id, at=self.worlds[world](inbox_id).now())

    def foreseen(self, inbox_id: str) -> list[Foreseen]:
        """What will become of each credential of a delivery, as things stand. Nothing is asked and nothing is done."""
        found: dict[str, Foreseen] = {}
        for row in self.store.inbox(inbox_id=inbox_id):
            for one in row["body"].get("cases", ()):
                case, world = case_of(one), row["body"]["world"]
                if not case.credential.kind or case.credential.key in found:
                    continue
                known = [
                    self.store.incident(name)
                    for name in sorted(set(Known(self.store).find(world, {case.credential.key, *case.names}).values()))
                ]
                known.sort(key=lambda i: (i.status != "open", i.opened_at))
                playbook = match(self.playbooks, case.credential, self.hands(world, case.credential))
                becomes = "opens" if playbook else "none"
                if known:
                    becomes = "sighting" if known[0].status == "open" else "again"
                key = case.credential.key
                found[key] = Foreseen(credential=key, becomes=becomes, incident=known[0].id if known else "")
        return list(found.values())

    # beside one another ---------------------------------------------------------------------------------------------

    def beside(self, row: IncidentRow, found: Triage) -> dict[str, str]:
        """Open an incident for each other credential in an incident's reach that is known and has a playbook.

        Returns credential key -> incident. What was opened this way opens no more: its reach is the first one's.
        """
        report: Report = TypeAdapter(Report).validate_python(row.body["report"])
        sweeps = row.credential_key.startswith(f"{CAMPAIGN}:")  # nobody else reports what its runs' logs hold
        known = {
            each.credential.key: each.credential for each in found.reach
            if each.credential and (each.credential.id or (sweeps and each.credential.fingerprint))
        }  # fmt: skip
        opened: dict[str, str] = {}
        told = replace(report, exposure=found.exposure) if sweeps else report
        runs = {each.credential.key: each.url for each in reversed(found.reach) if each.credential and each.url}
        if report.beside:
            return opened
        with self.store.begin() as c:  # one for all: a flush of the disk each would hold up the cuts of hundreds
            for key, credential in known.items():
                playbook = match(self.playbooks, credential, self.hands(row.world, credential))
                if key != row.credential_key and playbook is not None:
                    shown = replace(told, url=runs.get(key, told.url))  # its triage begins with the run that shows it
                    opened[key] = self._open_beside(c, row, shown, credential, playbook)
        return opened

    def _open_beside(
        self, c: Any, row: IncidentRow, report: Report, credential: Credential, playbook: Playbook
    ) -> str:  # fmt: skip
        incident = f"{row.id[:15]}{hashlib.sha256((row.id + credential.key).encode()).hexdigest()[:8]}"
        body = {
            "report": asdict(replace(report, credential=credential, beside=row.id)), "inbox": row.body["inbox"],
            "repository": row.body["repository"], "playbook": bound(playbook),
        }  # fmt: skip
        value, at = self.vault.value(row.id, credential.key), self.worlds[row.world](incident).now()
        standing, new = self.store.open_incident(c, {
            "id": incident, "opened_at": row.opened_at, "world": row.world, "status": "open",
            "title": playbook.title, "credential_key": credential.key, "body": canonical(body),
        })  # fmt: skip
        Known(self.store).move(c, row.world, [credential.key], standing)
        if new and value is not None:
            self.vault.seal(c, incident, f"leaked:{credential.key}", value.reveal(), credential.key, at)
        return standing  # another one where somebody has reported it by itself


def _told_once(row: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """What tells the end of an alert from every other one; without its time each delivery tells of one."""
    if not one.get("at"):
        return str(row["id"])
    told = canonical([row["source"], one["names"][0], one["resolution"], one["at"]])
    return hashlib.sha256(told.encode()).hexdigest()


def _became(ends: Ends, why: str) -> tuple[str, str]:
    """The state of a delivery and the note that says why."""
    more = "; ".join(dict.fromkeys([*ends.held, *ends.none]))[:1000]
    if ends.incidents:
        return WORKED, ", ".join(ends.incidents) + (f"; {more}" if more else "")
    if ends.held:
        return HELD, more
    return DEAD, more or why or "it names no credential"


def _cleaner(scrubber: Scrubber) -> Callable[[Any], Any]:
    """Scrubs a whole JSON value; text by text only when there is something in it, which is rare and slow."""

    def clean(value: Any) -> Any:
        together = "\n\x1f\n".join(_texts(value))
        return value if scrubber.scrub(together) == together else scrubber.scrub_any(value)

    return clean


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _texts(key)
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
