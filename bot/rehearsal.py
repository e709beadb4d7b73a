"""The undo of a drill, tried: once all is contained, what was pulled is taken back, as if it had been a mistake.

It is ordered, asked about and done as every undo is. What a registry cannot take back no drill tries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bot import timeline
from bot.errors import EngineError
from bot.timeline import Event

REASON = "the drill tries what it would take to have been mistaken"
PATIENCE_S = 60.0


async def take_back(bulkhead: Any, incident: str, names: Sequence[str], by: str) -> list[dict[str, str]]:
    """Undo every item of these steps, the last one first; ``came`` is undone or undo-refused, ``said`` in what words.

    The engine runs, and people answer meanwhile. Raises EngineError when one takes for ever.
    """
    taken = []
    events = await asyncio.to_thread(timeline.load, bulkhead.store, incident)
    for step in [step for name in names for step in reversed(_done(events, name))]:
        await asyncio.to_thread(_order, bulkhead, incident, step, by)
        end = await _end(bulkhead, incident, step)
        said = end.body["outcome"]["summary"] if end.kind == "undone" else end.body["why"]
        taken.append({"step": step, "came": end.kind, "said": str(said)})
    return taken


def _done(events: list[Event], name: str) -> list[str]:
    """The steps of this name that have changed something, in their order."""
    steps = (e.step for e in events if e.kind == "outcome" and e.step.split("#")[0] == name and "/" not in e.step)
    return list(dict.fromkeys(steps))


def _order(bulkhead: Any, incident: str, step: str, by: str) -> None:
    at = bulkhead.sites["range"].clock.now()
    bulkhead.desk.order(incident=incident, step=step, kind="undo", by=by, at=at, reason=REASON)


async def _end(bulkhead: Any, incident: str, step: str) -> Event:
    for _ in range(int(PATIENCE_S / 0.1)):
        for event in await asyncio.to_thread(timeline.load, bulkhead.store, incident):
            if event.step == f"{step}/undo" and event.kind in ("undone", "undo-refused"):
                return event
        await asyncio.sleep(0.1)
    raise EngineError(f"the undo of {step} was not over after {PATIENCE_S:.0f} s")
