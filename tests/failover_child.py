"""Workers in processes that can be killed or stopped. Each line of the input is an order, and has a line of answer:
``{"home", "range", "database", "responders", "at", "signal", "lease_s"}`` begins a worker and is answered with its
process id; ``{"end": PID}`` ends one; ``{"lives": PID}`` asks whether one has not ended. All end with the input.

Each is a worker as production has it, over a range for its World. One that comes to a boundary of ``at`` where nobody
has been yet sends itself the signal, unless one before it has no successor; who that was and where stands in
HOME/down-0, down-1 and so on. They are forked from this process, which has done nothing but import.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import traceback
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bot import app, drill, sites
from bot.engine.run import Engine
from bot.store_workers import LEASE
from tests.failover import DOWN, Gone, downs, settings_of


class House(app.Bulkhead):
    """Whose workers' leases last as long as a test says, so that one of a hanging worker is short."""

    lease_s = 0.0

    def engine(self) -> Engine:
        return Engine(replace(super().engine().parts, lease_s=self.lease_s))


def work(order: dict[str, Any]) -> None:
    """Work until something ends this process."""
    home, places = Path(order["home"]), frozenset(order["at"])

    def boundary(name: str) -> None:
        if name not in places or any(gone.where == name for gone in downs(home)):
            return
        mine = home / f"mine-{os.getpid()}"
        mine.write_text(json.dumps(asdict(Gone(pid=os.getpid(), where=name, lease=LEASE + house.store.process))))
        try:
            os.link(mine, home / f"{DOWN}{len(list(home.glob('back-*')))}")
        except FileExistsError:
            return  # somebody else is gone, and has no successor yet
        os.kill(os.getpid(), order["signal"])

    site = sites.range_site(drill.Range(info=order["range"]).endpoints)
    settings = settings_of(Path(order["home"]), order["database"], order["responders"])
    house = House(settings, sites={"range": site}, boundary=boundary)
    house.lease_s = order["lease_s"]
    asyncio.run(house.work())


def forked(order: dict[str, Any]) -> int:
    """Begin a worker; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    out = os.open(f"{order['home']}/out-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    try:
        work(order)
    except BaseException:  # noqa: BLE001 - whatever it was, this is a child that must not go on as its parent
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(1)  # a worker never ends by itself


class Brood:
    """The workers that were begun. Who has ended stays a zombie, and nobody else gets its process id, until ``end``."""

    def __init__(self) -> None:
        self._pids: set[int] = set()

    def begin(self, order: dict[str, Any]) -> int:
        pid = forked(order)
        self._pids.add(pid)
        return pid

    def end(self, pid: int) -> None:
        if pid in self._pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._pids.discard(pid)

    def lives(self, pid: int) -> bool:
        return pid in self._pids and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def close(self) -> None:
        for pid in list(self._pids):
            self.end(pid)


def answer(brood: Brood, order: dict[str, Any]) -> Any:
    """What an order asks for."""
    if "end" in order:
        return brood.end(order["end"])
    return brood.lives(order["lives"]) if "lives" in order else brood.begin(order)


if __name__ == "__main__":
    with contextlib.closing(Brood()) as brood:
        for line in sys.stdin:
            print(json.dumps(answer(brood, json.loads(line))), flush=True)
