"""A row whose credential has an incident of its own: it waits for that one, and takes what it has proven."""

from __future__ import annotations

from typing import Any

import pytest

from bot.engine.ledger import Ledger
from bot.model import Grade, RowState
from tests.engine.test_ledger import event, triage

KEY = "lamp:b"
CHILD = {"row": KEY, "incident": "inc-2"}
ENDED = {
    **CHILD, "detail": "seen", "waived_by": None, "proof": "state", "dead_at": "2026-01-02T00:09:00+00:00",
}  # fmt: skip


def folded(*more: tuple[str, dict[str, Any]]) -> Ledger:
    events = [event(1, "incident", "triage", triage()), event(2, f"row:{KEY}", "child", CHILD)]
    return Ledger.fold([*events, *(event(n, f"row:{KEY}", kind, body) for n, (kind, body) in enumerate(more, 3))])


def test_it_is_open_while_the_other_incident_is_under_way() -> None:
    row = folded().rows[KEY]
    assert (row.state, row.settled, "inc-2" in row.detail) == (RowState.SUSPECTED, False, True)


def test_it_takes_over_what_was_proven() -> None:
    row = folded(("child-ended", {**ENDED, "state": "closed"})).rows[KEY]
    assert (row.state, row.grade, row.detail) == (RowState.CLOSED, Grade.STATE, "inc-2: seen")
    assert row.dead_at is not None


@pytest.mark.parametrize("state", ["suspected", "accepted", "failed", "tail_open", "reopened"])
def test_an_incident_that_ended_without_a_proof_closes_nothing(state: str) -> None:
    row = folded(("child-ended", {**ENDED, "state": state, "proof": None, "dead_at": None})).rows[KEY]
    assert (row.state, row.settled) == (RowState.FAILED, False)


def test_a_waiver_there_is_a_waiver_here() -> None:
    by_ann = {"state": "waived", "proof": "word", "waived_by": "ann", "dead_at": None}
    row = folded(("child-ended", ENDED | by_ann)).rows[KEY]
    assert (row.state, row.grade, row.waived_by) == (RowState.WAIVED, Grade.WORD, "ann")


def test_a_row_that_was_waived_meanwhile_stays_so() -> None:
    waived = ("waived", {"row": KEY, "by": "ann", "reason": "it is a test"})
    row = folded(waived, ("child-ended", {**ENDED, "state": "failed"})).rows[KEY]
    assert (row.state, row.waived_by) == (RowState.WAIVED, "ann")
