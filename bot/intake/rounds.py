"""The worker's rounds over the inbox: a batch of what is worst, begun at once, for ever."""

from __future__ import annotations

import asyncio
import logging
import time

from bot.engine.run import Engine
from bot.intake.inbox import Inbox, Worked
from bot.store_intake import waiting

IDLE_S = 0.2
BATCH = 50  # deliveries a round: incidents begin after each
REST_S = 5.0  # a delivery waits so long for a provider that is away
log = logging.getLogger("bulkhead")


async def rounds(inbox: Inbox, engine: Engine) -> None:
    """Turn landed deliveries into incidents until cancelled. What waits for a provider lets the others go before it."""
    store = inbox.store
    rests: dict[str, float] = {}
    while True:
        rests = {name: until for name, until in rests.items() if until > time.monotonic()}
        landed = await asyncio.to_thread(waiting, store, BATCH + len(rests))
        rows = [row for row in landed if row["id"] not in rests and row["body"]["world"] in inbox.worlds]
        if rows:
            # One worker at a time: two reports of one credential, worked at once, would open two incidents.
            with store.only_one("inbox") as mine:
                worked = await asyncio.to_thread(inbox.work_all, rows) if mine else Worked()
            await asyncio.gather(*(engine.open(incident) for incident in worked.opened))
            for name, why in worked.later.items():
                log.warning("delivery %s waits: %s", name, why)
            rests |= dict.fromkeys(worked.later, time.monotonic() + REST_S)
        if len(rows) < BATCH:
            await asyncio.sleep(IDLE_S)
