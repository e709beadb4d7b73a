"""``bulkhead campaign``: which of our runs used a poisoned action or package, and how far containing it has come."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from bot import timeline
from bot.app import Bulkhead, opened
from bot.cli import frame, page
from bot.engine.ledger import Ledger
from bot.errors import InputError
from bot.settings import read
from bot.store import IncidentRow
from bot.story import BAD, DIM, GOOD, HEADING, Line, stamp
from bot.triage.campaign import ACTION, KIND, PACKAGE, Hunt, Swept, sweep

app = frame.group("Which runs used a poisoned action or package, and what was in their reach.")
Action = Annotated[str, typer.Option(help="OWNER/NAME@SHA, or @TAG.", show_default=False)]
Package = Annotated[str, typer.Option(help="NAME@VERSION.", show_default=False)]
From = Annotated[str, typer.Option("--from", help="Since when, ISO 8601: 2026-03-14 or 2026-03-14T16:00Z.")]
To = Annotated[str, typer.Option("--to", help="Until when; without it, now.", show_default=False)]
Repo = Annotated[list[str] | None, typer.Option(help="OWNER/REPOSITORY; may be given again.", show_default=False)]
Org = Annotated[list[str] | None, typer.Option(help="All repositories of an organization.", show_default=False)]


def _time(text: str, name: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"--{name} must be a time in ISO 8601: 2026-03-14, or 2026-03-14T16:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _hunt(action: str, package: str, since: str, until: str, repo: list[str] | None, org: list[str] | None) -> Hunt:
    if bool(action) == bool(package):
        raise InputError("name one thing: --action OWNER/NAME@SHA, or --package NAME@VERSION")
    name, _, ref = (action or package).rpartition("@")
    if bad := [one for one in repo or () if one.count("/") != 1] + [one for one in org or () if "/" in one]:
        raise InputError(f"{bad[0][:80]}: --repo takes OWNER/REPOSITORY, --org takes OWNER")
    return Hunt(
        what=ACTION if action else PACKAGE, name=name, ref=ref, since=_time(since, "from"),
        until=_time(until, "to") if until else datetime.now(UTC), homes=(*(repo or ()), *(org or ())),
    )  # fmt: skip


@app.command()
def find(
    action: Action = "", package: Package = "", since: From = ..., until: To = "", repo: Repo = None, org: Org = None,  # type: ignore[assignment]
    json_: frame.Json = False,
) -> None:  # fmt: skip
    """Look for the runs and say what was in their reach. Nothing is opened and nothing is changed."""
    hunt = _hunt(action, package, since, until, repo, org)
    frame.quiet_logs()
    with opened(read()) as bulkhead, frame.busy("reading runs and their logs"):
        swept = sweep(bulkhead.worlds["real"]("campaign"), bulkhead.recognizer, hunt)
    if json_:
        frame.document(_found(swept))
        return
    table = page.table("repository", "run", "began", "how that is known")
    for use in swept.uses:
        table.add_row(use.run.repository, str(use.run.run_id), stamp(use.at), use.how)
    names = sorted({(each.scope, each.name) for each in swept.reach if each.kind != "github-token"})
    lines: list[Any] = [Line(f"{len(swept.uses)} of {swept.runs} runs used {hunt.name}@{hunt.ref}.", style=HEADING)]
    lines += [table] if swept.uses else []
    lines += [Line(f"In reach: {name} ({scope})") for scope, name in names]
    lines += [Line(f"Its log holds a {hit.kind}: {hit.where}", style=BAD) for hit in swept.found]
    lines += [Line(text, style=DIM) for text in dict.fromkeys(swept.unknown)]
    page.lines([*lines, Line("Open it: the same with `campaign open`.")] if swept.uses else lines)


def _found(swept: Swept) -> dict[str, Any]:
    return {
        "looked_at": swept.runs,
        "runs": [
            {"repository": u.run.repository, "run": u.run.run_id, "workflow": u.run.workflow, "commit": u.run.commit,
             "at": u.at, "how": u.how, "sure": u.sure}
            for u in swept.uses
        ],
        "reach": [{"kind": each.kind, "name": each.name, "scope": each.scope, "how": each.how} for each in swept.reach],
        "in_logs": [{"kind": hit.kind, "id": hit.id, "where": hit.where} for hit in swept.found],
        "unknown": list(dict.fromkeys(swept.unknown)),
    }  # fmt: skip


@app.command("open")
def open_(
    action: Action = "", package: Package = "", since: From = ..., until: To = "", repo: Repo = None, org: Org = None,  # type: ignore[assignment]
    by: frame.By = "", json_: frame.Json = False,
) -> None:  # fmt: skip
    """Open one incident for the question; each credential in reach that is known gets its own, by its own playbook."""
    hunt = _hunt(action, package, since, until, repo, org)
    frame.quiet_logs()
    with opened(read(), sites={}) as bulkhead:
        landed = bulkhead.inbox.campaign(hunt, by=frame.person(by), at=datetime.now(UTC))
    if json_:
        frame.document({"report": landed.id, "new": landed.new, "campaign": hunt.id})
        return
    text = f"Campaign {hunt.name}@{hunt.ref} {'has landed' if landed.new else 'was here already'}."
    next_ = "A worker (bulkhead serve) looks for the runs; `bulkhead campaign show` says how far it is."
    page.lines([Line(text, style=GOOD), Line(next_)])


@app.command()
def show(
    incident: Annotated[str, typer.Argument(help="The parent incident; without it, the newest campaign.")] = "",
    home: frame.Home = None,
    json_: frame.Json = False,
) -> None:
    """How far a campaign is: one line a repository, with its runs, what was in reach, and what has become of that."""
    frame.quiet_logs()
    with opened(frame.settings_of(home), sites={}) as bulkhead:
        row = _row(bulkhead, incident)
        told = _progress(bulkhead, row)
    if json_:
        frame.document(told)
        return
    page.lines([Line(f"{row.id}: {told['campaign']}", style=HEADING), Line(f"It is {row.status}. {told['answer']}")])
    table = page.table("repository", "runs", "in reach", "done", "open")
    for one in told["repositories"]:
        open_rows = ", ".join(one["open"]) or "-"
        table.add_row(one["repository"], str(one["runs"]), str(one["reach"]), str(one["done"]), open_rows)
    children = [
        Line(f"{child['incident']} ({child['status']}) contains {child['row']}",
             style=GOOD if child["status"] == "closed" else "")
        for child in told["children"]
    ]  # fmt: skip
    page.lines([table, *children])


def _row(bulkhead: Bulkhead, wanted: str) -> IncidentRow:
    if wanted:
        row = bulkhead.store.incident(wanted)
        if not row.credential_key.startswith(f"{KIND}:"):
            raise InputError(f"{wanted} is no campaign; see `bulkhead incident show {wanted}`")
        return row
    rows = [row for row in bulkhead.store.incidents() if row.credential_key.startswith(f"{KIND}:")]
    if not rows:
        raise InputError("there is no campaign; open one with `bulkhead campaign open`")
    return rows[-1]


def _progress(bulkhead: Bulkhead, row: IncidentRow) -> dict[str, Any]:
    """One row a repository. A secret of an organization counts where it was read, and is one row of the ledger."""
    events = timeline.load(bulkhead.store, row.id)
    found = next((event.body for event in events if event.kind == "triage" and event.body), None)
    campaign = row.credential_key.partition(":")[2]
    if found is None:
        return {"incident": row.id, "campaign": campaign, "status": row.status, "repositories": [], "children": [],
                "answer": "The runs are still being looked for."}  # fmt: skip
    ledger = Ledger.fold(events)
    runs = Counter(run["repository"] for run in found["runs"])
    rows: dict[str, set[str]] = {name: set() for name in runs}
    for key, each in ledger.rows.items():
        for name in rows:
            if name in key or f"{name} run" in each.how:
                rows[name].add(key)
    opened_ = [event.body for event in events if event.kind == "child" and event.body]
    children = [{**body, "status": bulkhead.store.incident(body["incident"]).status} for body in opened_]
    return {
        "incident": row.id, "campaign": campaign, "status": row.status, "answer": found["unknown"][0],
        "repositories": [
            {"repository": name, "runs": runs[name], "reach": len(keys),
             "done": sum(ledger.rows[key].settled for key in keys),
             "open": sorted(key for key in keys if not ledger.rows[key].settled)}
            for name, keys in sorted(rows.items())
        ],
        "children": children,
    }  # fmt: skip
