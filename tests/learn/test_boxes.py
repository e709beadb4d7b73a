"""When a question comes back: 1, 3, 7, 21, 60 days; and in which order its options stand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bot.learn.bank import MODEL, Bank
from bot.learn.boxes import DAYS, DONE, Card, by_tag, choose, due, grade, moved, shuffled
from tests.learn.test_bank import BANK

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE = BANK.questions[MODEL]


def test_a_miss_comes_back_after_1_3_7_21_and_60_days_and_then_no_more() -> None:
    card, at, waits = moved(None, question=MODEL, right=False, sure=True, at=NOW), NOW, []
    while card is not None and card.box < DONE:
        waits.append((card.due - at).days)
        assert due([card], card.due - timedelta(seconds=1)) == []
        at = card.due
        assert due([card], at) == [card]
        card = moved(card, question=MODEL, right=True, sure=True, at=at)
    assert waits == [1, 3, 7, 21, 60] == list(DAYS)
    assert card is not None and due([card], NOW + timedelta(days=9999)) == []


def test_right_and_sure_at_first_sight_does_not_come_back_a_lucky_guess_does() -> None:
    assert moved(None, question=MODEL, right=True, sure=True, at=NOW) is None
    lucky = moved(None, question=MODEL, right=True, sure=False, at=NOW)
    assert lucky is not None and (lucky.due - NOW).days == 3


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_a_wrong_answer_always_comes_back_the_next_day_and_a_guess_never_moves_it_on(
    answers: list[tuple[bool, bool]],
) -> None:
    card: Card | None = None
    for right, sure in answers:
        before, card = card, moved(card, question=MODEL, right=right, sure=sure, at=NOW)
        if not right:
            assert card is not None and card.box == 0 and card.due == NOW + timedelta(days=1)
        elif before is not None:
            assert card is not None and card.box == (min(before.box + 1, DONE) if sure else before.box)


@given(st.text(min_size=1, max_size=8), st.text(max_size=8))
def test_the_order_is_a_persons_own_and_the_same_whenever_it_is_asked_for(person: str, asked: str) -> None:
    order = shuffled(ONE, person, asked)
    assert sorted(order) == sorted(ONE.options)
    assert shuffled(ONE, person, asked) == order


def test_people_see_different_orders_and_every_place_holds_the_best_one_about_as_often() -> None:
    places = [shuffled(ONE, f"person {k}", "x").index(ONE.best) for k in range(400)]
    assert all(60 < places.count(k) < 140 for k in range(4)), "chance has about a hundred"


def test_what_is_back_is_asked_first_then_the_model_question_then_what_was_seen_least() -> None:
    late = Card(question="window-end", box=0, due=NOW - timedelta(days=2))
    soon = Card(question="minted-key", box=2, due=NOW + timedelta(days=2))
    cards = {card.question: card for card in (late, soon)}
    asked = choose(BANK, cards, {}, NOW, "ann", many=60)
    assert [one.id for one in asked[:2]] == ["window-end", MODEL]
    assert "minted-key" not in {one.id for one in asked}, "it is not its time"
    seen = dict.fromkeys(BANK.questions, 1) | {"false-alarm": 0}
    assert choose(BANK, {}, seen, NOW, "ann")[0].id == "false-alarm"
    assert choose(BANK, {}, {}, NOW, "ann", many=60)[1:] != choose(BANK, {}, {}, NOW, "bob", many=60)[1:]
    assert {one.tag for one in choose(BANK, {}, {}, NOW, "ann", many=60, tags=("aws",))} == {"aws"}
    gone = {"not-there": Card(question="not-there", box=0, due=NOW)}
    assert choose(BANK, gone, {}, NOW, "ann")[0].id == MODEL, "a question that was taken out comes back to nobody"
    assert choose(Bank(questions={}), {}, {}, NOW, "ann") == []


def test_grading_says_why_the_wrong_one_tempts_and_has_the_note_for_the_right_one_too() -> None:
    for option in ONE.options:
        said = grade(ONE, option)
        assert said.right == (option == ONE.best)
        assert said.feedback == ONE.feedback.get(option, "")
        assert said.coach == ONE.coach and said.best == ONE.options[ONE.best]


def test_a_teams_picture_has_tags_that_five_people_answered_and_names_nobody() -> None:
    four = [(f"person {k}", "aws", False) for k in range(4)] * 9
    assert by_tag(four) == []
    five = by_tag([*four, ("person 5", "aws", True), *((f"p{k}", "tails", True) for k in range(5))])
    assert [(one.tag, one.people) for one in five] == [("aws", 5), ("tails", 5)], "the weakest first"
    assert not any("person" in str(value) for one in five for value in (one.tag, one.right))
