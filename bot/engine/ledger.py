"""The ledger: one row for each credential in reach, folded from the timeline and from nothing else.

``suspected -> cut_requested -> accepted -> proven_dead -> tail_open -> closed``; ``failed``, ``reopened`` and
``waived`` stand beside. A row never closes on an action: only on a proof, or on a named person's waiver. An incident
that has nothing to cut, a migration, has one row: the order, which the proof of the step that ``fulfils`` it closes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bot.model import Grade, Planted, RowState, Verdict
from bot.store import when
from bot.timeline import Event


@dataclass(slots=True, kw_only=True)
class TailState:
    """One tail of a row. ``until`` is known once its credential is proven dead."""

    kind: str
    lasts: timedelta
    why: str
    until: datetime | None = None
    ended: str = ""  # how: a step's id, or expired

    @property
    def open(self) -> bool:
        """Something minted from it may still live."""
        return not self.ended


@dataclass(slots=True, kw_only=True)
class Row:
    """One credential."""

    key: str
    how: str  # why it is in the ledger
    state: RowState = RowState.SUSPECTED
    grade: Grade | None = None
    detail: str = ""
    step: str = ""  # the step that cuts it
    dead_at: datetime | None = None
    tails: list[TailState] = field(default_factory=list)
    waived_by: str = ""

    @property
    def settled(self) -> bool:
        """Closed, or waived by a named person."""
        return self.state in (RowState.CLOSED, RowState.WAIVED)

    def settle(self) -> None:
        """Proven dead closes at once, or when the last tail has ended."""
        if self.state in (RowState.PROVEN_DEAD, RowState.TAIL_OPEN):
            self.state = RowState.TAIL_OPEN if any(tail.open for tail in self.tails) else RowState.CLOSED

    def as_json(self) -> dict[str, Any]:
        """What a program reads."""
        return {
            "key": self.key, "how": self.how, "state": self.state.value,
            "proof": self.grade.value if self.grade else None,
            "detail": self.detail, "step": self.step, "dead_at": self.dead_at.isoformat() if self.dead_at else None,
            "waived_by": self.waived_by or None,
            "tails": [
                {"kind": t.kind, "until": t.until.isoformat() if t.until else None, "ended": t.ended or None,
                    "why": t.why}
                for t in self.tails
            ],
        }  # fmt: skip


class Ledger:
    """All rows of one incident."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._kills: dict[str, str] = {}  # step -> row
        self._ends: dict[str, tuple[str, str]] = {}  # step -> (kind of tail, credential key or "")

    @classmethod
    def fold(cls, events: Iterable[Event]) -> Ledger:
        """The ledger as these events leave it."""
        ledger = cls()
        for event in events:
            ledger.take(event)
        return ledger

    @property
    def settled(self) -> bool:
        """Every row is closed or waived; an empty ledger is not."""
        return bool(self.rows) and all(row.settled for row in self.rows.values())

    def open_tails(self) -> list[tuple[Row, TailState]]:
        """Tails that run, of rows that are dead themselves."""
        return [(r, t) for r in self.rows.values() if r.state == RowState.TAIL_OPEN for t in r.tails if t.open]

    def take(self, event: Event) -> None:
        """Fold one more event in."""
        handler = getattr(self, f"_on_{event.kind.replace('-', '_')}", None)
        if handler is not None and event.body is not None:
            handler(event, event.body)

    # One method an event kind; kinds without a method do not concern the ledger.

    def _on_triage(self, event: Event, body: dict[str, Any]) -> None:
        credential = body["credential"]
        ordered = (body.get("order") or {}).get("repository")
        row = self._row(_key(credential), "what was ordered" if ordered else "the credential that was reported")
        for tail in body["tails"]:
            lasts = datetime.fromisoformat(tail["until"]) - when(event.at)
            owner = row if tail["of"] == row.key else self._row(tail["of"], tail["why"])
            owner.tails.append(TailState(kind=tail["kind"], lasts=max(lasts, timedelta()), why=tail["why"]))
        for reached in body["reach"]:
            if reached["credential"] is not None:
                self._row(_key(reached["credential"]), reached["how"])
            elif reached["kind"] == "secret":
                self._row(f"secret:{reached['scope']}:{reached['name']}", reached["how"])

    def _on_look(self, event: Event, body: dict[str, Any]) -> None:
        if body.get("kills"):
            self._kills[event.step] = body["kills"]
            row = self._row(body["kills"], "cut by the playbook")
            row.step = event.step
            if not body.get("asks"):
                row.state = RowState.CUT_REQUESTED
        if body.get("fulfils") in self.rows:  # in an incident that nobody has ordered there is no such row
            self._kills[event.step] = body["fulfils"]
            self.rows[body["fulfils"]].step = event.step
        if body.get("ends"):
            kind, key = body["ends"]
            self._ends[event.step] = (kind, key)

    def _on_decided(self, event: Event, body: dict[str, Any]) -> None:
        row = self._killed(event)
        if row is not None and body.get("go") and row.state in (RowState.SUSPECTED, RowState.FAILED, RowState.REOPENED):
            row.state = RowState.CUT_REQUESTED

    def _on_outcome(self, event: Event, body: dict[str, Any]) -> None:
        row = self._killed(event)
        if row is not None and row.state != RowState.WAIVED:
            row.state = RowState.ACCEPTED
        for planted in body.get("plants", ()):
            was = (
                "could be read by what was planted"
                if "stolen" in planted["kind"]
                else "was made with the leaked credential"
            )
            self._row(Planted(**planted).key, f"{planted['kind']} {planted['name']} {was}")

    def _on_proof(self, event: Event, body: dict[str, Any]) -> None:
        proven = body["verdict"] == Verdict.PROVEN and body["grade"] != Grade.WORD
        row = self._killed(event)
        if row is not None and row.state != RowState.WAIVED:
            row.detail = body["detail"]
            if proven:
                row.state, row.grade, row.dead_at = RowState.PROVEN_DEAD, Grade(body["grade"]), when(event.at)
                for tail in row.tails:
                    tail.until = row.dead_at + tail.lasts
            elif body["verdict"] == Verdict.REFUTED:
                row.state = RowState.REOPENED
            row.settle()
        if event.step in self._ends and proven:
            self._end_tails(*self._ends[event.step], how=event.step)

    def _end_tails(self, kind: str, key: str, how: str) -> None:
        # Only what was minted before this proof is ended by it: a tail of a row that is still alive can grow again.
        for row in self.rows.values():
            if row.dead_at is not None and key in ("", row.key):
                for tail in row.tails:
                    if tail.kind == kind and tail.open:
                        tail.ended = how
                row.settle()

    def _on_tail_ended(self, event: Event, body: dict[str, Any]) -> None:
        row = self.rows[body["of"]]
        for tail in row.tails:
            if tail.kind == body["kind"] and tail.open:
                tail.ended = "expired"
        row.settle()

    def _on_failed(self, event: Event, body: dict[str, Any]) -> None:
        row = self._killed(event)
        if row is not None and not row.settled:
            row.state, row.detail = RowState.FAILED, body["error"]

    def _on_waived(self, event: Event, body: dict[str, Any]) -> None:
        row = self.rows.get(body["row"])
        if row is not None and not row.settled:
            row.state, row.waived_by, row.detail = RowState.WAIVED, body["by"], body["reason"]
            row.grade = Grade.WORD

    def _on_child(self, event: Event, body: dict[str, Any]) -> None:
        self._row(body["row"], "in reach").detail = f"{body['incident']} contains it"

    def _on_child_ended(self, event: Event, body: dict[str, Any]) -> None:
        """What the incident of its own has proven is proven; one that was aborted leaves the row open."""
        row = self.rows[body["row"]]
        row.detail = f"{body['incident']}: {body['detail']}"
        if body["state"] in (RowState.CLOSED, RowState.WAIVED) and not row.settled:
            row.state, row.waived_by = RowState(body["state"]), body["waived_by"] or ""
            row.grade = Grade(body["proof"]) if body["proof"] else None
            row.dead_at = datetime.fromisoformat(body["dead_at"]) if body["dead_at"] else None
        elif not row.settled:
            row.state = RowState.FAILED

    def _on_undone(self, event: Event, body: dict[str, Any]) -> None:
        row = self.rows.get(body.get("kills") or "")
        if row is not None:
            row.state, row.grade, row.dead_at = RowState.SUSPECTED, None, None
            row.detail = f"undone by {', '.join(body['by'])}"
            for tail in row.tails:
                tail.until, tail.ended = None, ""

    def _on_reopened(self, event: Event, body: dict[str, Any]) -> None:
        row = self.rows.get(body.get("row") or "")
        if row is not None:
            row.state, row.detail = RowState.REOPENED, body["reason"]

    def _killed(self, event: Event) -> Row | None:
        key = self._kills.get(event.step)
        return self.rows[key] if key else None

    def _row(self, key: str, how: str) -> Row:
        return self.rows.setdefault(key, Row(key=key, how=how))


def _key(credential: dict[str, Any]) -> str:
    return f"{credential['kind']}:{credential['id'] or credential['fingerprint']}"
