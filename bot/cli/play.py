"""``bulkhead serve --range``: Bulkhead in a company of its own on this machine, with a Slack to click through.

Real engine, real playbooks, real Slack app; only the world is the range's. Everything lies in a folder of its own, and
no identity, database or address of the real installation comes along.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from bot import drill as drills
from bot.app import PAGES_AT, SLACK_DOOR, Bulkhead, opened, together
from bot.cli import frame, page
from bot.settings import Settings, read
from bot.sites import range_site
from bot.slack.manifest import manifest
from bot.stage import Stage
from bot.story import DIM, GOOD, HEADING, Line

READY = "BULKHEAD_READY_FILE"  # where a program that has started this is told the address


def play() -> None:
    """Run it until Ctrl-C or SIGTERM; the folder goes with it."""
    frame.quiet_logs()
    home = read().home / "range" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
    try:
        with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
            with frame.busy("starting the range: a small company on 127.0.0.1"):
                here = stack.enter_context(drills.range_up())
            settings = settings_for(here, home)
            site = range_site(here.endpoints)
            bulkhead = stack.enter_context(opened(settings, sites={"range": site}, release=True))
            bulkhead.stage = Stage(here, bulkhead.drills, bulkhead.inbox)
            asyncio.run(frame.until_told(together(bulkhead.serve(), introduce(bulkhead, here))))
    finally:
        shutil.rmtree(home, ignore_errors=True)  # nothing in it is real, and its range has gone
    page.lines([Line("Stopped. Nothing of it is left.")])


def settings_for(here: drills.Range, home: Path) -> Settings:
    """Settings of a folder of its own, for an app that is installed in the range's Slack and nowhere else.

    They begin at the defaults: what the environment says of the real installation is not even read.
    """
    cast = here.info["cast"]["slack"]
    groups = cast["groups"]
    plain = {name: one.get_default(call_default_factory=True) for name, one in Settings.model_fields.items()}
    mine = {
        "home": home, "mode": "act", "web_port": 0,
        "slack_api": f"{here.info['slack']}/api/", "slack_bot_token": SecretStr(cast["bot_token"]),
        "slack_signing_secret": SecretStr(cast["signing_secret"]), "slack_app_id": cast["app_id"],
        "slack_groups": f"one={groups['approvers']},two={groups['responders']},person={groups['responders']},"
        f"lead={groups['leads']}",
        "slack_channel": cast["channels"]["incidents"], "slack_private": "", "slack_oncall": groups["oncall"],
        "quiet_hours": "00:00-00:00",  # never: somebody sits before it at whatever hour
        "slack_people": f"mara={cast['users']['mara']['id']}",  # the likely owner of what leaks, by her name at GitHub
        "slack_client_id": cast["client_id"], "slack_client_secret": SecretStr(cast["client_secret"]),
        "web_group": groups["responders"],
    }  # fmt: skip
    return Settings.model_construct(**(plain | mine))


async def introduce(bulkhead: Bulkhead, here: drills.Range) -> None:
    """Install the app once its pages listen, let a key leak, and say what to click; then wait for ever."""
    while not (at := await asyncio.to_thread(bulkhead.store.setting, PAGES_AT)):
        await asyncio.sleep(0.05)
    # Slack takes https only in a manifest; where the app really listens is said beside it
    asked = manifest(command=bulkhead.settings.slack_command, url="https://bulkhead.example", sign_in=True)
    listens = {"manifest": asked, "request_url": f"{at}{SLACK_DOOR}", "redirect_urls": [f"{at}/signed-in"]}
    await asyncio.to_thread(here.post, "/slack/app", listens)
    await asyncio.to_thread(here.post, "/stage", {})
    logging.getLogger("bulkhead").setLevel(logging.ERROR)
    page.lines(welcome(str(here.info["slack"])))
    if ready := os.environ.get(READY):
        await asyncio.to_thread(Path(ready).write_text, f"{here.info['slack']}\n", encoding="utf-8")
    await asyncio.Event().wait()


def welcome(address: str) -> list[Line]:
    """Where to go and what to do there."""
    return [
        Line("Bulkhead runs, in a small company of its own", style=HEADING),
        Line(f"{address}/", command=True),
        Line("That is the company's Slack, on this machine only. A deploy key has just leaked. You are Jonas:"),
        Line("1. In #deploys Mara wonders about her deploy. Menu of her message (⋯): This contains a secret."),
        Line("2. In #incidents the card comes: what leaked, what was cut by itself, and how that was proven."),
        Line("3. Become Alice and then Bob (You are, on the left): approve, deny, undo, answer what it asks."),
        Line("4. Become Mallory, who is of another company, and try to get in."),
        Line("5. Let the attacker try again (In the company): every one of its credentials is refused.", style=GOOD),
        Line("Ctrl-C ends all of it, and nothing is left.", style=DIM),
    ]
