"""Who falls silent is told of once, by whoever lives; a watch does not hang with the loop that it watches."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot import clock, heartbeat
from bot.app import opened
from bot.heartbeat import QUIET, Alarm, Watch, ages, beat, words
from bot.settings import Settings
from bot.store import Store

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOON + QUIET + timedelta(seconds=1)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    made = Store(database)
    made.migrate()
    yield made
    made.close()


def test_ages_say_who_lives_who_was_never_seen_and_who_is_silent(store: Store) -> None:
    beat(store, "worker", NOON)
    assert ages(store, NOON + timedelta(seconds=7)) == {"worker": timedelta(seconds=7), "clock": None}
    assert [words(age) for age in (timedelta(seconds=60), timedelta(seconds=75), None)] == [
        "ok", "silent for 75 s", "never seen",
    ]  # fmt: skip


def test_of_two_that_watch_one_tells_of_a_silence_and_one_of_its_end(store: Store) -> None:
    told: list[Alarm] = []
    watches = [Watch(store, told.append, NOON) for _ in range(2)]
    beat(store, "worker", NOON)
    beat(store, "clock", NOON)
    for watch in watches:
        watch.look(NOON + QUIET)
    assert told == []
    beat(store, "clock", LATER)
    for watch in watches * 2:
        watch.look(LATER)
    assert [(alarm.role, alarm.back) for alarm in told] == [("worker", False)]
    assert "has said nothing for 61 s" in told[0].text
    assert "bulkhead worker" in told[0].text
    beat(store, "worker", LATER)
    for watch in watches * 2:
        watch.look(LATER)
    assert [(alarm.role, alarm.back) for alarm in told[1:]] == [("worker", True)]
    for watch in watches:
        watch.look(LATER + QUIET + timedelta(seconds=1))
    assert sorted(alarm.role for alarm in told[2:]) == ["clock", "worker"], "a second silence is told of anew"


def test_a_start_after_a_long_pause_is_no_alarm_until_it_has_waited(store: Store) -> None:
    told: list[Alarm] = []
    beat(store, "worker", NOON - timedelta(days=1))
    watch = Watch(store, told.append, NOON)
    watch.look(NOON + QUIET)
    assert told == []
    watch.look(LATER)
    assert {alarm.role for alarm in told} == {"worker", "clock"}, "one that has never been seen is silent too"


def test_a_watch_sees_that_its_own_loop_hangs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "QUIET", timedelta(seconds=0.3))
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.05)
    monkeypatch.setattr(heartbeat, "ROLES", ("worker",))
    told = threading.Event()

    async def work() -> None:
        watch = Watch(store, lambda _alarm: told.set(), datetime.now(UTC))
        with heartbeat.watching(watch, 0.05):
            async with clock.running([clock.beating(store, "worker")]):
                await asyncio.sleep(0.6)
                assert not told.is_set(), "beats come while the loop runs"
                time.sleep(1.2)  # noqa: ASYNC251 - a loop that hangs is what this is about
                assert told.is_set()

    asyncio.run(work())


@pytest.mark.slow
def test_a_worker_and_a_clock_say_that_they_live(tmp_path: Path) -> None:
    with opened(Settings(home=tmp_path), sites={}) as bulkhead:

        async def work() -> None:
            both = [asyncio.ensure_future(bulkhead.work()), asyncio.ensure_future(bulkhead.keep_time())]
            try:
                for _ in range(200):
                    if all(words(age) == "ok" for age in ages(bulkhead.store, datetime.now(UTC)).values()):
                        return
                    await asyncio.sleep(0.1)
                raise AssertionError(ages(bulkhead.store, datetime.now(UTC)))
            finally:
                for one in both:
                    one.cancel()
                await asyncio.gather(*both, return_exceptions=True)

        asyncio.run(work())
