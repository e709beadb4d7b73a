"""What each shipped playbook does, recorded in its drill on the range: steps, order, calls over the network.

Left out, since a script would not do it or no clock of ours counts it: looks that only fill a card, the time of
people (their steps are there, answered at once), and the incident that a drill opens beside its own.
"""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.load import Shape, Step
from bot import app, drill, sites
from bot.actions import CATALOGUE
from bot.engine.pace import PLAN
from bot.engine.steps import StepRun
from bot.model import Report, Triage
from bot.playbook import Playbook, load, load_folder
from bot.scenario import load_drill
from bot.settings import Settings
from bot.timeline import Event
from bot.world import World

DRILLS = ("aws-key-in-public-log", "npm-token-stolen-by-dependency", "github-pat-in-image")
PHASES = ("look", "evidence", "run", "prove")
Tally = dict[tuple[str, str], dict[str, int]]  # (incident, step) -> phase -> calls


def shapes(folder: Path) -> list[Shape]:
    """Run each drill once in this folder. Raises RuntimeError when one does not end as it should."""
    with drill.range_up() as arena:
        return [_shape(name, arena, folder / name) for name in DRILLS]


def _shape(name: str, arena: drill.Range, home: Path) -> Shape:
    fresh = drill.Range(info={**arena.info, "cast": arena.post("/reset")["cast"]})
    source = app.SHIPPED / "drills" / f"{name}.yaml"
    scenario = load_drill(source.read_text(), str(source), load_folder([app.SHIPPED / "containment"], CATALOGUE))
    scenario = dataclasses.replace(scenario, delay_s=0.02)
    settings = Settings(home=home, responders=",".join(scenario.responders))
    with _counting() as (tally, triaged), app.opened(settings, sites={"range": sites.range_site(fresh.endpoints)}) as b:
        result = asyncio.run(drill.Run(scenario, b, fresh, lambda _kind, _data: None).run())
        if not result.contained:
            raise RuntimeError(f"the drill {name} was not contained: {result.why_not}")
        row = b.store.incident(result.incident)
        book = load(row.body["playbook"]["text"], row.body["playbook"]["source"], CATALOGUE)
    looks = [Event(**event) for event in result.timeline if event["kind"] == "look"]
    cuts = {_plain(event.step) for event in looks if event.body["kills"] == row.credential_key}
    mine = {_plain(step): phases for (incident, step), phases in tally.items() if incident == result.incident}
    return Shape(name=book.id, triage=triaged[0], steps=tuple(_steps(book, mine, cuts)))


def _steps(book: Playbook, ran: dict[str, dict[str, int]], cuts: set[str]) -> Iterator[Step]:
    """Steps in an order in which each one comes after those that it needs; one for each item of a for_each."""
    instances = {s.id: [name for name in ran if re.fullmatch(rf"{s.id}(-\d+)?", name)] for s in book.steps}
    waits: dict[str, dict[str, str]] = {}
    for step in book.order():
        needs: dict[str, str] = {}
        for name, level in step.needs.items():
            if level == "look":
                continue  # whoever refers to what a look found waits for more of that step here, too
            # What was skipped is passed at once, and so is waited for as long as what it needs itself.
            needs |= dict.fromkeys(instances[name], level) if instances[name] else waits[name]
        waits[step.id] = needs
        action = CATALOGUE[step.uses]
        for name in instances[step.id] or [step.id]:
            phases = tuple((phase, ran[name][phase]) for phase in PHASES if phase in ran.get(name, ()))
            yield Step(
                id=name, provider=action.provider, effect=action.effect, needs=needs, phases=phases, cuts=name in cuts
            )


def _plain(step: str) -> str:
    return step.replace("#", "-")


@contextmanager
def _counting() -> Iterator[tuple[Tally, list[int]]]:
    """Count the requests that each call of an action makes, and those of a reported credential's triage."""
    here, tally, triaged = threading.local(), defaultdict(lambda: defaultdict(int)), []  # type: ignore[var-annotated]
    request, call, triage = http.client.HTTPConnection.putrequest, StepRun.call, app.Bulkhead._triage

    def putrequest(self: Any, *args: Any, **kw: Any) -> None:
        here.requests = getattr(here, "requests", 0) + 1
        request(self, *args, **kw)

    def during(function: Callable[..., Any], *args: Any) -> tuple[Any, int]:
        before = getattr(here, "requests", 0)
        made = function(*args)
        return made, here.requests - before if hasattr(here, "requests") else 0

    async def counted(
        self: StepRun, function: Callable[..., Any], *args: Any, priority: int | None = None, **more: Any
    ) -> Any:
        made, requests = await call(self, during, function, *args, priority=priority, **more)
        phase = next(name for name in PHASES if getattr(self.action, name) is function)
        if priority != PLAN:
            tally[self.journal.incident, self.id][phase] += requests
        return made

    def first(self: app.Bulkhead, world: World, report: Report) -> Triage:
        found, requests = during(triage, self, world, report)
        if not report.beside:
            triaged.append(requests)
        return found  # type: ignore[no-any-return]

    http.client.HTTPConnection.putrequest = putrequest  # type: ignore[method-assign,assignment]
    StepRun.call, app.Bulkhead._triage = counted, first  # type: ignore[method-assign,assignment]
    try:
        yield tally, triaged
    finally:
        http.client.HTTPConnection.putrequest = request  # type: ignore[method-assign]
        StepRun.call, app.Bulkhead._triage = call, triage  # type: ignore[method-assign]
