"""One incident as cards, threads and homes see it: folded from its timeline once, then only asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from bot.engine.decisions import Ask, Review, open_asks, requester_of, reviews_due
from bot.engine.ledger import Ledger
from bot.engine.rules import DRILL
from bot.model import Verdict
from bot.store import DecisionRow, IncidentRow, Store, when
from bot.timeline import Event, load

SERIOUS = ("critical", "high")
OVER = ("closed", "aborted")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Everything that is drawn. ``url``: where the pages are, "" when nobody serves any."""

    row: IncidentRow
    events: list[Event]
    decisions: list[DecisionRow] = field(default_factory=list)
    now: datetime
    url: str = ""

    @classmethod
    def of(cls, store: Store, incident: str, now: datetime, *, url: str = "") -> Picture:
        """The incident as it stands. Raises InputError when there is none.

        ``now``: of its World's clock; an event that is later than that moves it on.
        """
        row, events = store.incident(incident), load(store, incident)
        latest = [when(event.at) for event in events[-1:]]
        return cls(row=row, events=events, decisions=store.decisions(incident), now=max([now, *latest]), url=url)

    # what stands -----------------------------------------------------------------------------------------------

    @cached_property
    def told(self) -> list[Event]:
        """The events whose text still stands."""
        return [event for event in self.events if isinstance(event.body, dict)]

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger as these events leave it."""
        return Ledger.fold(self.events)

    @cached_property
    def asks(self) -> list[Ask]:
        """What people are asked and nobody has settled, oldest first."""
        return open_asks(self.told)

    @cached_property
    def asked(self) -> dict[tuple[str, int], Event]:
        """Every question there was, by step and attempt."""
        return {(e.step, e.attempt): e for e in self.told if e.kind == "asked"}

    @cached_property
    def settled(self) -> dict[tuple[str, int], Event]:
        """How each question was settled, by step and attempt."""
        return {(e.step, e.attempt): e for e in self.told if e.kind == "decided"}

    @cached_property
    def looks(self) -> dict[str, dict[str, Any]]:
        """What each step's look found."""
        return {e.step: e.body for e in self.told if e.kind == "look"}

    @cached_property
    def outcomes(self) -> dict[str, Event]:
        """The newest outcome of each step."""
        return {e.step: e for e in self.told if e.kind == "outcome"}

    @cached_property
    def proofs(self) -> dict[str, Event]:
        """The newest proof of each step."""
        return {e.step: e for e in self.told if e.kind == "proof"}

    @cached_property
    def failures(self) -> list[Event]:
        """What failed and was not mended since."""
        mended = {step for step, e in self.proofs.items() if e.body["verdict"] == Verdict.PROVEN}
        mended |= {e.step for e in self.told if e.kind == "paged"}
        return [e for e in self.told if e.kind in ("failed", "broken", "page-failed") and e.step not in mended]

    def bodies(self, kind: str) -> Iterator[dict[str, Any]]:
        """The texts of a kind, oldest first."""
        return (event.body for event in self.told if event.kind == kind)

    def last(self, kind: str) -> dict[str, Any] | None:
        """The newest text of a kind."""
        return next((event.body for event in reversed(self.told) if event.kind == kind), None)

    @cached_property
    def reviews(self) -> list[Review]:
        """Words of one person in place of two that nobody else has looked at, oldest first."""
        return reviews_due(self.told)

    # in short --------------------------------------------------------------------------------------------------

    @property
    def drill(self) -> bool:
        """Nothing of it is real."""
        return self.row.world == DRILL

    @property
    def over(self) -> str:
        """What ended it, closed or aborted; "" while it goes on, and again once a cut was undone."""
        for event in reversed(self.events):
            if event.kind in OVER:
                return event.kind
            if event.kind == "undone" and (event.body or {}).get("kills"):
                return ""
        return ""

    @property
    def ended(self) -> dict[str, Any] | None:
        """How a drill in a company of its own has ended; None while the company is there."""
        return self.last("drill-ended")

    @property
    def level(self) -> str:
        """critical, high, medium or low; "" before triage. A person's word counts from when it was given."""
        return str((self.last("severity") or {}).get("level", ""))

    @property
    def observes(self) -> bool:
        """It only says what it would do."""
        return (self.last("plan") or {}).get("mode") == "observe"

    @property
    def triage(self) -> dict[str, Any] | None:
        """What triage found."""
        return self.last("triage")

    @property
    def requester(self) -> str:
        """Who reported it."""
        return requester_of(self.told) or str(self.row.body["report"]["by"])

    @property
    def roles(self) -> dict[str, str]:
        """Who has which role now: lead, and what else people have claimed."""
        held = {str(body["role"]): str(body["who"]) for body in self.bodies("role")}
        return {role: who for role, who in held.items() if who}

    @property
    def likely_owner(self) -> str:
        """The first whom triage names, or ""."""
        owners = (self.triage or {}).get("owners") or []
        return str(owners[0]["name"]) if owners else ""

    def agreed(self, ask: Ask) -> list[str]:
        """Who has said yes to this so far. Whether it counts is the desk's to say."""
        mine = (d for d in self.decisions if d.step == ask.step and d.plan_hash == ask.plan_hash)
        return list(dict.fromkeys(d.by for d in mine if d.kind in ("approve", "answer", "break-glass")))

    def look_of(self, step: str) -> dict[str, Any]:
        """The look of the step that a question is about; {} when it has none: step, step/retry, step/undo."""
        return self.looks.get(step) or self.looks.get(step.rpartition("/")[0]) or {}

    def undoable(self) -> list[str]:
        """Steps that changed something and can be undone, cuts first, and no undo of which was asked for since."""
        if self.ended is not None:
            return []
        back = {e.step.removesuffix("/undo") for e in self.told if e.kind == "undone"}
        back |= {ask.step.removesuffix("/undo") for ask in self.asks if ask.purpose == "undo"}
        done = [s for s, e in self.outcomes.items() if e.body["changed"] and s not in back]
        able = [s for s in done if s in self.looks and not self.looks[s]["undo"]]
        return sorted(able, key=lambda step: not self.looks[step].get("kills"))
