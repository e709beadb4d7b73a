"""Playbooks, policies and decisions drawn at random, through the real engine, over a room of lamps.

What is drawn is refused when it is loaded, or it runs: no step is skipped without the reason that it was given, no
row closes without a proof or a waiver, and nothing changes that nobody, and no rule, had allowed.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bot import timeline
from bot.engine.decisions import GLASS, open_asks
from bot.engine.ledger import Ledger
from bot.engine.policy import POSTURE_AXES, Policy
from bot.engine.run import Engine
from bot.errors import DecisionRefused, InputError, PlaybookError
from bot.model import Exposure, Report, RowState, Triage, WorkflowRef
from bot.playbook import Playbook, load
from bot.world import World
from tests.engine.ruled import STAFFED, Clock, Ruled, drive, until

LAMPS = "abcde"
PEOPLE = ("ann", "ben", "zoe", "mallory")  # two responders, the reporter (who is one too), somebody from outside
STEPS = [f"s{n}" for n in range(5)]


@dataclass(slots=True, kw_only=True)
class Chance(Ruled):
    """The house whose triage names as many things as were drawn."""

    items: tuple[str, ...] = ()

    def found(self, world: World, report: Report) -> Triage:
        found = Ruled.found(self, world, report)
        return replace(found, leaking_workflows=tuple(WorkflowRef(repository="o/r", workflow=x) for x in self.items))


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One try."""

    steps: list[dict[str, Any]]
    postures: dict[str, tuple[str, str]]
    installation: str
    drilled: bool
    cuts: int
    exposure: str
    burning: set[str]
    stubborn: set[str]
    trouble: dict[str, int]
    items: list[str]
    said: list[tuple[int, str, str, int]] = field(default_factory=list)  # which ask, by whom, what, seconds before
    abort_after: int | None = None

    @property
    def playbook(self) -> str:
        head = {"id": "drawn", "title": "Drawn", "match": {"credential": "lamp"}}
        return json.dumps(head | {"steps": self.steps})  # JSON is YAML

    @property
    def policy(self) -> str:
        whole: dict[str, Any] = dict(_plain(STAFFED.replace("[ann, ben, cleo]", "[ann, ben, zoe]")))
        rules = [
            {"id": f"r-{effect}", "cells": dict.fromkeys(POSTURE_AXES, "any") | {"effect": effect}, "posture": posture,
             "on_silence": silence, "after_s": 600, "reason": "it was drawn"}
            for effect, (posture, silence) in self.postures.items()
        ]  # fmt: skip
        whole["posture"] = {"axes": whole["posture"]["axes"], "rules": rules}
        whole["brake"] = {"unattended_cuts": self.cuts, "within_s": 600}
        return json.dumps(whole)


def _plain(text: str) -> Any:
    from bot import strictyaml

    return strictyaml.read(text, "policy.yaml").plain


@st.composite
def steps(draw: st.DrawFn, mistakes: bool) -> list[dict[str, Any]]:
    """Steps of any shape; with ``mistakes``, also such as cannot be run."""
    written = []
    for n in range(draw(st.integers(1, len(STEPS)))):
        uses = draw(st.sampled_from(["lamp.put_out", "lamp.put_out", "lamp.smash", "lamp.cool", "people.ask"]))
        step: dict[str, Any] = {"id": STEPS[n], "uses": uses}
        if uses == "people.ask":
            step["with"] = {"who": "ann", "question": "why?"}
        elif draw(st.integers(0, 3)) == 0:
            step |= {"for_each": "$triage.leaking_workflows", "with": {"lamp": "$item.workflow"}}
        else:
            step["with"] = {"lamp": draw(st.sampled_from(LAMPS))}
        if uses != "people.ask":
            step["on_failure"] = draw(st.sampled_from(["stop", "continue", "ask"]))
        before = draw(st.lists(st.sampled_from(STEPS[:n]), max_size=2, unique=True)) if n else []
        levels = st.sampled_from(["tried", "ended", "outcome", "proven"])
        step["needs"] = [{name: draw(levels)} for name in before]
        if draw(st.integers(0, 4)) == 0:
            step["when"] = {"triage.exposure": draw(st.sampled_from(["public", "internal"]))}
        if mistakes and draw(st.booleans()):
            wrong = st.sampled_from(
                [{"uses": "lamp.none"}, {"needs": [draw(st.sampled_from(STEPS))]}, {"with": {"lamp": 7}}, {"whne": {}},
                 {"on_failure": "hope"}, {"for_each": "$triage.live"}, {"with": {"lamp": "$nobody.outcome"}}]
            )  # fmt: skip
            step |= draw(wrong)
        written.append(step)
    return written


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    lamps = st.sets(st.sampled_from(LAMPS))
    silence = st.sampled_from(["act", "hold", "escalate"])
    rule = st.tuples(st.sampled_from(["act", "act", "one", "two", "person"]), silence)
    word = st.tuples(
        st.integers(0, 9), st.sampled_from(PEOPLE), st.sampled_from(["approve", "approve", "deny", "answer", GLASS]),
        st.sampled_from([0, 0, 0, 601]),
    )  # fmt: skip
    return Drawn(
        steps=draw(steps(mistakes=draw(st.integers(0, 4)) == 0)),
        postures={effect: draw(rule) for effect in ("contain", "change", "destroy", "publish", "unknown")},
        installation=draw(st.sampled_from(["act", "act", "act", "ask", "observe"])),
        drilled=draw(st.integers(0, 5)) > 0, cuts=draw(st.integers(0, 2)),
        exposure=draw(st.sampled_from(["public", "internal"])), burning=draw(lamps),
        stubborn=draw(lamps) if draw(st.booleans()) else set(), trouble=dict.fromkeys(draw(lamps), 1),
        items=draw(st.lists(st.sampled_from(LAMPS), max_size=3, unique=True)), said=draw(st.lists(word, max_size=8)),
        abort_after=draw(st.one_of(st.none(), st.none(), st.none(), st.integers(0, 4))),
    )  # fmt: skip


def try_it(one: Drawn) -> None:
    """Refused at load and nothing happens, or run to its end and held to what must always be so."""
    Policy.load(one.policy)
    with tempfile.TemporaryDirectory() as folder:
        house = Chance.build(Path(folder), clock=Clock())
        assert isinstance(house, Chance)
        try:
            _run(house, one)
        finally:
            house.close()


def _run(house: Chance, one: Drawn) -> None:
    house.policy, house.installation, house.items = one.policy, one.installation, tuple(one.items)
    house.exposure = Exposure(one.exposure)
    house.room.light(*one.burning)
    house.room.stubborn, house.room.trouble = set(one.stubborn), dict(one.trouble)
    try:
        playbook = load(one.playbook, "test.yaml", house.catalogue())
    except PlaybookError as exc:
        assert exc.problems
        assert house.store.incidents() == []
        return
    house.report(one.playbook, drilled=one.drilled)
    drive(house, lambda engine: _live(house, engine, playbook, one))
    _hold(house, playbook, one)


# living through it ----------------------------------------------------------------------------------------------------


def expected(playbook: Playbook, one: Drawn) -> dict[str, list[str]]:
    """The runs of each step: none where it must be skipped."""
    runs = {}
    for step in playbook.steps:
        names = [f"{step.id}#{k}" for k in range(len(one.items))] if step.for_each else [step.id]
        runs[step.id] = names if all(one.exposure in wanted for wanted in step.when.values()) else []
    return runs


def over(house: Chance, name: str) -> bool:
    """Whether a run of a step has come to its end, and nobody is asked whether to try again."""
    events = [e for e in house.events() if e.step == name]
    last = events[-1].kind if events else ""
    begun = any(e.kind == "look" for e in events)  # what fails before it begins is not tried again
    if last == "failed" and begun and events[-1].body["on_failure"] == "ask" and not events[-1].body["denied"]:
        asked = (f"{name}/retry", "decided", events[-1].attempt)
        again = [e for e in house.events() if (e.step, e.kind, e.attempt) == asked]
        return bool(again) and not again[0].body["go"]
    return last in ("failed", "skipped") or (last == "proof" and events[-1].body["verdict"] == "proven")


def quiet(house: Chance, playbook: Playbook, one: Drawn) -> bool:
    """Whether nothing moves until somebody speaks: each step is over, or asks, or waits for one that is not over."""
    if house.store.incident("inc-1").status != "open":
        return True
    if not house.bodies("incident", "plan"):
        return False
    runs = expected(playbook, one)
    if house.bodies("incident", "plan")[0]["mode"] == "observe":
        return all("planned" in house.kinds(name) for names in runs.values() for name in names)
    asking = {ask.step.removesuffix("/retry") for ask in open_asks(house.events())}
    failed = {e.step for e in house.events() if e.kind == "failed"}
    done = {
        step: (step in failed and not names) or all(over(house, name) for name in names or [step])
        for step, names in runs.items()
    }
    for step in playbook.steps:
        names = runs[step.id] or [step.id]
        begun = any(set(house.kinds(name)) - {"planned", "planned-later"} for name in names)
        blocked = any(not done[need] for need in step.needs) and not begun
        still = all(over(house, name) or name in asking for name in names)
        if not (blocked or still or over(house, step.id)):
            return False
    return True


async def _live(house: Chance, engine: Engine, playbook: Playbook, one: Drawn) -> None:
    now = house.clock.now
    for n, (which, by, kind, seconds) in enumerate(one.said):
        await until(lambda: quiet(house, playbook, one), "it to come to rest")
        if n == one.abort_after:
            engine.desk.order(incident="inc-1", step="", kind="abort", by="ann", at=now(), reason="drawn")
            # It may have closed by itself at that moment; open it may not stay.
            await until(lambda: house.store.incident("inc-1").status != "open", "the abort to be heard")
            return
        asks = open_asks(house.events())
        if asks and house.store.incident("inc-1").status == "open":
            ask = asks[which % len(asks)]
            house.clock.pass_time(seconds)
            try:
                house.decide(engine, ask.step, kind, by, text="drawn", reason="drawn")
            except (DecisionRefused, InputError):
                continue
            two = ask.needs == 2 and kind == "approve"
            if not two:
                await until(lambda a=ask: a not in open_asks(house.events()), "the word to be heard")
    await _finish(house, engine, playbook, one)


async def _finish(house: Chance, engine: Engine, playbook: Playbook, one: Drawn) -> None:
    """Say no to what still asks, answer what is asked, and waive what is left: only then may it close."""
    while house.store.incident("inc-1").status == "open":
        await until(lambda: quiet(house, playbook, one), "it to come to rest")
        asks = open_asks(house.events())
        for ask in asks:
            try:
                house.decide(engine, ask.step, "answer" if ask.purpose == "answer" else "deny", "ann", text="drawn")
            except DecisionRefused as exc:
                assert exc.reason == "late"
            await until(lambda a=ask: a not in open_asks(house.events()), "the word to be heard")
        if not asks:
            left = [key for key, row in Ledger.fold(house.events()).rows.items() if not row.settled]
            for key in left:
                order = {"incident": "inc-1", "step": key, "kind": "waive", "by": "ann", "at": house.clock.now()}
                engine.desk.order(**order, reason="drawn")
            await house.closed()


# what must always be so -----------------------------------------------------------------------------------------------


def _hold(house: Chance, playbook: Playbook, one: Drawn) -> None:
    events = house.events()
    head = house.store.incident("inc-1")
    assert timeline.verify(house.store.events("inc-1"), head.head_n, head.head_hash) == []
    changes = house.room.changes()
    assert len(changes) == len(set(changes)), "nothing is done twice"
    _allowed(house, changes)
    _counted(events)
    if one.installation == "observe":
        assert changes == []
    if head.status != "closed":
        over = next(e.n for e in events if e.kind == "aborted")
        assert not [e for e in events if e.kind in ("look", "asked", "closed") and e.n > over], "no new step begins"
        return
    if one.installation != "observe":
        for step, names in expected(playbook, one).items():
            ended = [house.kinds(name) for name in names or [step]]
            stopped = "failed" in house.kinds(step)
            assert stopped or all({"proof", "failed", "skipped"} & set(kinds) for kinds in ended), (step, ended)
            assert stopped or ("skipped" in house.kinds(step)) == (not names), step
    _proven(house)


def _allowed(house: Chance, changes: list[str]) -> None:
    """Every change has a step whose rule let it act, or whose people said yes before it was done."""
    events = house.events()
    for lamp in (line.removeprefix("out ") for line in changes):
        looks = [e for e in events if e.kind == "look" and e.body["before"]["needed"]]
        runs = [e for e in looks if e.body["inputs"].get("lamp") == lamp]
        assert runs, lamp
        allowed = []
        for look in runs:
            done = next((e.n for e in events if (e.step, e.kind) == (look.step, "outcome")), None)
            said = [e for e in events if (e.step, e.kind) == (look.step, "decided")]
            yes = any(e.body["go"] and (done is None or e.n < done) for e in said)
            allowed.append(yes or look.body["ruling"]["posture"] == "act")
            if said and not said[0].body["go"]:
                assert done is None, f"{look.step} was denied"
        assert any(allowed), lamp


def _counted(events: list[Any]) -> None:
    """No word of somebody who may not speak, and as many as were needed."""
    needs = {(e.step, e.attempt): e.body["needs"] for e in events if e.kind == "asked"}
    for said in (e for e in events if e.kind == "decided"):
        by, wanted = said.body["by"], needs[said.step, said.attempt]
        assert "mallory" not in by
        assert len(set(by)) == len(by)
        if said.body["go"] and by and said.body["said"] != GLASS:
            assert len(by) >= wanted
        if wanted == 2 and said.body["go"]:
            assert "zoe" not in by, "who reported is not one of two"
        if said.body["said"] == GLASS:
            assert any((e.step, e.kind, e.attempt) == (said.step, GLASS, said.attempt) for e in events)


def _proven(house: Chance) -> None:
    """Closed: each row by a proof that is more than a word, or by a named person."""
    rows = Ledger.fold(house.events()).rows
    assert rows
    for key, row in rows.items():
        if row.state is RowState.WAIVED:
            assert row.waived_by == "ann"
            continue
        assert row.state is RowState.CLOSED, key
        proofs = [e.body for e in house.events() if e.step == row.step and e.kind == "proof"]
        assert proofs[-1]["verdict"] == "proven" and proofs[-1]["grade"] in ("refused", "state"), key
        assert not house.room.burns(key.removeprefix("lamp:"))


QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate], derandomize=True, **QUIET)
@given(drawn())
def test_what_is_drawn_is_refused_or_runs_as_it_must(one: Drawn) -> None:
    try_it(one)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=150, phases=[Phase.explicit, Phase.reuse, Phase.generate], **QUIET)
@given(drawn())
def test_much_that_is_drawn_is_refused_or_runs_as_it_must(one: Drawn) -> None:
    try_it(one)
