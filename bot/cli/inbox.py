"""``bulkhead inbox``: what was delivered, what became of it, and to have a delivery worked again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from bot.app import Bulkhead, opened
from bot.cli import frame, page
from bot.errors import InputError
from bot.model import Trust
from bot.store_intake import DEAD, HELD, LANDED, WORKED, again, listed
from bot.story import BAD, DIM, GOOD, HEADING, Line, stamp

app = frame.group("What scanners and people have delivered, and what became of it.")
Id = Annotated[str, typer.Argument(help="The delivery, or the beginning of its id.")]
STATES = (LANDED, WORKED, HELD, DEAD)


@contextmanager
def _books(home: Any) -> Iterator[Bulkhead]:
    frame.quiet_logs()
    with opened(frame.settings_of(home), sites={}) as bulkhead:
        yield bulkhead


@app.command("list")
def list_(
    state: Annotated[str, typer.Option(help="Only those that are landed, worked, held or dead.")] = "",
    most: Annotated[int, typer.Option(help="So many at most, the newest.", min=1, max=10_000)] = 50,
    home: frame.Home = None,
    json_: frame.Json = False,
) -> None:
    """Show deliveries: landed ones wait for a worker, held ones for a person, dead ones could not be worked."""
    if state and state not in STATES:
        raise InputError(f"--state is one of {', '.join(STATES)}, not {state[:30]!r}")
    with _books(home) as bulkhead:
        rows = listed(bulkhead.store, state, most)
    if json_:
        frame.document({"deliveries": rows})
        return
    table = page.table("delivery", "state", "landed", "what became of it")
    for row in rows:
        table.add_row(_short(row["id"]), row["state"], stamp(row["landed_at"]), row["note"])
    page.lines([table] if rows else [Line(f"nothing {state or 'was delivered yet'}")])


def _short(inbox_id: str) -> str:
    """Enough of an id to be told from others."""
    source, _, key = inbox_id.partition(":")
    return f"{source}:{key[:12]}"


def _row(bulkhead: Bulkhead, wanted: str) -> dict[str, Any]:
    """The delivery that is meant. Raises InputError, listing which there are."""
    exact = bulkhead.store.inbox(inbox_id=wanted)
    found = exact or [
        row for one in listed(bulkhead.store, most=10_000) if one["id"].startswith(wanted)
        for row in bulkhead.store.inbox(inbox_id=one["id"])
    ]  # fmt: skip
    if len(found) != 1:
        which = ", ".join(_short(row["id"]) for row in found[:5]) or "none"
        raise InputError(f"say which delivery; these begin so: {which}; see `bulkhead inbox list`")
    return found[0]


@app.command()
def show(delivery: Id, home: frame.Home = None, json_: frame.Json = False) -> None:
    """What one delivery told, scrubbed, and what became of it."""
    with _books(home) as bulkhead:
        row = _row(bulkhead, delivery)
    if json_:
        frame.document(row)
        return
    body, bad = row["body"], BAD if row["state"] in (DEAD, HELD) else ""
    sender = body.get("sender") or row["source"]
    lines = [
        Line(row["id"], style=HEADING),
        Line(f"{row['state']}: {row['note'] or 'waits for a worker'}", style=bad),
        Line(f"Landed {stamp(row['landed_at'])}, from {sender} ({body.get('trust', Trust.OPERATOR)})"),
        Line(f"SHA-256 of what came: {row['raw_sha256']}", style=DIM),
        *[Line(text) for text in str(body.get("text", "")).splitlines()],
    ]  # fmt: skip
    page.lines([*lines, *map(Line, map(_told, body.get("cases", ())))])


def _told(case: dict[str, Any]) -> str:
    credential = case["credential"] or {}
    what = credential.get("id") or credential.get("fingerprint") or case["run_url"] or case["called"]
    where = f"{case['where']}, line {case['line']}" if case["line"] else case["where"]
    parts = [credential.get("kind", ""), what, where, case["repository"], case["exposure"], case["url"]]
    return "- " + ", ".join(part for part in parts if part)


@app.command()
def replay(
    delivery: Annotated[str, typer.Argument(help="The delivery, or the beginning of its id.")] = "",
    all_: Annotated[bool, typer.Option("--dead", help="Every dead one.")] = False,
    held: Annotated[bool, typer.Option("--held", help="Every held one; with --open, on your word.")] = False,
    open_: Annotated[
        bool, typer.Option("--open", help="Let a held one in on your word: from then on it counts as reported by you.")
    ] = False,
    by: frame.By = "",
    home: frame.Home = None,
) -> None:  # fmt: skip
    """Have a dead or held delivery worked again. What it held is still sealed, or must be sent again."""
    if bool(delivery) + all_ + held != 1:
        raise InputError("name one delivery, or say --dead or --held for every one that is")
    with _books(home) as bulkhead:
        rows = [_row(bulkhead, delivery)] if delivery else [
            row for one in listed(bulkhead.store, HELD if held else DEAD, 10_000)
            for row in bulkhead.store.inbox(inbox_id=one["id"])
        ]  # fmt: skip
        done = [row["id"] for row in rows if again(bulkhead.store, row["id"], _vouched(row, by) if open_ else None)]
    if delivery and not done:
        raise InputError(f"{_short(rows[0]['id'])} is {rows[0]['state']}; only what is dead or held is worked again")
    text = "A worker (bulkhead serve) takes it up within a second." if done else f"nothing is {HELD if held else DEAD}"
    page.lines([Line(f"{_short(one)} is landed again.", style=GOOD) for one in done] + [Line(text)])


def _vouched(row: dict[str, Any], by: str) -> dict[str, Any]:
    """The same delivery on a person's word."""
    who = frame.person(by)
    body: dict[str, Any] = row["body"]
    return body | {
        "trust": Trust.OPERATOR.value, "by": who, "vouched": {"by": who, "at": datetime.now(UTC).isoformat()},
    }  # fmt: skip
