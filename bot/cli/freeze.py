"""``bulkhead freeze``: the kill switch of the whole installation."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bot.app import opened
from bot.cli import frame, page
from bot.engine.freeze import FREEZE, SETTING, THAW, Frozen, frozen_steps
from bot.signing import sign
from bot.story import BAD, GOOD, Line, stamp
from bot.timeline import load

app = frame.group("The kill switch: no worker begins to change anything until it is thawed.")

Why = Annotated[str, typer.Option("--reason", help="Why; it stands on the timeline of each incident that waits.")]
Signing = Annotated[
    Path | None,
    typer.Option(
        "--sign", show_default=False, help="Sign with this SSH key, or with the agent's half of a public one."
    ),
]


@app.command("on")
def on(reason: Why = "", by: frame.By = "", key: Signing = None, home: frame.Home = None) -> None:
    """Freeze: from now on no call that changes anything begins. Looks go on, people are asked, decisions land."""
    new = _order(FREEZE, reason, by, key, home)
    text = "Frozen. What was under way ends; nothing else begins until `bulkhead freeze off`."
    page.lines([Line(text if new else "It is frozen already; `bulkhead freeze show` says by whom.", style=BAD)])


@app.command("off")
def off(reason: Why = "", by: frame.By = "", key: Signing = None, home: frame.Home = None) -> None:
    """Thaw: each step goes on exactly where it waits."""
    _order(THAW, reason, by, key, home)
    page.lines([Line("Thawed. Each step goes on where it waits, within a second.", style=GOOD)])


def _order(kind: str, reason: str, by: str, key: Path | None, home: Path | None) -> bool:
    frame.quiet_logs()
    with opened(frame.settings_of(home), sites={}) as bulkhead:
        why, signer = bulkhead.vault.scrubber.scrub(reason), partial(sign, key=key) if key else None
        return bulkhead.switch.order(kind, by=frame.person(by), at=datetime.now(UTC), reason=why, sign=signer)


@app.command("show")
def show(home: frame.Home = None, json_: frame.Json = False) -> None:
    """Say whether it is frozen, by whom and why, and which steps wait for the thaw."""
    frame.quiet_logs()
    with opened(frame.settings_of(home), sites={}) as bulkhead:
        stands = bulkhead.switch.standing()
        rows = bulkhead.store.incidents("open")
        waits = {row.id: [event.step for event in frozen_steps(load(bulkhead.store, row.id))] for row in rows}
    waits = {name: steps for name, steps in waits.items() if steps}
    if json_:
        said = {"by": stands.by, "at": stands.at, "reason": stands.reason} if stands else {}
        frame.document({"frozen": stands is not None, **said, "waits": waits})
        return
    page.lines([_standing(stands)])
    page.lines([Line(f"- {name} waits with: {', '.join(steps)}") for name, steps in waits.items()])


def _standing(stands: Frozen | None) -> Line:
    if stands is None:
        return Line("It is not frozen.", style=GOOD)
    if stands.by == SETTING:
        return Line(f"{SETTING} is set here, which freezes the processes that have it: {stands.reason}", style=BAD)
    return Line(f"Frozen by {stands.by} since {stamp(stands.at)}: {stands.reason}", style=BAD)
