"""Drills in a company of the range that people of its Slack run: they are begun from there, and answered by people.

``bot.drill`` runs a drill whose people are simulated. Here only the leak, the thief and who reports are: who approves,
answers and leads are the people who train.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from bot.drill import Range, played, report
from bot.engine.rules import DRILL
from bot.errors import InputError
from bot.intake.inbox import Inbox, Landed
from bot.scenario import Drill


class Stage:
    """The range of this house, and the drills that can be played in it, each of them once."""

    def __init__(self, range_: Range, drills: Mapping[str, Drill], inbox: Inbox) -> None:
        self.drills = drills
        self._range, self._inbox = range_, inbox
        self._lock = threading.Lock()  # one is begun at a time

    @contextlib.contextmanager
    def company(self) -> Iterator[Range]:
        """The range of this house, for a drill that asks what one would do; it goes on after the drill."""
        yield self._range

    def begin(self, name: str, delivery: str) -> tuple[Drill, Landed, str]:
        """Play what happens before anybody knows, and report it: the drill, what has landed, what was reported.

        Begun again under the same ``delivery``, it is the same. Raises InputError for a drill that there is not, and
        for one that was played here already.
        """
        drill = self.drills.get(name)
        if drill is None:
            raise InputError(f"there is no drill {name[:60]!r}; there are: {', '.join(self.drills)}")
        with self._lock:
            mine, begun = f"drill:{name}", self._inbox.store.setting(f"drill:{name}")
            if begun != delivery and (begun or self._range.post("/drill/tries", {"scenario": drill.scenario})):
                raise InputError(f"{name} was played in this company already; start it anew for another time")
            self._inbox.store.setting_once(mine, delivery)
            told = {act: self._once(f"{mine}:{act}", act, drill) for act in drill.acts}
            leak = told.get("leak", {})
            landed, shown = report(self._inbox, drill, leak, self._range, delivery=delivery)
        return drill, landed, shown

    def _once(self, name: str, act: str, drill: Drill) -> Any:
        """What came of a move, made once: begun again after a crash, what the range said stands."""
        stands = self._inbox.store.setting(name)
        if not stands:
            stands = json.dumps(played(drill, act, self._range, lambda: self._inbox.worlds[DRILL](f"drill-{act}")))
            self._inbox.store.set_setting(name, stands)
        return json.loads(stands)
