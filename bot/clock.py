"""What happens by the clock: old secrets are forgotten, stuck incidents are taken up and named.

APScheduler with its memory store: nothing here has to survive a restart, every job finds its work in the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from bot.engine.decisions import open_asks
from bot.engine.ledger import Ledger
from bot.engine.run import Engine
from bot.store import Store, when
from bot.timeline import load
from bot.vault import Vault

PURGE_S = 3600
STUCK_S = 60
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


@contextlib.asynccontextmanager
async def running(engine: Engine, store: Store, vault: Vault, maximum: timedelta) -> AsyncIterator[Any]:
    """Run the schedules beside an engine, until the block ends."""

    async def sweep() -> None:
        await engine.sweep()
        for incident in await asyncio.to_thread(stuck, store, datetime.now(UTC)):
            log.warning("incident %s has said nothing for a while; look at it with `bulkhead incident show %s`", incident, incident)

    async def forget() -> None:
        await asyncio.to_thread(purge, vault, maximum)

    scheduler = AsyncIOScheduler(timezone=UTC)
    now = datetime.now(UTC)
    scheduler.add_job(sweep, "interval", seconds=STUCK_S, max_instances=1, coalesce=True)
    scheduler.add_job(forget, "interval", seconds=PURGE_S, next_run_time=now, max_instances=1, coalesce=True)
    scheduler.start()
    try:
        yield scheduler
    finally:
        scheduler.shutdown(wait=False)
