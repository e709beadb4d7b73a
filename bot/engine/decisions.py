"""What people tell a running incident: a stored row first, then the incident takes note of it.

A decision is bound to an incident, a step and a plan hash, so that an approval of another plan is worth nothing.
It is checked when it is made (the person gets an answer) and again when it is counted.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.engine.deadline import Deadline
from bot.errors import DecisionRefused, InputError
from bot.signing import SIGNATURE, statement
from bot.store import DecisionRow, Store, canonical, iso, when
from bot.timeline import Event, Timeline
from bot.world import Clock

# (person, posture, what the decision says besides) -> whether they may answer there. Where the groups of a chat say who
# is who, a decision names those that its person was in; its attestation holds that to be true.
May = Callable[[str, str, Mapping[str, Any]], bool]
Attest = Callable[[DecisionRow], str]  # why a decision's signature does not hold, "" when it does
Sign = Callable[[bytes], str]  # statement -> signature
HOUSE = "bulkhead"  # decides nothing, but that two incidents of one credential are one
GLASS = "break-glass"  # one person's word for two
GLASS_APART = timedelta(hours=1)
REVIEW_WITHIN = timedelta(days=1)


def unsigned(_row: DecisionRow) -> str:
    """No list of signers is set, so nothing has to be signed."""
    return ""


def plan_hash(**plan: Any) -> str:
    """What an approval is bound to: world, playbook, action, resolved inputs, effect, material fields of Before."""
    return hashlib.sha256(canonical(plan).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A question that an incident has put to people, as its ``asked`` event says."""

    incident: str
    step: str
    attempt: int
    purpose: str  # step, failure, answer, undo
    plan_hash: str
    needs: int  # how many different people must agree
    group: str  # the posture whose people may answer: act (a person's step), one, two, person
    what: str
    why: str
    on_silence: str  # act, hold, escalate
    expires_at: str  # "" = never
    tells: tuple[str, ...] = ()  # groups that hear of it when nobody has answered

    @classmethod
    def of(cls, event: Event) -> Ask:
        """The ask that this event put."""
        names = ("purpose", "plan_hash", "needs", "group", "what", "why", "on_silence", "expires_at")
        body = {name: event.body[name] for name in names} | {"tells": tuple(event.body.get("tells", ()))}
        return cls(incident=event.incident, step=event.step, attempt=event.attempt, **body)

    def over(self, at: str) -> bool:
        """Whether policy has decided by then. Where silence does not act, people's late word counts."""
        return self.on_silence == "act" and bool(self.expires_at) and at > self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What people have said to an ask. ``glass``: the reason, when one person's word counted for two."""

    go: bool
    by: tuple[str, ...]
    glass: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A broken glass that a second person has yet to look at."""

    incident: str
    step: str
    attempt: int
    by: str  # who broke it
    reason: str
    due: str
    plan_hash: str


def reviews_due(events: Iterable[Event]) -> list[Review]:
    """Every broken glass of these events that nobody has signed off."""
    events = [e for e in events if e.body is not None]
    done = {(e.incident, e.step, e.attempt) for e in events if e.kind == "reviewed"}
    return [
        Review(incident=e.incident, step=e.step, attempt=e.attempt, by=e.body["by"], reason=e.body["reason"],
               due=e.body["review_by"], plan_hash=e.body["plan_hash"])
        for e in events if e.kind == GLASS and (e.incident, e.step, e.attempt) not in done
    ]  # fmt: skip


def open_asks(events: Iterable[Event]) -> list[Ask]:
    """Asks that nobody has settled, oldest first. What was asked before the end is over with it, but for an undo."""
    events = list(events)
    settled = {(e.step, e.attempt) for e in events if e.kind == "decided"}
    ended = max((k for k, e in enumerate(events) if e.kind in ("closed", "aborted")), default=-1)
    asks = [
        (k, Ask.of(e)) for k, e in enumerate(events) if e.kind == "asked" and (e.step, e.attempt) not in settled
    ]  # fmt: skip
    return [ask for k, ask in asks if k > ended or ask.purpose == "undo"]


def requester_of(events: Iterable[Event]) -> str:
    """Who reported."""
    return next((str(e.body["report"]["by"]) for e in events if e.kind == "opened" and e.body), "")


class Desk:
    """Where decisions are handed in."""

    def __init__(
        self, store: Store, may: May, attest: Attest = unsigned, human: Callable[[str], str] = str
    ) -> None:  # fmt: skip
        """``human``: one name for everybody who is known under several, so that nobody is two people."""
        self._store, self._may, self._attest, self._human = store, may, attest, human

    def submit(
        self, *, events: list[Event], incident: str, step: str, kind: str, by: str, at: datetime,
        body: dict[str, Any] | None = None, plan: str = "", sign: Sign | None = None,
    ) -> bool:  # fmt: skip
        """Check and land approve, deny, answer or break-glass; False when the very same one already stands.

        Raises DecisionRefused with what to do when it does not count.
        """
        asks = [a for a in open_asks(events) if a.step == step]
        if not asks:
            raise self._no_ask(events, step)
        ask = asks[-1]
        if (kind == "answer") != (ask.purpose == "answer"):
            wanted = "answer" if ask.purpose == "answer" else "approve or deny"
            raise DecisionRefused(f"{step} waits for: {wanted}", reason="wrong-kind")
        if plan and plan != ask.plan_hash:
            said = f"the plan of {step} has changed since; look at it again, then decide"
            raise DecisionRefused(said, reason="other-plan")
        if ask.over(iso(at)):
            raise DecisionRefused(f"the time to decide on {step} ended at {ask.expires_at}", reason="late")
        if kind == "answer" and not (body or {}).get("text", "").strip():
            raise InputError(f"{step} asks: {ask.what}; give the answer as text")
        if kind == GLASS and not (body or {}).get("reason", "").strip():
            raise InputError("say why one person's word must do for two: --break-glass needs --reason")
        refusal = self.refusal(ask, by, kind, requester_of(events), body or {})
        if refusal is None and kind == GLASS:
            refusal = self._glass_refusal(ask, by, iso(at))
        if refusal:
            raise refusal
        return self.land(
            incident=incident, step=step, kind=kind, by=by, at=at, plan=ask.plan_hash, body=body or {}, sign=sign
        )

    def order(
        self, *, incident: str, step: str, kind: str, by: str, at: datetime, reason: str, sign: Sign | None = None,
        said: Mapping[str, Any] | None = None, plan: str = "",
    ) -> bool:  # fmt: skip
        """Land abort, undo, waive or hold: what nobody had asked for. ``said``: more of a body than the reason."""
        if not self._may(by, "one", said or {}):
            raise _wrong_person(by)
        if not reason.strip():
            raise InputError(f"say why: {kind} needs --reason")
        return self.land(
            incident=incident,
            step=step,
            kind=kind,
            by=by,
            at=at,
            plan=plan,
            body={**(said or {}), "reason": reason},
            sign=sign,
        )

    def review(
        self, due: Review, *, by: str, at: datetime, text: str, sign: Sign | None = None,
        said: Mapping[str, Any] | None = None,
    ) -> bool:  # fmt: skip
        """Land a second person's word that they have looked at a broken glass. Raises DecisionRefused."""
        if not self._may(by, "two", said or {}):
            raise _wrong_person(by)
        if self._human(by) == self._human(due.by):
            why = f"{by} broke the glass on {due.step}, so somebody else reviews it"
            raise DecisionRefused(why, reason="requester")
        return self.land(
            incident=due.incident, step=due.step, kind="review", by=by, at=at, plan=due.plan_hash,
            body={**(said or {}), "text": text}, sign=sign,
        )  # fmt: skip

    def land(
        self, *, incident: str, step: str, kind: str, by: str, at: datetime, plan: str, body: dict[str, Any],
        sign: Sign | None = None,
    ) -> bool:  # fmt: skip
        """Write the row, signed where somebody signs. Raises DecisionRefused for a signature that does not hold."""
        named = {"incident": incident, "step": step, "kind": kind, "by": by, "at": iso(at), "plan_hash": plan}
        row: dict[str, Any] = named | {"body": body}
        if sign is not None:
            row["body"] = body | {SIGNATURE: sign(statement(self._store.database_id(), row))}
        if why := self._attest(DecisionRow(seq=0, **row)):
            raise DecisionRefused(why, reason="signature")
        seq, new = self._store.add_decision(row)
        if not new:
            # One that was made before a list of signers was set, or past this desk, must not stand in the way.
            standing = next(one for one in self._store.decisions(incident, seq - 1) if one.seq == seq)
            new = bool(self._attest(standing)) and self._store.add_decision(row, void=seq)[1]
        return new

    def stands(self, row: DecisionRow) -> bool:
        """Whether an order that nobody had asked for counts: by somebody who may, and signed where that is asked."""
        return self._may(row.by, "one", row.body) and not self._attest(row)

    def refusal(
        self, ask: Ask, by: str, kind: str, requester: str, said: Mapping[str, Any]
    ) -> DecisionRefused | None:  # fmt: skip
        """Why this person's word does not count on this ask, or None when it does. ``said``: the decision's body."""
        if not self._may(by, ask.group, said):
            return _wrong_person(by)
        if kind in ("approve", GLASS) and ask.needs > 1 and self._human(by) == self._human(requester):
            why = f"{by} reported this incident, so two others must agree on {ask.step}"
            return DecisionRefused(why, reason="requester")
        return None

    def _glass_refusal(self, ask: Ask, by: str, at: str, seq: int | None = None) -> DecisionRefused | None:
        """Why the glass stays whole: only where two must agree, never to undo a cut, once an hour a person."""
        if ask.needs != 2:
            said = f"{ask.step} asks one person, so there is no glass to break; approve it"
            return DecisionRefused(said, reason="glass")
        if ask.purpose == "undo":
            return DecisionRefused("an undo makes what leaked live again; it waits for two people", reason="glass")
        for row in self._store.decisions(kind=GLASS):
            mine = self._human(row.by) == self._human(by) and row.plan_hash != ask.plan_hash
            before = mine and (seq is None or row.seq < seq)
            if before and abs(when(at) - when(row.at)) < GLASS_APART:
                said = f"{by} broke the glass on {row.step} at {row.at[11:16]} UTC"
                again = f"and may again at {when(row.at) + GLASS_APART:%H:%M} UTC"
                return DecisionRefused(f"{said}, {again}", reason="glass")
        return None

    def count(self, ask: Ask, decisions: Iterable[DecisionRow], requester: str) -> Counted | None:
        """What was said, or None while too few have spoken. Late, foreign and unsigned rows do not count."""
        approvals: list[str] = []
        glass: DecisionRow | None = None
        for row in decisions:
            mine = row.step == ask.step and row.plan_hash == ask.plan_hash
            if not mine or ask.over(row.at) or self.refusal(ask, row.by, row.kind, requester, row.body):
                continue
            if self._attest(row):
                continue
            if row.kind == "deny":
                return Counted(go=False, by=(row.by,))
            if row.kind in ("approve", "answer") and self._human(row.by) not in map(self._human, approvals):
                approvals.append(row.by)
            if row.kind == GLASS and self._glass_refusal(ask, row.by, row.at, row.seq) is None:
                glass = row
        if len(approvals) >= ask.needs:
            return Counted(go=True, by=tuple(approvals))
        if glass is None:
            return None
        others = tuple(name for name in approvals if self._human(name) != self._human(glass.by))
        return Counted(go=True, by=(*others, glass.by), glass=glass.body["reason"])

    @staticmethod
    def _no_ask(events: list[Event], step: str) -> DecisionRefused:
        if any(e.kind in ("closed", "aborted") for e in events):
            return DecisionRefused("this incident is over; nothing waits for a decision", reason="late")
        decided = [e for e in events if e.step == step and e.kind == "decided"]
        if decided:
            said = decided[-1].body
            by = ", ".join(said["by"]) or "nobody in time"
            return DecisionRefused(f"{step} is decided already: {said['said']} by {by}", reason="late")
        waiting = ", ".join(a.step for a in open_asks(events)) or "nothing"
        return DecisionRefused(f"{step!r} does not wait for a decision; what waits: {waiting}", reason="unknown-step")


def _wrong_person(by: str) -> DecisionRefused:
    said = f"{by} is not one of the responders who may decide this; ask one of them"
    return DecisionRefused(said, reason="wrong-person")


def sign_off(
    desk: Desk, timeline: Timeline, due: Review, *, by: str, at: datetime, text: str, sign: Sign | None = None,
    said: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """A second person has looked at a broken glass: their decision, and the event that says so. Raises DecisionRefused.

    Said again after a crash between the two, it is the same.
    """
    desk.review(due, by=by, at=at, text=text, sign=sign, said=said)
    body = {"by": by, "of": due.by, "text": text}
    timeline.append(due.incident, due.step, "reviewed", body, at=iso(at), attempt=due.attempt).result()


class Pulse:
    """Wakes what waits: one indexed query a tick for all incidents, and one look at each deadline."""

    def __init__(self, store: Store, tick_s: float = 0.1) -> None:
        self._store, self._tick_s = store, tick_s
        self._waiting: dict[str, list[tuple[asyncio.Event, Deadline | None]]] = {}
        self._latest: dict[str, int] = {}
        self._missed: set[str] = set()  # poked while nobody waited: whoever was about to must look once more
        self.on_row: Callable[[DecisionRow], None] = lambda _row: None

    async def changed(self, incident: str, *, since: int, until: Deadline | None = None) -> None:
        """Return when a decision after number ``since`` has landed, or ``until`` has passed.

        Can return early: look again before you believe anything.
        """
        if self.told(incident) > since:
            return
        if incident in self._missed:
            self._missed.remove(incident)
            return
        woken = asyncio.Event()
        entry = (woken, until)
        self._waiting.setdefault(incident, []).append(entry)
        try:
            await woken.wait()
        finally:
            self._waiting[incident].remove(entry)
            if not self._waiting[incident]:
                del self._waiting[incident]

    def told(self, incident: str) -> int:
        """The number of the latest decision of which an incident has been told."""
        return self._latest.get(incident, 0)

    def poke(self, incident: str) -> None:
        """Wake an incident: something that is not a decision has changed."""
        if incident not in self._waiting:
            self._missed.add(incident)
        self._wake(incident)

    def _wake(self, incident: str) -> None:
        for woken, _ in self._waiting.get(incident, ()):
            woken.set()

    async def run(self) -> None:
        """The poller. Cancel it to stop."""
        last = 0
        while True:
            for row in await asyncio.to_thread(self._store.decisions, "", last):
                last = self._latest[row.incident] = row.seq
                self.on_row(row)
                self._wake(row.incident)
            for entries in self._waiting.values():
                for woken, until in entries:
                    if until and until.passed():
                        woken.set()
            await asyncio.sleep(self._tick_s)


def deadline(text: str, clock: Clock, since: str) -> Deadline | None:
    """An ask's ``expires_at``, asked ``since``; None when it never does."""
    return Deadline(when(text), clock, when(since)) if text else None
