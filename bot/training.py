"""Drills in a running installation: ordered as rows, run by the worker, decided by real people.

Each drill has a company of its own, a range in a child process that lives as long as the drill. Its incidents stand in
the installation's own tables, so cards, threads and buttons work as ever; their World is the range's, which is made of
``RangeEndpoints`` and can reach loopback only. One drill runs at a time, in one worker. A range that dies with its
worker cannot be brought back: its incidents are ended then, and whoever asked for the drill is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

from bot import drill as drills
from bot import makes_way
from bot.drill import Range
from bot.engine.decisions import Ask, Desk, open_asks
from bot.engine.ledger import Ledger
from bot.engine.rules import DRILL
from bot.engine.run import Engine
from bot.errors import BulkheadError, DecisionRefused, EngineError, InputError
from bot.intake.inbox import Inbox
from bot.posts import Posts
from bot.scenario import SIMULATED, Drill
from bot.signing import PLAYED, WORLD, Attestor
from bot.store import Store, iso
from bot.store_drills import FAILED, ORDERED, OVER, RUNNING, Order, Orders
from bot.timeline import Timeline, load
from bot.world import REAL, Clock, RangeEndpoints

IDLE_S = 1.0
LOOK_S = 0.5
ENDING_S = 60.0
LONGEST_S = 4 * 3600.0  # a drill that nobody brings to its end is ended
LOST = "its company of the range has ended with the worker that ran it; order the drill again"
log = logging.getLogger("bulkhead")


class Site(Protocol):
    """What a drill needs of its World's clients: their clock."""

    @property
    def clock(self) -> Clock:
        """The range's."""


class House(Protocol):
    """What ``app.Bulkhead`` hands to the trainer."""

    store: Store
    timeline: Timeline
    inbox: Inbox
    attestor: Attestor

    @property
    def drills(self) -> Mapping[str, Drill]:
        """Every drill there is, by its id."""

    @property
    def desk(self) -> Desk:
        """Where decisions are handed in."""

    def company(self, endpoints: RangeEndpoints) -> AbstractContextManager[Site]:
        """The range's World, for as long as the block runs."""

    def seal_answer(self, incident: str, step: str, value: str) -> str:
        """Seal a secret that answers a step; returns its reference."""


class Trainer:
    """Runs what was ordered, one drill after the other."""

    def __init__(self, house: House, engine: Engine, up: Callable[[], AbstractContextManager[Range]]) -> None:
        """``up`` starts a range and ends it with the block."""
        self._house, self._engine, self._up = house, engine, up
        self.orders = Orders(house.store)

    async def run(self) -> None:
        """Look for orders until cancelled."""
        while True:
            if await asyncio.to_thread(self.orders.standing, RUNNING, ORDERED):
                with self._house.store.only_one("drills") as mine:  # whoever holds it has the one range
                    for order in await asyncio.to_thread(self.orders.standing, RUNNING, ORDERED) if mine else ():
                        await self._take(order)
            await asyncio.sleep(IDLE_S)

    async def _take(self, order: Order) -> None:
        """One order to its end. Whatever goes wrong with it stands in its row, and the next one gets its turn."""
        try:
            if order.state == RUNNING:  # of a worker that is no more
                raise EngineError(LOST)
            await asyncio.to_thread(self.orders.change, order.id, state=RUNNING)
            await self._run(order)
            await asyncio.to_thread(self.orders.change, order.id, state=OVER)
        except BulkheadError as exc:
            log.warning("the drill %s (%s) did not come to its end: %s", order.drill, order.id, exc)
            await self._abandon(str(exc))
            await asyncio.to_thread(self.orders.change, order.id, state=FAILED, note=str(exc)[:500])

    async def _abandon(self, why: str) -> None:
        """No incident of the range stays open without a range."""
        give_up, posts = time.monotonic() + ENDING_S, Posts(self._house.store)
        while (open_ones := await asyncio.to_thread(posts.heads, "open", DRILL)) and time.monotonic() < give_up:
            for incident in open_ones:
                await self._engine.abandon(incident, why)
            await asyncio.sleep(LOOK_S)

    async def _run(self, order: Order) -> None:
        drill = self._house.drills.get(order.drill)
        if drill is None:
            raise InputError(f"there is no drill {order.drill[:60]!r}; there are: {', '.join(self._house.drills)}")
        with contextlib.ExitStack() as stack:
            here = await asyncio.to_thread(stack.enter_context, self._up())
            try:
                site = stack.enter_context(self._house.company(here.endpoints))
                await Lesson(self._house, order, drill, here, site.clock).play()
            except BulkheadError as exc:
                await self._abandon(str(exc))  # while its World is still there
                raise
            finally:
                await asyncio.shield(asyncio.to_thread(stack.close))


class Lesson:
    """One drill in its company: the leak, the report, what simulated people do, and the attacker's last try."""

    def __init__(self, house: House, order: Order, drill: Drill, here: Range, clock: Clock) -> None:
        self._house, self.order, self.drill, self._here, self._clock = house, order, drill, here, clock
        self._orders, self._posts = Orders(house.store), Posts(house.store)
        self._heads: dict[str, int] = {}

    async def play(self) -> None:
        """From the leak to the last try. Raises EngineError when it does not come to an end."""
        before = await asyncio.to_thread(self._posts.heads, "open", REAL)
        await asyncio.to_thread(self._begin)
        give_up, main = time.monotonic() + LONGEST_S, ""
        while time.monotonic() < give_up:
            if new := set(await asyncio.to_thread(self._posts.heads, "open", REAL)) - set(before):
                raise EngineError(makes_way.words(new))
            heads = await asyncio.to_thread(self._posts.heads, "open", DRILL)
            main = main or await asyncio.to_thread(self._main, heads)
            if main and not heads:
                await asyncio.to_thread(self._end, main)
                return
            await asyncio.to_thread(self._people, heads)
            await asyncio.sleep(LOOK_S)
        raise EngineError(f"nobody brought it to its end within {LONGEST_S / 3600:.0f} hours")

    def _begin(self) -> None:
        """What happens before anybody knows; then somebody reports it."""
        world = partial(self._house.inbox.worlds[DRILL], f"drill-{self.order.id}")
        told = {act: drills.played(self.drill, act, self._here, world) for act in self.drill.acts}
        drills.keep(self._house.store, self.order.id, self.drill, told)
        drills.report(
            self._house.inbox, self.drill, told.get("leak", {}), self._here, at=self._clock.now(),
            delivery=self.order.id,
        )  # fmt: skip

    def _main(self, heads: Mapping[str, int]) -> str:
        """The incident of the report, once there is one. Raises EngineError when the report could not be worked."""
        for incident in heads:
            if self._house.store.incident(incident).body["inbox"] == self.order.report:
                self._orders.change(self.order.id, incident=incident)
                return incident
        for row in self._house.store.inbox("dead"):
            if row["id"] == self.order.report:
                raise EngineError(f"its report could not be worked: {row['note']}")
        return ""

    # people of the company ---------------------------------------------------------------------------------------

    def _people(self, heads: Mapping[str, int]) -> None:
        """Whoever the drill says answers, answers: they are of the company, and in nobody's Slack."""
        for incident, head in heads.items():
            if self._heads.get(incident) == head:
                continue
            self._heads[incident] = head
            events = load(self._house.store, incident)
            for ask in open_asks(events):
                step = ask.step.split("#")[0]
                if ask.purpose == "answer" and (step in self.drill.people or step in self.drill.answers):
                    self._answer(ask, events)

    def _answer(self, ask: Ask, events: list[Any]) -> None:
        looks = (e for e in events if e.kind == "look" and e.step == ask.step and e.body)
        who = next((str(e.body["before"].get("who") or "") for e in looks), "") or "somebody"
        done = self._house.inbox.store.decisions(ask.incident)
        if any(row.step == ask.step and row.plan_hash == ask.plan_hash and row.kind == "answer" for row in done):
            return
        try:
            self._house.desk.submit(
                events=events, incident=ask.incident, step=ask.step, kind="answer", by=f"{PLAYED}{who}{SIMULATED}",
                at=self._clock.now(), body={"text": self._said(ask), WORLD: DRILL}, plan=ask.plan_hash,
                sign=self._house.attestor.sign,
            )  # fmt: skip
        except DecisionRefused as exc:
            log.warning("in the drill %s: %s", self.drill.id, exc)

    def _said(self, ask: Ask) -> str:
        return drills.answer_of(self.drill, ask, self._here, self._house.seal_answer)

    # the end -----------------------------------------------------------------------------------------------------

    def _end(self, main: str) -> None:
        """The attacker tries again what it holds; what came of it is the last event of the drill."""
        tries = self._here.post("/drill/tries", {"scenario": self.drill.scenario})
        drills.keep(self._house.store, self.order.id, self.drill, {"tries-after": tries})
        collateral = self._here.post("/drill/collateral", {"scenario": self.drill.scenario})
        wrong = drills.not_contained(self.drill, Ledger.fold(load(self._house.store, main)), tries, collateral)
        body = {
            "drill": self.drill.id, "by": self.order.by, "contained": not wrong, "why_not": wrong,
            "refused": [one["name"] for one in tries if one["refused"]],
            "works": [one["name"] for one in tries if not one["refused"]],
        }  # fmt: skip
        self._house.timeline.append(main, "drill", "drill-ended", body, at=iso(self._clock.now())).result()
