"""Drills by the clock: once, whatever happens to clocks and processes in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bot import clock
from bot.cli.schedules import app
from bot.errors import InputError
from bot.schedule import CATCH_UP, DAYS, DROP, EACH, ON_TIME, RUN, nominal, schedule, told, turn
from bot.store import Store
from bot.store_drills import ORDERED, Orders, ScheduleRow, Schedules
from tests.engine.lamps import House
from tests.engine.test_run import until

DRILLS = ("a-key", "a-token", "a-worm")
BERLIN = "Europe/Berlin"
MONDAY = datetime(2026, 11, 23, 12, tzinfo=UTC)
DUE = datetime(2026, 11, 24, 9, tzinfo=UTC)  # Tuesday, ten o'clock in Berlin
DAY = timedelta(days=1)


def row(time: str = "10:00", *, day: str = "tue", zone: str = BERLIN, missed: str = RUN, drill: str = "a-key",
        now: datetime = MONDAY) -> ScheduleRow:  # fmt: skip
    return schedule(drill=drill, day=day, time_=time, zone=zone, missed=missed, by="alice", now=now, drills=DRILLS)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    house = House.build(tmp_path)
    yield house.store
    house.close()


def ordered(store: Store) -> list[str]:
    return [one.id for one in Orders(store).standing(ORDERED)]


def test_it_runs_at_its_hour_and_once(store: Store) -> None:
    Schedules(store).add(row())
    assert turn(store, DUE - timedelta(seconds=1), DRILLS) == []
    assert turn(store, DUE, DRILLS) == ["a-key-tue-1000@20261124T0900Z"]
    assert turn(store, DUE + timedelta(minutes=1), DRILLS) == []
    assert turn(store, DUE + 7 * DAY, DRILLS) == ["a-key-tue-1000@20261201T0900Z"]
    assert ordered(store) == ["a-key-tue-1000@20261124T0900Z", "a-key-tue-1000@20261201T0900Z"]


def test_over_a_restart_it_runs_once(tmp_path: Path) -> None:
    for at in (MONDAY, DUE, DUE + timedelta(minutes=2), DUE + DAY):  # another process each time
        house = House.build(tmp_path)
        Schedules(house.store).add(row())
        turn(house.store, at, DRILLS)
        found = ordered(house.store)
        house.close()
    assert found == ["a-key-tue-1000@20261124T0900Z"]


def test_two_clocks_start_one(tmp_path: Path) -> None:
    houses = [House.build(tmp_path), House.build(tmp_path)]
    Schedules(houses[0].store).add(row())
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda n: turn(houses[n % 2].store, DUE, DRILLS), range(16)))
    assert sorted(filter(None, said)) == [["a-key-tue-1000@20261124T0900Z"]]
    assert len(ordered(houses[1].store)) == 1
    for house in houses:
        house.close()


def test_a_clock_that_is_put_back_finds_it_decided(store: Store) -> None:
    Schedules(store).add(row())
    turn(store, DUE + timedelta(minutes=1), DRILLS)
    assert turn(store, DUE - timedelta(hours=1), DRILLS) == []
    assert turn(store, DUE + timedelta(minutes=1), DRILLS) == []
    assert len(ordered(store)) == 1


@pytest.mark.parametrize(
    ("missed", "late", "runs"),
    [(RUN, ON_TIME, 1), (RUN, CATCH_UP, 1), (RUN, CATCH_UP + timedelta(seconds=1), 0),
     (DROP, ON_TIME, 1), (DROP, ON_TIME + timedelta(seconds=1), 0)],
)  # fmt: skip
def test_what_was_missed_is_caught_up_or_dropped(store: Store, missed: str, late: timedelta, runs: int) -> None:
    Schedules(store).add(row(missed=missed))
    assert len(turn(store, DUE + late, DRILLS)) == runs
    assert turn(store, DUE + late + timedelta(minutes=1), DRILLS) == [], "it is decided"
    assert len(turn(store, DUE + 7 * DAY, DRILLS)) == 1, "the next one runs"


def test_of_many_that_were_missed_one_runs(store: Store) -> None:
    Schedules(store).add(row())
    assert len(turn(store, DUE + 35 * DAY + timedelta(hours=1), DRILLS)) == 1


@pytest.mark.parametrize(
    ("day", "said"),
    [(datetime(2026, 3, 29, tzinfo=UTC), "2026-03-29T01:30"), (datetime(2026, 10, 25, tzinfo=UTC), "2026-10-25T00:30")],
)  # Sundays: half past two is left out in March, and there twice in October
def test_over_a_change_of_the_clocks_it_runs_once(store: Store, day: datetime, said: str) -> None:
    Schedules(store).add(row("02:30", day="sun", now=day - DAY))
    times = [day - DAY + timedelta(minutes=10 * n) for n in range(6 * 48)]
    found = [name for at in times for name in turn(store, at, DRILLS)]
    assert found == [f"a-key-sun-0230@{said.replace('-', '').replace(':', '')}Z"]


@given(
    st.integers(0, 15 * 365 * 24 * 60).map(lambda minutes: MONDAY + timedelta(minutes=minutes)), st.sampled_from(DAYS),
    st.sampled_from(("00:00", "02:30", "10:00", "23:59", "09:00-17:30")),
    st.sampled_from((BERLIN, "UTC", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia")),
)  # fmt: skip
def test_there_is_one_nominal_time_a_week_on_its_day(begin: datetime, day: str, time: str, zone: str) -> None:
    one = row(time, day=day, zone=zone, now=begin)
    times = nominal(one, begin, begin + 70 * DAY)
    assert len(times) in (9, 10, 11)
    assert times == sorted(set(times))
    for at in times:
        assert DAYS[at.astimezone(ZoneInfo(zone)).weekday()] == day
    half = begin + 33 * DAY  # looked at in two goes, or in one: the same
    assert nominal(one, begin, half) + nominal(one, half, begin + 70 * DAY) == times


def test_a_surprise_is_within_its_hours_the_same_for_every_clock_and_not_told(store: Store) -> None:
    one = row("10:00-16:00")
    times = nominal(one, MONDAY, MONDAY + 200 * DAY)
    local = [at.astimezone(ZoneInfo(BERLIN)) for at in times]
    assert all(10 <= at.hour < 16 for at in local)
    assert len({(at.hour, at.minute) for at in local}) > 10
    assert told(one, MONDAY) == "It runs next on 2026-11-24."


def test_holidays_and_dates_that_were_left_out(store: Store) -> None:
    rows = Schedules(store)
    rows.add(row())
    assert turn(store, DUE, DRILLS, ["2026-11-24"]) == []
    assert turn(store, DUE, DRILLS) == [], "what fell on a holiday is decided"
    rows.skip("a-key-tue-1000", "2026-12-01")
    assert "2026-12-08" in told(rows.get("a-key-tue-1000"), DUE + DAY)
    assert turn(store, DUE + 7 * DAY, DRILLS) == []
    assert len(turn(store, DUE + 14 * DAY, DRILLS)) == 1


def test_each_in_turn_is_another_one_every_week(store: Store) -> None:
    Schedules(store).add(row(drill=EACH))
    for week in range(3):
        turn(store, DUE + 7 * week * DAY, DRILLS)
    assert {one.drill for one in Orders(store).standing(ORDERED)} == set(DRILLS)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"drill": "a-kex"}, "there is no drill"), ({"day": "tuesday"}, "one of mon"), ({"time": "25:00"}, "like 10:00"),
     ({"time": "16:00-10:00"}, "like 10:00"), ({"zone": "Mars/Base"}, "no time zone"),
     ({"missed": "later"}, "run, drop"), ({"zone": "../etc/passwd"}, "no time zone")],
)  # fmt: skip
def test_what_there_is_not_is_refused(wrong: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        row(**wrong)  # type: ignore[arg-type]


def test_the_clock_orders_what_is_due(tmp_path: Path) -> None:
    house = House.build(tmp_path)
    now = datetime.now(UTC)
    day, time = DAYS[now.weekday()], f"{now:%H:%M}"
    one = schedule(drill="a-key", day=day, time_=time, zone="UTC", missed=RUN, by="alice", now=now - DAY, drills=DRILLS)
    Schedules(house.store).add(one)

    async def main() -> None:
        async with clock.running([clock.drills(house.store, DRILLS, [])]):
            await until(lambda: bool(ordered(house.store)), "the drill to be ordered")

    asyncio.run(main())
    assert ordered(house.store) == [f"{one.id}@{now:%Y%m%dT%H%MZ}"]
    house.close()


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_HOME", str(tmp_path))
    monkeypatch.setenv("BULKHEAD_HOLIDAYS", "2026-12-25")

    def said(*words: str) -> str:
        result = CliRunner().invoke(app, list(words), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    assert "No drill is scheduled" in said("list")
    assert "each-in-turn-tue-1000 is scheduled. It runs next at" in said(
        "add", "--day", "tue", "--at", "10:00", "--by", "alice"
    )
    assert "was scheduled already" in said("add", "--day", "tue", "--at", "10:00", "--by", "alice")
    (one,) = json.loads(said("list", "--json"))
    following = one["next"]
    assert (one["drill"], one["by"], one["skips"]) == (EACH, "alice", [])
    assert "does not run on" in said("skip", one["id"], following[:10])
    (one,) = json.loads(said("list", "--json"))
    assert one["next"] > following
    assert "no longer scheduled" in said("remove", one["id"])
    with pytest.raises(InputError, match="there is none"):
        CliRunner().invoke(app, ["remove", one["id"]], catch_exceptions=False)
