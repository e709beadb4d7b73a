"""``bulkhead export``: what was decided, for those who keep records elsewhere."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from bot import export
from bot.app import opened
from bot.cli import frame
from bot.errors import InputError

app = frame.group("Take out what was decided, for those who keep records elsewhere.")


@app.callback()
def _top() -> None:
    """Take out what was decided, for those who keep records elsewhere."""


@app.command()
def decisions(
    since: Annotated[
        str, typer.Option(help="Only what was decided at this time or later: 2026-01-31, or 2026-01-31T12:00:00+00:00.")
    ] = "",
    after: Annotated[int, typer.Option(min=0, help="Only decisions with a higher number: their seq.")] = 0,
    home: frame.Home = None,
) -> None:
    """Print every decision as one line of JSON, oldest first. BULKHEAD_SYSLOG hands the same to a syslog server."""
    frame.quiet_logs()
    with opened(frame.settings_of(home), sites={}) as bulkhead:
        for one in export.decisions(bulkhead.store, since=_time(since), after=after):
            sys.stdout.write(export.line(one) + "\n")


def _time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InputError("--since must be a date or a time, such as 2026-01-31T12:00:00+00:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
