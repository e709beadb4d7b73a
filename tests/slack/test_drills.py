"""The word ``drill``: in a real company it says where to go, in one of the range it begins a drill, once."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.drill import Range, range_up
from bot.errors import InputError
from bot.slack.drills import tell
from bot.stage import Stage
from bot.store import DecisionRow
from bot.store_drills import FAILED, ORDERED, Order, Orders, Schedules
from tests.slack.workspace import Workspace, moved_in
from tests.slack_range import Slack

NAME = "github-pat-in-image"


@pytest.fixture(scope="module")
def company() -> Iterator[Range]:
    with range_up() as up:
        yield up


@pytest.fixture
def staged(work: Workspace, company: Range) -> Workspace:
    """A house in a company of the range in which nothing has happened yet."""
    company.post("/reset")
    work.house.stage = Stage(company, work.house.drills, work.house.inbox)
    return work


def test_the_drills_are_listed_and_another_word_is_answered(work: Workspace) -> None:
    for text in ("drill", "drill list"):
        work.command("alice", text)
        for name in work.house.drills:
            assert f"`{name}`" in work.whispers("alice")[-1]
    work.command("alice", "drill frobnicate")
    assert "say `drill list`" in work.whispers("alice")[-1]


def test_in_a_real_installation_it_is_ordered_once_for_the_worker(slack: Slack, tmp_path: Path) -> None:
    with moved_in(slack, tmp_path, slack_channel=slack.channel("incidents")) as work:
        orders = Orders(work.house.store)
        for user, text, why in (
            ("jonas", f"drill run {NAME}", "not one of the responders"), ("alice", "drill run nothing", NAME),
        ):  # fmt: skip
            work.command(user, text)
            assert why in work.whispers(user)[-1]
        assert orders.standing(ORDERED) == []
        work.command("alice", f"drill run {NAME}")
        assert "is ordered" in work.whispers("alice")[-1]
        assert "No worker runs now" in work.whispers("alice")[-1]
        (order,) = orders.standing(ORDERED)
        assert (order.drill, order.by) == (NAME, "slack:" + slack.user("alice"))
        assert order.channel == slack.channel("incidents")
        assert not orders.order(order), "the same order again is the same drill"
        assert work.house.store.inbox() == [], "nothing is played by the process that was asked"


def test_where_nothing_is_told_no_drill_is_ordered(work: Workspace) -> None:
    work.command("alice", f"drill run {NAME}")
    assert "set BULKHEAD_SLACK_CHANNEL" in work.whispers("alice")[-1]
    assert Orders(work.house.store).standing(ORDERED) == []


def test_whoever_ordered_is_told_each_news_once(work: Workspace) -> None:
    orders = Orders(work.house.store)
    mine = Order(id="o1", drill=NAME, by="slack:" + work.slack.user("alice"), at="2026-01-01T00:00:00.000000Z")
    orders.order(mine)
    orders.order(replace(mine, id="o2", by="schedule:weekly"))
    assert tell(work.room) == 0
    for name in ("o1", "o2"):
        orders.change(name, state=FAILED, note="the range is not installed here (moto is missing)")
    assert tell(work.room) == 2
    assert "moto is missing" in work.whispers("alice")[-1]
    assert tell(work.room) == 0


def test_a_range_that_is_not_installed_says_so_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "moto" else known(name))
    with pytest.raises(InputError, match=r"moto is missing.*extra `range`"), range_up():
        pass


def test_who_is_played_may_answer_in_a_drill_and_nowhere_else(work: Workspace) -> None:
    rules, mara = work.house.rules, "drill:mara (simulated)"
    assert rules.may(mara, "person", {"world": "range"})
    assert not rules.may(mara, "person", {"world": "real"})
    assert not rules.may(mara, "person", {})
    row = DecisionRow(
        seq=1, incident="i", step="s", kind="answer", by=mara, at="x", plan_hash="p", body={"world": "range"}
    )
    assert "nobody here has heard" in work.house.attest(row), "who only writes to the database plays nobody"


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
    again = Stage(company, staged.house.drills, staged.house.inbox).begin(NAME, "d1")
    assert (first[2], first[1].id, again[1].new) == (again[2], again[1].id, False)
    with pytest.raises(InputError, match="already"):
        stage.begin(NAME, "d2")


def test_what_was_played_by_other_means_is_not_played_again(staged: Workspace, company: Range) -> None:
    for act in ("leak", "abuse"):
        company.post(f"/drill/{act}", {"scenario": NAME})
    staged.command("alice", f"drill run {NAME}")
    assert "was played in this company already" in staged.whispers("alice")[-1]


def test_a_schedule_is_made_listed_and_taken_out_by_responders(slack: Slack, tmp_path: Path) -> None:
    hours = {"slack_channel": slack.channel("incidents"), "quiet_hours": "22:00-07:00 Europe/Berlin"}
    with moved_in(slack, tmp_path, **hours) as work:
        rows, there = Schedules(work.house.store), slack.channel("incidents")
        work.command("alice", "drill schedule")
        assert "No drill is scheduled" in work.whispers("alice")[-1]
        wanted = f"drill schedule weekly tue 10:00 <#{there}|incidents>"
        work.command("jonas", wanted)
        assert "not one of the responders" in work.whispers("jonas")[-1]
        assert rows.all() == []
        work.command("alice", wanted)
        work.command("alice", wanted)
        (row,) = rows.all()
        assert (row.drill, row.day, row.time, row.channel) == ("each-in-turn", "tue", "10:00", there)
        assert "was scheduled already" in work.whispers("alice")[-1]
        work.command("alice", "drill schedule skip each-in-turn-tue-1000 2026-12-24")
        assert rows.all()[0].skips == "2026-12-24"
        work.command("jonas", "drill schedule list")
        assert f"every tue at 10:00 Europe/Berlin in <#{there}" in work.whispers("jonas")[-1]
        for text, why in (
            ("weekly someday 10:00", "one of mon"), ("weekly tue ten", "like 10:00"),
            ("weekly tue 10:00 nothing", "there is no drill"), ("monthly", "say `drill schedule weekly"),
            ("remove nothing", "there is no schedule"),
        ):  # fmt: skip
            work.command("alice", f"drill schedule {text}")
            assert why in work.whispers("alice")[-1]
        work.command("alice", "drill schedule remove each-in-turn-tue-1000")
        assert rows.all() == []
