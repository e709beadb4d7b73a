"""The bank of questions: ``playbooks/quiz/*.yaml`` -> questions, or every mistake of a file with its line.

A question has one best answer; each other one has feedback that says why it tempts and what it misses. What makes a
question a good one is in ``bot.learn.lint``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.errors import InputError, PlaybookError
from bot.playbook import content
from bot.steps import choice, identifier
from bot.strictyaml import Node, Problems, items, read, table, text

MODEL = "public-log-durable-fix"  # the question that everybody is asked first
OPTION, FEEDBACK, ASK, COACH = 75, 200, 300, 400  # characters; an option is also a radio button of Slack
OPTIONS = (3, 5)  # so few, so many
_KEY = re.compile(r"[a-e]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question. ``options`` and ``feedback`` by the option's id, which stays the same however they are shuffled.

    ``incident``: the one that it was made from; "" for a question of the bank.
    """

    id: str
    tag: str
    ask: str
    options: Mapping[str, str]
    best: str
    feedback: Mapping[str, str]
    coach: str
    source: str
    incident: str = ""

    def as_json(self) -> dict[str, Any]:
        """What is stored of a question that was put to somebody: it is graded by what they saw."""
        return {name: dict(value) if isinstance(value, Mapping) else value
                for name, value in ((name, getattr(self, name)) for name in Question.__slots__)}  # fmt: skip

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Question:
        """The opposite of ``as_json``."""
        return cls(**{name: stored[name] for name in Question.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """Every question by its id, the model question first; ``lines`` says where each one stands."""

    questions: Mapping[str, Question]
    lines: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags there are, sorted."""
        return tuple(sorted({one.tag for one in self.questions.values()}))


def load_file(source_text: str, source: str) -> dict[str, tuple[Question, int]]:
    """The questions of one file by their id, each with its line. Raises PlaybookError with every mistake."""
    problems = Problems(source)
    top = table(read(source_text, source), "the file", problems, ("theme", "questions"), ("theme", "questions"))
    identifier(top.get("theme"), "theme", problems)
    found: dict[str, tuple[Question, int]] = {}
    for node in items(top["questions"], "questions", problems) if "questions" in top else ():
        made = _question(node, problems)
        if made is not None and made.id in found:
            problems.add(node.line, f"the question {made.id} is there already, at line {found[made.id][1]}")
        elif made is not None:
            found[made.id] = made, node.line
    if "questions" in top and not found and not problems.count:
        problems.add(top["questions"].line, "questions must not be empty")
    problems.refuse()
    return found


def load_bank(folders: Iterable[Path]) -> Bank:
    """Every ``*.yaml`` of the folders; a later folder's question stands over an earlier one of the same id.

    Raises PlaybookError for the first file with mistakes, InputError for a folder that is not there.
    """
    known: dict[str, Question] = {}
    lines: dict[str, tuple[str, int]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}")
        here: dict[str, str] = {}
        for path in sorted(folder.glob("*.yaml")):
            for name, (question, line) in load_file(content(path), str(path)).items():
                if name in here:
                    raise PlaybookError(str(path), [(line, f"the question {name} is in {here[name]} already")])
                here[name] = path.name
                known[name], lines[name] = question, (str(path), line)
    first = {MODEL: known[MODEL]} if MODEL in known else {}
    return Bank(questions=first | known, lines=lines)


_KEYS = ("id", "tag", "ask", "options", "best", "feedback", "coach", "source")


def _question(node: Node, problems: Problems) -> Question | None:
    before = problems.count
    keys = table(node, "a question", problems, _KEYS, _KEYS)
    options = dict(_options(keys.get("options"), problems))
    best = choice(keys.get("best"), "best", tuple(options), problems) if options else ""
    wrong = tuple(key for key in options if key != best)
    given = keys.get("feedback")
    said = table(given, "feedback", problems, wrong, wrong) if given and best in options else {}
    made = Question(
        id=identifier(keys.get("id"), "id", problems), tag=identifier(keys.get("tag"), "tag", problems),
        ask=text(keys.get("ask"), "ask", problems, most=ASK).strip(), options=options, best=best,
        feedback={key: text(one, f"the feedback on {key}", problems, most=FEEDBACK) for key, one in said.items()},
        coach=text(keys.get("coach"), "coach", problems, most=COACH).strip(),
        source=text(keys.get("source"), "source", problems, most=ASK),
    )  # fmt: skip
    return made if problems.count == before else None


def _options(node: Node | None, problems: Problems) -> Iterator[tuple[str, str]]:
    """Two to five options, each another one."""
    if node is None:
        return
    rows = table(node, "options", problems, node.value if isinstance(node.value, dict) else ())
    if rows and not OPTIONS[0] <= len(rows) <= OPTIONS[1]:
        problems.add(node.line, f"a question has {OPTIONS[0]} to {OPTIONS[1]} options, this one has {len(rows)}")
    seen: set[str] = set()
    for key, one in rows.items():
        if not _KEY.fullmatch(key):
            problems.add(one.line, f"an option's id is a letter from a to e, not {key[:20]!r}")
        said = text(one, f"option {key}", problems, most=OPTION)
        if said.strip().lower() in seen:
            problems.add(one.line, f"option {key} says the same as another")
        seen.add(said.strip().lower())
        yield key, said
