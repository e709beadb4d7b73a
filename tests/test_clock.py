"""What happens by the clock, on rows that are old enough."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot import clock
from bot.errors import StoreAway
from bot.store import iso
from tests.engine.lamps import House
from tests.engine.test_run import CHAIN, ONE, until


class Long:
    """A clock that stands in the past."""

    def now(self) -> datetime:
        return datetime.now(UTC) - timedelta(days=40)


def test_old_secrets_are_forgotten_while_the_worker_runs(tmp_path: Path) -> None:
    house = House.build(tmp_path)
    old = house.vault.of("inc-1", Long()).seal("old", "a made-up value")
    young = house.vault.of("inc-2", house.clock).seal("young", "another made-up value")

    async def main() -> None:
        async with clock.running(clock.of_house(house.store, house.vault, timedelta(days=30))):
            await until(lambda: house.vault.open(old) is None, "the old one to be forgotten")

    asyncio.run(main())
    assert house.vault.open(young) is not None
    house.close()


def test_only_a_database_that_goes_away_lets_what_is_done_for_ever_begin_anew(tmp_path: Path) -> None:
    house = House.build(tmp_path)
    faults: list[Exception] = [StoreAway("the database does not answer"), ZeroDivisionError()]

    async def work() -> None:
        raise faults.pop(0)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(clock.steadily(house.store, work))
    assert faults == []
    house.close()


def test_an_incident_is_stuck_when_it_is_silent_and_waits_for_nobody(tmp_path: Path) -> None:
    house = House.build(tmp_path)
    now = datetime.now(UTC)
    house.land(ONE)
    house.land(CHAIN.replace("FAIL", "ask"), incident="inc-2")
    asked = {
        "purpose": "step",
        "plan_hash": "x",
        "needs": 1,
        "group": "one",
        "what": "?",
        "why": "?",
        "on_silence": "hold",
        "expires_at": "",
    }
    house.timeline.append("inc-2", "first", "asked", asked, at=iso(now)).result(5)
    assert clock.stuck(house.store, now) == []
    assert clock.stuck(house.store, now + timedelta(minutes=16)) == ["inc-1"]
    house.close()
