"""The quiz of an installation: put once, graded by what was shown, counted once, never for another person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bot.__main__ import app as command_line
from bot.errors import DecisionRefused, InputError
from bot.learn.bank import MODEL, Bank
from bot.lessons.quiz import Quiz
from bot.store import Store
from tests.incidents import CLOSED, ID, house
from tests.learn.test_bank import BANK

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    made = Store(database)
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def quiz(store: Store) -> Quiz:
    return Quiz(store, BANK)


def right(put: Any) -> str:
    return str(put.question.best)


def wrong(put: Any) -> str:
    return next(key for key in put.order if key != put.question.best)


def test_an_answer_counts_once_however_often_and_at_once_it_is_given(quiz: Quiz) -> None:
    (put,) = quiz.put("ann", NOW, name="w1")
    assert put.question.id == MODEL
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: quiz.answer("ann", put.asked, wrong(put), NOW, sure=True), range(8)))
    assert [one.again for one in done].count(False) == 1
    late = quiz.answer("ann", put.asked, right(put), NOW, sure=True)
    assert late.again and not late.graded.right, "the first answer stands, and its feedback is told"
    (card,) = quiz.rows.cards("ann")
    assert (card.question, card.box) == (MODEL, 0)
    assert [one.right for one in quiz.team()] == []
    assert len(quiz.rows.answers()) == 1


def test_a_miss_is_asked_again_when_it_is_due_and_not_before(quiz: Quiz) -> None:
    (put,) = quiz.put("ann", NOW, name="w1")
    answered = quiz.answer("ann", put.asked, wrong(put), NOW, sure=False)
    assert answered.back == NOW + timedelta(days=1)
    assert quiz.back("ann", NOW + timedelta(hours=23)) == []
    (early,) = quiz.put("ann", NOW + timedelta(hours=23), name="w2")
    assert early.question.id != MODEL
    (again,) = quiz.put("ann", NOW + timedelta(hours=24), name="w3")
    assert again.question.id == MODEL and again.asked != put.asked
    assert quiz.answer("ann", again.asked, right(again), NOW + timedelta(hours=24), sure=True).back == NOW + timedelta(
        days=4
    )


def test_put_again_for_the_same_thing_it_is_the_same_question_in_the_same_order(quiz: Quiz) -> None:
    first = quiz.put("ann", NOW, name="w1", many=3)
    assert quiz.put("ann", NOW + timedelta(days=9), name="w1", many=3) == first
    assert quiz.find("ann", first[0].asked) == first[0]


def test_another_persons_question_is_not_answered(quiz: Quiz) -> None:
    (put,) = quiz.put("ann", NOW, name="w1")
    for act in (lambda: quiz.answer("bob", put.asked, right(put), NOW, sure=True),
                lambda: quiz.skip("bob", put.asked, NOW)):  # fmt: skip
        with pytest.raises(DecisionRefused, match="somebody else"):
            act()
    assert quiz.rows.answers() == []
    with pytest.raises(InputError, match="no question was put"):
        quiz.answer("ann", "nothing", "a", NOW, sure=True)
    with pytest.raises(InputError, match="has the options a, b, c, d"):
        quiz.answer("ann", put.asked, "z", NOW, sure=True)


def test_a_person_of_two_names_is_one(store: Store) -> None:
    quiz = Quiz(store, BANK, lambda name: {"slack:U1": "ann"}.get(name, name))
    (put,) = quiz.put("slack:U1", NOW, name="w1")
    assert quiz.answer("ann", put.asked, right(put), NOW, sure=True).graded.right


def test_skipped_is_no_miss_and_is_not_answered_later(quiz: Quiz) -> None:
    (put,) = quiz.put("ann", NOW, name="w1")
    assert quiz.skip("ann", put.asked, NOW)
    assert not quiz.skip("ann", put.asked, NOW)
    with pytest.raises(InputError, match="skipped"):
        quiz.answer("ann", put.asked, right(put), NOW, sure=True)
    assert quiz.rows.cards("ann") == [] and quiz.rows.answers() == []


def test_it_is_graded_by_what_was_shown_also_when_the_bank_has_changed_since(store: Store) -> None:
    (put,) = Quiz(store, BANK).put("ann", NOW, name="w1")
    other = replace(put.question, best=wrong(put), feedback={right(put): "no more"})
    changed = Quiz(store, Bank(questions={MODEL: other}))
    assert changed.answer("ann", put.asked, right(put), NOW, sure=True).graded.right


def test_what_was_put_and_not_answered_is_put_first_for_two_days(quiz: Quiz) -> None:
    first = quiz.open("ann", NOW, many=2)
    assert [one.asked for one in quiz.open("ann", NOW + timedelta(hours=1), many=2)] == [one.asked for one in first]
    later = quiz.open("ann", NOW + timedelta(days=3), many=2)
    assert not {one.asked for one in later} & {one.asked for one in first}


def test_who_wants_one_a_week_is_noted_until_they_do_not(quiz: Quiz) -> None:
    quiz.weekly("slack:U1", NOW, on=True)
    quiz.weekly("slack:U1", NOW + timedelta(days=1), on=True)
    assert quiz.subscribers() == {"slack:U1": NOW}
    quiz.weekly("slack:U1", NOW, on=False)
    quiz.weekly("slack:U1", NOW, on=False)
    assert quiz.subscribers() == {}


# in a terminal -------------------------------------------------------------------------------------------------------


def bulkhead(home: Path, *words: str, said: str = "") -> Result:
    """A command, as it is typed; ``said`` is what is typed into it."""
    return CliRunner().invoke(command_line, list(words), input=said, env={"BULKHEAD_HOME": str(home)})


def test_a_round_at_a_terminal_and_by_a_program(tmp_path: Path) -> None:
    house(tmp_path, CLOSED, status="closed")
    asked = json.loads(bulkhead(tmp_path, "quiz", "--json", "--by", "ann", "--count", "2").stdout)
    assert [one["state"] for one in asked] == ["asked", "asked"]
    assert "best" not in asked[0] and "coach" not in asked[0], "a program that asks is not told the answer"
    place = next(k for k, option in enumerate(asked[0]["options"], 1) if option["id"] == BANK.questions[MODEL].best)
    done = bulkhead(tmp_path, "quiz", "--by", "ann", "--count", "2", said=f"9\n{place}\ny\ns\n")
    assert done.exit_code == 0, done.stderr
    for words in ("Say a number from 1 to 4", "Right.", "Coach note: rotation and private logs", "It is no miss",
                  "1 of 2 right"):  # fmt: skip
        assert words in done.stdout
    again = bulkhead(tmp_path, "quiz", "--json", "--by", "ann", "--answer", f"{asked[0]['id']}=a")
    (graded,) = json.loads(again.stdout)
    assert graded["right"] and not graded["counted"], "the first answer stands"
    other = bulkhead(tmp_path, "quiz", "--by", "bob", "--answer", f"{asked[0]['id']}=a")
    assert other.exit_code == 3 and "somebody else" in other.stderr
    assert bulkhead(tmp_path, "quiz", "--answer", "x").exit_code == 2
    after = json.loads(bulkhead(tmp_path, "quiz", "--json", "--incident", ID, "--by", "ann").stdout)
    assert len(after) == 3 and {one["incident"] for one in after} == {ID, None}
    stopped = bulkhead(tmp_path, "quiz", "--by", "ann", "--tag", "aws", said="q\n")
    assert "Enough for now" in stopped.stdout and stopped.exit_code == 0


def test_tags_and_the_check_of_the_bank(tmp_path: Path) -> None:
    unknown = bulkhead(tmp_path, "quiz", "--tag", "weather")
    assert unknown.exit_code == 2 and "there are: aws," in unknown.stderr
    checked = bulkhead(tmp_path, "quiz", "--check", "--json")
    assert checked.exit_code == 0 and json.loads(checked.stdout)["wrong"] == []
    assert "five people" in bulkhead(tmp_path, "quiz", "--team").stdout
