"""The choices of a drill in the terminal: asked one after the other, told with what came of them, scored at the end."""

from __future__ import annotations

import select
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from bot.choices import BEST, HARMFUL, Choice, Option
from bot.choosing import Answer, Decide, best, from_file, shown
from bot.cli import page
from bot.drill import Result
from bot.errors import InputError
from bot.scenario import Drill
from bot.story import ASKS, BAD, GOOD, HEADING, Line


def decider(drill: Drill, *, decide: bool, answers: Path | None, silent: bool) -> Decide | None:
    """Who answers the choices: a file, whoever sits at the terminal, else the best path. None: none is put."""
    if not decide and answers is None:
        return None
    if not drill.choices:
        raise InputError(f"the drill {drill.id} has no choices to decide; leave --decide out")
    if answers is not None:
        return from_file(answers, drill)
    return Asker() if sys.stdin.isatty() and not silent else best


class Asker:
    """Asks whoever sits at the terminal. It is asked from a thread, which ``stop`` frees after Ctrl-C."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def __call__(self, choice: Choice, left: Sequence[Option]) -> Answer:
        """Show the options, and wait for one of them and for how sure somebody is of it."""
        options = shown(choice, left)
        lines = [Line(""), Line(choice.question, style=ASKS)]
        page.lines([*lines, *(Line(f"  {number}. {one.say}") for number, one in enumerate(options, 1))])
        said = ""
        while not (said.isdecimal() and 1 <= int(said) <= len(options)):
            said = self._line(f"Your choice, 1 to {len(options)}: ")
        sure = ""
        while sure not in ("y", "yes", "n", "no"):
            sure = self._line("Are you sure of it? y or n: ").lower()
        return options[int(said) - 1], sure.startswith("y")

    def stop(self) -> None:
        """Nobody is asked any more."""
        self._over.set()

    def _line(self, prompt: str) -> str:
        sys.stderr.write(prompt)
        sys.stderr.flush()
        while not self._over.is_set():
            if select.select([sys.stdin], [], [], 0.2)[0]:
                line = sys.stdin.readline()
                if not line:
                    raise InputError("nobody answers any more; give your answers in a file with --answers")
                return line.strip()
        raise InputError("stopped before it was answered")


def told(kind: str, data: dict[str, Any]) -> list[Line]:
    """What is told of choices while the drill runs; [] for what is told elsewhere."""
    if kind == "alert":
        sent = [(f"What {name} sends:", text) for name, text in data["payloads"].items()]
        payload = [Line(line) for head, text in sent for line in (head, *text.splitlines())]
        return [Line(""), Line(f"{data['by']} reports: {data['text']}", style=HEADING), *payload]
    if kind == "inject":
        return [Line(data["text"], style=ASKS)]
    if kind == "chosen":
        style = {BEST: GOOD, HARMFUL: BAD}.get(data["grade"], ASKS)
        return [
            Line(f"Chosen: {data['option']}"),
            Line(f"{data['grade'].capitalize()}. {data['because']}", style=style),
        ]
    if kind in ("consequence", "mended"):
        style = BAD if kind == "consequence" else ""
        return [*(Line(text, style=style) for text in data["story"]), Line("")]
    return []


def ending(drill: Drill, result: Result) -> list[Line | RenderableType]:
    """The score, what there is to do, and what was really so."""
    score = result.score
    if score is None:
        return []
    time = "not measured" if score["time"] is None else f"{score['time']:.0%}"
    said: list[Line | RenderableType] = [
        Line(""), Line(f"Score: {score['total']} of 100", style=HEADING),
        Line(f"Choices {score['choices']:.0%} (counts half), time {time} (30 %), record {score['record']:.0%} (20 %)."),
    ]  # fmt: skip
    if score["sure_and_wrong"]:
        said.append(
            Line(f"Sure, and harmful: {score['sure_and_wrong']}. What one is sure of is looked up last.", style=BAD)
        )
    if not all(one["recovered"] for one in result.choices):
        said.append(Line("A harmful choice was not put right.", style=BAD))
    if score["findings"]:
        said += [Line("To do, as follow-ups of the post-mortem:" if result.incident else "To do:", style=HEADING)]
        said += [Line(f"- {one['title']} ({one['owner']}). {one['why']}".rstrip()) for one in score["findings"]]
    return [*said, *([Line("What was really so", style=HEADING), Line(drill.truth.strip())] if drill.truth else [])]
