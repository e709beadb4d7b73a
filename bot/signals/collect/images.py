"""Images: the versions of a container at GitHub Packages (GHCR), ``DescribeImages`` of Amazon ECR, tags of Docker Hub.

GHCR and ECR tell neither who pushed an image nor by what; GitHub tells when a version was made, ECR when an image was
pushed. Docker Hub tells of each tag its last push and whose it was, and an organization's log tells of every push. An
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


def is_hub(document: Any) -> bool:
    """Whether it is the answer of ``/v2/namespaces/NAMESPACE/repositories/NAME/tags`` of Docker Hub."""
    rows = document.get("results") if isinstance(document, dict) else None
    return isinstance(rows, list) and "count" in document and all("tag_last_pushed" in row for row in rows)


def hub(document: Any, origin: Origin, name: str) -> Iterator[Fact]:
    """Every image that a tag leads to, pushed when the first of these tags was."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in document["results"]:
        first: dict[str, Any] = next(iter(row.get("images") or ()), {})
        found.setdefault(str(row.get("digest") or first.get("digest") or row["name"]), []).append(row)
    for digest, rows in found.items():
        at = min(utc(row["tag_last_pushed"]) for row in rows)
        by = str(rows[0].get("last_updater_username") or "")
        yield _version("dockerhub", name, digest, [str(row["name"]) for row in rows], at, origin, by)


def is_hub_log(document: Any) -> bool:
    """Whether it is the answer of ``/v2/auditlogs/ORGANIZATION`` of Docker Hub, for pushes of tags."""
    rows = document.get("logs") if isinstance(document, dict) else None
    return isinstance(rows, list) and all("timestamp" in row and "action" in row for row in rows)


def hub_log(document: Any, origin: Origin, name: str) -> Iterator[Fact]:
    """Every image that was pushed, when it first was. A number that led to another image before is not its name."""
    pushes = [row for row in document["logs"] if row["action"] == "repo.tag.push" and row["data"].get("digest")]
    tags: dict[tuple[str, str], list[str]] = {}
    first: dict[tuple[str, str], dict[str, Any]] = {}
    taken: set[tuple[str, str]] = set()
    for row in sorted(pushes, key=lambda row: str(row["timestamp"])):
        package, tag = str(row.get("name") or name), str(row["data"]["tag"])
        key = (package, str(row["data"]["digest"]))
        first.setdefault(key, row)
        if tag not in tags.get(key, ()) and (package, tag) not in taken:
            tags.setdefault(key, []).append(tag)
        if _NUMBER.fullmatch(tag):
            taken.add((package, tag))
    for (package, digest), row in first.items():
        by = str(row.get("actor") or "")
        named = tags.get((package, digest), ())
        yield _version("dockerhub", package, digest, named, utc(row["timestamp"]), origin, by)


def _version(
    registry: str, package: str, digest: str, tags: Iterable[str], at: datetime, origin: Origin, by: str = ""
) -> Version:  # fmt: skip
    numbers = sorted((tag for tag in tags if _NUMBER.fullmatch(tag)), key=len)
    return Version(
        at=at, origin=Origin(registry, f"{origin.where} {digest[:19]}"), registry=registry, package=package,
        name=numbers[-1] if numbers else digest[:19], digests=(digest,), uploader=by,
    )  # fmt: skip
