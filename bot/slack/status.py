"""``status``: the open incidents, or one of them, in the words of the command line's card."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from bot.engine.decisions import open_asks
from bot.engine.ledger import Ledger
from bot.model import RowState
from bot.slack.commands import clip
from bot.slack.decisions import mentions
from bot.slack.heard import Heard
from bot.slack.people import which
from bot.store import IncidentRow, when
from bot.story import countdown, findings, stamp
from bot.timeline import Event

if TYPE_CHECKING:
    from bot.slack.room import Room

MOST = 15  # incidents in one list


def join(room: Room) -> None:
    """Bring the word ``status``."""
    room.commands.add("status", "[INCIDENT]", "what is open, what is asked of whom", status)


def status(heard: Heard, text: str) -> None:
    """All open incidents, or the one that is named. Who is no responder sees what they have reported themselves."""
    all_of_them = heard.may("one")
    if text:
        row, events, _rest = which(heard, text.split()[0])
        if all_of_them or row.body["report"]["by"] == heard.who:
            heard.say(whole(row, events, heard.now(row, events)))
        else:
            heard.say("That incident is shown to responders, and to whoever reported it.")
        return
    rows = heard.room.house.store.incidents("open")
    mine = [row for row in rows if all_of_them or row.body["report"]["by"] == heard.who]
    if not mine:
        heard.say("No incident is open." if all_of_them else "None of your reports is an open incident.")
        return
    lines = [line(*heard.incident(row.id)) for row in mine[-MOST:]]
    more = [f"… and {len(mine) - MOST} older ones"] if len(mine) > MOST else []
    heard.say("\n".join([*lines, *more]))


def line(row: IncidentRow, events: list[Event]) -> str:
    """An incident in one line."""
    drill = "DRILL " if row.world == "range" else ""
    level = next((e.body["level"] for e in reversed(events) if e.kind == "severity" and e.body), "not rated yet")
    asks = ", ".join(ask.step for ask in open_asks(events))
    waits = f"; waits for people: {clip(asks, 200)}" if asks else ""
    return f"{drill}`{row.id}` {clip(row.title, 100)}, {level}, since {stamp(row.opened_at)}{waits}"


def whole(row: IncidentRow, events: list[Event], now: datetime) -> str:
    """An incident in a dozen lines."""
    lines = [line(row, events)]
    triage = next((e.body for e in events if e.kind == "triage" and e.body), None)
    lines += [clip(text, 300) for text in findings(triage)[:4]] if triage else ["Triage has not ended yet."]
    for ask in open_asks(events):
        left = f", {countdown(when(ask.expires_at), now)} left" if ask.expires_at else ""
        lines.append(f"• *{clip(ask.step)}*: {clip(ask.what, 200)} ({ask.needs} must agree{left})")
    rows = list(Ledger.fold(events).rows.values())
    closed = sum(row.state in (RowState.CLOSED, RowState.WAIVED) for row in rows)
    lines.append(f"{closed} of {len(rows)} credentials are settled.")
    return mentions("\n".join(lines))[:3900]
