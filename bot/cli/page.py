"""Lines and tables on a terminal, or as plain text of 100 columns in a pipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from bot.cli import frame
from bot.story import ASKS, BAD, DIM, GOOD, GRADES, HEADING, Line

LEGEND = [Line(f"{grade}: {words}", style=DIM) for grade, words in GRADES.items()]
STATES = {"closed": GOOD, "proven_dead": GOOD, "failed": BAD, "reopened": BAD, "waived": ASKS, "tail_open": ASKS}


def lines(parts: Iterable[Line | RenderableType], console: Console | None = None) -> None:
    """Print lines, each wrapped and with its mark in colour, and tables."""
    console = console or frame.out()
    width = min(console.width, frame.WIDTH)
    for part in parts:
        console.print(styled(part, width) if isinstance(part, Line) else part, soft_wrap=isinstance(part, Line))


def styled(line: Line, width: int = frame.WIDTH) -> Text:
    """A line with its style: all of a heading, only the mark of an event."""
    text = Text(line.plain(width))
    if line.mark:
        start = len(line.lead)
        text.stylize(DIM, 0, start)
        text.stylize(line.style, start, start + len(line.mark))
    elif line.style:
        text.stylize(line.style)
    return text


def table(*heads: str) -> Table:
    """A table without much ink."""
    made = Table(box=box.SIMPLE_HEAD, header_style=HEADING, pad_edge=False, padding=(0, 1))
    for head in heads:
        made.add_column(head, overflow="fold")
    return made


def ledger(rows: Iterable[dict[str, Any]]) -> Table:
    """Every credential in reach, what became of it, and how that is known."""
    made = table("credential", "state", "proof", "how it is known")
    for row in rows:
        why = row["detail"] or row["how"]
        open_tails = [tail for tail in row["tails"] if not tail["ended"] and row["state"] == "tail_open"]
        why += "".join(f" Until {tail['until'][:16]} UTC: {tail['kind']}." for tail in open_tails)
        state = Text(row["state"].replace("_", " "), style=STATES.get(row["state"], ""))
        why += f" (waived by {row['waived_by']})" if row["waived_by"] else ""
        made.add_row(row["key"], state, row["proof"] or "-", why)
    return made
