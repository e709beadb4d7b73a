"""After a drill no secret stands anywhere: not in a file, a log, a database page, the evidence or what was printed.

Every secret that the range knows is a canary: the leaked key, what the attacker made with it, the new key, the bot's
own tokens. They are looked for raw, escaped and encoded, and once more in whatever can be decoded or unpacked.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import functools
import io
import json
import logging
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from bot import app, drill, logs, sites
from bot.actions import CATALOGUE
from bot.playbook import load_folder
from bot.replay.gather import gather
from bot.replay.page import document
from bot.scenario import load_drill
from bot.settings import Settings
from bot.signals.encodings import Known, Reading
from bot.store import Store

PUBLIC = 12  # a shorter value (an id, a word of the company's seed) is no secret that could be told apart


@functools.cache  # each value is looked for in thousands of places
def encodings(value: str) -> tuple[bytes, ...]:
    """How a value may stand in a file: as it is, in hex, per cent, and base64 at its three offsets, once and twice."""
    raw = value.encode()
    once = list(at_offsets(raw))
    forms = (
        raw,
        raw.hex().encode(),
        raw.hex().upper().encode(),
        quote(value, safe="").encode(),
        json.dumps(value)[1:-1].encode(),
        *once,
        *(twice for each in once for twice in at_offsets(each)),
    )
    return tuple(dict.fromkeys(forms))


def at_offsets(raw: bytes) -> Iterator[bytes]:
    """The part of base64 that a value alone decides, at each of its three offsets, in both alphabets."""
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw)
        sure = text[(0, 2, 3)[shift] : len(text) // 4 * 4 - 4]
        yield sure
        yield sure.replace(b"+", b"-").replace(b"/", b"_")


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file; every cell of every table; every member of every archive."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        yield str(path.relative_to(folder)), data
        if zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                yield from ((f"{path.name}!{name}", archive.read(name)) for name in archive.namelist())
        if path.suffix == ".db":
            with sqlite3.connect(path) as db:
                for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    for row in db.execute(f"SELECT * FROM {table}"):  # noqa: S608 - the schema's own name
                        yield from cells(table, row)


def cells(table: str, row: tuple[Any, ...]) -> Iterator[tuple[str, bytes]]:
    for cell in row:
        if cell is None:
            continue
        data = cell if isinstance(cell, bytes) else str(cell).encode()
        yield f"table {table}", data
        with contextlib.suppress(ValueError):
            yield f"table {table}, decoded", base64.b64decode(data, validate=True)


@pytest.fixture(scope="module", params=["aws-key-in-public-log", "github-pat-in-image"])
def after(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, set[str], str, str]]:  # fmt: skip
    """A whole drill with logs at DEBUG; gives its folder, the canaries, the log and what was told."""
    home = tmp_path_factory.mktemp("canaries")
    source = app.SHIPPED / "drills" / f"{request.param}.yaml"
    scenario = load_drill(source.read_text(), str(source), load_folder([app.SHIPPED / "containment"], CATALOGUE))
    scenario = dataclasses.replace(scenario, delay_s=0.02)
    log, told = io.StringIO(), io.StringIO()
    handler, root = logging.StreamHandler(log), logging.getLogger()
    lines = logging.StreamHandler(log)
    lines.setFormatter(logs.json_lines())
    level = root.level
    root.addHandler(handler)
    root.addHandler(lines)
    root.setLevel(logging.DEBUG)
    canaries: set[str] = set()
    try:
        with drill.range_up() as arena:

            def tell(kind: str, data: dict[str, Any]) -> None:
                told.write(f"{kind} {json.dumps(data, default=str)}\n")
                if kind in ("leak", "tries-before"):
                    canaries.update(arena.get("/values"))

            settings = Settings(home=home, responders=",".join(scenario.responders))
            with app.opened(settings, sites={"range": sites.range_site(arena.endpoints)}) as bulkhead:
                result = asyncio.run(drill.Run(scenario, bulkhead, arena, tell).run())
            canaries.update(arena.get("/values"))
    finally:
        root.removeHandler(handler)
        root.removeHandler(lines)
        root.setLevel(level)
    assert result.contained, result.why_not
    told.write(json.dumps(result.as_json()))
    yield home, {c for c in canaries if len(c) >= PUBLIC and not c.startswith("AKIA")}, log.getvalue(), told.getvalue()


def found_in(data: bytes, canaries: set[str]) -> list[int]:
    """Which canaries, by number: their values are not to be printed, here least of all."""
    return [k for k, canary in enumerate(sorted(canaries)) if any(form in data for form in encodings(canary))]


def test_there_are_canaries_and_the_search_would_find_them(after: tuple[Path, set[str], str, str]) -> None:
    _, canaries, log, _ = after
    assert len(canaries) > 10
    assert len(log) > 1000, "nothing was logged, so nothing is shown about the logs"
    for canary in canaries:
        raw = canary.encode()
        for form in (
            raw,
            b"xx" + base64.b64encode(b"A=1 " + raw + b" B"),
            base64.b64encode(base64.b64encode(b"." + raw + b"...")),
        ):
            assert found_in(b"some text " + form + b" more", {canary}) == [0]


def test_no_secret_in_any_file_or_table_or_archive(after: tuple[Path, set[str], str, str]) -> None:
    home, canaries, _, _ = after
    places = list(everything(home))
    assert {"table timeline", "table vault", "table workflow_status"} <= {name for name, _ in places}
    assert any(".txt" in name or "security-scan" in str(data) for name, data in places), "what was saved is looked into"
    assert [(name, hit) for name, data in places if (hit := found_in(data, canaries))] == []


def test_no_secret_in_the_log_or_in_what_was_told(after: tuple[Path, set[str], str, str]) -> None:
    _, canaries, log, told = after
    assert found_in(log.encode(), canaries) == []
    assert found_in(told.encode(), canaries) == []


def test_no_secret_in_the_log_in_any_encoding_that_signals_look_for(after: tuple[Path, set[str], str, str]) -> None:
    """Reversed, UTF-16, base32, doubled, spread over a dump: what misuse is found by finds nothing of ours either."""
    _, canaries, log, _ = after
    known = Known(b"k" * 32)
    for canary in canaries:
        known.add(canary)
    assert known.find(Reading(f"a {base64.b32encode(min(canaries).encode()).decode()} line")), "it would find one"
    lines = log.splitlines()
    assert any(line.startswith('{"time"') for line in lines), "plain lines and JSON's are in it"
    found = [
        (start, hit.encoding) for start in range(0, len(lines), 500)
        for hit in known.find(Reading("\n".join(lines[start : start + 500])))
    ]  # fmt: skip
    assert found == []


def test_no_secret_in_the_replay(after: tuple[Path, set[str], str, str]) -> None:
    home, canaries, _, _ = after
    store = Store(f"sqlite:///{home / 'bulkhead.db'}")
    try:
        pages = [document(gather(store, row.id, {})) for row in store.incidents()]
    finally:
        store.close()
    assert pages
    assert all("Tried again" in page for page in pages[:1]), "what the drill has told is in it"
    assert [found_in(page.encode(), canaries) for page in pages] == [[] for _ in pages]


def test_the_vault_has_forgotten_what_the_incident_held(after: tuple[Path, set[str], str, str]) -> None:
    home, _, _, _ = after
    with sqlite3.connect(home / "bulkhead.db") as db:
        rows = db.execute("SELECT sealed, wiped_at FROM vault").fetchall()
    assert rows
    assert [sealed for sealed, _ in rows if sealed is not None] == []
