"""``bulkhead vault``: the key under which secrets are sealed."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bot import rekey
from bot.app import opened
from bot.cli import frame, page
from bot.store import Store
from bot.story import ASKS, GOOD, Line
from bot.vault import KEY_FILE

app = frame.group("The vault, where secrets are sealed.")


@app.callback()
def group() -> None:
    """The vault, where secrets are sealed."""


@app.command("rotate")
def rotate(
    to: Annotated[
        Path | None,
        typer.Option("--to", show_default=False, help="With BULKHEAD_VAULT_KEY: the file that gets the new key."),
    ] = None,
    home: frame.Home = None,
    json_: frame.Json = False,
) -> None:
    """Change the vault key: everything is sealed anew, the old key is refused. Stop worker, clock and pages first.

    Killed in the middle, give it again. Backups that were made before open with the old key: keep it as long as them.
    """
    frame.quiet_logs()
    settings = frame.settings_of(home)
    with opened(settings, sites={}) as bulkhead:
        _wait(bulkhead.store)
        given = settings.vault_key.get_secret_value()
        done = rekey.change(bulkhead.store, settings.home, settings.home / KEY_FILE, given=given, to=to)
    if json_:
        frame.document({"values": done.values, "decisions": done.decisions, "void": done.void, "key": str(done.key)})
        return
    said = f"{done.values} sealed values and {done.decisions} decisions stand under the new key, in {done.key}."
    void = f"{done.void} decisions did not hold under the old key either, and go on not counting."
    lines = [Line(said, style=GOOD), *([Line(void, style=ASKS)] if done.void else [])]
    if to is not None:
        text = f"Put what {to} holds into BULKHEAD_VAULT_KEY of every process, delete the file, and start them."
        lines.append(Line(text, style=ASKS))
    page.lines([*lines, Line("Fingerprints are the same as before. Keep a copy of the key elsewhere.")])


def _wait(store: Store) -> None:
    """Whoever was stopped a moment ago may still look alive."""
    give_up = time.monotonic() + rekey.SILENT.total_seconds() + 1
    if rekey.alive(store, datetime.now(UTC)):
        with frame.busy("waiting for worker and clock to be silent"):
            while rekey.alive(store, datetime.now(UTC)) and time.monotonic() < give_up:
                time.sleep(0.5)
