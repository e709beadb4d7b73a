"""``bulkhead policy compare``, ``announce``, ``notes``: what changes with a policy, signed and told."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bot.app import opened, policy_text
from bot.cli import frame, page
from bot.engine.announced import Note, Notes
from bot.engine.compared import LESS, MORE, Change, compare
from bot.engine.policy import Policy
from bot.errors import InputError
from bot.settings import read
from bot.signing import sign
from bot.story import ASKS, BAD, DIM, GOOD, HEADING, Line, stamp

New = Annotated[Path, typer.Argument(help="The new policy: a file like playbooks/policy.yaml.", show_default=False)]
From = Annotated[
    Path | None,
    typer.Option(
        "--from", show_default=False,
        help="Compare with this file; otherwise with the policy in force, or, where FILE is that, with the one before.",
    ),
]  # fmt: skip
STYLES = {LESS: BAD, MORE: GOOD}
HEADS = {LESS: "People are asked less", MORE: "People are asked more"}


def add(app: typer.Typer) -> None:
    """Bring the commands to their group."""
    app.command("compare")(compare_)
    app.command("announce")(announce)
    app.command("notes")(notes)


def compare_(new: New, old: From = None, json_: frame.Json = False) -> None:
    """Say what would be done or asked under another policy that is not now. Nothing is changed."""
    frame.quiet_logs()
    if old is not None:
        was = _read(old)
    else:
        settings = read()
        was = policy_text(settings.policy)
        if _read(new) == was and (not settings.one_process or (settings.home / "bulkhead.db").is_file()):
            with opened(settings, sites={}) as bulkhead:
                was = _before(bulkhead.notes, was)
    _show(_changes(was, _read(new), str(new)), json_=json_)


def announce(
    new: New,
    reason: Annotated[str, typer.Option("--reason", help="Why; people read it.", show_default=False)] = "",
    old: From = None,
    by: frame.By = "",
    key: Annotated[
        Path | None, typer.Option("--sign", help="Sign with this SSH key, or with the agent's.", show_default=False)
    ] = None,
    json_: frame.Json = False,
) -> None:  # fmt: skip
    """Sign a note of what changes with a policy, and tell it in Slack and to syslog. It puts nothing in force."""
    frame.quiet_logs()
    settings = read()
    with opened(settings, sites={}) as bulkhead:
        text = _read(new)
        was = _read(old) if old else policy_text(settings.policy)
        if old is None and text == was:
            was = _before(bulkhead.notes, was)
        changes = _changes(was, text, str(new))
        why, signer = bulkhead.vault.scrubber.scrub(reason), partial(sign, key=key) if key else None
        note = bulkhead.notes.announce(
            was, text, changes, by=frame.person(by), at=datetime.now(UTC), reason=why, sign=signer
        )
    if json_:
        frame.document(asdict(note))
        return
    _show(changes, json_=False)
    page.lines([
        Line(f"Note {note.seq} is signed by {note.by} and kept; Slack is told, where a channel is set.", style=GOOD),
        Line("It is in force when BULKHEAD_POLICY of every process names that file and they are started again."),
    ])  # fmt: skip


def notes(json_: frame.Json = False) -> None:
    """Every note, oldest first, checked again; status 1 where one does not hold or another policy is in force."""
    frame.quiet_logs()
    settings = read()
    with opened(settings, sites={}) as bulkhead:
        found, now = bulkhead.notes.all(), bulkhead.policy.sha256
        wrong = bulkhead.notes.unlike(found[-1] if found else None, bulkhead.policy)
    if json_:
        frame.document({"in_force": now, "wrong": wrong, "notes": [asdict(one) for one in found]})
    else:
        page.lines(_listed(found, now, wrong))
    if wrong or any(one.wrong for one in found):
        raise typer.Exit(frame.FAILED)


def _before(known: Notes, was: str) -> str:
    """The policy before the one in force, as a note has it. Raises InputError when nobody knows."""
    newest = known.newest()
    text = known.text(newest.now) if newest and not newest.wrong else ""
    if not text or text == was:
        raise InputError("that is the policy in force: name the one before with --from FILE")
    return text


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise InputError(f"{file} cannot be read: {why}") from None


def _changes(was: str, now: str, name: str) -> list[Change]:
    return compare(Policy.load(was, "the policy before"), Policy.load(now, name))


def _show(changes: list[Change], *, json_: bool) -> None:
    if json_:
        frame.document({"changes": [one.as_json() for one in changes]})
    elif not changes:
        page.lines([Line("They decide the same in every case.", style=GOOD)])
    else:
        page.lines(told(changes))


def told(changes: list[Change]) -> list[Line]:
    """The changes, those first by which people are asked less."""
    lines, way = [], ""
    for one in changes:
        if one.way != way:
            way = one.way
            lines.append(Line(HEADS.get(way, "Besides"), style=HEADING))
        lines.append(Line(f"- {one.text}.", style=STYLES.get(one.way, "")))
        if one.rule:
            lines.append(Line(f"  Rule {one.rule}: {one.reason}", style=DIM))
    return lines


def _listed(found: list[Note], now: str, wrong: str) -> list[Line]:
    lines = []
    for one in found:
        lines.append(Line(f"Note {one.seq}, {stamp(one.at)}, by {one.by}: {one.reason}", style=HEADING))
        if one.wrong:
            lines.append(Line(f"It does not hold: {one.wrong}.", "BAD", "", BAD))
        lines += told(list(one.changes))
    if not found:
        lines.append(Line("No change of policy was announced yet; `bulkhead policy announce FILE` does."))
    text = f"In force: {now[:12]}…" + (f". {wrong}" if wrong else "")
    return [*lines, Line(text, style=ASKS if wrong else GOOD)]
