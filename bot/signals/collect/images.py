"""Images: the versions of a container at GitHub Packages (GHCR), and ``DescribeImages`` of Amazon ECR.

Neither tells who pushed an image, or by what; GitHub tells when a version was made, ECR when an image was pushed. An
image has no number of its own: it is called by the tag that looks most like one, or by its digest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from bot.signals.facts import Fact, Origin, Version, utc

_NUMBER = re.compile(r"v?\d+\.\d+(\.\d+)*([-+][\w.-]+)?")


def is_ghcr(document: Any) -> bool:
    """Whether it is the answer of ``/orgs/ORG/packages/container/NAME/versions``."""
    rows = document if isinstance(document, list) else []
    return bool(rows) and all(
        isinstance(row, dict) and (row.get("metadata") or {}).get("package_type") == "container" for row in rows
    )


def ghcr(document: Any, origin: Origin, name: str) -> Iterator[Fact]:
    """Every version that is there."""
    for row in document:
        tags = (row["metadata"].get("container") or {}).get("tags") or ()
        yield _version("ghcr", _package(str(row.get("url", "")), name), str(row["name"]), tags,
                       utc(row["created_at"]), origin)  # fmt: skip


def _package(url: str, name: str) -> str:
    """The package that a version's address names, org/name; GitHub writes a slash in a name as %2F."""
    match = re.search(r"/orgs/([^/]+)/packages/container/([^/]+)/versions/", url)
    return f"{match[1]}/{match[2].replace('%2F', '/')}" if match else name


def is_ecr(document: Any) -> bool:
    """Whether it is the answer of ``aws ecr describe-images``."""
    return isinstance(document, dict) and isinstance(document.get("imageDetails"), list)


def ecr(document: Any, origin: Origin, name: str) -> Iterator[Fact]:
    """Every image that is there."""
    for row in document["imageDetails"]:
        package = str(row.get("repositoryName") or name)
        yield _version("ecr", package, str(row["imageDigest"]), row.get("imageTags") or (),
                       pushed(row["imagePushedAt"]), origin)  # fmt: skip


def pushed(told: Any) -> datetime:
    """As boto3 has it, as the command line writes it, or in seconds as the API itself sends it."""
    if isinstance(told, datetime):
        return told.astimezone(UTC)
    return datetime.fromtimestamp(told, UTC) if isinstance(told, int | float) else utc(str(told))


def _version(
    registry: str, package: str, digest: str, tags: Iterable[str], at: datetime, origin: Origin
) -> Version:  # fmt: skip
    numbers = sorted((tag for tag in tags if _NUMBER.fullmatch(tag)), key=len)
    return Version(
        at=at, origin=Origin(registry, f"{origin.where} {digest[:19]}"), registry=registry, package=package,
        name=numbers[-1] if numbers else digest[:19], digests=(digest,),
    )  # fmt: skip
