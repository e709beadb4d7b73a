"""Puts a drill's choices to whoever trains, and plays in the range what comes of the answers.

A harmful answer has its consequence, is told, and the same choice is put again without it, until one does no harm; then
what was broken is mended. What was answered and what it brought about is kept, so a drill that goes on after a crash
asks nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from bot.choices import HARMFUL, Choice, Option, Taken
from bot.playbook import content
from bot.scenario import Drill
from bot.strictyaml import Node, Problems, hint, items, read, table, text

Answer = tuple[Option, bool | None]  # what was chosen, and whether they were sure (None: not said)
Decide = Callable[[Choice, Sequence[Option]], Answer]  # of these options, which were not taken yet


def best(choice: Choice, _left: Sequence[Option]) -> Answer:
    """The best path."""
    return choice.best, True


def shown(choice: Choice, options: Iterable[Option]) -> list[Option]:
    """The options in an order that is the same for everybody, and says nothing of their worth."""
    return sorted(options, key=lambda one: sha256(f"{choice.id} {one.id}".encode()).digest())


class Choosing:
    """The choices of one drill. ``once`` keeps what was made under a name; ``play`` lets something happen."""

    def __init__(
        self, drill: Drill, decide: Decide, *, once: Callable[[str, Callable[[], Any]], Any],
        play: Callable[[str], dict[str, Any]], tell: Callable[[str, dict[str, Any]], None],
    ) -> None:  # fmt: skip
        self._drill, self._decide, self._once, self._play, self._tell = drill, decide, once, play, tell
        self.taken: dict[str, Taken] = {}
        self._injected: set[int] = set()

    def at(self, moment: str) -> list[dict[str, Any]]:
        """Put what belongs to this moment; returns what happened in the range because of it, in order."""
        for number, inject in enumerate(self._drill.injects):
            if inject.when == moment and number not in self._injected:
                self._injected.add(number)
                self._tell("inject", {"text": inject.say})
        happened: list[dict[str, Any]] = []
        for choice in self._drill.choices:
            if choice.when == moment and choice.id not in self.taken:
                happened += self._put(choice)
        return happened

    def waits_at(self, moment: str) -> bool:
        """Whether there is something to ask at this moment that was not asked yet."""
        return any(one.when == moment and one.id not in self.taken for one in self._drill.choices)

    def _put(self, choice: Choice) -> list[dict[str, Any]]:
        """One choice, until an answer does no harm."""
        taken: list[Option] = []
        sure: bool | None = None
        happened: list[dict[str, Any]] = []
        while not taken or taken[-1].grade == HARMFUL:
            left = [one for one in choice.options if one not in taken]
            option, said = self._answered(choice, left, len(taken))
            sure = sure if taken else said
            taken.append(option)
            shown = {"option": option.say, "grade": option.grade, "because": option.because}
            self._tell("chosen", {"choice": choice.id, **shown})
            if option.plays:
                happened.append(self._happens(option.plays, "consequence"))
        happened += [self._happens(option.mends, "mended") for option in taken if option.mends]
        self.taken[choice.id] = Taken(choice=choice, options=tuple(taken), sure=sure)
        return happened

    def _answered(self, choice: Choice, left: Sequence[Option], turn: int) -> Answer:
        def ask() -> dict[str, Any]:
            option, sure = self._decide(choice, left)
            return {"option": option.id, "sure": sure}

        kept = self._once(f"choice:{choice.id}:{turn}", ask)
        found = choice.option(kept["option"])
        return (found if found in left and found is not None else choice.best), kept["sure"]

    def _happens(self, act: str, what: str) -> dict[str, Any]:
        said: dict[str, Any] = self._once(f"happens:{act}", lambda: self._play(act))
        self._tell(what, {"act": act, "story": said["story"]})
        return said


# answers from a file --------------------------------------------------------------------------------------------------


def from_file(path: Path, drill: Drill) -> Decide:
    """Answers as a file has them, for a program: ``choice: option``, or ``choice: {take: [option, …], sure: false}``.

    What the file does not answer is answered best. Raises PlaybookError with every mistake and its line.
    """
    source = str(path)
    problems = Problems(source)
    known = {choice.id: choice for choice in drill.choices}
    given: dict[str, tuple[list[str], bool | None]] = {}
    for name, node in table(read(content(path), source), "the answers", problems, known).items():
        given[name] = _given(name, node, known[name], problems)
    problems.refuse()
    return _in_turn(given)


def _given(name: str, node: Node, choice: Choice, problems: Problems) -> tuple[list[str], bool | None]:
    """The options of one choice, in turn, and how sure somebody was."""
    sure, take = None, node
    if isinstance(node.value, dict):
        keys = table(node, name, problems, ("take", "sure"), ("take",))
        said = keys.get("sure")
        if said is not None and not isinstance(said.value, bool):
            problems.add(said.line, "sure is true or false")
        sure, take = said.value if said else None, keys.get("take", Node((), node.line))
    rows = [take] if isinstance(take.value, str) else list(items(take, name, problems))
    options = {one.id for one in choice.options}
    for row in rows:
        if text(row, "an answer", problems, most=60) and row.value not in options:
            problems.add(row.line, f"{name} has no answer {row.value[:60]!r}{hint(row.value, options)}")
    return [str(row.value) for row in rows], sure


def _in_turn(given: Mapping[str, tuple[list[str], bool | None]]) -> Decide:
    def decide(choice: Choice, left: Sequence[Option]) -> Answer:
        names, sure = given.get(choice.id, ([], None))
        open_ = {one.id: one for one in left}
        return next(((open_[name], sure) for name in names if name in open_), (choice.best, sure))

    return decide
