"""The vault key is changed: what is sealed, what was attested, the key of fingerprints, the file that holds the key.

One transaction changes the database; before it the new key is on disk, after it the file takes its place. Killed
anywhere, the key that opens the database is there, and the next start or the next try goes on.

Decisions that were heard in Slack or in a drill stand under a key that is drawn from the vault's. Those that hold are
signed again under the new one, so that an approval, an abort or a freeze goes on counting; one that does not hold stays
as it is and counts as little as before. SSH signatures have keys of their own and are not touched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot import heartbeat
from bot.errors import InputError
from bot.signing import KEYED, SIGNATURE, Attestor, statement
from bot.store import DecisionRow, Store, one_worker
from bot.vault import NEW, decisions_key, load_key, put_in_place, rotate

SILENT = timedelta(seconds=3 * heartbeat.BEAT_S)  # whoever lives has said so by then


@dataclass(frozen=True, slots=True, kw_only=True)
class Rekeyed:
    """What was done: sealed values, decisions signed again, decisions that did not hold before either, the key."""

    values: int
    decisions: int
    void: int
    key: Path


def alive(store: Store, now: datetime) -> list[str]:
    """The roles that have given a sign of life lately. On SQLite the worker's lock says it better."""
    if store.sqlite:
        return []
    return [role for role, age in heartbeat.ages(store, now).items() if age is not None and age < SILENT]


@contextlib.contextmanager
def nobody_works(store: Store, home: Path) -> Iterator[None]:
    """Raises InputError or EngineError while a worker or a clock lives: a step would fail in the middle of its work."""
    if living := alive(store, datetime.now(UTC)):
        raise InputError(f"stop {' and '.join(living)} (SIGTERM) before the key is changed, and the pages too")
    with one_worker(home) if store.sqlite else contextlib.nullcontext():
        yield


def change(store: Store, home: Path, file: Path, *, given: str, to: Path | None) -> Rekeyed:
    """Change the key. ``file`` holds it, unless the settings give one (``given``); then the new one goes to ``to``.

    A file that a killed try has left is used. Raises InputError with what to do, VaultError with nothing changed.
    """
    if given and to is None:
        raise InputError(
            "the key is in BULKHEAD_VAULT_KEY: name a file for the new one with --to FILE; afterwards what it holds "
            "belongs into BULKHEAD_VAULT_KEY of every process"
        )
    if to is not None and not given:
        raise InputError(f"the key lies in {file}, and the new one takes its place: leave --to out")
    target = to or file.with_name(file.name + NEW)
    with nobody_works(store, home):
        old, new = load_key(given, file), load_key("", target)
        if old == new:
            raise InputError(f"{target} holds the very key that is in use; name another file")
        counts = {True: 0, False: 0}
        was, will = (Attestor(decisions_key(key), store.database_id()) for key in (old, new))

        def sign_again(connection: Any) -> None:
            for row in store.decisions():
                if not str(row.body.get(SIGNATURE, "")).startswith(KEYED):
                    continue
                holds = not was(row)
                counts[holds] += 1
                if holds:
                    store.sign_again(connection, row.seq, _signed(row, will))

        values = rotate(store, old, new, datetime.now(UTC), sign_again)
        if to is None:
            put_in_place(target, file)
    return Rekeyed(values=values, decisions=counts[True], void=counts[False], key=to or file)


def _signed(row: DecisionRow, attestor: Attestor) -> dict[str, object]:
    names = ("incident", "step", "kind", "plan_hash", "by", "at", "body")
    said = statement(attestor.database, {name: getattr(row, name) for name in names})
    return row.body | {SIGNATURE: attestor.sign(said)}

