"""SARIF 2.1.0 of any scanner of secrets: gitleaks, Kingfisher, TruffleHog, Betterleaks, secretlint, ggshield.

Who wrote it stands in ``tool.driver.name``. The value may stand in the snippet, the message or anything under
``properties`` (Kingfisher's commands), so all of a result's texts are read. gitleaks puts the commit and the author
into ``partialFingerprints``, which are no fingerprints; TruffleHog's and Kingfisher's are. Source: OASIS SARIF 2.1.0.
"""

from __future__ import annotations

from typing import Any

from bot.intake.delivery import Seen, at_path, number_at, plain, repository_of, rows_at, text_at
from bot.intake.kinds import kind_of
from bot.intake.wire import strings

_LEVEL = {"error": "high", "warning": "medium", "note": "low", "none": "info"}
_FINGERPRINTED = ("trufflehogFingerprint/v1", "fingerprint", "primaryLocationLineHash")


def fits(rows: list[Any]) -> bool:
    """Whether it is one SARIF log."""
    return len(rows) == 1 and isinstance(rows[0], dict) and isinstance(rows[0].get("runs"), list) and (
        "2.1.0" in (text_at(rows[0], "version"), text_at(rows[0], "$schema")[-10:-5])
    )  # fmt: skip


def read(rows: list[Any]) -> list[Seen]:
    """The results of every run, but those that the tool says are suppressed or gone."""
    found = []
    for run in rows_at(rows[0], "runs"):
        tool = text_at(run, "tool.driver.name", 60)
        repository = repository_of(text_at(run, "versionControlProvenance.0.repositoryUri"))
        results = rows_at(run, "results")
        found += [_seen(one, tool, repository) for one in results if one.get("baselineState") != "absent"]
    return found


def _seen(row: dict[str, Any], tool: str, repository: str) -> Seen:
    place = at_path(row, "locations.0.physicalLocation") or {}
    prints = at_path(row, "partialFingerprints")
    prints = prints if isinstance(prints, dict) else {}
    properties = at_path(row, "locations.0.properties") or {}
    url = next((text_at(properties, p) for p in ("git_metadata.file.url", "url") if text_at(properties, p)), "")
    mark = next((plain(prints[name], 128) for name in _FINGERPRINTED if name in prints), "")
    called = text_at(row, "ruleId", 200)
    value = text_at(place, "region.snippet.text", 4000) if tool.lower() in ("gitleaks", "kingfisher") else ""
    return Seen(
        called=called, kind=kind_of(called), text="\n".join(_texts(row)),
        value="" if not value or "REDACTED" in value or value == "<redacted>" else value,
        where=text_at(place, "artifactLocation.uri").removeprefix("file://"), line=number_at(place, "region.startLine"),
        commit=plain(prints.get("commitSha"), 64) or text_at(properties, "git_metadata.commit.id", 64), url=url,
        repository=repository_of(text_at(properties, "git_metadata.repository_url")) or repository,
        severity=_LEVEL.get(text_at(row, "level", 20), ""),
        place=f"{tool}:{mark}" if mark else "",
    )  # fmt: skip


def _texts(row: dict[str, Any]) -> list[str]:
    """Every text of a result, captures with their names."""
    captures = at_path(row, "locations.0.properties.dependent_captures")
    named = [f"{k}={v}" for k, v in captures.items() if isinstance(v, str)] if isinstance(captures, dict) else []
    parts = ("message", "locations", "codeFlows", "properties")
    return named + [text for part in parts for text in strings(row.get(part))]
