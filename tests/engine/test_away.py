"""The database goes away in the middle of an incident: a full disk, a lock, sessions that end. Nothing is lost or done
twice, and nobody has to start anything again.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot import timeline
from bot.engine.run import Engine
from tests.databases import Make
from tests.engine.lamps import House
from tests.engine.test_run import ONE, asks, closed, decide, drive, until


@contextmanager
def full(house: House) -> Iterator[None]:
    """The disk is full while the block runs: SQLite itself says so, since the file may not grow by a page."""
    room = {"pages": 1}

    def checkout(connection: Any, *_: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={room['pages']}")  # never less than there are

    sa.event.listen(house.store.engine, "checkout", checkout)
    other = ("filler", "", "", 1, "", 1, "", "", "", "")
    with pytest.raises(sa.exc.OperationalError, match="full"):
        for n in range(10_000):  # what is free in the pages that there are
            with house.store.begin() as c:
                c.exec_driver_sql("INSERT INTO timeline VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                                  (other[0], n, f"s{n}", *other[2:]))  # fmt: skip
    try:
        yield
    finally:
        room["pages"] = 1 << 30


@contextmanager
def locked(house: House) -> Iterator[None]:
    """Somebody else holds SQLite's write lock while the block runs, and our patience for it is short."""
    sa.event.listen(house.store.engine, "checkout", lambda c, *_: c.execute("PRAGMA busy_timeout=50"))
    with sqlite3.connect(house.store.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    other.close()


@pytest.mark.parametrize("away", [full, locked])
@pytest.mark.parametrize("patience_s", [60.0, 0.2], ids=["short", "longer-than-a-write-waits"])
def test_an_incident_waits_for_a_database_that_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: Callable[[House], Any], patience_s: float
) -> None:
    monkeypatch.setattr(timeline, "PATIENCE_S", patience_s)
    house = House.build(tmp_path)
    house.room.light("a")
    house.room.slow["a"] = 0.3
    house.land(ONE.replace("a lamp burns", "x" * 10))

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: "a" in house.room.entered, "the cut to begin")
        with away(house):
            await asyncio.sleep(1.0)
            assert house.kinds("out") == ["look"], "the cut was made and could not be written"
        await closed(house)
        assert not engine.broken

    drive(house, story)
    assert house.room.changes() == ["out a"]
    assert house.kinds("out") == ["look", "outcome", "proof"]
    assert "broken" not in house.kinds("incident")
    house.close()


def test_sessions_that_end_cost_no_incident_and_no_decision(new_postgres: Make, tmp_path: Path) -> None:
    """Every session of the worker is ended, once while it waits for people and again while it works."""
    house = House.build(tmp_path, database=new_postgres())
    house.postures["contain"] = "one"
    house.room.light("a")
    house.room.slow["a"] = 0.3
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: asks(house, "out"), "the ask")
        end_sessions(house)
        await asyncio.sleep(0.3)
        decide(house, engine, "out", "approve", "ann")
        await until(lambda: "a" in house.room.entered, "the cut to begin")
        end_sessions(house)
        await closed(house)
        assert not engine.broken

    drive(house, story)
    assert house.room.changes() == ["out a"]
    house.close()


def end_sessions(house: House) -> None:
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = :d"
    engine = sa.create_engine(house.store.url, poolclass=sa.NullPool)
    with engine.connect() as c:
        c.execute(sa.text(query), {"d": sa.make_url(house.store.url).database})


def test_a_fault_in_the_background_stops_no_decision(tmp_path: Path) -> None:
    """The poller that hears decisions stumbles once; the next decision is heard."""
    house = House.build(tmp_path)
    house.postures["contain"] = "one"
    house.room.light("a")
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: asks(house, "out"), "the ask")
        heard, stumbles = engine.pulse.on_row, [ZeroDivisionError()]

        def on_row(row: Any) -> None:
            if stumbles:
                raise stumbles.pop()
            heard(row)

        engine.pulse.on_row = on_row
        decide(house, engine, "out", "approve", "ann")
        await closed(house)
        assert not stumbles

    drive(house, story)
    house.close()
