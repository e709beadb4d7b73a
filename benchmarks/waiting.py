"""What it costs to wait for people, and how soon a decision is heard. In a process of its own, whose memory counts.

``python -m benchmarks.waiting FOLDER [DATABASE]`` prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.engine import engine_of, house, land, rows_of
from benchmarks.load import Provider, Shape, Step, catalogue, playbook
from bot import timeline
from bot.app import Bulkhead
from bot.engine.run import Engine
from bot.engine.steps import Ruling
from bot.model import Effect, Exposure, Liveness, Report, Triage
from bot.timeline import Event
from bot.world import World

COUNT, IDLE_S, DECISIONS, PATIENCE_S = 500, 5.0, 20, 120.0
PHASES = (("look", 0), ("run", 0), ("prove", 0))
CUT = Step(id="cut", provider="cloud", effect=Effect.CONTAIN, needs={}, phases=PHASES, cuts=True)
SHAPE = Shape(name="one", triage=0, steps=(CUT,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """``resumes_s``: seconds from a decision's landing to the commit of the incident's taking note of it."""

    count: int
    memory_kib: int  # what all of them added
    idle_cpu: float  # of one core
    resumes_s: list[float]

    @property
    def median_s(self) -> float:
        """The middle one."""
        return statistics.median(self.resumes_s)


def measure(folder: Path, database: str = "") -> Waited:
    """Measure in a process of its own. Raises CalledProcessError when that fails."""
    command = [sys.executable, "-m", "benchmarks.waiting", str(folder), *([database] if database else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Waited(**json.loads(done.stdout.splitlines()[-1]))


class Heard:
    """Events of one kind as they are committed."""

    def __init__(self, kind: str) -> None:
        self.kind, self.seen, self.new = kind, set[str](), threading.Condition()

    def take(self, event: Event) -> None:
        if event.kind == self.kind:
            with self.new:
                self.seen.add(event.incident)
                self.new.notify_all()

    def wait(self, count: int) -> None:
        with self.new:
            if not self.new.wait_for(lambda: len(self.seen) >= count, PATIENCE_S):
                raise TimeoutError(f"only {len(self.seen)} of {count} incidents have written {self.kind}")


async def _wait(bulkhead: Bulkhead) -> Waited:
    def triage(_world: World, report: Report) -> Triage:
        assert report.credential is not None
        return Triage(credential=report.credential, live=Liveness.LIVE, exposure=Exposure.PUBLIC)

    actions = catalogue(Provider(0.0), SHAPE)
    usual = engine_of(bulkhead, actions, triage).parts

    def rules(*case: Any) -> Ruling:
        return replace(usual.rules(*case), posture="one", on_silence="escalate", after_s=3600)

    engine = Engine(replace(usual, rules=rules))
    asked, decided = Heard("asked"), Heard("decided")
    bulkhead.timeline.listen(asked.take)
    bulkhead.timeline.listen(decided.take)
    rows = rows_of(bulkhead, playbook(SHAPE), actions, COUNT)
    await engine.start()
    try:
        before = _memory()
        await asyncio.to_thread(land, bulkhead, rows)
        await asyncio.gather(*(engine.open(row["id"]) for row in rows))
        await asyncio.to_thread(asked.wait, COUNT)
        after = _memory()
        await asyncio.sleep(1)
        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.sleep(IDLE_S)
        idle = (time.process_time() - cpu) / (time.perf_counter() - wall)
        step = COUNT // DECISIONS
        resumes = [await asyncio.to_thread(_decide, bulkhead, engine, f"inc-{k * step}", decided, k + 1)
                   for k in range(DECISIONS)]  # fmt: skip
    finally:
        await engine.stop()
    return Waited(count=COUNT, memory_kib=after - before, idle_cpu=idle, resumes_s=resumes)


def _decide(bulkhead: Bulkhead, engine: Engine, incident: str, decided: Heard, count: int) -> float:
    events = timeline.load(bulkhead.store, incident)
    at = bulkhead.sites["range"].clock.now()
    engine.desk.submit(events=events, incident=incident, step="cut", kind="approve", by="ann", at=at)
    landed = time.perf_counter()
    decided.wait(count)
    return time.perf_counter() - landed


def _memory() -> int:
    """What this process has in memory, in KiB. Linux only: elsewhere there is no such file, and it is 0."""
    told = Path("/proc/self/statm")
    return int(told.read_text().split()[1]) * resource.getpagesize() // 1024 if told.exists() else 0


if __name__ == "__main__":
    with house(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "") as here:
        print(json.dumps(asdict(asyncio.run(_wait(here)))))
