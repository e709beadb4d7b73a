"""What was told to people outside: cards, thread posts, pages. Each is a row before it is a call.

``intended``: about to be told, or told and nobody knows; who finds such a row looks outside before telling it again.
``sent``: told. ``over``: nothing is left to do about it. What is told is drawn from the timeline; a row only says
where it stands.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from bot.store import Store, canonical, insert_once
from bot.tables import decision, incident, post

INTENDED, SENT, OVER = "intended", "sent", "over"
CARD = "card"


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One thing that is told. ``upto``: of a card, the number of the last event that its thread has told."""

    key: str
    incident: str
    kind: str
    state: str
    at: str
    upto: int = 0
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """An incident with something left to tell, and its card if there is one."""

    id: str
    world: str
    head_n: int
    card: Post | None


class Posts:
    """The rows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, key: str) -> Post | None:
        """One row."""
        with self._store.connect() as c:
            row = c.execute(sa.select(post).where(post.c.key == key)).mappings().first()
        return _post(row) if row else None

    def of(self, incident_id: str, kind: str = "") -> list[Post]:
        """An incident's rows, oldest first; of one kind when that is named."""
        query = sa.select(post).where(post.c.incident == incident_id).order_by(post.c.at, post.c.key)
        if kind:
            query = query.where(post.c.kind == kind)
        with self._store.connect() as c:
            return [_post(row) for row in c.execute(query).mappings()]

    def all(self, kind: str, *states: str) -> list[Post]:
        """Rows of a kind in these states, oldest first; in any state when none is named."""
        query = sa.select(post).where(post.c.kind == kind).order_by(post.c.at, post.c.key)
        if states:
            query = query.where(post.c.state.in_(states))
        with self._store.connect() as c:
            return [_post(row) for row in c.execute(query).mappings()]

    def intend(self, key: str, *, incident: str, kind: str, at: str, body: dict[str, Any]) -> tuple[Post, bool]:
        """A new intent and True, or the row that stands and False."""
        row = {
            "key": key, "incident": incident, "kind": kind, "state": INTENDED, "at": at, "upto": 0,
            "body": canonical(body),
        }  # fmt: skip
        with self._store.begin() as c:
            new = insert_once(c, post, row)
            return _post(c.execute(sa.select(post).where(post.c.key == key)).mappings().one()), new

    def save(self, *rows: Post) -> None:
        """Write these over what stands, together."""
        with self._store.begin() as c:
            for row in rows:
                values = {"state": row.state, "at": row.at, "upto": row.upto, "body": canonical(row.body)}
                c.execute(sa.update(post).where(post.c.key == row.key).values(**values))

    def followed(self, since: str) -> list[Followed]:
        """Incidents with something left to tell; those without a card first.

        An incident that was over before ``since`` (ISO 8601 UTC) is none of ours.
        """
        card = sa.and_(post.c.incident == incident.c.id, post.c.kind == CARD)
        columns = [column.label(f"post_{column.name}") for column in post.c]
        head = [incident.c.id, incident.c.world, incident.c.head_n]  # not its body: that holds a whole playbook
        query = sa.select(*head, *columns).join(post, card, isouter=True)
        fresh = sa.and_(post.c.key.is_(None), sa.or_(incident.c.status == "open", incident.c.opened_at >= since))
        going = sa.or_(post.c.state != OVER, incident.c.head_n > post.c.upto)
        query = query.where(sa.or_(fresh, sa.and_(post.c.key.is_not(None), going)))
        query = query.order_by(post.c.key.is_not(None), incident.c.opened_at, incident.c.id)
        with self._store.connect() as c:
            rows = [dict(row) for row in c.execute(query).mappings()]
        return [Followed(id=row["id"], world=row["world"], head_n=row["head_n"], card=_carded(row)) for row in rows]

    def heads(self, status: str, world: str) -> dict[str, int]:
        """Incidents of a World that stand so, and the number of their last event."""
        query = sa.select(incident.c.id, incident.c.head_n)
        with self._store.connect() as c:
            rows = c.execute(query.where(incident.c.status == status, incident.c.world == world)).all()
        return {row.id: row.head_n for row in rows}

    def open_if_readable(self, world: str) -> set[str]:
        """Open incidents of a World; none where the tables are not there, or not ours to read."""
        try:
            return set(self.heads("open", world))
        except sa.exc.SQLAlchemyError:
            return set()

    def stamp(self) -> str:
        """Changes when any incident's timeline has grown, or somebody has decided something."""
        grown = sa.select(sa.func.count(), sa.func.sum(incident.c.head_n))
        with self._store.connect() as c:
            count, events = c.execute(grown).one()
            return f"{count}/{events or 0}/{c.scalar(sa.select(sa.func.max(decision.c.seq))) or 0}"

    def counts(self, kind: str) -> Counter[tuple[str, ...]]:
        """How many rows of a kind there are, by whom they were for and by state: intended, failing, sent, over."""
        counted: Counter[tuple[str, ...]] = Counter()
        for one in self.all(kind):
            failing = one.state == INTENDED and one.body.get("tries")
            counted[str(one.body.get("to", "")), "failing" if failing else one.state] += 1
        return counted


def _post(row: Any) -> Post:
    return Post(**{**row, "body": json.loads(row["body"])})


def _carded(row: dict[str, Any]) -> Post | None:
    found = {name.removeprefix("post_"): value for name, value in row.items() if name.startswith("post_")}
    return _post(found) if found["key"] else None
