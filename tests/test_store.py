"""The tables: migrations give what the code means; rows are landed once."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from bot.errors import EngineError, InputError
from bot.store import NEWEST, Store, iso, metadata, one_worker, when


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path / 'b.db'}")
    store.migrate()
    return store


def shape(store: Store) -> list[str]:
    with store.engine.connect() as c:
        rows = c.execute(sa.text("SELECT tbl_name FROM sqlite_master WHERE type = 'table' ORDER BY tbl_name")).scalars()
        return list(rows)


def test_the_migrations_give_exactly_the_tables_that_the_code_means(store: Store, tmp_path: Path) -> None:
    """Replayed one by one, and made at once for a new database: the same tables, and no second run changes them."""
    replayed = Store(f"sqlite:///{tmp_path / 'replayed.db'}")
    replayed.upgrade()
    replayed.migrate()
    store.migrate()
    for each in (store, replayed):
        with each.engine.connect() as c:
            assert compare_metadata(MigrationContext.configure(c), metadata) == []
            assert c.scalar(sa.text("SELECT version_num FROM alembic_version")) == NEWEST
    assert shape(store) == shape(replayed)


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
