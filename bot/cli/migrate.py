"""``bulkhead oidc migrate``: open the pull request that moves repositories at GitHub to OIDC, without an incident.

Nothing has leaked, so nobody has to be asked but who types it; the pull request is the record. It is the action that an
incident takes: looked at first, proven after, found again instead of opened twice.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Any

import typer

from bot.actions.github_oidc import MigrationBefore, MigrationIn, MigrationOutcome, open_migration
from bot.app import opened
from bot.cli import frame, page
from bot.errors import BulkheadError, InputError
from bot.model import Proof, Verdict
from bot.story import ASKS, BAD, DIM, GOOD, HEADING, Line
from bot.world import REAL, World

_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def migrate(
    repositories: Annotated[list[str], typer.Argument(metavar="OWNER/NAME...", help="One repository, or many.")],
    secret: Annotated[str, typer.Option(help="Only the credential that this secret belongs to.")] = "",
    role: Annotated[str, typer.Option(help="ARN of the AWS role that the jobs get into.")] = "",
    region: Annotated[str, typer.Option(help="AWS region where none can be seen.")] = "",
    environment: Annotated[str, typer.Option(help="Bind the jobs that get an identity to this environment.")] = "",
    open_: Annotated[bool, typer.Option("--open", help="Open the pull requests; else only say what would be.")] = False,
    json_: frame.Json = False,
) -> None:
    """Move repositories at GitHub to OIDC: one pull request each, opened once, merged by people.

    Ends with status 1 when one of them could not be looked at, opened or proven.
    """
    wrong = [name for name in repositories if not _NAME.fullmatch(name)]
    if wrong:
        raise InputError(f"{wrong[0]!r} is no repository; write OWNER/NAME")
    frame.quiet_logs()
    rows: list[dict[str, Any]] = []
    with opened(frame.settings_of(None)) as bulkhead:
        world = bulkhead.worlds[REAL]("migration")
        for name in repositories:
            given = MigrationIn(
                repository=name, secret=secret, role=role, region=region, environment=environment
            )  # fmt: skip
            with frame.busy(f"looking at {name}"):
                rows.append(_row(world, given, open_=open_))
            if not json_:
                page.lines(_told(rows[-1], open_=open_))
    if json_:
        frame.document(rows)
    if any(row["error"] for row in rows):
        raise typer.Exit(frame.FAILED)


def _row(world: World, given: MigrationIn, *, open_: bool) -> dict[str, Any]:
    """One repository: what would change, and what was done. An error of one does not end the others."""
    row: dict[str, Any] = {"repository": given.repository, "error": "", "url": "", "opened": False, "proof": ""}
    try:
        before = open_migration.look(world, given)
        row |= {name: asdict(before)[name] for name in ("summary", "needed", "files", "jobs", "kept")}
        if open_ and before.files:
            outcome, proof = _opened(world, given, before)
            row |= {"url": outcome.url, "opened": outcome.changed, "proof": proof.detail}
            row["error"] = "" if proof.verdict == Verdict.PROVEN else proof.detail
    except BulkheadError as exc:
        row["error"] = str(exc)
    return row


def _opened(world: World, given: MigrationIn, before: MigrationBefore) -> tuple[MigrationOutcome, Proof]:
    outcome = open_migration.run(world, given, before)
    return outcome, open_migration.prove(world, given, before, outcome)


def _told(row: dict[str, Any], *, open_: bool) -> list[Line]:
    lines = [Line(row["repository"], style=HEADING)]
    if "summary" in row:
        lines.append(Line(f"{row['summary']}."))
        lines += [Line(f"- {job} gets an identity of its own", style=DIM) for job in row["jobs"]]
        lines += [Line(f"- stays: {kept}", style=ASKS) for kept in row["kept"]]
    if row["error"]:
        return [*lines, Line(row["error"], style=BAD), Line("")]
    if row["url"]:
        said = "is opened" if row["opened"] else "was there already"
        return [*lines, Line(f"{row['url']} {said}: {row['proof']}", style=GOOD), Line("")]
    if row.get("needed") and not open_:
        lines.append(Line(f"Open it: {frame.program()} oidc migrate {row['repository']} --open", command=True))
    return [*lines, Line("")]
