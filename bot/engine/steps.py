"""One step of a playbook in one incident, in the order that never changes.

look -> Before is committed, never overwritten -> decision if policy asks -> evidence -> run -> Outcome is committed
-> prove until proven or its deadline -> ledger. Doing and undoing are told apart by policy, not here.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bot import traces
from bot.action import Action, material_fields
from bot.engine.deadline import Deadline
from bot.engine.decisions import (
    GLASS,
    REVIEW_WITHIN,
    Ask,
    Counted,
    Desk,
    Pulse,
    deadline,
    plan_hash,
    requester_of,
)
from bot.engine.freeze import INSTALLATION, Frozen, Switch
from bot.engine.journal import Journal
from bot.engine.pace import PLAN, PRIORITY, Gate, Pace
from bot.errors import (
    ActionBroke,
    BulkheadError,
    EngineError,
    FencedOut,
    ProviderError,
    RateLimited,
    StoreAway,
    Unavailable,
)
from bot.logs import about
from bot.model import Before, Effect, EvidenceRef, Outcome, Proof, Verdict
from bot.reference import adapter
from bot.store import DecisionRow, Store, iso, when
from bot.world import World

T = TypeVar("T")
EVIDENCE_S = 5.0  # a cut waits no longer for its evidence
TRIES = 8  # calls again after a time-out or a 5xx; a run looks first, so it changes nothing twice
SAID_S = 1.0  # a pause that a provider asks for is told when it is longer than this
PARTS = ("look", "run", "prove", "evidence", "undo")  # of an action, that are called
BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
log = logging.getLogger("bulkhead.engine")


def to_json(value: Any) -> Any:
    """A dataclass as JSON-like values."""
    return adapter(type(value)).dump_python(value, mode="json")


class StepFailed(Exception):
    """A step that ended without its effect; the sentence says why."""


class Denied(StepFailed):
    """People said no."""


class Aborted(Exception):
    """Somebody aborted the incident: no new step begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What policy says of one step."""

    posture: str  # act, one, two, person
    on_silence: str
    after_s: float
    rule: str
    reason: str
    tells: tuple[str, ...] = ()  # the groups that hear of it when nobody has answered

    @property
    def needs(self) -> int:
        """How many people must agree."""
        return {"act": 0, "one": 1, "two": 2, "person": 1}[self.posture]


Rule = Callable[[Action[Any, Any, Any], Before], Ruling]


@dataclass(slots=True, kw_only=True)
class Deps:
    """What every step of one incident works with."""

    world: World
    journal: Journal
    store: Store
    desk: Desk
    pulse: Pulse
    pace: Pace
    pool: Executor  # of calls of actions
    triages: Executor
    rule: Rule
    playbook_sha256: str
    aborted: Callable[[], str]  # who aborted, or ""
    switch: Switch
    owns: Callable[[], bool]  # whether this run still is the incident's


class StepRun:
    """One instance of a step: ``id`` is the step's, or ``step#k`` for the k-th item of a for_each."""

    def __init__(self, deps: Deps, step_id: str, action: Action[Any, Any, Any], inputs: Any, on_failure: str) -> None:
        self.deps, self.id, self.action, self.inputs, self.on_failure = deps, step_id, action, inputs, on_failure
        self.journal = deps.journal
        self.attempt = 1  # one more for every failure after which a person said: try again
        self.tried: Callable[[], None] = lambda: None  # called at each failure, before people are asked

    # calls -----------------------------------------------------------------------------------------------------

    async def call(
        self, function: Callable[..., T], *args: Any, priority: int | None = None, changes: bool = False
    ) -> T:  # fmt: skip
        """Call an action's function in a thread, at the provider's pace; again after a time-out or a 5xx.

        ``changes``: it may change something, so it waits while the installation is frozen.
        """
        gate = self.deps.pace[self.action.provider]
        rank = PRIORITY[self.action.effect] if priority is None else priority
        for attempt in range(TRIES):
            try:
                async with self._turn(gate, rank, changes):
                    with about(step=self.id):
                        inside = contextvars.copy_context()  # what is said in the thread is said of this step
                    work = partial(inside.run, self._called, function, *args)
                    with traces.span("call", **self._named(function), attempt=attempt + 1):
                        given = await asyncio.get_running_loop().run_in_executor(self.deps.pool, work)
                gate.heard()
                return given
            except RateLimited as exc:
                gate.heard()
                gate.hold(exc.retry_after)
                if attempt == TRIES - 1:
                    raise
                if exc.retry_after >= SAID_S:
                    last = self.journal.last(self.id, "paused")
                    body = {"provider": self.action.provider, "seconds": exc.retry_after, "why": str(exc)}
                    await self.journal.write(self.id, "paused", body, last.attempt + 1 if last else 1)
            except Unavailable as exc:
                self.deps.pace[exc.provider or self.action.provider].heard(str(exc))
                if attempt == TRIES - 1:
                    raise
                await asyncio.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
            except ProviderError:
                gate.heard()
                raise
        raise AssertionError("unreachable")

    def _named(self, function: Callable[..., Any]) -> dict[str, str]:
        """What is called, for a trace."""
        part = next((name for name in PARTS if getattr(self.action, name) is function), "")
        return {"step": self.id, "action": self.action.name, "provider": self.action.provider, "part": part}

    def _called(self, function: Callable[..., T], *args: Any) -> T:
        """What an action's function gives. A fault of ours in it ends its step, not the incident: others must cut."""
        try:
            return function(*args)
        except BulkheadError:
            raise
        except Exception as exc:  # noqa: BLE001 - an action may break in any way
            if self.deps.store.away(exc):
                raise StoreAway("the database went away in the middle of a step") from None
            # Where it broke, and not what it said: that can hold what the provider sent.
            at = traceback.extract_tb(exc.__traceback__)[-1]
            what = f"{type(exc).__name__} at {Path(at.filename).name}:{at.lineno}"
            log.error("%s broke in %s: %s", self.id, self.action.name, what)  # noqa: TRY400 - see above
        raise ActionBroke(
            f"a fault of Bulkhead itself in {self.action.name} ({what}): try again, or do by hand what the step is "
            "for; please report it"
        )

    @asynccontextmanager
    async def _turn(self, gate: Gate, rank: int, changes: bool) -> AsyncIterator[None]:
        """A place at the provider. Whether it is frozen is asked last, when all other waits are over."""
        while True:
            async with gate.enter(rank):
                frozen = await asyncio.to_thread(self._may_change) if changes else None
                if frozen is None:
                    if changes:
                        await self._thawed()
                    yield
                    return
            await self._while_frozen(frozen)

    def _may_change(self) -> Frozen | None:
        """The freeze that is in force. Raises FencedOut when another worker has taken the incident over meanwhile.

        A worker that was stopped wakes here or in a call. What it would do next has been done, or people have decided
        otherwise.
        """
        if not self.deps.owns():
            raise FencedOut(f"{self.journal.incident} is owned by another worker")
        return self.deps.switch.standing()

    async def _while_frozen(self, frozen: Frozen) -> None:
        """Say that the step is frozen, and wait until somebody has ordered something."""
        journal, pulse = self.journal, self.deps.pulse
        told = pulse.told(journal.incident)
        self._check_abort()
        last = journal.last(self.id, "frozen")
        if last is None or journal.find(self.id, "thawed", last.attempt) is not None:
            body = {"by": frozen.by, "at": frozen.at, "reason": frozen.reason}
            await journal.write(self.id, "frozen", body, last.attempt + 1 if last else 1)
        waits = [
            asyncio.ensure_future(pulse.changed(journal.incident, since=told)),
            asyncio.ensure_future(pulse.changed(INSTALLATION, since=frozen.seq)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        self._check_abort()

    async def _thawed(self) -> None:
        """Say, once, that a step which was frozen goes on."""
        last = self.journal.last(self.id, "frozen")
        if last is None or self.journal.find(self.id, "thawed", last.attempt) is not None:
            return
        by = await asyncio.to_thread(self.deps.switch.last_thaw)
        body = {"by": by.by if by else last.body["by"], "reason": by.reason if by else ""}
        await self.journal.write(self.id, "thawed", body, last.attempt)

    # the order of a step ---------------------------------------------------------------------------------------

    async def look(self) -> Before:
        """Look once; what was found is committed before anything changes."""

        async def make() -> dict[str, Any]:
            before = await self.call(self.action.look, self.deps.world, self.inputs)
            return self._look_body(before)

        event = await self.journal.once(self.id, "look", make)
        return adapter(self.action.before).validate_python(event.body["before"])  # type: ignore[no-any-return]

    async def plan(self) -> None:
        """A look that only fills the card, for a step whose turn comes later."""

        async def make() -> dict[str, Any]:
            before = await self.call(self.action.look, self.deps.world, self.inputs, priority=PLAN)
            body = self._look_body(before)
            return {"before": body["before"], "breaks": body["breaks"], "ruling": body["ruling"]}

        await self.journal.once(self.id, "planned", make)

    def _look_body(self, before: Before) -> dict[str, Any]:
        breaks, ruling = self.action.breaks(before), self.deps.rule(self.action, before)
        return {
            "uses": self.action.name, "title": self.action.title, "effect": self.action.effect.value,
            "inputs": to_json(self.inputs), "before": to_json(before),
            "breaks": {"stops": list(breaks.stops), "unknown": breaks.unknown},
            "undo": "" if self.action.undo else self.action.undo_none or "this step changes nothing",
            "ruling": to_json(ruling),
            "asks": ruling.needs > 0 or self.action.person,
            "kills": self.action.kills(self.inputs) if self.action.kills else None,
            "fulfils": self.action.fulfils(self.inputs) if self.action.fulfils else None,
            "ends": list(self.action.ends(self.inputs)) if self.action.ends else None,
        }  # fmt: skip

    async def begin(self) -> Before:
        """The look of a step whose turn has come. Raises StepFailed when it cannot be had and nobody tries again."""
        return await self._tried(self.look)

    async def do(self, before: Before, outcome_written: Callable[[], None]) -> None:
        """Everything after the look. Raises StepFailed when the effect is not proven in the end."""

        async def work() -> None:
            await self._agree(before)
            outcome = await self._run(before)
            outcome_written()
            await self._prove(before, outcome)

        await self._tried(work)

    async def _tried(self, work: Callable[[], Awaitable[T]]) -> T:
        """What ``work`` gives; after a failure again, as often as people say so. Raises StepFailed."""
        while True:
            failed = self.journal.find(self.id, "failed", self.attempt)
            if failed is None:
                try:
                    return await work()
                except EngineError:
                    raise
                except (StepFailed, BulkheadError) as exc:
                    body = {"error": str(exc), "on_failure": self.on_failure, "denied": isinstance(exc, Denied)}
                    failed = await self.journal.write(self.id, "failed", body, self.attempt)
            self.tried()
            if not await self._again(failed.body):
                raise StepFailed(failed.body["error"])
            self.attempt += 1

    async def _agree(self, before: Before) -> None:
        looked = self.journal.find(self.id, "look")
        assert looked is not None
        ruling: Ruling = adapter(Ruling).validate_python(
            looked.body["ruling"]
        )  # as it stood then: a restart changes no rule
        if self.action.person:
            await self.ask("answer", before, ruling, 1)
        elif ruling.needs and before.needed:
            decided = await self.ask("step", before, ruling, ruling.needs)
            if not decided["go"]:
                raise Denied(f"{', '.join(decided['by'])} said no")
        self._check_abort()

    async def _run(self, before: Before) -> Outcome:
        if self.action.evidence is not None and before.needed:
            await self._evidence(before)
        self._check_abort()
        world = self.deps.world.with_answers(_Answers(self.journal, self.id)) if self.action.person else self.deps.world

        async def make() -> dict[str, Any]:
            changes = self.action.effect != Effect.READ
            outcome = await self.call(self.action.run, world, self.inputs, before, changes=changes)
            until = self.deps.world.now() + timedelta(seconds=self.action.proof_deadline)
            plants = [to_json(p) for p in self.action.plants(outcome)] if self.action.plants else []
            return {
                "outcome": to_json(outcome), "changed": before.needed and self.action.effect != Effect.READ,
                "summary": outcome.summary, "prove_by": iso(until), "plants": plants,
            }  # fmt: skip

        event = await self.journal.once(self.id, "outcome", make, self.attempt)
        return adapter(self.action.outcome).validate_python(event.body["outcome"])  # type: ignore[no-any-return]

    async def _evidence(self, before: Before) -> None:
        collect = self.action.evidence
        assert collect is not None

        async def make() -> dict[str, Any]:
            work = self.call(collect, self.deps.world, self.inputs, before)
            if self.action.effect == Effect.DESTROY:
                return {"files": _files(await work)}
            try:
                return {"files": _files(await asyncio.wait_for(work, EVIDENCE_S))}
            except (TimeoutError, BulkheadError) as exc:
                # A cut does not wait for its evidence: the gap stands on the timeline instead.
                return {"files": [], "gap": str(exc) or f"not saved within {EVIDENCE_S:.0f} s"}

        await self.journal.once(self.id, "evidence", make, self.attempt)

    async def _prove(self, before: Before, outcome: Outcome) -> None:
        written = self.journal.find(self.id, "outcome", self.attempt)
        assert written is not None
        prove_by = Deadline(when(written.body["prove_by"]), self.deps.world.clock, when(written.at))

        async def make() -> dict[str, Any]:
            while True:
                proof: Proof = await self.call(self.action.prove, self.deps.world, self.inputs, before, outcome)
                if proof.verdict != Verdict.NOT_YET or prove_by.passed():
                    return to_json(proof)  # type: ignore[no-any-return]
                await asyncio.sleep(proof.retry_after)

        event = await self.journal.once(self.id, "proof", make, self.attempt)
        if event.body["verdict"] != Verdict.PROVEN:
            late = " in time" if event.body["verdict"] == Verdict.NOT_YET else ""
            raise StepFailed(f"not proven{late}: {event.body['detail']}")

    # people ----------------------------------------------------------------------------------------------------

    async def ask(self, purpose: str, before: Before, ruling: Ruling, needs: int) -> dict[str, Any]:
        """Put a question to people and wait for enough of them; returns the ``decided`` body."""
        bound = plan_hash(
            world=self.deps.world.name, playbook=self.deps.playbook_sha256, action=self.action.name, purpose=purpose,
            attempt=0 if purpose in ("step", "answer") else self.attempt, step=self.id, inputs=to_json(self.inputs),
            effect=self.action.effect.value,
            material={k: _plain(v) for k, v in material_fields(before).items()},
        )  # fmt: skip

        async def make() -> dict[str, Any]:
            expires = iso(self.deps.world.now() + timedelta(seconds=ruling.after_s)) if ruling.after_s else ""
            return {
                "purpose": purpose, "plan_hash": bound, "needs": needs, "group": ruling.posture,
                "what": self._what(before),
                "why": f"{ruling.reason} (rule {ruling.rule})", "on_silence": ruling.on_silence, "expires_at": expires,
                "tells": list(ruling.tells),
                "undo": bool(self.action.undo),
            }  # fmt: skip

        asked = await self.journal.once(self.id, "asked", make, self.attempt)
        standing = self.journal.find(self.id, "decided", self.attempt)
        if standing is None:
            said = await self._wait(Ask.of(asked), asked.at)
            standing = await self.journal.write(self.id, "decided", said, self.attempt)
        if "break_glass" in standing.body:
            await self.journal.write(self.id, "break-glass", standing.body["break_glass"], self.attempt)
        return standing.body  # type: ignore[no-any-return]

    def _what(self, before: Before) -> str:
        question = getattr(self.inputs, "question", "")
        return question or f"{self.action.title}: {before.summary}"

    async def _wait(self, ask: Ask, since: str) -> dict[str, Any]:
        requester = requester_of(self.journal.events)
        until = deadline(ask.expires_at, self.deps.world.clock, since)
        while True:
            self._check_abort()
            rows: list[DecisionRow] = await asyncio.to_thread(self.deps.store.decisions, self.journal.incident)
            # In a thread: where decisions are signed, each signature is checked again by a process of its own.
            counted = await asyncio.to_thread(self.deps.desk.count, ask, rows, requester)
            if counted is not None:
                return self._decided(ask, counted, rows)
            if until is not None and until.passed():
                if ask.on_silence == "act":
                    return {"go": True, "said": "nobody answered in time, policy goes on", "by": []}
                until = None  # from now on it waits for people as long as it takes
                silent = {"asked": ask.attempt, "on_silence": ask.on_silence}
                await self.journal.write(self.id, "silent", silent, ask.attempt)
                if ask.on_silence == "escalate":
                    told = {"groups": list(ask.tells), "what": ask.what}
                    await self.journal.write(self.id, "escalated", told, ask.attempt)
            seen = max((row.seq for row in rows), default=0)
            self._check_abort()  # again: its row may be among those seen, and then nothing would wake this
            await self.deps.pulse.changed(self.journal.incident, since=seen, until=until)

    def _decided(self, ask: Ask, counted: Counted, rows: list[DecisionRow]) -> dict[str, Any]:
        """The body of a ``decided`` event."""
        said = {"go": counted.go, "said": "approved" if counted.go else "denied", "by": list(counted.by)}
        if ask.purpose == "answer" and counted.go:
            mine = (r for r in rows if r.step == ask.step and r.kind == "answer" and r.by == counted.by[0])
            return said | {"said": "answered", "answer": next((str(r.body["text"]) for r in mine), "")}
        if counted.glass:
            made = next(r for r in rows if r.kind == GLASS and r.step == ask.step and r.by == counted.by[-1])
            due = iso(when(made.at) + REVIEW_WITHIN)
            glass = {"by": made.by, "reason": counted.glass, "review_by": due, "plan_hash": ask.plan_hash}
            return said | {"said": GLASS, "break_glass": glass}
        return said

    async def _again(self, failed: dict[str, Any]) -> bool:
        """True when a person says: try again."""
        if self.on_failure != "ask" or failed["denied"]:
            return False
        ruling = Ruling(posture="one", on_silence="hold", after_s=0, rule="on_failure: ask", reason=failed["error"])
        retry = StepRun(self.deps, f"{self.id}/retry", self.action, self.inputs, "stop")
        retry.attempt = self.attempt
        decided = await retry.ask(
            "failure", Before(summary="it failed; approve to try again, deny to give up"), ruling, 1
        )
        return bool(decided["go"])

    # small things ----------------------------------------------------------------------------------------------

    def _check_abort(self) -> None:
        by = self.deps.aborted()
        if by:
            raise Aborted(by)


class _Answers:
    """``bot.world.Answers`` over the journal."""

    def __init__(self, journal: Journal, step: str) -> None:
        self._journal, self._step = journal, step

    def answer(self) -> tuple[str, str] | None:
        decided = self._journal.last(self._step, "decided")
        if decided is None or "answer" not in decided.body:
            return None
        return str(decided.body["by"][0]), str(decided.body["answer"])


def _files(refs: tuple[EvidenceRef, ...]) -> list[dict[str, Any]]:
    return [to_json(ref) for ref in refs]


def _plain(value: Any) -> Any:
    return adapter(type(value)).dump_python(value, mode="json")
