"""Drills in a running installation: ordered as rows, run by the worker, decided by real people.

Their choices are put to the team, or to one person who trains alone; for these, simulated people agree to the steps.

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
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from bot import drill as drills
from bot import makes_way, rehearsal
from bot.choices import END, REPORT
from bot.classroom import LONGEST_S, Classroom
from bot.drill import Range
from bot.engine.decisions import Ask, Desk, open_asks
from bot.engine.ledger import Ledger
from bot.engine.rules import DRILL, Rulebook
from bot.engine.run import Engine
from bot.errors import BulkheadError, DecisionRefused, EngineError, InputError
from bot.intake.inbox import Inbox
from bot.learn.score import score
from bot.lessons.postmortem import Postmortems
from bot.posts import Posts
from bot.scenario import NOTHING, SCENARIOS, SIMULATED, Drill
from bot.settings import Settings
from bot.signing import PLAYED, WORLD, Attestor
from bot.store import Store, iso
from bot.store_drills import ALONE, FAILED, MORE, ORDERED, OVER, RUNNING, Order, Orders, Scores
from bot.timeline import Timeline, load
from bot.world import REAL, Clock, RangeEndpoints

IDLE_S = 1.0
LOOK_S = 0.5
ENDING_S = 60.0
LOST = "its company of the range has ended with the worker that ran it; order the drill again"
T = TypeVar("T")
log = logging.getLogger("bulkhead")


class Site(Protocol):
    """What a drill needs of its World's clients: their clock."""

    @property
    def clock(self) -> Clock:
        """The range's."""


class House(Protocol):
    """What ``app.Bulkhead`` hands to the trainer."""

    settings: Settings
    rules: Rulebook
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

    @property
    def postmortems(self) -> Postmortems:
        """What is written of incidents afterwards."""

    @property
    def sites(self) -> Mapping[str, Site]:
        """The Worlds that this process has clients for."""

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
            await self._abandon(order, str(exc))
            await asyncio.to_thread(self.orders.change, order.id, state=FAILED, note=str(exc)[:500])

    async def _abandon(self, order: Order, why: str) -> None:
        """No incident of a drill stays open without it."""
        give_up = time.monotonic() + ENDING_S
        while (open_ones := await asyncio.to_thread(open_of, self._house.store, order)) and time.monotonic() < give_up:
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
                await self._abandon(order, str(exc))  # while its World is still there
                raise
            finally:
                await asyncio.shield(asyncio.to_thread(stack.close))


def open_of(store: Store, order: Order) -> dict[str, int]:
    """The open incidents of a drill, and the number of each one's last event."""
    found = Posts(store).heads("open", DRILL)
    inbox = {incident: str(store.incident(incident).body["inbox"]) for incident in found}
    return {incident: head for incident, head in found.items() if inbox[incident].partition(MORE)[0] == order.report}


class Lesson:
    """One drill in its company: the leak, the report, what simulated people do, and the attacker's last try."""

    def __init__(self, house: House, order: Order, drill: Drill, here: Range, clock: Clock) -> None:
        self._house, self.order, self.drill, self._here, self._clock = house, order, drill, here, clock
        self._orders, self._posts = Orders(house.store), Posts(house.store)
        self._heads: dict[str, int] = {}
        self._reports: list[str] = []  # of the inbox; the first is the one that the drill is about
        self._real: set[str] = set()  # real incidents that were open when it began
        self.classroom: Classroom | None = None
        if order.mode and drill.choices:
            self.classroom = Classroom(house.store, order, drill, self._happens)

    async def play(self) -> None:
        """From the leak to the last try. Raises EngineError when it does not come to an end."""
        self._real = set(await asyncio.to_thread(self._posts.heads, "open", REAL))
        give_up, main = time.monotonic() + LONGEST_S, ""
        await self._meanwhile(self._begin, give_up)
        while True:
            await self._look(give_up)
            heads = await asyncio.to_thread(open_of, self._house.store, self.order)
            main = main or await asyncio.to_thread(self._main, heads)
            over = not heads and not await asyncio.to_thread(self._landed)
            if over and (main or await asyncio.to_thread(self._nothing)):
                if await self._meanwhile(self._afterwards, give_up):
                    continue  # something has leaked again, and is reported
                await asyncio.to_thread(self._end, main)
                return
            await self._meanwhile(lambda heads=heads: self._people(heads), give_up)  # type: ignore[misc]
            await asyncio.sleep(LOOK_S)

    async def _meanwhile(self, work: Callable[[], T], give_up: float) -> T:
        """Do something in a thread, in which people may be waited for; a real incident ends the wait."""
        task = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=LOOK_S)
                await self._look(give_up)
            return task.result()
        finally:
            if not task.done() and self.classroom is not None:
                self.classroom.stop()
            await asyncio.gather(task, return_exceptions=True)

    async def _look(self, give_up: float) -> None:
        """Raises EngineError when a real incident has opened, and when nobody brings the drill to its end."""
        if new := set(await asyncio.to_thread(self._posts.heads, "open", REAL)) - self._real:
            raise EngineError(makes_way.words(new))
        if time.monotonic() > give_up:
            raise EngineError(f"nobody brought it to its end within {LONGEST_S / 3600:.0f} hours")

    def _begin(self) -> None:
        """What happens before anybody knows; then somebody reports it."""
        if self._here.post("/drill/tries", {"scenario": self.drill.scenario}):
            raise EngineError(f"{self.drill.id} was played in this company already; start it anew for another time")
        world = partial(self._house.inbox.worlds[DRILL], f"drill-{self.order.id}")
        told = {act: drills.played(self.drill, act, self._here, world) for act in self.drill.acts}
        leak = told.get("leak", {})
        if self.classroom is not None:  # what is thought over counts from here: somebody has said it
            sent = drills.payloads(self.drill, leak, self._here)
            self.classroom.open(drills.words(self.drill, leak, self._here)[1], sent)
            for said in self.classroom.at(REPORT):
                leak |= {hole: said[hole] for hole in SCENARIOS[self.drill.scenario].holes if hole in said}
        drills.keep(self._house.store, self.order.id, self.drill, told)
        self._report(leak, self.order.id)

    def _report(self, leak: dict[str, Any], delivery: str) -> None:
        landed, _ = drills.report(self._house.inbox, self.drill, leak, self._here, delivery=delivery)
        self._reports += [landed.id, *(f"{landed.id}{MORE}{name}" for name in self.drill.alerts)]

    def _main(self, heads: Mapping[str, int]) -> str:
        """The incident of the report, once there is one. Raises EngineError when the report could not be worked."""
        bodies = {incident: self._house.store.incident(incident).body for incident in heads}
        mine = [incident for incident, body in bodies.items() if body["inbox"] == self._reports[0]]
        for incident in sorted(mine, key=lambda one: bodies[one]["playbook"]["id"] != self.drill.playbook):
            self._orders.change(self.order.id, incident=incident)
            return incident
        if (why := self._dead()) and self.drill.ends != NOTHING:
            raise EngineError(f"its report could not be worked: {why}")
        return ""

    def _landed(self) -> bool:
        """Whether a report of it waits to be worked."""
        return any(row["id"] in self._reports for row in self._house.store.inbox("landed"))

    def _dead(self) -> str:
        """Why the report could not be worked, "" while it may be."""
        return next((str(row["note"]) for row in self._house.store.inbox("dead") if row["id"] in self._reports), "")

    def _nothing(self) -> bool:
        """Whether it was seen that there is nothing to cut, where that is how the drill ends."""
        return self.drill.ends == NOTHING and bool(self._dead())

    def _happens(self, act: str) -> dict[str, Any]:
        said: dict[str, Any] = self._here.post("/drill/happens", {"scenario": self.drill.scenario, "act": act})
        return said

    # people of the company ---------------------------------------------------------------------------------------

    def _people(self, heads: Mapping[str, int]) -> None:
        """Whoever the drill says answers, answers: they are of the company, and in nobody's Slack.

        For whoever trains alone its responders agree to the steps as well.
        """
        for incident, head in heads.items():
            if self._heads.get(incident) == head:
                continue
            events, ready = load(self._house.store, incident), True
            for ask in open_asks(events):
                step = ask.step.split("#")[0]
                if ask.purpose == "answer" and (step in self.drill.people or step in self.drill.answers):
                    self._choose(step)
                    self._answer(ask, events)
                elif ask.purpose != "answer":
                    again = drills.ready_again(self.drill, ask, self._here)
                    if again and self.order.mode == ALONE:
                        self._agree(ask, events)
                    ready = ready and again
            if self.order.mode == ALONE and self.drill.signs:
                self._sign(incident, events)
            if ready:  # somebody waits in the range for what another step does: they look again
                self._heads[incident] = head

    def _choose(self, step: str) -> None:
        if self.classroom is not None:
            self._reported_again(step, self.classroom.at(step))

    def _reported_again(self, moment: str, happened: Sequence[dict[str, Any]]) -> bool:
        """Whether what came of a choice has leaked something: then that is reported too."""
        again = [said for said in happened if "run_url" in said]
        for number, leak in enumerate(again):
            self._report(leak, f"{self.order.id}{MORE}{moment}{number}")
        return bool(again)

    def _afterwards(self) -> bool:
        """The choices once all is contained. What leaks again because of them is reported again: True then."""
        return self._reported_again(END, self.classroom.at(END)) if self.classroom is not None else False

    def _answer(self, ask: Ask, events: list[Any]) -> None:
        looks = (e for e in events if e.kind == "look" and e.step == ask.step and e.body)
        who = next((str(e.body["before"].get("who") or "") for e in looks), "") or "somebody"
        if not self._said(ask, f"{PLAYED}{who}{SIMULATED}"):
            text = drills.answer_of(self.drill, ask, self._here, self._house.seal_answer)
            self._submit(ask, events, "answer", f"{PLAYED}{who}{SIMULATED}", {"text": text})

    def _agree(self, ask: Ask, events: list[Any]) -> None:
        """As many of the responders as it takes."""
        for name in self.drill.responders[: ask.needs]:
            if not self._said(ask, f"{PLAYED}{name}"):
                self._submit(ask, events, "approve", f"{PLAYED}{name}", {})

    def _said(self, ask: Ask, by: str) -> bool:
        done = self._house.inbox.store.decisions(ask.incident)
        return any(row.step == ask.step and row.plan_hash == ask.plan_hash and row.by == by for row in done)

    def _submit(self, ask: Ask, events: list[Any], kind: str, by: str, body: dict[str, Any]) -> None:
        try:
            self._house.desk.submit(
                events=events, incident=ask.incident, step=ask.step, kind=kind, by=by, at=self._clock.now(),
                body=body | {WORLD: DRILL}, plan=ask.plan_hash, sign=self._house.attestor.sign,
            )  # fmt: skip
        except DecisionRefused as exc:
            log.warning("in the drill %s: %s", self.drill.id, exc)

    def _sign(self, incident: str, events: list[Any]) -> None:
        rehearsal.sign(
            self._house, self.drill, self._here.post, incident, events, by=f"{PLAYED}{self.drill.responders[0]}",
            sign=self._house.attestor.sign, said={WORLD: DRILL},
        )  # fmt: skip

    # the end -----------------------------------------------------------------------------------------------------

    def _end(self, main: str) -> None:
        """The attacker tries again what it holds; what came of it is the last event of the drill."""
        tries = self._here.post("/drill/tries", {"scenario": self.drill.scenario})
        drills.keep(self._house.store, self.order.id, self.drill, {"tries-after": tries})
        collateral = self._here.post("/drill/collateral", {"scenario": self.drill.scenario})
        events = load(self._house.store, main) if main else []
        wrong = drills.not_contained(self.drill, Ledger.fold(events), tries, collateral)
        if self.classroom is not None:
            self._score(self.classroom, main, events, contained=not wrong)
        body = {
            "drill": self.drill.id, "by": self.order.by, "contained": not wrong, "why_not": wrong,
            "refused": [one["name"] for one in tries if one["refused"]],
            "works": [one["name"] for one in tries if not one["refused"]],
        }  # fmt: skip
        if main:
            at = iso(self._clock.now())
            self._house.timeline.append(main, "drill", "drill-ended", body, at=at).result()

    def _score(self, room: Classroom, main: str, events: list[Any], *, contained: bool) -> None:
        taken = list(room.choosing.taken.values())
        scored = score(self.drill, taken, events, owner=room.owner, thought_s=room.thought_s)
        if main:
            said = {"choices": [one.as_json() for one in taken], **drills.told_of(scored)}
            at = iso(self._clock.now())
            self._house.timeline.append(main, "drill", "drill-scored", said, at=at).result()
        people = {self._house.rules.human(one) for one in room.people or {self.order.by}}
        Scores(self._house.store).keep(
            self.order.id, drill=self.drill.id, at=iso(datetime.now(UTC)), total=scored.total,
            team=self._house.settings.team_of_people(people), people=people,
        )  # fmt: skip
        if main and contained:
            found = [asdict(one) for one in scored.findings]
            rehearsal.follow_up(self._house.postmortems, main, found, room.owner)
        room.score(scored)
