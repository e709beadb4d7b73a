"""Decisions that carry more than a name: signatures, and one person's word for two. Through the real engine."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy

from bot.engine.decisions import GLASS, Sign, reviews_due
from bot.engine.run import Engine
from bot.errors import DecisionRefused, InputError
from bot.model import Exposure
from bot.signing import Signers, sign, statement
from bot.store import Store, iso
from tests.engine.ruled import ONE, Clock, Ruled, drive, until
from tests.keys import Ring, needs_keygen

SMASH = ONE.replace("put_out", "smash")  # what cannot be brought back asks two, where nobody has seen the leak


@pytest.fixture
def house(tmp_path: Path, database: str) -> Iterator[Ruled]:
    house = Ruled.build(tmp_path, clock=Clock(), database=database)
    assert isinstance(house, Ruled)
    house.exposure = Exposure.INTERNAL
    house.room.light("a", "b", "c")
    yield house
    house.close()


def submit(
    house: Ruled, engine: Engine, kind: str, by: str, *, incident: str = "inc-1", sign: Sign | None = None
) -> bool:
    body = {"reason": "nobody else is awake"} if kind == GLASS else {}
    return engine.desk.submit(
        events=house.events(incident), incident=incident, step="out", kind=kind, by=by, at=house.clock.now(),
        body=body, sign=sign,
    )  # fmt: skip


# break-glass ----------------------------------------------------------------------------------------------------------


def test_one_persons_word_counts_for_two_is_told_and_waits_for_a_review(house: Ruled) -> None:
    house.report(SMASH)

    async def story(engine: Engine) -> None:
        await until(lambda: house.asks("out"), "the ask")
        submit(house, engine, GLASS, "ann")
        await house.closed()
        (due,) = reviews_due(house.events())
        assert (due.by, due.due) == ("ann", "2026-01-03T03:04:05.000000Z")
        with pytest.raises(DecisionRefused, match="somebody else"):
            engine.desk.review(due, by="ann", at=house.clock.now(), text="fine")
        with pytest.raises(DecisionRefused, match="not one of the responders"):
            engine.desk.review(due, by="mallory", at=house.clock.now(), text="fine")
        assert engine.desk.review(due, by="ben", at=house.clock.now(), text="it was right")

    drive(house, story)
    (decided,) = house.bodies("out", "decided")
    assert (decided["said"], decided["by"], decided["go"]) == (GLASS, ["ann"], True)
    (told,) = house.bodies("out", GLASS)
    assert told == decided["break_glass"]
    assert (told["by"], told["reason"]) == ("ann", "nobody else is awake")
    assert house.room.changes() == ["out a"]


def test_the_glass_breaks_once_an_hour_a_person(house: Ruled) -> None:
    for n, lamp in enumerate("abc"):
        house.report(SMASH, f"inc-{n}", lamp)

    async def story(engine: Engine) -> None:
        for n in range(3):
            await until(lambda n=n: house.asks("out", f"inc-{n}"), "the ask")
        submit(house, engine, GLASS, "ann", incident="inc-0")
        assert not submit(house, engine, GLASS, "ann", incident="inc-0"), "the same word again is the same word"
        with pytest.raises(DecisionRefused, match="may again at 04:04 UTC"):
            submit(house, engine, GLASS, "ann", incident="inc-1")
        # Written past the desk it does not count either.
        plan = house.asks("out", "inc-1")[0].plan_hash
        engine.desk.land(
            incident="inc-1", step="out", kind=GLASS, by="ann", at=house.clock.now(), plan=plan, body={"reason": "x"}
        )
        submit(house, engine, GLASS, "ben", incident="inc-2")
        await house.closed("inc-0")
        await house.closed("inc-2")
        await asyncio.sleep(0.2)
        assert house.room.burns("b")
        house.clock.pass_time(3601)
        house.room.light("d")
        await engine.open(house.report(SMASH, "inc-3", "d"))
        await until(lambda: house.asks("out", "inc-3"), "the ask")
        submit(house, engine, GLASS, "ann", incident="inc-3")
        await house.closed("inc-3")

    drive(house, story)
    assert sorted(house.room.changes()) == ["out a", "out c", "out d"]


def test_the_glass_stays_whole_where_it_is_not_meant_to_break(house: Ruled) -> None:
    house.policy = house.policy.replace("[ann, ben, cleo]", "[ann, ben, cleo, zoe]")
    house.report(SMASH)
    house.report(ONE, "inc-2", "b")

    async def story(engine: Engine) -> None:
        await until(lambda: house.asks("out") and house.asks("out", "inc-2"), "the asks")
        with pytest.raises(DecisionRefused, match="asks one person"):
            submit(house, engine, GLASS, "ann", incident="inc-2")
        with pytest.raises(DecisionRefused, match="reported this incident"):
            submit(house, engine, GLASS, "zoe")
        with pytest.raises(DecisionRefused, match="not one of the responders"):
            submit(house, engine, GLASS, "mallory")
        with pytest.raises(InputError, match="--reason"):
            house.decide(engine, "out", GLASS, "ann", reason=" ")
        submit(house, engine, "deny", "ben")
        await until(lambda: "failed" in house.kinds("out"), "the denial")

    drive(house, story)
    assert house.room.burns("a")


def test_undoing_a_cut_waits_for_two_people_whatever_is_broken(house: Ruled) -> None:
    house.exposure = Exposure.PUBLIC
    house.report(ONE)

    async def story(engine: Engine) -> None:
        await house.closed()
        now = house.clock.now()
        engine.desk.order(incident="inc-1", step="out", kind="undo", by="ann", at=now, reason="wrong lamp")
        await until(lambda: house.asks("out/undo"), "the ask")
        with pytest.raises(DecisionRefused, match="makes what leaked live again"):
            house.decide(engine, "out/undo", GLASS, "ann", reason="deploys are down")
        house.decide(engine, "out/undo", "deny", "ben")
        await until(lambda: "undo-refused" in house.kinds("out/undo"), "the refusal")
        # A second order is a question of its own: what was said to the first counts no more.
        engine.desk.order(incident="inc-1", step="out", kind="undo", by="cleo", at=now, reason="really")
        await until(lambda: house.asks("out/undo"), "the second ask")

    drive(house, story)
    assert not house.room.burns("a")


# an abort -------------------------------------------------------------------------------------------------------------


def test_an_abort_that_lands_while_peoples_words_are_read_is_not_slept_through(house: Ruled) -> None:
    house.report(SMASH)
    other, landed = Store(house.store.url), threading.Event()

    async def story(engine: Engine) -> None:
        await until(lambda: house.asks("out"), "the ask")

        def land_first(_c: object, _cursor: object, text: str, *_: object) -> None:
            """Just before the step reads what people said, an abort lands, and the poller has already told of it."""
            reads = "decision.incident =" in text and "ORDER BY decision.seq" in text
            if reads and not landed.is_set():
                landed.set()
                row = {"incident": "inc-1", "step": "", "kind": "abort", "by": "ann", "at": iso(house.clock.now())}
                seq = other.add_decision(row | {"plan_hash": "", "body": {"reason": "x"}})[0]
                give_up = time.monotonic() + 20
                while engine.pulse.told("inc-1") < seq and time.monotonic() < give_up:
                    time.sleep(0.01)

        sqlalchemy.event.listen(house.store.engine, "before_cursor_execute", land_first)
        submit(house, engine, "approve", "ann")  # one of two: the step reads, and goes on waiting
        await house.closed(status="aborted")

    drive(house, story)
    other.close()
    assert landed.is_set()
    assert house.room.burns("a")


# signatures -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring(tmp_path / "keys")


@pytest.fixture
def signs(house: Ruled, ring: Ring) -> Callable[[str], Sign]:
    """The house wants signatures; gives what signs with a listed key of somebody."""
    house.attest = Signers(ring.signers, house.store.database_id())
    keys = {name: ring.key(name) for name in ("ann", "ben")}
    return lambda name: partial(sign, key=keys[name])


@needs_keygen
def test_signed_words_count_and_others_are_refused(house: Ruled, signs: Callable[[str], Sign], ring: Ring) -> None:
    house.report(SMASH)

    async def story(engine: Engine) -> None:
        await until(lambda: house.asks("out"), "the ask")
        with pytest.raises(DecisionRefused, match="must be signed") as unsigned:
            submit(house, engine, "approve", "ann")
        assert unsigned.value.reason == "signature"
        with pytest.raises(DecisionRefused, match="not one of ann"):
            submit(house, engine, "approve", "ann", sign=signs("ben"))
        with pytest.raises(DecisionRefused, match="not one of ann"):
            submit(house, engine, "approve", "ann", sign=partial(sign, key=ring.key("ann", listed=False)))
        assert submit(house, engine, "approve", "ann", sign=signs("ann"))
        await asyncio.sleep(0.2)
        assert house.room.burns("a"), "nothing that was refused has been counted"
        submit(house, engine, "approve", "ben", sign=signs("ben"))
        await house.closed()

    drive(house, story)
    assert house.bodies("out", "decided")[0]["by"] == ["ann", "ben"]


@needs_keygen
def test_what_is_written_past_the_desk_does_not_count_and_does_not_stand_in_the_way(
    house: Ruled, signs: Callable[[str], Sign]
) -> None:
    house.report(ONE)

    async def story(engine: Engine) -> None:
        (ask,) = await until(lambda: house.asks("out"), "the ask")
        plain = {"incident": "inc-1", "step": "out", "kind": "approve", "by": "ann", "at": iso(house.clock.now())}
        other = plain | {"plan_hash": "0" * 16, "body": {}}
        replayed = sign_of(house, other, signs("ann"))
        for row in (
            plain | {"plan_hash": ask.plan_hash, "body": {}},
            plain | {"plan_hash": ask.plan_hash, "by": "ben", "body": {"signature": replayed}},
        ):
            house.store.add_decision(row)
        for kind in ("abort", "undo"):
            row = plain | {"step": "", "kind": kind, "plan_hash": "", "body": {"reason": "x"}}
            house.store.add_decision(row)
        await asyncio.sleep(0.3)
        assert house.room.burns("a")
        assert house.store.incident("inc-1").status == "open"
        assert submit(house, engine, "approve", "ann", sign=signs("ann")), "it replaces the one that never counted"
        await house.closed()

    drive(house, story)
    assert house.room.changes() == ["out a"]
    kinds = [row.kind for row in house.store.decisions("inc-1") if row.by == "ann" and row.step == "out"]
    assert sorted(kind.split(":")[0] for kind in kinds) == ["approve", "void"], "what did not count is kept"


def sign_of(house: Ruled, row: dict[str, object], signer: Sign) -> str:
    return signer(statement(house.store.database_id(), row))


@needs_keygen
def test_a_waiver_and_an_abort_are_signed_too(house: Ruled, signs: Callable[[str], Sign]) -> None:
    house.report(ONE)

    async def story(engine: Engine) -> None:
        await until(lambda: house.asks("out"), "the ask")
        for kind, step in (("waive", "lamp:a"), ("abort", "")):
            with pytest.raises(DecisionRefused, match="must be signed"):
                engine.desk.order(incident="inc-1", step=step, kind=kind, by="ann", at=house.clock.now(), reason="x")
        engine.desk.order(
            incident="inc-1", step="", kind="abort", by="ann", at=house.clock.now(), reason="x", sign=signs("ann")
        )
        await house.closed(status="aborted")

    drive(house, story)
    assert house.room.burns("a")


@needs_keygen
def test_a_key_that_is_taken_from_the_list_before_it_is_counted_does_not_count(
    house: Ruled, signs: Callable[[str], Sign], ring: Ring
) -> None:
    house.report(SMASH)

    async def story(engine: Engine) -> None:
        await until(lambda: house.asks("out"), "the ask")
        submit(house, engine, "approve", "ann", sign=signs("ann"))
        left = [line for line in ring.signers.read_text().splitlines() if not line.startswith("ann ")]
        ring.signers.write_text("\n".join(left) + "\n")
        submit(house, engine, "approve", "ben", sign=signs("ben"))
        await asyncio.sleep(0.3)
        assert house.room.burns("a")
        submit(house, engine, "deny", "ben", sign=signs("ben"))
        await until(lambda: "failed" in house.kinds("out"), "the denial")

    drive(house, story)
    assert house.room.burns("a")
