"""What happens by the clock: old secrets are forgotten, stuck incidents are named, a dead worker's are taken over, what
was decided goes to syslog, and each process says that it lives.

APScheduler with its memory store: nothing here has to survive a restart, every job finds its work in the database.
Who runs the engine has its jobs; the installation has its own, in one process or in the one that keeps time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from bot import heartbeat, schedule
from bot.doors import Doors
from bot.engine.decisions import open_asks
from bot.engine.ledger import Ledger
from bot.engine.run import Engine
from bot.errors import BulkheadError, Unavailable
from bot.export import Syslog, forward
from bot.store import Store, iso, when
from bot.store_intake import Facts
from bot.timeline import load
from bot.vault import Vault

PURGE_S = 3600
STUCK_S = 60
DRILLS_S = 10
TAKE_OVER_S = 1
SYSLOG_S = 2
LEARN_S = 5  # post-mortems are begun soon after the close; a follow-up is looked at once an hour
SYSLOG_REST = timedelta(minutes=1)  # how long a server that takes nothing is left alone
FACTS_KEPT = timedelta(days=90)  # as long as CloudTrail and GitHub's own logs tell of the past
REST_S = 1.0  # what the database has ended begins anew after it
QUIET = timedelta(minutes=15)  # no step takes longer without a word: proofs have deadlines of five minutes
log = logging.getLogger("bulkhead.clock")


def purge(vault: Vault, maximum: timedelta) -> int:
    """Forget sealed secrets that have passed their maximum age."""
    forgotten = vault.wipe_older(datetime.now(UTC), maximum)
    if forgotten:
        log.warning("%d sealed secrets passed their maximum age and were forgotten", forgotten)
    return forgotten


def stuck(store: Store, now: datetime) -> list[str]:
    """Open incidents that nobody is asked about, no tail of which runs, and that have been silent too long."""
    found = []
    for row in store.incidents("open"):
        events = load(store, row.id)
        ledger = Ledger.fold(events)
        waits = open_asks(events) or ledger.open_tails()
        if not waits and now - when(events[-1].at if events else row.opened_at) > QUIET:
            found.append(row.id)
    return found


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is done every so many seconds, the first time at once."""

    do: Callable[[], Awaitable[object]]
    every_s: float


def of_engine(engine: Engine) -> list[Job]:
    """What a worker does: take over from dead ones, begin what was landed and never begun."""
    return [Job(engine.take_over, TAKE_OVER_S), Job(engine.sweep, STUCK_S)]


def beating(store: Store, role: str, said: Callable[[], dict[str, Any]] = dict) -> Job:
    """What every role does: say that it lives, and how it is (``said`` is asked on the loop)."""
    since = datetime.now(UTC)

    async def beat() -> None:
        told = said()
        await asyncio.to_thread(partial(heartbeat.beat, store, role, datetime.now(UTC), since, **told))

    return Job(beat, heartbeat.BEAT_S)


@contextlib.asynccontextmanager
async def missed_by_nobody(store: Store, role: str) -> AsyncIterator[None]:
    """A role of this process that ends with the block: it is missed after a fault, not when it was told to stop."""
    try:
        yield
    except asyncio.CancelledError:
        with contextlib.suppress(BulkheadError):  # a database that is away: then it is missed for a while
            await asyncio.to_thread(heartbeat.goodbye, store, role)
        raise


def to_syslog(store: Store, syslog: Syslog, host: str) -> Job:
    """Hand what was decided to a syslog server. One that takes nothing is logged, and asked again a minute later."""
    rest_until = datetime.min.replace(tzinfo=UTC)

    async def hand_over() -> None:
        nonlocal rest_until
        if datetime.now(UTC) < rest_until:
            return
        try:
            await asyncio.to_thread(forward, store, syslog, host)
        except Unavailable as exc:
            rest_until = datetime.now(UTC) + SYSLOG_REST
            log.warning("%s; decisions wait and are handed over in order when it does", exc)

    return Job(hand_over, SYSLOG_S)


def of_house(store: Store, vault: Vault, maximum: timedelta) -> list[Job]:
    """What the installation does: forget old secrets, name incidents that are stuck."""

    async def forget() -> None:
        await asyncio.to_thread(purge, vault, maximum)
        await asyncio.to_thread(Doors(store).sweep, datetime.now(UTC))
        await asyncio.to_thread(Facts(store).forget, iso(datetime.now(UTC) - FACTS_KEPT))
        await asyncio.to_thread(heartbeat.forget, store, datetime.now(UTC))

    async def name_stuck() -> None:
        for incident in await asyncio.to_thread(stuck, store, datetime.now(UTC)):
            said = "incident %s has said nothing for a while; see `bulkhead incident show %s`"
            log.warning(said, incident, incident, extra={"event": "stuck", "incident": incident})

    return [Job(forget, PURGE_S), Job(name_stuck, STUCK_S)]


def drills(store: Store, known: Collection[str], holidays: list[str]) -> Job:
    """Order the drills that are due by their schedules."""

    async def order() -> None:
        for name in await asyncio.to_thread(schedule.turn, store, datetime.now(UTC), known, holidays):
            log.info("the drill %s is due and was ordered", name)

    return Job(order, DRILLS_S)


async def steadily(store: Store, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do what never ends, and begin it anew whenever it is the database that ends it; every other fault goes up.

    A session that is ended, by an administrator or by whoever took this process for dead, must not end the process.
    """
    while True:
        try:
            return await work()
        except Exception as exc:
            if not store.away(exc):
                raise
            log.warning("what this process does goes on in a moment: the database went away (%s)", type(exc).__name__)
        await asyncio.sleep(REST_S)


@contextlib.asynccontextmanager
async def running(jobs: list[Job]) -> AsyncIterator[Any]:
    """Do these by the clock until the block ends."""
    scheduler = AsyncIOScheduler(timezone=UTC)
    for job in jobs:
        # late is better than never: a machine that was busy for a second would leave out what is due once an hour
        often = {"seconds": job.every_s, "next_run_time": datetime.now(UTC), "max_instances": 1, "coalesce": True,
                 "misfire_grace_time": None}  # fmt: skip
        scheduler.add_job(job.do, "interval", **often)
    scheduler.start()
    try:
        yield scheduler
    finally:
        scheduler.shutdown(wait=False)
