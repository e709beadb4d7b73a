"""A clock that jumps either way in the middle of an incident, and two incidents on one credential at once.

What may never happen: an incident that waits for as long as the jump was, a row that is green without a proof, an
effect twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot import timeline
from bot.engine.deadline import Deadline
from bot.engine.ledger import Ledger
from bot.engine.run import Engine
from bot.model import RowState
from bot.store import when
from tests.engine.lamps import House
from tests.engine.test_run import ONE, Clock, asks, closed, decide, drive, until

DAY = timedelta(days=1)
JUMPS = [pytest.param(-DAY, id="back"), pytest.param(DAY, id="forward")]


@pytest.fixture
def house(tmp_path: Path, database: str) -> Iterator[House]:
    """On a clock that stands still unless it is moved: all that passes is real time."""
    house = House.build(tmp_path, clock=Clock(), database=database)
    house.room.light("a")
    yield house
    house.close()


@pytest.mark.parametrize("jump", JUMPS)
def test_silence_is_over_in_time_whichever_way_the_clock_jumped(house: House, jump: timedelta) -> None:
    house.postures["contain"], house.on_silence, house.after_s = "one", "act", 1.0
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await until(lambda: asks(house, "out"), "the ask")
        house.clock.at += jump
        await closed(house)

    drive(house, story)
    (decided,) = [e.body for e in house.events() if e.kind == "decided"]
    assert decided["by"] == []
    assert house.room.changes() == ["out a"]


@pytest.mark.parametrize("jump", JUMPS)
def test_a_proof_that_does_not_come_fails_in_time_and_is_never_green(house: House, jump: timedelta) -> None:
    house.room.unproven.add("a")
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await until(lambda: "outcome" in house.kinds("out"), "the change")
        house.clock.at += jump
        await until(lambda: asks(house, "out/retry"), "the failure to be asked about")
        row = Ledger.fold(house.events()).rows["lamp:a"]
        assert row.state == RowState.FAILED
        assert house.store.incident("inc-1").status == "open"
        house.room.unproven.clear()
        decide(house, engine, "out/retry", "approve", "ann")
        await closed(house)

    drive(house, story)
    assert "not proven in time" in next(e.body["error"] for e in house.events() if e.kind == "failed")
    assert house.room.changes() == ["out a"]


def test_what_was_minted_is_waited_for_by_the_clock_that_its_provider_goes_by(house: House) -> None:
    """Set back, the wait is longer, not shorter: nobody but the clock can say that a session is over."""
    house.tails = (("glow", "a", 3600.0),)
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await until(lambda: "proof" in house.kinds("out"), "the proof")
        house.clock.at -= DAY
        await asyncio.sleep(0.3)
        house.clock.at += timedelta(seconds=3601)
        await asyncio.sleep(0.3)
        assert house.store.incident("inc-1").status == "open"
        house.clock.at += DAY
        await closed(house)

    drive(house, story)


@pytest.mark.parametrize("jump", JUMPS)
def test_a_restart_under_a_clock_that_has_jumped_does_nothing_twice(house: House, jump: timedelta) -> None:
    house.postures["contain"] = "one"
    house.land(ONE)

    async def before(engine: Engine) -> None:
        await until(lambda: asks(house, "out"), "the ask")

    async def after(engine: Engine) -> None:
        decide(house, engine, "out", "approve", "ann")
        await closed(house)

    drive(house, before)
    house.clock.at += jump
    drive(house, after)
    assert house.kinds("out") == ["look", "asked", "decided", "outcome", "proof"]
    assert house.room.changes() == ["out a"]
    times = [when(event.at) for event in house.events()]
    assert (times == sorted(times)) == (jump > timedelta()), "events are told at the time that the clock showed"
    head = house.store.incident("inc-1")
    assert timeline.verify(house.store.events("inc-1"), head.head_n, head.head_hash) == []


def test_a_deadline_comes_once_by_either_clock() -> None:
    clock = Clock()
    soon, later = Deadline(clock.at + timedelta(seconds=0.05), clock), Deadline(clock.at + DAY, clock)
    clock.at -= DAY
    while not soon.passed():
        assert not later.passed()
    clock.at += 3 * DAY
    assert later.passed()


def test_a_clock_that_was_set_back_before_the_wait_began_does_not_stretch_it() -> None:
    """Between the line that says until when and the wait for it lies a write; a process may even die there."""
    clock = Clock()
    said = clock.at
    clock.at -= DAY
    soon = Deadline(said + timedelta(seconds=0.05), clock, said)
    until_s = time.monotonic() + 30
    while not soon.passed():
        assert time.monotonic() < until_s


def test_two_incidents_on_one_credential_at_once_make_one_change_and_both_close(house: House) -> None:
    house.land(ONE, incident="inc-1")
    house.land(ONE, incident="inc-2", by="yan")
    house.room.slow["a"] = 0.2  # both are inside the switch

    async def story(engine: Engine) -> None:
        await closed(house, "inc-1")
        await closed(house, "inc-2")

    drive(house, story)
    assert house.room.changes() == ["out a"]
    for incident in ("inc-1", "inc-2"):
        assert house.kinds("out", incident) == ["look", "outcome", "proof"]
        assert Ledger.fold(house.events(incident)).rows["lamp:a"].state == RowState.CLOSED
