"""When a question comes back, in which order its options stand, and how an answer is graded.

A miss comes back after 1, 3, 7, 21 and 60 days; a right answer moves it on, a wrong one moves it to the beginning
(Leitner 1972; spacing after Wang and Yang 2021, who saw corrected errors fade within a week). A right answer that was a
guess comes back as well.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.learn.bank import MODEL, Bank, Question

DAYS = (1, 3, 7, 21, 60)
DONE = len(DAYS)  # the box of what comes back no more
LEAST_PEOPLE = 5  # who have answered, before a team's picture by tag is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Where one question stands for one person: ``box`` 0 to 4 waits DAYS[box] days, 5 is done."""

    question: str
    box: int
    due: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """What an answer is worth, and what is said to it."""

    right: bool
    feedback: str  # of the option that was chosen; "" when it is the best one
    best: str  # the text of the best option
    coach: str


def grade(question: Question, option: str) -> Graded:
    """Raises KeyError for an option that the question does not have."""
    _ = question.options[option]
    right = option == question.best
    return Graded(
        right=right, feedback="" if right else question.feedback.get(option, ""),
        best=question.options[question.best], coach=question.coach,
    )  # fmt: skip


def moved(card: Card | None, *, question: str, right: bool, sure: bool, at: datetime) -> Card | None:
    """The card after an answer; None while there is nothing to come back: right and sure at first sight."""
    if not right:
        box = 0
    elif card is None:
        if sure:
            return None
        box = 1  # a lucky guess
    else:
        box = min(card.box + 1, DONE) if sure or card.box == DONE else card.box
    days = DAYS[box] if box < DONE else 0
    return Card(question=question, box=box, due=at + timedelta(days=days))


def due(cards: Iterable[Card], now: datetime) -> list[Card]:
    """What is back by now, what has waited longest first."""
    return sorted((one for one in cards if one.box < DONE and one.due <= now), key=lambda one: (one.due, one.question))


def shuffled(question: Question, person: str, asked: str) -> tuple[str, ...]:
    """The ids of the options as this person sees them this time; the same whenever it is asked for again."""
    seed = hashlib.sha256(f"{person}\0{question.id}\0{asked}".encode()).digest()
    order = sorted(question.options)
    random.Random(seed).shuffle(order)  # noqa: S311 (an order, not a secret)
    return tuple(order)


def choose(
    bank: Bank, cards: Mapping[str, Card], seen: Mapping[str, int], now: datetime, person: str, *,
    many: int = 1, tags: Sequence[str] = (),
) -> list[Question]:  # fmt: skip
    """What to ask somebody now: what is back first, then the model question, then what they have seen least.

    ``seen``: question -> how often it was put to them. ``tags``: of these only, where they have any.
    """

    def fits(one: Question) -> bool:
        return not tags or one.tag in tags

    back = [bank.questions[c.question] for c in due(cards.values(), now) if c.question in bank.questions]
    waiting = {c.question for c in cards.values() if c.box < DONE}
    fresh = [one for one in bank.questions.values() if one.id not in waiting]

    def rank(one: Question) -> tuple[int, bool, bytes]:
        chance = hashlib.sha256(f"{person}\0{one.id}".encode()).digest()
        return seen.get(one.id, 0), one.id != MODEL, chance

    return [one for one in [*back, *sorted(fresh, key=rank)] if fits(one)][:many]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """How a team does on one tag. ``right``: the share of right answers."""

    tag: str
    people: int
    answers: int
    right: float


def by_tag(answers: Iterable[tuple[str, str, bool]]) -> list[Tagged]:
    """A team's picture from (person, tag, right): weakest first, and only tags that five people have answered."""
    people: dict[str, set[str]] = defaultdict(set)
    count, good = Counter[str](), Counter[str]()
    for person, tag, right in answers:
        people[tag].add(person)
        count[tag] += 1
        good[tag] += right
    found = [
        Tagged(tag=tag, people=len(who), answers=count[tag], right=good[tag] / count[tag])
        for tag, who in people.items() if len(who) >= LEAST_PEOPLE
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one.right, one.tag))
