"""The first drill while a clock jumps in the middle of it: the bot's own, either way, or everybody's, ahead.

AWS's own clock does not go back. Where the whole range's does, no cut-off of now is late enough any more, so the proofs
are refuted and the incident stays open: that is held by the proofs' own tests.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import app, drill, sites
from bot.actions import CATALOGUE
from bot.playbook import load_folder
from bot.scenario import load_drill
from bot.settings import Settings

NAME = "aws-key-in-public-log"
HALF = timedelta(minutes=30)
AFTER_THE_CUT, IN_THE_SEARCH = ("deactivate", "outcome"), ("find", "outcome")


class Jumping:
    """The clock of the bot's machine: the range's, and what it is wrong by."""

    def __init__(self, clock: Any) -> None:
        self._clock, self.wrong = clock, timedelta()

    def now(self) -> datetime:
        return self._clock.now() + self.wrong  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def arena() -> Iterator[drill.Range]:
    with drill.range_up() as up:
        yield up


def play(arena: drill.Range, home: Path, jumps: dict[tuple[str, str], timedelta], *, everybody: bool) -> drill.Result:
    """The drill; when one of these events (step, kind) is first told, the clock jumps by so much."""
    fresh = drill.Range(info={**arena.info, "cast": arena.post("/reset")["cast"]})
    site = sites.range_site(fresh.endpoints)
    clock, left = Jumping(site.clock), dict(jumps)

    def tell(kind: str, data: dict[str, Any]) -> None:
        by = left.pop((data["step"], data["kind"]), None) if kind == "event" else None
        if by is not None and everybody:
            fresh.post("/clock", {"advance_s": by.total_seconds()})
        elif by is not None:
            clock.wrong += by

    source = app.SHIPPED / "drills" / f"{NAME}.yaml"
    scenario = load_drill(source.read_text(), str(source), load_folder([app.SHIPPED / "containment"], CATALOGUE))
    scenario = dataclasses.replace(scenario, delay_s=0.02)
    settings = Settings(home=home, responders=",".join(scenario.responders))
    with app.opened(settings, sites={"range": dataclasses.replace(site, clock=clock)}) as bulkhead:
        result = asyncio.run(drill.Run(scenario, bulkhead, fresh, tell).run())
    assert left == {}, "every jump was made"
    return result


@pytest.mark.parametrize(
    ("jumps", "everybody"),
    [
        pytest.param({AFTER_THE_CUT: -HALF, IN_THE_SEARCH: 2 * HALF}, False, id="ours-back-then-ahead"),
        pytest.param(
            {AFTER_THE_CUT: HALF, IN_THE_SEARCH: -2 * HALF}, False, id="ours-ahead-then-back", marks=pytest.mark.slow
        ),
        pytest.param({AFTER_THE_CUT: HALF, IN_THE_SEARCH: HALF}, True, id="everybodys-ahead", marks=pytest.mark.slow),
    ],
)
def test_it_is_contained_when_a_clock_jumps(
    arena: drill.Range, tmp_path: Path, jumps: dict[tuple[str, str], timedelta], everybody: bool
) -> None:
    result = play(arena, tmp_path, jumps, everybody=everybody)
    assert result.contained, result.why_not
    assert {row["state"] for row in result.ledger} == {"closed"}
    assert all(attempt["refused"] for attempt in result.attacker["after"])
