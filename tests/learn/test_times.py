"""The times of an incident, in the same lines for drills and for real ones."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import HealthCheck, given, settings

from bot.engine.ledger import Ledger
from bot.learn.times import NAMES, WORDS, Times, cut_times, times
from bot.slack.picture import Picture
from tests.incidents import ASKED, ASKING, CLOSED, CUT, DECIDED, events
from tests.learn.made import Incident, incidents
from tests.slack.timelines import pictures


def test_every_time_of_a_closed_incident() -> None:
    assert times(events(CLOSED)) == Times(
        detect=3600.0, acknowledge=7.5, first_cut=9.0, first_proof=10.5, all_dead=10.5, tail=4.5, closed=16.5,
        approval=1.5, by_hand=0.0,
    )  # fmt: skip
    assert set(WORDS) == set(NAMES)


def test_what_only_a_word_shows_is_no_cut() -> None:
    told = [(step, kind, body | {"grade": "word"} if kind == "proof" else body) for step, kind, body in CUT]
    assert times(events(told)).first_cut is None


def test_what_has_not_happened_has_no_time() -> None:
    assert times([]) == Times()
    early = times(events(ASKING))
    assert (early.detect, early.first_cut, early.all_dead, early.tail, early.closed) == (3600.0, None, None, None, None)
    assert times(events(CUT)).tail is None, "its session lives on"


def test_two_questions_at_once_are_waited_for_once() -> None:
    story = [*ASKING, ("other", "asked", ASKED), ("tell", "asked", ASKED | {"purpose": "answer"}),
             ("deactivate", "decided", DECIDED), ("other", "decided", DECIDED),
             ("tell", "decided", DECIDED)]  # fmt: skip
    found = times(events(story, apart=10.0))
    assert found.approval == 40.0, "from the first question to the last answer, not the sum of both"
    assert found.by_hand == 30.0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(incidents())
def test_times_keep_their_order_and_agree_with_what_a_drill_prints(drawn: Incident) -> None:
    found = times(drawn.events)
    assert found.first_cut == drawn.first_cut_s
    assert (found.first_cut, found.all_dead) == cut_times(drawn.events, Ledger.fold(drawn.events))
    if found.first_proof is not None and found.first_cut is not None:
        assert found.first_cut <= found.first_proof
    if found.tail is not None and drawn.last_tail is not None and found.all_dead is not None:
        reached = timedelta(seconds=found.all_dead + found.tail)
        assert reached >= timedelta(0)
    assert found.approval >= 0


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(pictures())
def test_whatever_a_timeline_holds_it_is_measured(drawn: Picture) -> None:
    assert isinstance(times(drawn.events), Times)
