"""The files that scanners write, told apart by what is in them and never by a name.

Betterleaks' wheel installs a command called gitleaks, so names lie. A file of no known form is refused with the list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bot.errors import Undeliverable
from bot.intake import betterleaks, detect_secrets, gitleaks, kingfisher, sarif, trufflehog
from bot.intake.delivery import Seen
from bot.intake.wire import documents

AUTO = "auto"
MOST = 5000  # findings of one report: more is a mistake in how it was made, and is said


@dataclass(frozen=True, slots=True)
class Format:
    """How one scanner writes. ``fits`` and ``read`` are given the JSON documents of the file."""

    name: str
    title: str
    fits: Callable[[list[Any]], bool]
    read: Callable[[list[Any]], list[Seen]]


FORMATS = {
    one.name: one
    for one in (
        Format("trufflehog", "TruffleHog 3, --json", trufflehog.fits, trufflehog.read),
        Format("gitleaks", "gitleaks 8, JSON", gitleaks.fits, gitleaks.read),
        Format("betterleaks", "Betterleaks 2, JSON or JSON lines", betterleaks.fits, betterleaks.read),
        Format("sarif", "SARIF 2.1.0 of any scanner", sarif.fits, sarif.read),
        Format("detect-secrets", "detect-secrets 1.5, its baseline", detect_secrets.fits, detect_secrets.read),
        Format("kingfisher", "Kingfisher 2.14, JSON, JSON lines or its webhook", kingfisher.fits, kingfisher.read),
    )
}


def read(text: str, name: str = AUTO) -> tuple[Format, list[Seen]]:
    """The form of a file and its findings. Raises Undeliverable when it is not JSON, of no known form, or too long."""
    rows = list(documents(text))
    if name == AUTO:
        form = next((one for one in FORMATS.values() if one.fits(rows)), None)
    else:
        form = FORMATS[name] if FORMATS[name].fits(rows) else None
    if form is None:
        known = ", ".join(FORMATS) if name == AUTO else FORMATS[name].title
        raise Undeliverable(f"this is no report that we can read: {known}", 422, "format")
    seen = form.read(rows)
    if len(seen) > MOST:
        raise Undeliverable(f"{len(seen)} findings in one report are more than {MOST}; split it", 413, "findings")
    return form, seen
