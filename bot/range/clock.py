"""The range's clock: the machine's, moved by an offset. Every server of the range reads it and no other."""

from __future__ import annotations

import threading
import time as machine
from datetime import UTC, datetime


class RangeClock:
    """Now, in UTC, plus ``offset`` seconds. Safe to use from every thread."""

    def __init__(self, offset: float = 0.0) -> None:
        self._offset = offset
        self._lock = threading.Lock()

    @property
    def offset(self) -> float:
        """Seconds ahead of the machine's clock (negative: behind)."""
        return self._offset

    def time(self) -> float:
        """Seconds since the epoch."""
        return machine.time() + self._offset

    def now(self) -> datetime:
        """An aware datetime in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def advance(self, seconds: float) -> None:
        """Move the clock; a negative number moves it back."""
        with self._lock:
            self._offset += seconds

    def set(self, offset: float) -> None:
        """Put the clock ``offset`` seconds ahead of the machine's."""
        with self._lock:
            self._offset = offset
