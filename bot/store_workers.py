"""Which workers live, on PostgreSQL: each has a lease that it renews, by the database's clock.

A worker whose process is gone loses its sessions at once, and the lock of its name with them. One that hangs (a stopped
machine, a network that swallows everything) keeps both, and locks on which others wait. So whoever finds its lease over
ends its sessions before anything else; when it wakes, it finds its lease gone and begins anew, with nothing to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from bot.store import Store, canonical, replace
from bot.tables import setting

LEASE, NEEDS = "lease:", "needs:"
_NOW = "extract(epoch from clock_timestamp())"


class Workers:
    """The leases of all workers of one database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, name: str) -> None:
        """Take a lease, whatever was there."""
        with self._store.begin() as c:
            c.execute(sa.delete(setting).where(setting.c.name == LEASE + name))
            query = sa.text(f"INSERT INTO setting (name, value) VALUES (:name, {_NOW}::text)")  # noqa: S608 - our words
            c.execute(query, {"name": LEASE + name})

    def renew(self, name: str) -> bool:
        """Whether it still had its lease; then it has a new one."""
        query = sa.text(f"UPDATE setting SET value = {_NOW}::text WHERE name = :name")  # noqa: S608 - our own words
        with self._store.begin() as c:
            return c.execute(query, {"name": LEASE + name}).rowcount == 1

    def tell(self, name: str, said: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Say something to all other workers that live; returns what they have said last."""
        rows = sa.select(setting.c.name, setting.c.value).where(setting.c.name.like(f"{NEEDS}%"))
        with self._store.begin() as c:
            replace(c, setting, "name", {"name": NEEDS + name, "value": canonical(said)})
            alive = set(c.execute(sa.select(setting.c.name).where(setting.c.name.like(f"{LEASE}%"))).scalars())
            heard = {row.name.removeprefix(NEEDS): row.value for row in c.execute(rows)}
        return [json.loads(value) for one, value in heard.items() if one != name and LEASE + one in alive]

    def over(self, lease_s: float) -> set[str]:
        """Whose lease was renewed longer ago than that."""
        query = sa.text(f"SELECT name FROM setting WHERE name LIKE :like AND {_NOW} - value::float > :most")  # noqa: S608 - ours
        with self._store.connect() as c:
            found = c.execute(query, {"like": f"{LEASE}%", "most": lease_s}).scalars()
            return {name.removeprefix(LEASE) for name in found}

    def end(self, name: str) -> None:
        """Forget a lease, and what its worker has said."""
        with self._store.begin() as c:
            c.execute(sa.delete(setting).where(setting.c.name.in_([LEASE + name, NEEDS + name])))

    def bury(self, name: str) -> None:
        """End a worker's sessions, and with them every lock that it holds; then forget its lease."""
        its = "application_name = :name AND datname = current_database()"
        query = sa.text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {its}")  # noqa: S608 - our words
        with self._store.begin() as c:
            c.execute(query, {"name": name})
        self.end(name)
