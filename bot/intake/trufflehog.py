"""TruffleHog 3's ``--json``: one object a line. ``Raw`` and ``RawV2`` hold the value, ``Redacted`` may equal it.

``SourceMetadata.Data`` has one table, named after where was searched. Source: trufflehog's
proto/source_metadata.proto and pkg/output/json.go (3ab759f).
"""

from __future__ import annotations

from typing import Any

from bot.intake.delivery import Seen, at_path, number_at, plain, repository_of, secret_at, text_at
from bot.intake.kinds import kind_of
from bot.model import Exposure

# Fields of ``Data`` by what they mean, the first that is there counts.
FIELDS = {
    "path": ("file", "path", "key", "name", "package", "location", "channel_name", "filename"),
    "commit": ("commit", "commit_hash"),
    "url": ("link", "repository", "url", "project"),
    "repository": ("repository", "repo", "username"),
}
VISIBILITY = {"public": Exposure.PUBLIC, "private": Exposure.INTERNAL, "shared": Exposure.INTERNAL,
              "1": Exposure.INTERNAL, "2": Exposure.INTERNAL}  # fmt: skip
BUILD_SERVICES = ("CircleCI", "Circleci", "TravisCI")


def fits(rows: list[Any]) -> bool:
    """Whether every document is a finding of TruffleHog."""
    return bool(rows) and all(isinstance(row, dict) and "DetectorName" in row and "Raw" in row for row in rows)


def read(rows: list[Any]) -> list[Seen]:
    """The findings."""
    return [_seen(row) for row in rows]


def _seen(row: dict[str, Any]) -> Seen:
    data = at_path(row, "SourceMetadata.Data")
    name, fields = next(iter(data.items()), ("", {})) if isinstance(data, dict) else ("", {})
    found = {what: next((t for n in names if (t := text_at(fields, n))), "") for what, names in FIELDS.items()}
    raw, both = secret_at(row, "Raw"), secret_at(row, "RawV2")
    called = text_at(row, "DetectorName", 100)
    build = text_at(fields, "build_number", 40) or text_at(fields, "build_id", 40)
    verified = row.get("Verified") is True
    return Seen(
        called=called, kind=kind_of(called), value=raw, text=_paired(called, raw, both),
        id=raw if called == "AWS" else "", where=found["path"] or f"{plain(name, 40)} {build}".strip(),
        line=number_at(fields, "line"), commit=found["commit"], url=found["url"],
        repository=repository_of(found["url"]) or repository_of(found["repository"]) or _built(name, fields),
        exposure=_exposure(fields),
        validity="live" if verified else "", severity="high" if verified else "medium",
    )  # fmt: skip


def _exposure(fields: Any) -> Exposure:
    """What is zero is left out, so ``public`` says something only where it is true (Travis CI's builds)."""
    if isinstance(fields, dict) and fields.get("public") is True:
        return Exposure.PUBLIC
    return VISIBILITY.get(text_at(fields, "visibility", 20), Exposure.UNKNOWN)


def _built(name: str, fields: Any) -> str:
    """The repository of a build: its services say owner and name apart. '' for one that is not at GitHub."""
    if name not in BUILD_SERVICES or text_at(fields, "vcs_type", 20) not in ("", "github"):
        return ""
    return repository_of(f"https://github.com/{text_at(fields, 'username')}/{text_at(fields, 'repository')}")


def _paired(called: str, raw: str, both: str) -> str:
    """The halves of an AWS pair with their names, since forty characters alone could be anything."""
    if called == "AWS" and both.startswith(raw) and len(both) > len(raw):
        return f"aws_access_key_id={raw}\naws_secret_access_key={both[len(raw) :].lstrip(':')}"
    return f"{raw}\n{both}" if both and both != raw else raw
