"""Drills that were asked for, in the store: whoever wants one writes a row, the worker runs it.

The row's id is the order's own (a click, or a schedule and its time), so what is ordered twice is run once. It is also
the key under which the drill's report lands: from an incident's row one finds back to its order.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from bot.store import Store, insert_once
from bot.tables import drill_order as table

SOURCE = "drill"  # of the report in the inbox
ORDERED, RUNNING, OVER, FAILED = "ordered", "running", "over", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One drill that is to be run. ``channel``: where it is told ("" = where drills are told otherwise)."""

    id: str
    drill: str
    by: str  # who asked for it, as decisions name people
    channel: str = ""
    at: str
    state: str = ORDERED  # then running, at last over, or failed: it did not come to its end
    incident: str = ""  # once it is open
    note: str = ""  # why it failed
    told: str = ""  # the state that whoever ordered was told of last

    @property
    def report(self) -> str:
        """The id of its report in the inbox."""
        return f"{SOURCE}:{self.id}"


class Orders:
    """The rows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def order(self, order: Order) -> bool:
        """Ask for a drill; False when this very order stands already."""
        with self._store.begin() as c:
            return insert_once(c, table, asdict(order))

    def standing(self, *states: str) -> list[Order]:
        """Orders in these states, oldest first."""
        query = sa.select(table).where(table.c.state.in_(states)).order_by(table.c.at, table.c.id)
        with self._store.connect() as c:
            return [Order(**row) for row in c.execute(query).mappings()]

    def untold(self) -> list[Order]:
        """Orders of which there is something that nobody was told of, oldest first."""
        query = sa.select(table).where(table.c.told != table.c.state, table.c.state != ORDERED)
        with self._store.connect() as c:
            return [Order(**row) for row in c.execute(query.order_by(table.c.at, table.c.id)).mappings()]

    def of_report(self, inbox_id: str) -> Order | None:
        """The order that a report in the inbox came of."""
        source, _, name = inbox_id.partition(":")
        if source != SOURCE:
            return None
        with self._store.connect() as c:
            row = c.execute(sa.select(table).where(table.c.id == name)).mappings().first()
        return Order(**row) if row else None

    def change(self, order_id: str, **values: Any) -> None:
        """Write what has become of it: state, incident, note."""
        with self._store.begin() as c:
            c.execute(sa.update(table).where(table.c.id == order_id).values(**values))
