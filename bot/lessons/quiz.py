"""The quiz of an installation: which question is put to whom, what their answer was worth, when it comes back.

A question is put under an id of its own (``asked``); it is graded by what was shown, and counts once, however often and
from wherever it is answered. Who somebody is, is said by one name (``human``), in Slack and at a terminal alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bot.errors import DecisionRefused, InputError
from bot.learn import boxes
from bot.learn.bank import Bank, Question
from bot.learn.boxes import Card, Graded, Tagged
from bot.learn.from_incident import questions
from bot.store import Store, iso, when
from bot.store_learn import ANSWERED, ASKED, SKIPPED, WEEKLY, AskedRow, CardRow, Quizzes
from bot.timeline import load

AFTER_INCIDENT = 3  # questions
STILL_OPEN = timedelta(days=2)  # so long a question that was put and not answered is put again instead of another


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A question that was put to somebody, with its options in the order in which they see them."""

    asked: str
    person: str
    question: Question
    order: tuple[str, ...]
    state: str = ASKED
    chosen: str = ""

    @classmethod
    def of(cls, row: AskedRow) -> Put:
        """From its row."""
        return cls(
            asked=row.id, person=row.person, question=Question.of(row.body["question"]),
            order=tuple(row.body["order"]), state=row.state, chosen=row.chosen,
        )  # fmt: skip

    @property
    def options(self) -> list[tuple[str, str]]:
        """Id and text of each option, as they are seen."""
        return [(key, self.question.options[key]) for key in self.order]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What an answer was worth. ``again``: an earlier answer stands. ``back``: when the question returns."""

    put: Put
    graded: Graded
    sure: bool
    again: bool
    back: datetime | None


class Quiz:
    """Puts questions and takes answers."""

    def __init__(self, store: Store, bank: Bank, human: Callable[[str], str] = str) -> None:
        self._store, self.bank, self._human = store, bank, human
        self.rows = Quizzes(store)

    # asking ----------------------------------------------------------------------------------------------------

    def put(
        self, person: str, now: datetime, *, name: str, many: int = 1, tags: Sequence[str] = ()
    ) -> list[Put]:  # fmt: skip
        """Put so many questions of the bank. ``name``: what they are put for; said again, they are the same."""
        who = self._human(person)
        rows = self.rows.of(who)
        if mine := [row for row in rows if row.id.startswith(f"{who}/{name}/")]:
            return [Put.of(row) for row in mine]
        seen = Counter(row.question for row in rows)
        cards = {row.question: _card(row) for row in self.rows.cards(who)}
        chosen = boxes.choose(self.bank, cards, seen, now, who, many=many, tags=tags)
        return [self._put(who, f"{who}/{name}/{k}", one, now) for k, one in enumerate(chosen)]

    def open(self, person: str, now: datetime, *, many: int = 1, tags: Sequence[str] = ()) -> list[Put]:
        """What to ask somebody who asks to be asked: first what was put lately and not answered, then new ones."""
        who, since = self._human(person), iso(now - STILL_OPEN)
        left = [Put.of(row) for row in self.rows.of(who) if row.state == ASKED and row.at >= since and not row.incident]
        found = [one for one in left if not tags or one.question.tag in tags][:many]
        if len(found) < many:
            more = self.put(who, now, name=f"self/{iso(now)}", many=many, tags=tags)
            known = {one.question.id for one in found}
            found += [one for one in more if one.question.id not in known]
        return found[:many]

    def put_after(self, person: str, incident: str, now: datetime, many: int = AFTER_INCIDENT) -> list[Put]:
        """Put the questions of an incident to somebody: those made from it, then one of the bank that fits.

        Asked for again, they are the same ones. Raises InputError when there is no such incident.
        """
        who = self._human(person)
        prefix = f"{who}/{incident}/"
        if mine := [row for row in self.rows.of(who) if row.id.startswith(prefix)]:
            return [Put.of(row) for row in mine]
        self._store.incident(incident)
        made = questions(incident, load(self._store, incident))
        tags = tuple(dict.fromkeys(one.tag for one in made))
        seen = Counter(row.question for row in self.rows.of(who))
        cards = {row.question: _card(row) for row in self.rows.cards(who)}
        chosen = made[: many - 1]
        chosen += boxes.choose(self.bank, cards, seen, now, who, many=many - len(chosen), tags=tags)
        return [self._put(who, f"{prefix}{k}", one, now, incident) for k, one in enumerate(chosen)]

    def _put(self, who: str, asked: str, one: Question, now: datetime, incident: str = "") -> Put:
        body = {"question": one.as_json(), "order": list(boxes.shuffled(one, who, asked))}
        row = AskedRow(
            id=asked, person=who, question=one.id, tag=one.tag, incident=incident or one.incident, at=iso(now),
            body=body,
        )  # fmt: skip
        return Put.of(self.rows.put(row))

    def round(self, person: str, asked: str) -> list[Put]:
        """All that was put together with this one, in its order."""
        rows, name = self.rows.of(self._human(person)), asked.rpartition("/")[0]
        return [Put.of(row) for row in rows if row.id.rpartition("/")[0] == name]

    # answering -------------------------------------------------------------------------------------------------

    def find(self, person: str, asked: str) -> Put:
        """One that was put to this person. Raises InputError when there is none, DecisionRefused for another's."""
        row = self.rows.get(asked)
        if row is None:
            raise InputError(f"no question was put as {asked!r}; `bulkhead quiz --json` puts some")
        if row.person != self._human(person):
            raise DecisionRefused("this question was put to somebody else", reason="wrong-person")
        return Put.of(row)

    def answer(self, person: str, asked: str, option: str, now: datetime, *, sure: bool) -> Answered:
        """Take an answer. The first one counts. Raises as ``find``, and InputError for an option that there is not."""
        put = self.find(person, asked)
        if option not in put.question.options:
            raise InputError(f"{asked} has the options {', '.join(sorted(put.order))}, not {option[:20]!r}")
        graded = boxes.grade(put.question, option)
        held, name = {row.question: _card(row) for row in self.rows.cards(put.person)}, put.question.id
        card = None
        if not put.question.incident:  # one that was made from an incident is asked where it belongs
            card = boxes.moved(held.get(name), question=name, right=graded.right, sure=sure, at=now)
        row = self._row(asked)
        settled = replace(
            row, state=ANSWERED, chosen=option, sure=int(sure), is_right=int(graded.right), answered_at=iso(now)
        )
        moved = CardRow(person=put.person, question=card.question, box=card.box, due=iso(card.due)) if card else None
        if self.rows.answer(settled, moved):
            return Answered(put=put, graded=graded, sure=sure, again=False, back=_back(card))
        return self._standing(put)

    def _standing(self, put: Put) -> Answered:
        """What the answer that stands was worth; one that was skipped is not answered any more."""
        row = self._row(put.asked)
        if row.state == SKIPPED:
            raise InputError("this question was skipped; ask for another")
        held = {one.question: _card(one) for one in self.rows.cards(put.person)}
        back = _back(held.get(put.question.id))
        graded = boxes.grade(put.question, row.chosen)
        return Answered(put=replace(put, chosen=row.chosen), graded=graded, sure=bool(row.sure), again=True, back=back)

    def skip(self, person: str, asked: str, now: datetime) -> bool:
        """Leave it: it is no miss, and may come again another time. False when it was settled before."""
        self.find(person, asked)
        return self.rows.answer(replace(self._row(asked), state=SKIPPED, answered_at=iso(now)), None)

    def _row(self, asked: str) -> AskedRow:
        row = self.rows.get(asked)
        assert row is not None, "rows of questions are never deleted"
        return row

    # how it goes -----------------------------------------------------------------------------------------------

    def back(self, person: str, now: datetime) -> list[Card]:
        """What has come back to somebody."""
        cards = [_card(row) for row in self.rows.cards(self._human(person)) if row.question in self.bank.questions]
        return boxes.due(cards, now)

    def team(self) -> list[Tagged]:
        """The team by tag, from five people up; never by person."""
        return boxes.by_tag(self.rows.answers())

    # once a week -----------------------------------------------------------------------------------------------

    def weekly(self, person: str, now: datetime, *, on: bool) -> None:
        """Somebody wants a question a week, or no more."""
        if on:
            self._store.setting_once(f"{WEEKLY}{person}", iso(now))
        else:
            self._store.take_setting(f"{WEEKLY}{person}")

    def subscribers(self) -> dict[str, datetime]:
        """Who wants a question a week, and since when."""
        found = self._store.settings(WEEKLY)
        return {name.removeprefix(WEEKLY): when(value) for name, value in found.items()}


def _card(row: CardRow) -> Card:
    return Card(question=row.question, box=row.box, due=when(row.due))


def _back(card: Card | None) -> datetime | None:
    return card.due if card is not None and card.box < boxes.DONE else None
