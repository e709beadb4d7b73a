"""``bulkhead oidc migrate``: order the pull request that moves repositories at GitHub to OIDC, without a leak.

Without ``--open`` it only looks. With it the order lands as a row, as a report does: a worker runs it as an incident of
its own kind (``playbooks/containment/migration.yaml``), so that decisions, proof and undo are those of every other one.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from bot import heartbeat
from bot.actions.github_oidc import MigrationIn, open_migration
from bot.app import Bulkhead, opened
from bot.cli import frame, page
from bot.cli.following import Followed, follow
from bot.errors import BulkheadError, InputError
from bot.model import MigrationOrder
from bot.oidc.work import SESSION_S
from bot.story import ASKS, BAD, DIM, GOOD, HEADING, Line
from bot.triage.migration import KIND, ordered
from bot.world import REAL


def migrate(
    repositories: Annotated[list[str], typer.Argument(metavar="OWNER/NAME...", help="One repository, or many.")],
    secret: Annotated[str, typer.Option(help="Only the credential that this secret belongs to.")] = "",
    role: Annotated[str, typer.Option(help="ARN of the AWS role that the jobs get into; else one is made.")] = "",
    region: Annotated[str, typer.Option(help="AWS region where none can be seen.")] = "",
    environment: Annotated[str, typer.Option(help="Bind the jobs that get an identity to this environment.")] = "",
    session: Annotated[
        int, typer.Option(min=900, max=43200, help="Seconds that an AWS session lives; the role has to allow them.")
    ] = SESSION_S,
    open_: Annotated[
        bool, typer.Option("--open", help="Order the pull requests; else only say what would be.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="With --open: return when the orders have landed; --json does so too.")
    ] = False,
    by: frame.By = "",
    json_: frame.Json = False,
) -> None:
    """Move repositories at GitHub to OIDC: one pull request each, ordered once, merged by people.

    With --open it follows the orders to their end. Ends with status 1 when one of them could not be looked at or
    ordered, or did not end in a pull request.
    """
    seconds = "" if session == SESSION_S else str(session)
    orders = [
        ordered(name, secret=secret, role=role, region=region, environment=environment, session=seconds)
        for name in repositories
    ]
    frame.quiet_logs()
    rows: list[dict[str, Any]] = []
    began = datetime.now(UTC)
    with opened(frame.settings_of(None)) as bulkhead:
        for order in orders:
            if open_:
                _may(bulkhead, order)
            with frame.busy(f"looking at {order.repository}"):
                rows.append(_row(bulkhead, order, frame.person(by) if open_ else ""))
            if not json_:
                page.lines(_told(rows[-1], open_=open_))
        landed = [order for order, row in zip(orders, rows, strict=True) if row["report"]]
        if landed and not json_:
            page.lines([Line(_next(bulkhead))])
        closed = not landed or json_ or detach or not _works(bulkhead) or follow(
            bulkhead, [Followed(order, began) for order in landed]
        )  # fmt: skip
    if json_:
        frame.document(rows)
    if not closed or any(row["error"] for row in rows):
        raise typer.Exit(frame.FAILED)


def _may(bulkhead: Bulkhead, order: MigrationOrder) -> None:
    mode = bulkhead.policy.mode(KIND, order.repository, bulkhead.settings.mode)
    if mode == "observe":
        raise InputError(
            "this installation only observes, so nothing would be opened: set BULKHEAD_MODE to ask, "
            "or leave --open out to see what would be done"
        )


def _row(bulkhead: Bulkhead, order: MigrationOrder, by: str) -> dict[str, Any]:
    """One repository: what would change, and the order of ``by``. An error of one does not end the others."""
    row: dict[str, Any] = {
        "repository": order.repository, "error": "", "needed": False, "report": "", "new": False, "incident": "",
        "otherwise": "", "rival": "",
    }  # fmt: skip
    given = MigrationIn(
        repository=order.repository, secret=order.secret, role=order.role, region=order.region,
        environment=order.environment, session=order.session,
    )  # fmt: skip
    try:
        before = open_migration.look(bulkhead.worlds[REAL](KIND), given)
        row |= {name: asdict(before)[name] for name in ("summary", "needed", "files", "jobs", "kept", "rival")}
        if by and before.needed:
            row["incident"] = bulkhead.inbox.ordered(order)
        if by and before.needed and not row["incident"]:
            row["otherwise"] = bulkhead.inbox.ordered_otherwise(order)
        if by and before.needed and not row["incident"] and not row["otherwise"]:
            landed = bulkhead.inbox.migration(order, by=by, at=datetime.now(UTC))
            row |= {"report": landed.id, "new": landed.new}
    except BulkheadError as exc:
        row["error"] = str(exc)
    return row


def _told(row: dict[str, Any], *, open_: bool) -> list[Line]:
    lines = [Line(row["repository"], style=HEADING)]
    if "summary" in row:
        lines.append(Line(f"{row['summary']}."))
        lines += [Line(f"- {job} gets an identity of its own", style=DIM) for job in row["jobs"]]
        lines += [Line(f"- stays: {kept}", style=ASKS) for kept in row["kept"]]
    if row["error"]:
        lines.append(Line(row["error"], style=BAD))
    elif row["incident"]:
        said = f"It was ordered already: bulkhead incident show {row['incident']}"
        lines.append(Line(said, style=GOOD))
    elif row["otherwise"]:
        said = f"{row['otherwise']} moves the same with other answers; end it first: {frame.program()} incident show"
        lines.append(Line(said, style=ASKS))
    elif row["report"]:
        said = "has landed" if row["new"] else "was here already"
        lines.append(Line(f"The order {row['report']} {said}.", style=GOOD))
    elif row["needed"] and not open_:
        lines.append(Line(f"Open it: {frame.program()} oidc migrate {row['repository']} --open", command=True))
    return [*lines, Line("")]


def _works(bulkhead: Bulkhead) -> bool:
    return heartbeat.words(heartbeat.ages(bulkhead.store, datetime.now(UTC))["worker"]) == "ok"


def _next(bulkhead: Bulkhead) -> str:
    """Who does it, and what people are asked."""
    said = "it asks before each change (bulkhead incident list), and the clock tells what became of the pull request"
    age = heartbeat.ages(bulkhead.store, datetime.now(UTC))["worker"]
    if not _works(bulkhead):
        return f"No worker runs now ({heartbeat.words(age)}). Start one with `bulkhead serve`: {said}."
    return f"The worker that runs takes it up: {said}."
