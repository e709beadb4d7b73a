"""Two workers on one PostgreSQL and a drill beside them, one of which is killed or stopped at a boundary."""

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

Begin = Callable[[dict[str, Any]], int]  # an order of failover_child -> the worker's process id
CHILD = Path(__file__).parent / "failover_child.py"
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


@contextlib.contextmanager
def hatchery(lease_s: float = LEASE_S) -> Iterator[Begin]:
    """What begins a worker and returns its process id; all of them are gone with the block."""
    env = {**os.environ, "PYTHONPATH": str(CHILD.parent.parent)}
    pids: list[int] = []
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, str(CHILD)], env=env, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def begin(order: dict[str, Any]) -> int:
            process.stdin.write(json.dumps(order | {"lease_s": lease_s}) + "\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            pids.append(int(process.stdout.readline()))  # type: ignore[union-attr]
            return pids[-1]

        try:
            yield begin
        finally:
            for pid in pids:
                end(pid)
            process.stdin.close()


def end(pid: int) -> None:
    """End a worker, whatever it does."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


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
    """Two workers, a drill, and the moment at which one of them is gone."""

    arena: drill.Range
    begin: Begin
    home: Path
    database: str
    name: str
    pids: list[int] = field(default_factory=list)

    def play(self, at: str, how: signal.Signals) -> tuple[drill.Result, app.Bulkhead]:
        """The drill, with one of both gone at ``at``. Raises EngineError when the other does not finish it."""
        scenario = scenario_of(self.name)
        settings = settings_of(self.home, self.database, ",".join(scenario.responders))
        bulkhead = app.Bulkhead(settings, sites={"range": sites.range_site(self.arena.endpoints)}, release=True)
        order = {
            "home": str(self.home), "range": self.arena.info, "database": self.database, "at": at, "signal": int(how),
            "responders": settings.responders,
        }  # fmt: skip
        self.pids = [self.begin(order) for _ in range(2)]
        self.wait(lambda: len(bulkhead.store.settings("lease:")) == len(self.pids), "both workers to work")
        run = Onlooker(scenario, bulkhead, self.arena, lambda _kind, _data: None)
        run.patience_s = PATIENCE_S
        return asyncio.run(run.run()), bulkhead

    @property
    def gone(self) -> int:
        """Which one it was; 0 while nobody has come to the boundary."""
        down = self.home / "down"
        return int(down.read_text()) if down.exists() else 0

    def wake(self, bulkhead: app.Bulkhead) -> None:
        """Let the stopped one go on, until it has noticed that others have its work."""
        os.kill(self.gone, signal.SIGCONT)
        leases = len(self.pids)
        self.wait(lambda: len(bulkhead.store.settings("lease:")) == leases, "the one that was stopped to begin anew")
        time.sleep(0.5)
        os.kill(self.gone, 0)  # it lives

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
            end(pid)


def written(bulkhead: app.Bulkhead) -> dict[str, list[tuple[str, str, int]]]:
    """Of each incident, what was written until its close: what is learnt of it later is no run's word.

    Raises AssertionError where a chain does not hold.
    """
    found = {}
    for row in bulkhead.store.incidents():
        events = bulkhead.store.events(row.id)
        assert timeline.verify(events, row.head_n, row.head_hash) == []
        found[row.id] = [(e["step"], e["kind"], e["attempt"]) for e in events if e["kind"] not in LATER]
    return found
