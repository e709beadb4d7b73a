"""What a report's trust is worth in a running incident, and how one incident goes into another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.engine.decisions import HOUSE
from bot.engine.run import Engine
from bot.errors import DecisionRefused
from bot.store import iso
from bot.store_intake import Known
from tests.engine.ruled import Clock, Ruled, drive, until


@pytest.fixture
def house(tmp_path: Path, database: str) -> Iterator[Ruled]:
    house = Ruled.build(tmp_path, clock=Clock(), database=database)
    assert isinstance(house, Ruled)
    house.room.light("a", "b")
    yield house
    house.close()


def test_what_its_sender_signed_acts(house: Ruled) -> None:
    house.report(trust="signed")
    drive(house, lambda _engine: house.closed())
    assert house.room.changes() == ["out a"]


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ({"trust": "unsigned"}, "cut-on-an-unsigned-report"),
        (
            {"trust": "signed", "asks": True, "authority": "signed-of-elsewhere", "why": "Not ours."},
            "signed-of-elsewhere",
        ),
    ],
)
def test_what_nobody_signed_or_is_not_ours_asks_and_says_by_which_rule(
    house: Ruled, said: dict[str, object], rule: str
) -> None:
    house.report(**said)

    async def story(engine: Engine) -> None:
        (ask,) = await until(lambda: house.asks("out"), "the ask")
        assert (ask.needs, rule in ask.why) == (1, True)
        assert house.room.changes() == []
        house.decide(engine, "out", "approve", "ann")
        await house.closed()

    drive(house, story)


def land_merge(house: Ruled, into: str, by: str = HOUSE) -> None:
    house.store.add_decision({
        "incident": "inc-1", "step": "incident", "kind": "merge", "by": by, "at": iso(house.clock.now()),
        "plan_hash": "", "body": {"into": into, "reason": "one credential"},
    })  # fmt: skip


def test_an_incident_whose_credential_another_one_has_begins_no_new_step(house: Ruled) -> None:
    house.report(trust="unsigned")
    house.report(incident="inc-2", lamp="b", trust="unsigned")

    async def story(engine: Engine) -> None:
        await until(lambda: house.asks("out"), "the ask")
        with house.store.begin() as c:
            Known(house.store).move(c, "real", ["lamp:a"], "inc-2")
        land_merge(house, "inc-2")
        await house.closed(status="aborted")
        assert house.store.incident("inc-2").status == "open"

    drive(house, story)
    (ended,) = house.bodies("incident", "aborted")
    assert ended["by"] == "bulkhead, and it goes on as inc-2"
    assert house.room.changes() == []


def test_it_is_known_after_a_restart_too(house: Ruled) -> None:
    house.report(trust="unsigned")
    house.report(incident="inc-2", lamp="b", trust="unsigned")
    with house.store.begin() as c:
        Known(house.store).move(c, "real", ["lamp:a"], "inc-2")
    land_merge(house, "inc-2")
    drive(house, lambda _engine: house.closed(status="aborted"))
    assert house.room.changes() == []


@pytest.mark.parametrize(
    ("into", "by", "leads"), [("inc-2", HOUSE, False), ("inc-1", HOUSE, True), ("inc-2", "mallory", True)]
)
def test_a_merge_that_the_names_do_not_bear_out_does_not_count(
    house: Ruled, into: str, by: str, leads: bool
) -> None:  # fmt: skip
    """Nobody signs for the house: whoever writes such a row into the database must not keep a credential alive."""
    house.report(trust="unsigned")
    house.report(incident="inc-2", lamp="b", trust="unsigned")
    if leads:
        with house.store.begin() as c:
            Known(house.store).move(c, "real", ["lamp:a"], into)

    async def story(engine: Engine) -> None:
        await until(lambda: house.asks("out"), "the ask")
        land_merge(house, into, by)
        await asyncio.sleep(0.3)
        house.decide(engine, "out", "approve", "ann")
        await house.closed()

    drive(house, story)
    assert house.room.changes() == ["out a"]


def test_a_person_who_may_merges_and_one_who_may_not_is_refused(house: Ruled) -> None:
    house.report(trust="unsigned")
    house.report(incident="inc-2", lamp="b", trust="unsigned")

    async def story(engine: Engine) -> None:
        order = {
            "incident": "inc-1",
            "step": "incident",
            "kind": "merge",
            "at": house.clock.now(),
            "reason": "the same",
        }
        with pytest.raises(DecisionRefused):
            engine.desk.order(**order, by="mallory", said={"into": "inc-2"})
        await until(lambda: house.asks("out"), "the ask")
        engine.desk.order(**order, by="ann", said={"into": "inc-2"})
        await house.closed(status="aborted")

    drive(house, story)
