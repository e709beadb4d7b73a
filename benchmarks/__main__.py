"""``python -m benchmarks``: what durability costs, against a script that remembers nothing, on both databases."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import os
import platform
import statistics
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa

from benchmarks import bare, engine, record, waiting
from benchmarks.load import Load, Measured, Shape, Step
from bot.engine.pace import Pace
from bot.model import Effect
from bot.settings import read
from tests.postgres import server

PLACES = int(inspect.signature(Pace).parameters["places"].default)  # calls at once at one provider
INCIDENTS, RUNS, AIM = 10, 3, 1.10
SCRIPT, SQLITE, POSTGRESQL = "a script with threads, nothing kept", "the engine, on SQLite", "the engine, on PostgreSQL"
_ROW = "{:<38}{:>10}{:>8}{:>10}{:>8}{:>14}{:>10}"

Database = Callable[[], str]  # the URL of a new one


def _step(name: str, effect: Effect, *needs: str) -> Step:
    phases = (("look", 1), ("run", 1), ("prove", 1))
    return Step(id=name, provider="cloud", effect=effect, needs=dict.fromkeys(needs, "proven"), phases=phases,
                cuts=name == "cut")  # fmt: skip


# The fewest calls that steps can make. A hundred incidents of it at once: where the engine's own work shows most.
LEAST = Shape(name="one call a phase", triage=0, steps=(
    _step("cut", Effect.CONTAIN), _step("sessions", Effect.CONTAIN, "cut"), _step("pipeline", Effect.CONTAIN, "cut"),
    _step("restore", Effect.CHANGE, "sessions", "pipeline"),
))  # fmt: skip


def main() -> None:
    """Print every figure."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--incidents", type=int, default=INCIDENTS, help=f"incidents at once ({INCIDENTS})")
    options.add_argument("--runs", type=int, default=RUNS, help=f"runs of each, of which the median counts ({RUNS})")
    options.add_argument("--call-ms", type=float, default=80.0, help="how long a provider's call takes (80)")
    given = options.parse_args()
    home = read().home  # the disk that a real installation would write to
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=home) as place, postgres(Path(place)) as new:
        folder = Path(place)
        print(
            f"Every call to a provider takes {given.call_ms:g} ms; at most {PLACES} at once at each provider. "
            f"SQLite lies below {home}.\n{os.cpu_count()} cores, {platform.machine()}, "
            f"Python {platform.python_version()}. Seconds from the opening, medians of {given.runs}.\n"
            f"Load of the machine beforehand: {os.getloadavg()[0]:.1f}. Above 0.5 the figures say little."
        )
        for shape in record.shapes(folder / "drills"):
            load = Load(shape=shape, incidents=given.incidents, call_s=given.call_ms / 1000)
            table(f"Playbook {shape.name}", load, given.runs, folder, new)
        table("Steps of one call a phase", Load(shape=LEAST, incidents=100), given.runs, folder, new)
        people(folder, new)


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Database]:
    """A real PostgreSQL on this machine that waits for its disk, as it does by default."""
    with server(folder / "postgres", settings=("max_connections=100",)) as url:

        def new() -> str:
            name = f"b_{uuid.uuid4().hex[:12]}"
            admin = sa.create_engine(url.format("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
            with admin.connect() as c:
                c.execute(sa.text(f"CREATE DATABASE {name}"))
            return url.format(name)

        yield new


def table(title: str, load: Load, runs: int, folder: Path, new: Database) -> None:
    """Measure one load, turn about, and print it. Raises SystemExit when the runs would not compare."""
    by: dict[str, list[Measured]] = {SCRIPT: [], SQLITE: [], POSTGRESQL: []}
    for k in range(runs):
        sys.stderr.write(f"{title}: run {k + 1} of {runs}\n")
        by[SCRIPT].append(bare.measure(load, PLACES))
        by[SQLITE].append(engine.measure(load, folder / f"{load.shape.name}-{k}"))
        by[POSTGRESQL].append(engine.measure(load, folder / f"{load.shape.name}-{k}-pg", new()))
    for one in (*by[SCRIPT], *by[SQLITE], *by[POSTGRESQL]):
        if one.calls != load.calls:
            raise SystemExit(f"a run made {one.calls} calls where {load.calls} were due: the figures would not compare")
    steps = sum(1 for step in load.shape.steps if step.phases)
    print(
        f"\n{title}: {load.incidents} incidents at once, {steps} steps and {load.shape.calls} calls each, "
        f"which cannot be over before {load.floor(PLACES):.2f} s"
    )
    print(_ROW.format("", "last cut", "", "all done", "", "ms CPU a", "a step"))
    print(_ROW.format("", "", "", "", "", "checkpoint", ""))
    for name, measured in by.items():
        print(_row(name, measured, by[SCRIPT], load, steps))


def _row(name: str, measured: list[Measured], floor: list[Measured], load: Load, steps: int) -> str:
    cut, done = _median(measured, lambda m: m.last_cut_s), _median(measured, lambda m: m.all_done_s)
    if measured is floor:
        return _ROW.format(name, f"{cut:.2f}", "", f"{done:.2f}", "", "", "")
    cpu = _median(measured, lambda m: m.cpu_s) - _median(floor, lambda m: m.cpu_s)
    by_cut, by_done = cut / _median(floor, lambda m: m.last_cut_s), done / _median(floor, lambda m: m.all_done_s)
    return _ROW.format(
        name, f"{cut:.2f}", f"{by_cut:.2f}x", f"{done:.2f}", f"{by_done:.2f}x",
        f"{1000 * cpu / measured[0].events:.2f}", f"{1000 * cpu / load.incidents / steps:.2f}",
    )  # fmt: skip


def _median(runs: list[Measured], of: Callable[[Measured], float]) -> float:
    return statistics.median(of(run) for run in runs)


def people(folder: Path, new: Database) -> None:
    """Measure what waiting for people costs, and print it."""
    print(f"\n{waiting.COUNT} incidents that wait for people:")
    for name, database in ((SQLITE, ""), (POSTGRESQL, new())):
        sys.stderr.write(f"{waiting.COUNT} waiting, {name}\n")
        seen = waiting.measure(folder / f"waiting-{bool(database)}", database)
        print(
            f"{name + ':':<28} {seen.memory_kib / 1024:.0f} MiB ({seen.memory_kib / seen.count:.0f} KiB each), "
            f"{100 * seen.idle_cpu:.1f} % of a core; a decision is taken note of after {1000 * seen.median_s:.0f} ms, "
            f"{1000 * max(seen.resumes_s):.0f} ms at most of {len(seen.resumes_s)}"
        )


if __name__ == "__main__":
    main()
