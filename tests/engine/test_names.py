"""Whoever is known under several names is one person: where two must agree, and where one may break the glass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.engine.decisions import GLASS, Ask, Counted, Desk
from bot.store import DecisionRow, Store

ALIASES = {"slack:U1": "ann", "slack:U2": "bo"}
ASK = Ask(
    incident="inc-1", step="out", attempt=1, purpose="step", plan_hash="p", needs=2, group="two", what="", why="",
    on_silence="hold", expires_at="",
)  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = Store(f"sqlite:///{tmp_path / 'names.db'}")
    store.migrate()
    yield Desk(store, lambda *_: True, human=lambda name: ALIASES.get(name, name))
    store.close()


def said(*names: str, kind: str = "approve", **more: Any) -> list[DecisionRow]:
    return [
        DecisionRow(seq=k, incident="inc-1", step="out", kind=kind, by=name, at="2026-01-02T03:04:05.000000Z",
                    plan_hash="p", body=more) for k, name in enumerate(names, 1)
    ]  # fmt: skip


def test_two_names_of_one_person_are_one_who_agrees(desk: Desk) -> None:
    assert desk.count(ASK, said("ann", "slack:U1"), "zoe") is None
    assert desk.count(ASK, said("slack:U1", "ann", "slack:U1"), "zoe") is None
    assert desk.count(ASK, said("slack:U1", "slack:U2"), "zoe") == Counted(go=True, by=("slack:U1", "slack:U2"))
    assert desk.count(ASK, said("ann", "bo"), "slack:U1") is None, "under whatever name they have reported"


def test_who_breaks_the_glass_is_named_once(desk: Desk) -> None:
    rows = [*said("ann"), *said("slack:U1", kind=GLASS, reason="alone at night")]
    counted = desk.count(ASK, rows, "zoe")
    assert counted == Counted(go=True, by=("slack:U1",), glass="alone at night")
