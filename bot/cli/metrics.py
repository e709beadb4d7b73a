"""``bulkhead metrics``: how long incidents took, which follow-ups are open, which secrets are still static."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import RenderableType

from bot.app import opened
from bot.cli import frame, page
from bot.errors import InputError
from bot.learn.metrics import TOTAL, Group, groups
from bot.learn.times import WORDS
from bot.learn.trends import Trend
from bot.story import ASKS, BAD, GOOD, HEADING, Line, seconds

app = frame.group("How long it took.")
WORLDS = {"real": "Incidents", "range": "Drills"}
BY = (TOTAL, "team", "month")


@app.callback()
def _group() -> None:
    """One command would be no group."""


@app.command("metrics")
def metrics(
    by: Annotated[str, typer.Option(help="all together, by team, or by month of the report.")] = TOTAL,
    world: Annotated[str, typer.Option(help="Only real incidents, or only drills (range).", show_default=False)] = "",
    training: Annotated[
        bool, typer.Option("--training", help="Only training: drills' scores and the quiz, by month and team.")
    ] = False,
    home: frame.Home = None,
    json_: frame.Json = False,
) -> None:
    """Times over incidents and drills with medians and counts, open follow-ups, credentials that are still static."""
    if by not in BY:
        raise InputError(f"--by is one of {', '.join(BY)}, not {by[:20]!r}")
    if world not in ("", *WORLDS):
        raise InputError(f"--world is one of {', '.join(WORLDS)}, not {world[:20]!r}")
    frame.quiet_logs()
    with opened(frame.settings_of(home), sites={}) as bulkhead:
        found = [] if training else groups(bulkhead.measures.all(world), by, datetime.now(UTC).date())
        trends = bulkhead.measures.trends()
    if json_:
        frame.document([one.as_json() for one in (trends if training else found)])
        return
    if not found and not training:
        page.lines([Line("There is no incident and no drill here yet. `bulkhead drill list` shows the drills.")])
    for one in found:
        page.lines(_shown(one))
    if trends or training:
        page.lines(_trained(trends))


def _shown(one: Group) -> list[Line | RenderableType]:
    name = "" if one.name == TOTAL else f": {one.name}"
    head = Line(f"{WORLDS.get(one.world, one.world)}{name}", style=HEADING)
    counted = Line(f"{one.incidents} of them, {one.closed} closed")
    table = page.table("time", "median", "p90", "n")
    for time in one.times:
        table.add_row(WORDS[time.time], seconds(time.median), seconds(time.p90), str(time.n))
    left = one.static - one.static_gone
    late = f", {one.overdue} overdue" if one.overdue else ""
    again = f", {one.reopened} reopened" if one.reopened else ""
    return [
        head, counted, *([table] if one.times else []),
        Line(f"Follow-ups that are open: {one.open_follow_ups}{late}{again}.", style=BAD if one.overdue else ""),
        Line(f"Places of static secrets that leaked: {one.static}, proven gone: {one.static_gone}.",
             style=ASKS if left else GOOD), Line(""),
    ]  # fmt: skip


def _trained(trends: list[Trend]) -> list[Line | RenderableType]:
    """Training over time; of fewer than five people nothing is told."""
    head = Line("Training, by month and team", style=HEADING)
    if not trends:
        return [head, Line("In no month have five people trained yet; below that it would be a picture of persons.")]
    table = page.table("month", "team", "score", "drills", "people", "quiz", "answers", "people")
    for one in trends:
        drills = (f"{one.drills.score:g}", str(one.drills.n), str(one.drills.people)) if one.drills else ("", "", "")
        quiz = (f"{one.quiz.right:.0%}", str(one.quiz.n), str(one.quiz.people)) if one.quiz else ("", "", "")
        table.add_row(one.month, "everybody" if one.team == TOTAL else one.team, *drills, *quiz)
    return [head, table]
