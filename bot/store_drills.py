"""Drills that were asked for, in the store: whoever wants one writes a row, the worker runs it.

The row's id is the order's own (a click, or a schedule and its time), so what is ordered twice is run once. It is also
the key under which the drill's report lands: from an incident's row one finds back to its order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa

from bot.errors import InputError
from bot.store import Store, canonical, insert_once
from bot.tables import drill_line, drill_schedule, drill_score
from bot.tables import drill_order as table

SOURCE = "drill"  # of the report in the inbox
ORDERED, RUNNING, OVER, FAILED = "ordered", "running", "over", "failed"
MORE = "#"  # behind the id of a report: another one of the same drill
TEAM, ALONE = "team", "alone"  # to whom its choices are put: those who respond, or whoever ordered it


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
    mode: str = ""  # team or alone; "" = its choices are not put

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

    def get(self, order_id: str) -> Order:
        """The order of this id. Raises InputError when there is none."""
        with self._store.connect() as c:
            row = c.execute(sa.select(table).where(table.c.id == order_id)).mappings().first()
        if row is None:
            raise InputError("there is no such drill")
        return Order(**row)

    def choosing(self, since: str) -> list[Order]:
        """Orders whose choices are put, asked for since a time (ISO 8601 UTC), oldest first."""
        query = sa.select(table).where(table.c.mode != "", table.c.at >= since).order_by(table.c.at, table.c.id)
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
            row = c.execute(sa.select(table).where(table.c.id == name.partition(MORE)[0])).mappings().first()
        return Order(**row) if row else None

    def change(self, order_id: str, **values: Any) -> None:
        """Write what has become of it: state, incident, note."""
        with self._store.begin() as c:
            c.execute(sa.update(table).where(table.c.id == order_id).values(**values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that a drill tells those who answer its choices.

    ``kind``: alert, inject, put, chosen, consequence, mended or scored. ``answer``: of a put, ``option``, ``sure``,
    ``by`` and ``at``, once somebody has answered it.
    """

    order_id: str
    name: str
    n: int
    kind: str
    body: dict[str, Any]
    answer: dict[str, Any]


class Lines:
    """The rows. The worker that plays the drill writes them; whoever shows them writes what was answered."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def say(self, order_id: str, name: str, kind: str, body: dict[str, Any]) -> None:
        """Tell something, once under its name."""
        with self._store.begin() as c:
            last = sa.select(sa.func.max(drill_line.c.n)).where(drill_line.c.order_id == order_id)
            row = {"order_id": order_id, "name": name, "n": (c.scalar(last) or 0) + 1, "kind": kind}
            insert_once(c, drill_line, row | {"body": canonical(body), "answer": ""})

    def of(self, order_id: str) -> list[Line]:
        """What a drill has told, in its order."""
        query = sa.select(drill_line).where(drill_line.c.order_id == order_id).order_by(drill_line.c.n)
        with self._store.connect() as c:
            return [_line(row) for row in c.execute(query).mappings()]

    def get(self, order_id: str, name: str) -> Line:
        """One of them. Raises InputError when there is none."""
        query = sa.select(drill_line).where(drill_line.c.order_id == order_id, drill_line.c.name == name)
        with self._store.connect() as c:
            row = c.execute(query).mappings().first()
        if row is None:
            raise InputError("nothing of this kind was asked in that drill")
        return _line(row)

    def answer(self, line: Line, option: str, *, sure: bool, by: str, at: str) -> bool:
        """Answer what was put; False when somebody was faster: the first answer counts."""
        said = canonical({"option": option, "sure": sure, "by": by, "at": at})
        mine = (drill_line.c.order_id == line.order_id, drill_line.c.name == line.name, drill_line.c.answer == "")
        with self._store.begin() as c:
            return c.execute(sa.update(drill_line).where(*mine).values(answer=said)).rowcount == 1


def _line(row: Any) -> Line:
    return Line(**{**row, "body": json.loads(row["body"]), "answer": json.loads(row["answer"] or "{}")})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """What a drill has shown of those who trained. ``people``: digests of their names, so that it names nobody."""

    id: str
    drill: str
    at: str
    team: str
    total: int
    people: tuple[str, ...]


class Scores:
    """The rows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, row_id: str, *, drill: str, at: str, team: str, total: int, people: Iterable[str]) -> bool:
        """Keep a score, once; False when it was kept before. ``people``: their names, which are not kept."""
        digests = sorted({hashlib.sha256(f"{self._store.database_id()} {one}".encode()).hexdigest() for one in people})
        row = {"id": row_id, "drill": drill, "at": at, "team": team, "total": total, "people": canonical(digests)}
        with self._store.begin() as c:
            return insert_once(c, drill_score, row)

    def all(self) -> list[ScoreRow]:
        """Every score, oldest first."""
        query = sa.select(drill_score).order_by(drill_score.c.at, drill_score.c.id)
        with self._store.connect() as c:
            rows = list(c.execute(query).mappings())
        return [ScoreRow(**{**row, "people": tuple(json.loads(row["people"]))}) for row in rows]


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
