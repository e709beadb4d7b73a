"""gitleaks' JSON report: a list of findings. ``Secret`` is the value and ``Match`` the line that holds it.

With ``--redact`` the value is gone and the rest of the line is not. ``Fingerprint`` names the place and not the secret.
Written by gitleaks 8.30.1.
"""

from __future__ import annotations

from typing import Any

from bot.intake.delivery import Seen, number_at, repository_of, secret_at, text_at
from bot.intake.kinds import kind_of

_HIDDEN = "REDACTED"


def fits(rows: list[Any]) -> bool:
    """Whether it is a report of gitleaks: one list of its findings. An empty list says nothing and fits."""
    if len(rows) != 1 or not isinstance(rows[0], list):
        return False
    return all(isinstance(row, dict) and {"RuleID", "File", "Fingerprint"} <= row.keys() for row in rows[0])


def read(rows: list[Any]) -> list[Seen]:
    """The findings."""
    return [_seen(row) for row in rows[0]]


def _seen(row: dict[str, Any]) -> Seen:
    secret = secret_at(row, "Secret")
    value = "" if _HIDDEN in secret else secret
    link, called = text_at(row, "Link"), text_at(row, "RuleID", 100)
    return Seen(
        called=called, kind=kind_of(called), value=value, text=secret_at(row, "Match") if value else "",
        where=text_at(row, "File"), line=number_at(row, "StartLine"), commit=text_at(row, "Commit", 64), url=link,
        repository=repository_of(link), place=f"gitleaks:{text_at(row, 'Fingerprint')}", severity="medium",
    )  # fmt: skip
