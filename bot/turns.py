"""Turns at one thing that only one may hold: first whoever is urgent, then the others as they come."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock of threads, with two queues.

    A plain lock promises no order: whoever asks the moment that it is free may have it before one who has waited long.
    """

    def __init__(self) -> None:
        lock = threading.Lock()
        self._urgent, self._ordinary = threading.Condition(lock), threading.Condition(lock)
        self._held = False
        self.waiting = {True: 0, False: 0}
        """How many wait, by whether they are urgent."""

    @contextmanager
    def turn(self, *, urgent: bool = False) -> Iterator[None]:
        """Wait for it and hold it while the block runs. Not to be asked for by who holds it."""
        queue = self._urgent if urgent else self._ordinary
        with queue:
            self.waiting[urgent] += 1
            try:
                queue.wait_for(lambda: not self._held and (urgent or not self.waiting[True]))
                self._held = True
            finally:
                self.waiting[urgent] -= 1
        try:
            yield
        finally:
            with self._urgent:
                self._held = False
                (self._urgent if self.waiting[True] else self._ordinary).notify()
