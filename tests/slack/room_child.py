"""Our room in processes that can be killed. Each line of the input is one:
``{"settings": {...}, "kill_at": NAME, "kill_on": 1}``, the number counting how often that boundary was come to.

It is forked from this one, which has done nothing but import: that saves the seconds of importing. The address of its
door stands in HOME/url. At the boundary ``kill_at`` it kills itself, as a power cut would; SIGTERM ends it in good
order. What it prints goes to HOME/out; the answer to each line is its wait status.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from bot.app import opened
from bot.settings import Settings
from bot.slack.features import FEATURES
from bot.slack.room import Room
from tests.slack.workspace import nowhere
from tests.slack_range import serving


def run(order: dict[str, Any]) -> None:
    """Be in Slack until told to end."""
    settings = Settings(**order["settings"])

    came = 0

    def boundary(name: str) -> None:
        nonlocal came
        came += name == order["kill_at"]
        if name == order["kill_at"] and came == order.get("kill_on", 1):
            os.kill(os.getpid(), signal.SIGKILL)

    with opened(settings, sites={"real": nowhere()}, boundary=boundary) as house:
        room = Room(house, FEATURES)
        with serving(room.http) as url:
            asyncio.run(until_told(room, settings.home, url))


async def until_told(room: Room, home: Path, url: str) -> None:
    running = asyncio.ensure_future(room.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    (home / "url.new").write_text(json.dumps([url, os.getpid()]))
    (home / "url.new").rename(home / "url")
    await asyncio.gather(running, return_exceptions=True)


def forked(order: dict[str, Any]) -> int:
    """Run one order in a process of its own; returns its wait status."""
    home = Path(order["settings"]["home"])
    pid = os.fork()
    if pid == 0:
        out = os.open(home / "out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        try:
            run(order)
        except BaseException:  # noqa: BLE001 - whatever it was, this is a child that must not go on as its parent
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    for line in sys.stdin:
        print(forked(json.loads(line)), flush=True)
