"""What the page of an incident shows: the same words as the command line, from the same timeline."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from bot.engine.decisions import open_asks
from bot.engine.ledger import Ledger
from bot.model import RowState
from bot.store import DecisionRow, IncidentRow, Store, iso, when
from bot.story import ASKS, BAD, DIM, GOOD, GRADES, HEADING, Line, Story, countdown, findings, stamp, who_must_agree
from bot.timeline import Event, broken, load

CLASSES = {GOOD: "good", BAD: "bad", ASKS: "asks", HEADING: "heading", DIM: "dim"}
STATES = {
    RowState.CLOSED: "good", RowState.PROVEN_DEAD: "good", RowState.FAILED: "bad", RowState.REOPENED: "bad",
    RowState.WAIVED: "asks", RowState.TAIL_OPEN: "asks",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Everything that the template shows, in plain values."""

    row: IncidentRow
    opened: str
    now: str
    clock: str  # the same, for a program
    seen: str  # differs whenever the page does
    reporter: str
    severity: dict[str, str]
    facts: list[str]
    asks: list[dict[str, str]]
    ledger: list[dict[str, str]]
    tails: list[dict[str, str]]
    timeline: list[dict[str, str]]
    decisions: list[dict[str, str]]
    evidence: list[dict[str, Any]]
    wrong: list[str]  # what is wrong with the chain; empty when it holds


def view(store: Store, name: str, now: datetime) -> Page:
    """The page of an incident as it stands. Raises InputError when there is none."""
    row, events = store.incident(name), load(store, name)
    now = max([now, *(when(event.at) for event in events[-1:])])  # a range's clock may run ahead of the machine's
    bodies = {event.kind: event.body for event in events if event.body is not None}
    triage, ledger = bodies.get("triage"), Ledger.fold(events)
    return Page(
        row=row, opened=stamp(row.opened_at), now=f"{now:%Y-%m-%d %H:%M:%S} UTC",
        clock=iso(now), seen=seen(store, name), reporter=row.body["report"]["by"],
        severity=bodies.get("severity") or {}, facts=findings(triage) if triage else ["Triage has not ended yet."],
        asks=_asks(events, now), ledger=_ledger(ledger), tails=_tails(ledger, now), timeline=_timeline(events),
        decisions=[_decision(decision) for decision in store.decisions(name)], evidence=store.evidence(name),
        wrong=broken(store, name),
    )  # fmt: skip


def seen(store: Store, name: str) -> str:
    """A word that changes with everything that the page shows of an incident, but the time."""
    row = store.incident(name)
    return f"{row.head_n}:{row.status}:{len(store.decisions(name))}:{len(store.evidence(name))}"


def listed(store: Store) -> list[dict[str, Any]]:
    """Every incident, open ones first, then the latest."""
    rows = sorted(store.incidents(), key=lambda row: (row.status == "open", row.opened_at), reverse=True)
    return [
        {"id": row.id, "title": row.title, "status": row.status, "opened": stamp(row.opened_at),
         "drill": row.world == "range"}
        for row in rows
    ]  # fmt: skip


def _asks(events: list[Event], now: datetime) -> list[dict[str, str]]:
    found = []
    for ask in open_asks(events):
        said = {"step": ask.step, "what": ask.what, "why": ask.why, "who": who_must_agree(asdict(ask))}
        left = countdown(when(ask.expires_at), now) if ask.expires_at else ""
        found.append(said | {"left": left, "until": ask.expires_at})
    return found


def _ledger(ledger: Ledger) -> list[dict[str, str]]:
    return [
        {
            "key": row.key, "state": row.state.value.replace("_", " "), "style": STATES.get(row.state, ""),
            "grade": row.grade.value if row.grade else "", "proof": GRADES[row.grade.value] if row.grade else "",
            "detail": row.detail, "waived_by": row.waived_by,
        }
        for row in ledger.rows.values()
    ]  # fmt: skip


def _tails(ledger: Ledger, now: datetime) -> list[dict[str, str]]:
    return [
        {"kind": tail.kind, "of": row.key, "left": countdown(tail.until, now) if tail.until else "an unknown time",
         "until": iso(tail.until) if tail.until else ""}
        for row, tail in ledger.open_tails()
    ]  # fmt: skip


def _timeline(events: list[Event]) -> list[dict[str, str]]:
    story = Story()
    return [_line(line) for event in events for line in story.event(event)]


def _line(line: Line) -> dict[str, str]:
    return {"clock": line.clock, "mark": line.mark, "text": line.text, "style": CLASSES.get(line.style, "")}


def _decision(row: DecisionRow) -> dict[str, str]:
    return {"at": stamp(row.at), "by": row.by, "kind": row.kind, "step": row.step}
