"""What Slack has delivered, in the store: landed in one insert, then worked, at last forgotten.

A row is the replay cache too: its id is made from the event and its signature is unique, so a request that is sent
again, by whomever, finds its row there. Rows are kept longer than Slack's signatures hold (five minutes).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from bot.errors import EngineError
from bot.store import Store, canonical, insert_once
from bot.tables import slack_delivery as table

LANDED, DONE, DEAD = "landed", "done", "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One thing that Slack told us: a command, a click, a submitted form, an event. ``body``: scrubbed."""

    id: str
    kind: str
    landed_at: str
    body: dict[str, Any]
    tries: int = 0


class Deliveries:
    """The rows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def land(self, delivery: Delivery, signature: str | None, also: Callable[[sa.Connection], object]) -> bool:
        """Insert one, and do ``also`` in the same transaction; False when its id or its signature is known already.

        Raises EngineError when the database does not take it: nothing has landed then.
        """
        row = {
            "id": delivery.id, "signature": signature, "kind": delivery.kind, "landed_at": delivery.landed_at,
            "body": canonical(delivery.body), "state": LANDED, "tries": 0, "note": "",
        }  # fmt: skip
        try:
            with self._store.begin(urgent=True) as connection:
                new = insert_once(connection, table, row)
                if new:
                    also(connection)
        except sa.exc.SQLAlchemyError as exc:
            raise EngineError(f"the database did not take what Slack sent: {type(exc).__name__}") from None
        return new

    def waiting(self, before: str = "~") -> list[Delivery]:
        """What has landed until then and was not worked, oldest first. ``before``: ISO 8601 UTC."""
        query = sa.select(table).where(table.c.state == LANDED, table.c.landed_at < before)
        with self._store.connect() as c:
            rows = c.execute(query.order_by(table.c.landed_at)).mappings().all()
        return [_delivery(row) for row in rows]

    def get(self, delivery_id: str) -> tuple[Delivery, str] | None:
        """One delivery and its state."""
        with self._store.connect() as c:
            row = c.execute(sa.select(table).where(table.c.id == delivery_id)).mappings().first()
        return (_delivery(row), str(row["state"])) if row else None

    def settle(
        self, delivery_id: str, state: str, note: str = "", also: Callable[[sa.Connection], object] = lambda _c: None
    ) -> None:
        """Worked, or given up, and why; ``also`` is done in the same transaction.

        What was said is forgotten with it: only the id stays, against replays.
        """
        with self._store.begin() as c:
            values = {"state": state, "note": note, "body": "{}"}
            c.execute(sa.update(table).where(table.c.id == delivery_id).values(**values))
            also(c)

    def again(self, delivery_id: str, note: str) -> int:
        """It could not be worked now; returns how often that was so."""
        with self._store.begin() as c:
            more = sa.update(table).where(table.c.id == delivery_id).values(tries=table.c.tries + 1, note=note)
            return int(c.execute(more.returning(table.c.tries)).scalar_one())

    def stand(self) -> tuple[str, str, int]:
        """When Slack delivered last, when the oldest landed that waits ("" for neither), how many were given up.

        Of the last day: what was settled earlier is forgotten.
        """
        last = sa.select(sa.func.max(table.c.landed_at))
        waits = sa.select(sa.func.min(table.c.landed_at)).where(table.c.state == LANDED)
        dead = sa.select(sa.func.count()).where(table.c.state == DEAD)
        with self._store.connect() as c:
            return c.scalar(last) or "", c.scalar(waits) or "", c.scalar(dead) or 0

    def purge(self, before: str) -> int:
        """Forget what was settled and landed before then (ISO 8601 UTC); returns how many rows that were."""
        with self._store.begin() as c:
            old = sa.delete(table).where(table.c.state != LANDED, table.c.landed_at < before)
            return int(c.execute(old).rowcount)


def _delivery(row: Any) -> Delivery:
    named = {name: row[name] for name in ("id", "kind", "landed_at", "tries")}
    return Delivery(**named, body=json.loads(row["body"]))
