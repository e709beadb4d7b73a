"""A drill's choices, put to people through the store: who plays the drill writes lines, whoever shows them answers.

The worker that has the company plays what comes of an answer; what people see of it is what stands in the lines
(``bot.store_drills.Lines``). The first answer to a question counts, wherever it was given.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bot.choices import Choice, Option
from bot.choosing import Answer, Choosing, shown
from bot.errors import EngineError
from bot.learn.score import Score
from bot.scenario import Drill
from bot.signing import is_slack
from bot.store import Store
from bot.store_drills import ALONE, Line, Lines, Order

LOOK_S = 0.5
LONGEST_S = 4 * 3600.0  # a drill that nobody brings to its end is ended
ALERT, PUT, SCORED = "alert", "put", "scored"


class Classroom:
    """The choices of one drill. ``play`` lets something happen in its company; ``stop`` frees whoever waits."""

    def __init__(self, store: Store, order: Order, drill: Drill, play: Callable[[str], dict[str, Any]]) -> None:
        self.lines, self._order, self._drill = Lines(store), order, drill
        self._kept: dict[str, Any] = {}
        self._over = threading.Event()
        self.choosing = Choosing(drill, self._decide, once=self._once, play=play, tell=self.say)
        self._told = 0
        self.thought_s = 0.0  # how long people have thought in all

    def open(self, reported: str, payloads: Mapping[str, str]) -> None:
        """What is told first: the briefing, who reports what, and what scanners send, by their names."""
        told = {"title": self._drill.title, "briefing": self._drill.briefing, "by": self._drill.report.by}
        self.say(ALERT, told | {"text": reported, "payloads": dict(payloads)})

    def at(self, moment: str) -> list[dict[str, Any]]:
        """Put what belongs to this moment, and wait for the answers. Returns what came of them in the range.

        Raises EngineError when it is stopped before somebody has answered.
        """
        began = time.monotonic()
        try:
            return self.choosing.at(moment)
        finally:
            self.thought_s += time.monotonic() - began

    def stop(self) -> None:
        """Nobody is waited for any more."""
        self._over.set()

    def say(self, kind: str, data: dict[str, Any]) -> None:
        """One more line."""
        self._told += 1
        self.lines.say(self._order.id, f"{self._told}:{kind}", kind, data)

    def score(self, scored: Score) -> None:
        """Tell the score, what there is to do, and what was really so."""
        found = [{"title": one.title, "why": one.why, "owner": one.owner} for one in scored.findings]
        said = {name: getattr(scored, name) for name in ("total", "choices", "time", "record", "sure_and_wrong")}
        self.say(SCORED, said | {"findings": found, "truth": self._drill.truth})

    @property
    def people(self) -> set[str]:
        """Who has answered."""
        return {str(line.answer["by"]) for line in self.lines.of(self._order.id) if line.answer}

    @property
    def owner(self) -> str:
        """Who has what there is to learn: whoever asked for the drill, else who has answered first."""
        if is_slack(self._order.by) or self._order.mode == ALONE:
            return self._order.by
        answered = (line.answer["by"] for line in self.lines.of(self._order.id) if line.answer)
        return str(next(answered, self._order.by))

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        """A company that has ended cannot be brought back, so memory will do."""
        if name not in self._kept:
            self._kept[name] = json.loads(json.dumps(make()))
        return self._kept[name]

    def _decide(self, choice: Choice, left: Sequence[Option]) -> Answer:
        turn = len(choice.options) - len(left)
        name, options = f"{PUT}:{choice.id}:{turn}", shown(choice, left)
        body = {"choice": choice.id, "question": choice.question, "options": {one.id: one.say for one in options}}
        self.lines.say(self._order.id, name, PUT, body | {"again": bool(turn)})
        while not (said := self._answer(name)):
            if self._over.wait(LOOK_S):
                raise EngineError("the drill has ended before this was answered")
        found = choice.option(str(said["option"]))
        return (found if found in left and found is not None else choice.best), bool(said["sure"])

    def _answer(self, name: str) -> dict[str, Any]:
        return self.lines.get(self._order.id, name).answer


def open_put(lines: Sequence[Line]) -> Line | None:
    """The question that waits for an answer."""
    return next((line for line in lines if line.kind == PUT and not line.answer), None)
