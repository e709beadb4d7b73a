"""The choices of a drill: what whoever trains is asked, when, and what each answer is worth and brings about.

Read strictly, as a part of a drill's file. A choice says what comes of an answer only by the name of something that the
range can play (``plays``) and of what puts it right again (``mends``), so the worst file can only be refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.steps import choice, identifier
from bot.strictyaml import Node, Problems, hint, items, table, text

BEST, ACCEPTABLE, HARMFUL = "best", "acceptable", "harmful"
GRADES = (BEST, ACCEPTABLE, HARMFUL)
REPORT, END = "report", "end"  # before the report lands; when all incidents are over. Else: a person's step is asked
RUNGS = ("remove", "bind", "reduce", "detect", "procedure", "train")  # as of a follow-up: what the lesson is worth
SAID, WORDS = 300, 150  # characters of an answer's text; of a lesson, which becomes a follow-up
_CHOICE = ("id", "when", "question", "lesson", "rung", "options")
_OPTION = ("id", "say", "grade", "because", "plays", "mends")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One answer. ``plays``: what the range then plays; ``mends``: what puts that right, once chosen better."""

    id: str
    say: str
    grade: str
    because: str
    plays: str = ""
    mends: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One question. ``lesson``: what there is to do about it when it was not answered well; a follow-up's title."""

    id: str
    when: str
    question: str
    lesson: str
    rung: str
    options: tuple[Option, ...]

    @property
    def best(self) -> Option:
        """The best answer."""
        return next(one for one in self.options if one.grade == BEST)

    def option(self, name: str) -> Option | None:
        """The answer of this id."""
        return next((one for one in self.options if one.id == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inject:
    """What becomes known in the middle of it."""

    when: str
    say: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What was chosen, in turn: the first counts, a harmful one is followed by another. ``sure``: None was not said."""

    choice: Choice
    options: tuple[Option, ...]
    sure: bool | None = None

    @property
    def first(self) -> Option:
        """The answer that counts."""
        return self.options[0]

    @property
    def recovered(self) -> bool:
        """Whether what was chosen at last does no harm."""
        return self.options[-1].grade != HARMFUL

    def as_json(self) -> dict[str, Any]:
        """Without any name of a person."""
        return {
            "choice": self.choice.id, "options": [one.id for one in self.options], "grade": self.first.grade,
            "sure": self.sure, "recovered": self.recovered,
        }  # fmt: skip


def read_choices(
    node: Node | None, acts: Collection[str], steps: Mapping[str, bool] | None, problems: Problems
) -> tuple[Choice, ...]:  # fmt: skip
    """The choices. ``acts``: what the range can play; ``steps``: of the playbook, and whether a person does each."""
    found: list[Choice] = []
    for row in items(node, "choices", problems) if node else ():
        one = table(row, "a choice", problems, _CHOICE, _CHOICE)
        made = Choice(
            id=identifier(one.get("id"), "a choice's id", problems), when=_when(one.get("when"), steps, problems),
            question=text(one.get("question"), "question", problems, most=600),
            lesson=text(one.get("lesson"), "lesson", problems, most=WORDS),
            rung=choice(one["rung"], "rung", RUNGS, problems) if "rung" in one else "",
            options=tuple(_options(one.get("options"), acts, problems)),
        )  # fmt: skip
        if any(made.id == other.id for other in found):
            problems.add(row.line, f"choices has {made.id!r} twice")
        if "options" in one:
            _whole(made, one["options"].line, problems)
        found.append(made)
    return tuple(found)


def read_injects(node: Node | None, steps: Mapping[str, bool] | None, problems: Problems) -> tuple[Inject, ...]:
    """What becomes known, and when."""
    rows = [table(row, "an inject", problems, ("when", "say"), ("when", "say"))
            for row in (items(node, "injects", problems) if node else ())]  # fmt: skip
    return tuple(
        Inject(when=_when(one.get("when"), steps, problems), say=text(one.get("say"), "say", problems, most=600))
        for one in rows
    )


def read_order(
    node: Node | None, steps: Mapping[str, bool] | None, problems: Problems
) -> tuple[tuple[str, str], ...]:  # fmt: skip
    """Pairs of steps, the first of which comes before the second: a partial order, not one list."""
    found: list[tuple[str, str]] = []
    for row in items(node, "order", problems) if node else ():
        pair = [text(each, "a step", problems, most=60) for each in items(row, "a pair of order", problems)]
        if len(pair) != 2 or pair[0] == pair[1]:
            problems.add(row.line, "order holds pairs of two steps: [first, then]")
            continue
        for step in pair:
            if step and steps is not None and step not in steps:
                problems.add(row.line, f"order: the playbook has no step {step[:60]!r}{hint(step, steps)}")
        found.append((pair[0], pair[1]))
    if circle := _circle(found):
        problems.add(node.line if node else 1, f"order goes round in a circle at {circle}")
    return tuple(found)


def _circle(pairs: Sequence[tuple[str, str]]) -> str:
    """A step that would have to come before itself, or ''."""
    later: dict[str, set[str]] = {}
    for first, then in pairs:
        later.setdefault(first, set()).add(then)
    for start in later:
        seen, todo = set(), [start]
        while todo:
            for step in later.get(todo.pop(), ()):
                if step == start:
                    return start
                if step not in seen:
                    seen.add(step)
                    todo.append(step)
    return ""


def _when(node: Node | None, steps: Mapping[str, bool] | None, problems: Problems) -> str:
    """``report``, ``end``, or a step that a person does: there the incident waits, and nothing overtakes the answer."""
    said = text(node, "when", problems, most=60)
    if not node or not said or said in (REPORT, END) or steps is None:
        return said
    if said not in steps:
        problems.add(node.line, f"when is {REPORT}, {END} or a step: there is none {said!r}{hint(said, steps)}")
    elif not steps[said]:
        problems.add(node.line, f"when: nobody is asked at the step {said}, so nothing would wait for the answer")
    return said


def _options(node: Node | None, acts: Collection[str], problems: Problems) -> list[Option]:
    found: list[Option] = []
    for row in items(node, "options", problems) if node else ():
        one = table(row, "an option", problems, _OPTION, ("id", "say", "grade", "because"))
        grade = choice(one["grade"], "grade", GRADES, problems) if "grade" in one else ""
        made = Option(
            id=identifier(one.get("id"), "an option's id", problems), grade=grade,
            say=text(one.get("say"), "say", problems, most=SAID),
            because=text(one.get("because"), "because", problems, most=SAID),
            plays=choice(one["plays"], "plays", tuple(acts), problems) if "plays" in one else "",
            mends=choice(one["mends"], "mends", tuple(acts), problems) if "mends" in one else "",
        )  # fmt: skip
        if (made.grade == HARMFUL) != bool("plays" in one):
            said = "needs plays: what comes of it in the range" if made.grade == HARMFUL else "plays nothing"
            problems.add(row.line, f"an answer that is {made.grade or 'ungraded'} {said}")
        if "mends" in one and "plays" not in one:
            problems.add(row.line, "mends puts right what plays has done; there is none")
        if any(made.id == other.id for other in found):
            problems.add(row.line, f"options has {made.id!r} twice")
        found.append(made)
    return found


def _whole(made: Choice, line: int, problems: Problems) -> None:
    grades = [one.grade for one in made.options]
    if not 2 <= len(grades) <= 6:
        problems.add(line, f"a choice has two to six options, {made.id} has {len(grades)}")
    elif grades.count(BEST) != 1:
        problems.add(line, f"one option of {made.id} is best, not {grades.count(BEST)}")
