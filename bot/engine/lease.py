"""A worker's place among the others: its lock and its lease, what it tells them, and what it takes over from the dead.

On SQLite there is one worker, and all of this is the lock on its folder. On PostgreSQL each holds a lock of its name,
which goes with its process, and a lease that it renews, for when it hangs (``bot.store_workers``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from bot.engine import ownership
from bot.engine.pace import Pace
from bot.store import Store, one_worker
from bot.store_workers import Workers
from bot.timeline import Fence

BEAT_S = 1.0  # so often a lease is renewed
log = logging.getLogger("bulkhead.engine")


class Lease:
    """This worker's. ``lease_s``: whoever was silent for longer is taken for dead."""

    def __init__(self, store: Store, folder: Path, lease_s: float) -> None:
        # DBOS recovers by this name. On SQLite one worker at a time has it; elsewhere each process has its own.
        self.name = "worker" if store.sqlite else store.process
        self._store, self._folder, self._lease_s = store, folder, lease_s
        self._workers, self._locks = Workers(store), ExitStack()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lease")  # the loop's usual ones can all be busy

    def lock(self) -> None:
        """Be the only one of this name. Raises EngineError where another worker runs on the folder."""
        mine = one_worker(self._folder) if self._store.sqlite else self._store.only_one(self.name)
        self._locks.enter_context(mine)

    def begin(self) -> None:
        """Take the lease: from now on it has to be renewed."""
        if not self._store.sqlite:
            self._workers.begin(self.name)

    async def keep(self, pace: Pace) -> None:
        """Renew it, from the loop that does the work: a loop that hangs is a worker that does nothing.

        With it goes what this worker needs of each provider, and comes what the others need.
        """
        while not self._store.sqlite:
            others = await asyncio.get_running_loop().run_in_executor(self._thread, self._renew, pace.told())
            pace.share(others)
            await asyncio.sleep(BEAT_S)
        await asyncio.Event().wait()

    def _renew(self, said: Mapping[str, Any]) -> list[dict[str, Any]]:
        if not self._workers.renew(self.name):
            log.warning("this worker was silent for longer than its lease: others have what it did, it begins anew")
            self._locks.close()  # the lock went with its session
            self.lock()
            self.begin()
        return self._workers.tell(self.name, said)

    def take_over(self) -> int:
        """Hand over what dead workers had under way; whoever is free takes it. How many incidents and undos."""
        store, taken = self._store, 0
        if store.sqlite:
            return 0
        silent = self._workers.over(self._lease_s)
        for name in (silent | set(store.ask(ownership.running_sql(store.url)))) - {self.name}:
            with store.only_one(f"heir of {name}") as mine:
                if mine and name in silent:
                    self._workers.bury(name)
                with store.only_one(name) as dead:
                    if mine and dead:
                        self.adopt()
                        taken += ownership.take_over([name])
        return taken

    def adopt(self) -> None:
        """What another version of the engine has under way is ours to go on with: the timeline is the same."""
        url = self._store.url
        adopted = self._store.tell(ownership.adopt_sql(url), ownership.has_records(url), v=ownership.VERSION)
        if adopted:
            log.info("%d incidents were begun by another version of Bulkhead and go on with this one", adopted)

    def owns(self, fence: Fence) -> bool:
        """Whether the run of this fence still owns its incident."""
        store = self._store
        return store.sqlite or store.ask(ownership.owner_sql(store.url), w=fence.workflow) == [fence.owner]

    async def end(self) -> None:
        """Give the lease back; the lock stays until ``let_go``."""
        await asyncio.to_thread(partial(self._thread.shutdown, wait=True))
        if not self._store.sqlite:
            await asyncio.to_thread(self._workers.end, self.name)

    def let_go(self) -> None:
        """Give the lock back: what was under way is anybody's."""
        self._locks.close()
