"""The door: one delivery in, one plain answer out. Proven, read, landed, acknowledged; worked after.

A source that is not open looks like one that does not exist. What is refused is counted by source and reason, and the
sender is told no more than a status and a sentence. No delivery ends in an error of ours that a sender could cause.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from bot.errors import EngineError, Undeliverable
from bot.intake.delivery import Delivery
from bot.intake.inbox import Inbox
from bot.intake.sources import Source
from bot.intake.wire import MAX_BODY
from bot.world import REAL

NOBODY = "(none)"  # the source of deliveries to addresses that do not exist: their names are the senders' to choose


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the sender gets. ``id`` is the inbox's, '' when nothing was landed."""

    status: int
    text: str
    id: str = ""


class Door:
    """Takes deliveries. Thread-safe."""

    def __init__(self, sources: Mapping[str, Source], inbox: Inbox, *, world: str = REAL) -> None:
        """``world``: to which World belongs what comes in."""
        self.sources, self._inbox, self._world = sources, inbox, world
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def open(self, name: str) -> bool:
        """Whether there is such a source. One that is not is counted."""
        if name in self.sources:
            return True
        self.count(NOBODY, "unknown-source")
        return False

    def count(self, source: str, outcome: str) -> None:
        """Count one delivery."""
        with self._lock:
            self._counts[source, outcome] += 1

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        """(source, outcome) -> deliveries since this process began. Outcomes: landed, again, declined, or a reason."""
        with self._lock:
            return dict(self._counts)

    def receive(self, delivery: Delivery) -> Answer:
        """Prove, read, land. ``delivery.source`` is open."""
        source = self.sources[delivery.source]
        answer, outcome = self._received(source, delivery)
        self.count(source.name, outcome)
        return answer

    def _received(self, source: Source, delivery: Delivery) -> tuple[Answer, str]:
        try:
            if len(delivery.body) > MAX_BODY:
                raise Undeliverable("the body is larger than 25 MB", 413, "size")
            sender = source.prove(delivery)
        except Undeliverable as exc:
            return Answer(status=exc.status, text=str(exc)), exc.reason
        try:
            try:
                reading = source.read(delivery, sender)
            except Undeliverable as exc:
                if exc.status < 500:
                    self._inbox.refuse(delivery, str(exc))
                return Answer(status=exc.status, text=str(exc)), exc.reason
            if reading.empty:
                return Answer(status=202, text=f"declined: {reading.note}"), "declined"
            landed = self._inbox.receive(delivery, sender, reading, self._world)
        except EngineError:
            return Answer(status=503, text="it could not be stored now; send it again"), "database"
        text = "landed" if landed.new else "was here already"
        return Answer(status=202, text=text, id=landed.id), "landed" if landed.new else "again"
