"""``bulkhead replay``: an incident as one page to press play on, opened in the browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from bot.app import Bulkhead, opened
from bot.cli import frame, page
from bot.errors import InputError
from bot.replay.gather import gather, played
from bot.replay.page import Replay, document
from bot.settings import Settings
from bot.story import Line

app = frame.group("Press play on an incident.")
FILE, CONTRAST = "replay.html", "contrast"  # what a drill leaves in its folder


@app.callback()
def _group() -> None:
    """One command would be no group."""


@app.command()
def replay(
    incident: Annotated[
        str, typer.Argument(help="The incident, or a file that was written; without it, the drill that was run last.")
    ] = "",
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = True,
    home: frame.Home = None,
    json_: frame.Json = False,
) -> None:
    """Press play on an incident or a drill: one page that needs no network. It is written and opened."""
    file = _file(incident, home)
    if json_:
        frame.document({"file": str(file)})
    else:
        page.lines([Line("Press play:"), Line(str(file), command=True)])
    if show and not webbrowser.open(file.resolve().as_uri()):
        page.lines([Line("No browser could be started here; open the file yourself.")])


def _file(incident: str, home: Path | None) -> Path:
    if incident and Path(incident).is_file():
        return Path(incident)
    settings = frame.settings_of(home)
    if not incident:
        return _last(settings)
    frame.quiet_logs()
    with opened(settings, sites={}) as bulkhead:
        file = settings.home / f"replay-{bulkhead.store.incident(incident).id}.html"
        write(bulkhead, incident, file)
    return file


def _last(settings: Settings) -> Path:
    """What the drill that was run last has left."""
    folders = [settings.home / FILE, *sorted((settings.home / "drills").glob(f"*/{FILE}"), reverse=True)]
    found = next((file for file in folders if file.is_file()), None)
    if found is None:
        how = f"run one (`{frame.program()} drill list` names them), or name an incident"
        raise InputError(f"no drill has left a replay in {settings.home}; {how}")
    return found


def _contrast(bulkhead: Bulkhead, drill: str) -> Replay | None:
    """The same leak under OIDC, where it was run with this drill: in a folder of its own inside the drill's."""
    home = bulkhead.settings.home / CONTRAST
    if not frame.holds(bulkhead.settings, home):
        return None
    with opened(frame.inside(bulkhead.settings, home), sites={}) as beside:
        return played(beside.store, drill, beside.drills)


def write(bulkhead: Bulkhead, incident: str, file: Path) -> None:
    """The page of an incident as a file. Raises InputError when it cannot be written there."""
    found = gather(bulkhead.store, incident, bulkhead.drills)
    drill = bulkhead.drills.get(found.told.get("id", ""))
    text = document(found, contrast=_contrast(bulkhead, drill.contrast) if drill and drill.contrast else None)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise InputError(f"{file} cannot be written: {exc.strerror}") from None
