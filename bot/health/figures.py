"""What can be counted of an installation at one moment. Ages are seconds, 0 where nothing waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bot import heartbeat
from bot.engine.decisions import open_asks
from bot.engine.freeze import frozen_steps
from bot.engine.ledger import Ledger
from bot.heartbeat import Process
from bot.model import Verdict
from bot.store import Store, when
from bot.store_intake import oldest
from bot.store_slack import Deliveries
from bot.timeline import Event, load
from bot.vault import ROTATED, SINCE
from bot.world import REAL

ENDS = {"proof", "failed", "skipped"}  # kinds after which a step waits for nothing


@dataclass(slots=True)
class Work:
    """The open incidents of one World."""

    rows: Counter[str] = field(default_factory=Counter)  # state of a ledger row -> how many
    asks: Counter[str] = field(default_factory=Counter)  # group -> open questions
    tails: int = 0
    oldest_ask_s: float = 0.0
    failed: Counter[str] = field(default_factory=Counter)  # not-proven, denied, error -> steps that ended so
    late_s: float = 0.0  # of the step that has said nothing for longest although nobody is waited for
    late: tuple[str, str] = ("", "")  # its incident and its id

    def take(self, events: list[Event], now: datetime) -> None:
        """Count one open incident."""
        ledger = Ledger.fold(events)
        self.rows.update(row.state.value for row in ledger.rows.values())
        self.tails += len(list(ledger.open_tails()))
        asked = {(e.step, e.attempt): e.at for e in events if e.kind == "asked"}
        asks = open_asks(events)
        for ask in asks:
            self.asks[ask.group] += 1
            self.oldest_ask_s = max(self.oldest_ask_s, age(asked[ask.step, ask.attempt], now))
        last = {event.step: event for event in events if event.body is not None}
        self.failed.update(how for event in last.values() if (how := _failure(event, events)))
        looked = {event.step for event in events if event.kind == "look"}
        waits = {ask.step.partition("/")[0] for ask in asks} | {event.step for event in frozen_steps(events)}
        for step, event in last.items():
            if step in looked and _goes_on(event, now) and step.partition("/")[0] not in waits:
                silent = age(event.at, now)
                if silent > self.late_s:
                    self.late_s, self.late = silent, (event.incident, step)


def _failure(event: Event, events: list[Event]) -> str:
    """How a step has ended that ended badly, "" for every other one. One that is tried again has not ended."""
    if event.kind != "failed":
        return ""
    if event.body["denied"]:
        return "denied"
    same = (e for e in events if e.step == event.step and e.attempt == event.attempt and e.kind == "proof")
    return "not-proven" if any(e.body and e.body["verdict"] != Verdict.PROVEN for e in same) else "error"


def _goes_on(event: Event, now: datetime) -> bool:
    """Whether a step that has begun has not ended, and should have been heard of by now. ``event``: its last."""
    if event.kind in ENDS:
        return False
    if event.kind == "outcome":
        return when(event.body["prove_by"]) < now
    if event.kind == "paused":
        return age(event.at, now) > float(event.body["seconds"])
    return not (event.kind == "look" and event.body["before"].get("cuts_own"))  # it waits for all the others


def work(store: Store, now: datetime) -> dict[str, Work]:
    """World -> its open incidents. Drills are counted apart: nobody is woken for them."""
    found: dict[str, Work] = {REAL: Work()}
    for row in store.incidents("open"):
        # A range's clock can be moved, and what is late in it is late by that clock.
        found.setdefault(row.world, Work()).take(load(store, row.id), now)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """What living workers have last heard of a provider. ``answered``, ``failed``: ISO 8601 UTC, "" = never."""

    name: str
    answered: str
    failed: str
    why: str
    needs: int  # calls that are under way or wait for a place
    rest_s: float  # of a pause that it has asked for
    left: float | None  # part of the hour's requests that is left

    @property
    def answers(self) -> bool:
        """Whether the last that was heard of it is an answer."""
        return self.answered >= self.failed


def providers(lives: Iterable[Process]) -> list[Provider]:
    """Every provider that a living worker has heard of, put together from what each of them says."""
    said = [one.said for one in lives if one.role == "worker"]
    found = []
    for name in sorted({name for one in said for name in [*one.get("providers", {}), *one.get("left", {})]}):
        told = [one["providers"][name] for one in said if name in one.get("providers", {})]
        failed = max(told, key=lambda one: one["failed"], default={"failed": "", "why": ""})
        parts = [left / most for one in said for left, most in [one.get("left", {}).get(name, (0, 0))] if most]
        found.append(Provider(
            name=name, answered=max((one["answered"] for one in told), default=""), failed=failed["failed"],
            why=failed["why"], needs=sum(one["needs"] for one in told),
            rest_s=max((one["rest_s"] for one in told), default=0.0), left=min(parts, default=None),
        ))  # fmt: skip
    return found


def ahead(store: Store, lives: Iterable[Process], now: datetime) -> dict[str, float]:
    """Seconds that this machine's clock, or a worker's, is ahead of another: of the database's, of a provider's."""
    found = {} if store.sqlite else {"database": (now - store.now()).total_seconds()}
    for one in lives:
        for name, seconds in one.said.get("ahead_s", {}).items():
            found[name] = max(found.get(name, 0.0), seconds, key=abs)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All of it."""

    now: datetime
    processes: tuple[Process, ...]
    work: Mapping[str, Work]
    providers: tuple[Provider, ...]
    ahead_s: Mapping[str, float]
    inbox_oldest_s: float
    slack_last: str  # ISO 8601 UTC, "" = never
    slack_oldest_s: float
    slack_dead: int
    vault_key_s: float

    def alive(self, role: str) -> list[Process]:
        """The processes of a role that live."""
        return [one for one in self.processes if one.role == role and one.alive(self.now)]

    def lost(self, role: str) -> list[Process]:
        """Those that went without a word within the last hour."""
        return [one for one in self.processes if one.role == role and not one.alive(self.now)]


def figures(store: Store, now: datetime) -> Figures:
    """Count. Raises EngineError when the database does not answer."""
    known = tuple(heartbeat.processes(store, now))
    lives = [one for one in known if one.alive(now)]
    slack_last, slack_waits, slack_dead = Deliveries(store).stand()
    return Figures(
        now=now, processes=known, work=work(store, now), providers=tuple(providers(lives)),
        ahead_s=ahead(store, lives, now), inbox_oldest_s=age(oldest(store), now), slack_last=slack_last,
        slack_oldest_s=age(slack_waits, now), slack_dead=slack_dead,
        vault_key_s=age(store.setting(ROTATED) or store.setting(SINCE), now),
    )  # fmt: skip


def age(at: str, now: datetime) -> float:
    """Seconds since then (ISO 8601 UTC); 0 for "", and for what a clock that jumped back calls the future."""
    return max(0.0, (now - when(at)).total_seconds()) if at else 0.0
