"""Drills that were asked for, in the store: whoever wants one writes a row, the worker runs it.

The row's id is the order's own (a click, or a schedule and its time), so what is ordered twice is run once. It is also
the key under which the drill's report lands: from an incident's row one finds back to its order.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa

from bot.errors import InputError
from bot.store import Store, insert_once
from bot.tables import drill_order as table
from bot.tables import drill_schedule

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """One schedule, as ``bot.schedule`` reads it."""

    id: str
    drill: str
    day: str
    time: str
    zone: str
    channel: str = ""
    missed: str
    skips: str = ""  # ISO dates with commas
    by: str
    last: str


class Schedules:
    """The rows of schedules. Whoever decides on a nominal time writes order and ``last`` in one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[ScheduleRow]:
        """Every schedule, by its id."""
        with self._store.connect() as c:
            found = c.execute(sa.select(drill_schedule).order_by(drill_schedule.c.id)).mappings()
            return [ScheduleRow(**row) for row in found]

    def add(self, row: ScheduleRow) -> bool:
        """Keep a schedule; False when there is one with its id."""
        with self._store.begin() as c:
            return insert_once(c, drill_schedule, asdict(row))

    def get(self, name: str) -> ScheduleRow:
        """The schedule of this id. Raises InputError when there is none."""
        known = {row.id: row for row in self.all()}
        if name not in known:
            said = f"there are: {', '.join(known)}" if known else "there is none"
            raise InputError(f"there is no schedule {name[:60]!r}; {said}")
        return known[name]

    def remove(self, name: str) -> None:
        """Take a schedule out; what it has ordered stays ordered. Raises InputError when there is none."""
        self.get(name)
        with self._store.begin() as c:
            c.execute(sa.delete(drill_schedule).where(drill_schedule.c.id == name))

    def skip(self, name: str, day: str) -> ScheduleRow:
        """Leave one date out. Raises InputError when there is no such schedule."""
        row = self.get(name)
        skips = ",".join(sorted({*filter(None, row.skips.split(",")), day}))
        with self._store.begin() as c:
            c.execute(sa.update(drill_schedule).where(drill_schedule.c.id == name).values(skips=skips))
        return replace(row, skips=skips)

    def decide(self, row: ScheduleRow, last: str, order: Order | None) -> bool:
        """Move on to the nominal time ``last``, with the drill that is due; False when another clock was faster."""
        mine = (drill_schedule.c.id == row.id, drill_schedule.c.last == row.last)
        with self._store.begin() as c:
            moved = c.execute(sa.update(drill_schedule).where(*mine).values(last=last)).rowcount == 1
            if moved and order is not None:
                insert_once(c, table, asdict(order))
            return moved
