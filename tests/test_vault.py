"""The vault: sealed under a key that the database does not hold, bound to its reference, forgotten in time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.errors import SettingsError, VaultError
from bot.store import Store
from bot.tables import vault as table
from bot.vault import Vault, load_key

VALUE = "made-up-value-" + "x" * 20


class Clock:
    at = datetime(2026, 1, 2, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    store.migrate()
    yield store
    store.close()


def test_a_value_comes_back_only_to_the_incident_that_sealed_it(store: Store) -> None:
    vault = Vault(store, b"k" * 32)
    mine, other = vault.of("inc-1", Clock()), vault.of("inc-2", Clock())
    ref = mine.seal("leaked", VALUE, credential="kind:id")
    assert (opened := mine.open(ref)) is not None
    assert opened.reveal() == VALUE
    assert mine.ref("leaked") == ref
    assert (found := mine.of("kind:id")) is not None
    assert found.reveal() == VALUE
    assert (other.open(ref), other.ref("leaked"), other.of("kind:id")) == (None, "", None)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_no_value_stands_in_the_files(store: Store, tmp_path: Path) -> None:
    Vault(store, b"k" * 32).of("inc-1", Clock()).seal("leaked", VALUE)
    store.close()
    for path in tmp_path.iterdir():
        assert VALUE.encode() not in path.read_bytes(), path


def test_another_key_is_refused_at_start(store: Store) -> None:
    Vault(store, b"k" * 32)
    with pytest.raises(VaultError, match="not the one"):
        Vault(store, b"j" * 32)


def test_a_sealed_value_moved_to_another_name_does_not_open(store: Store) -> None:
    vault = Vault(store, b"k" * 32)
    mine = vault.of("inc-1", Clock())
    mine.seal("one", VALUE)
    two = mine.seal("two", "another-value")
    with store.begin() as c:
        sealed = c.execute(sa.select(table.c.sealed).where(table.c.label == "one")).scalar()
        c.execute(sa.update(table).where(table.c.label == "two").values(sealed=sealed))
    with pytest.raises(VaultError, match="does not open"):
        mine.open(two)


def test_wiped_is_forgotten_and_its_fingerprint_stays(store: Store) -> None:
    vault = Vault(store, b"k" * 32)
    mine = vault.of("inc-1", Clock())
    ref = mine.seal("leaked", VALUE)
    assert vault.wipe(owner="inc-1", at=Clock().now()) == 1
    assert mine.open(ref) is None
    with store.engine.connect() as c:
        row = c.execute(sa.select(table)).one()
    assert (row.sealed, row.fingerprint) == (None, vault.fingerprint(VALUE))


def test_what_is_older_than_its_maximum_age_is_forgotten(store: Store) -> None:
    vault = Vault(store, b"k" * 32)
    mine = vault.of("inc-1", Clock())
    ref = mine.seal("leaked", VALUE)
    later = Clock.at + timedelta(days=3)
    assert vault.wipe_older(later, timedelta(days=4)) == 0
    assert mine.open(ref) is not None
    assert vault.wipe_older(later, timedelta(days=2)) == 1
    assert mine.open(ref) is None


def test_the_key_file_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "vault.key"
    key = load_key("", path)
    assert (len(key), load_key("", path), path.stat().st_mode & 0o777) == (32, key, 0o600)


@pytest.mark.parametrize("text", ["short", "not base64!", "YWJj"])
def test_a_key_of_the_wrong_form_is_refused_without_repeating_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_key(text, tmp_path / "k")
    assert text not in str(refused.value)
