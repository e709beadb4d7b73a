"""``bulkhead status``: how Bulkhead itself is, thing by thing, and what to do about what is not well."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from bot.app import PAGES_AT, opened
from bot.cli import frame, page
from bot.doors import STATUS, Doors
from bot.errors import InputError
from bot.health.lights import GREEN, RED, YELLOW, Health, parts
from bot.story import ASKS, BAD, GOOD, HEADING, Line, stamp

app = frame.group("How Bulkhead itself is.")
STYLES = {GREEN: GOOD, YELLOW: ASKS, RED: BAD}
MARKS = {GREEN: "ok", YELLOW: "look", RED: "BAD"}


@app.callback()
def _group() -> None:
    """One command would be no group."""


@app.command("status")
def status(
    link: Annotated[bool, typer.Option("--link", help="Print a link that opens this page once, in a browser.")] = False,
    home: frame.Home = None,
    json_: frame.Json = False,
) -> None:
    """Processes, doors, lag, providers as last heard of, kill switch, mode, version; status 1 when something is bad."""
    frame.quiet_logs()
    with opened(frame.settings_of(home), sites={}) as bulkhead:
        found = bulkhead.health()
        address = bulkhead.settings.web_url or bulkhead.store.setting(PAGES_AT)
        if link and not address:
            raise InputError("nobody serves the pages yet; `bulkhead serve` does, on PostgreSQL `bulkhead web`")
        token = Doors(bulkhead.store).link(STATUS, datetime.now(UTC)) if link else ""
    once = f"{address}/open/{token}" if link else ""
    if json_:
        frame.document(asdict(found) | {"worst": found.worst} | ({"link": once} if once else {}))
    else:
        page.lines([*_told(found), *([Line(once, command=True)] if once else [])])
    if found.worst == RED:
        raise typer.Exit(frame.FAILED)


def _told(found: Health) -> list[Line]:
    lines = [Line(f"Bulkhead {found.version}, as of {stamp(found.at)}", style=HEADING)]
    for part, lights in parts(found.lights).items():
        lines += [Line(""), Line(part, style=HEADING)]
        for one in lights:
            lines.append(Line(f"{one.name}: {one.says}.", MARKS[one.state], "", STYLES[one.state]))
            if one.do:
                lines.append(Line(f"Do: {one.do}.", "", "", STYLES[one.state]))
    return lines
