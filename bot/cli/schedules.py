"""``bulkhead drill schedule``: drills by the clock, in the worker's company, told in Slack."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from bot.app import drills_of, opened
from bot.cli import frame, page
from bot.schedule import EACH, RUN, a_date, schedule, told, upcoming
from bot.settings import Settings, listed
from bot.store import iso
from bot.store_drills import ScheduleRow, Schedules
from bot.story import Line

app = frame.group("Drills by the clock: once a week, at an hour of a time zone.")
Id = Annotated[str, typer.Argument(help="The schedule, as `bulkhead drill schedule list` shows it.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The drill; without it, another one every week.")] = EACH,
    *,
    day: Annotated[str, typer.Option(help="mon, tue, wed, thu, fri, sat or sun.")],
    at: Annotated[str, typer.Option(help="The hour, like 10:00; or 10:00-16:00, and nobody knows when.")],
    zone: Annotated[str, typer.Option(help="Its time zone, like Europe/Berlin.")] = "UTC",
    missed: Annotated[
        str, typer.Option(help="What nobody was there to start: run it up to four hours later, or drop it.")
    ] = RUN,
    channel: Annotated[str, typer.Option(help="Id of a Slack channel; otherwise where drills are told.")] = "",
    home: frame.Home = None,
    by: frame.By = "",
) -> None:
    """Run a drill every week. It begins when the clock and a worker run (`bulkhead serve`)."""
    settings = frame.settings_of(home)
    row = schedule(
        drill=name, day=day, time_=at, zone=zone, missed=missed, channel=channel, by=frame.person(by),
        now=datetime.now(UTC), drills=drills_of(settings),
    )  # fmt: skip
    with opened(settings, sites={}) as bulkhead:
        new = Schedules(bulkhead.store).add(row)
    said = f"{row.id} is scheduled" if new else f"{row.id} was scheduled already, and stays as it is"
    page.lines([Line(f"{said}. {_next(row, settings)}")])


@app.command("list")
def list_(home: frame.Home = None, json_: frame.Json = False) -> None:
    """Show the schedules, and when each runs next."""
    settings = frame.settings_of(home)
    with opened(settings, sites={}) as bulkhead:
        rows = Schedules(bulkhead.store).all()
    if json_:
        frame.document([_document(row, settings) for row in rows])
        return
    if not rows:
        page.lines([Line("No drill is scheduled. `bulkhead drill schedule add --day tue --at 10:00` does it.")])
    for row in rows:
        skips = f" It leaves out {row.skips.replace(',', ', ')}." if row.skips else ""
        said = f"{row.drill}, every {row.day} at {row.time} {row.zone}; missed: {row.missed}."
        page.lines([Line(f"{row.id}: {said} {_next(row, settings)}{skips}")])


@app.command()
def skip(
    name: Id, day: Annotated[str, typer.Argument(help="A date, like 2026-12-24.")], home: frame.Home = None
) -> None:
    """Leave one date out. Days on which none runs are BULKHEAD_HOLIDAYS."""
    settings = frame.settings_of(home)
    with opened(settings, sites={}) as bulkhead:
        row = Schedules(bulkhead.store).skip(name, a_date(day))
    page.lines([Line(f"{row.id} does not run on {day}. {_next(row, settings)}")])


@app.command()
def remove(name: Id, home: frame.Home = None) -> None:
    """Take a schedule out; a drill that it has ordered still runs."""
    with opened(frame.settings_of(home), sites={}) as bulkhead:
        Schedules(bulkhead.store).remove(name)
    page.lines([Line(f"{name} is no longer scheduled.")])


def _next(row: ScheduleRow, settings: Settings) -> str:
    return told(row, datetime.now(UTC), listed(settings.holidays))


def _document(row: ScheduleRow, settings: Settings) -> dict[str, Any]:
    at = upcoming(row, datetime.now(UTC), listed(settings.holidays))
    return {
        "id": row.id, "drill": row.drill, "day": row.day, "time": row.time, "zone": row.zone, "channel": row.channel,
        "missed": row.missed, "skips": [one for one in row.skips.split(",") if one], "by": row.by,
        "next": iso(at) if at else None,
    }  # fmt: skip
