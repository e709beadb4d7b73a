"""A repository's files from a folder, or one workflow file as the only one, for the commands of ``bulkhead oidc``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bot.errors import InputError
from bot.oidc.repository import FOLDER, SKIPPED, Repository, looked_into

MOST_FILES, MOST_BYTES = 20_000, 1_000_000


def load(path: Path) -> Repository:
    """The files of a folder, or one file as the only workflow. Raises InputError when there is nothing to read."""
    if path.is_file():
        return Repository.of({f"{FOLDER}{path.name}": content(path)}, whole=False)
    if not path.is_dir():
        raise InputError(f"{path} is neither a folder nor a file")
    files = {each.relative_to(path).as_posix(): content(each) for each in _files(path)}
    if not any(name.startswith(FOLDER) for name in files):
        raise InputError(f"{path} holds no {FOLDER}; give the top of a repository, or one workflow file")
    return Repository.of(files)


def _files(top: Path) -> Iterator[Path]:
    seen = 0
    for folder, folders, names in top.walk() if hasattr(top, "walk") else _walk(top):
        folders[:] = sorted(set(folders) - SKIPPED)
        for name in sorted(names):
            each = folder / name
            if not looked_into(name) or each.is_symlink() or not each.is_file():
                continue
            # A workflow that is too large to be edited may use any secret, so it is given too.
            if each.stat().st_size <= MOST_BYTES or each.relative_to(top).as_posix().startswith(FOLDER):
                seen += 1
                if seen > MOST_FILES:
                    raise InputError(f"{top} holds more than {MOST_FILES} files to read; give the repository alone")
                yield each


def _walk(top: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    for folder, folders, names in os.walk(top):  # Path.walk is of Python 3.12
        yield Path(folder), folders, names


def content(path: Path) -> bytes:
    """A file's bytes. Raises InputError."""
    try:
        return path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror}") from None
