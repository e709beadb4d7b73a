"""The journal of one running incident: its timeline, read once, then written event by event.

``once(step, kind)``: an event that stands is returned; otherwise do the thing and write it. What a crash between the
two repeats is the thing, so it must be safe to do twice. ``boundary`` is called around every durable write; tests
kill the process there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from bot.engine.ledger import Ledger
from bot.store import Store, iso
from bot.timeline import Event, Fence, Timeline, load
from bot.world import Clock

Boundary = Callable[[str], None]


class Journal:
    """Events by (step, kind, attempt), the ledger that they make, and the one way to add to them."""

    def __init__(
        self, incident: str, store: Store, timeline: Timeline, clock: Clock, fence: Fence, boundary: Boundary
    ) -> None:
        self.incident = incident
        self._store = store
        self._timeline, self._clock, self._fence, self._boundary = timeline, clock, fence, boundary
        self._events: dict[tuple[str, str, int], Event] = {}
        self._last: dict[tuple[str, str], Event] = {}
        self._kinds: dict[str, list[Event]] = {}
        self._newest = 0
        self.ledger = Ledger()
        for event in load(store, incident):
            self._take(event)

    async def refresh(self) -> None:
        """Read what others have added: an undo is a run of its own."""
        for event in await asyncio.to_thread(load, self._store, self.incident, self._newest):
            self._take(event)

    def _take(self, event: Event) -> None:
        if (event.step, event.kind, event.attempt) not in self._events:
            self._events[event.step, event.kind, event.attempt] = event
            self._kinds.setdefault(event.kind, []).append(event)
            last = self._last.get((event.step, event.kind))
            if last is None or event.attempt > last.attempt:
                self._last[event.step, event.kind] = event
            self._newest = max(self._newest, event.n)
            self.ledger.take(event)

    @property
    def events(self) -> list[Event]:
        """In order."""
        return sorted(self._events.values(), key=lambda e: e.n)

    def find(self, step: str, kind: str, attempt: int = 1) -> Event | None:
        """The event that stands, or None."""
        return self._events.get((step, kind, attempt))

    def last(self, step: str, kind: str) -> Event | None:
        """The newest attempt of a kind, or None."""
        return self._last.get((step, kind))

    def of_kind(self, kind: str) -> list[Event]:
        """All of one kind, in order."""
        return sorted(self._kinds.get(kind, ()), key=lambda e: e.n)

    async def write(self, step: str, kind: str, body: Any, attempt: int = 1) -> Event:
        """Append and wait until it is durable. Raises FencedOut when another worker owns the incident now."""
        stands = self.find(step, kind, attempt)
        if stands is not None:
            return stands
        name = f"{step}/{kind}/{attempt}"
        self._boundary(f"before {name}")
        at = iso(self._clock.now())
        future = self._timeline.append(self.incident, step, kind, body, at=at, attempt=attempt, fence=self._fence)
        event = await asyncio.wrap_future(future)
        self._take(event)
        self._boundary(f"after {name}")
        return event

    async def once(self, step: str, kind: str, make: Callable[[], Awaitable[Any]], attempt: int = 1) -> Event:
        """The event that stands, or what ``make`` gives, written."""
        stands = self.find(step, kind, attempt)
        return stands if stands is not None else await self.write(step, kind, await make(), attempt)
