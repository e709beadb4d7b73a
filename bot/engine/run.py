"""The engine: DBOS owns each incident's workflow and recovers it; the timeline holds what happened inside.

One asynchronous workflow an incident under a deterministic id; an incident that waits holds no thread. DBOS's own
steps, ``recv`` and ``sleep`` are not used inside: their ids are drawn in call order, which ``gather`` does not keep.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig, SetWorkflowID
from dbos._serialization import DBOSPortableJSONSerializer

from bot import traces
from bot.action import Action
from bot.engine import ownership
from bot.engine.afterwards import OFFER, ORDER, Afterwards, afterwards_id
from bot.engine.decisions import HOUSE, Attest, Desk, May, Pulse, unsigned
from bot.engine.freeze import Switch
from bot.engine.graph import IncidentRun, close
from bot.engine.journal import Boundary, Journal
from bot.engine.lease import Lease
from bot.engine.pace import Pace
from bot.engine.steps import Deps, Rule, Ruling
from bot.engine.undo import UndoRun, undo_id
from bot.errors import BulkheadError, FencedOut
from bot.logs import about
from bot.model import Before, Report, Triage
from bot.playbook import Playbook, load
from bot.reference import adapter
from bot.store import DecisionRow, IncidentRow, Store, iso, set_pragmas, when
from bot.store_intake import Known
from bot.timeline import Fence, Timeline
from bot.world import REAL, World

THREADS = 64
ENDS = ("abort", "merge")  # decisions after which no new step begins
GONE = "its company of the range is no more"
AGAIN = 100  # so often an incident is taken up that a fault of ours has ended
SOME = 32  # workflows that are begun together
REST_S = 1.0  # what has failed in the background, or for want of the database, is done again after it
log = logging.getLogger("bulkhead.engine")

Triager = Callable[[World, Report], Triage]
Rules = Callable[[IncidentRow, Triage, Action[Any, Any, Any], Before], Ruling]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the engine is handed; it chooses nothing of this itself."""

    store: Store
    timeline: Timeline
    folder: Path
    catalogue: Mapping[str, Action[Any, Any, Any]]
    worlds: Mapping[str, Callable[[str], World]]  # "real", "range" -> incident id -> World
    triage: Triager
    severity: Callable[[Triage], dict[str, str]]  # level, rule, reason
    rules: Rules
    mode: Callable[[IncidentRow], str]  # observe, ask, act
    may: May
    attest: Attest = unsigned
    human: Callable[[str], str] = str  # one name for everybody who is known under several
    beside: Callable[[IncidentRow, Triage], dict[str, str]] = lambda _row, _found: {}  # credential key -> its incident
    settled: Callable[[str], None] = lambda _incident: None  # an incident is over: wipe what it held
    freeze: str = ""  # why this process changes nothing, whatever the store says
    boundary: Boundary = lambda _name: None
    tick_s: float = 0.1
    lease_s: float = 10.0  # a worker that was silent for longer is taken for dead; a pause of its machine is shorter


class Engine:
    """Runs incidents. ``start`` it inside the running loop; ``stop`` leaves what is under way for the next start."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.desk = Desk(parts.store, parts.may, parts.attest, parts.human)
        self.switch = Switch(parts.store, self.desk, parts.freeze)
        self.pulse = Pulse(parts.store, parts.tick_s)
        self._lease = Lease(parts.store, parts.folder, parts.lease_s)
        self._pace, self._pool = Pace(), ThreadPoolExecutor(THREADS, thread_name_prefix="action")
        # Hundreds are triaged at once where one leak holds hundreds: no cut waits behind them.
        self._triages = ThreadPoolExecutor(THREADS, thread_name_prefix="triage")
        self._tasks: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._ending: set[asyncio.Task[Any]] = set()  # incidents that are over, but for what is wiped then
        # One after the other: on SQLite those that begin at once only wait for each other, and sleep while they do.
        self._opening = asyncio.Lock() if parts.store.sqlite else asyncio.Semaphore(8)
        self._aborted: dict[str, str] = {}
        self._children: asyncio.Queue[str] = asyncio.Queue()
        self._ordered: asyncio.Queue[DecisionRow] = asyncio.Queue()
        self._broken: dict[str, str] = {}
        self._books: dict[str, Playbook] = {}

    async def start(self) -> None:
        """Launch DBOS, recover what was under way, open what was landed but not begun."""
        store = self.parts.store
        self._lease.lock()
        await asyncio.to_thread(self._lease.adopt)
        DBOS(config=_config(store, self._lease.name))
        _speaks_with_us(logging.getLogger("dbos"))
        self._incident, self._undo, self._afterwards = self._workflows()
        self.pulse.on_row = self._on_row
        loop = asyncio.get_running_loop()
        self.parts.timeline.listen(
            lambda e: e.kind == "undone" and loop.call_soon_threadsafe(self.pulse.poke, e.incident)
        )
        DBOS.launch()
        # Not before: the start takes its time, and nobody renews anything in it.
        await asyncio.to_thread(self._lease.begin)
        keep = partial(self._lease.keep, self._pace)
        steady: list[Callable[[], Awaitable[None]]] = [self.pulse.run, self._beginner, self._opener, keep]
        self._tasks = [asyncio.create_task(self._steadily(work)) for work in steady]
        await self.take_over()
        await self.sweep(again=True)

    async def stop(self) -> None:
        """Stop taking part. Calls that are under way end; what they did is found by the look of the next start."""
        self._stopping = True
        tasks = [*self._tasks, *(self._running - self._ending)]
        for task in tasks:
            task.cancel()  # DBOS leaves a cancelled workflow pending, and recovers it
        await asyncio.gather(*tasks, *self._ending, return_exceptions=True)
        for pool in (self._triages, self._pool):
            await asyncio.to_thread(partial(pool.shutdown, wait=True, cancel_futures=True))
        await self._lease.end()
        await asyncio.to_thread(partial(DBOS.destroy, destroy_registry=True))
        # DBOS made its own pool the loop's default and has closed it: who comes after needs one that works.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
        self._lease.let_go()

    async def open(self, incident: str) -> None:
        """Begin the workflow of a landed incident; begun already, nothing happens."""
        async with self._opening:
            with SetWorkflowID(incident):
                await DBOS.start_workflow_async(self._incident, incident)

    async def abandon(self, incident: str, why: str) -> None:
        """End an incident whose World is gone, or is about to go. One that was never begun is begun for this."""
        self._aborted[incident] = f"{HOUSE}: {why}"
        self.pulse.poke(incident)
        if await DBOS.get_workflow_status_async(incident) is None:
            await self.open(incident)

    async def sweep(self, *, again: bool = False) -> list[str]:
        """Begin every open incident whose workflow does not exist: landed, and the process died before it began.

        ``again`` (at start) takes up those too that a fault of ours had ended, under an id of their own.
        """
        begun = []
        for row in await asyncio.to_thread(self.parts.store.incidents, "open"):
            if row.world not in self.parts.worlds:
                continue  # a drill's, whose range is in another process
            for name in (row.id, *(f"{row.id}~{k}" for k in range(1, AGAIN) if again)):
                status = await DBOS.get_workflow_status_async(name)
                if status is None:
                    with SetWorkflowID(name):
                        await DBOS.start_workflow_async(self._incident, row.id)
                    begun.append(row.id)
                if status is None or status.status != "ERROR":
                    break
        return begun

    async def take_over(self) -> int:
        """Hand over what dead workers had under way; whoever is free takes it. Returns how many incidents and undos."""
        return await asyncio.to_thread(self._lease.take_over)

    @property
    def broken(self) -> dict[str, str]:
        """Incidents whose workflow ended in an error of ours, and the sentence."""
        return dict(self._broken)

    def providers(self) -> dict[str, dict[str, Any]]:
        """Provider -> what this worker has last heard of it. Asked on the loop."""
        return self._pace.seen()

    @contextmanager
    def _known(self) -> Iterator[None]:
        """The workflow's task, to be cancelled by ``stop``. One that DBOS begins after that is left for the next start:
        half of what it needs is gone, and a fault would end it for good.
        """
        if self._stopping:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            yield
        finally:
            self._running.discard(task)
            self._ending.discard(task)

    def _ends(self) -> None:
        """The incident of this task is over: ``stop`` waits for the rest instead of cancelling it."""
        task = asyncio.current_task()
        assert task is not None
        self._ending.add(task)

    def _workflows(self) -> tuple[Callable[[str], Any], Callable[[str, str, int], Any], Callable[[str, int], Any]]:
        """Registered under fixed names: recovery finds them by name."""

        @DBOS.workflow(name="incident", max_recovery_attempts=None)
        async def incident(incident_id: str) -> str:
            with self._known():
                return await self._through(incident_id, partial(self._run_incident, incident_id))

        @DBOS.workflow(name="undo", max_recovery_attempts=None)
        async def undo(incident_id: str, step: str, count: int) -> str:
            with self._known():
                return await self._through(incident_id, partial(self._run_undo, incident_id, step, count))

        @DBOS.workflow(name="afterwards", max_recovery_attempts=None)
        async def afterwards(incident_id: str, seq: int) -> str:
            with self._known():
                return await self._through(incident_id, partial(self._run_afterwards, incident_id, seq))

        return incident, undo, afterwards

    async def _through(self, incident: str, run: Callable[[], Awaitable[str]]) -> str:
        """What a run gives. While the database is away it waits and begins anew, as it would after a crash.

        Ending the workflow instead would leave the incident to the next start, and its end could not be written.
        """
        with about(incident=incident), traces.incident(incident):
            while True:
                try:
                    return await run()
                except Exception as exc:
                    if not self.parts.store.away(exc):
                        raise
                    log.warning("incident %s waits for the database: %s", incident, _why(exc))
                await asyncio.sleep(REST_S)

    async def _steadily(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do what never ends. A fault in it is logged and it goes on: without it no decision would be heard."""
        while True:
            try:
                await work()
            except Exception as exc:  # noqa: BLE001 - the edge of a task that nobody waits for
                log.warning("a task of the engine goes on in a moment: %s", _why(exc))
            await asyncio.sleep(REST_S)

    # workflows -------------------------------------------------------------------------------------------------

    async def _run_incident(self, incident: str) -> str:
        row = await asyncio.to_thread(self.parts.store.incident, incident)
        if row.world not in self.parts.worlds:
            await self._gone(incident, "incident", "aborted", {"by": HOUSE, "why": GONE})
            return "aborted"
        began = time.time()
        parts, deps = self.parts, await self._deps(row)
        playbook = self._bound(row.body["playbook"]["text"], row.body["playbook"]["source"])
        report: Report = adapter(Report).validate_python(row.body["report"])
        run = IncidentRun(
            deps,
            playbook,
            self.parts.catalogue,
            self.parts.triage,
            report,
            self.parts.mode(row),
            _opened(row),
            self.parts.severity,
            partial(self._beside, row, deps.journal),
        )
        try:
            await run.run()
        except FencedOut:
            raise
        except Exception as exc:  # the one edge where every fault ends: it stands on the timeline, then goes on up
            if parts.store.away(exc):
                raise
            said = str(exc) if isinstance(exc, BulkheadError) else f"a fault of Bulkhead itself: {type(exc).__name__}"
            last = deps.journal.last("incident", "broken")
            try:
                await deps.journal.write("incident", "broken", {"error": said}, last.attempt + 1 if last else 1)
            finally:
                self._broken[incident] = said
            raise
        self._ends()
        over = "aborted" if deps.journal.find("incident", "aborted") else "closed"
        outcome = traces.OK if over == "closed" else over
        traces.ended(incident, _began(row, began), outcome, world=row.world, playbook=playbook.id)
        if over == "closed":
            await asyncio.to_thread(self.parts.settled, incident)
        if report.beside:
            self.pulse.poke(report.beside)
        return over

    async def _beside(self, row: IncidentRow, journal: Journal, found: Triage) -> None:
        """An incident for each other credential in reach that a playbook knows; its row here waits for that one."""
        if journal.find("incident", "plan") is None:
            opened = await asyncio.to_thread(self.parts.beside, row, found)
            told = enumerate(opened.items())
            bodies = {f"beside#{k}": {"row": key, "incident": child} for k, (key, child) in told}
            await asyncio.gather(*(journal.write(step, "child", body) for step, body in bodies.items()))
        for event in journal.of_kind("child"):
            self._children.put_nowait(event.body["incident"])

    def _bound(self, text: str, source: str) -> Playbook:
        """The playbook that an incident is bound to. Reading one takes milliseconds of the loop, so texts are kept."""
        if text not in self._books:
            self._books[text] = load(text, source, self.parts.catalogue)
        return self._books[text]

    async def _run_undo(self, incident: str, step: str, count: int) -> str:
        row = await asyncio.to_thread(self.parts.store.incident, incident)
        if row.world not in self.parts.worlds:
            await self._gone(incident, f"{step}/undo", "undo-refused", {"why": GONE}, count)
            return "refused"
        deps = await self._deps(row)
        ended = await UndoRun(deps, self.parts.catalogue, step, count).run()
        closed = deps.journal.last("incident", "closed")
        if ended == "undone" and closed is not None:
            # The incident's own workflow is over: this one waits until the reopened rows are settled again.
            await close(deps, [], closed.attempt + 1)
            await asyncio.to_thread(self.parts.settled, incident)
        return ended

    async def _run_afterwards(self, incident: str, seq: int) -> str:
        row = await asyncio.to_thread(self.parts.store.incident, incident)
        if row.world not in self.parts.worlds:
            return "gone"
        (order,) = [one for one in await asyncio.to_thread(self.parts.store.decisions, incident) if one.seq == seq]
        return await Afterwards(await self._deps(row), self.parts.catalogue, order, self.parts.mode(row)).run()

    async def _gone(self, incident: str, step: str, kind: str, body: dict[str, str], attempt: int = 1) -> None:
        """Say that nothing more can be done: the incident's World, a range, is no more."""
        future = self.parts.timeline.append(
            incident, step, kind, body, at=iso(datetime.now(UTC)), attempt=attempt, fence=ownership.current_fence()
        )
        await asyncio.wrap_future(future)

    async def _deps(self, row: IncidentRow) -> Deps:
        parts = self.parts
        fence = ownership.current_fence()
        world, journal = await asyncio.to_thread(self._read, row, fence)
        return Deps(
            world=world, journal=journal, store=parts.store, desk=self.desk, pulse=self.pulse, pace=self._pace,
            pool=self._pool, triages=self._triages, rule=self._rule(row, journal),
            playbook_sha256=row.body["playbook"]["sha256"], aborted=lambda: self._aborted.get(row.id, ""),
            switch=self.switch, owns=partial(self._lease.owns, fence),
        )  # fmt: skip

    def _read(self, row: IncidentRow, fence: Fence) -> tuple[World, Journal]:
        """What a run starts from, in one visit to the database; an abort that stands is noted."""
        parts = self.parts
        world = parts.worlds[row.world](row.id)
        for decision in parts.store.decisions(row.id):
            if by := self._ended_by(decision):
                self._aborted[row.id] = by
        return world, Journal(row.id, parts.store, parts.timeline, world.clock, fence, parts.boundary)

    def _rule(self, row: IncidentRow, journal: Journal) -> Rule:
        known: list[Triage] = []  # of hundreds of credentials in reach, reading it takes longer than a look

        def rule(action: Action[Any, Any, Any], before: Before) -> Ruling:
            event = journal.find("incident", "triage")
            if event and not known:
                known.append(adapter(Triage).validate_python(event.body))
            return self.parts.rules(row, known[0] if known else Triage(credential=_unknown(row)), action, before)

        return rule

    # in the background -----------------------------------------------------------------------------------------

    def _on_row(self, row: DecisionRow) -> None:
        if by := self._ended_by(row):
            self._aborted[row.incident] = by
        elif self._begins(row):
            self._ordered.put_nowait(row)

    def _begins(self, row: DecisionRow) -> bool:
        """Whether a run of its own begins by this row. Nobody signs for an offer: all that it does is to ask."""
        if row.kind == OFFER:
            return row.by == HOUSE and self.parts.store.incident(row.incident).world in self.parts.worlds
        counts = row.kind in ("undo", ORDER) and self.desk.stands(row)
        return counts and (row.kind == "undo" or self._first(row))

    def _first(self, row: DecisionRow) -> bool:
        """Whether nobody has ordered the same before: two people who publish at once open nothing twice."""
        rows = self.parts.store.decisions(row.incident, kind=ORDER)
        return not any(one.seq < row.seq and one.step == row.step and self.desk.stands(one) for one in rows)

    def _ended_by(self, row: DecisionRow) -> str:
        """Who lets no new step begin by this decision, or "" when it does not end the incident or does not count."""
        if row.kind not in ENDS:
            return ""
        if not (self.desk.stands(row) or (row.kind == "merge" and row.by == HOUSE and self._goes_into(row))):
            return ""
        return row.by if row.kind == "abort" else f"{row.by}, and it goes on as {row.body['into']}"

    def _goes_into(self, row: DecisionRow) -> bool:
        """Whether the other incident has taken this one's credential over. Nobody signs for the house: this does."""
        store = self.parts.store
        one, into = store.incident(row.incident), store.incident(row.body["into"])
        leads = Known(store).find(one.world, [one.credential_key]).get(one.credential_key)
        return into.world == one.world and into.status == "open" and leads == into.id != one.id

    async def _opener(self) -> None:
        """Begin the incidents that others have led to. Not inside their workflows: DBOS counts calls there."""

        async def begin(child: str) -> None:
            if await DBOS.get_workflow_status_async(child) is None:
                await self.open(child)

        while True:
            await asyncio.gather(*(begin(child) for child in await _all_of(self._children)))

    async def _beginner(self) -> None:
        """Begin a workflow of its own for each undo, each follow-up and each offer; once, however often told."""
        while True:
            row = await self._ordered.get()
            name = undo_id(row) if row.kind == "undo" else afterwards_id(row)
            if await DBOS.get_workflow_status_async(name) is not None:
                continue
            with SetWorkflowID(name):
                if row.kind == "undo":
                    await DBOS.start_workflow_async(self._undo, row.incident, row.step, row.seq)
                else:
                    await DBOS.start_workflow_async(self._afterwards, row.incident, row.seq)


async def _all_of(queue: asyncio.Queue[str]) -> list[str]:
    """What is in a queue, some at a time; waits for the first."""
    found = [await queue.get()]
    while len(found) < SOME and not queue.empty():
        found.append(queue.get_nowait())
    return found


def _why(exc: Exception) -> str:
    """What may stand in a log: our own sentence, or what kind of fault it was."""
    return str(exc) if isinstance(exc, BulkheadError) else type(exc).__name__


def _speaks_with_us(logger: logging.Logger) -> None:
    """A library with a handler of its own writes in a form of its own: its lines go the way of all others."""
    logger.handlers.clear()
    logger.propagate = True


def _began(row: IncidentRow, run: float) -> float:
    """When an incident began, in seconds since 1970. A range's clock can be moved, so there its run counts."""
    return when(row.opened_at).timestamp() if row.world == REAL else run


def _opened(row: IncidentRow) -> dict[str, Any]:
    """The body of the first event: what was reported, and which playbook is bound to it."""
    playbook = {name: row.body["playbook"][name] for name in ("id", "sha256", "source")}
    return {
        "report": row.body["report"],
        "reported_at": row.opened_at,
        "world": row.world,
        "title": row.title,
        "playbook": playbook,
    }


def _unknown(row: IncidentRow) -> Any:
    return adapter(Report).validate_python(row.body["report"]).credential


def migrate(store: Store) -> None:
    """Bring our tables and DBOS's to the newest form. On SQLite DBOS does its own when it starts."""
    store.migrate()
    if not store.sqlite:
        DBOS.migrate(store.url, schema=ownership.dbos_schema(store.url))


def _in_our_wake(connection: Any, _entry: Any) -> None:
    """DBOS does not wait for the disk on SQLite.

    Its rows stand in the same write-ahead log as ours, and that is on disk up to and with whatever of ours was
    acknowledged last. What a power cut takes is a newest stretch of DBOS's rows with nothing of ours after it: a
    workflow that had begun and done nothing (``sweep`` begins it), or one whose end is found anew on the timeline.
    """
    connection.execute("PRAGMA synchronous=NORMAL")


def _config(store: Store, executor: str = "worker") -> DBOSConfig:
    config: DBOSConfig = {
        "name": "bulkhead", "system_database_url": store.url, "application_version": ownership.VERSION,
        "executor_id": executor,
        "log_level": "ERROR", "enable_otlp": False, "serializer": DBOSPortableJSONSerializer(),
        "sys_db_pool_size": 2 if store.sqlite else 10, "dbos_system_schema": ownership.dbos_schema(store.url),
    }  # fmt: skip
    if store.sqlite:
        config["db_engine_kwargs"] = {"pool_events": [(set_pragmas, "connect"), (_in_our_wake, "connect")]}
    else:
        config["db_engine_kwargs"] = {"connect_args": {"application_name": store.process}}  # see Workers.bury
    return config
