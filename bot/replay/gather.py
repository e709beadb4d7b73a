"""A store's incident -> what its replay is drawn from, and the run that stands beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bot.drill import told
from bot.replay.page import Replay
from bot.scenario import Drill
from bot.store import Store
from bot.story import stamp
from bot.timeline import load

LEAD = "Press play, and watch a long-lived credential leak, get abused, and get contained."
MOVED = "Press play, and watch the same leak once no secret is stored any more: a non-event."


def gather(
    store: Store, name: str, drills: Mapping[str, Drill], may_see: Callable[[str], bool] = lambda _name: True
) -> Replay:
    """The replay of an incident as it stands. Raises InputError when there is none.

    ``may_see`` says which incidents beside it are shown with it.
    """
    row = store.incident(name)
    kept = told(store, row)
    drill = drills.get(kept.get("id", ""))
    beside = [
        tuple(load(store, other.id)) for other in store.incidents()
        if other.body["report"].get("beside") == name and may_see(other.id)
    ]  # fmt: skip
    stands = "still open, so this is not its end" if row.status == "open" else row.status
    lead = MOVED if "migrate" in kept else LEAD
    return Replay(
        title=drill.title if drill else row.title, lead=lead if kept else "", drill=row.world == "range",
        about=f"{row.id}, reported {stamp(row.opened_at)}: {stands}.", events=tuple(load(store, name)), told=kept,
        beside=tuple(beside),
    )  # fmt: skip


def played(
    store: Store, drill: str, drills: Mapping[str, Drill], may_see: Callable[[str], bool] = lambda _name: True
) -> Replay | None:
    """The replay of the last run of a drill in this store; None when there was none."""
    rows = sorted(store.incidents("closed"), key=lambda row: row.opened_at, reverse=True)
    name = next((row.id for row in rows if told(store, row).get("id") == drill and may_see(row.id)), None)
    return gather(store, name, drills, may_see) if name else None
