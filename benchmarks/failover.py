"""``python -m benchmarks.failover``: how long an incident stands still when one of two workers on PostgreSQL is gone.

It is gone just before the first cut: killed, so that its sessions end with it, or stopped, so that nothing tells of it
but its lease. Measured from that moment to the next event that the other one writes.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import sqlalchemy as sa

from benchmarks.__main__ import postgres
from bot.drill import Range, range_up
from bot.engine.run import Parts
from bot.settings import read
from bot.store import Store
from tests.failover import DOWN, Crew, Hatchery, hatchery

DRILL, AT = "aws-key-in-public-log", "after deactivate/look/1"
LEASE_S = float(Parts.__dataclass_fields__["lease_s"].default)  # as it is in production
SPARE_S = 2.0  # the aim: the lease and this
RUNS = 3


class Stillness:
    """Waits until a worker is gone, then for the next event of anybody; seconds between the two."""

    def __init__(self, home: Path, database: str) -> None:
        self.seconds = float("nan")
        self._down, self._database = home / f"{DOWN}0", database
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._down.exists():
            time.sleep(0.005)
        gone = self._down.stat().st_mtime
        store = Store(self._database)
        query = sa.text("SELECT sum(head_n) FROM incident")
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
            time.sleep(0.1)  # what the one that is gone had sent to the database before
            before = c.scalar(query)
            while c.scalar(query) == before:
                time.sleep(0.01)
        self.seconds = time.time() - gone
        store.close()

    def over(self) -> float:
        """What was measured."""
        self._thread.join(60)
        return self.seconds


def measure(how: signal.Signals, arena: Range, workers: Hatchery, folder: Path, database: str) -> float:
    """Seconds of standing still. Raises RuntimeError when the drill is not contained in the end."""
    folder.mkdir()
    crew = Crew(arena=arena.anew(), hatchery=workers, home=folder, database=database, name=DRILL)
    still = Stillness(folder, database)
    try:
        result, bulkhead = crew.play([AT], how)
        bulkhead.close()
    finally:
        crew.stop()
    if not result.contained:
        raise RuntimeError(f"the drill was not contained: {result.why_not}")
    return still.over()


def main() -> None:
    """Print how long. Exit status 1 where it took longer than the lease and two seconds."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.failover", description=__doc__)
    options.add_argument("--runs", type=int, default=RUNS, help=f"of each ({RUNS})")
    given = options.parse_args()
    home = read().home
    home.mkdir(parents=True, exist_ok=True)
    late = False
    with (
        tempfile.TemporaryDirectory(prefix="failover-", dir=home) as place, postgres(Path(place)) as new,
        range_up() as arena, hatchery(LEASE_S) as workers,
    ):  # fmt: skip
        print(
            f"Two workers on PostgreSQL, one of which is gone just before it cuts; a lease lasts {LEASE_S:g} s.\n"
            f"Load of the machine beforehand: {os.getloadavg()[0]:.1f}. Medians of {given.runs}, and the longest."
        )
        for how, what in ((signal.SIGKILL, "killed"), (signal.SIGSTOP, "stopped")):
            took = []
            for k in range(given.runs):
                sys.stderr.write(f"{what}: {k + 1} of {given.runs}\n")
                took.append(measure(how, arena, workers, Path(place) / f"{what}-{k}", new()))
            print(f"{what + ':':<10}{statistics.median(took):.1f} s, {max(took):.1f} s at most", flush=True)
            late |= max(took) > LEASE_S + SPARE_S
    raise SystemExit(late)


if __name__ == "__main__":
    main()
