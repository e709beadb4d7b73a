"""Times over many incidents: medians, never a mean, always with how many there were. Drills and real ones apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from statistics import median
from typing import Any

from bot.learn.follow_up import CHECKS, DONE, Check
from bot.learn.postmortem import Standing
from bot.learn.times import NAMES, Times

TOTAL = "all"
ALWAYS = ("approval", "by_hand")  # seconds that are 0 where nobody was waited for: they count only where somebody was


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One incident. ``team``: whose repository it began in; ``month``: of the report, 2026-11."""

    incident: str
    world: str
    team: str
    month: str
    status: str
    times: Times
    static: int = 0  # stores in which a standing secret of it lay
    follow_ups: tuple[Standing, ...] = ()

    @property
    def static_gone(self) -> int:
        """How many of these are gone, by what machines have looked at."""
        mine = [one for one in self.follow_ups if one.what.check and removes(one.what.check)]
        return self.static if mine and all(one.state == DONE for one in mine) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One time over some incidents, in seconds. ``n``: how many had it."""

    time: str
    n: int
    median: float
    p90: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What is told of some incidents."""

    name: str
    world: str
    incidents: int
    closed: int
    times: tuple[Summary, ...]
    open_follow_ups: int
    overdue: int
    reopened: int
    static: int
    static_gone: int

    def as_json(self) -> dict[str, Any]:
        """What a program reads."""
        return asdict(self) | {"static_left": self.static - self.static_gone}


def removes(check: str) -> bool:
    """Whether a check is about a standing credential that is to go."""
    return CHECKS[Check.parse(check).kind].rung == "remove"


def p90(values: Sequence[float]) -> float:
    """The nearest-rank 90th percentile. Raises ValueError for no values."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[math.ceil(0.9 * len(values)) - 1]


def summaries(found: Iterable[Measured]) -> tuple[Summary, ...]:
    """Every time that at least one of these has."""
    rows, made = list(found), []
    for name in NAMES:
        values = [v for v in (getattr(one.times, name) for one in rows) if v is not None]
        if name in ALWAYS:
            values = [value for value in values if value > 0]
        if values:
            made.append(Summary(time=name, n=len(values), median=round(median(values), 3), p90=p90(values)))
    return tuple(made)


def groups(found: Iterable[Measured], by: str, today: date) -> list[Group]:
    """The groups of each World, by ``team``, by ``month`` or ``all`` together; the newest month first."""
    keys: dict[str, Callable[[Measured], str]] = {
        TOTAL: lambda _one: TOTAL, "team": lambda one: one.team, "month": lambda one: one.month
    }  # fmt: skip
    parts: dict[tuple[str, str], list[Measured]] = {}
    for one in found:
        parts.setdefault((one.world, keys[by](one)), []).append(one)
    ordered = sorted(parts, key=lambda key: key[1], reverse=by == "month")
    real_first = sorted(ordered, key=lambda key: key[0] != "real")
    return [_group(name, world, parts[world, name], today) for world, name in real_first]


def _group(name: str, world: str, rows: list[Measured], today: date) -> Group:
    left = [one for row in rows for one in row.follow_ups if one.state != DONE]
    return Group(
        name=name, world=world, incidents=len(rows), closed=sum(row.status == "closed" for row in rows),
        times=summaries(rows), open_follow_ups=len(left),
        overdue=sum(bool(one.what.due) and one.what.due < today.isoformat() for one in left),
        reopened=sum(one.state == "reopened" for one in left), static=sum(row.static for row in rows),
        static_gone=sum(row.static_gone for row in rows),
    )  # fmt: skip
