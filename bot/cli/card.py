"""One incident on one page: first what a responder needs at three in the morning, on a phone, then everything else."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from bot.cli import frame, page
from bot.engine.decisions import Ask, open_asks
from bot.engine.freeze import frozen_steps
from bot.engine.ledger import Ledger
from bot.model import RowState
from bot.store import IncidentRow, when
from bot.story import (
    ASKS,
    BAD,
    DIM,
    GOOD,
    GRADES,
    HEADING,
    Line,
    Story,
    countdown,
    findings,
    shown,
    stamp,
    who_must_agree,
)
from bot.timeline import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """An incident as it stands, and when that was. ``home``: the folder that has to be named to find it, if any."""

    row: IncidentRow
    events: list[Event]
    now: datetime
    home: Path | None = None

    @property
    def ledger(self) -> Ledger:
        """The ledger as the events leave it."""
        return Ledger.fold(self.events)

    @property
    def asks(self) -> list[Ask]:
        """What people are asked."""
        return open_asks(self.events)

    def body(self, kind: str) -> dict[str, Any] | None:
        """The text of the last event of a kind, if it stands."""
        return next((e.body for e in reversed(self.events) if e.kind == kind and e.body is not None), None)

    def command(self, verb: str, *more: str) -> str:
        """The exact command for this incident."""
        where = ("--home", str(self.home)) if self.home else ()
        return f"{frame.program()} {shlex.join(['incident', verb, self.row.id, *more, *where])}"

    def commands(self, ask: Ask) -> list[str]:
        """The commands that settle an ask. They carry the plan's hash: for another plan they are refused."""
        if ask.purpose == "answer":
            return [self.command("answer", ask.step, "TEXT")]
        return [self.command(verb, ask.step, "--plan", ask.plan_hash) for verb in ("approve", "deny")]

    def as_json(self) -> dict[str, Any]:
        """What a program reads."""
        row = {k: v for k, v in asdict(self.row).items() if k != "body"}
        return {
            "incident": row | {"report": self.row.body["report"], "playbook": self._playbook()},
            "severity": self.body("severity"), "triage": self.body("triage"),
            "asks": [asdict(ask) | {"commands": self.commands(ask)} for ask in self.asks],
            "ledger": [one.as_json() for one in self.ledger.rows.values()],
            "tails": [
                {"of": one.key, "kind": tail.kind, "until": tail.until.isoformat() if tail.until else None}
                for one, tail in self.ledger.open_tails()
            ],
            "signals": self.signs(),
            "timeline": [asdict(event) for event in self.events],
        }  # fmt: skip

    def _playbook(self) -> dict[str, Any]:
        return {k: v for k, v in self.row.body["playbook"].items() if k != "text"}

    # for people --------------------------------------------------------------------------------------------------

    def head(self) -> list[Line]:
        """Which incident, how bad, what leaked and how public it was."""
        row, severity, triage = self.row, self.body("severity"), self.body("triage")
        drill = "a drill, nothing of it is real; " if row.world == "range" else ""
        report = row.body["report"]
        lines = [
            Line(f"{row.title}", style=HEADING),
            Line(f"{row.id}: {drill}{row.status}; reported {stamp(row.opened_at)} by {report['by']}"),
        ]
        if severity:
            bad = severity["level"] in ("critical", "high")
            lines.append(Line(f"Severity {severity['level']}: {severity['reason']}", style=BAD if bad else ""))
        if triage is None:
            return [*lines, Line(f"Reported: {report['text']}"), Line("Triage has not ended yet.", style=ASKS)]
        return [*lines, *(Line(text) for text in findings(triage))]

    def now_asked(self) -> list[Line]:
        """What is asked of whom, until when, and the command that says yes."""
        lines: list[Line] = []
        for ask in self.asks:
            text = ask.what if ask.purpose == "answer" else f"{ask.what}. {ask.why}"
            lines += [Line(f"{ask.step}: {text}", style=ASKS), Line(f"{who_must_agree(asdict(ask))}{self._left(ask)}.")]
            lines.append(Line(self.commands(ask)[0], command=True))
        if any(ask.purpose != "answer" for ask in self.asks):
            text = "To say no, the same with deny. Several steps may be named at once, without --plan."
            lines.append(Line(text, style=DIM))
        return [Line(""), Line("People are asked", style=HEADING), *lines] if lines else []

    def _left(self, ask: Ask) -> str:
        if not ask.expires_at:
            return ""
        until = when(ask.expires_at)
        return f", {countdown(until, self.now)} left" if until > self.now else ", that time is over"

    def standing(self) -> list[Line]:
        """What is proven, what is not, what still lives by itself, what failed."""
        rows = list(self.ledger.rows.values())
        closed = [row for row in rows if row.state == RowState.CLOSED]
        by_grade = [f"{sum(1 for r in closed if r.grade == g)} {g} ({words})" for g, words in GRADES.items()]
        counted = "; ".join(text for text in by_grade if not text.startswith("0 "))
        all_closed = rows and len(closed) == len(rows)
        text = f"{len(closed)} of {len(rows)} rows of the ledger are closed on proof{': ' if counted else ''}{counted}."
        lines = [Line(""), Line("Where it stands", style=HEADING), Line(text, style=GOOD if all_closed else "")]
        for row in rows:
            if not row.settled and row.state != RowState.TAIL_OPEN:
                bad = row.state in (RowState.FAILED, RowState.REOPENED)
                lines.append(Line(f"- {row.key} is {row.state.value.replace('_', ' ')}", style=BAD if bad else ASKS))
        for row, tail in self.ledger.open_tails():
            left = countdown(tail.until, self.now) if tail.until else "unknown time"
            lines.append(Line(f"- {row.key} is dead; a {tail.kind} made from it may live for {left}", style=ASKS))
        return [*lines, *self._frozen(), *self._failures()]

    def _frozen(self) -> list[Line]:
        waits = frozen_steps(self.events)
        said = "- {} waits: {} has frozen everything: {}"
        return [Line(said.format(e.step, e.body["by"], e.body["reason"]), style=BAD) for e in waits]

    def _failures(self) -> list[Line]:
        mended = {e.step for e in self.events if e.kind == "proof" and e.body and e.body["verdict"] == "proven"}
        failed = [e for e in self.events if e.kind in ("failed", "broken") and e.body and e.step not in mended]
        return [Line(f"- {e.step} failed: {e.body['error']}", style=BAD) for e in failed]

    def done(self) -> list[Line]:
        """What was done so far, one line a step."""
        done = [e for e in self.events if e.kind == "outcome" and e.body and e.body["changed"]]
        lines = [Line(f"- {e.step}: {e.body['summary']}") for e in done]
        return [Line(""), Line("What was done", style=HEADING), *(lines or [Line("nothing yet")])]

    def signs(self) -> list[dict[str, Any]]:
        """What the signals found, all of it."""
        bodies = [e.body for e in self.events if e.kind == "outcome" and e.body]
        found = (one for body in bodies for one in body.get("outcome", {}).get("findings") or ())
        return [one for one in found if isinstance(one, dict)]

    def misuse(self) -> list[Line]:
        """Whether it was used: the signals' findings, the surest first."""
        found = sorted(self.signs(), key=lambda one: ("certain", "likely", "possible").index(one["sure"]))
        colours = {"certain": BAD, "likely": ASKS, "possible": DIM}
        lines = [Line(f"- {one['sure']}, {shown(one)}", style=colours[one["sure"]]) for one in found]
        return [Line(""), Line("Signs of misuse", style=HEADING), *lines] if lines else []

    def page(self, *, timeline: bool) -> list[Line | RenderableType]:
        """The whole page."""
        parts: list[Line | RenderableType] = [*self.head(), *self.now_asked(), *self.standing()]
        parts += [*self.misuse(), *self.done()]
        rows = [row.as_json() for row in self.ledger.rows.values()]
        if rows:
            parts += [Line(""), Line("The ledger", style=HEADING), page.ledger(rows)]
        if timeline:
            story = Story()
            parts += [line for event in self.events for line in story.event(event)]
        else:
            parts.append(Line(f"{len(self.events)} events; see them with:", style=DIM))
            parts.append(Line(self.command("show", "--timeline"), command=True))
        return parts


def at_least(now: datetime, events: list[Event]) -> datetime:
    """Now, or the last event's time where a range's clock runs ahead of the machine's."""
    return max([now.astimezone(UTC), *(when(event.at) for event in events[-1:])])
