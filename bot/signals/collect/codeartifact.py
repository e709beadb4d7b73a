"""CodeArtifact: a version as ``DescribePackageVersion`` tells it.

It tells when a version came and whether somebody published it here (origin INTERNAL), not who. What was taken in from
a public registry is none of the house's versions, and is left to that registry's own facts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bot.signals.collect.images import pushed
from bot.signals.facts import Fact, Origin, Version

_YANKED = ("Unlisted", "Archived", "Disposed")


def is_version(document: Any) -> bool:
    """Whether it is the answer of ``aws codeartifact describe-package-version``."""
    row = document.get("packageVersion") if isinstance(document, dict) else None
    return isinstance(row, dict) and "packageName" in row and "origin" in row


def version(document: Any, origin: Origin, _name: str) -> Iterator[Fact]:
    """The version, where somebody published it here."""
    row = document["packageVersion"]
    entry = row["origin"]
    if entry.get("originType") != "INTERNAL":
        return
    where = (entry.get("domainEntryPoint") or {}).get("repositoryName", "")
    name = str(row.get("displayName") or row["packageName"])
    yield Version(
        at=pushed(row["publishedTime"]), origin=Origin("codeartifact", origin.where), registry="codeartifact",
        package=f"{where}/{name}" if where else name, name=str(row["version"]), digests=(str(row["revision"]),),
        yanked=row["status"] in _YANKED,
    )  # fmt: skip
