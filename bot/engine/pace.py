"""How many calls a provider gets at once, and who goes first: cuts before everything else.

When a provider asks for a pause (retry-after), nobody calls it until the pause is over. Workers on PostgreSQL share the
places: every second each tells the others what it needs and which pauses it has heard of, and keeps its share.

What a provider has last answered, or that it did not, is noted here on the way: the status page shows it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from bot.model import Effect
from bot.store import iso

PRIORITY = {Effect.CONTAIN: 0, Effect.READ: 1, Effect.CHANGE: 2, Effect.DESTROY: 2, Effect.PUBLISH: 2}
PLAN = 5  # looks that only fill the card


class Gate:
    """A semaphore that wakes the waiter of the best priority, first come first served among equals."""

    def __init__(self, places: int) -> None:
        self._places = self._free = places
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = itertools.count()
        self._not_before = 0.0
        self._answered = self._failed = self._why = ""

    def heard(self, why_not: str = "") -> None:
        """The provider has answered, whatever it said; or it has not, and why."""
        now = iso(datetime.now(UTC))
        if why_not:
            self._failed, self._why = now, why_not
        else:
            self._answered = now

    def told(self) -> dict[str, Any]:
        """What is known of the provider: last answer and last failure (ISO 8601 UTC, "" = none), calls, pause."""
        return {
            "answered": self._answered, "failed": self._failed, "why": self._why, "needs": self.needs,
            "places": self._places, "rest_s": round(self.rest_s, 1),
        }  # fmt: skip

    def hold(self, seconds: float) -> None:
        """Let nobody in for so long, as the provider asked."""
        self._not_before = max(self._not_before, asyncio.get_running_loop().time() + seconds)

    @property
    def needs(self) -> int:
        """Calls that are under way or wait for a place."""
        return self._places - self._free + sum(not future.done() for *_, future in self._queue)

    @property
    def rest_s(self) -> float:
        """Seconds until the pause is over that the provider asked for; 0 when there is none."""
        return max(0.0, self._not_before - asyncio.get_running_loop().time())

    def resize(self, places: int) -> None:
        """Have so many places. Fewer than are taken: none is given until enough have come back."""
        self._free += places - self._places
        self._places = places
        while self._free > 0 and self._wake():
            self._free -= 1

    @asynccontextmanager
    async def enter(self, priority: int) -> AsyncIterator[None]:
        """Wait for a place, then for the provider's pause to end."""
        if self._free > 0:
            self._free -= 1
        else:
            mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._queue, (priority, next(self._count), mine))
            try:
                await mine
            except asyncio.CancelledError:
                if mine.done() and not mine.cancelled():
                    self._leave()
                raise
        try:
            while (pause := self._not_before - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(pause)
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._free < 0 or not self._wake():
            self._free += 1

    def _wake(self) -> bool:
        """Give a place to who is first of those that wait; False when nobody does."""
        while self._queue:
            future = heapq.heappop(self._queue)[2]
            if not future.done():
                future.set_result(None)
                return True
        return False


class Pace:
    """One gate a provider. ``places`` is how many calls may be under way at once (GitHub allows 100 in all)."""

    def __init__(self, places: int = 16) -> None:
        self._places = places
        self._gates: dict[str, Gate] = {}

    def __getitem__(self, provider: str) -> Gate:
        if provider not in self._gates:
            self._gates[provider] = Gate(self._places)
        return self._gates[provider]

    def told(self) -> dict[str, list[float]]:
        """What the other workers are to know: provider -> calls that need a place, seconds of a pause."""
        said = {name: [float(gate.needs), gate.rest_s] for name, gate in self._gates.items()}
        return {name: both for name, both in said.items() if any(both)}

    def seen(self) -> dict[str, dict[str, Any]]:
        """Provider -> what is known of it."""
        return {name: gate.told() for name, gate in self._gates.items()}

    def share(self, others: Iterable[Mapping[str, list[float]]]) -> None:
        """Keep a part of the places, by what each worker needs, where all of them need more than there are."""
        heard = list(others)
        for name in {name for one in heard for name in one} | set(self._gates):
            gate = self[name]
            theirs = sum(one.get(name, [0.0, 0.0])[0] for one in heard)
            mine = gate.needs
            fair = round(self._places * mine / (mine + theirs)) if theirs else self._places
            gate.resize(max(1, fair, int(self._places - theirs)))
            gate.hold(max([one.get(name, [0.0, 0.0])[1] for one in heard], default=0.0))
