"""Logs of runs: the zip that GitHub gives of a run, a folder of logs, or one text.

A zip packs each job's whole log and beside it a folder with the same lines, a file a step; each line is read once.
A piece is some megabytes, cut at a line's end, with the last lines of the piece before it in front.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

from bot.errors import InputError
from bot.signals.facts import Origin, Text

PIECE, OVERLAP = 1024 * 1024, 8 * 1024
MOST = 4 * 1024**3  # bytes of one text; a zip may claim to hold more than a machine does
_RUN = re.compile(r"(?:logs?|runs?)[_-](\d{5,})")


def read(path: Path, repository: str = "") -> Iterator[Text]:
    """Every log of a zip, a text file, or a folder of either. Raises InputError."""
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file() and each.suffix in (".zip", ".txt", ".log"))
        if not files:
            raise InputError(f"{path} holds no *.zip, *.txt or *.log")
        for each in files:
            yield from read(each, repository)
        return
    match = _RUN.search(path.name)
    run = int(match[1]) if match else 0
    try:
        if zipfile.is_zipfile(path):
            yield from of_zip(path, str(path), repository, run)
        else:
            path.open("rb").close()
            origin = Origin("run-log", str(path))
            yield Text(origin=origin, repository=repository, run=run, name=path.name, pieces=partial(_of_file, path))
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror}") from None


def of_zip(source: Path | bytes, where: str, repository: str, run: int, attempt: int = 1) -> Iterator[Text]:
    """The logs of a run's zip. Raises InputError for one that is damaged."""
    try:
        with zipfile.ZipFile(_opened(source)) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError) as exc:
        raise InputError(f"{where} is no zip that can be read: {exc}") from None
    jobs = {re.sub(r"^-?\d+_|\.txt$", "", name) for name in names if "/" not in name}
    for name in names:
        if "/" not in name or name.partition("/")[0] not in jobs:
            yield Text(
                origin=Origin("run-log", f"{where}: {name}"), repository=repository, run=run, attempt=attempt,
                name=name, pieces=partial(_of_member, source, name),
            )  # fmt: skip


def _opened(source: Path | bytes) -> IO[bytes] | Path:
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _of_member(source: Path | bytes, name: str) -> Iterator[tuple[int, str]]:
    try:
        with zipfile.ZipFile(_opened(source)) as archive, archive.open(name) as file:
            yield from pieces(file)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as exc:
        raise InputError(f"{name} cannot be unpacked: {exc}") from None


def _of_file(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        yield from pieces(file)


def pieces(file: IO[bytes], size: int = PIECE) -> Iterator[tuple[int, str]]:
    """(number of the first line, text) of each piece. What is longer than ``MOST`` is an InputError."""
    line, left, held = 1, MOST, b""
    while True:
        fresh = file.read(size)
        left -= len(fresh)
        if left < 0:
            raise InputError(f"a log is longer than {MOST // 2**30} GB")
        data = held + fresh
        if not fresh:
            if data:
                yield line, data.decode(errors="replace")
            return
        end = data.rfind(b"\n") + 1 or len(data)
        keep = data.rfind(b"\n", 0, max(end - OVERLAP, 0)) + 1 if end > OVERLAP else 0
        yield line, data[:end].decode(errors="replace")
        keep = keep or max(end - OVERLAP, 0)  # one line longer than the overlap is cut somewhere
        line += data.count(b"\n", 0, keep)
        held = data[keep:]
