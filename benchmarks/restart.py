"""``python -m benchmarks.restart``: a worker is killed with 500 incidents in flight; how soon does each one go on?

All of them wait for people, who agree while no worker lives. Measured in the next worker's process, from the start of
its engine until each incident has taken note of its decision, and until all are closed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.__main__ import POSTGRESQL, SQLITE, postgres
from benchmarks.engine import engine_of, house, land, rows_of
from benchmarks.load import Provider, catalogue, playbook
from benchmarks.waiting import COUNT, SHAPE, Heard
from bot import timeline
from bot.app import Bulkhead
from bot.engine.run import Engine
from bot.engine.steps import Ruling
from bot.model import Exposure, Liveness, Report, Triage
from bot.settings import read
from bot.world import World

BEGIN, GO_ON = "begin", "go-on"


def measure(folder: Path, database: str = "", count: int = COUNT) -> tuple[float, float]:
    """Seconds until all have taken note, and until all are closed. Raises CalledProcessError when a process fails."""
    command = [sys.executable, "-m", "benchmarks.restart", "--role"]
    place = ["--count", str(count), str(folder), database]
    with subprocess.Popen([*command, BEGIN, *place], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        line = first.stdout.readline()
        first.kill()  # no word of farewell: what is under way is where it is
        if line != "asked\n":
            raise subprocess.CalledProcessError(first.wait(), command)
    with house(folder, database) as bulkhead:
        desk, at = bulkhead.desk, bulkhead.sites["range"].clock.now()
        for row in bulkhead.store.incidents("open"):
            events = timeline.load(bulkhead.store, row.id)
            desk.submit(events=events, incident=row.id, step="cut", kind="approve", by="ann", at=at)
    done = subprocess.run([*command, GO_ON, *place], stdout=subprocess.PIPE, text=True, check=True)
    noted, closed = json.loads(done.stdout)
    return noted, closed


def _engine(bulkhead: Bulkhead) -> Engine:
    def triage(_world: World, report: Report) -> Triage:
        assert report.credential is not None
        return Triage(credential=report.credential, live=Liveness.LIVE, exposure=Exposure.PUBLIC)

    usual = engine_of(bulkhead, catalogue(Provider(0.0), SHAPE), triage).parts

    def rules(*case: object) -> Ruling:
        return replace(usual.rules(*case), posture="one", on_silence="escalate", after_s=3600)  # type: ignore[arg-type]

    return Engine(replace(usual, rules=rules))


async def _begin(bulkhead: Bulkhead, count: int) -> None:
    engine, asked = _engine(bulkhead), Heard("asked")
    bulkhead.timeline.listen(asked.take)
    rows = rows_of(bulkhead, playbook(SHAPE), engine.parts.catalogue, count)
    await engine.start()
    await asyncio.to_thread(land, bulkhead, rows)
    await asyncio.gather(*(engine.open(row["id"]) for row in rows))
    await asyncio.to_thread(asked.wait, count)
    print("asked", flush=True)
    await asyncio.Event().wait()  # until it is killed


async def _go_on(bulkhead: Bulkhead, count: int) -> None:
    engine, decided, closed = _engine(bulkhead), Heard("decided"), Heard("closed")
    for heard in (decided, closed):
        bulkhead.timeline.listen(heard.take)
    began = time.perf_counter()
    await engine.start()
    try:
        await asyncio.to_thread(decided.wait, count)
        noted = time.perf_counter() - began
        await asyncio.to_thread(closed.wait, count)
        print(json.dumps([noted, time.perf_counter() - began]), flush=True)
    finally:
        await engine.stop()


def main() -> None:
    """Print how soon, on both databases."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.restart", description=__doc__)
    options.add_argument("--count", type=int, default=COUNT, help=f"incidents in flight ({COUNT})")
    options.add_argument("--role", choices=(BEGIN, GO_ON), help=argparse.SUPPRESS)  # what this calls itself with
    options.add_argument("place", nargs="*", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.role:
        folder, database = Path(given.place[0]), given.place[1]
        with house(folder, database) as bulkhead:
            asyncio.run((_begin if given.role == BEGIN else _go_on)(bulkhead, given.count))
        return
    home = read().home
    home.mkdir(parents=True, exist_ok=True)
    print(
        f"A worker killed with {given.count} incidents in flight, and people agree before the next one starts. "
        f"Load of the machine beforehand: {os.getloadavg()[0]:.1f}."
    )
    with tempfile.TemporaryDirectory(prefix="restart-", dir=home) as place, postgres(Path(place)) as new:
        for name, database in ((SQLITE, ""), (POSTGRESQL, new())):
            noted, closed = measure(Path(place) / f"h-{bool(database)}", database, given.count)
            said = f"each has gone on after {noted:.1f} s, all are closed after {closed:.1f} s"
            print(f"{name + ':':<28} {said}", flush=True)


if __name__ == "__main__":
    main()
