"""One incident from triage to close: the playbook's steps as a graph, then the wait for its tails and for people."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from bot import traces
from bot.action import Action
from bot.engine.deadline import Deadline
from bot.engine.ledger import Ledger
from bot.engine.steps import Aborted, Deps, StepFailed, StepRun
from bot.errors import BulkheadError, EngineError, Forbidden, InputError, RateLimited, Refused, Unavailable
from bot.model import Report, Triage
from bot.playbook import Playbook
from bot.reference import adapter
from bot.steps import Step
from bot.store import DecisionRow, Store
from bot.timeline import last_of, load
from bot.world import World

TRIAGE_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0)  # the last of them again and again
LOOK_AGAIN = timedelta(seconds=2)  # another worker may run an incident that this one waits for


class Node:
    """A step of the playbook while it runs: what others may wait for."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.looked, self.outcome, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.proven, self.tried = asyncio.Event(), asyncio.Event()
        self.untried: set[str] = set()  # of its instances
        self.failure = ""
        self.root = self  # whose failure it is: its own, or that of a step for which this one has waited
        self.last = False  # it would cut Bulkhead's own credential, and waits for the others

    async def reached(self, level: str) -> None:
        """Wait until the step is as far as another one needs it. Raises StepFailed when it has ended without that."""
        mark = {"look": self.looked, "outcome": self.outcome, "tried": self.tried}.get(level, self.proven)
        waits = [asyncio.ensure_future(mark.wait()), asyncio.ensure_future(self.ended.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not mark.is_set() and level not in ("tried", "ended"):
            raise _Held(self)

    def try_(self, instance: str) -> None:
        """An instance has come to its first end, or to its first failure."""
        self.untried.discard(instance)
        if not self.untried:
            self.tried.set()


class _Held(StepFailed):
    """A step that its turn never came to. It names the one that failed, and not each that waited in between."""

    def __init__(self, node: Node) -> None:
        self.root = root = node.root
        between = "" if root is node else f"which waited for {root.step.id}, "
        super().__init__(f"it needs {node.step.id}, {between}which did not succeed: {root.failure}")


class IncidentRun:
    """The run of one incident. Started again after a crash, it finds what stands and goes on."""

    def __init__(
        self, deps: Deps, playbook: Playbook, catalogue: Mapping[str, Action[Any, Any, Any]],
        triage: Callable[[World, Report], Triage], report: Report, mode: str,
        opened: dict[str, Any], severity: Callable[[Triage], dict[str, str]],
        beside: Callable[[Triage], Awaitable[None]],
    ) -> None:  # fmt: skip
        self.beside = beside  # opens an incident for each other credential in reach that has a playbook of its own
        self.deps, self.playbook, self.catalogue = deps, playbook, catalogue
        self.triage, self.report, self.mode, self.opened, self.severity = triage, report, mode, opened, severity
        self.nodes = {step.id: Node(step) for step in playbook.steps}
        self.facts: dict[str, Any] = {"incident": {"id": deps.journal.incident}}
        self.stopped = ""

    async def run(self) -> None:
        """Triage, plan, steps, close."""
        await self.deps.journal.write("incident", "opened", self.opened)
        try:
            await self._triage()
            await self.beside(self.facts["triage"])
            await self._plan()
            if self.mode != "observe":
                await self._steps()
            await close(self.deps, [name for name, node in self.nodes.items() if node.failure])
        except Aborted as exc:
            await self.deps.journal.write("incident", "aborted", {"by": str(exc)})

    async def _triage(self) -> None:
        async def make() -> dict[str, Any]:
            found = await self._found()
            return adapter(Triage).dump_python(found, mode="json")  # type: ignore[no-any-return]

        event = await self.deps.journal.once("incident", "triage", make)
        found: Triage = adapter(Triage).validate_python(event.body)
        self.facts |= {"triage": found, "credential": found.credential}
        severe = await self.deps.journal.write("incident", "severity", self.severity(found))
        self.facts["incident"]["severity"] = severe.body["level"]

    async def _found(self) -> Triage:
        """What triage finds. It begins every incident, so a provider that is away is waited for, and that is told."""
        journal, loop = self.deps.journal, asyncio.get_running_loop()
        for pause in itertools.chain(TRIAGE_PAUSES_S, itertools.repeat(TRIAGE_PAUSES_S[-1])):
            try:
                with traces.span("call", part="triage"):
                    work = partial(contextvars.copy_context().run, self.triage, self.deps.world, self.report)
                    return await loop.run_in_executor(self.deps.triages, work)
            except (Unavailable, RateLimited, Refused, Forbidden) as exc:
                if exc.provider:
                    self.deps.pace[exc.provider].heard(str(exc) if isinstance(exc, Unavailable) else "")
                wait = max(pause, exc.retry_after) if isinstance(exc, RateLimited) else pause
                last = journal.last("incident", "paused")
                body = {"provider": exc.provider, "seconds": wait, "why": str(exc)}
                if last is None or last.body["why"] != body["why"]:
                    await journal.write("incident", "paused", body, last.attempt + 1 if last else 1)
            await asyncio.sleep(wait)
            if by := self.deps.aborted():
                raise Aborted(by)
        raise AssertionError("unreachable")

    # plan ------------------------------------------------------------------------------------------------------

    async def _plan(self) -> None:
        steps = [
            {"id": s.id, "uses": s.uses, "title": action.title, "effect": action.effect.value, "needs": sorted(s.needs),
             "on_failure": s.on_failure, "person": action.person}
            for s in self.playbook.order() for action in (self.catalogue[s.uses],)
        ]  # fmt: skip
        await self.deps.journal.write(
            "incident", "plan", {"playbook": self.playbook.id, "mode": self.mode, "steps": steps}
        )
        if self.mode == "observe":
            await asyncio.gather(*(self._plan_looks(step) for step in self.playbook.steps))

    async def _plan_looks(self, step: Step) -> None:
        """Look at whatever can be looked at before its turn; what depends on later steps is left to them."""
        try:
            for run in self._instances(step):
                await run.plan()
        except EngineError:
            raise
        except BulkheadError as exc:
            await self.deps.journal.write(step.id, "planned-later", {"why": str(exc)})

    # steps -----------------------------------------------------------------------------------------------------

    async def _steps(self) -> None:
        late = {s.id for s in self.playbook.steps if s.needs and self.deps.journal.find(s.id, "look") is None}
        plans = [self._plan_looks(self.nodes[name].step) for name in late if self._known(self.nodes[name].step)]
        background = asyncio.gather(*plans)
        tasks = [asyncio.create_task(self._step(node)) for node in self.nodes.values()]
        try:
            # An abort or a fault of ours ends the others at their next await; what was begun in a thread is finished.
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            background.cancel()
            await asyncio.gather(background, return_exceptions=True)

    def _known(self, step: Step) -> bool:
        """Whether all that the step refers to is known before any other step has run."""
        try:
            self._instances(step)
        except InputError:
            return False
        return True

    async def _step(self, node: Node) -> None:
        step, journal = node.step, self.deps.journal
        try:
            for name, wanted in step.needs.items():
                await self.nodes[name].reached(wanted)
            if self.stopped:
                raise StepFailed(f"the playbook was stopped: {self.stopped}")
            runs = self._instances(step)
            if not runs:
                self._pass(node)  # who waits for it need not wait for the word that it was nothing
                why = "there is nothing to do it to" if step.for_each else "its `when` does not hold here"
                await journal.write(step.id, "skipped", {"why": why})
            node.untried = {run.id for run in runs}
            for run in runs:
                run.tried = partial(node.try_, run.id)
            # One item that fails does not keep the others from their end.
            ends = await asyncio.gather(*(self._instance(node, run) for run in runs), return_exceptions=True)
            wrong = [end for end in ends if isinstance(end, BaseException)]
            for end in sorted(wrong, key=lambda e: isinstance(e, StepFailed)):
                raise end
            self._pass(node)
        except (StepFailed, InputError) as exc:
            node.failure, node.root = str(exc), exc.root if isinstance(exc, _Held) else node
            if journal.last(step.id, "failed") is None:
                await journal.write(
                    step.id, "failed", {"error": str(exc), "on_failure": step.on_failure, "denied": False}
                )
            if step.on_failure == "stop":
                self.stopped = f"{step.id}: {exc}"
        finally:
            node.ended.set()

    def _pass(self, node: Node) -> None:
        for mark in (node.looked, node.outcome, node.proven):
            mark.set()

    async def _instance(self, node: Node, run: StepRun) -> None:
        with traces.span("step", step=run.id, action=run.action.name, effect=run.action.effect.value):
            await self._through(node, run)

    async def _through(self, node: Node, run: StepRun) -> None:
        before = await run.begin()
        if not node.step.for_each:
            self._fact(node.step.id, "before", before)
            node.looked.set()
        if before.cuts_own:
            await self._be_last(node)

        def written() -> None:
            last = self.deps.journal.last(run.id, "outcome")
            assert last is not None
            if not node.step.for_each:
                outcome = adapter(run.action.outcome).validate_python(last.body["outcome"])
                self._fact(node.step.id, "outcome", outcome)
                node.outcome.set()

        await run.do(before, written)
        run.tried()

    async def _be_last(self, node: Node) -> None:
        """Wait for every step that does not wait for this one; among those that cut our own, the playbook's order."""
        node.last = True
        order = list(self.nodes.values())
        while any(
            not other.ended.is_set()
            and not self._needs(other, node)
            and not (other.last and order.index(other) > order.index(node))
            for other in order
            if other is not node
        ):
            await asyncio.sleep(0.05)

    def _needs(self, node: Node, other: Node) -> bool:
        """Whether ``node`` waits for ``other``, directly or through others."""
        return any(name == other.step.id or self._needs(self.nodes[name], other) for name in node.step.needs)

    def _fact(self, step: str, part: str, value: Any) -> None:
        self.facts[step] = {**self.facts.get(step, {}), part: value}

    def _instances(self, step: Step) -> list[StepRun]:
        """One run for the step, or one an item, where its `when` holds. Raises InputError for an unknown reference."""
        action = self.catalogue[step.uses]
        runs = []
        for k, item in enumerate(step.items(self.facts)):
            facts = {**self.facts, "item": item} if step.for_each else self.facts
            if step.applies(facts):
                name = f"{step.id}#{k}" if step.for_each else step.id
                runs.append(StepRun(self.deps, name, action, step.inputs(action, facts), step.on_failure))
        return runs


async def close(deps: Deps, failed: list[str], attempt: int = 1) -> None:
    """Wait until every row is closed on proof, or waived; tails expire on the World's clock. Then say so, once."""
    journal, world = deps.journal, deps.world
    while True:
        if by := deps.aborted():
            raise Aborted(by)
        await journal.refresh()
        rows = await asyncio.to_thread(deps.store.decisions, journal.incident)
        await _waive(deps, rows)
        waits = await _children(deps)
        now = world.now()
        tails = [
            (row.key, tail.kind, tail.until) for row, tail in journal.ledger.open_tails() if tail.until is not None
        ]
        for key, kind, ends_at in tails:
            if ends_at <= now:
                await journal.write(f"tail:{kind}:{key}", "tail-ended", {"kind": kind, "of": key}, attempt)
        if journal.ledger.settled:
            break
        ends = [ends_at for _, _, ends_at in tails if ends_at > now]
        soonest = min([*ends, *([now + LOOK_AGAIN] if waits else [])], default=None)
        seen = max((row.seq for row in rows), default=0)
        if by := deps.aborted():  # again: its row may be among those seen, and then nothing would wake this
            raise Aborted(by)
        until = Deadline(soonest, world.clock) if soonest else None
        await deps.pulse.changed(journal.incident, since=seen, until=until)
    ledger = [row.as_json() for row in journal.ledger.rows.values()]
    await journal.write("incident", "closed", {"ledger": ledger, "failed": failed}, attempt)


async def _children(deps: Deps) -> bool:
    """Take over what the incidents beside this one have proven; True while one is still under way."""
    journal = deps.journal
    children = {event.step: event.body for event in journal.of_kind("child")}
    if not children:
        return False
    stands = await asyncio.to_thread(deps.store.statuses, [child["incident"] for child in children.values()])
    waits = {step for step, child in children.items() if stands[child["incident"]] == "open"}

    async def take(step: str, child: dict[str, Any]) -> None:
        await journal.write(step, "child-ended", {**child, **await asyncio.to_thread(_proven, deps.store, child)})

    new = [step for step in children if step not in waits and journal.last(step, "child-ended") is None]
    await asyncio.gather(*(take(step, children[step]) for step in new))
    return bool(waits)


def _proven(store: Store, child: Mapping[str, Any]) -> dict[str, Any]:
    """What an incident that is over says of the credential that it was opened for."""
    closed = last_of(store, child["incident"], "incident", "closed")
    if closed is not None:  # its last word has the ledger; another could have been cut before an abort
        rows = {row["key"]: row for row in closed.body["ledger"]}
    else:
        rows = {key: row.as_json() for key, row in Ledger.fold(load(store, child["incident"])).rows.items()}
    found = rows[store.incident(child["incident"]).credential_key]
    return {name: found[name] for name in ("state", "proof", "detail", "dead_at", "waived_by")}


async def _waive(deps: Deps, rows: list[DecisionRow]) -> None:
    journal = deps.journal
    for row in rows:
        known = row.kind == "waive" and row.step in journal.ledger.rows
        if known and journal.find(f"row:{row.step}", "waived", row.seq) is None:
            if not await asyncio.to_thread(deps.desk.stands, row):
                continue
            body = {"row": row.step, "by": row.by, "reason": row.body["reason"]}
            await journal.write(f"row:{row.step}", "waived", body, row.seq)
