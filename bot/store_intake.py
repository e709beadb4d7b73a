"""What the inbox keeps beside its rows: under which names a credential is known, and facts that open nothing.

Deliveries that come at once share a commit: who waits for its turn to write finds that another has written for it.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from bot.errors import BulkheadError, EngineError
from bot.store import Store, canonical, insert_once
from bot.tables import fact, inbox, known_as

DEAD, HELD, LANDED, WORKED = "dead", "held", "landed", "worked"
MOST = 200  # deliveries in one transaction
Write = Callable[[sa.Connection], bool]


@dataclass(slots=True)
class _Waiting:
    write: Write
    tried: bool = False
    new: bool | None = None  # None until it is written: what is not known to be written is not acknowledged


class Lander:
    """One commit for all who come at once, without a thread of its own. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: list[_Waiting] = []
        self._queued, self._turn = threading.Lock(), threading.Lock()

    def land(self, write: Write) -> bool:
        """Run ``write`` in a transaction, perhaps together with others; what it returned, once that is committed.

        Raises EngineError when the database does not take it.
        """
        mine = _Waiting(write)
        with self._queued:
            self._queue.append(mine)
        with self._turn:
            if not mine.tried:
                self._commit()
        if mine.new is None:
            raise EngineError("the database did not take the delivery")
        return mine.new

    def _commit(self) -> None:
        """Write for everybody who waits; whoever holds the turn is among them."""
        while True:
            with self._queued:
                batch, self._queue = self._queue[:MOST], self._queue[MOST:]
            if not batch:
                return
            for one in batch:
                one.tried = True
            if not self._together(batch) and len(batch) > 1:
                for one in batch:  # one that cannot be written must not take the others with it
                    self._together([one])

    def _together(self, batch: list[_Waiting]) -> bool:
        try:
            with self._store.begin() as connection:
                results = [one.write(connection) for one in batch]
        except (sa.exc.SQLAlchemyError, BulkheadError, ValueError):
            return False
        for one, new in zip(batch, results, strict=True):
            one.new = new
        return True


class Known:
    """Name of a credential -> the newest incident that deals with it, in one World."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, world: str, names: Iterable[str]) -> dict[str, str]:
        """The incidents that these names lead to."""
        wanted = sorted(set(names))
        query = sa.select(known_as.c.name, known_as.c.incident).where(known_as.c.world == world)
        with self._store.connect() as c:
            return {row.name: row.incident for row in c.execute(query.where(known_as.c.name.in_(wanted)))}

    def add(self, connection: sa.Connection, world: str, names: Iterable[str], incident: str) -> None:
        """Know these names too; one that leads to an incident already goes on leading there."""
        for name in sorted(set(names)):
            insert_once(connection, known_as, {"world": world, "name": name, "incident": incident})

    def move(self, connection: sa.Connection, world: str, names: Iterable[str], incident: str) -> None:
        """From now on these names lead to this incident."""
        for name in sorted(set(names)):
            row = {"world": world, "name": name, "incident": incident}
            if not insert_once(connection, known_as, row):
                where = (known_as.c.world == world, known_as.c.name == name)
                connection.execute(sa.update(known_as).where(*where).values(incident=incident))

    def of(self, world: str, incident: str) -> list[str]:
        """The names that lead to an incident."""
        query = sa.select(known_as.c.name).where(known_as.c.world == world, known_as.c.incident == incident)
        with self._store.connect() as c:
            return sorted(c.execute(query).scalars())


class Facts:
    """Events of providers that may tell later."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def land(self, connection: sa.Connection, row: Mapping[str, Any]) -> bool:
        """Insert one; False when it is here already."""
        return insert_once(connection, fact, {**row, "body": canonical(row["body"])})

    def find(self, *, repository: str = "", kind: str = "", since: str = "", until: str = "~") -> list[dict[str, Any]]:
        """Facts in the order in which they happened; ``kind`` is the beginning of one. Times are ISO 8601 UTC."""
        query = sa.select(fact).where(fact.c.at >= since, fact.c.at < until).order_by(fact.c.at, fact.c.id)
        if repository:
            query = query.where(fact.c.repository == repository)
        if kind:
            query = query.where(fact.c.kind.startswith(kind, autoescape=True))
        with self._store.connect() as c:
            return [{**row, "body": json.loads(row["body"])} for row in c.execute(query).mappings()]

    def forget(self, before: str) -> int:
        """Forget what landed before then (ISO 8601 UTC); returns how many that were."""
        with self._store.begin() as c:
            return int(c.execute(sa.delete(fact).where(fact.c.landed_at < before)).rowcount)


def waiting(store: Store, most: int) -> list[dict[str, Any]]:
    """Landed deliveries, what is worst first and then what came first; ``body`` decoded."""
    query = sa.select(inbox).where(inbox.c.state == LANDED).order_by(inbox.c.rank, inbox.c.landed_at, inbox.c.id)
    with store.connect() as c:
        return [{**row, "body": json.loads(row["body"])} for row in c.execute(query.limit(most)).mappings()]


def settle(connection: sa.Connection, rows: Iterable[tuple[str, str, str]]) -> None:
    """(id, state, note) of deliveries: what became of them."""
    values = [{"i": i, "s": state, "n": note} for i, state, note in rows]
    if values:
        changed = sa.update(inbox).where(inbox.c.id == sa.bindparam("i"))
        connection.execute(changed.values(state=sa.bindparam("s"), note=sa.bindparam("n")), values)


def again(store: Store, inbox_id: str, body: Mapping[str, Any] | None = None) -> bool:
    """Let a delivery that was dead or held be worked again; False when it is neither."""
    values: dict[str, Any] = {"state": LANDED, "note": ""} | ({"body": canonical(body)} if body is not None else {})
    with store.begin() as c:
        where = (inbox.c.id == inbox_id, inbox.c.state.in_((DEAD, HELD)))
        return bool(c.execute(sa.update(inbox).where(*where).values(**values)).rowcount)


def counts(store: Store) -> Counter[str]:
    """How many deliveries are in which state."""
    query = sa.select(inbox.c.state, sa.func.count()).group_by(inbox.c.state)
    with store.connect() as c:
        return Counter({str(state): int(number) for state, number in c.execute(query)})


def latest(store: Store) -> dict[str, tuple[str, int]]:
    """Source -> when it delivered last (ISO 8601 UTC), and how often in all."""
    query = sa.select(inbox.c.source, sa.func.max(inbox.c.landed_at), sa.func.count()).group_by(inbox.c.source)
    with store.connect() as c:
        return {str(source): (str(at), int(number)) for source, at, number in c.execute(query)}


def oldest(store: Store) -> str:
    """When the oldest delivery landed that nobody has worked yet (ISO 8601 UTC); "" when none waits."""
    with store.connect() as c:
        return c.scalar(sa.select(sa.func.min(inbox.c.landed_at)).where(inbox.c.state == LANDED)) or ""


def listed(store: Store, state: str = "", most: int = 100) -> list[dict[str, Any]]:
    """The newest deliveries, without what they hold."""
    columns = [column for column in inbox.c if column.name != "body"]
    query = sa.select(*columns).order_by(inbox.c.landed_at.desc(), inbox.c.id).limit(most)
    if state:
        query = query.where(inbox.c.state == state)
    with store.connect() as c:
        return [dict(row) for row in c.execute(query).mappings()]
