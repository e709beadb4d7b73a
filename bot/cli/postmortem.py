"""``bulkhead postmortem``: what the timeline says of an incident, what people add, and what is to follow."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bot.app import Bulkhead, opened
from bot.cli import frame, page
from bot.errors import InputError
from bot.learn import document
from bot.learn.edits import FIELDS
from bot.learn.follow_up import CHECKS, RUNGS, follow_up
from bot.lessons.postmortem import View
from bot.replay.strip import of_incident
from bot.signing import sign
from bot.story import ASKS, BAD, DIM, GOOD, HEADING, Line, stamp

app = frame.group("Write it up: what happened, what is to change, by whom, until when.")
Which = Annotated[str, typer.Argument(help="The incident, or the beginning of its id; without it, the latest.")]
Needed = Annotated[str, typer.Argument(help="The incident, or the beginning of its id.")]
Name = Annotated[str, typer.Argument(help="The follow-up's id, as `bulkhead postmortem show` names it.")]
By = Annotated[
    str, typer.Option("--by", "--as", help="Who; without it, the user of this machine.", show_default=False)
]  # fmt: skip


@contextmanager
def _books(home: Path | None) -> Iterator[Bulkhead]:
    frame.quiet_logs()
    with opened(frame.settings_of(home), sites={}) as bulkhead:
        yield bulkhead


def _which(bulkhead: Bulkhead, wanted: str) -> str:
    rows = [row for row in bulkhead.store.incidents() if row.id.startswith(wanted)]
    exact = [row for row in rows if row.id == wanted]
    found = exact or (rows[-1:] if not wanted else rows)
    if len(found) != 1:
        raise InputError(f"say which incident; these begin so: {', '.join(row.id for row in rows) or 'none'}")
    return found[0].id


@app.command("list")
def list_(home: frame.Home = None, json_: frame.Json = False) -> None:
    """Show the post-mortems: which are published, what the others lack, and their open follow-ups."""
    with _books(home) as bulkhead:
        views = [bulkhead.postmortems.view(name) for name in bulkhead.postmortems.rows.all()]
    if json_:
        frame.document([_as_json(view) for view in views])
        return
    table = page.table("incident", "state", "follow-ups open", "what is missing")
    for view in views:
        left = sum(one.state != "done" for one in view.follow_ups)
        table.add_row(view.row.id, _state(view), str(left), " ".join(view.missing) if not view.published else "")
    page.lines([table] if views else [Line("There is none yet; one begins when an incident is closed.")])


@app.command()
def show(incident: Which = "", home: frame.Home = None, json_: frame.Json = False) -> None:
    """Show a post-mortem as it stands, what it lacks, and how each follow-up stands."""
    with _books(home) as bulkhead:
        view = bulkhead.postmortems.view(_which(bulkhead, incident))
        text = document.markdown(bulkhead.postmortems.document(view))
    if json_:
        frame.document(_as_json(view) | {"markdown": text})
        return
    sys.stdout.write(text)
    page.lines([Line(""), *_ending(view)])


def _state(view: View) -> str:
    if view.published and view.begun:
        return f"published {stamp(view.begun.published_at)}"
    return "draft" if view.draft.over else "the incident is not over"


def _ending(view: View) -> list[Line]:
    """What comes next."""
    lines = [Line(f"{view.row.id}: {_state(view)}", style=GOOD if view.published else HEADING)]
    for one in view.follow_ups:
        where = f" {one.url}" if one.url else ""
        text = f"{one.what.id}: {one.what.title} ({one.what.owner or 'nobody'}, {one.what.due or 'no date'}){where}"
        lines.append(Line(text, mark=one.state, style={"done": GOOD, "reopened": BAD}.get(one.state, ASKS)))
    if not view.published:
        lines += [Line(f"- {text}", style=BAD) for text in view.missing]
    lines += [Line(f"- {text}", style=ASKS) for text in view.warnings]
    if not view.published and not view.missing:
        lines.append(Line(f"{frame.program()} postmortem publish {view.row.id}", command=True))
    return lines


@app.command()
def edit(
    incident: Needed,
    field: Annotated[str, typer.Argument(help=f"One of {', '.join(FIELDS)}.")],
    text: Annotated[str, typer.Argument(help="The text; without it, standard input is read.")] = "",
    seen: Annotated[int | None, typer.Option(help="Number of the last edit you saw, as show --json told it; what was "
                                             "written since is not written over.", show_default=False)] = None,
    by: By = "", home: frame.Home = None,
) -> None:  # fmt: skip
    """Write a field. What somebody else writes at the same time stands beside yours until both are put together."""
    with _books(home) as bulkhead:
        name, who = _which(bulkhead, incident), frame.person(by)
        said = text or sys.stdin.read()
        view = bulkhead.postmortems.edit(name, {field: said}, by=who, key=_key(), seen=seen)
    beside = view.written.conflicts.get(field)
    if beside is None:
        page.lines([Line(f"{FIELDS[field].label} is written.", style=GOOD)])
        return
    page.lines([Line(f"{FIELDS[field].label}: somebody else wrote it too. Both stand until one puts them together:",
                     style=ASKS)])  # fmt: skip
    page.lines(Line(f"- {word.by}: {word.text}") for word in (beside.now, *beside.beside))


@app.command()
def follow(
    incident: Needed,
    title: Annotated[str, typer.Argument(help="What is to be done.")] = "",
    owner: Annotated[str, typer.Option(help="Who does it.", show_default=False)] = "",
    due: Annotated[str, typer.Option(help="Until which day: 2026-11-30.", show_default=False)] = "",
    check: Annotated[str, typer.Option(
        help="What a machine looks at: " + "; ".join(f"{n} {k.usage}" for n, k in CHECKS.items()), show_default=False,
    )] = "",
    does: Annotated[str, typer.Option(help=f"What it does: {', '.join(RUNGS)}.", show_default=False)] = "",
    id_: Annotated[str, typer.Option("--id", help="Change this follow-up instead of adding one.",
                                     show_default=False)] = "",
    drop: Annotated[bool, typer.Option("--drop", help="With --id: take it out.")] = False,
    by: By = "", home: frame.Home = None,
) -> None:  # fmt: skip
    """Add a follow-up, or change one: what, who, until when, and what a machine looks at to see it done."""
    with _books(home) as bulkhead:
        name, who, books = _which(bulkhead, incident), frame.person(by), bulkhead.postmortems
        if drop:
            books.drop(name, id_, by=who, key=_key())
            page.lines([Line(f"{id_} is taken out.", style=GOOD)])
            return
        known = {one.what.id: one.what for one in books.view(name).follow_ups}
        if id_ and id_ not in known:
            raise InputError(f"there is no follow-up {id_[:40]!r}; there are: {', '.join(known) or 'none'}")
        old = known.get(id_) or follow_up("new", title=title)
        made = follow_up(
            id_ or secrets.token_hex(3), title=title or old.title, owner=owner or old.owner, due=due or old.due,
            rung=does or old.rung, check=check or old.check,
        )  # fmt: skip
        books.follow(name, made, by=who, key=_key())
    page.lines([Line(f"{made.id}: {made.title}", style=GOOD)])


@app.command()
def done(incident: Needed, name: Name, by: By = "", home: frame.Home = None) -> None:
    """Say that a follow-up is done which no machine looks at."""
    with _books(home) as bulkhead:
        bulkhead.postmortems.done(_which(bulkhead, incident), name, by=frame.person(by))
    page.lines([Line(f"{name} is done.", style=GOOD)])


@app.command()
def publish(
    incident: Needed,
    key: Annotated[Path | None, typer.Option("--sign", help="Sign with this SSH key, as decisions are.",
                                             show_default=False)] = None,
    by: By = "", home: frame.Home = None,
) -> None:  # fmt: skip
    """Publish it. A running worker then opens the follow-ups as issues, and the migration's pull request."""
    with _books(home) as bulkhead:
        name = _which(bulkhead, incident)
        signer = None if key is None else partial(sign, key=key)
        view = bulkhead.postmortems.publish(name, by=frame.person(by), sign=signer)
    page.lines([
        Line(f"{view.row.id}: the post-mortem is published.", style=GOOD),
        *(Line(f"- {text}", style=ASKS) for text in view.warnings),
        Line(f"Follow-ups that are ordered: {len(view.follow_ups)}. A running worker opens them.", style=DIM),
    ])  # fmt: skip


@app.command()
def export(
    incident: Which = "",
    html: Annotated[bool, typer.Option("--html", help="As one HTML file that needs nothing else.")] = False,
    out: Annotated[Path | None, typer.Option(help="The file; without it, standard output.", show_default=False)] = None,
    home: frame.Home = None,
) -> None:  # fmt: skip
    """Write it out as Markdown or HTML. Indicators are defanged, secrets are scrubbed; read it before you send it."""
    with _books(home) as bulkhead:
        view = bulkhead.postmortems.view(_which(bulkhead, incident))
        made = bulkhead.postmortems.document(view)
        drawn = of_incident(view.row, view.events) if html else ""
    text = document.page(made, drawn) if html else document.markdown(made)
    if out is None:
        sys.stdout.write(text)
        return
    if out.exists():
        raise InputError(f"{out} is there already; give another file with --out")
    out.write_text(text, encoding="utf-8")
    page.lines([Line(f"written to {out}", style=GOOD)])


def _as_json(view: View) -> dict[str, object]:
    begun = view.begun
    return {
        "incident": view.row.id, "state": "published" if view.published else "draft" if view.draft.over else "early",
        "published_at": (begun.published_at or None) if begun else None, "seen": view.written.last,
        "fields": {name: view.field(name) for name in FIELDS}, "times": asdict(view.draft.times),
        "conflicts": {n: [asdict(w) for w in (t.now, *t.beside)] for n, t in view.written.conflicts.items()},
        "follow_ups": [asdict(one.what) | {"state": one.state, "detail": one.detail, "url": one.url or None}
                       for one in view.follow_ups],
        "missing": view.missing, "warnings": view.warnings,
    }  # fmt: skip


def _key() -> str:
    """Of each command its own: given again, it is another edit."""
    return f"cli:{secrets.token_hex(8)}"
