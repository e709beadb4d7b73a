"""``python -m benchmarks``: what durability costs, against a script that remembers nothing."""

from __future__ import annotations

import argparse
import inspect
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import bare, engine
from benchmarks.load import GRAPH, PHASES, Load, Measured
from bot.engine.pace import Pace
from bot.settings import read

PLACES = int(inspect.signature(Pace).parameters["places"].default)  # calls at once at one provider
INCIDENTS, RUNS = 100, 3
_ROW = "{:<44}{:>12}{:>12}"


def main() -> None:
    """Print one table a load."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--incidents", type=int, default=INCIDENTS, help=f"incidents at once ({INCIDENTS})")
    options.add_argument("--runs", type=int, default=RUNS, help=f"runs of each, of which the median counts ({RUNS})")
    options.add_argument("--call-ms", type=float, default=80.0, help="how long a provider's call takes (80)")
    given = options.parse_args()
    home = read().home  # the disk that a real installation would write to
    home.mkdir(parents=True, exist_ok=True)
    print(
        f"Durability: {given.incidents} incidents at once, {len(GRAPH)} steps each of {', '.join(PHASES)}.\n"
        f"Every provider call takes {given.call_ms:g} ms. The database lies below {home}.\n"
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}. "
        f"Seconds from the opening, medians of {given.runs}.\n"
        f"Load of the machine beforehand: {os.getloadavg()[0]:.1f}. Above 0.5 the figures say little."
    )
    with tempfile.TemporaryDirectory(prefix="bench-", dir=home) as folder:
        for providers in (1, 4):
            load = Load(incidents=given.incidents, providers=providers, call_s=given.call_ms / 1000)
            table(load, given.runs, Path(folder))


def table(load: Load, runs: int, folder: Path) -> None:
    """Measure one load, turn about, and print it."""
    by_script: list[Measured] = []
    by_engine: list[Measured] = []
    for k in range(runs):
        sys.stderr.write(f"run {k + 1} of {runs}, {load.providers} provider(s)\n")
        by_script.append(bare.measure(load, PLACES))
        by_engine.append(engine.measure(load, folder / f"{load.providers}-{k}"))
    for one in (*by_script, *by_engine):
        if one.calls != load.calls:
            raise SystemExit(f"a run made {one.calls} calls where {load.calls} were due: the figures would not compare")
    floor = load.calls * load.call_s / (PLACES * load.providers)
    print(f"\n{load.providers} provider(s), at most {PLACES} calls at once at each:")
    print(f"{load.calls} calls, which cannot be over before {floor:.2f} s")
    print(_ROW.format("", "last cut", "all done"))
    print(_row("a script with threads, nothing kept", by_script))
    print(_row("the engine, on SQLite", by_engine))
    print(_ROW.format("ratio", *(f"{_median(by_engine, of) / _median(by_script, of):.2f}x" for of in _COLUMNS)))


_COLUMNS: tuple[Callable[[Measured], float], ...] = (lambda m: m.last_cut_s, lambda m: m.all_done_s)


def _median(runs: list[Measured], of: Callable[[Measured], float]) -> float:
    return statistics.median(of(run) for run in runs)


def _row(name: str, runs: list[Measured]) -> str:
    return _ROW.format(name, *(f"{_median(runs, of):.2f}" for of in _COLUMNS))


if __name__ == "__main__":
    main()
