"""The company's side of the page: what leaks, what Mara does with her second factor, what the attacker still gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from bot.drill import Range, range_up
from bot.range.stage import ACTS, FROM_MEMORY, TITLES
from bot.scenario import SCENARIOS


@pytest.fixture(scope="module")
def arena() -> Iterator[Range]:
    with range_up() as found:
        yield found


def press(arena: Range, **form: str) -> str:
    """Press a button of the page as jonas; gives the page."""
    sent = {"as": "jonas", "in": "deploys"} | form
    answer = requests.post(f"{arena.info['slack']}/page/stage", data=sent, timeout=60)
    assert answer.status_code == 200
    return answer.text


def said(arena: Range) -> list[dict[str, Any]]:
    seen = requests.get(f"{arena.info['slack']}/hand/jonas/state", timeout=30).json()
    return [message for channel in seen["channels"] if channel["name"] == "deploys" for message in channel["messages"]]


def test_every_scenario_can_be_begun_from_the_page() -> None:
    assert TITLES.keys() == SCENARIOS.keys()


def test_a_leak_happens_once_and_somebody_wonders_about_it(arena: Range) -> None:
    assert "Let it leak" in press(arena, leak="no-such")
    assert "nothing of it has leaked yet" in press(arena, tries=FROM_MEMORY)
    assert "nothing to do for Mara yet" in press(arena, act="mint-npm-token")
    before = len(said(arena))
    press(arena, leak=FROM_MEMORY)
    told = said(arena)[before:]
    assert len(told) == 1
    assert "/actions/runs/" in told[0]["text"]
    stolen = arena.get("/drill/stolen")["values"]["NPM_PUBLISH_TOKEN"]
    assert stolen in told[0]["text"]
    assert "that has happened already" in press(arena, leak=FROM_MEMORY)
    assert len(said(arena)) == before + 1
    assert "works" in press(arena, tries=FROM_MEMORY)

    page = press(arena, act="revoke-npm-token")
    assert ACTS["revoke-npm-token"][1].partition("'")[0] in page
    tries = {one["name"]: one["refused"] for one in arena.post("/drill/tries", {"scenario": FROM_MEMORY})}
    assert tries["npm-token"]
    assert "npm_" in press(arena, act="mint-npm-token").rpartition("secret field")[2]


def test_a_reset_company_has_leaked_nothing(arena: Range) -> None:
    arena.post("/reset")
    page = requests.get(arena.info["slack"], timeout=30).text
    assert "The attacker tries again" not in page
    assert page.count("Let it leak") == len(TITLES)
