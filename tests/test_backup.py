"""A backup of a house that is alive, restored elsewhere: what held then holds there, and what does not is said."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bot import timeline
from bot.__main__ import app
from bot.app import opened
from bot.settings import Settings
from tests.incidents import CUT, ID, land

SECRET = "made-up-" + "value-that-is-sealed"
FORGOTTEN = "made-up-" + "value-that-was-wiped"


def typed(*args: str, **env: str) -> Result:
    return CliRunner().invoke(app, list(args), env={"AWS_EC2_METADATA_DISABLED": "true", **env})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An installation with an incident, a file of evidence and a sealed secret."""
    where = tmp_path / "old"
    with opened(Settings(home=where), sites={}) as bulkhead:
        land(bulkhead, CUT, "open", b'{"a": 1}')
        now = datetime.now(UTC)
        with bulkhead.store.begin() as c:
            bulkhead.vault.seal(c, ID, "kept", SECRET, "", now)
            gone = bulkhead.vault.seal(c, ID, "gone", FORGOTTEN, "", now)
        bulkhead.vault.wipe(ref=gone, at=now)
    return where


def backup(home: Path, target: Path, *more: str) -> dict[str, Any]:
    done = typed("backup", str(target), "--json", *more, BULKHEAD_HOME=str(home))
    assert done.exit_code == 0, done.stderr
    return dict(json.loads(done.stdout))


def rewrite(source: Path, change: dict[str, bytes]) -> Path:
    """The same archive with some files changed, and a manifest that does not know."""
    target = source.with_suffix(".changed")
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            file = old.extractfile(member)
            assert file is not None
            data = change.pop(member.name, file.read())
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
        for name, data in change.items():
            made = tarfile.TarInfo(name)
            made.size = len(data)
            new.addfile(made, io.BytesIO(data))
    return target


def test_what_was_backed_up_while_it_ran_is_restored_and_holds(home: Path, tmp_path: Path) -> None:
    file, there = tmp_path / "b.tar", tmp_path / "new"
    with opened(Settings(home=home), sites={}) as alive:
        made = backup(home, file, "--with-key")
        head = alive.store.incident(ID)
    assert made == {"file": str(file), "incidents": 1, "files": 3, "key": True, "missing": []}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    done = typed("restore", str(file), "--home", str(there), "--json")
    assert done.exit_code == 0, done.stderr
    assert (json.loads(done.stdout)["incidents"], json.loads(done.stdout)["wrong"]) == (1, [])
    with opened(Settings(home=there), sites={}) as restored:
        row = restored.store.incident(ID)
        assert (row.head_n, row.head_hash) == (head.head_n, head.head_hash)
        assert timeline.verify(restored.store.events(ID), row.head_n, row.head_hash) == []
        assert restored.room.damaged(ID) == []
        assert [secret.reveal() for secret in restored.vault.held(ID)] == [SECRET]
    assert stat.S_IMODE((there / "vault.key").stat().st_mode) == 0o600


def test_a_backup_holds_no_key_unless_asked_and_nothing_that_was_forgotten(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    with contextlib.closing(sqlite3.connect(home / "bulkhead.db", isolation_level=None)) as database:
        database.execute("PRAGMA secure_delete = OFF")  # Debian's SQLite has it on, others do not
        database.execute("CREATE TABLE scrap (x TEXT)")
        database.execute("INSERT INTO scrap VALUES (?)", (FORGOTTEN * 50,))
        database.execute("DELETE FROM scrap")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert FORGOTTEN.encode() in (home / "bulkhead.db").read_bytes(), "it lies in a free page of the database"
    assert backup(home, file)["key"] is False
    raw = file.read_bytes()
    assert FORGOTTEN.encode() not in raw
    assert SECRET.encode() not in raw
    assert (home / "vault.key").read_bytes().strip() not in raw
    with tarfile.open(file) as archive:
        assert "vault.key" not in archive.getnames()


def test_without_the_key_nothing_is_restored_and_with_it_everything(home: Path, tmp_path: Path) -> None:
    file, there = tmp_path / "b.tar", tmp_path / "new"
    backup(home, file)
    alone = typed("restore", str(file), "--home", str(there))
    assert (alone.exit_code, "no vault key that fits" in alone.stderr) == (2, True)
    assert not (there / "bulkhead.db").exists()
    assert not (there / "evidence").exists()
    wrong = typed("restore", str(file), BULKHEAD_HOME=str(there), BULKHEAD_VAULT_KEY="A" * 43 + "=")
    assert wrong.exit_code == 2
    (there / "vault.key").write_bytes((home / "vault.key").read_bytes())
    assert typed("restore", str(file), "--home", str(there)).exit_code == 0
    other = tmp_path / "third"
    key = (home / "vault.key").read_text()
    assert typed("restore", str(file), BULKHEAD_HOME=str(other), BULKHEAD_VAULT_KEY=key).exit_code == 0
    assert not (other / "vault.key").exists(), "a key that the settings give is written nowhere"


def test_a_key_that_every_later_start_would_take_must_fit_even_if_the_backup_brings_one(
    home: Path, tmp_path: Path
) -> None:
    file, there = tmp_path / "b.tar", tmp_path / "new"
    backup(home, file, "--with-key")
    there.mkdir()
    (there / "vault.key").write_text("A" * 43 + "=")
    for done in (
        typed("restore", str(file), "--home", str(there)),
        typed("restore", str(file), BULKHEAD_HOME=str(tmp_path / "third"), BULKHEAD_VAULT_KEY="A" * 43 + "="),
    ):
        assert (done.exit_code, "no vault key that fits" in done.stderr) == (2, True)
    assert not (there / "bulkhead.db").exists()
    assert not (tmp_path / "third" / "bulkhead.db").exists()


def test_nothing_that_stands_is_written_over(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    backup(home, file, "--with-key")
    before = (home / "bulkhead.db").read_bytes()
    again = typed("backup", str(file), BULKHEAD_HOME=str(home))
    assert (again.exit_code, "is there already" in again.stderr) == (2, True)
    over = typed("restore", str(file), "--home", str(home))
    assert (over.exit_code, "is there already" in over.stderr) == (2, True)
    assert (home / "bulkhead.db").read_bytes() == before


@pytest.mark.parametrize("name", ["bulkhead.db", "vault.key", "evidence"])
def test_a_backup_that_was_changed_is_refused_whole(home: Path, tmp_path: Path, name: str) -> None:
    file, there = tmp_path / "b.tar", tmp_path / "new"
    backup(home, file, "--with-key")
    with tarfile.open(file) as archive:
        whole = next(member for member in archive.getnames() if member.startswith(name))
    changed = rewrite(file, {whole: b"something else"})
    done = typed("restore", str(changed), "--home", str(there))
    assert (done.exit_code, "is damaged" in done.stderr) == (2, True)
    assert sorted(path.name for path in there.iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "/outside", "evidence/../../outside", "bulkhead.db/x", "other"])
def test_a_manifest_that_leads_elsewhere_is_refused(home: Path, tmp_path: Path, name: str) -> None:
    file, there = tmp_path / "b.tar", tmp_path / "new"
    backup(home, file, "--with-key")
    with tarfile.open(file) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        said = json.load(manifest)
    said["files"][name] = said["files"]["bulkhead.db"]
    changed = rewrite(file, {"manifest.json": json.dumps(said).encode(), name: b"x"})
    done = typed("restore", str(changed), "--home", str(there))
    assert (done.exit_code, "which no backup holds" in done.stderr) == (2, True)
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("data", [b"", b"not a tar at all" * 100])
def test_what_is_no_backup_is_said_so(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "b.tar"
    file.write_bytes(data)
    done = typed("restore", str(file), "--home", str(tmp_path / "new"))
    assert (done.exit_code, "is not a backup" in done.stderr or "is damaged" in done.stderr) == (2, True)


def test_evidence_that_is_gone_is_told_at_the_backup_and_at_the_restore(home: Path, tmp_path: Path) -> None:
    for path in (home / "evidence").glob("*/*"):
        path.unlink()
    file = tmp_path / "b.tar"
    done = typed("backup", str(file), "--with-key", BULKHEAD_HOME=str(home))
    assert (done.exit_code, "could not be saved" in " ".join(done.stdout.split())) == (1, True)
    back = typed("restore", str(file), "--home", str(tmp_path / "new"))
    assert (back.exit_code, "is gone or was changed" in " ".join(back.stdout.split())) == (1, True)


def test_a_chain_that_was_changed_before_the_backup_is_told_at_the_restore(home: Path, tmp_path: Path) -> None:
    with sqlite3.connect(home / "bulkhead.db") as database:
        database.execute("UPDATE timeline SET at = '2026-03-01T12:34:56.000000Z' WHERE n = 2")
    file = tmp_path / "b.tar"
    backup(home, file, "--with-key")
    done = typed("restore", str(file), "--home", str(tmp_path / "new"))
    assert (done.exit_code, "does not follow from the one before" in " ".join(done.stdout.split())) == (1, True)


def test_on_postgresql_its_own_tools_are_named(tmp_path: Path) -> None:
    url = "postgresql+psycopg://u@127.0.0.1:9/x"
    for args in (("backup", str(tmp_path / "b.tar")), ("restore", str(tmp_path / "b.tar"))):
        done = typed(*args, BULKHEAD_DATABASE_URL=url, BULKHEAD_HOME=str(tmp_path / "new"))
        assert (done.exit_code, "pg_dump" in done.stderr) == (2, True)
