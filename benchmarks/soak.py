"""``python -m benchmarks.soak``: many drilled incidents in one worker, one after the other: what grows?

Memory, file handles and the time from report to close of the worker's process, which a long life must not raise. Each
incident is a whole drill in a company of its own, run by the trainer as ``/bulkhead drill run`` would; the range is a
child process, whose own growth is told beside and is not judged.

``--recorded`` takes incidents of four steps instead, whose actions only answer: ten thousand of them go through engine,
timeline and database in minutes, fifty at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import gc
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dbos import DBOS

from benchmarks.__main__ import LEAST
from benchmarks.engine import engine_of, house, land, rows_of
from benchmarks.load import Provider, catalogue, playbook
from bot import app
from bot.drill import Range, range_up
from bot.engine.decisions import open_asks
from bot.errors import DecisionRefused
from bot.intake.rounds import rounds
from bot.model import Exposure, Liveness, Machine, Report, Triage
from bot.settings import Settings, read
from bot.store import iso, when
from bot.store_drills import FAILED, ORDERED, OVER, RUNNING, Order, Orders
from bot.timeline import load
from bot.training import Trainer
from bot.world import World

AT_ONCE = 50  # recorded incidents
DRILL, COUNT, WARM = "github-pat-in-image", 30, 5  # the first few fill caches
FLAT = 1.10  # the last third against the first, of what must not grow
POOLS = 16  # files of the eight connections that the pool of a store keeps: SQLite has two of each, itself and its log
PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """After one incident, or so many at once: MiB and open files of the worker, seconds from report to close."""

    memory_mib: float
    files: int
    seconds: float


def rise(samples: list[Sample], of: Callable[[Sample], float]) -> float:
    """The median of the last third beside that of the first one, after the warm-up. 1 is flat."""
    rest = samples[WARM:] if len(samples) > 2 * WARM else samples
    third = max(1, len(rest) // 3)
    return statistics.median(map(of, rest[-third:])) / statistics.median(map(of, rest[:third]))


def soak(folder: Path, count: int, note: Callable[[Sample], object]) -> list[Sample]:
    """Run the incidents. Raises RuntimeError when one is not closed."""
    with range_up() as arena:

        @contextlib.contextmanager
        def up() -> Iterator[Range]:
            yield arena.anew()

        settings = Settings(home=folder, responders="ann,ben", mode="act")
        with app.opened(settings, sites={}) as bulkhead:
            return asyncio.run(_soak(bulkhead, up, count, note))


async def _soak(
    bulkhead: app.Bulkhead, up: Callable[[], AbstractContextManager[Range]], count: int,
    note: Callable[[Sample], object],
) -> list[Sample]:  # fmt: skip
    engine, orders, samples = bulkhead.engine(), Orders(bulkhead.store), list[Sample]()
    await engine.start()
    trainer = Trainer(bulkhead, engine, up)
    tasks = [asyncio.ensure_future(work) for work in (rounds(bulkhead.inbox, engine), trainer.run())]
    try:
        for number in range(count):
            order = Order(id=f"soak-{number}", drill=DRILL, by="soak", at=iso(datetime.now(UTC)))
            await asyncio.to_thread(orders.order, order)
            incident = await _over(bulkhead, orders, order.id, tasks)
            samples.append(await asyncio.to_thread(_sample, bulkhead, incident))
            note(samples[-1])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await engine.stop()
    return samples


async def _over(bulkhead: app.Bulkhead, orders: Orders, order: str, tasks: list[asyncio.Future[None]]) -> str:
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        for task in tasks:
            if task.done():
                task.result()
        known = await asyncio.to_thread(orders.standing, ORDERED, RUNNING, OVER, FAILED)
        (row,) = [one for one in known if one.id == order]
        if row.state == FAILED:
            raise RuntimeError(f"the drill {order} did not come to its end: {row.note}")
        if row.state == OVER:
            return row.incident
        await asyncio.to_thread(_agree, bulkhead)
        await asyncio.sleep(0.1)
    raise RuntimeError(f"the drill {order} was not over after {PATIENCE_S:.0f} s")


def _agree(bulkhead: app.Bulkhead) -> None:
    """Ann and Ben agree to whatever is asked; what somebody of the company answers is left to the trainer."""
    drill = bulkhead.drills[DRILL]
    for row in bulkhead.store.incidents("open"):
        events = load(bulkhead.store, row.id)
        for ask in open_asks(events):
            if ask.purpose == "answer" and ask.step.split("#")[0] in {*drill.people, *drill.answers}:
                continue
            kind, said = ("answer", {"text": "nothing of note"}) if ask.purpose == "answer" else ("approve", {})
            for who in ("ann", "ben")[: ask.needs]:
                with contextlib.suppress(DecisionRefused):  # somebody of the company was quicker
                    bulkhead.desk.submit(
                        events=events, incident=row.id, step=ask.step, kind=kind, by=who, at=datetime.now(UTC),
                        body=said,
                    )  # fmt: skip


def recorded(folder: Path, count: int, note: Callable[[Sample], object]) -> list[Sample]:
    """Run so many recorded incidents. Raises TimeoutError when some are not closed."""
    with house(folder, "") as bulkhead:
        return asyncio.run(_recorded(bulkhead, count, note))


async def _recorded(bulkhead: app.Bulkhead, count: int, note: Callable[[Sample], object]) -> list[Sample]:
    def triage(_world: World, report: Report) -> Triage:
        assert report.credential is not None
        return Triage(
            credential=report.credential, live=Liveness.LIVE, exposure=Exposure.PUBLIC, machine=Machine.UNKNOWN
        )

    actions, samples = catalogue(Provider(0.0), LEAST), list[Sample]()
    engine = engine_of(bulkhead, actions, triage)
    await engine.start()
    try:
        for first in range(0, count, AT_ONCE):
            rows = rows_of(bulkhead, playbook(LEAST), actions, min(AT_ONCE, count - first), first)
            began = time.monotonic()
            land(bulkhead, rows)
            await asyncio.gather(*(engine.open(row["id"]) for row in rows))
            for row in rows:
                over = (await DBOS.retrieve_workflow_async(row["id"])).get_result(polling_interval_sec=0.02)
                await asyncio.wait_for(over, PATIENCE_S)
            samples.append(_grown(time.monotonic() - began))
            note(samples[-1])
    finally:
        await engine.stop()
    return samples


def _sample(bulkhead: app.Bulkhead, incident: str) -> Sample:
    events = load(bulkhead.store, incident)
    closed = next(event for event in events if event.kind == "closed")
    return _grown((when(closed.at) - when(events[0].at)).total_seconds())


def _grown(seconds: float) -> Sample:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        memory_mib=pages * resource.getpagesize() / 2**20, files=len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - names
        seconds=seconds,
    )  # fmt: skip


def main() -> None:
    """Print the table. Exit status 1 where something grew."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    options.add_argument("--incidents", type=int, default=COUNT, help=f"so many ({COUNT})")
    options.add_argument("--recorded", action="store_true", help="of four steps that only answer, instead of drills")
    given = options.parse_args()
    home = read().home
    home.mkdir(parents=True, exist_ok=True)
    done: list[Sample] = []

    def note(sample: Sample) -> None:
        done.append(sample)
        sys.stderr.write(f"{len(done)}: {dataclasses.asdict(sample)}\n")

    with tempfile.TemporaryDirectory(prefix="soak-", dir=home) as place:
        samples = (recorded if given.recorded else soak)(Path(place), given.incidents, note)
    rows: list[tuple[str, Callable[[Sample], Any], str]] = [
        ("memory", lambda s: s.memory_mib, "MiB"), ("open files", lambda s: s.files, ""),
        ("report to close", lambda s: s.seconds, "s"),
    ]  # fmt: skip
    kind = f"recorded incidents in one worker, {AT_ONCE} at once" if given.recorded else (
        "drilled incidents in one worker, one after the other"
    )  # fmt: skip
    print(f"{given.incidents} {kind}; the last third beside the first:")
    grew = False
    for what, of, unit in rows:
        by = rise(samples, of)
        print(f"{what + ':':<18}{of(samples[0]):>8.1f} first, {of(samples[-1]):>8.1f} last {unit:<4}{by:>8.2f} times")
        # A machine that does other things is slower for a while, so the time is told and not judged.
        grew |= what == "memory" and by > FLAT
        grew |= what == "open files" and of(samples[-1]) - of(samples[0]) > POOLS
    raise SystemExit(grew)


if __name__ == "__main__":
    main()
