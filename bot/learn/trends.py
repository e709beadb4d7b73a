"""Training over time, by team and month: drills' scores and the quiz. From five people up, never of a person. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bot.learn.boxes import LEAST_PEOPLE
from bot.learn.metrics import TOTAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """One drill's score, of 100. ``people``: who took part, by any name that tells them apart."""

    month: str
    team: str
    total: int
    people: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quizzed:
    """One answer of the quiz."""

    month: str
    team: str
    person: str
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Drills:
    """Drills of a team in a month: how many, the median of their scores, of how many people."""

    n: int
    score: float
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Answers of a team in a month: how many, the share that was right, of how many people."""

    n: int
    right: float
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One team in one month. What fewer than five people took part in is None, as if it had not been."""

    month: str  # 2026-11
    team: str
    drills: Drills | None = None
    quiz: Answers | None = None

    def as_json(self) -> dict[str, Any]:
        """What a program reads."""
        return asdict(self)


def trends(drilled: Iterable[Drilled], quizzed: Iterable[Quizzed]) -> list[Trend]:
    """The newest month first; in each month everybody together (``all``), then the teams by their names."""
    drills: dict[tuple[str, str], list[Drilled]] = {}
    answers: dict[tuple[str, str], list[Quizzed]] = {}
    for one in drilled:
        for team in (TOTAL, one.team):
            drills.setdefault((one.month, team), []).append(one)
    for answer in quizzed:
        for team in (TOTAL, answer.team):
            answers.setdefault((answer.month, team), []).append(answer)
    found = [
        Trend(month=month, team=team, drills=_drills(drills.get((month, team), [])),
              quiz=_answers(answers.get((month, team), [])))
        for month, team in {*drills, *answers} if team
    ]  # fmt: skip
    shown = sorted((one for one in found if one.drills or one.quiz), key=lambda one: (one.team != TOTAL, one.team))
    return sorted(shown, key=lambda one: one.month, reverse=True)


def _drills(rows: list[Drilled]) -> Drills | None:
    people = frozenset[str]().union(*(one.people for one in rows))
    if len(people) < LEAST_PEOPLE:
        return None
    return Drills(n=len(rows), score=round(median(one.total for one in rows), 1), people=len(people))


def _answers(rows: list[Quizzed]) -> Answers | None:
    people = {one.person for one in rows}
    if len(people) < LEAST_PEOPLE:
        return None
    return Answers(n=len(rows), right=round(sum(one.right for one in rows) / len(rows), 3), people=len(people))
