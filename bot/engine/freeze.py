"""The kill switch: while the installation is frozen, no worker begins a call that changes anything.

A freeze and its thaw are decisions like all others: by somebody who may, signed or attested where that is asked, in the
same table, which every worker reads before each such call. So nothing has to reach a worker, and none can miss it.
What only reads goes on: triage, looks, proofs. People are asked and their decisions land; after the thaw each step goes
on exactly where it waits.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.engine.decisions import Desk, Sign
from bot.errors import InputError
from bot.store import DecisionRow, Store
from bot.timeline import Event

INSTALLATION = "installation"  # stands where other decisions name their incident and their step
FREEZE, THAW = "freeze", "thaw"
SETTING = "BULKHEAD_FREEZE"
FOR_EVER = sys.maxsize  # the number of a freeze that no decision ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """A freeze, or the thaw that ends it: by whom, when ("" = not known), why. ``seq``: the number of its decision."""

    by: str
    at: str
    reason: str
    seq: int


class Switch:
    """Freezes the installation and thaws it. ``setting``: the reason that the settings of this process give."""

    def __init__(self, store: Store, desk: Desk, setting: str = "") -> None:
        self._store, self._desk, self._setting = store, desk, setting

    def standing(self) -> Frozen | None:
        """The freeze that is in force, or None. A row that does not count neither freezes nor thaws."""
        if self._setting:
            return Frozen(by=SETTING, at="", reason=self._setting, seq=FOR_EVER)
        return self._ordered()

    def _ordered(self) -> Frozen | None:
        """A thaw names the newest freeze that its person had seen: one that was ordered at the same moment stays."""
        upto = 0
        # Newest first: a thaw comes after what it ends, so one signature is checked and not the whole history.
        for row in reversed(self._store.decisions(INSTALLATION)):
            ends = int(row.plan_hash) if row.kind == THAW and row.plan_hash.isdecimal() else 0
            if ends > upto and self._desk.stands(row):
                upto = ends
            elif row.kind == FREEZE and row.seq > upto and self._desk.stands(row):
                return _of(row)
        return None

    def last_thaw(self) -> Frozen | None:
        """The newest thaw that counts, or None."""
        rows = reversed(self._store.decisions(INSTALLATION, kind=THAW))
        return next((_of(row) for row in rows if self._desk.stands(row)), None)

    def order(
        self, kind: str, *, by: str, at: datetime, reason: str, sign: Sign | None = None,
        said: Mapping[str, Any] | None = None,
    ) -> bool:  # fmt: skip
        """Freeze or thaw; False when it is frozen already. Raises DecisionRefused, and InputError with what to do."""
        stands = self._ordered()
        if kind == THAW and stands is None:
            if self._setting:
                raise InputError(f"{SETTING} freezes this process: take it out of its environment and start it again")
            raise InputError("nothing is frozen, so there is nothing to thaw")
        if kind == FREEZE and stands is not None:
            return False
        last = stands.seq if stands else max((row.seq for row in self._store.decisions(INSTALLATION)), default=0)
        return self._desk.order(
            incident=INSTALLATION, step=INSTALLATION, kind=kind, by=by, at=at, reason=reason, sign=sign, said=said,
            plan=str(last),
        )  # fmt: skip


def _of(row: DecisionRow) -> Frozen:
    return Frozen(by=row.by, at=row.at, reason=str(row.body["reason"]), seq=row.seq)


def frozen_steps(events: Iterable[Event]) -> list[Event]:
    """The ``frozen`` events of the steps that still wait for a thaw, oldest first."""
    told = [event for event in events if event.body is not None]
    if any(event.kind in ("closed", "aborted") for event in told):
        return []
    gone_on = {(event.step, event.attempt) for event in told if event.kind == "thawed"}
    return [event for event in told if event.kind == "frozen" and (event.step, event.attempt) not in gone_on]
