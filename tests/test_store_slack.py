"""What Slack has delivered, in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bot.store import Store
from bot.store_slack import DEAD, DONE, Deliveries, Delivery


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    store.migrate()
    yield store
    store.close()


def one(name: str = "d1", at: str = "2026-01-01T00:00:00.000000Z") -> Delivery:
    return Delivery(id=name, kind="command", landed_at=at, body={"text": "status"})


def land(store: Store, delivery: Delivery, signature: str | None = None) -> bool:
    return Deliveries(store).land(delivery, signature, lambda _connection: None)


def test_the_same_event_and_the_same_signature_land_once(store: Store) -> None:
    assert land(store, one(), "v0=a")
    assert not land(store, one(), "v0=b"), "Slack sends it again, signed anew"
    assert not land(store, one("d2"), "v0=a"), "somebody replays it"
    assert land(store, one("d3")), "Socket Mode has no signatures"
    assert land(store, one("d4"))
    assert [row.id for row in Deliveries(store).waiting()] == ["d1", "d3", "d4"]


def test_of_many_at_once_one_lands(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda k: land(store, one(), f"v0={k}"), range(24))) == 1


def test_what_is_settled_is_no_longer_worked_and_forgets_what_was_said(store: Store) -> None:
    rows = Deliveries(store)
    for name in ("d1", "d2", "d3"):
        land(store, one(name))
    assert [rows.again("d1", "Slack is away"), rows.again("d1", "still")] == [1, 2]
    rows.settle("d2", DONE)
    rows.settle("d3", DEAD, "no")
    assert [(row.id, row.tries, row.body) for row in rows.waiting()] == [("d1", 2, {"text": "status"})]
    settled = rows.get("d3")
    assert settled is not None
    assert (settled[0].body, settled[1]) == ({}, DEAD)
    assert not land(store, one("d2")), "it is still known: done twice it would be"
    assert rows.get("nothing") is None


def test_only_what_landed_before_a_moment_waits_and_only_what_is_settled_is_purged(store: Store) -> None:
    rows = Deliveries(store)
    land(store, one("old"))
    land(store, one("new", "2026-01-02T00:00:00.000000Z"))
    land(store, one("stuck"))
    assert {row.id for row in rows.waiting("2026-01-01T12:00:00.000000Z")} == {"old", "stuck"}
    rows.settle("old", DONE)
    rows.settle("new", DONE)
    assert rows.purge("2026-01-01T12:00:00.000000Z") == 1
    assert [name for name in ("old", "new", "stuck") if rows.get(name)] == ["new", "stuck"]
