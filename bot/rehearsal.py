"""What people do in a drill beside answering: sign for what nothing can prove, take back what was pulled, and put what
there is to do about it into the post-mortem.

An undo is tried once all is contained, as if it had been a mistake. It is ordered, asked about and done as every undo
is. What a registry cannot take back no drill tries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bot import timeline
from bot.engine.ledger import Ledger
from bot.errors import EngineError
from bot.learn.follow_up import follow_up as made
from bot.scenario import Drill, Signed
from bot.timeline import Event

REASON = "the drill tries what it would take to have been mistaken"
PATIENCE_S = 60.0
DUE = timedelta(days=14)  # what was learnt and not done by then is not done


def signed_for(drill: Drill, row: str) -> Signed | None:
    """Who of a drill signs for a row of a secret that is known by its name only; None where nobody does."""
    return drill.signs.get(row.rpartition("/")[2].rpartition(":")[2]) if row.startswith("secret:") else None


def sign(
    bulkhead: Any, drill: Drill, post: Callable[[str, Any], Any], incident: str, events: list[Event], *, by: str = "",
    **vouched: Any,
) -> None:  # fmt: skip
    """The owner of each such secret does in the range what the drill says, and then signs for its row, once.

    ``by``: in whose name, of the first who responds otherwise; ``vouched``: what else ``Desk.order`` is told of them.
    """
    signed = {row.step for row in bulkhead.store.decisions(incident) if row.kind == "waive"}
    for key, row in Ledger.fold(events).rows.items():
        owner = signed_for(drill, key)
        if owner is None or row.settled or key in signed:
            continue
        post("/drill/person", {"act": owner.does})
        at = bulkhead.sites["range"].clock.now()
        bulkhead.desk.order(
            incident=incident, step=key, kind="waive", by=by or drill.responders[0], at=at, reason=owner.says, **vouched
        )  # fmt: skip


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


def follow_up(postmortems: Any, incident: str, findings: Iterable[Mapping[str, Any]], owner: str) -> None:
    """Put what there is to do into the post-mortem of a drill, each with an owner and a date; twice is once."""
    due = (datetime.now(UTC) + DUE).date().isoformat()
    for number, one in enumerate(findings):
        if not number:
            postmortems.begin(incident)
        what = made(one["id"], title=one["title"], owner=one["owner"], due=due, rung=one["rung"])
        postmortems.follow(incident, what, by=owner, key=f"finding:{one['id']}")
