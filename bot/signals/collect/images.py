"""Images: the versions of a container at GitHub Packages (GHCR), ``DescribeImages`` of Amazon ECR, tags of Docker Hub;
and GitHub's attestations of a digest, in whatever registry the image with that digest is.

GHCR and ECR tell neither who pushed an image nor by what; GitHub tells when a version was made, ECR when an image was
pushed. Docker Hub tells of each tag its last push and whose it was, and an organization's log tells of every push. An
image has no number of its own: it is called by the tag that looks most like one, or by its digest.

Attestations are asked for by digest (docs.github.com/rest/repos/attestations, "List attestations"). The registry may
hold copies as referrers of the image; ghcr.io does not have the API for that, and what was said to be pushed there may
be missing (github.com/sbomify/sbomify, issue 1530), so GitHub's own store is what counts. Where that API is missing
they look like images with the tag ``sha256-DIGEST`` (OCI distribution-spec, "Unavailable Referrers API").
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from bot.signals import slsa
from bot.signals.facts import Attestations, Fact, Origin, Version, utc

_REFERS = re.compile(r"sha256-[0-9a-f]{64}(\..*)?")
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


def is_attested(document: Any) -> bool:
    """Whether it is the answer of ``/repos/OWNER/NAME/attestations/DIGEST``."""
    rows = document.get("attestations") if isinstance(document, dict) else None
    return isinstance(rows, list) and all(isinstance(row, dict) and {"bundle", "bundle_url"} & set(row) for row in rows)


def attested(document: Any, origin: Origin, name: str) -> Iterator[Fact]:
    """The provenance among them, by what it speaks of; other statements (SBOMs) say nothing of a build."""
    for row in document["attestations"]:
        statement = slsa.statement_of(bundle_in(row))
        if statement["predicateType"] == slsa.PROVENANCE:
            for digest in slsa.digests_of(statement):
                yield attestations(origin.where, name if "/" in name else "", digest, [row["bundle"]])


def bundle_in(row: dict[str, Any]) -> dict[str, Any]:
    """The bundle of one attestation. Raises ValueError where GitHub tells only where it lies, as from 2026-03-10 on."""
    if not isinstance(bundle := row.get("bundle"), dict):
        raise ValueError("a bundle is not given, only its address; ask by the API's version 2022-11-28")  # noqa: TRY004
    return bundle


def attestations(where: str, repository: str, digest: str, bundles: Iterable[Any]) -> Attestations:
    """What a repository has of a digest."""
    return Attestations(
        at=utc("1970-01-01T00:00:00Z"), origin=Origin("github", where), repository=repository, digest=digest,
        bundles=tuple(json.dumps(bundle) for bundle in bundles),
    )  # fmt: skip


def _version(
    registry: str, package: str, digest: str, tags: Iterable[str], at: datetime, origin: Origin, by: str = ""
) -> Version:  # fmt: skip
    numbers = sorted((tag for tag in tags if _NUMBER.fullmatch(tag)), key=len)
    return Version(
        at=at, origin=Origin(registry, f"{origin.where} {digest[:19]}"), registry=registry, package=package,
        name=numbers[-1] if numbers else digest[:19], digests=(digest,), uploader=by,
        tagged=any(not _REFERS.fullmatch(tag) for tag in tags),
    )  # fmt: skip
