"""A store's incident -> what its replay is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bot.drill import told
from bot.replay.page import Replay
from bot.scenario import Drill
from bot.store import Store
from bot.story import stamp
from bot.timeline import load

LEAD = "Press play, and watch a long-lived credential leak, get abused, and get contained."


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
    return Replay(
        title=drill.title if drill else row.title, lead=LEAD if kept else "", drill=row.world == "range",
        about=f"{row.id}, reported {stamp(row.opened_at)}: {stands}.", events=tuple(load(store, name)), told=kept,
        beside=tuple(beside),
    )  # fmt: skip
