"""Drills with choices, whole: the best path is contained, each harmful answer has its consequence and is recovered."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bot import app, drill, sites
from bot.actions import CATALOGUE
from bot.choices import BEST, HARMFUL, Choice, Option
from bot.choosing import Answer, Decide, best
from bot.engine.ledger import Ledger
from bot.model import RowState
from bot.playbook import load_folder
from bot.rehearsal import follow_up
from bot.scenario import NOTHING, Drill, load_drills
from bot.settings import Settings
from bot.timeline import load

DRILLS = load_drills([app.SHIPPED / "drills"], load_folder([app.SHIPPED / "containment"], CATALOGUE))
CHOOSING = {name: one for name, one in DRILLS.items() if one.choices}
SAMPLE = "documentation-key-in-log"  # the cheapest, in the fast suite


@pytest.fixture(scope="module")
def arena() -> Iterator[drill.Range]:
    with drill.range_up() as up:
        yield up


def every_harm(choice: Choice, left: Sequence[Option]) -> Answer:
    """Each harmful answer of a choice in turn, being sure of it; then the best one."""
    return next((one for one in left if one.grade == HARMFUL), choice.best), True


def play(
    arena: drill.Range, home: Path, one: Drill, decide: Decide
) -> tuple[drill.Result, list[tuple[str, Any]], drill.Range]:
    fresh = arena.anew()
    told: list[tuple[str, Any]] = []
    quick = dataclasses.replace(one, delay_s=0.02)
    settings = Settings(home=home, responders=",".join(one.responders))
    with app.opened(settings, sites={"range": sites.range_site(fresh.endpoints)}) as bulkhead:
        run = drill.Run(quick, bulkhead, fresh, lambda *said: told.append(said), decide, "alice (simulated)")
        result = asyncio.run(run.run())
        assert result.contained, result.why_not
        if result.incident:
            findings = (result.score or {}).get("findings", ())
            follow_up(bulkhead.postmortems, result.incident, findings, "alice (simulated)")
            for row in bulkhead.store.incidents():
                states = {each.state for each in Ledger.fold(load(bulkhead.store, row.id)).rows.values()}
                signed = {RowState.WAIVED} if one.signs else set()
                assert (row.status, states - signed) == ("closed", {RowState.CLOSED})
            written = bulkhead.postmortems.view(result.incident).follow_ups
            ours = {each.what.id for each in written}
            assert {finding["id"] for finding in result.score["findings"]} <= ours  # type: ignore[index]
    return result, told, fresh


def cases() -> list[Any]:
    found = []
    for name in CHOOSING:
        marks = () if name == SAMPLE else (pytest.mark.slow,)
        found += [
            pytest.param(name, "best", id=f"{name}-best", marks=pytest.mark.slow),
            pytest.param(name, "harm", id=f"{name}-harm", marks=marks),
        ]
    return found


@pytest.mark.parametrize(("name", "path"), cases())
def test_it_is_contained_whatever_is_chosen(arena: drill.Range, tmp_path: Path, name: str, path: str) -> None:
    one = CHOOSING[name]
    result, told, here = play(arena, tmp_path, one, best if path == "best" else every_harm)
    assert result.contained, result.why_not
    assert bool(result.incident) is (one.ends != NOTHING)
    harmful = [option for choice in one.choices for option in choice.options if option.grade == HARMFUL]
    happened = [data["act"] for kind, data in told if kind == "consequence"]
    assert sorted(happened) == sorted(option.plays for option in harmful) * (path == "harm")
    assert [data["act"] for kind, data in told if kind == "mended"] == [
        option.mends for option in harmful if option.mends
    ] * (path == "harm")
    assert all(attempt["refused"] for attempt in result.attacker["after"])
    assert {attempt["name"] for attempt in result.attacker["after"]} >= set(one.refused)
    assert here.post("/drill/collateral", {"scenario": one.scenario})["ok"]
    score = result.score
    assert score is not None
    if path == "best":
        assert (score["choices"], score["sure_and_wrong"], score["out_of_order"]) == (1.0, 0, ())
        assert {chosen["grade"] for chosen in result.choices} == {BEST}
    else:
        assert score["sure_and_wrong"] == sum(
            any(option.grade == HARMFUL for option in choice.options) for choice in one.choices
        )
        assert score["recovered"]
        assert all(finding["owner"] for finding in score["findings"])
