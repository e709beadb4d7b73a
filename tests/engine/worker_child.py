"""A worker in a process of its own, over a room of lamps: ``worker_child.py FOLDER DATABASE POSTURE LEASE_S``.

It says ``up`` when it runs, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bot import clock
from tests.engine.lamps import House


async def main(folder: Path, database: str, posture: str, lease_s: float) -> None:
    """Run until nobody listens any more."""
    house = House.build(folder, database=database)
    house.postures["contain"], house.lease_s = posture, lease_s
    engine = house.engine()
    await engine.start()
    print("up", flush=True)
    often = [clock.Job(job.do, 0.2) for job in clock.of_engine(engine)]
    async with clock.running(often):
        await asyncio.to_thread(sys.stdin.read)
    await engine.stop()
    house.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])))
