"""Several workers on one PostgreSQL: no incident runs twice, and a dead worker's incidents go on elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bot.engine.freeze import FREEZE, THAW
from tests.databases import Make
from tests.engine.lamps import House
from tests.engine.test_run import ONE

pytestmark = pytest.mark.slow
CHILD = Path(__file__).parent / "worker_child.py"
COUNT = 12


class Crew:
    """Worker processes in one house. ``start`` waits until each runs."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.workers: list[subprocess.Popen[str]] = []

    def start(self, count: int, posture: str = "act") -> None:
        env = {**os.environ, "PYTHONPATH": str(CHILD.parents[2])}
        given = [str(self.house.folder), self.house.store.url, posture, str(self.house.lease_s)]
        command = [sys.executable, str(CHILD), *given]
        new = [subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=env) for _ in range(count)]
        self.workers += new
        for worker in new:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "up\n"

    def stop(self) -> None:
        for worker in self.workers:
            worker.communicate()


@pytest.fixture
def crew(new_postgres: Make, tmp_path: Path) -> Iterator[Crew]:
    house = House.build(tmp_path, database=new_postgres())
    crew = Crew(house)
    yield crew
    for worker in crew.workers:
        worker.kill()
        worker.communicate()
    house.close()


def until(condition: Callable[[], object], what: str) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up, f"waited too long for: {what}"
        time.sleep(0.05)


def land(house: House) -> list[str]:
    names = [f"inc-{k}" for k in range(COUNT)]
    for k, name in enumerate(names):
        house.room.light(f"lamp-{k}")
        house.land(ONE, incident=name, lamp=f"lamp-{k}")
    return names


def all_closed(house: House) -> bool:
    return not house.store.incidents("open")


def test_two_workers_never_run_one_incident_twice(crew: Crew) -> None:
    """Both begin every landed incident at the same moment: each is run by one of them, and every lamp put out once."""
    crew.start(2)
    names = land(crew.house)
    until(lambda: all_closed(crew.house), "all to be closed")
    crew.stop()
    assert Counter(crew.house.room.changes()) == {f"out lamp-{k}": 1 for k in range(COUNT)}
    for name in names:
        assert crew.house.kinds("out", name) == ["look", "outcome", "proof"]


def test_frozen_from_outside_no_worker_changes_anything_until_the_thaw(crew: Crew) -> None:
    crew.start(2)
    switch = crew.house.engine().switch
    switch.order(FREEZE, by="ann", at=crew.house.clock.now(), reason="the policy is wrong")
    names = land(crew.house)
    until(lambda: all("frozen" in crew.house.kinds("out", name) for name in names), "every incident to be frozen")
    assert crew.house.room.changes() == []
    switch.order(THAW, by="ben", at=crew.house.clock.now(), reason="mended")
    until(lambda: all_closed(crew.house), "all to be closed")
    crew.stop()
    assert Counter(crew.house.room.changes()) == {f"out lamp-{k}": 1 for k in range(COUNT)}
    assert {tuple(crew.house.kinds("out", name)) for name in names} == {
        ("look", "frozen", "thawed", "outcome", "proof")
    }  # fmt: skip


def test_what_a_killed_worker_had_under_way_goes_on_in_another(crew: Crew) -> None:
    crew.start(2, "one")
    names = land(crew.house)
    until(lambda: all("asked" in crew.house.kinds("out", name) for name in names), "every incident to ask")
    first = crew.workers.pop()
    first.kill()
    first.communicate()
    desk = crew.house.engine().desk
    for name in names:
        events = crew.house.events(name)
        desk.submit(events=events, incident=name, step="out", kind="approve", by="ann", at=crew.house.clock.now())
    until(lambda: all_closed(crew.house), "all to be closed")
    crew.stop()
    assert Counter(crew.house.room.changes()) == {f"out lamp-{k}": 1 for k in range(COUNT)}
    assert all(crew.house.kinds("out", name).count("asked") == 1 for name in names)
