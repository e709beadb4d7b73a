"""How many calls a provider gets at once, and who goes first: cuts before everything else.

When a provider asks for a pause (retry-after), nobody calls it until the pause is over.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.model import Effect

PRIORITY = {Effect.CONTAIN: 0, Effect.READ: 1, Effect.CHANGE: 2, Effect.DESTROY: 2, Effect.PUBLISH: 2}
PLAN = 5  # looks that only fill the card


class Gate:
    """A semaphore that wakes the waiter of the best priority, first come first served among equals."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = itertools.count()
        self._not_before = 0.0

    def hold(self, seconds: float) -> None:
        """Let nobody in for so long, as the provider asked."""
        self._not_before = max(self._not_before, asyncio.get_running_loop().time() + seconds)

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
        while self._queue:
            future = heapq.heappop(self._queue)[2]
            if not future.done():
                future.set_result(None)
                return
        self._free += 1


class Pace:
    """One gate a provider. ``places`` is how many calls may be under way at once (GitHub allows 100 in all)."""

    def __init__(self, places: int = 16) -> None:
        self._places = places
        self._gates: dict[str, Gate] = {}

    def __getitem__(self, provider: str) -> Gate:
        if provider not in self._gates:
            self._gates[provider] = Gate(self._places)
        return self._gates[provider]
