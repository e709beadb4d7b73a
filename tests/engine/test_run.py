"""The engine, driven for real: DBOS, both databases, threads; the world is a room of lamps."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import timeline
from bot.engine.decisions import open_asks
from bot.engine.ledger import Ledger
from bot.engine.run import THREADS, Engine
from bot.errors import Conflict, DecisionRefused, EngineError, Forbidden, NotFound, Refused, Rejected
from bot.model import WorkflowRef
from tests.engine.lamps import House

ONE = """
id: one-lamp
title: A lamp burns
match: {credential: lamp}
steps:
  - {id: out, uses: lamp.put_out, with: {lamp: $credential.id}, on_failure: ask}
"""
CHAIN = """
id: chain
title: Lamps in a row
match: {credential: lamp}
steps:
  - {id: first, uses: lamp.put_out, with: {lamp: a}, on_failure: FAIL}
  - {id: second, uses: lamp.put_out, with: {lamp: b}, needs: [{first: proven}], on_failure: continue}
  - {id: aside, uses: lamp.put_out, with: {lamp: c}, on_failure: continue}
"""


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def house(tmp_path: Path, database: str) -> Iterator[House]:
    house = House.build(tmp_path, database=database)
    house.room.light("a", "b", "c")
    yield house
    house.close()


def drive(house: House, story: Callable[[Engine], Awaitable[None]], **kw: Any) -> None:
    """Start the engine, run the story against it, stop it."""

    async def main() -> None:
        engine = house.engine(**kw)
        await engine.start()
        try:
            await asyncio.wait_for(story(engine), 90)
        finally:
            await engine.stop()

    asyncio.run(main())


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition, with a deadline."""
    give_up = time.monotonic() + 45
    while not (value := condition()):
        assert time.monotonic() < give_up, f"waited too long for: {what}"
        await asyncio.sleep(0.02)
    return value


async def closed(house: House, incident: str = "inc-1", status: str = "closed") -> None:
    await until(lambda: house.store.incident(incident).status == status, f"{incident} to be {status}")


def asks(house: House, step: str) -> list[Any]:
    return [a for a in open_asks(house.events()) if a.step == step]


def decide(house: House, engine: Engine, step: str, kind: str, by: str, **body: str) -> bool:
    return engine.desk.submit(
        events=house.events(), incident="inc-1", step=step, kind=kind, by=by, at=house.clock.now(), body=body
    )


def test_what_waits_in_a_row_names_the_step_that_failed_and_not_each_in_between(house: House) -> None:
    needs = "needs: [{second: proven}], on_failure: continue}\n"
    house.land(CHAIN.replace("FAIL", "continue") + "  - {id: third, uses: lamp.put_out, with: {lamp: c}, " + needs)
    house.room.hidden["a"] = Rejected("the lamp is stuck", provider="lamp")

    async def story(_engine: Engine) -> None:
        await until(lambda: "failed" in house.kinds("third"), "the last one to fail")

    drive(house, story)
    said = {e.step: e.body["error"] for e in house.events() if e.kind == "failed"}
    assert said == {
        "first": "the lamp is stuck",
        "second": "it needs first, which did not succeed: the lamp is stuck",
        "third": "it needs second, which waited for first, which did not succeed: the lamp is stuck",
    }


EACH = """
id: each
title: Every lamp that leaked
match: {credential: lamp}
steps:
  - {id: out, uses: lamp.put_out, for_each: $triage.leaking_workflows, with: {lamp: $item.workflow}, on_failure: ask}
  - {id: tried, uses: lamp.put_out, with: {lamp: c}, needs: [{out: tried}], on_failure: ask}
  - {id: ended, uses: lamp.put_out, with: {lamp: d}, needs: [{out: ended}], on_failure: ask}
"""


@pytest.mark.parametrize("again", [False, True], ids=["at-once", "after-a-restart"])
def test_a_question_whether_to_try_again_holds_back_only_who_waits_for_an_end(
    house: House, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    leaking = tuple(WorkflowRef(repository="o/r", workflow=lamp) for lamp in "ab")
    known = House.triage
    monkeypatch.setattr(House, "triage", lambda *given: replace(known(*given), leaking_workflows=leaking))
    house.room.light("d")
    house.room.slow["b"] = 0.5
    house.room.hidden["a"] = Rejected("the lamp is stuck", provider="lamp")
    if again:  # the first one may not go on before all were tried
        house.room.bugs.add("c")
    house.land(EACH)

    async def until_asked(_engine: Engine) -> None:
        await until(lambda: "failed" in house.kinds("tried") if again else house.kinds("tried")[-1:] == ["proof"], "it")

    async def story(engine: Engine) -> None:
        await until_asked(engine)
        assert "look" not in house.kinds("ended")
        assert "proof" in house.kinds("out#1"), "it was tried too"
        house.room.hidden.clear()
        house.room.bugs.clear()
        decide(house, engine, "out#0/retry", "approve", "ann")
        if again:
            await until(lambda: asks(house, "tried/retry"), "the other question")
            decide(house, engine, "tried/retry", "approve", "ann")
        await closed(house)

    if again:
        drive(house, until_asked)
    drive(house, story)
    assert {"out a", "out b", "out c", "out d"} == set(house.room.changes())


def test_no_cut_waits_behind_the_triage_of_others(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One leak can hold hundreds of credentials, all of which are triaged at once."""
    known, entered, go = House.triage, [], threading.Event()

    def triage(self: House, world: Any, report: Any) -> Any:
        if report.credential.id == "b":
            entered.append(report)
            go.wait(60)
        return known(self, world, report)

    monkeypatch.setattr(House, "triage", triage)
    house.postures["contain"] = "one"
    house.land(ONE)

    async def story(engine: Engine) -> None:
        try:
            await engine.open("inc-1")
            await until(lambda: asks(house, "out"), "the ask")
            for k in range(THREADS):
                await engine.open(house.land(ONE, f"other-{k}", "b"))
            await until(lambda: len(entered) == THREADS, "all others to be in triage")
            decide(house, engine, "out", "approve", "ann")
            await closed(house)
            assert not go.is_set()
        finally:
            go.set()

    drive(house, story)


def test_what_comes_while_the_engine_stops_is_left_for_the_next_start(house: House) -> None:
    """A call that is under way is waited for; an incident that begins meanwhile finds half of an engine."""
    house.room.slow["a"] = 1.5
    house.land(ONE)

    async def main() -> None:
        engine = house.engine()
        await engine.start()
        await engine.open("inc-1")
        await until(lambda: "a" in house.room.entered, "the cut to begin")
        stopping = asyncio.create_task(engine.stop())
        await asyncio.sleep(0.3)
        assert not stopping.done(), "it waits for the call"
        await engine.open(house.land(ONE, "inc-2", "b"))
        await stopping

    asyncio.run(main())
    assert house.events("inc-2") == []

    async def story(engine: Engine) -> None:
        await closed(house)
        await closed(house, "inc-2")
        assert not engine.broken

    drive(house, story)
    assert house.room.changes() == ["out a", "out b"]
    assert "broken" not in house.kinds("incident", "inc-2")


def test_a_step_looks_runs_and_proves_in_that_order(house: House) -> None:
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await closed(house)

    drive(house, story)

    assert house.kinds("out") == ["look", "outcome", "proof"]
    assert house.room.changes() == ["out a"]
    row = Ledger.fold(house.events()).rows["lamp:a"]
    assert (row.state.value, row.grade.value if row.grade else "") == ("closed", "refused")
    head = house.store.incident("inc-1")
    assert timeline.verify(house.store.events("inc-1"), head.head_n, head.head_hash) == []


def test_an_incident_that_was_landed_but_never_begun_is_swept_up(house: House) -> None:
    house.land(ONE)
    drive(house, lambda _engine: closed(house))
    assert house.room.changes() == ["out a"]


def test_two_people_must_agree_and_the_reporter_is_not_one_of_them(house: House) -> None:
    house.postures["contain"] = "two"
    house.people.add("zoe")
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: asks(house, "out"), "the ask")
        with pytest.raises(DecisionRefused) as wrong:
            decide(house, engine, "out", "approve", "mallory")
        with pytest.raises(DecisionRefused) as requester:
            decide(house, engine, "out", "approve", "zoe")
        assert (wrong.value.reason, requester.value.reason) == ("wrong-person", "requester")
        assert decide(house, engine, "out", "approve", "ann")
        assert [decide(house, engine, "out", "approve", "ann") for _ in range(50)] == [False] * 50
        await asyncio.sleep(0.2)
        assert house.room.burns("a"), "one person's word, however often, is not two people's"
        decide(house, engine, "out", "approve", "ben")
        await closed(house)
        with pytest.raises(DecisionRefused) as late:
            decide(house, engine, "out", "deny", "cleo")
        assert late.value.reason == "late"

    drive(house, story)
    (decided,) = [e.body for e in house.events() if e.kind == "decided"]
    assert decided["by"] == ["ann", "ben"]


def test_an_approval_of_another_plan_is_worth_nothing(house: House) -> None:
    house.postures["contain"] = "one"
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: asks(house, "out"), "the ask")
        with pytest.raises(DecisionRefused) as other:
            engine.desk.submit(
                events=house.events(),
                incident="inc-1",
                step="out",
                kind="approve",
                by="ann",
                at=house.clock.now(),
                plan="0" * 16,
            )
        assert other.value.reason == "other-plan"
        # Written past the desk, as who holds the database could: it does not count either.
        engine.desk.land(
            incident="inc-1", step="out", kind="approve", by="ann", at=house.clock.now(), plan="0" * 16, body={}
        )
        engine.desk.land(
            incident="inc-1",
            step="out",
            kind="approve",
            by="mallory",
            at=house.clock.now(),
            plan=asks(house, "out")[0].plan_hash,
            body={},
        )
        await asyncio.sleep(0.2)
        assert house.room.burns("a")
        decide(house, engine, "out", "deny", "ann")
        await until(lambda: "failed" in house.kinds("out"), "the step to end")

    drive(house, story)
    assert house.room.burns("a")
    assert Ledger.fold(house.events()).rows["lamp:a"].state == "failed"


@pytest.mark.parametrize(("on_silence", "acts"), [("act", True), ("hold", False)])
def test_silence_does_what_policy_says_and_a_late_word_counts_where_it_does_not_act(
    tmp_path: Path, database: str, on_silence: str, acts: bool
) -> None:
    house = House.build(tmp_path, clock=Clock(), database=database)
    house.room.light("a")
    house.postures["contain"], house.on_silence, house.after_s = "one", on_silence, 600
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: asks(house, "out"), "the ask")
        await asyncio.sleep(0.1)
        assert house.room.burns("a")
        house.clock.at += timedelta(seconds=601)
        if acts:
            await closed(house)
            with pytest.raises(DecisionRefused) as late:
                decide(house, engine, "out", "approve", "ann")
            assert late.value.reason == "late"
        else:
            await until(lambda: "silent" in house.kinds("out"), "the silence to be noted")
            assert house.room.burns("a")
            decide(house, engine, "out", "approve", "ann")
            await closed(house)

    drive(house, story)
    (decided,) = [e.body for e in house.events() if e.kind == "decided"]
    assert decided["by"] == ([] if acts else ["ann"])
    house.close()


@pytest.mark.parametrize(("on_failure", "second"), [("stop", False), ("continue", False)])
def test_what_needs_a_failed_step_does_not_run_and_what_does_not_need_it_does(
    house: House, on_failure: str, second: bool
) -> None:
    house.room.stubborn.add("a")
    house.land(CHAIN.replace("FAIL", on_failure))

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: "failed" in house.kinds("second") and "proof" in house.kinds("aside"), "all to end")

    drive(house, story)
    assert house.room.changes() == ["out c"]
    assert house.room.burns("b")
    ledger = Ledger.fold(house.events())
    assert {k: r.state.value for k, r in ledger.rows.items()} == {"lamp:a": "failed", "lamp:c": "closed"}
    assert house.store.incident("inc-1").status == "open", "no incident closes on an action"


def test_a_failure_that_asks_is_tried_again_when_a_person_says_so(house: House) -> None:
    house.room.stubborn.add("a")
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: asks(house, "out/retry"), "the ask")
        house.room.stubborn.clear()
        decide(house, engine, "out/retry", "approve", "ann")
        await closed(house)

    drive(house, story)
    assert [(e.kind, e.attempt) for e in house.events() if e.step == "out"] == [
        ("look", 1), ("outcome", 1), ("proof", 1), ("failed", 1), ("outcome", 2), ("proof", 2)
    ]  # fmt: skip


LOOKS = [
    Refused("the switchboard does not know us", provider="lamp"),
    Forbidden("we may not see it", provider="lamp", permission="lamps: read"),
    NotFound("there is no such lamp", provider="lamp"),
    Rejected("it makes no sense", provider="lamp"),
    Conflict("somebody else holds it", {}),
]


@pytest.mark.parametrize("error", LOOKS, ids=lambda error: error.reason)
def test_a_look_that_fails_is_a_failure_of_its_step_and_of_no_other(house: House, error: Exception) -> None:
    """A bot that lacks one permission still makes every cut that it can."""
    house.room.hidden["a"] = error
    house.land(CHAIN.replace("FAIL", "ask"))

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: asks(house, "first/retry") and "proof" in house.kinds("aside"), "the ask, and the others")
        assert house.room.changes() == ["out c"]
        assert not engine.broken
        house.room.hidden.clear()
        decide(house, engine, "first/retry", "approve", "ann")
        await until(lambda: "proof" in house.kinds("second"), "the steps that waited")

    drive(house, story)
    assert [(e.kind, e.attempt) for e in house.events() if e.step == "first"] == [
        ("failed", 1), ("look", 1), ("outcome", 2), ("proof", 2)
    ]  # fmt: skip
    assert str(error) in next(e.body["error"] for e in house.events() if e.kind == "failed")


def test_a_look_that_failed_is_not_tried_again_by_a_restart_but_by_people(house: House) -> None:
    house.room.hidden["a"] = LOOKS[1]
    house.land(ONE)

    async def begin(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: asks(house, "out/retry"), "the ask")

    drive(house, begin)
    house.room.hidden.clear()

    async def go_on(engine: Engine) -> None:
        await asyncio.sleep(0.3)
        assert house.room.burns("a")
        decide(house, engine, "out/retry", "approve", "ann")
        await closed(house)

    drive(house, go_on)
    assert house.kinds("out") == ["failed", "look", "outcome", "proof"]


def test_a_row_that_cannot_be_proven_closes_only_by_a_named_persons_waiver(house: House) -> None:
    house.room.stubborn.add("a")
    house.land(ONE.replace("ask", "continue"))

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: "failed" in house.kinds("out"), "the failure")
        with pytest.raises(DecisionRefused):
            engine.desk.order(
                incident="inc-1", step="lamp:a", kind="waive", by="mallory", at=house.clock.now(), reason="no"
            )
        engine.desk.order(
            incident="inc-1", step="lamp:a", kind="waive", by="ann", at=house.clock.now(), reason="the bulb is out"
        )
        await closed(house)

    drive(house, story)
    row = Ledger.fold(house.events()).rows["lamp:a"]
    assert (row.state.value, row.waived_by, row.detail) == ("waived", "ann", "the bulb is out")


def test_a_provider_that_does_not_answer_is_asked_again_and_changed_once(house: House) -> None:
    house.room.trouble["a"] = 3
    house.land(ONE)
    drive(house, lambda _engine: closed(house))
    assert house.room.changes() == ["out a"]


def test_destroying_waits_for_its_evidence(house: House) -> None:
    house.land(ONE.replace("put_out", "smash"))
    drive(house, lambda _engine: closed(house))
    assert house.kinds("out") == ["look", "evidence", "outcome", "proof"]
    (saved,) = house.store.evidence("inc-1")
    assert saved["name"] == "a.json"


def test_abort_stops_what_has_not_begun(house: House) -> None:
    house.postures["contain"] = "one"
    house.land(CHAIN.replace("FAIL", "ask"))

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: asks(house, "first"), "the ask")
        engine.desk.order(
            incident="inc-1", step="", kind="abort", by="ann", at=house.clock.now(), reason="a false alarm"
        )
        await closed(house, status="aborted")

    drive(house, story)
    assert house.room.changes() == []
    assert open_asks(house.events()) == []


def test_undoing_a_cut_needs_two_people_reopens_the_row_and_the_incident(house: House) -> None:
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await closed(house)
        engine.desk.order(
            incident="inc-1", step="out", kind="undo", by="ann", at=house.clock.now(), reason="wrong lamp"
        )
        await until(lambda: asks(house, "out/undo"), "the ask")
        decide(house, engine, "out/undo", "approve", "ben")
        await asyncio.sleep(0.2)
        assert not house.room.burns("a")
        decide(house, engine, "out/undo", "approve", "cleo")
        await closed(house, status="open")
        assert Ledger.fold(house.events()).rows["lamp:a"].state == "suspected"
        engine.desk.order(
            incident="inc-1",
            step="lamp:a",
            kind="waive",
            by="ann",
            at=house.clock.now(),
            reason="it was the wrong lamp",
        )
        await closed(house)

    drive(house, story)
    assert house.room.changes() == ["out a", "lit a"]


def test_an_undo_is_refused_when_the_state_is_no_longer_ours(house: House) -> None:
    house.land(ONE)

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await closed(house)
        house.room.light("a")
        engine.desk.order(
            incident="inc-1", step="out", kind="undo", by="ann", at=house.clock.now(), reason="wrong lamp"
        )
        await until(lambda: asks(house, "out/undo"), "the ask")
        for person in ("ben", "cleo"):
            decide(house, engine, "out/undo", "approve", person)
        await until(lambda: "undo-refused" in house.kinds("out/undo"), "the refusal")

    drive(house, story)
    assert "expected False, found True" in next(e.body["why"] for e in house.events() if e.kind == "undo-refused")


@pytest.mark.parametrize("cooled", [True, False])
def test_a_row_stays_open_while_something_minted_from_it_may_live(tmp_path: Path, database: str, cooled: bool) -> None:
    house = House.build(tmp_path, clock=Clock(), database=database)
    house.room.light("a")
    house.tails = (("glow", "a", 3600),)
    cool = (
        "  - {id: cool, uses: lamp.cool, with: {lamp: a}, needs: [{out: proven}], on_failure: ask}\n" if cooled else ""
    )
    house.land(ONE + cool)

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        if not cooled:
            await until(lambda: "proof" in house.kinds("out"), "the proof")
            await asyncio.sleep(0.2)
            row = Ledger.fold(house.events()).rows["lamp:a"]
            assert row.state == "tail_open"
            house.clock.at += timedelta(seconds=3601)
        await closed(house)

    drive(house, story)
    (tail,) = Ledger.fold(house.events()).rows["lamp:a"].tails
    assert tail.ended == ("cool" if cooled else "expired")
    house.close()


def test_a_persons_step_waits_for_the_answer_and_its_word_is_graded_as_one(house: House) -> None:
    house.land(ONE + "  - {id: ask, uses: people.ask, with: {who: ann, question: 'Did you light it?'}, needs: [out]}\n")

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: asks(house, "ask"), "the question")
        decide(house, engine, "ask", "answer", "ann", text="no, the wind did")
        await closed(house)

    drive(house, story)
    (outcome,) = [e.body for e in house.events() if e.step == "ask" and e.kind == "outcome"]
    assert outcome["outcome"]["answer"] == "no, the wind did"


def test_observing_shows_the_plan_and_changes_nothing(house: House) -> None:
    house.mode = "observe"
    house.land(CHAIN.replace("FAIL", "ask"))

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: all("planned" in house.kinds(s) for s in ("first", "second", "aside")), "the looks")

    drive(house, story)
    assert house.room.changes() == []
    assert "look" not in house.kinds("first"), "a Before is committed only where a run follows"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_second_worker_on_sqlite_is_refused(house: House) -> None:
    async def story(_engine: Engine) -> None:
        with pytest.raises(EngineError, match="another bulkhead worker"):
            await house.engine().start()

    drive(house, story)


def test_a_pause_that_the_provider_asks_for_is_kept_told_and_followed_by_one_change(house: House) -> None:
    house.room.slow_down["a"] = 1.0
    house.land(ONE)
    began = time.monotonic()
    drive(house, lambda _engine: closed(house))
    assert time.monotonic() - began >= 1.0
    assert [e.body["seconds"] for e in house.events() if e.kind == "paused"] == [1.0]
    assert house.room.changes() == ["out a"]


def test_steps_that_would_cut_our_own_credential_go_last_and_in_order(house: House) -> None:
    house.room.own |= {"a", "b"}
    house.land(CHAIN.replace("FAIL", "ask").replace(", needs: [{first: proven}]", ""))
    drive(house, lambda _engine: closed(house))
    assert house.room.changes() == ["out c", "out a", "out b"]


def test_an_abort_that_was_landed_while_nobody_ran_is_obeyed(house: House) -> None:
    house.land(ONE)
    house.store.add_decision(
        {
            "incident": "inc-1",
            "step": "",
            "kind": "abort",
            "by": "ann",
            "at": "2026",
            "plan_hash": "",
            "body": {"reason": "x"},
        }
    )
    drive(house, lambda _engine: closed(house, status="aborted"))
    assert house.room.changes() == []


def test_an_action_that_breaks_fails_its_step_alone_and_can_be_tried_again(house: House) -> None:
    house.room.bugs.add("a")
    house.land(CHAIN.replace("FAIL", "ask"))

    async def story(engine: Engine) -> None:
        await engine.open("inc-1")
        await until(lambda: asks(house, "first/retry") and "proof" in house.kinds("aside"), "the ask, and the others")
        assert not engine.broken
        house.room.bugs.clear()
        decide(house, engine, "first/retry", "approve", "ann")
        await until(lambda: "proof" in house.kinds("second"), "the steps that waited")

    drive(house, story)
    (failed,) = [e.body["error"] for e in house.events() if e.kind == "failed"]
    assert failed.startswith("a fault of Bulkhead itself in lamp.put_out (ZeroDivisionError at lamps.py:")
    assert "try again, or do by hand" in failed


def test_triage_waits_for_a_provider_that_is_away_and_says_so_once(house: House) -> None:
    house.blind += [Refused("the bot's token has expired", provider="lamp")] * 2
    house.land(ONE)
    drive(house, lambda _engine: closed(house))
    paused = [e.body for e in house.events() if e.kind == "paused"]
    assert [(one["provider"], one["why"]) for one in paused] == [("lamp", "the bot's token has expired")]
    assert house.room.changes() == ["out a"]


def test_a_fault_of_ours_is_told_and_taken_up_at_the_next_start(house: House) -> None:
    house.postures["contain"] = "nonsense"
    house.land(ONE)
    drive(house, lambda engine: until(lambda: engine.broken, "the fault to be told"))
    assert house.store.incident("inc-1").status == "open"
    assert [e.body["error"] for e in house.events() if e.kind == "broken"] == ["a fault of Bulkhead itself: KeyError"]
    house.postures.clear()
    drive(house, lambda _engine: closed(house))
    assert house.room.changes() == ["out a"]


def test_stopped_in_the_middle_of_a_call_it_goes_on_at_the_next_start(house: House) -> None:
    """The call ends by itself; that it was made is found by looking, not remembered."""
    house.room.slow["a"] = 0.5
    house.land(ONE)
    drive(house, lambda _engine: until(lambda: "a" in house.room.entered, "the call to begin"))
    assert house.kinds("incident")[-1] == "plan", "no fault was told"
    drive(house, lambda _engine: closed(house))
    assert house.room.changes() == ["out a"]
