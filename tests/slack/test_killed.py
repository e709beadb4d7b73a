"""SIGKILL of the real process between a click and its effect: after the restart it has happened, once."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from bot.app import opened
from bot.settings import Settings
from bot.slack import glass, orders, reports
from bot.store import iso
from tests.incidents import CLOSED, ROW
from tests.slack import deliveries
from tests.slack.boards import what, words
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
    pid: int = 0

    def begin(self, settings: Settings, kill_at: str = "", kill_on: int = 1) -> str:
        """Start it; gives the address of its door."""
        mine = {"home", "mode", "slack_api", "slack_groups", "slack_channel", "slack_private"}
        plain = settings.model_dump(mode="json", include=mine)
        names = ("slack_bot_token", "slack_signing_secret")
        secret = {name: getattr(settings, name).get_secret_value() for name in names}
        assert self.nursery.stdin is not None
        (self.home / "url").unlink(missing_ok=True)
        order = {"settings": plain | secret, "kill_at": kill_at, "kill_on": kill_on}
        self.nursery.stdin.write(json.dumps(order) + "\n")
        self.nursery.stdin.flush()
        until((self.home / "url").exists, 60)
        url, self.pid = json.loads((self.home / "url").read_text())
        return str(url)

    def end(self, *, told: bool = True) -> int:
        """How it ended; ``told``: in good order."""
        if told:
            os.kill(self.pid, signal.SIGTERM)
        assert self.nursery.stdout is not None
        status, self.pid = int(self.nursery.stdout.readline()), 0
        return status


@pytest.fixture
def child(nursery: subprocess.Popen[str], tmp_path: Path) -> Iterator[Child]:
    one = Child(nursery, tmp_path / "home")
    yield one
    if one.pid:  # a test that failed leaves it running; the next test's must not be taken for it
        with suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)
        one.end(told=False)


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
    "waive": (("view_submission", orders.WAIVE), [f"decision waive {ROW}", "done"]),
    "abort": (("view_submission", orders.ABORT), ["decision abort incident", "done"]),
    "glass": (("view_submission", glass.BREAK), ["decision break-glass two", "done"]),
    "review": (("view_submission", glass.REVIEW), ["decision review alone", "event reviewed", "done"]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "kill_at"),
    [
        ("approve", "after slack/landed/1"), ("approve", "before slack/effect/1"), ("approve", "after slack/effect/1"),
        ("note", "before slack/effect/1"), ("note", "after slack/effect/1"),
        ("report", "after slack/landed/1"), ("report", "after inbox/landed/1"), ("message", "before inbox/landed/1"),
        ("glass", "before slack/effect/1"), ("review", "after slack/effect/1"),
        *(
            pytest.param(case, kill_at, marks=pytest.mark.slow)
            for case in ("waive", "abort", "glass", "review")
            for kill_at in ("after slack/landed/1", "before slack/effect/1", "after slack/effect/1")
            if (case, kill_at) not in (("glass", "before slack/effect/1"), ("review", "after slack/effect/1"))
        ),
    ],
)  # fmt: skip
def test_killed_between_a_click_and_its_effect_it_happens_once(
    slack: Slack, child: Child, case: str, kill_at: str
) -> None:
    home, (which, wanted) = child.home, CASES[case]
    with moved_in(slack, home) as work:
        work.incident(*ASKING)
        payload = deliveries.of(work, *which)
    settings = settings_of(slack, home)
    deliver(slack, child.begin(settings, kill_at), payload)  # acknowledged or not: it has landed
    assert child.end(told=False) == -signal.SIGKILL, (home / "out").read_text()
    url = child.begin(settings)
    until(lambda: settled(home))
    answer = deliver(slack, url, payload)
    assert answer is not None
    assert answer.status_code == 200, "and whoever sends it again now changes nothing"
    assert child.end() == 0, (home / "out").read_text()
    assert effect(home) == wanted


# the board ------------------------------------------------------------------------------------------------------------

STORY = [(step, kind, body | {"level": "low"} if kind == "severity" else body) for step, kind, body in CLOSED]
ASKED = next(k for k, (_, kind, _body) in enumerate(STORY) if kind == "asked") + 1
ONCE = ("*opened*", "*decided* deactivate: approved by ann", "*done* deactivate: the key no longer works", "*CLOSED*")
SAYS, EDITS, FILES = "chat.postMessage", "chat.update", "files.getUploadURLExternal"


def grow(home: Path, story: list[tuple[str, str, Any]]) -> None:
    """Events of the incident, by another process than the board's."""
    with opened(Settings(home=home), sites={}) as house:
        for step, kind, body in story:
            house.timeline.append(INCIDENT, step, kind, body, at=iso(datetime.now(UTC))).result()


def told(slack: Slack) -> list[dict[str, Any]]:
    """Every message in #incidents, replies too."""
    state = slack.range.state
    with state.lock:
        found = next(c for c in state.channels.values() if c.name == "incidents")
        return [
            {"blocks": m.blocks, "metadata": m.metadata, "thread_ts": m.thread_ts, "ts": m.ts, "files": list(m.files)}
            for m in found.messages.values()
        ]  # fmt: skip


def finished(home: Path) -> bool:
    with sqlite3.connect(home / "bulkhead.db") as db:
        return bool(db.execute("SELECT 1 FROM post WHERE kind = 'card' AND state = 'over'").fetchall())


@pytest.mark.parametrize(
    ("kill_at", "kill_on"),
    [
        (f"after {SAYS}", 1),
        *(
            pytest.param(f"{side} {call}", on, marks=pytest.mark.slow)
            for call, most in ((SAYS, 3), (EDITS, 2), (FILES, 1))
            for on in range(1, most + 1)
            for side in ("before", "after")
            if (side, call, on) != ("after", SAYS, 1)
        ),
    ],
)  # fmt: skip
def test_killed_between_a_message_and_its_record_the_board_says_everything_once(
    slack: Slack, child: Child, kill_at: str, kill_on: int
) -> None:
    home = child.home
    slack.range.reset()
    settings = settings_of(slack, home, slack_channel=slack.channel("incidents"), slack_private="")
    with moved_in(slack, home) as work:
        work.incident(incident=INCIDENT)  # opened, triage, severity, look
    low = {"level": "low", "by": "ann", "reason": "a toy account"}
    grow(home, [("severity", "severity", low), *STORY[ASKED - 1 : ASKED]])
    child.begin(settings, kill_at, kill_on)
    if SAYS not in kill_at:  # what is edited and put beside is told first
        until(lambda: any(what(m) == "questions" for m in told(slack)), 60)
        grow(home, STORY[ASKED:])
    assert child.end(told=False) == -signal.SIGKILL, (home / "out").read_text()
    if SAYS in kill_at:
        grow(home, STORY[ASKED:])
    child.begin(settings)
    until(lambda: finished(home), 90)
    assert child.end() == 0, (home / "out").read_text()
    messages = told(slack)
    cards = [m for m in messages if what(m) == "card"]
    thread = words([m for m in messages if m["thread_ts"] and m["thread_ts"] != m["ts"]])
    assert len(cards) == 1
    assert ":white_check_mark: closed" in words(cards)
    assert {text: thread.count(text) for text in ONCE} == dict.fromkeys(ONCE, 1)
    assert '"action_id": "approve"' not in words(messages)
    assert sum(1 for m in messages if m["files"]) == 1, "the timeline and the manifest, together and once"


def deliver(slack: Slack, url: str, payload: dict[str, Any]) -> requests.Response | None:
    room: Any = SimpleNamespace(word="/bulkhead")
    work = Workspace(slack=slack, house=room, room=room, door=f"{url}/slack/events")
    try:
        return work.send(payload)
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        return None  # it died before the answer had begun, or in the midst of it


def settled(home: Path) -> bool:
    with sqlite3.connect(home / "bulkhead.db") as db:
        return not db.execute("SELECT 1 FROM slack_delivery WHERE state = 'landed'").fetchall()
