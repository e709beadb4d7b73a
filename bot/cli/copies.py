"""``bulkhead backup`` and ``bulkhead restore``: everything on record in one file, and back."""

from __future__ import annotations

import base64
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bot import backup as backups
from bot import timeline
from bot.app import Bulkhead, opened, shelf_of
from bot.cli import frame, page
from bot.errors import InputError
from bot.settings import Settings, read
from bot.store import Store
from bot.story import ASKS, BAD, GOOD, Line, stamp
from bot.vault import check_value, load_key

app = frame.group("Copies of everything on record.")
ELSEWHERE = (
    "the database is PostgreSQL, which has tools of its own: `pg_dump --format=custom --file FILE DATABASE` and "
    "`pg_restore`; both schemas, ours and DBOS's, belong to it. Copy the evidence after it, keep the vault key apart"
)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to make.")],
    with_key: Annotated[
        bool, typer.Option("--with-key", help="The vault key too. Who has the file then can open what is sealed in it.")
    ] = False,
    home: frame.Home = None,
    json_: frame.Json = False,
) -> None:
    """Write database and evidence into one file, while everything runs. Keep the vault key elsewhere."""
    frame.quiet_logs()
    settings = frame.settings_of(home)
    if not settings.one_process:
        raise InputError(ELSEWHERE)
    with opened(settings, sites={}) as bulkhead:
        key = base64.b64encode(_key(settings)) if with_key else b""
        made = backups.make(
            Path(bulkhead.store.path), bulkhead.room.read, file, at=datetime.now(UTC), key=key
        )  # fmt: skip
    if json_:
        frame.document({"file": str(file), "incidents": made.incidents, "files": len(made.files), "key": made.key,
                        "missing": made.missing})  # fmt: skip
    else:
        page.lines(_made(file, made))
    if made.missing:
        raise typer.Exit(frame.FAILED)


def _made(file: Path, made: backups.Backup) -> list[Line]:
    evidence = sum(name.startswith("evidence/") for name in made.files)
    lines = [Line(f"{file}: {made.incidents} incidents, {evidence} files of evidence.", style=GOOD)]
    if made.key:
        text = "The vault key is in it: who has this file can open what is sealed. Guard it like the key itself."
    else:
        text = "The vault key is not in it: keep it elsewhere, since nothing starts without it."
    lines.append(Line(text, style=ASKS))
    gone = [Line(f"- the evidence {sha256} is gone and could not be saved", style=BAD) for sha256 in made.missing]
    return lines + gone


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="What `bulkhead backup` has made.")],
    home: Annotated[Path | None, typer.Option(help="Folder to restore into, instead of BULKHEAD_HOME.")] = None,
    json_: frame.Json = False,
) -> None:
    """Put a backup into an empty folder and check it: every digest, every hash chain, the vault key. Starts nothing."""
    frame.quiet_logs()
    settings = _target(home)
    with tempfile.TemporaryDirectory(dir=_parent(settings.home), prefix=".restore-") as name:
        folder = Path(name)
        made = backups.unpack(file, folder)
        key = _fitting(settings, folder)
        _place(settings, folder, made, key)
    with opened(settings, sites={}) as bulkhead:
        wrong = _verify(bulkhead)
        incidents = len(bulkhead.store.incidents())
    if json_:
        frame.document({"home": str(settings.home), "made_at": made.made_at, "incidents": incidents, "wrong": wrong})
    else:
        page.lines(_restored(f"{settings.home}", made, incidents, wrong))
    if wrong:
        raise typer.Exit(frame.FAILED)


def _restored(home: str, made: backups.Backup, incidents: int, wrong: list[str]) -> list[Line]:
    if wrong:
        said = Line(f"{home} was restored, but not all of it holds:", style=BAD)
        return [said, *(Line(f"- {one}", style=BAD) for one in wrong)]
    good = f"{home} holds the backup of {stamp(made.made_at)}: {incidents} incidents; chains, files and key hold."
    return [Line(good, style=GOOD), Line("Stop the old installation before you start this one.")]


def _key(settings: Settings) -> bytes:
    return load_key(settings.vault_key.get_secret_value(), settings.home / "vault.key")


def _target(home: Path | None) -> Settings:
    """The settings to restore into. Raises InputError where something stands already."""
    settings = read()
    if home is not None:
        settings = frame.inside(settings.model_copy(update={"database_url": ""}), home)
    if not settings.one_process:
        raise InputError(ELSEWHERE)
    taken = [path for path in (settings.home / "bulkhead.db", settings.evidence_folder) if path.exists()]
    if settings.database_url:
        raise InputError("unset BULKHEAD_DATABASE_URL: a backup is restored into a folder")
    if taken:
        raise InputError(f"{taken[0]} is there already; restore into another folder with --home, or move it away")
    return settings


def _parent(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    return home


def _fitting(settings: Settings, folder: Path) -> bytes:
    """The key that opens what is sealed in the unpacked database. Raises InputError before anything is put in place."""
    store = Store(f"sqlite:///{folder / backups.DATABASE}")
    try:
        wanted = store.setting("vault-check")
    finally:
        store.close()
    given = settings.vault_key.get_secret_value()
    here, brought = settings.home / backups.KEY, folder / backups.KEY
    # The one that every later start would take: another would open nothing then.
    path = here if given or here.is_file() else brought
    if given or path.is_file():
        key = load_key(given, path)
        if not wanted or check_value(key) == wanted:
            return key
    raise InputError(
        f"no vault key that fits this backup was found, so nothing was restored: put it into {here}, or set "
        "BULKHEAD_VAULT_KEY"
    )


def _place(settings: Settings, folder: Path, made: backups.Backup, key: bytes) -> None:
    """Move the files in, the database last: a restore that was cut short is no installation."""
    shelf = shelf_of(settings)
    for name in made.files:
        if name.startswith("evidence/"):
            shelf.put(name.removeprefix("evidence/"), (folder / name).read_bytes())
    if not settings.vault_key.get_secret_value():
        path = settings.home / backups.KEY
        if not path.exists():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as out:
                out.write(base64.b64encode(key))
    (folder / backups.DATABASE).replace(settings.home / backups.DATABASE)


def _verify(bulkhead: Bulkhead) -> list[str]:
    """What does not hold: of any incident the chain, or a file of its evidence."""
    wrong = []
    for row in bulkhead.store.incidents():
        said = timeline.broken(bulkhead.store, row.id)
        said += [f"the evidence {name} is gone or was changed" for name in bulkhead.room.damaged(row.id)]
        wrong += [f"{row.id}: {text}" for text in said]
    return wrong
