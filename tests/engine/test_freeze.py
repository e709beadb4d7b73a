"""The kill switch: what waits while the installation is frozen, what does not, who may throw it, and the way on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.engine.freeze import FREEZE, INSTALLATION, SETTING, THAW, frozen_steps
from bot.engine.run import Engine
from bot.errors import DecisionRefused, InputError
from bot.store import iso
from tests.engine.lamps import House
from tests.engine.test_run import CHAIN, ONE, asks, closed, decide, drive, until


@pytest.fixture
def house(tmp_path: Path, database: str) -> Iterator[House]:
    house = House.build(tmp_path, database=database)
    house.room.light("a", "b", "c")
    yield house
    house.close()


def order(house: House, engine: Engine, kind: str, by: str = "ann", reason: str = "the policy is wrong") -> bool:
    return engine.switch.order(kind, by=by, at=house.clock.now(), reason=reason)


def test_what_changes_something_waits_and_goes_on_exactly_there(house: House) -> None:
    house.postures["contain"] = "one"
    house.land(ONE)

    async def story(engine: Engine) -> None:
        assert order(house, engine, FREEZE)
        await engine.open("inc-1")
        await until(lambda: asks(house, "out"), "the ask: it looks and asks all the same")
        assert decide(house, engine, "out", "approve", "ben"), "decisions land"
        await until(lambda: "frozen" in house.kinds("out"), "the step to wait")
        await asyncio.sleep(0.3)
        assert house.room.changes() == []
        assert [event.step for event in frozen_steps(house.events())] == ["out"]
        assert order(house, engine, THAW, by="cleo", reason="it is mended")
        await closed(house)

    drive(house, story)
    assert house.room.changes() == ["out a"]
    assert house.kinds("out") == ["look", "asked", "decided", "frozen", "thawed", "outcome", "proof"]
    said = {event.kind: event.body for event in house.events() if event.kind in ("frozen", "thawed")}
    assert (said["frozen"]["by"], said["frozen"]["reason"]) == ("ann", "the policy is wrong")
    assert said["thawed"] == {"by": "cleo", "reason": "it is mended"}
    assert frozen_steps(house.events()) == []


def test_a_restart_stays_frozen_and_a_thaw_that_nobody_heard_is_found(house: House) -> None:
    house.land(ONE)

    async def frozen(engine: Engine) -> None:
        if not house.events():
            order(house, engine, FREEZE)
        await until(lambda: "frozen" in house.kinds("out"), "the step to wait")
        await asyncio.sleep(0.2)

    drive(house, frozen)
    drive(house, frozen)
    assert house.room.changes() == []
    assert house.kinds("out") == ["look", "frozen"], "said once"
    order(house, house.engine(), THAW)
    drive(house, lambda _engine: closed(house))
    assert house.kinds("out") == ["look", "frozen", "thawed", "outcome", "proof"]
    assert house.room.changes() == ["out a"]


def test_a_call_that_is_tried_again_is_a_new_call(house: House) -> None:
    """A provider that does not answer is asked again up to eight times: not once it is frozen."""
    house.room.trouble["a"] = 5
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: house.room.trouble["a"] < 4, "two calls in vain")
        order(house, engine, FREEZE)
        await until(lambda: "frozen" in house.kinds("out"), "the step to wait")
        left = house.room.trouble["a"]
        await asyncio.sleep(1.2)
        assert house.room.trouble["a"] == left > 0
        order(house, engine, THAW)
        await closed(house)

    drive(house, story)
    assert house.room.changes() == ["out a"]


def test_what_is_under_way_ends_and_nothing_after_it_begins(house: House) -> None:
    house.room.slow = {"a": 0.8, "c": 0.8}
    house.land(CHAIN.replace("FAIL", "stop"))

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: {"a", "c"} <= house.room.entered, "two calls under way")
        order(house, engine, FREEZE)
        await until(lambda: "frozen" in house.kinds("second"), "the next step to wait")
        assert sorted(house.room.changes()) == ["out a", "out c"]
        assert house.kinds("first") == ["look", "outcome", "proof"], "its proof only reads"

    drive(house, story)
    assert house.room.burns("b")


def test_an_undo_waits_too(house: House) -> None:
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await closed(house)
        order(house, engine, FREEZE)
        engine.desk.order(
            incident="inc-1", step="out", kind="undo", by="ann", at=house.clock.now(), reason="the wrong lamp"
        )
        await until(lambda: asks(house, "out/undo"), "the undo to ask")
        for who in ("ben", "cleo"):
            decide(house, engine, "out/undo", "approve", who)
        await until(lambda: "frozen" in house.kinds("out/undo"), "the undo to wait")
        assert not house.room.burns("a")
        order(house, engine, THAW)
        await until(lambda: "undone" in house.kinds("out/undo"), "the undo")

    drive(house, story)
    assert house.room.burns("a")


def test_an_incident_can_be_aborted_while_it_is_frozen(house: House) -> None:
    house.land(ONE)

    async def story(engine: Engine) -> None:
        order(house, engine, FREEZE)
        await engine.open("inc-1")
        await until(lambda: "frozen" in house.kinds("out"), "the step to wait")
        engine.desk.order(
            incident="inc-1", step="incident", kind="abort", by="ann", at=house.clock.now(), reason="no leak at all"
        )
        await closed(house, status="aborted")

    drive(house, story)
    assert house.room.changes() == []


def test_a_setting_freezes_its_process_and_no_decision_ends_that(house: House) -> None:
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: "frozen" in house.kinds("out"), "the step to wait")
        with pytest.raises(InputError, match=SETTING):
            order(house, engine, THAW)

    drive(house, story, freeze="a new release is tried")
    assert house.room.changes() == []
    drive(house, lambda _engine: closed(house))
    assert house.room.changes() == ["out a"]


# who may --------------------------------------------------------------------------------------------------------------


def written(house: House, kind: str, by: str, plan: str = "0") -> None:
    """A row that no desk has seen."""
    house.store.add_decision({
        "incident": INSTALLATION, "step": INSTALLATION, "kind": kind, "by": by, "at": iso(house.clock.now()),
        "plan_hash": plan, "body": {"reason": "because"},
    })  # fmt: skip


def test_only_who_may_decide_freezes_or_thaws_and_says_why(house: House) -> None:
    switch = house.engine().switch
    with pytest.raises(DecisionRefused, match="not one of the responders"):
        switch.order(FREEZE, by="zoe", at=house.clock.now(), reason="ha")
    with pytest.raises(InputError, match="say why"):
        switch.order(FREEZE, by="ann", at=house.clock.now(), reason=" ")
    with pytest.raises(InputError, match="nothing is frozen"):
        switch.order(THAW, by="ann", at=house.clock.now(), reason="why not")
    written(house, FREEZE, "zoe")
    assert switch.standing() is None, "a stranger's row freezes nothing"
    assert switch.order(FREEZE, by="ann", at=house.clock.now(), reason="the policy is wrong")
    assert not switch.order(FREEZE, by="ben", at=house.clock.now(), reason="me too"), "it is so already"
    stands = switch.standing()
    assert stands is not None
    written(house, THAW, "zoe", str(stands.seq))
    assert switch.standing() == stands, "and thaws nothing"


def test_a_thaw_ends_what_its_person_had_seen_and_no_freeze_of_the_same_moment(house: House) -> None:
    switch = house.engine().switch
    switch.order(FREEZE, by="ann", at=house.clock.now(), reason="one")
    first = switch.standing()
    assert first is not None
    written(house, FREEZE, "ben", "raced")  # lands between cleo's look and her word
    written(house, THAW, "cleo", str(first.seq))
    stands = switch.standing()
    assert stands is not None
    assert stands.by == "ben"
    assert switch.order(THAW, by="cleo", at=house.clock.now(), reason="both are mended")
    assert switch.standing() is None
    for k in range(3):  # as often as it is needed, by the same person too
        assert switch.order(FREEZE, by="ann", at=house.clock.now(), reason=f"again {k}")
        assert switch.order(THAW, by="ann", at=house.clock.now(), reason=f"mended {k}")
    assert switch.standing() is None
