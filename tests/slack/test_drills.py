"""The word ``drill``: in a real company it says where to go, in one of the range it begins a drill, once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.clients import RealClock
from bot.drill import Range, range_up
from bot.errors import InputError
from bot.stage import Stage
from tests.slack.workspace import Workspace

NAME = "github-pat-in-image"


@pytest.fixture(scope="module")
def company() -> Iterator[Range]:
    with range_up() as up:
        yield up


@pytest.fixture
def staged(work: Workspace, company: Range) -> Workspace:
    """A house in a company of the range in which nothing has happened yet."""
    company.post("/reset")
    work.house.stage = Stage(company, work.house.drills, work.house.inbox, RealClock())
    return work


def test_in_a_real_company_it_says_where_to_go(work: Workspace) -> None:
    for text in ("drill", "drill list", f"drill run {NAME}"):
        work.command("alice", text)
        assert "bulkhead serve --range" in work.whispers("alice")[-1]
    assert work.house.store.inbox() == []
    work.command("alice", "drill list")
    for name in work.house.drills:
        assert f"`{name}`" in work.whispers("alice")[-1]
    work.command("alice", "drill frobnicate")
    assert "say `drill list`" in work.whispers("alice")[-1]


def test_it_begins_a_drill_that_is_marked_as_one_and_only_once(staged: Workspace) -> None:
    work = staged
    work.command("alice", f"drill run {NAME}")
    assert "*DRILL*" in work.whispers("alice")[-1]
    (row,) = work.house.store.inbox()
    assert (row["source"], row["body"]["world"]) == ("drill", "range")
    assert row["body"]["by"].endswith("(simulated)"), "whoever trains may approve"
    work.command("bob", f"drill run {NAME}")
    assert "was played in this company already" in work.whispers("bob")[-1]
    assert len(work.house.store.inbox()) == 1


def test_only_responders_begin_one_and_a_name_that_is_none_gets_the_list(staged: Workspace) -> None:
    staged.command("jonas", f"drill run {NAME}")
    assert "not one of the responders" in staged.whispers("jonas")[-1]
    staged.command("alice", "drill run nothing")
    assert NAME in staged.whispers("alice")[-1]
    assert staged.house.store.inbox() == []


def test_begun_again_after_a_crash_it_is_the_same_one(staged: Workspace, company: Range) -> None:
    stage = staged.house.stage
    assert stage is not None
    first = stage.begin(NAME, "d1")
    again = Stage(company, staged.house.drills, staged.house.inbox, RealClock()).begin(NAME, "d1")
    assert (first[2], first[1].id, again[1].new) == (again[2], again[1].id, False)
    with pytest.raises(InputError, match="already"):
        stage.begin(NAME, "d2")


def test_what_was_played_by_other_means_is_not_played_again(staged: Workspace, company: Range) -> None:
    for act in ("leak", "abuse"):
        company.post(f"/drill/{act}", {"scenario": NAME})
    staged.command("alice", f"drill run {NAME}")
    assert "was played in this company already" in staged.whispers("alice")[-1]
