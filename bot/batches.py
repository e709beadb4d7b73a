"""Calls that come while one is under way go together in the next: a group commit, where a provider takes many at once.

GitHub takes 1,000 tokens in one request to revoke them, and 60 such requests an hour from one address
(docs.github.com/rest/credentials/revoke; rate limits for unauthenticated requests). With a request a token, the 61st of
a leak would live an hour longer.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
HOUR_S = 3600.0
LONGEST_S = 2.0  # that a request waits for others to come along


class _Batch(Generic[T]):
    """Who goes together. Each part is what one caller brought."""

    def __init__(self) -> None:
        self.parts: list[Sequence[T]] = []
        self.failed: dict[int, Exception] = {}  # part -> what became of it
        self.done = threading.Event()


class Batches(Generic[T]):
    """``send`` is called by one thread at a time, with what all have brought meanwhile, ``most`` at most.

    Where a batch is refused (an error of ``alone``), each part is sent by itself: one that cannot be taken must not
    keep the others. Any other error is everybody's. ``an_hour``: so many requests the provider takes; the more of them
    are used up, the longer one waits for others, so that the first go at once and the last hold many.
    """

    def __init__(
        self, send: Callable[[Sequence[T]], None], most: int, alone: type[Exception], an_hour: int = 0
    ) -> None:
        self._send, self._most, self._alone, self._an_hour = send, most, alone, an_hour
        self._sent: deque[float] = deque()  # when, of those of the last hour
        self._forming: _Batch[T] = _Batch()
        self._lock, self._turn = threading.Lock(), threading.Lock()

    def add(self, items: Sequence[T]) -> None:
        """Return when a request that held these has ended. Raises what became of it."""
        with self._lock:
            if sum(map(len, self._forming.parts)) + len(items) > self._most:
                self._forming = _Batch()  # the full one has its leader already
            batch, mine = self._forming, len(self._forming.parts)
            batch.parts.append(items)
        if mine == 0:
            self._lead(batch)
        batch.done.wait()
        if mine in batch.failed:
            raise batch.failed[mine]

    def _lead(self, batch: _Batch[T]) -> None:
        with self._turn:
            self._gather()
            with self._lock:
                if self._forming is batch:
                    self._forming = _Batch()  # who comes now waits for the next
            try:
                self._all(batch)
            finally:
                batch.done.set()

    def _gather(self) -> None:
        """Wait for company, as far as requests are getting scarce."""
        if not self._an_hour:
            return
        while self._sent and time.monotonic() - self._sent[0] > HOUR_S:
            self._sent.popleft()
        time.sleep(LONGEST_S * min(1.0, len(self._sent) / self._an_hour) ** 2)
        self._sent.append(time.monotonic())

    def _all(self, batch: _Batch[T]) -> None:
        try:
            self._send([item for part in batch.parts for item in part])
        except self._alone as exc:
            if len(batch.parts) == 1:
                batch.failed[0] = exc
                return
        except Exception as exc:  # noqa: BLE001 - it is raised again where each part came from
            batch.failed = dict.fromkeys(range(len(batch.parts)), exc)
            return
        else:
            return
        for number, part in enumerate(batch.parts):
            try:
                self._send(part)
            except Exception as exc:  # noqa: BLE001 - the same
                batch.failed[number] = exc
