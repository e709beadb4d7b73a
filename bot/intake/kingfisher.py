"""Kingfisher 2.14 in all its forms: JSON (two documents in a row), JSON lines, and the webhook of ``--alert-webhook``.

What it calls redacted is not: its webhook says "<redacted>" for the snippet and sends the value in
``validate_command``, ``blast_radius_command`` and ``dependent_captures``. So every text of a finding is read, and every
text that is kept is scrubbed by value. Its fingerprint names a place, not a secret. The webhook is not signed and is
sent once. Its SARIF is read in ``sarif``.
"""

from __future__ import annotations

from typing import Any

from bot.intake.delivery import Seen, at_path, number_at, repository_of, rows_at, secret_at, text_at
from bot.intake.kinds import kind_of
from bot.intake.wire import strings

_VALIDITY = {"active": "live", "inactive": "dead", "valid": "live", "invalid": "dead"}
_HIDDEN = ("<redacted>", "[REDACTED")


def fits(rows: list[Any]) -> bool:
    """Whether these are documents of Kingfisher."""
    return bool(rows) and all(isinstance(row, dict) and _ours(row) for row in rows)


def _ours(row: dict[str, Any]) -> bool:
    if isinstance(row.get("finding"), dict):
        return isinstance(row.get("rule"), dict)
    if isinstance(row.get("findings"), list):
        return "kingfisher_version" in row or "audit" in row or "metadata" in row
    return bool({"audit", "summary", "metadata"} & row.keys()) or _is_summary(row)


def _is_summary(row: dict[str, Any]) -> bool:
    return "scan_date" in row or "kingfisher" in row or "rules_applied" in row


def read(rows: list[Any]) -> list[Seen]:
    """The findings of all documents; those that hold none are passed over."""
    found = [one for row in rows for one in ([row] if "finding" in row else rows_at(row, "findings"))]
    return [_seen(one) for one in found if isinstance(one.get("finding"), dict)]


def _seen(row: dict[str, Any]) -> Seen:
    finding = row["finding"]
    called = text_at(row, "rule.id", 200)
    snippet = secret_at(finding, "snippet")
    file = text_at(finding, "git_metadata.file.path") or text_at(finding, "path")
    outcome = text_at(finding, "validation.outcome", 40) or text_at(finding, "validation.status", 40)
    return Seen(
        called=called, kind=kind_of(called, text_at(row, "rule.name", 200)),
        value="" if snippet.startswith(_HIDDEN) or not snippet else snippet, text=_texts(finding),
        where=file.removeprefix("./"), line=number_at(finding, "line"),
        commit=text_at(finding, "git_metadata.commit.id", 64), url=text_at(finding, "git_metadata.file.url"),
        repository=repository_of(text_at(finding, "git_metadata.repository_url")),
        validity=_VALIDITY.get(outcome.lower().split()[0] if outcome else "", ""),
        severity=text_at(finding, "confidence", 20), place=f"kingfisher:{text_at(finding, 'fingerprint', 40)}",
    )  # fmt: skip


def _texts(finding: dict[str, Any]) -> str:
    """All that may hold the value, captures with their names: AWS_SECRET_ACCESS_KEY says what the forty are."""
    captures = at_path(finding, "dependent_captures")
    named = [f"{k}={v}" for k, v in captures.items() if isinstance(v, str)] if isinstance(captures, dict) else []
    commands = [secret_at(finding, name) for name in ("snippet", "validate_command", "blast_radius_command")]
    return "\n".join([*named, *(c for c in commands if c), *strings(at_path(finding, "validation") or {})])
