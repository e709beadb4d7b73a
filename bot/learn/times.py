"""How long an incident took, measured from its timeline. Drills and real incidents are measured by the same lines.

All values are seconds, None where the timeline does not say. "Reported" is when the report landed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from bot.engine.ledger import Ledger
from bot.model import Grade
from bot.store import when
from bot.timeline import Event

# What shows that a person of ours is awake: they decided, took a role, took a page, wrote down what they did.
_AWAKE = {"role", "acknowledged", "note", "not-me", "reviewed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The times of one incident, in seconds."""

    detect: float | None = None  # from the first moment it could be seen to the report
    acknowledge: float | None = None  # from the report to the first sign of a person of ours
    first_cut: float | None = None  # from the report to the first cut that a provider took
    first_proof: float | None = None  # from the report to the first cut that is proven
    all_dead: float | None = None  # from the report to the last proof of death
    tail: float | None = None  # from the last proof of death until what was minted had ended
    closed: float | None = None  # from the report to the close
    approval: float = 0.0  # waiting for people to agree, overlaps counted once
    by_hand: float = 0.0  # waiting for what only a person can do, overlaps counted once


WORDS = {
    "detect": "to detect", "acknowledge": "to acknowledge", "first_cut": "to the first cut",
    "first_proof": "to the first proof", "all_dead": "until all was dead", "tail": "tail",
    "closed": "until it closed", "approval": "waiting for approval", "by_hand": "by hand",
}  # fmt: skip
NAMES = tuple(one.name for one in fields(Times))


def times(events: Sequence[Event]) -> Times:
    """The times of an incident as far as its timeline goes."""
    told = [event for event in events if event.body is not None]
    ledger = Ledger.fold(told)
    opened = next((event for event in told if event.kind == "opened"), None)
    if opened is None:
        return Times()
    start = when(opened.body["reported_at"])
    triage: dict[str, Any] = next((event.body for event in told if event.kind == "triage"), {})
    exposed = _moment(triage.get("exposed_from", ""))
    first, dead = cut_times(told, ledger)
    ends = [end for end in tail_ends(told, ledger).values() if end]
    last_dead = max((row.dead_at for row in ledger.rows.values() if row.dead_at), default=None)
    over = bool(ends) and not ledger.open_tails() and last_dead is not None
    return Times(
        detect=max(0.0, _seconds(exposed, start) or 0.0) if exposed else None,
        acknowledge=_seconds(start, min((when(e.at) for e in told if _awake(e)), default=None)),
        first_cut=first, first_proof=_seconds(start, _first_proof(told)), all_dead=dead,
        tail=max(0.0, (max(ends) - last_dead).total_seconds()) if over and last_dead else None,
        closed=_seconds(start, max((when(e.at) for e in told if e.kind == "closed"), default=None)),
        approval=_waited(told, answers=False), by_hand=_waited(told, answers=True),
    )  # fmt: skip


def cut_times(events: Iterable[Event], ledger: Ledger) -> tuple[float | None, float | None]:
    """Seconds from the report to the first cut that a provider took, and to the last proof of death.

    None for the first where there was nothing left to cut.
    """
    events = list(events)
    opened = next((when(e.at) for e in events if e.kind == "opened"), None)
    reported = next((when(e.body["reported_at"]) for e in events if e.kind == "opened" and e.body), opened)
    cutting = _cutting(events)
    cuts = [when(e.at) for e in events if e.kind == "outcome" and e.step in cutting and e.body and e.body["changed"]]
    dead: list[datetime] = [row.dead_at for row in ledger.rows.values() if row.dead_at]
    return _seconds(reported, min(cuts, default=None)), _seconds(reported, max(dead, default=None))


def tail_ends(events: Iterable[Event], ledger: Ledger) -> dict[tuple[str, str], datetime | None]:
    """When each tail (credential's key, kind) ended, or will by itself; None while its credential is not dead.

    A tail that a step has ended ended with that step's proof.
    """
    proven = {e.step: when(e.at) for e in events if e.kind == "proof" and e.body and e.body["verdict"] == "proven"}
    found: dict[tuple[str, str], datetime | None] = {}
    for row in ledger.rows.values():
        for tail in row.tails:
            end = tail.until if tail.open or tail.ended == "expired" else proven.get(tail.ended, tail.until)
            if end is not None and row.dead_at is not None:
                end = max(end, row.dead_at)
            known = found.get((row.key, tail.kind))
            found[row.key, tail.kind] = max(known, end) if known and end else end or known
    return found


def _cutting(events: Iterable[Event]) -> set[str]:
    """Steps that cut a credential; not those of which only a word says that they did."""
    told = [e for e in events if e.body]
    words = {e.step for e in told if e.kind == "proof" and e.body.get("grade") == Grade.WORD}
    return {e.step for e in told if e.kind == "look" and e.body.get("kills")} - words


def _first_proof(events: Sequence[Event]) -> datetime | None:
    cutting = _cutting(events)
    good = [e for e in events if e.kind == "proof" and e.step in cutting and e.body["verdict"] == "proven"]
    return min((when(e.at) for e in good), default=None)


def _awake(event: Event) -> bool:
    return event.kind in _AWAKE or (event.kind == "decided" and bool(event.body.get("by")))


def _waited(events: Sequence[Event], *, answers: bool) -> float:
    """Seconds in which at least one question of this kind waited for people."""
    asked = {(e.step, e.attempt): e for e in events if e.kind == "asked" and (e.body["purpose"] == "answer") == answers}
    decided = {(e.step, e.attempt): when(e.at) for e in events if e.kind == "decided"}
    ended = max((when(e.at) for e in events if e.kind in ("closed", "aborted")), default=None)
    spans = [(when(e.at), decided.get(key, ended)) for key, e in asked.items()]
    total, upto = 0.0, None
    for start, end in sorted((start, end) for start, end in spans if end is not None):
        begin = start if upto is None else max(start, upto)
        total += max(0.0, (end - begin).total_seconds())
        upto = end if upto is None else max(end, upto)
    return round(total, 3)


def _moment(text: str) -> datetime | None:
    """A time of a triage, which may be written with or without fractions."""
    return datetime.fromisoformat(text) if text else None


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else round((end - start).total_seconds(), 3)
