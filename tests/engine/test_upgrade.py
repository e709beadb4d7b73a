"""An upgrade with incidents pending: tables of the first form, a timeline without what events say today, and a workflow
that another version of the engine has begun. The incident goes on where it waits.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot import timeline
from bot.engine.run import Engine
from bot.store import Store, canonical
from bot.tables import NEWEST
from bot.tables import timeline as events
from tests.databases import Make
from tests.engine.lamps import House
from tests.engine.test_run import ONE, asks, closed, decide, drive, until

SINCE = {"asked": ("tells", "undo"), "look": ("fulfils", "asks"), "plan": ("mode",)}  # came after the first release
OURS = {"incident", "timeline", "decision", "setting", "evidence", "vault"}


def pending(house: House) -> None:
    """An incident that waits for people, and a process that is gone."""
    house.postures["contain"] = "one"
    house.room.light("a")
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: asks(house, "out"), "the ask")

    drive(house, story)


def as_told_then(house: House) -> None:
    """The same timeline without the words that came later; its chain is as that version wrote it."""
    prev = timeline.GENESIS
    with house.store.begin() as c:
        for row in house.store.events("inc-1"):
            body = {k: v for k, v in row["body"].items() if k not in SINCE.get(row["kind"], ())}
            text = canonical(body)
            made: dict[str, Any] = {**row, "body": text, "body_sha256": hashlib.sha256(text.encode()).hexdigest()}
            made |= {"prev_hash": prev}
            prev = made["hash"] = timeline.link(prev, made)
            values = {name: made[name] for name in ("body", "body_sha256", "prev_hash", "hash")}
            c.execute(sa.update(events).where(events.c.incident == "inc-1", events.c.n == row["n"]).values(values))
        c.execute(sa.text("UPDATE incident SET head_hash=:h"), {"h": prev})


def as_first_form(house: House, scratch: Path) -> None:
    """Tables as the first migration made them; what came later is dropped."""
    first = Store(f"sqlite:///{scratch}")
    first.upgrade("0001")
    query = sa.text("SELECT name, sql FROM sqlite_master WHERE type='table' AND sql IS NOT NULL")
    with first.connect() as c:
        then = {row.name: row.sql for row in c.execute(query) if row.name != "alembic_version"}
    first.close()
    theirs = {"workflow", "dbos", "operation", "notification", "event", "stream", "queue", "application"}
    with house.store.begin() as c:
        for row in c.execute(query).all():
            dbos = any(row.name.startswith(word) for word in theirs)
            if not (dbos or row.name in OURS or row.name == "alembic_version" or row.name.startswith("sqlite_")):
                c.execute(sa.text(f'DROP TABLE "{row.name}"'))
                if row.name in then:
                    c.execute(sa.text(then[row.name]))
        c.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))


def test_what_waited_in_the_first_form_goes_on_after_the_upgrade(tmp_path: Path) -> None:
    house = House.build(tmp_path)
    pending(house)
    as_told_then(house)
    as_first_form(house, tmp_path / "first.db")
    assert house.store.version() == "0001"
    house.store.migrate()
    assert house.store.version() == NEWEST

    async def story(engine: Engine) -> None:
        await until(lambda: asks(house, "out"), "the ask that stood")
        decide(house, engine, "out", "approve", "ann")
        await closed(house)

    drive(house, story)
    assert house.room.changes() == ["out a"]
    head = house.store.incident("inc-1")
    assert timeline.verify(house.store.events("inc-1"), head.head_n, head.head_hash) == []
    asked = [json.dumps(e.body) for e in house.events() if e.kind == "asked"]
    assert len(asked) == 1, "nobody was asked twice"
    house.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_another_version_of_the_engine_had_under_way_is_taken_over(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    make: Make | None = request.getfixturevalue("new_postgres") if kind == "postgresql" else None
    house = House.build(tmp_path, database=make() if make else "")
    pending(house)
    table = sa.table("workflow_status", sa.column("application_version"), sa.column("status"))
    table.schema = None if house.store.sqlite else "dbos"
    old = sa.update(table).where(table.c.status == "PENDING").values(application_version="engine-0")
    with house.store.begin() as c:
        assert c.execute(old).rowcount == 1

    async def story(engine: Engine) -> None:
        decide(house, engine, "out", "approve", "ann")
        await closed(house)

    drive(house, story)
    assert house.room.changes() == ["out a"]
    house.close()
