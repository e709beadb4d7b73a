"""The quiz in Slack: signed clicks and forms; once, for the right person, never at night, by one of two processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.learn.bank import MODEL
from bot.learn.boxes import grade
from bot.lessons.postmortem import Postmortems
from bot.lessons.quiz import Answered, Put, Quiz
from bot.quiet import Quiet
from bot.range.slack import payloads
from bot.slack import quiz_views
from bot.slack.heard import carried
from bot.slack.kit import value_of
from bot.slack.teacher import Teacher
from bot.slack.telling import Telling
from tests.incidents import CLOSED
from tests.learn.test_bank import BANK
from tests.slack.boards import Stage, staged
from tests.slack.strict import check, check_view
from tests.slack.workspace import INCIDENT, Workspace
from tests.slack_range import Slack

TUESDAY = datetime(2026, 3, 3, 11, tzinfo=UTC)  # not quiet, after ten


def form(work: Workspace, user: str) -> dict[str, Any]:
    """The form on top."""
    return dict(work.slack.look(user)["modals"][-1])


def asked(work: Workspace, user: str) -> Put:
    """The question that somebody's form shows."""
    meta = json.loads(form(work, user)["private_metadata"])
    return work.house.quiz.find(f"slack:{work.slack.user(user)}", meta["q"])


def submit(work: Workspace, user: str, option: str, sure: str = "yes") -> dict[str, Any]:
    for action, value in ((quiz_views.OPTION, option), (quiz_views.SURE, sure)):
        work.slack.hand(user, "fill", action_id=action, value=value)
    shown = work.slack.hand(user, "submit")
    work.idle()
    return shown


def wrong(put: Put) -> str:
    return next(key for key in put.order if key != put.question.best)


def texts(view: dict[str, Any]) -> str:
    return json.dumps(view["blocks"], ensure_ascii=False)


def answers(work: Workspace) -> list[tuple[str, str, bool]]:
    return work.house.quiz.rows.answers()


def test_every_question_and_every_answer_fits_into_slack() -> None:
    for one in [*BANK.questions.values()]:
        put = Put(asked="a", person="p", question=one, order=tuple(sorted(one.options)))
        check_view(quiz_views.question(put, (1, 3), carried(q="a")))
        check(quiz_views.message(put, back=True).blocks)
        for option in one.options:
            said = Answered(put=put, graded=grade(one, option), sure=True, again=True, back=TUESDAY)
            for more in (True, False):
                check_view(quiz_views.told(said, carried(q="a"), more=more))
    for back in (0, 1, 7):
        check(quiz_views.home(back, subscribed=bool(back)), 100)


def test_a_round_is_answered_in_one_form_with_feedback_at_once(work: Workspace) -> None:
    work.command("jonas", "quiz")
    first = asked(work, "jonas")
    assert first.question.id == MODEL, "everybody begins with it"
    submit(work, "jonas", wrong(first))
    shown = texts(form(work, "jonas"))
    assert "Not the best one" in shown and first.question.coach[:40] in shown and "You were sure" in shown
    assert form(work, "jonas")["submit"]["text"] == "Next question"
    work.slack.hand("jonas", "submit")
    work.idle()
    second = asked(work, "jonas")
    assert second.question.id != first.question.id
    submit(work, "jonas", second.question.best, "no")
    assert "*Right.*" in texts(form(work, "jonas"))
    given = [(tag, right) for _, tag, right in answers(work)]
    assert given == [(first.question.tag, False), (second.question.tag, True)]
    boxes = {row.question: row.box for row in work.house.quiz.rows.cards("slack:" + work.slack.user("jonas"))}
    assert boxes == {first.question.id: 0, second.question.id: 1}


def test_the_same_form_sent_twice_at_once_counts_once(work: Workspace) -> None:
    work.command("alice", "quiz")
    put = asked(work, "alice")
    sent = [_submission(work, "alice", put, option) for option in (wrong(put), put.question.best) * 3]
    with ThreadPoolExecutor(6) as pool:
        statuses = [one.status_code for one in pool.map(work.send, sent)]
    work.idle()
    assert statuses == [200] * 6
    assert len(answers(work)) == 1


def _submission(work: Workspace, user: str, put: Put, option: str) -> dict[str, Any]:
    """A submission of this question's form by somebody, as Slack would send it."""
    state = work.slack.range.state
    with state.lock:
        view = next(v for v in state.views.values() if put.asked in (v.body.get("private_metadata") or ""))
        values = {
            quiz_views.OPTION: {quiz_views.OPTION: {"type": "radio_buttons", "selected_option": {"value": option}}},
            quiz_views.SURE: {quiz_views.SURE: {"type": "radio_buttons", "selected_option": {"value": "yes"}}},
        }  # fmt: skip
        return payloads.submission(state, state.people[work.slack.user(user)], replace(view, values=values))


def test_somebody_elses_question_is_not_answered(work: Workspace) -> None:
    work.command("alice", "quiz")
    put = asked(work, "alice")
    answer = work.send(_submission(work, "mara", put, put.question.best))
    assert "somebody else" in answer.text and answer.json()["response_action"] == "errors"
    work.click("mara", quiz_views.OPEN, json.loads(value_of("", put.asked)))
    assert "somebody else" in work.whispers("mara")[-1]
    work.click("mara", quiz_views.SKIP, json.loads(value_of("", put.asked)))
    assert answers(work) == [] and work.house.quiz.find(put.person, put.asked).state == "asked"


def test_without_a_choice_the_form_says_so(work: Workspace) -> None:
    work.command("alice", "quiz")
    work.slack.hand("alice", "submit")
    work.idle()
    assert answers(work) == [], "Slack itself asks for what is not optional, and so do we"


def test_after_an_incident_the_questions_are_about_it(work: Workspace) -> None:
    work.incident(*CLOSED[3:])
    work.click("bob", quiz_views.OPEN, {"i": INCIDENT})
    put = asked(work, "bob")
    assert put.question.incident == INCIDENT
    work.click("bob", quiz_views.OPEN, {"i": INCIDENT})
    assert asked(work, "bob").asked == put.asked, "pressed again, it is the same question"
    work.click("bob", quiz_views.OPEN, {"i": "inc-none"})
    assert "there is no incident" in work.whispers("bob")[-1]


def test_weekly_is_opted_in_and_out(work: Workspace) -> None:
    work.command("alice", "quiz weekly")
    assert list(work.house.quiz.subscribers()) == ["slack:" + work.slack.user("alice")]
    work.click("alice", quiz_views.WEEKLY, {"i": "off"})
    assert work.house.quiz.subscribers() == {}
    assert "say `quiz`" in json.dumps(work.command("alice", "quiz nonsense")) + "".join(work.whispers("alice"))


# by the clock --------------------------------------------------------------------------------------------------------


@contextmanager
def teaching(slack: Slack, folder: Path, at: datetime) -> Iterator[tuple[Stage, Any]]:
    """A stage, and what makes teachers over it: each as after a restart, all on one clock."""
    with staged(slack, folder) as stage:
        stage.hands.at = at
        quiz = Quiz(stage.store, BANK)

        def teacher(quiet: Quiet | None = None, boundary: Any = lambda _name: None) -> Teacher:
            board = stage.board(boundary=boundary)
            parts = board.parts
            return Teacher(
                store=stage.store, telling=Telling(posts=parts.posts, wire=parts.wire, places=parts.places),
                called=replace(parts.called, quiet=quiet), quiz=quiz, now=stage.hands.now,
                postmortems=Postmortems(stage.store, stage.timeline, None),  # type: ignore[arg-type]
                monotonic=stage.hands.monotonic,
            )  # fmt: skip

        yield stage, teacher


def direct(stage: Stage, user: str) -> list[str]:
    """The direct messages to somebody."""
    bot = stage.slack.range.state.app.bot_user
    return [m["text"] for c in stage.slack.look(user)["channels"] if c["kind"] == "im"
            for m in c["messages"] if m.get("user") == bot]  # fmt: skip


def turns(stage: Stage, *teachers: Teacher, many: int = 4) -> None:
    for _ in range(many):
        for one in teachers:
            one.turn()
        stage.hands.pass_time(4)


def test_once_a_week_by_direct_message_through_restarts_and_by_one_of_two(slack: Slack, tmp_path: Path) -> None:
    with teaching(slack, tmp_path, TUESDAY) as (stage, teacher):
        person = f"slack:{slack.user('alice')}"
        teacher().quiz.weekly(person, TUESDAY - timedelta(days=1), on=True)
        turns(stage, teacher(), teacher())
        assert len(direct(stage, "alice")) == 1 and direct(stage, "bob") == []
        turns(stage, teacher())
        stage.hands.pass_time(86_400)
        turns(stage, teacher())
        assert len(direct(stage, "alice")) == 1, "once a week"
        stage.hands.pass_time(7 * 86_400)
        turns(stage, teacher())
        assert len(direct(stage, "alice")) == 2
        teacher().quiz.weekly(person, TUESDAY, on=False)
        stage.hands.pass_time(7 * 86_400)
        turns(stage, teacher())
        assert len(direct(stage, "alice")) == 2


def test_what_was_missed_comes_back_the_day_it_is_due_and_never_at_night(slack: Slack, tmp_path: Path) -> None:
    with teaching(slack, tmp_path, TUESDAY) as (stage, teacher):
        person = f"slack:{slack.user('alice')}"
        quiz = teacher().quiz
        quiz.weekly(person, TUESDAY - timedelta(days=1), on=True)
        turns(stage, teacher())
        (put,) = quiz.put(person, stage.hands.at, name=f"dm/{TUESDAY:%Y-%m-%d}")
        quiz.answer(person, put.asked, wrong(put), stage.hands.at, sure=True)
        stage.hands.at = TUESDAY + timedelta(hours=26)  # Wednesday, 13:00: it has been due for two hours
        berlin = Quiet.read("12:00-15:00 Europe/Berlin")
        turns(stage, teacher(quiet=berlin))
        assert len(direct(stage, "alice")) == 1, "quiet there"
        stage.hands.at = TUESDAY.replace(hour=23) + timedelta(days=1)
        turns(stage, teacher())
        assert len(direct(stage, "alice")) == 1, "at night nobody is asked, also where no hours are set"
        stage.hands.at = TUESDAY.replace(hour=10, minute=30) + timedelta(days=2)
        turns(stage, teacher())
        assert len(direct(stage, "alice")) == 2
        (again,) = quiz.put(person, stage.hands.at, name=f"dm/{stage.hands.at:%Y-%m-%d}")
        assert again.question.id == put.question.id


def test_killed_between_the_call_and_its_row_it_is_not_said_twice(slack: Slack, tmp_path: Path) -> None:
    with teaching(slack, tmp_path, TUESDAY) as (stage, teacher):
        person = f"slack:{slack.user('alice')}"
        teacher().quiz.weekly(person, TUESDAY - timedelta(days=1), on=True)

        class Killed(BaseException):
            pass

        def die(name: str) -> None:
            if name == "after chat.postMessage":
                raise Killed

        with pytest.raises(Killed):
            turns(stage, teacher(boundary=die))
        assert len(direct(stage, "alice")) == 1
        turns(stage, teacher())
        assert len(direct(stage, "alice")) == 1
