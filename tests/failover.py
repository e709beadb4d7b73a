"""Two workers on one PostgreSQL and a drill beside them: one is killed or stopped at a boundary, and again later on.

Who is gone has a successor, so that there are two whenever the next one goes.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bot import app, drill, sites, timeline
from bot.actions import CATALOGUE
from bot.playbook import load_folder
from bot.scenario import Drill, load_drill
from bot.settings import Settings
from bot.store_workers import LEASE

Leases = Callable[[], set[str]]
CHILD = Path(__file__).parent / "failover_child.py"
DOWN = "down-"  # and a number: a file of a worker's home that says who is gone
LEASE_S = 5.0
LATER = ("postmortem", "follow-up")  # kinds
PATIENCE_S = 90.0


def settings_of(home: Path, database: str, responders: str) -> Settings:
    """Of a worker, and of who looks on."""
    key = SecretStr(base64.b64encode(bytes(range(32))).decode())
    return Settings(
        home=home, responders=responders, database_url=database, vault_key=key, evidence=f"{home}/evidence"
    )


def scenario_of(name: str) -> Drill:
    """A shipped drill, whose people do not think."""
    source = app.SHIPPED / "drills" / f"{name}.yaml"
    scenario = load_drill(source.read_text(), str(source), load_folder([app.SHIPPED / "containment"], CATALOGUE))
    return dataclasses.replace(scenario, delay_s=0.02)


class Hatchery:
    """Begins and ends workers. Only their parent ends them, before it lets go of their ids: those are used again."""

    def __init__(self, process: subprocess.Popen[str], lease_s: float) -> None:
        self._process, self._lease_s = process, lease_s

    def begin(self, order: dict[str, Any]) -> int:
        """A worker by this order of failover_child; its process id."""
        return int(self._asked(order | {"lease_s": self._lease_s}))

    def end(self, pid: int) -> None:
        """End a worker, whatever it does; nothing where that is done."""
        self._asked({"end": pid})

    def lives(self, pid: int) -> bool:
        """Whether a worker has not ended."""
        return bool(self._asked({"lives": pid}))

    def _asked(self, order: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def hatchery(lease_s: float = LEASE_S) -> Iterator[Hatchery]:
    """What begins workers; all of them are gone with the block."""
    env = {**os.environ, "PYTHONPATH": str(CHILD.parent.parent)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, str(CHILD)], env=env, **pipes) as process:
        assert process.stdin is not None
        try:
            yield Hatchery(process, lease_s)
        finally:
            process.stdin.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """A worker that was killed or stopped: its process, the boundary at which that was, the name of its lease."""

    pid: int
    where: str
    lease: str


def downs(home: Path) -> list[Gone]:
    """All that are gone, the first one first."""
    return [Gone(**json.loads((home / f"{DOWN}{k}").read_text())) for k in range(len(list(home.glob(f"{DOWN}*"))))]


def leases_of(bulkhead: app.Bulkhead) -> Leases:
    """Asks for the names of the leases that stand."""
    return lambda: set(bulkhead.store.settings(LEASE))


async def _until(condition: Callable[[], Any]) -> None:
    while not await asyncio.to_thread(condition):
        await asyncio.sleep(0.05)


class Onlooker(drill.Run):
    """The company and its people, and no worker: the leak, the report, the approvals, and the attacker's next tries."""

    broken: dict[str, str] = {}  # noqa: RUF012 - what the drill asks its engine; here others run it

    async def run(self) -> drill.Result:
        before = await asyncio.to_thread(self._prologue)
        people = asyncio.create_task(self._responders())
        try:
            incident = await self._over(self, [people])
        finally:
            people.cancel()
            await asyncio.gather(people, return_exceptions=True)
        after = await asyncio.to_thread(self._tries_again)
        return await asyncio.to_thread(self._epilogue, incident, before, after, [])


@dataclass(kw_only=True)
class Crew:
    """Two workers, a drill, and the moments at which one of them is gone."""

    arena: drill.Range
    hatchery: Hatchery
    home: Path
    database: str
    name: str
    pids: list[int] = field(default_factory=list)

    def play(self, at: list[str], how: signal.Signals) -> tuple[drill.Result, app.Bulkhead]:
        """The drill, with one of both gone at each of ``at``. Raises EngineError when the others do not finish it."""
        scenario = scenario_of(self.name)
        settings = settings_of(self.home, self.database, ",".join(scenario.responders))
        bulkhead = app.Bulkhead(settings, sites={"range": sites.range_site(self.arena.endpoints)}, release=True)
        order = {
            "home": str(self.home), "range": self.arena.info, "database": self.database, "at": at, "signal": int(how),
            "responders": settings.responders,
        }  # fmt: skip
        self.pids = [self.hatchery.begin(order) for _ in range(2)]
        leases = leases_of(bulkhead)
        self.wait(lambda: len(leases()) == len(self.pids), "both workers to work")
        run = Onlooker(scenario, bulkhead, self.arena, lambda _kind, _data: None)
        run.patience_s = PATIENCE_S * (1 + len(at) / 4)
        return asyncio.run(self._with_successors(run, leases, order)), bulkhead

    async def _with_successors(self, run: Onlooker, leases: Leases, order: dict[str, Any]) -> drill.Result:
        relay = asyncio.create_task(self._relay(leases, order))
        try:
            return await run.run()
        finally:
            relay.cancel()
            await asyncio.gather(relay, return_exceptions=True)

    async def _relay(self, leases: Leases, order: dict[str, Any]) -> None:
        async with asyncio.TaskGroup() as waking:
            for k in range(len(order["at"]) - 1):  # the last one has no successor
                gone = await self._succeeded(k, leases, order)
                if order["signal"] == signal.SIGSTOP:
                    waking.create_task(self._woken(gone, leases))

    async def _succeeded(self, k: int, leases: Leases, order: dict[str, Any]) -> Gone:
        """Wait for the one that is gone next and begin its successor. Until that works, nobody else goes."""
        await _until(lambda: len(self.gone) > k)
        known = leases()
        self.pids.append(self.hatchery.begin(order))
        await _until(lambda: leases() - known)
        (self.home / f"back-{k}").touch()
        return self.gone[k]

    async def _woken(self, gone: Gone, leases: Leases) -> None:
        """Let one go on once others have its work, until it has noticed; then it may leave."""
        await _until(lambda: gone.lease not in leases())
        os.kill(gone.pid, signal.SIGCONT)
        await _until(lambda: gone.lease in leases())
        self.hatchery.end(gone.pid)

    @property
    def gone(self) -> list[Gone]:
        """Who is, the first one first."""
        return downs(self.home)

    def wake(self, leases: Leases, of: int) -> None:
        """Let the one that was stopped last, at the last ``of`` boundaries, go on until it has noticed that others have
        its work. One at a boundary before that has had a successor and is woken.
        """
        if len(self.gone) < of:
            return
        last = self.gone[-1]
        os.kill(last.pid, signal.SIGCONT)
        self.wait(lambda: last.lease in leases(), "the one that was stopped to begin anew")
        time.sleep(0.5)
        assert self.hatchery.lives(last.pid), self.said()

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < give_up, f"waited too long for {what}: {self.said()}"
            time.sleep(0.05)

    def said(self) -> str:
        """What the workers printed, the end of it."""
        return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in sorted(self.home.glob("out-*")))

    def stop(self) -> None:
        for pid in self.pids:
            self.hatchery.end(pid)


def written(bulkhead: app.Bulkhead) -> dict[str, list[tuple[str, str, int]]]:
    """Of each incident, what was written until its close: what is learnt of it later is no run's word.

    Raises AssertionError where a chain does not hold.
    """
    found = {}
    for row in bulkhead.store.incidents():
        events, *head = bulkhead.store.chain(row.id)
        assert timeline.verify(events, *head) == []
        found[row.id] = [(e["step"], e["kind"], e["attempt"]) for e in events if e["kind"] not in LATER]
    return found
