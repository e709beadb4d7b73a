"""Drills by the clock: weekly, at an hour of a time zone, or by surprise within some hours.

The rows are the schedule, and APScheduler has them looked at. A schedule has nominal times, one a week, each the UTC
time of its local hour on that day. Between the last one that was decided on, which its row keeps, and now, at most one
drill is ordered: the newest, whose order has an id of schedule and nominal time. So a restart, a second clock, and a
local hour that a change of the clocks takes away or gives twice start it once; and a clock that is put back finds it
decided.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bot.errors import InputError
from bot.store import Store, iso, when
from bot.store_drills import TEAM, Order, ScheduleRow, Schedules

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
RUN, DROP = "run", "drop"
MISSED = (RUN, DROP)
ON_TIME = timedelta(minutes=15)  # later than this it counts as missed
CATCH_UP = timedelta(hours=4)  # a drill at an hour that nobody expects any more trains nobody
EACH = "each-in-turn"  # instead of one drill: another one every week
_HOUR = r"(?:[01]\d|2[0-3]):[0-5]\d"
_TIME = re.compile(rf"({_HOUR})(?:-({_HOUR}))?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
USAGE = "weekly tue 10:00"


def schedule(
    *, drill: str, day: str, time_: str, zone: str, missed: str, by: str, channel: str = "", now: datetime,
    drills: Collection[str],
) -> ScheduleRow:  # fmt: skip
    """A schedule as somebody wants it. Raises InputError for what there is not."""
    if drill != EACH and drill not in drills:
        raise InputError(f"there is no drill {drill[:60]!r}; there are: {', '.join(drills)}")
    if day not in DAYS:
        raise InputError(f"the day is one of {', '.join(DAYS)}, not {day[:20]!r}")
    hours = _TIME.fullmatch(time_)
    if hours is None or (hours[2] and hours[2] <= hours[1]):
        raise InputError(f"the time is written like 10:00, or 10:00-16:00 for a surprise, not {time_[:20]!r}")
    if missed not in MISSED:
        raise InputError(f"what is missed is one of {', '.join(MISSED)}, not {missed[:20]!r}")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(f"there is no time zone {zone[:60]!r}; write it like Europe/Berlin") from None
    name = f"{drill}-{day}-{time_.replace(':', '')}".lower()
    return ScheduleRow(
        id=name, drill=drill, day=day, time=time_, zone=zone, channel=channel, missed=missed, by=by, last=iso(now)
    )


def a_date(text: str) -> str:
    """An ISO date. Raises InputError."""
    try:
        if not _DATE.fullmatch(text):
            raise ValueError(text)
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise InputError(f"the date is written like 2026-12-24, not {text[:20]!r}") from None


def nominal(row: ScheduleRow, after: datetime, until: datetime) -> list[datetime]:
    """The nominal times of a schedule after one moment and up to another, in UTC, oldest first.

    An hour that the change to summer time leaves out is the one after it, and of an hour that there is twice it is the
    first (PEP 495, fold=0).
    """
    zone = ZoneInfo(row.zone)
    day = after.astimezone(zone).date() - timedelta(days=1)
    last, found = until.astimezone(zone).date() + timedelta(days=1), []
    while day <= last:
        if day.weekday() == DAYS.index(row.day):
            moment = datetime.combine(day, _hour(row, day), zone).astimezone(UTC)
            if after < moment <= until:
                found.append(moment)
        day += timedelta(days=1)
    return found


def _hour(row: ScheduleRow, day: date) -> time:
    """The hour of a day. Within a window it is drawn from schedule and day, so that every clock draws the same."""
    begins, _, ends = row.time.partition("-")
    first = time.fromisoformat(begins)
    if not ends:
        return first
    last, start = time.fromisoformat(ends), first.hour * 60 + first.minute
    minutes = last.hour * 60 + last.minute - start
    drawn = int.from_bytes(sha256(f"{row.id} {day}".encode()).digest()[:8]) % minutes
    return time(*divmod(start + drawn, 60))


def told(row: ScheduleRow, now: datetime, holidays: Collection[str] = ()) -> str:
    """When it runs next, in words; of a surprise the day only."""
    at = upcoming(row, now, holidays)
    if at is None:
        return "It does not run within a year."
    if "-" in row.time:
        return f"It runs next on {at.astimezone(ZoneInfo(row.zone)):%Y-%m-%d}."
    return f"It runs next at {at:%Y-%m-%d %H:%M} UTC."


def upcoming(row: ScheduleRow, now: datetime, holidays: Collection[str] = ()) -> datetime | None:
    """When it runs next, within a year."""
    times = nominal(row, max(now, when(row.last)), now + timedelta(days=366))
    return next((moment for moment in times if not _left_out(row, moment, holidays)), None)


def turn(store: Store, now: datetime, drills: Collection[str], holidays: Collection[str] = ()) -> list[str]:
    """Order what is due; returns the ids of the orders. Called as often as one likes, by as many clocks."""
    rows, ordered = Schedules(store), []
    for row in rows.all():
        times = nominal(row, when(row.last), now)
        if not times:
            continue
        due = times[-1]
        wanted = not _left_out(row, due, holidays) and _in_time(row, due, now)
        order = _order(row, due, now, drills) if wanted else None
        if rows.decide(row, iso(due), order) and order is not None:
            ordered.append(order.id)
    return ordered


def _in_time(row: ScheduleRow, due: datetime, now: datetime) -> bool:
    return now - due <= (CATCH_UP if row.missed == RUN else ON_TIME)


def _left_out(row: ScheduleRow, moment: datetime, holidays: Collection[str]) -> bool:
    return moment.astimezone(ZoneInfo(row.zone)).date().isoformat() in {*row.skips.split(","), *holidays}


def _order(row: ScheduleRow, due: datetime, now: datetime, drills: Collection[str]) -> Order:
    name, week = f"{row.id}@{due:%Y%m%dT%H%MZ}", due.toordinal() // 7
    drill = sorted(drills)[week % len(drills)] if row.drill == EACH else row.drill
    return Order(id=name, drill=drill, by=f"schedule:{row.id}", channel=row.channel, at=iso(now), mode=TEAM)
