"""GitHub's audit log (Enterprise Cloud; the export as JSON, or the API's answer): who used a token, and from where.

``actor_ip`` stands there only where the organization shows addresses. ``hashed_token`` is GitHub's own hash of the
token (docs.github.com, "Identifying audit log events performed by an access token").
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from bot.signals.facts import Access, Fact, Origin


def is_log(document: Any) -> bool:
    """Whether these are events of an audit log, or one of them."""
    rows = document if isinstance(document, list) else [document]
    return bool(rows) and all(isinstance(row, dict) and "@timestamp" in row and "action" in row for row in rows)


def log(document: Any, origin: Origin, _name: str) -> Iterator[Fact]:
    """Every event that tells an address."""
    for number, row in enumerate(document if isinstance(document, list) else [document]):
        if row.get("actor_ip"):
            yield Access(
                at=datetime.fromtimestamp(row["@timestamp"] / 1000, UTC), action=str(row["action"]),
                origin=Origin("github", f"{origin.where}[{number}]"), actor=str(row.get("actor") or ""),
                address=str(row["actor_ip"]), repository=str(row.get("repo") or ""),
                token=str(row.get("hashed_token") or ""), program=str(row.get("programmatic_access_type") or ""),
            )  # fmt: skip
