"""A backup in one file, and a restore that believes none of it: database, evidence, and the vault's key when asked.

The database comes first, then every file of evidence that it names: a file is written before its row is, so all of
them are there by then. ``VACUUM INTO`` copies what stands and not the free pages, where forgotten secrets could lie.
Only SQLite is copied here; PostgreSQL has its own tools.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from bot.errors import InputError
from bot.store import iso
from bot.tables import NEWEST

DATABASE, KEY, MANIFEST = "bulkhead.db", "vault.key", "manifest.json"
FORM = 1  # of the backup itself
CHUNK = 1 << 20
MOST_MANIFEST = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a backup holds."""

    made_at: str
    tables: str  # form of the tables
    database_id: str
    incidents: int
    files: dict[str, str]  # name in the archive -> SHA-256
    missing: list[str]  # evidence that the database names and that was not there
    key: bool
    form: int = FORM


def make(database: Path, read: Callable[[str], bytes], target: Path, *, at: datetime, key: bytes = b"") -> Backup:
    """Write a backup of a live SQLite database. ``read`` gives a file of evidence by its SHA-256.

    The file is complete or absent, and only its owner may read it. Raises InputError when there is a file already.
    """
    if target.exists():
        raise InputError(f"{target} is there already; give another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as folder:
        copy = Path(folder) / DATABASE
        _snapshot(database, copy)
        facts = _facts(copy)
        aside = Path(folder) / "archive"
        with aside.open("xb") as file, tarfile.open(fileobj=file, mode="w") as archive:
            files = {DATABASE: _digest(copy)}
            archive.add(copy, DATABASE, filter=_plain)
            missing = []
            for sha256 in facts["evidence"]:
                try:
                    data = read(sha256)
                except FileNotFoundError:
                    missing.append(sha256)
                    continue
                _put(archive, f"evidence/{sha256}", data)
                files[f"evidence/{sha256}"] = hashlib.sha256(data).hexdigest()
            if key:
                _put(archive, KEY, key)
                files[KEY] = hashlib.sha256(key).hexdigest()
            made = Backup(
                made_at=iso(at), tables=facts["tables"], database_id=facts["database_id"], incidents=facts["incidents"],
                files=files, missing=missing, key=bool(key),
            )  # fmt: skip
            _put(archive, MANIFEST, json.dumps(asdict(made), indent=1, sort_keys=True).encode())
        aside.chmod(0o600)
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(target)
    return made


def unpack(source: Path, folder: Path) -> Backup:
    """Unpack a backup into an empty folder, every file held to its digest. Raises InputError for what is not one."""
    with _opened(source) as archive:
        made = _manifest(source, archive)
        if made.form != FORM or made.tables > NEWEST:
            raise InputError(f"{source} was made by a newer version (form {made.form}, tables {made.tables})")
        for name, sha256 in made.files.items():
            place, _, rest = name.rpartition("/")
            if place not in ("", "evidence") or not rest or (not place and rest not in (DATABASE, KEY)):
                raise InputError(f"{source} names {name[:80]!r}, which no backup holds")
            target = folder / place / rest
            target.parent.mkdir(parents=True, exist_ok=True)
            with _member(source, archive, name) as file, target.open("xb") as out:
                target.chmod(0o600)
                while piece := file.read(CHUNK):
                    out.write(piece)
            if _digest(target) != sha256 or (place and sha256 != rest):
                raise InputError(f"{source} is damaged: {name} is not what it was")
    if DATABASE not in made.files:
        raise InputError(f"{source} holds no database")
    return made


def _snapshot(database: Path, copy: Path) -> None:
    with contextlib.closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute("PRAGMA busy_timeout=30000")
        connection.execute("VACUUM INTO ?", (str(copy),))


def _facts(copy: Path) -> dict[str, Any]:
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        said = connection.execute("PRAGMA integrity_check").fetchone()[0]
        if said != "ok":
            raise InputError(f"the database is damaged, so nothing was written: {said}")
        one = "SELECT value FROM setting WHERE name = 'database:id'"
        return {
            "tables": connection.execute("SELECT version_num FROM alembic_version").fetchone()[0],
            "database_id": (connection.execute(one).fetchone() or [""])[0],
            "incidents": connection.execute("SELECT count(*) FROM incident").fetchone()[0],
            "evidence": [row[0] for row in connection.execute("SELECT DISTINCT sha256 FROM evidence ORDER BY sha256")],
        }


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nothing of this machine's people and times."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


def _put(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    archive.addfile(member, io.BytesIO(data))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        archive = tarfile.open(source, mode="r:")  # noqa: SIM115
    except FileNotFoundError:
        raise InputError(f"there is no {source}") from None
    except (tarfile.TarError, OSError):
        raise InputError(f"{source} is not a backup") from None
    with archive:
        yield archive


def _member(source: Path, archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """A plain file of the archive. A link or a device is none."""
    try:
        found = archive.getmember(name)
        file = archive.extractfile(found) if found.isreg() else None
    except (KeyError, tarfile.TarError):
        file = None
    if file is None:
        raise InputError(f"{source} is damaged: it has no file {name[:80]!r}")
    return file


def _manifest(source: Path, archive: tarfile.TarFile) -> Backup:
    with _member(source, archive, MANIFEST) as file:
        try:
            return Backup(**json.loads(file.read(MOST_MANIFEST)))
        except (ValueError, TypeError):
            raise InputError(f"{source} is not a backup: its manifest cannot be read") from None
