"""What people have written for a post-mortem, folded from their edits. No word is ever lost.

An edit says the number of the last one that its writer had seen. When somebody else has written the same field since,
the later one does not replace it: both are shown, side by side, until somebody who has seen both writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from bot.learn.follow_up import WEAK, FollowUp

MOST = 3000  # characters of a field: as many as an input of Slack holds
PREFIX = "follow-up:"


@dataclass(frozen=True, slots=True)
class Field:
    """One text of a post-mortem. ``asked``: nobody but people know it; the others begin with what the timeline says."""

    label: str
    hint: str
    asked: bool = False


FIELDS: dict[str, Field] = {
    "summary": Field("Summary", "What happened, in three sentences, for somebody who was not there."),
    "conditions": Field("Contributing conditions", "What made it possible; how and what, no names. One a line."),
    "well": Field("What went well", "What held, and why. One a line."),
    "badly": Field("What went badly", "What was slow, missing or in the way. One a line."),
    "lucky": Field("Where we got lucky", "What held by chance, and would not the next time?", asked=True),
    "unknowns": Field("What is still unknown", "What could not be found out, and who might.", asked=True),
    "durable_fix": Field(
        "The durable fix", "Which standing credential is gone for good, and by what; or why it has to stay.", asked=True
    ),
}  # fmt: skip


class Edit(Protocol):
    """What is needed of an edit: ``bot.store_learn.EditRow``."""

    @property
    def n(self) -> int: ...
    @property
    def field(self) -> str: ...
    @property
    def by(self) -> str: ...
    @property
    def at(self) -> str: ...
    @property
    def seen(self) -> int: ...
    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Word:
    """One text, and who wrote it when. ``n``: the number of its edit."""

    text: str
    by: str
    at: str
    n: int


@dataclass(frozen=True, slots=True)
class Text:
    """A field as it stands. ``beside``: what others wrote at the same time, which nobody has put together yet."""

    now: Word
    beside: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """All that people wrote. ``last``: the number of the last edit, which a form carries as what its writer saw."""

    fields: dict[str, Text] = field(default_factory=dict)
    last: int = 0

    def text(self, name: str) -> str:
        """What stands in a field; "" when nobody has written it."""
        found = self.fields.get(name)
        return found.now.text if found else ""

    def seen(self, name: str) -> bool:
        """Whether somebody has written this field."""
        return name in self.fields

    @property
    def follow_ups(self) -> list[FollowUp]:
        """The follow-ups, those that were taken out left out; what is due first stands first."""
        found = [
            FollowUp.of(name.removeprefix(PREFIX), one.now.text)
            for name, one in self.fields.items() if name.startswith(PREFIX) and one.now.text
        ]  # fmt: skip
        return sorted(found, key=lambda one: (one.due or "9", one.id))

    @property
    def conflicts(self) -> dict[str, Text]:
        """The fields where two people wrote at the same time."""
        return {name: one for name, one in self.fields.items() if one.beside}

    @property
    def authors(self) -> list[str]:
        """Everybody of whom a text stands, in the order in which they came."""
        words = sorted((w for one in self.fields.values() for w in (one.now, *one.beside)), key=lambda w: w.n)
        return list(dict.fromkeys(word.by for word in words))


def fold(edits: Iterable[Edit]) -> Written:
    """What stands after these edits, in their order."""
    fields: dict[str, Text] = {}
    touched: dict[str, int] = {}
    last = 0
    for one in edits:
        last = max(last, one.n)
        word, known = Word(one.text, one.by, one.at, one.n), fields.get(one.field)
        if known is None or one.seen >= touched[one.field]:
            fields[one.field] = Text(word)  # its writer saw all that stood there
        elif word.text == known.now.text or any(word.text == each.text for each in known.beside):
            pass  # two people wrote the same
        else:
            fields[one.field] = Text(known.now, (*known.beside, word))
        touched[one.field] = max(touched.get(one.field, 0), one.n)
    return Written(fields, last)


def missing(written: Written) -> list[str]:
    """Why it cannot be published yet, each with what to do; empty when it can."""
    wrong = []
    if not written.text("durable_fix").strip():
        wrong.append("The durable fix is not written: which standing credential is gone for good, or why it stays.")
    if not any(one.owned for one in written.follow_ups):
        wrong.append("No follow-up has an owner and a date: what nobody has to do by any day is not done.")
    for name, one in written.conflicts.items():
        who = ", ".join(dict.fromkeys(word.by for word in (one.now, *one.beside)))
        label = FIELDS[name].label if name in FIELDS else "A follow-up"
        wrong.append(f"{label} was written by several people at once ({who}): put their words together.")
    return wrong


def warnings(written: Written) -> list[str]:
    """What lets it be published, and should make somebody think."""
    found = []
    follow_ups = written.follow_ups
    if follow_ups and all(one.worth in WEAK for one in follow_ups):
        found.append("Every follow-up is a procedure or a training. None of them changes a system.")
    if follow_ups and not any(one.check for one in follow_ups):
        found.append("No follow-up can be checked by a machine, so nothing tells when one is undone again.")
    found += [f"{one.title}: nobody owns it." for one in follow_ups if not one.owner]
    if not written.text("lucky").strip():
        found.append("Nobody has said where you got lucky.")
    return found
