"""Scores of drills: what an answer, an order, a time and a silence are worth, and what there is to do about it."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.app import SHIPPED
from bot.choices import ACCEPTABLE, BEST, HARMFUL, Taken
from bot.learn.follow_up import RUNGS, follow_up
from bot.learn.score import MOST_FINDINGS, TARGETS, score
from bot.scenario import NOTHING, load_drills
from bot.store import iso, when
from bot.timeline import Event

DRILL = load_drills([SHIPPED / "drills"])["aws-key-in-public-log"]
START = when("2026-11-26T10:00:00.000000Z")


def taken(grade: str, sure: bool | None = True, *, choice: int = 0) -> Taken:
    one = DRILL.choices[choice]
    found = next(option for option in one.options if option.grade == grade)
    return Taken(choice=one, options=(found, one.best) if grade == HARMFUL else (found,), sure=sure)


def event(n: int, step: str, kind: str, after_s: float, body: dict[str, Any]) -> Event:
    at = iso(START + timedelta(seconds=after_s))
    return Event(
        incident="inc", n=n, step=step, kind=kind, attempt=1, at=at, body=body, schema=1, body_sha256="", prev_hash="",
        hash="",
    )  # fmt: skip


def timeline(*steps: tuple[str, float]) -> list[Event]:
    """An incident whose steps had their outcome at these seconds; each of them cuts."""
    events = [event(1, "incident", "opened", 0, {"reported_at": iso(START)})]
    for step, after in steps:
        events.append(event(len(events) + 1, step, "look", after, {"kills": None}))
        outcome = {"changed": True, "outcome": {"changed": True}}
        events.append(event(len(events) + 1, step, "outcome", after, outcome))
    return events


IN_ORDER = tuple((step, 60.0 + n) for n, step in enumerate(
    ("deactivate", "end-sessions", "confirm-clean", "disable-workflow", "cancel-runs", "store", "delete-logs")
))  # fmt: skip


def test_the_best_path_is_worth_everything() -> None:
    found = score(DRILL, [taken(BEST), taken(BEST, choice=1)], timeline(*IN_ORDER), owner="alice")
    assert (found.total, found.choices, found.record, found.findings) == (100, 1.0, 1.0, ())


@pytest.mark.parametrize(("grade", "worth"), [(BEST, 1.0), (ACCEPTABLE, 2 / 3), (HARMFUL, 0.0)])
def test_the_first_answer_counts_whatever_comes_after_it(grade: str, worth: float) -> None:
    plain = dataclasses.replace(DRILL, order=())
    found = score(plain, [taken(grade)], timeline())
    assert found.choices == round(worth, 3)
    assert found.recovered


def test_a_harmful_answer_that_nothing_followed_is_not_recovered() -> None:
    one = taken(HARMFUL)
    found = score(DRILL, [dataclasses.replace(one, options=one.options[:1])], timeline())
    assert not found.recovered


def test_the_order_is_a_partial_one() -> None:
    done = dict(IN_ORDER)
    done["delete-logs"], done["cancel-runs"] = 61.0, 62.0  # this pair is turned round, and no other
    found = score(DRILL, [taken(BEST)], timeline(*done.items()))
    assert found.out_of_order == (("cancel-runs", "delete-logs"),)
    assert found.choices == round((1 + 3 / 4) / 2, 3)
    done.pop("cancel-runs")  # what was not done breaks no order
    assert score(DRILL, [taken(BEST)], timeline(*done.items())).out_of_order == ()


def test_what_was_late_is_told_and_costs() -> None:
    late = TARGETS["acknowledge"] * 3
    events = [*timeline(), event(2, "incident", "acknowledged", late, {"by": "alice"})]
    found = score(dataclasses.replace(DRILL, order=()), [taken(BEST)], events)
    assert (found.late, found.time, found.total) == (("acknowledge",), round(1 / 3, 3), 80)
    assert [one.id for one in found.findings] == ["late-acknowledge"]


def test_without_any_time_the_rest_is_weighed_alone() -> None:
    found = score(dataclasses.replace(DRILL, order=()), [taken(BEST)], [])
    assert (found.time, found.total) == (None, 100)


def test_a_false_alarm_is_measured_until_it_was_seen() -> None:
    drill = dataclasses.replace(DRILL, ends=NOTHING, order=())
    assert score(drill, [taken(BEST)], [], thought_s=30).total == 100
    assert score(drill, [taken(BEST)], [], thought_s=3000).late == ("dismiss",)


def test_what_nobody_said_is_missing_on_the_record() -> None:
    asked = event(2, "ask-owner", "asked", 60, {"purpose": "answer", "needs": 1})
    silent = event(3, "ask-owner", "outcome", 90, {"changed": False, "outcome": {"answer": "I do not know"}})
    found = score(DRILL, [taken(BEST, sure=None)], [*timeline(), asked, silent])
    assert found.unrecorded == ("how sure of first", "the answer to ask-owner")
    assert found.record == 0.0
    assert found.findings[-1].id == "record"


def test_harm_that_somebody_was_sure_of_is_told_first() -> None:
    rows = [taken(HARMFUL, sure=False), taken(HARMFUL, sure=True, choice=1)]
    found = score(DRILL, rows, timeline())
    assert [one.id for one in found.findings] == ["durable-fix", "first"]
    assert found.sure_and_wrong == 1


@given(
    st.lists(st.tuples(st.sampled_from((BEST, ACCEPTABLE, HARMFUL)), st.sampled_from((True, False, None))), max_size=2),
    st.permutations([step for step, _ in IN_ORDER]), st.floats(0, 1e6),
)  # fmt: skip
def test_there_are_three_findings_at_most_and_each_can_be_a_follow_up(
    answers: list[tuple[str, bool | None]], steps: list[str], late: float
) -> None:
    rows = [taken(grade, sure, choice=n) for n, (grade, sure) in enumerate(answers)]
    events = timeline(*((step, 60.0 + n) for n, step in enumerate(steps)))
    events.append(event(99, "incident", "acknowledged", late, {"by": "alice"}))
    found = score(DRILL, rows, events, owner="alice")
    assert 0 <= found.total <= 100
    assert len(found.findings) <= MOST_FINDINGS
    for one in found.findings:
        assert one.rung in RUNGS
        assert follow_up(one.id, title=one.title, owner=one.owner, due="2026-12-10", rung=one.rung).owned


def test_a_better_answer_is_never_worth_less() -> None:
    grades = [option.grade for option in DRILL.choices[0].options]
    totals = {grade: score(DRILL, [taken(grade)], timeline(*IN_ORDER)).total for grade in grades}
    assert totals[BEST] > totals[ACCEPTABLE] > totals[HARMFUL]
