"""Betterleaks 2's JSON and JSON lines. Its ``match.fingerprint`` is a keyed digest of the value: a name of the secret.

Parts of a credential (the secret of an AWS id) stand in ``component_sets``. ``--redact`` takes the values and leaves
the fingerprints. JSON lines end with one that sums the scan up. Written by Betterleaks 2.0.0.
"""

from __future__ import annotations

from typing import Any

from bot.intake.delivery import Seen, number_at, repository_of, rows_at, secret_at, text_at
from bot.intake.kinds import kind_of

_HIDDEN = "REDACTED"
_CONFIDENT = {"high": "high", "medium": "medium", "low": "low"}


def fits(rows: list[Any]) -> bool:
    """Whether it is one report, or one finding a document."""
    return bool(rows) and all(
        isinstance(row, dict)
        and "schema_version" in row
        and (_is(row.get("finding"), row.get("findings")) or isinstance(row.get("scan"), dict))
        for row in rows
    )


def _is(finding: Any, findings: Any) -> bool:
    if isinstance(finding, dict):
        return "rule_id" in finding
    return isinstance(findings, list) and all(isinstance(one, dict) and "rule_id" in one for one in findings)


def read(rows: list[Any]) -> list[Seen]:
    """The findings."""
    found = [one for row in rows for one in ([row["finding"]] if "finding" in row else row.get("findings", []))]
    return [_seen(one) for one in found]


def _seen(row: dict[str, Any]) -> Seen:
    called, value = text_at(row, "rule_id", 100), secret_at(row, "match.value")
    parts = [one for sets in rows_at(row, "component_sets") for one in rows_at(sets, "components")]
    texts = [secret_at(one, "match.full") for one in (row, *parts)]
    attributes = row.get("attributes") if isinstance(row.get("attributes"), dict) else {}
    path = text_at(row, "location.path")
    name = text_at(row, "match.fingerprint", 128)
    return Seen(
        called=called, kind=kind_of(called), value="" if _HIDDEN in value else value,
        text="\n".join(text for text in texts if text and _HIDDEN not in text),
        names=(f"betterleaks:{name}",) if name else (), where=path, line=number_at(row, "location.start_line"),
        commit=_attribute(attributes, "git.sha"), url=_attribute(attributes, "url"),
        repository=repository_of(_attribute(attributes, "git.remote_url")),
        severity=_CONFIDENT.get(text_at(row, "confidence", 20), ""),
    )  # fmt: skip


def _attribute(attributes: Any, name: str) -> str:
    """Their names have dots in them, which are no path."""
    return text_at({"one": attributes.get(name)}, "one")
