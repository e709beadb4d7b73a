"""Choices are put in turn, kept, and asked once; answers of a file are read strictly."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.app import SHIPPED
from bot.choices import END, REPORT, Choice, Option
from bot.choosing import Answer, Choosing, Decide, best, from_file
from bot.errors import PlaybookError
from bot.scenario import load_drills

DRILL = load_drills([SHIPPED / "drills"])["aws-key-in-public-log"]


class House:
    """Where things are kept, and what has happened."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.played: list[str] = []
        self.told: list[tuple[str, dict[str, Any]]] = []

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self.kept:
            self.kept[name] = json.dumps(make())
        return json.loads(self.kept[name])

    def play(self, act: str) -> dict[str, Any]:
        self.played.append(act)
        return {"story": [f"{act} has happened"]}

    def choosing(self, decide: Decide) -> Choosing:
        def tell(kind: str, data: dict[str, Any]) -> None:
            self.told.append((kind, data))

        return Choosing(DRILL, decide, once=self.once, play=self.play, tell=tell)


def answers(tmp_path: Path, text: str) -> Decide:
    path = tmp_path / "answers.yaml"
    path.write_text(text)
    return from_file(path, DRILL)


def test_a_harmful_answer_happens_is_asked_again_and_mended(tmp_path: Path) -> None:
    house = House()
    choosing = house.choosing(answers(tmp_path, "first: {take: [hide, stop-first], sure: true}"))
    choosing.at(REPORT)
    assert house.played == ["hide", "show"]
    assert [kind for kind, _ in house.told] == ["inject", "chosen", "consequence", "chosen", "mended"]
    taken = choosing.taken["first"]
    assert ([one.id for one in taken.options], taken.sure, taken.recovered) == (["hide", "stop-first"], True, True)
    assert not choosing.waits_at(REPORT)
    assert choosing.waits_at(END)


def test_a_harmful_answer_alone_is_followed_by_the_best_one(tmp_path: Path) -> None:
    house = House()
    choosing = house.choosing(answers(tmp_path, "first: hide"))
    choosing.at(REPORT)
    assert [one.id for one in choosing.taken["first"].options] == ["hide", "cut"]
    assert choosing.taken["first"].sure is None


def test_nothing_is_asked_or_played_twice_after_a_crash(tmp_path: Path) -> None:
    house, asked = House(), []
    decide = answers(tmp_path, "first: [hide, cut]")

    def counting(choice: Choice, left: Sequence[Option]) -> Answer:
        asked.append(choice.id)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return decide(choice, left)

    with pytest.raises(KeyboardInterrupt):
        house.choosing(counting).at(REPORT)
    assert house.played == ["hide"]
    again = house.choosing(counting)
    again.at(REPORT)
    assert asked == ["first", "first", "first"], "the first answer stood"
    assert house.played == ["hide", "show"]
    assert [one.id for one in again.taken["first"].options] == ["hide", "cut"]


def test_the_best_path_plays_nothing() -> None:
    house = House()
    choosing = house.choosing(best)
    choosing.at(REPORT)
    choosing.at(END)
    assert house.played == []
    assert {name: one.first.grade for name, one in choosing.taken.items()} == {"first": "best", "durable-fix": "best"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("frist: hide", "did you mean 'first'"),
        ("first: hied", "did you mean 'hide'"),
        ("first: {take: hide, sure: maybe}", "sure is true or false"),
        ("first: {sure: true}", "needs 'take'"),
        ("first: 3", "must be a list"),
        ("- first", "must be a table"),
        ("first: !!python/name:os.system x", "tags are not allowed"),
    ],
)
def test_a_wrong_file_of_answers_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PlaybookError) as caught:
        answers(tmp_path, text)
    assert caught.value.problems[0][0] == 1
    assert said in caught.value.problems[0][1]
