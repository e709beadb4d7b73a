"""The tables: migrations give what the code means; rows are landed once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from bot.errors import EngineError, InputError
from bot.store import Store, iso, one_worker, replace, when
from bot.tables import NEWEST, metadata, vault
from tests.databases import Make
from tests.slack_range import until


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    store.migrate()
    yield store
    store.close()


def test_the_migrations_give_exactly_the_tables_that_the_code_means(store: Store, another: str) -> None:
    """Replayed one by one, and made at once for a new database: the same tables, and no second run changes them."""
    replayed = Store(another)
    replayed.upgrade()
    replayed.migrate()
    store.migrate()
    names = []
    for each in (store, replayed):
        with each.engine.connect() as c:
            assert compare_metadata(MigrationContext.configure(c), metadata) == []
            names.append(sorted(sa.inspect(c).get_table_names()))
        each.check()
        assert each.version() == NEWEST
    assert names[0] == names[1]
    replayed.close()


def test_a_database_without_this_versions_tables_is_refused_with_what_to_do(another: str) -> None:
    store = Store(another)
    with pytest.raises(EngineError, match="bulkhead migrate"):
        store.check()
    store.close()


def test_a_delivery_lands_once(store: Store) -> None:
    row = {"id": "cli:1", "source": "cli", "landed_at": "x", "body": {"a": 1}, "raw_sha256": "0"}
    with store.begin() as c:
        assert store.land(c, dict(row))
    with store.begin() as c:
        assert not store.land(c, dict(row))
    assert [r["body"] for r in store.inbox("landed")] == [{"a": 1}]


def test_nothing_of_a_transaction_that_failed_stays(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.begin() as c:
        store.land(c, {"id": "cli:1", "source": "cli", "landed_at": "x", "body": {}, "raw_sha256": "0"})
        raise ZeroDivisionError
    assert store.inbox() == []


def test_an_unknown_incident_is_named_with_what_there_is(store: Store) -> None:
    with pytest.raises(InputError, match="none yet"):
        store.incident("inc-9")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_was_acknowledged_is_synced(store: Store) -> None:
    with store.engine.connect() as c:
        assert c.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
        assert c.execute(sa.text("PRAGMA synchronous")).scalar() == 2


def test_times_survive_the_trip(store: Store) -> None:
    text = "2026-11-23T04:59:26.000001Z"
    assert iso(when(text)) == text


def test_one_worker_holds_the_folder(tmp_path: Path) -> None:
    with one_worker(tmp_path), pytest.raises(EngineError, match="another bulkhead worker"), one_worker(tmp_path):
        pass
    with one_worker(tmp_path):
        pass


def test_what_many_do_at_once_is_done_once(store: Store) -> None:
    """Another process may insert between a look and an insert: the key decides, and nobody gets an error."""
    decision = {"incident": "i", "step": "s", "kind": "approve", "by": "ann", "at": "x", "plan_hash": "p", "body": {}}
    evidence = {"incident": "i", "name": "n", "sha256": "0", "size": 1, "original_sha256": "", "at": "x"}

    def land(_: int) -> tuple[bool, bool]:
        with store.begin() as c:
            landed = store.land(c, {"id": "cli:1", "source": "cli", "landed_at": "x", "body": {}, "raw_sha256": "0"})
        store.add_evidence(dict(evidence))
        store.set_setting("mode", "ask")
        return landed, store.add_decision(dict(decision))[1]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(land, range(40)))
    assert [sum(column) for column in zip(*results, strict=True)] == [1, 1]
    assert (len(store.evidence("i")), store.setting("mode")) == (1, "ask")


def test_who_reads_decisions_on_from_a_number_misses_none(store: Store) -> None:
    def decide(k: int) -> None:
        store.add_decision(
            {"incident": "i", "step": f"s{k}", "kind": "deny", "by": "ann", "at": "", "plan_hash": "", "body": {}}
        )

    seen: list[int] = []
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(decide, k) for k in range(60)]
        while not all(future.done() for future in futures):
            seen += [row.seq for row in store.decisions("i", seen[-1] if seen else 0)]
        seen += [row.seq for row in store.decisions("i", seen[-1] if seen else 0)]
        assert [future.exception() for future in futures] == [None] * 60
    assert seen == sorted(seen)
    assert len(seen) == 60


def test_one_at_a_time_and_free_again_when_its_holder_is_gone(new_postgres: Make) -> None:
    first = Store(new_postgres())
    second = Store(first.url)
    with first.only_one("inbox") as mine, second.only_one("inbox") as theirs, second.only_one("other") as free:
        assert (mine, theirs, free) == (True, False, True)
    with second.only_one("inbox") as mine:
        assert mine
    first.close()
    second.close()


def test_one_row_that_many_write_at_the_same_moment_is_written_by_all(database: str) -> None:
    """The vault's rows have two unique constraints, and a conflict may be met at either of them first."""
    store, start = Store(database), threading.Barrier(6)
    store.migrate()
    row = {"owner": "o", "credential": "c", "sealed": b"x", "sealed_at": "t", "wiped_at": None}

    def write(k: int) -> None:
        for n in range(200):
            start.wait(60)
            with store.begin() as c:
                replace(c, vault, "ref", {"ref": f"vault:o:{n}", "label": str(n), "fingerprint": str(k), **row})

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    with store.connect() as c:
        assert c.scalar(sa.select(sa.func.count()).select_from(vault)) == 200
    store.close()


def test_whoever_is_urgent_waits_for_one_writer_and_not_for_the_queue(tmp_path: Path) -> None:
    """On SQLite, where writers take turns; PostgreSQL lets them write beside one another."""
    store, order = Store(f"sqlite:///{tmp_path / 'b.db'}"), list[str]()
    store.migrate()

    def write(name: str, *, urgent: bool = False) -> None:
        with store.begin(urgent=urgent):
            order.append(name)

    with ThreadPoolExecutor(9) as pool:
        with store.begin():
            writers = [pool.submit(write, f"ordinary-{n}") for n in range(8)]
            until(lambda: store.writers.waiting[False] == 8, 60)
            writers.append(pool.submit(write, "urgent", urgent=True))
            until(lambda: store.writers.waiting[True] == 1, 60)
        for writer in writers:
            writer.result(30)
    assert order[0] == "urgent"
    assert len(order) == 9
    assert store.writers.waiting == {True: 0, False: 0}
    store.close()
