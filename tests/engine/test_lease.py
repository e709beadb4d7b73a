"""A worker that hangs, on PostgreSQL: its lease ends, another goes on, and when it wakes it can do nothing twice."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.store_workers import Workers
from tests.databases import Make
from tests.engine.lamps import House
from tests.engine.test_run import ONE
from tests.engine.test_workers import Crew, all_closed, land, until


@pytest.fixture
def house(new_postgres: Make, tmp_path: Path) -> Iterator[House]:
    house = House.build(tmp_path, database=new_postgres())
    yield house
    house.close()


def test_a_lease_ends_by_the_databases_clock_and_a_burial_ends_the_sessions_that_hold_locks(house: House) -> None:
    hangs = House.build(house.folder, database=house.store.url)
    theirs, ours = Workers(hangs.store), Workers(house.store)
    name = hangs.store.process
    theirs.begin(name)
    assert ours.over(60) == set()
    with hangs.store.only_one("inbox") as held, house.store.only_one("inbox") as mine:
        assert (held, mine) == (True, False)
        time.sleep(0.1)
        assert ours.over(0.05) == {name}
        ours.bury(name)
        until(lambda: free(house, "inbox"), "the lock to be free")
    assert ours.over(0) == set()
    assert theirs.renew(name) is False, "it finds that it was taken for dead, on a new session"
    theirs.begin(name)
    assert theirs.renew(name) is True
    hangs.close()


def test_what_a_worker_says_is_heard_by_the_others_as_long_as_it_lives(house: House) -> None:
    one, two = Workers(house.store), Workers(house.store)
    one.begin("one")
    two.begin("two")
    assert one.tell("one", {"github": [3.0, 0.5]}) == []
    assert two.tell("two", {}) == [{"github": [3.0, 0.5]}]
    assert one.tell("one", {"github": [1.0, 0.0]}) == [{}]
    one.end("one")
    assert two.tell("two", {}) == []


def free(house: House, name: str) -> bool:
    with house.store.only_one(name) as mine:
        return mine


@pytest.fixture
def crew(house: House) -> Iterator[Crew]:
    crew = Crew(house)
    yield crew
    for worker in crew.workers:
        worker.kill()
        worker.communicate()


@pytest.mark.slow
def test_a_worker_that_was_stopped_is_replaced_and_wakes_with_nothing_to_do(crew: Crew) -> None:
    """Stopped while people are asked; they agree meanwhile. Awake again, it still is a worker like the others."""
    house = crew.house
    house.lease_s = 5
    crew.start(1, "one")
    names = land(house)
    until(lambda: all("asked" in house.kinds("out", name) for name in names), "every incident to ask")
    stopped = crew.workers[0]
    os.kill(stopped.pid, signal.SIGSTOP)
    crew.start(1, "one")
    desk = house.engine().desk
    for name in names:
        events, at = house.events(name), house.clock.now()
        desk.submit(events=events, incident=name, step="out", kind="approve", by="ann", at=at)
    until(lambda: all_closed(house), "all to be closed by the other")
    written = {name: len(house.events(name)) for name in names}
    os.kill(stopped.pid, signal.SIGCONT)
    until(lambda: len(leases(house)) == 2, "it to begin anew")
    assert {name: len(house.events(name)) for name in names} == written
    assert Counter(house.room.changes()) == {f"out lamp-{k}": 1 for k in range(len(names))}

    crew.workers.remove(other := crew.workers[1])
    other.kill()
    other.communicate()
    house.room.light("again")
    house.land(ONE, incident="inc-again", lamp="again")
    until(lambda: "asked" in house.kinds("out", "inc-again"), "the one that woke to work")
    crew.stop()


def leases(house: House) -> dict[str, str]:
    return house.store.settings("lease:")
