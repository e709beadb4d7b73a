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
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from bot.errors import EngineError, FencedOut, StoreAway
from bot.store import PATIENCE_S, Store, canonical, said
from bot.tables import timeline

SCHEMA = 1
GENESIS = "0" * 64
KEY = ("incident", "step", "kind", "attempt")
COLUMNS = tuple(column.name for column in timeline.columns)
BATCH = 500  # events a transaction


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
        if (
            row["body"] is not None
            and hashlib.sha256(canonical(row["body"]).encode()).hexdigest() != row["body_sha256"]
        ):
            wrong.append(f"the body of event {position} ({row['step']} {row['kind']}) was changed")
        prev = row["hash"]
    if head_n != len(rows) or (rows and head_hash != prev):
        wrong.append(f"the head says {head_n} events, the timeline has {len(rows)}")
    return wrong


def broken(store: Store, incident_id: str) -> list[str]:
    """``verify`` of an incident that others may write on meanwhile. Raises InputError for an unknown one."""
    return verify(*store.chain(incident_id))


@dataclass(slots=True)
class _Queued:
    row: dict[str, Any]
    fence: Fence | None
    done: Future[Event]


class Timeline:
    """The writer. ``fence_sql`` asks the engine's tables which run owns each workflow that is ``IN :w``."""

    def __init__(self, store: Store, fence_sql: str = "") -> None:
        self._store, self._sql = store, _Sql(sqlite=store.sqlite, fence=fence_sql)
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
        self,
        incident_id: str,
        step: str,
        kind: str,
        body: Any,
        *,
        at: str,
        attempt: int = 1,
        fence: Fence | None = None,
    ) -> Future[Event]:
        """Queue one event. The future gives the event that stands; raises FencedOut when the fence does not hold."""
        text = canonical(body)
        row = {
            "incident": incident_id, "step": step, "kind": kind, "attempt": attempt, "at": at, "schema": SCHEMA,
            "body": text,
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
                batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
                if not batch:
                    return
            # Who waited may have been cancelled (an abort, the end of a background look). What has not begun is left
            # out; from here on a cancel is refused, or the answer below would be one too many and end this thread.
            batch = [queued for queued in batch if queued.done.set_running_or_notify_cancel()]
            if not batch:
                continue
            try:
                results = self._commit(batch)
            except EngineError as exc:
                # Nothing of the batch landed: every caller is told, and looks again when it resumes.
                for queued in batch:
                    queued.done.set_exception(type(exc)(str(exc)))
                continue
            for queued, (event, new) in zip(batch, results, strict=True):
                if event is None:
                    queued.done.set_exception(FencedOut(f"{queued.row['incident']} is owned by another worker"))
                    continue
                if new:
                    for tell in self._listeners:
                        tell(event)
                queued.done.set_result(event)

    def _commit(self, batch: list[_Queued]) -> list[tuple[Event | None, bool]]:
        """Write a batch in one transaction; again when the database was away: what landed already is found then.

        Raises StoreAway when the database stays away, EngineError when it does not take it.
        """
        give_up, repeated = time.monotonic() + PATIENCE_S, False
        while True:
            try:
                with self._store.begin() as connection:
                    return self._write(connection, batch, repeated=repeated)
            except sa.exc.IntegrityError as exc:
                if repeated:
                    raise EngineError(f"the database did not take the event: {type(exc).__name__}") from None
                repeated = True  # one of them stands already, which is seldom: only now it is asked which
                continue
            except sa.exc.SQLAlchemyError as exc:
                if not self._store.passing(exc):
                    raise EngineError(f"the database did not take the event: {said(exc)}") from None
                if time.monotonic() > give_up:
                    raise StoreAway(f"the database takes no event: {said(exc)}") from None
            time.sleep(0.1)

    def _write(self, c: sa.Connection, batch: list[_Queued], *, repeated: bool) -> list[tuple[Event | None, bool]]:
        """One event for each that is queued, and whether it is new; None where its fence does not hold.

        Rows are locked in one order in every process, fences first, so that no two writers wait for each other.
        """
        owners = self._owners(c, {queued.fence.workflow for queued in batch if queued.fence})
        heads = self._heads(c, {queued.row["incident"] for queued in batch})
        standing = self._standing(c, [queued.row for queued in batch]) if repeated else {}
        results: list[tuple[Event | None, bool]] = []
        fresh, grown = [], {}
        for queued in batch:
            row, fence, key = queued.row, queued.fence, _key(queued.row)
            if row["incident"] not in heads or (fence and owners.get(fence.workflow) != fence.owner):
                results.append((None, False))
            elif key in standing:
                results.append((standing[key], False))
            else:
                n, prev = heads[row["incident"]]
                full = {**row, "n": n + 1, "prev_hash": prev or GENESIS}
                full["hash"] = link(full["prev_hash"], full)
                heads[row["incident"]] = grown[row["incident"]] = (n + 1, full["hash"])
                standing[key] = _event(full)
                fresh.append(full)
                results.append((standing[key], True))
        if fresh:
            self._add(c, fresh, grown)
        return results

    def _add(self, c: sa.Connection, fresh: list[dict[str, Any]], grown: dict[str, tuple[int, str]]) -> None:
        """Insert the rows, move the heads, and note what has become of an incident."""
        sql = self._sql
        c.exec_driver_sql(sql.insert, [tuple(row[name] for name in COLUMNS) for row in fresh])
        c.exec_driver_sql(sql.head, [(n, last, name) for name, (n, last) in grown.items()])
        if changed := {row["incident"]: now for row in fresh if (now := _status_after(row))}:
            c.exec_driver_sql(sql.status, [(now, name) for name, now in changed.items()])

    def _owners(self, c: sa.Connection, workflows: set[str]) -> dict[str, str]:
        """Who owns these workflows, until the transaction ends."""
        if not workflows:
            return {}
        found = c.exec_driver_sql(self._sql.owners, (self._sql.listed(sorted(workflows)),))
        return {row[0]: row[1] for row in found}

    def _heads(self, c: sa.Connection, incidents: set[str]) -> dict[str, tuple[int, str]]:
        """The heads of these incidents, locked until the transaction ends."""
        found = c.exec_driver_sql(self._sql.heads, (self._sql.listed(sorted(incidents)),))
        return {name: (n, last) for name, n, last in found}

    @staticmethod
    def _standing(c: sa.Connection, rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], Event]:
        """Which of these events stand already."""
        columns = sa.tuple_(*(timeline.c[name] for name in KEY))
        found = c.execute(sa.select(timeline).where(columns.in_([_key(row) for row in rows]))).mappings()
        return {_key(row): _event(row) for row in found}


class _Sql:
    """What every event costs, as the driver takes it: built by SQLAlchemy each time, it took three times as long."""

    def __init__(self, *, sqlite: bool, fence: str) -> None:
        place = "?" if sqlite else "%s"
        among = "IN (SELECT value FROM json_each(?))" if sqlite else "= ANY(%s)"  # a list as one parameter
        lock = "" if sqlite else " FOR UPDATE"  # on SQLite the transaction has the only write lock
        names, places = ", ".join(f'"{name}"' for name in COLUMNS), ", ".join([place] * len(COLUMNS))
        self.listed: Callable[[list[str]], Any] = json.dumps if sqlite else list
        self.owners = fence.replace("IN :w", among)
        # All parts are words of this file: values go as parameters.
        self.heads = f"SELECT id, head_n, head_hash FROM incident WHERE id {among} ORDER BY id{lock}"  # noqa: S608 - our words
        self.insert = f"INSERT INTO timeline ({names}) VALUES ({places})"  # noqa: S608 - our words
        self.head = f"UPDATE incident SET head_n = {place}, head_hash = {place} WHERE id = {place}"  # noqa: S608 - our words
        self.status = f"UPDATE incident SET status = {place} WHERE id = {place}"  # noqa: S608 - our words


def _status_after(row: dict[str, Any]) -> str:
    """What an incident is after an event, where the event says so: its status is the timeline's last word, cached."""
    if row["step"] == "incident" and row["kind"] in ("closed", "aborted"):
        return str(row["kind"])
    return "open" if row["kind"] == "undone" and json.loads(row["body"])["kills"] else ""


def _key(row: Any) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def _event(row: Any) -> Event:
    return Event(**{**row, "body": None if row["body"] is None else json.loads(row["body"])})


def steps_using(store: Store, action: str) -> list[tuple[str, str]]:
    """Incident and step of every step that has looked with this action, oldest first."""
    looked = timeline.c.body.like(f'%"uses":"{action}"%')
    query = sa.select(timeline.c.incident, timeline.c.step).where(timeline.c.kind == "look", looked)
    with store.connect() as c:
        return [(row.incident, row.step) for row in c.execute(query.order_by(timeline.c.at, timeline.c.incident))]


def last_of(store: Store, incident_id: str, step: str, kind: str) -> Event | None:
    """The newest event of a kind in one step of an incident, or None."""
    where = (timeline.c[name] == value for name, value in zip(KEY, (incident_id, step, kind), strict=False))
    with store.connect() as c:
        found = c.execute(sa.select(timeline).where(*where).order_by(timeline.c.n.desc()).limit(1)).mappings().first()
    return _event(found) if found else None


def load(store: Store, incident_id: str, after_n: int = 0) -> list[Event]:
    """The events of an incident, in order."""
    return [Event(**row) for row in store.events(incident_id, after_n)]
