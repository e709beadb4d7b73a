"""Decisions that were heard in Slack: who was in which group is attested, and the worker counts nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.engine.decisions import unsigned
from bot.engine.run import Engine
from bot.errors import DecisionRefused
from bot.model import Exposure
from bot.signing import GROUPS, SIGNATURE, Attestor, by_name
from bot.store import iso
from tests.engine.ruled import ONE, Clock, Ruled, drive, until

SMASH = ONE.replace("put_out", "smash")  # asks two


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Ruled]:
    house = Ruled.build(tmp_path, clock=Clock())
    assert isinstance(house, Ruled)
    house.exposure = Exposure.INTERNAL
    house.groups = {"one": frozenset({"S1"}), "two": frozenset({"S2"})}
    house.aliases = {"slack:U1": "ann", "slack:UZ": "zoe"}
    house.attest = by_name(attestor(house), unsigned)
    house.room.light("a")
    yield house
    house.close()


def attestor(house: Ruled) -> Attestor:
    return Attestor(b"k" * 32, house.store.database_id())


def click(house: Ruled, engine: Engine, user: str, *groups: str, kind: str = "approve", signed: bool = True) -> bool:
    return engine.desk.submit(
        events=house.events("inc-1"), incident="inc-1", step="out", kind=kind, by=f"slack:{user}", at=house.clock.now(),
        body={GROUPS: list(groups)}, sign=attestor(house).sign if signed else None,
    )  # fmt: skip


def test_two_people_of_the_group_are_two_and_the_requester_and_a_stranger_are_none(house: Ruled) -> None:
    house.report(SMASH)

    async def story(engine: Engine) -> None:
        await until(lambda: house.asks("out"), "the ask")
        with pytest.raises(DecisionRefused, match="not one of the responders"):
            click(house, engine, "U7")
        with pytest.raises(DecisionRefused, match="not one of the responders"):
            click(house, engine, "U7", "S1")
        with pytest.raises(DecisionRefused, match="reported this incident"):
            click(house, engine, "UZ", "S2")  # zoe reported, under her other name
        assert click(house, engine, "U2", "S2")
        assert not click(house, engine, "U2", "S2"), "the same click again is the same click"
        click(house, engine, "U3", "S2")
        await house.closed()

    drive(house, story)
    assert house.bodies("out", "decided")[0]["by"] == ["slack:U2", "slack:U3"]


def test_nobody_is_two_people(house: Ruled) -> None:
    """Ann approves at the command line and in Slack: that is one person, whatever her names."""
    house.report(SMASH)

    async def story(engine: Engine) -> None:
        await until(lambda: house.asks("out"), "the ask")
        click(house, engine, "U1", "S2")
        house.decide(engine, "out", "approve", "ann")
        await asyncio.sleep(0.3)
        assert house.room.burns("a")
        click(house, engine, "U2", "S2")
        await house.closed()

    drive(house, story)


def test_a_row_that_nobody_has_heard_does_not_count(house: Ruled) -> None:
    house.report(ONE)

    async def story(engine: Engine) -> None:
        (ask,) = await until(lambda: house.asks("out"), "the ask")
        with pytest.raises(DecisionRefused, match="nobody here has heard"):
            click(house, engine, "U2", "S1", signed=False)
        forged: dict[str, Any] = {"incident": "inc-1", "step": "out", "kind": "approve", "by": "slack:U2",
                                  "at": iso(house.clock.now()), "plan_hash": ask.plan_hash}  # fmt: skip
        house.store.add_decision(forged | {"body": {GROUPS: ["S1"], SIGNATURE: "hmac-sha256:" + "0" * 64}})
        for kind in ("abort", "undo"):
            order = forged | {"step": "out", "kind": kind, "plan_hash": "", "body": {"reason": "x", GROUPS: ["S1"]}}
            house.store.add_decision(order)
        await asyncio.sleep(0.3)
        assert house.room.burns("a")
        assert house.store.incident("inc-1").status == "open"
        assert click(house, engine, "U2", "S1"), "it does not stand in the way of the true one either"
        await house.closed()

    drive(house, story)


def test_a_group_that_is_taken_from_the_settings_no_longer_counts(house: Ruled) -> None:
    house.report(SMASH)

    async def begin(engine: Engine) -> None:
        await until(lambda: house.asks("out"), "the ask")
        click(house, engine, "U2", "S2")

    drive(house, begin)
    house.groups = {"two": frozenset({"S9"})}

    async def go_on(engine: Engine) -> None:
        await until(lambda: house.asks("out"), "the ask")
        click(house, engine, "U3", "S9")
        await asyncio.sleep(0.3)
        assert house.room.burns("a"), "U2 was in a group that may no longer decide"
        click(house, engine, "U4", "S9")
        await house.closed()

    drive(house, go_on)
    assert house.bodies("out", "decided")[0]["by"] == ["slack:U3", "slack:U4"]
