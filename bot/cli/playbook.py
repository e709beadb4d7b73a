"""``bulkhead playbook``: read, check and prove playbooks."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from bot import drill as drills
from bot import playbook
from bot.actions import CATALOGUE
from bot.app import SHIPPED, load_playbooks, opened
from bot.cli import drill, frame, page
from bot.doctor import drilled
from bot.engine.rules import drilled_name
from bot.errors import BulkheadError, InputError, PlaybookError
from bot.playbook import Playbook
from bot.settings import Settings, read
from bot.store import iso
from bot.story import BAD, GOOD, HEADING, Line
from bot.timeline import Event

app = frame.group("Read, check and prove playbooks.")


@app.command("list")
def list_(json_: frame.Json = False) -> None:
    """Show the shipped playbooks and your own."""
    settings = read()
    books = load_playbooks(settings)
    rows = [_row(settings, book) for book in books.values()]
    if json_:
        frame.document(rows)
        return
    table = page.table("playbook", "what", "steps", "proven by a drill", "file")
    for row in rows:
        proven = row["drilled"] or ("not yet here" if row["drill"] else "has no drill: it never acts by itself")
        table.add_row(row["id"], row["title"], str(row["steps"]), proven, row["source"])
    page.lines([table])


def _row(settings: Settings, book: Playbook) -> dict[str, Any]:
    return {
        "id": book.id, "title": book.title, "match": {key: list(values) for key, values in book.match.items()},
        "steps": len(book.steps), "drill": book.drill, "drilled": drilled(settings, book), "sha256": book.sha256,
        "source": book.source,
    }  # fmt: skip


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The playbook, as `bulkhead playbook list` shows it.")],
    json_: frame.Json = False,
) -> None:
    """Show a playbook's steps in order: what each does and needs."""
    book = _book(load_playbooks(read()), name)
    steps: list[dict[str, Any]] = [
        {
            "id": step.id, "uses": step.uses, "title": CATALOGUE[step.uses].title,
            "effect": CATALOGUE[step.uses].effect.value, "needs": dict(step.needs), "on_failure": step.on_failure,
            "undo": CATALOGUE[step.uses].undo is not None, "permissions": list(CATALOGUE[step.uses].permissions),
        }
        for step in book.order()
    ]  # fmt: skip
    if json_:
        head = {"id": book.id, "title": book.title, "sha256": book.sha256, "source": book.source}
        frame.document(head | {"steps": steps})
        return
    table = page.table("step", "what it does", "effect", "undo", "needs")
    for step in steps:
        needs = ", ".join(f"{name} {level}" for name, level in step["needs"].items())
        table.add_row(step["id"], step["title"], step["effect"], "yes" if step["undo"] else "no", needs)
    page.lines([Line(book.title, style=HEADING), Line(f"{book.source}, sha256 {book.sha256}"), table])


def _book(books: dict[str, Playbook], name: str) -> Playbook:
    if name not in books:
        raise InputError(f"there is no playbook {name!r}; there are: {', '.join(books)}")
    return books[name]


@app.command()
def schema() -> None:
    """Print the JSON Schema of playbooks, for your editor."""
    frame.document(playbook.json_schema(CATALOGUE))


@app.command()
def check(
    files: Annotated[list[Path] | None, typer.Argument(help="Playbook files; otherwise all in use.")] = None,
    prove: Annotated[bool, typer.Option("--drill", help="Run each one's drill too, and record the pass.")] = False,
    json_: frame.Json = False,
) -> None:
    """Say every mistake in playbooks with its line; status 2 when there is one, 1 when a drill does not prove one.

    A playbook that names no drill is no mistake: whatever it wants to change, it asks for.
    """
    settings = read()
    paths = files or [Path(book.source) for book in load_playbooks(settings).values()]
    known = set(drill.scenarios())
    checked = [_check(path, known) for path in paths]
    if not json_:
        page.lines(_said(checked))
    wrong = any(problems for _, _, problems in checked)
    proven = [_prove(settings, book, json_) for _, book, _ in checked if book] if prove and not wrong else []
    if json_:
        frame.document({"files": [_checked(*one) for one in checked], "drills": proven})
    if wrong:
        raise typer.Exit(frame.BAD_INPUT)
    if not all(one["contained"] for one in proven if one["drill"]):
        raise typer.Exit(frame.FAILED)


def _check(path: Path, known: set[str]) -> tuple[Path, Playbook | None, list[tuple[int, str]]]:
    try:
        book = playbook.load(path.read_text(encoding="utf-8"), str(path), CATALOGUE, known)
    except PlaybookError as exc:
        return path, None, exc.problems
    except UnicodeDecodeError:
        return path, None, [(1, "the file is not UTF-8 text")]
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror}") from None
    return path, book, []


def _said(checked: Iterable[tuple[Path, Playbook | None, list[tuple[int, str]]]]) -> list[Line]:
    lines = []
    for path, book, problems in checked:
        lines += [Line(f"{path}:{line}: {text}", command=True, style=BAD) for line, text in problems]
        if book is not None:
            lines.append(Line(f"{path}: {book.id}, {len(book.steps)} steps, no mistake", style=GOOD))
    return lines


def _checked(path: Path, book: Playbook | None, problems: list[tuple[int, str]]) -> dict[str, Any]:
    said = [{"line": line, "text": text} for line, text in problems]
    known = {"id": book.id, "sha256": book.sha256} if book else {"id": None, "sha256": None}
    return {"file": str(path), "problems": said} | known


def _prove(settings: Settings, book: Playbook, quiet: bool) -> dict[str, Any]:
    """Run the playbook's drill and record the pass against the hash of its text."""
    if not book.drill:
        none = f"{book.id} names no drill"
        if not quiet:
            page.lines([Line(""), Line(f"{none}: it asks before each change", style=HEADING)])
        return {"playbook": book.id, "drill": "", "contained": False, "why_not": [none]}
    if not quiet:
        page.lines([Line(""), Line(f"{book.drill} proves {book.id}", style=HEADING)])
    source = Path(book.source).resolve()
    with tempfile.TemporaryDirectory(prefix="bulkhead-drill-") as folder:
        own = drill.settings_for(drill.scenario(book.drill), Path(folder), settings)
        if source.parent != SHIPPED / "containment":
            own = own.model_copy(update={"playbooks": source.parent})
        why = _outcome(own, book, quiet)
    if not why:
        _record(settings, book)
    if not quiet:
        text = "recorded as proven" if not why else f"not proven: {'; '.join(why)}"
        page.lines([Line(f"{book.id}, sha256 {book.sha256[:12]}: {text}", style=GOOD if not why else BAD)])
    return {"playbook": book.id, "drill": book.drill, "contained": not why, "why_not": why}


def _outcome(own: Settings, book: Playbook, quiet: bool) -> list[str]:
    """Why the drill does not prove this text; empty when it does."""
    try:
        with drills.range_up() as range_here:
            result = drill.perform(drill.scenario(book.drill), own, range_here, drill.Teller(silent=quiet))
    except BulkheadError as exc:
        return [str(exc)]
    ran = [Event(**e).body["playbook"]["sha256"] for e in result.timeline if e["kind"] == "opened"]
    return result.why_not if ran == [book.sha256] else ["the drill ran another playbook than this file"]


def _record(settings: Settings, book: Playbook) -> None:
    said = {"sha256": book.sha256, "drill": book.drill, "at": iso(datetime.now(UTC))}
    with opened(settings, sites={}) as bulkhead:
        bulkhead.store.set_setting(drilled_name(book.id), json.dumps(said))
