"""``bulkhead serve`` as a process of its own, as somebody has installed it, with the range's Slack as its Slack."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.app import PAGES_AT, SLACK_DOOR
from bot.slack.manifest import manifest
from tests.slack.workspace import NOBODY
from tests.slack_range import Slack, until

Click = dict[str, Any]


@dataclass
class Installed:
    """The installation. Its providers are addresses that nobody answers; its database is ``home/bulkhead.db``."""

    slack: Slack
    home: Path
    more: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    drills: str = ""  # the channel of drills

    def start(self) -> None:
        """Start it and wait until its door is open and known to Slack."""
        self.ask("DELETE FROM setting WHERE name = ?", PAGES_AT, missing_ok=True)
        with (self.home.parent / "log").open("a") as log:
            command = [sys.executable, "-m", "bot", "serve"]
            self.process = subprocess.Popen(command, env=self.env(), text=True, stdout=log, stderr=log)
        asked = "SELECT value FROM setting WHERE name = ?"
        at = until(lambda: self.ask(asked, PAGES_AT, missing_ok=True), 90)[0][0]
        made = manifest(command="/bulkhead", url="https://bulkhead.example")
        self.slack.range.install({"manifest": made, "request_url": f"{at}{SLACK_DOOR}", "rate_limits": False})

    def env(self) -> dict[str, str]:
        """Nothing of this machine's settings."""
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "BULKHEAD_", "GITHUB_"))}
        cast, channels = self.slack.cast, self.slack.cast["channels"]
        groups = cast["groups"]
        mine = {
            "HOME": str(self.home), "WEB_PORT": "0", "MODE": "act", "GITHUB_API": NOBODY,
            "SLACK_API": f"{self.slack.url}/api/", "SLACK_BOT_TOKEN": cast["bot_token"],
            "SLACK_SIGNING_SECRET": cast["signing_secret"], "SLACK_CHANNEL": channels["incidents"],
            "SLACK_DRILL_CHANNEL": self.drills,
            "SLACK_GROUPS": f"one={groups['responders']},person={groups['responders']},lead={groups['responders']},"
            f"two={groups['approvers']}",
        }  # fmt: skip
        named = {f"BULKHEAD_{name}": value for name, value in mine.items()}
        return plain | named | {"AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": NOBODY} | self.more

    def kill(self) -> None:
        """A power cut: the process and nothing else."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> None:
        """Told to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)

    def ask(self, sql: str, *values: str, missing_ok: bool = False) -> list[tuple[Any, ...]]:
        """Ask its database."""
        if not (self.home / "bulkhead.db").exists():
            return []
        with closing(sqlite3.connect(self.home / "bulkhead.db", timeout=30)) as db, db:
            try:
                return list(db.execute(sql, values).fetchall())
            except sqlite3.OperationalError:
                if missing_ok:
                    return []
                raise

    def log(self) -> str:
        """What it has said."""
        return (self.home.parent / "log").read_text()

    # people ------------------------------------------------------------------------------------------------------

    def command(self, user: str, text: str) -> None:
        """Run the slash command in #incidents."""
        self.slack.hand(user, "command", channel=self.slack.channel("incidents"), text=f"/bulkhead {text}")

    def whispers(self, user: str) -> str:
        """All that the app has told this person alone."""
        seen, bot = self.slack.look(user), self.slack.range.state.app.bot_user
        return "\n".join(
            str(message["text"]) for channel in seen["channels"] for message in channel["messages"]
            if message.get("user") == bot and (message.get("ephemeral") or channel["kind"] == "im")
        )  # fmt: skip

    def cards(self, channel: str) -> list[dict[str, Any]]:
        """The cards in a channel, as Slack keeps them."""
        state = self.slack.range.state
        with state.lock:
            found = next(c for c in state.channels.values() if c.name == channel)
            return [
                {"ts": m.ts, "channel": found.id, "blocks": m.blocks, "metadata": m.metadata, "text": m.text}
                for m in found.messages.values()
                if ((m.metadata or {}).get("event_payload") or {}).get("what") == "card"
            ]  # fmt: skip

    def press(self, user: str, card: dict[str, Any], action: str, wanted: Callable[[Click], bool]) -> bool:
        """Press the first button of a card that fits; False when there is none, or none any more."""
        for block in card["blocks"]:
            for one in [*block.get("elements", ()), *([block["accessory"]] if "accessory" in block else [])]:
                if one.get("action_id") == action and wanted(json.loads(one["value"])):
                    body = {"channel": card["channel"], "ts": card["ts"], "action_id": action,
                            "block_id": block["block_id"], "confirmed": True}  # fmt: skip
                    answer = self.slack.http.post(f"{self.slack.url}/hand/{user}/click", json=body, timeout=30)
                    if answer.status_code == 400 and answer.json().get("error") == "no_such_element":
                        return False  # the card was drawn anew since it was read
                    assert answer.status_code == 200, answer.text
                    return True
        return False


@contextmanager
def installed(slack: Slack, folder: Path, **more: str) -> Iterator[Installed]:
    """Install and start it; it is gone with the block."""
    slack.range.reset()
    slack.switchboard.reset()
    one, state = Installed(slack, folder / "home", more), slack.range.state
    with state.lock:
        people = [slack.user(name) for name in ("alice", "bob", "carol")]
        one.drills = state.add_channel("drills", [*people, state.app.bot_user], creator=people[0]).id
    try:
        one.start()
        yield one
    finally:
        if one.process is not None and one.process.poll() is None:
            one.kill()
