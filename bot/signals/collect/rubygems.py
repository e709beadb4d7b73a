"""RubyGems: ``/api/v1/versions/GEM.json``. It tells neither who pushed nor by what; the file's name is the gem's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bot.signals.facts import Fact, Origin, Version, utc


def is_versions(document: Any) -> bool:
    """Whether it is a gem's list of versions."""
    rows = document if isinstance(document, list) else []
    return bool(rows) and all(isinstance(row, dict) and "number" in row and "created_at" in row for row in rows)


def versions(document: Any, origin: Origin, name: str) -> Iterator[Fact]:
    """Every version; of one with several platforms the first that came."""
    first: dict[str, dict[str, Any]] = {}
    for row in document:
        known = first.get(row["number"])
        if known is None or row["created_at"] < known["created_at"]:
            first[row["number"]] = row
    for number, row in first.items():
        yield Version(
            at=utc(row["created_at"]), origin=Origin("rubygems", f"{origin.where} {number}"), registry="rubygems",
            package=str(row.get("name") or name), name=str(number),
            digests=(str(row["sha"]),) if row.get("sha") else (),
        )  # fmt: skip
