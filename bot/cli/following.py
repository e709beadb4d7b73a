"""Follow orders to their end: what the timeline says of each as it happens, and what people are asked meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from bot import heartbeat
from bot.app import Bulkhead
from bot.cli import frame, page
from bot.engine.decisions import open_asks
from bot.model import MigrationOrder
from bot.story import ASKS, BAD, DIM, GOOD, Line, Story
from bot.timeline import Event, load
from bot.world import REAL

EVERY_S = 1.0
ENDS = {"closed": GOOD, "aborted": BAD}


@dataclass(slots=True)
class Followed:
    """One order on its way. ``ended`` is the kind of the event that ended its incident, '' until then."""

    order: MigrationOrder
    landed: datetime
    world: str = REAL
    incident: str = ""
    events: list[Event] = field(default_factory=list)
    story: Story = field(default_factory=Story)
    asked: set[tuple[str, int]] = field(default_factory=set)
    ended: str = ""


def follow(bulkhead: Bulkhead, orders: Iterable[Followed], every_s: float = EVERY_S) -> bool:
    """Tell of each order until its incident has ended; True when all of them are closed.

    Ends early, and says so, when no worker is left to do them. Ctrl-C ends the looking and not the work.
    """
    left = list(orders)
    many, done = len(left) > 1, list[Followed]()
    try:
        with frame.busy(f"following {len(left)} order{'s' * many}; Ctrl-C stops the looking, not the work"):
            while left:
                for one in left:
                    lines = _news(bulkhead, one)
                    page.lines(_named(one, lines) if many else lines)
                done += [one for one in left if one.ended]
                left = [one for one in left if not one.ended]
                worker = heartbeat.words(heartbeat.ages(bulkhead.store, datetime.now(UTC))["worker"])
                if left and worker != "ok":
                    page.lines([Line(f"The worker is {worker}: start one with `bulkhead serve`.", style=BAD)])
                    return False
                time.sleep(every_s if left else 0)
    except KeyboardInterrupt:
        known = ", ".join(one.incident for one in left if one.incident) or "its incident"
        raise frame.stopped(f"the orders go on: {frame.program()} incident show {known}") from None
    return all(one.ended == "closed" for one in done)


def _news(bulkhead: Bulkhead, one: Followed) -> list[Line]:
    """What has been written since the last look."""
    one.incident = one.incident or bulkhead.inbox.opened_for(one.order, one.landed, one.world)
    if not one.incident:
        return []
    new = load(bulkhead.store, one.incident, len(one.events))
    one.events += new
    lines = [line for event in new for line in one.story.event(event)]
    for ask in open_asks(one.events) if new else ():
        if (ask.step, ask.attempt) not in one.asked:
            one.asked.add((ask.step, ask.attempt))
            words = f"{frame.program()} incident approve {one.incident} {ask.step}"
            lines.append(Line(words, command=True, style=ASKS))
    one.ended = next((event.kind for event in new if event.kind in ENDS), "")
    if one.ended:
        lines.append(Line(f"{one.order.repository}: {one.incident} is {one.ended}.", style=ENDS[one.ended]))
        if one.ended == "closed":
            later = "The clock asks what becomes of the pull request, and the last steps are asked about then."
            lines.append(Line(later, style=DIM))
    return lines


def _named(one: Followed, lines: list[Line]) -> list[Line]:
    return [replace(line, text=f"[{one.order.repository}] {line.text}") if line.text else line for line in lines]
