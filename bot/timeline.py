"""The timeline: append-only, hash-chained, one writer. It is the engine's journal too.

An event's key is (incident, step, kind, attempt): appended again, the first one is returned. The chain covers the
digest of a body, so that a body can be tombstoned later without breaking it. The writer takes all that is queued and
commits it in one transaction (group commit); an event of a workflow lands only while that workflow's run still owns
it (``Fence``), so that a worker which was stopped and woke again can write nothing.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from bot.errors import EngineError, FencedOut
from bot.store import Store, canonical, incident, timeline

SCHEMA = 1
GENESIS = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the timeline. ``body`` is None once tombstoned."""

    incident: str
    n: int
    step: str
    kind: str
    attempt: int
    at: str
    body: Any
    body_sha256: str
    prev_hash: str
    hash: str
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class Fence:
    """A workflow and the token of the run that writes."""

    workflow: str
    owner: str


def link(prev_hash: str, row: dict[str, Any]) -> str:
    """The hash of one line: over the line before and all columns but the body, of which it takes the digest."""
    names = ("incident", "n", "step", "kind", "attempt", "at", "schema", "body_sha256")
    return hashlib.sha256((prev_hash + canonical({name: row[name] for name in names})).encode()).hexdigest()


def verify(rows: list[dict[str, Any]], head_n: int, head_hash: str) -> list[str]:
    """What is wrong with a chain, in sentences; empty when it holds."""
    wrong, prev = [], GENESIS
    for position, row in enumerate(rows, start=1):
        if row["n"] != position:
            wrong.append(f"event {position} is missing")
            break
        if row["prev_hash"] != prev or link(prev, row) != row["hash"]:
            wrong.append(f"event {position} ({row['step']} {row['kind']}) does not follow from the one before")
        if row["body"] is not None and hashlib.sha256(canonical(row["body"]).encode()).hexdigest() != row["body_sha256"]:
            wrong.append(f"the body of event {position} ({row['step']} {row['kind']}) was changed")
        prev = row["hash"]
    if head_n != len(rows) or (rows and head_hash != prev):
        wrong.append(f"the head says {head_n} events, the timeline has {len(rows)}")
    return wrong


@dataclass(slots=True)
class _Queued:
    row: dict[str, Any]
    fence: Fence | None
    done: Future[Event]


class Timeline:
    """The writer. ``fence_sql`` asks the engine's tables whether a fence still holds."""

    def __init__(self, store: Store, fence_sql: str = "") -> None:
        self._store, self._fence_sql = store, fence_sql
        self._queue: list[_Queued] = []
        self._wake = threading.Condition()
        self._stopped = False
        self._listeners: list[Callable[[Event], object]] = []
        self._thread = threading.Thread(target=self._work, name="timeline", daemon=True)
        self._thread.start()

    def listen(self, tell: Callable[[Event], object]) -> None:
        """Call ``tell`` after each new event has been committed. It must not block or raise."""
        self._listeners.append(tell)

    def append(
        self, incident_id: str, step: str, kind: str, body: Any, *, at: str, attempt: int = 1, fence: Fence | None = None
    ) -> Future[Event]:
        """Queue one event. The future gives the event that stands; raises FencedOut when the fence does not hold."""
        text = canonical(body)
        row = {
            "incident": incident_id, "step": step, "kind": kind, "attempt": attempt, "at": at, "schema": SCHEMA, "body": text,
            "body_sha256": hashlib.sha256(text.encode()).hexdigest(),
        }  # fmt: skip
        queued = _Queued(row, fence, Future())
        with self._wake:
            if self._stopped:
                raise EngineError("the timeline's writer has stopped")
            self._queue.append(queued)
            self._wake.notify()
        return queued.done

    def close(self) -> None:
        """Write what is queued, then stop."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._stopped:
                    self._wake.wait()
                batch, self._queue = self._queue, []
                if not batch:
                    return
            try:
                with self._store.begin() as connection:
                    results = [self._write(connection, queued) for queued in batch]
            except sa.exc.SQLAlchemyError as exc:
                # Nothing of the batch landed: every caller is told, and looks again when it resumes.
                for queued in batch:
                    queued.done.set_exception(EngineError(f"the database did not take the event: {type(exc).__name__}"))
                continue
            for queued, (event, new) in zip(batch, results, strict=True):
                if event is None:
                    queued.done.set_exception(FencedOut(f"{queued.row['incident']} is owned by another worker"))
                    continue
                if new:
                    for tell in self._listeners:
                        tell(event)
                queued.done.set_result(event)

    def _write(self, c: sa.Connection, queued: _Queued) -> tuple[Event | None, bool]:
        row, fence = queued.row, queued.fence
        if fence and c.execute(sa.text(self._fence_sql), {"w": fence.workflow, "o": fence.owner}).first() is None:
            return None, False
        head_query = sa.select(incident.c.head_n, incident.c.head_hash).where(incident.c.id == row["incident"])
        head = c.execute(head_query if self._store.sqlite else head_query.with_for_update()).first()
        if head is None:
            return None, False
        key = [timeline.c[name] == row[name] for name in ("incident", "step", "kind", "attempt")]
        stands = c.execute(sa.select(timeline).where(*key)).mappings().first()
        if stands is not None:
            return _event(stands), False
        full = {**row, "n": head.head_n + 1, "prev_hash": head.head_hash or GENESIS}
        full["hash"] = link(full["prev_hash"], full)
        c.execute(sa.insert(timeline).values(**full))
        c.execute(
            sa.update(incident).where(incident.c.id == row["incident"]).values(head_n=full["n"], head_hash=full["hash"])
        )
        return _event(full), True


def _event(row: Any) -> Event:
    return Event(**{**row, "body": None if row["body"] is None else json.loads(row["body"])})


def load(store: Store, incident_id: str, after_n: int = 0) -> list[Event]:
    """The events of an incident, in order."""
    return [Event(**row) for row in store.events(incident_id, after_n)]
