"""Questions made from an incident: never ambiguous, exactly one right, and the right one is what the timeline says."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from bot.learn.bank import FEEDBACK, OPTION, Question
from bot.learn.from_incident import WHO, questions
from bot.slack.picture import Picture
from bot.story import GRADES, seconds
from tests.incidents import ASKING, CLOSED, ID, ROW, events
from tests.learn.made import Incident, incidents
from tests.slack.timelines import pictures

many = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def one_right(question: Question) -> None:
    """Whatever it asks: options that nobody can take for one another, and feedback for each wrong one."""
    texts = [text.casefold().strip() for text in question.options.values()]
    assert len(set(texts)) == len(texts) and all(texts)
    assert 3 <= len(texts) <= 4
    assert question.best in question.options
    assert set(question.feedback) == set(question.options) - {question.best}
    assert all(len(text) <= OPTION for text in question.options.values())
    assert all(0 < len(text) <= FEEDBACK for text in question.feedback.values())
    assert question.incident == ID and question.id.startswith(f"{ID}/")


def named(found: list[Question], name: str) -> Question | None:
    return next((one for one in found if one.id.endswith(f"/{name}")), None)


@many
@given(incidents())
def test_right_by_construction(drawn: Incident) -> None:
    """Each option is held against what the incident was made of, which the questions do not know."""
    found = questions(ID, drawn.events)
    for one in found:
        one_right(one)

    def holds(name: str, true: set[str]) -> None:
        one = named(found, name)
        if one is not None:
            short = {text if len(text) <= OPTION else f"{text[: OPTION - 1]}…" for text in true}
            right = {key for key, text in one.options.items() if text.casefold() in {each.casefold() for each in short}}
            assert right == {one.best}, (one, true)

    holds("reach", set(drawn.reach))
    holds("exposure", {WHO[drawn.exposure]})
    holds("planted", set(drawn.planted))
    holds("first-cut", {drawn.first_cut})
    holds("how-long", {seconds(drawn.first_cut_s)} if drawn.first_cut_s is not None else set())
    holds("last-tail", {f"{drawn.last_tail:%Y-%m-%d %H:%M:%S} UTC"} if drawn.last_tail else set())
    holds("proof", {GRADES[drawn.grade]} if drawn.grade else set())
    assert (named(found, "reach") is not None) == bool(drawn.reach)
    assert named(found, "exposure") is not None
    assert (named(found, "last-tail") is not None) == (drawn.last_tail is not None)
    assert (named(found, "proof") is not None) == bool(drawn.grade)
    assert (named(found, "how-long") is not None) == (drawn.first_cut_s is not None)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(pictures())
def test_whatever_a_timeline_holds_no_question_is_ambiguous(drawn: Picture) -> None:
    for one in questions(ID, drawn.events):
        one_right(one)


def test_the_question_is_the_same_whenever_it_is_made() -> None:
    assert questions(ID, events(CLOSED)) == questions(ID, events(CLOSED))


def test_before_triage_there_is_none_and_while_a_session_lives_the_end_is_its_own() -> None:
    assert questions(ID, events(ASKING[:1])) == []
    assert named(questions(ID, events(ASKING)), "last-tail") is None, "its credential is not dead"
    closed = named(questions(ID, events(CLOSED)), "last-tail")
    assert closed is not None and closed.options[closed.best] == "2026-03-01 12:00:15 UTC", "ended by a step"
    proof = named(questions(ID, events(CLOSED)), "proof")
    assert proof is not None and ROW in proof.ask
