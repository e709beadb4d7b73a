"""SIGKILL of the real process between a click and its effect: after the restart it has happened, once."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from bot.app import opened
from bot.settings import Settings
from bot.slack import reports
from tests.slack import deliveries
from tests.slack.test_door import ASKING
from tests.slack.workspace import INCIDENT, Workspace, moved_in, settings_of
from tests.slack_range import Slack, until

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def nursery() -> Iterator[subprocess.Popen[str]]:
    """The process that the rooms of this worker are forked from."""
    command = [sys.executable, "-m", "tests.slack.room_child"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT) as one:
        yield one
        assert one.stdin is not None
        one.stdin.close()


@dataclass
class Child:
    """Our room in a process of its own."""

    nursery: subprocess.Popen[str]
    home: Path

    def begin(self, settings: Settings, kill_at: str = "") -> str:
        """Start it; gives the address of its door."""
        plain = settings.model_dump(mode="json", include={"home", "mode", "slack_api", "slack_groups"})
        names = ("slack_bot_token", "slack_signing_secret")
        secret = {name: getattr(settings, name).get_secret_value() for name in names}
        assert self.nursery.stdin is not None
        (self.home / "url").unlink(missing_ok=True)
        self.nursery.stdin.write(json.dumps({"settings": plain | secret, "kill_at": kill_at}) + "\n")
        self.nursery.stdin.flush()
        until((self.home / "url").exists, 60)
        url, self.pid = json.loads((self.home / "url").read_text())
        return str(url)

    def end(self, *, told: bool = True) -> int:
        """How it ended; ``told``: in good order."""
        if told:
            os.kill(self.pid, signal.SIGTERM)
        assert self.nursery.stdout is not None
        return int(self.nursery.stdout.readline())


def effect(home: Path) -> list[str]:
    """What has come of it, and what has been left undone."""
    with opened(Settings(home=home), sites={}) as house:
        store = house.store
        found = [f"decision {row.kind} {row.step}" for row in store.decisions()]
        found += [f"event {event['kind']}" for event in store.events(INCIDENT)[len(ASKING) + 4 :]]
        found += [f"report {len(row['body']['credentials'])}" for row in store.inbox()]
        with store.connect() as c:
            states = c.exec_driver_sql("SELECT state FROM slack_delivery").scalars().all()
            held = "SELECT count(*) FROM vault WHERE sealed IS NOT NULL AND owner LIKE 'slack-delivery:%'"
            left = c.exec_driver_sql(held).scalar_one()
    return [*found, *states, *(["a secret"] * left)]


CASES: dict[str, tuple[tuple[str, str], list[str]]] = {
    "approve": (("block_actions", "approve"), ["decision approve deactivate", "done"]),
    "note": (("command", "/bulkhead"), ["event note", "done"]),
    "report": (("view_submission", reports.FORM), ["report 1", "done"]),
    "message": (("message_action", "report_message"), ["report 1", "done"]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "kill_at"),
    [
        ("approve", "after slack/landed/1"), ("approve", "before slack/effect/1"), ("approve", "after slack/effect/1"),
        ("note", "before slack/effect/1"), ("note", "after slack/effect/1"),
        ("report", "after slack/landed/1"), ("report", "after inbox/landed/1"), ("message", "before inbox/landed/1"),
    ],
)  # fmt: skip
def test_killed_between_a_click_and_its_effect_it_happens_once(
    slack: Slack, nursery: subprocess.Popen[str], tmp_path: Path, case: str, kill_at: str
) -> None:
    home, (which, wanted) = tmp_path / "home", CASES[case]
    with moved_in(slack, home) as work:
        work.incident(*ASKING)
        payload = deliveries.of(work, *which)
    settings, child = settings_of(slack, home), Child(nursery, home)
    deliver(slack, child.begin(settings, kill_at), payload)  # acknowledged or not: it has landed
    assert child.end(told=False) == -signal.SIGKILL, (home / "out").read_text()
    url = child.begin(settings)
    until(lambda: settled(home))
    answer = deliver(slack, url, payload)
    assert answer is not None
    assert answer.status_code == 200, "and whoever sends it again now changes nothing"
    assert child.end() == 0, (home / "out").read_text()
    assert effect(home) == wanted


def deliver(slack: Slack, url: str, payload: dict[str, Any]) -> requests.Response | None:
    room: Any = SimpleNamespace(word="/bulkhead")
    work = Workspace(slack=slack, house=room, room=room, door=f"{url}/slack/events")
    try:
        return work.send(payload)
    except requests.ConnectionError:
        return None


def settled(home: Path) -> bool:
    with sqlite3.connect(home / "bulkhead.db") as db:
        return not db.execute("SELECT 1 FROM slack_delivery WHERE state = 'landed'").fetchall()
