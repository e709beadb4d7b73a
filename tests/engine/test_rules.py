"""What policy says, through the real engine: modes, silence, the brake, and a machine that may harm itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.engine.decisions import Ask
from bot.engine.run import Engine
from bot.errors import DecisionRefused
from bot.model import Exposure, Machine
from tests.engine.ruled import ONE, STAFFED, Clock, Ruled, drive, until

SMASH = ONE.replace("put_out", "smash")
ISOLATED = """
id: one-lamp
title: A lamp burns, and somebody sits beside it
match: {credential: lamp}
steps:
  - id: isolate
    uses: people.isolate
    when: {triage.machine: exists}
    with: {machine: $triage.machine_name}
    on_failure: continue
  - {id: out, uses: lamp.put_out, with: {lamp: a}, needs: [{isolate: ended}], on_failure: ask}
  - {id: next, uses: lamp.put_out, with: {lamp: b}, needs: [{out: proven}], on_failure: ask}
"""


@pytest.fixture
def house(tmp_path: Path, database: str) -> Iterator[Ruled]:
    house = Ruled.build(tmp_path, clock=Clock(), database=database)
    assert isinstance(house, Ruled)
    house.room.light("a", "b", "c")
    yield house
    house.close()


# modes ----------------------------------------------------------------------------------------------------------------


def test_observing_says_what_it_would_have_done_and_does_nothing(house: Ruled) -> None:
    house.installation = "observe"
    house.report()

    async def story(engine: Engine) -> None:
        await until(lambda: "planned" in house.kinds("out"), "the look")
        now = house.clock.now()
        engine.desk.order(incident="inc-1", step="lamp:a", kind="waive", by="ann", at=now, reason="watched")
        await house.closed()

    drive(house, story)
    (planned,) = house.bodies("out", "planned")
    assert (planned["ruling"]["posture"], planned["ruling"]["rule"]) == ("act", "exposed-and-live")
    assert house.kinds("out") == ["planned"]
    assert house.room.changes() == []


def test_asking_turns_what_would_act_into_a_question_to_one(house: Ruled) -> None:
    house.installation = "ask"
    house.report()

    async def story(engine: Engine) -> None:
        ask: Ask = (await until(lambda: house.asks("out"), "the ask"))[0]
        assert (ask.needs, ask.group) == (1, "one")
        assert "mode-ask" in ask.why
        assert house.room.burns("a")
        house.decide(engine, "out", "approve", "ann")
        await house.closed()

    drive(house, story)
    assert house.room.changes() == ["out a"]


def test_acting_follows_the_table(house: Ruled) -> None:
    house.report()
    drive(house, lambda _engine: house.closed())
    assert house.kinds("out") == ["look", "outcome", "proof"]
    assert house.bodies("out", "look")[0]["ruling"]["rule"] == "exposed-and-live"


def test_what_opens_a_door_asks_one_person_where_policy_would_ask_nobody(
    house: Ruled, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    known = house.room.catalogue()
    known["lamp.put_out"] = replace(known["lamp.put_out"], asks="It opens a door.")
    monkeypatch.setattr(type(house.room), "catalogue", lambda _self: known)
    house.report()

    async def story(engine: Engine) -> None:
        ask: Ask = (await until(lambda: house.asks("out"), "the ask"))[0]
        assert (ask.needs, ask.group, ask.on_silence, ask.expires_at) == (1, "one", "hold", "")
        assert ask.why == "It opens a door. (rule asked-by-the-action)"
        assert house.room.burns("a")
        house.decide(engine, "out", "approve", "ann")
        await house.closed()

    drive(house, story)
    assert house.room.changes() == ["out a"]


def test_a_playbook_that_passed_no_drill_with_this_very_text_never_acts(house: Ruled) -> None:
    house.report(ONE.replace("A lamp", "The lamp"))  # this text has passed
    house.report(ONE, "inc-2", "b", drilled=False)  # this one has not

    async def story(_engine: Engine) -> None:
        await house.closed("inc-1")
        await until(lambda: house.asks("out", "inc-2"), "the ask")

    drive(house, story)
    assert house.room.changes() == ["out a"]
    assert house.asks("out", "inc-2")[0].why.endswith("(rule mode-ask)")


@pytest.mark.parametrize(
    ("playbooks", "repositories", "installation", "wanted"),
    [
        ("{one-lamp: act}", "{}", "observe", "act"),
        ("{one-lamp: act}", "{o/r: ask}", "observe", "ask"),
        ("{}", "{o/r: observe}", "act", "observe"),
        ("{other: observe}", "{o/other: observe}", "act", "act"),
    ],
)
def test_playbook_and_repository_have_a_mode_and_the_more_careful_one_counts(
    house: Ruled, playbooks: str, repositories: str, installation: str, wanted: str
) -> None:
    house.policy = STAFFED.replace("playbooks: {}", f"playbooks: {playbooks}")
    house.policy = house.policy.replace("repositories: {}", f"repositories: {repositories}")
    house.installation = installation
    house.report()
    ends = {"act": "proof", "ask": "asked", "observe": "planned"}
    drive(house, lambda _engine: until(lambda: ends[wanted] in house.kinds("out"), wanted))
    assert house.bodies("incident", "plan")[0]["mode"] == wanted
    assert house.room.burns("a") is (wanted != "act")


# silence --------------------------------------------------------------------------------------------------------------


def test_silence_acts_where_a_cut_can_be_taken_back_and_few_can_have_seen_it(house: Ruled) -> None:
    house.exposure = Exposure.INTERNAL
    house.report()

    async def story(engine: Engine) -> None:
        ask: Ask = (await until(lambda: house.asks("out"), "the ask"))[0]
        assert ask.on_silence == "act"
        house.clock.pass_time(901)
        await house.closed()
        with pytest.raises(DecisionRefused, match="over"):
            house.decide(engine, "out", "deny", "ann")

    drive(house, story)
    assert house.bodies("out", "decided")[0]["by"] == []
    assert house.room.changes() == ["out a"]


def test_silence_holds_and_a_late_word_still_counts(house: Ruled) -> None:
    where = STAFFED.index("id: destroy-what-is-not-shown-to-be-exposed")
    house.policy = STAFFED[:where] + STAFFED[where:].replace("after_s: 0", "after_s: 600", 1)
    house.exposure = Exposure.INTERNAL
    house.report(SMASH)

    async def story(engine: Engine) -> None:
        await until(lambda: house.asks("out"), "the ask")
        house.clock.pass_time(601)
        await until(lambda: "silent" in house.kinds("out"), "the silence to be noted")
        assert "escalated" not in house.kinds("out")
        assert house.room.burns("a")
        house.decide(engine, "out", "approve", "ann")
        house.decide(engine, "out", "approve", "ben")
        await house.closed()

    drive(house, story)
    assert house.bodies("out", "decided")[0]["by"] == ["ann", "ben"]


def test_silence_escalates_by_naming_the_group_that_is_told_and_its_people_may_answer(house: Ruled) -> None:
    house.fingerprint = ""  # only an id is known
    house.report()

    async def story(engine: Engine) -> None:
        ask: Ask = (await until(lambda: house.asks("out"), "the ask"))[0]
        assert (ask.on_silence, ask.tells) == ("escalate", ("night-shift",))
        house.clock.pass_time(601)
        await until(lambda: "escalated" in house.kinds("out"), "more people to be told")
        assert house.room.burns("a")
        house.decide(engine, "out", "approve", "dora")
        await house.closed()

    drive(house, story)
    assert house.bodies("out", "escalated") == [{"groups": ["night-shift"], "what": "Put a lamp out: a burns"}]
    assert house.room.changes() == ["out a"]


# the brake ------------------------------------------------------------------------------------------------------------


def test_of_many_incidents_at_once_only_so_many_are_cut_unattended(house: Ruled) -> None:
    house.policy = STAFFED.replace("unattended_cuts: 5", "unattended_cuts: 2")
    lamps = [f"l{n}" for n in range(6)]
    house.room.light(*lamps)
    names = [house.report(incident=f"inc-{n}", lamp=lamp) for n, lamp in enumerate(lamps)]

    async def story(engine: Engine) -> None:
        asking = await until(lambda: len(x := [n for n in names if house.asks("out", n)]) == 4 and x, "four asks")
        await until(lambda: len(house.room.changes()) == 2, "two cuts")
        (ask,) = house.asks("out", asking[0])
        assert "brake" in ask.why
        house.clock.pass_time(300)
        await until(lambda: "escalated" in house.kinds("out", asking[0]), "silence not to act")
        house.decide(engine, "out", "approve", "ann", asking[0])
        await house.closed(asking[0])
        assert len(house.room.changes()) == 3
        house.clock.pass_time(601)  # the time of the brake is over
        house.room.light("late")
        await engine.open(house.report(incident="inc-late", lamp="late"))
        await house.closed("inc-late")

    drive(house, story)
    assert house.kinds("out", "inc-late") == ["look", "outcome", "proof"]


def test_watching_takes_nothing_from_the_brake(house: Ruled) -> None:
    house.policy = STAFFED.replace("unattended_cuts: 5", "unattended_cuts: 1")
    house.policy = house.policy.replace("repositories: {}", "repositories: {o/watched: observe}")
    house.report(repository="o/watched")
    house.report(incident="inc-2", lamp="b")

    async def story(_engine: Engine) -> None:
        await until(lambda: "planned" in house.kinds("out"), "the look")
        await house.closed("inc-2")

    drive(house, story)
    assert house.room.changes() == ["out b"]


# malware on a machine -------------------------------------------------------------------------------------------------


def test_the_machine_is_isolated_first_then_the_first_cut_asks_and_the_others_do_not(house: Ruled) -> None:
    house.machine = Machine.EXISTS
    house.report(ISOLATED)

    async def story(engine: Engine) -> None:
        ask: Ask = (await until(lambda: house.asks("isolate"), "the task"))[0]
        assert (ask.purpose, ask.on_silence) == ("answer", "act")
        assert "laptop of mara" in ask.what
        await asyncio.sleep(0.1)
        assert "look" not in house.kinds("out"), "the cut waits"
        house.decide(engine, "isolate", "answer", "ben", text="its cable is out")
        cut: Ask = (await until(lambda: house.asks("out"), "the first cut to ask"))[0]
        assert "malware-on-a-machine" in cut.why
        assert house.room.changes() == []
        house.decide(engine, "out", "approve", "ann")
        await house.closed()

    drive(house, story)
    assert house.room.changes() == ["out a", "out b"]
    assert "asked" not in house.kinds("next")
    assert house.bodies("isolate", "outcome")[0]["summary"] == "ben: its cable is out"


def test_when_nobody_isolates_and_nobody_answers_it_is_revoked_anyway(house: Ruled) -> None:
    house.machine = Machine.EXISTS
    house.report(ISOLATED)

    async def story(_engine: Engine) -> None:
        await until(lambda: house.asks("isolate"), "the task")
        house.clock.pass_time(601)
        await until(lambda: house.asks("out"), "the first cut to ask")
        assert house.room.changes() == []
        house.clock.pass_time(601)
        await house.closed()

    drive(house, story)
    assert "nobody has said in time" in house.bodies("isolate", "failed")[0]["error"]
    assert house.room.changes() == ["out a", "out b"]


@pytest.mark.parametrize("machine", [Machine.NONE, Machine.UNKNOWN])
def test_without_word_of_a_machine_the_cut_waits_for_nothing(house: Ruled, machine: Machine) -> None:
    house.machine = machine
    house.report(ISOLATED)
    drive(house, lambda _engine: house.closed())
    assert house.kinds("isolate") == ["skipped"]
    assert "asked" not in house.kinds("out")
