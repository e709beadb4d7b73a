"""Every payload of cards, threads, homes and forms: by the SDK's models, by the range's strict Slack, and, as a second
opinion, taken by a Slack that nobody here wrote (the npm package ``emulate``, which is laxer, but its own).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slack_sdk import WebClient

from bot.app import rules_cache
from bot.engine.decisions import GLASS
from bot.redact import Fingerprinter
from bot.slack import calls, card, thread
from bot.slack.home import home_view
from bot.slack.owner import owner_question
from bot.slack.picture import Picture
from bot.slack.reports import form
from bot.store import IncidentRow, when
from bot.timeline import Event
from bot.triage.identify import Recognizer
from tests.conftest import made_up_key
from tests.incidents import ASKED, ASKING, CLOSED, CUT, DECIDED, LOOK, OUTCOME, TRIAGE
from tests.slack.strict import check, check_view
from tests.slack.timelines import picture
from tests.slack_range import until

PACKAGE = "emulate@0.8.0"  # @latest is another package, by somebody else
CALLED = calls.Called(groups={"one": frozenset({"S0ONE"})}, people={"mara": "U0MARA"}, oncall=frozenset({"S0CALL"}))
FAILED = {"error": "no answer", "on_failure": "ask", "denied": False}
PERSON = LOOK | {"before": {"who": "mara", "text": "revoke it", "summary": "x", "needed": True, "choices": ["done"],
                            "link": "https://www.npmjs.com/settings"}}  # fmt: skip
BROKEN = {"by": "slack:U0BOB", "reason": "nobody else is awake", "plan_hash": "2" * 16,
          "review_by": "2026-03-02T12:00:00.000000Z"}  # fmt: skip
PLANTS = [{"kind": "access-key", "name": "u", "id": f"id-{k}", "at": "", "event": ""} for k in range(500)]
ORDERED = TRIAGE | {"order": {"repository": "harbor-lights/ferry", "trust": "ours"}}
LAST = "migrate/delete-AWS_SECRET_ACCESS_KEY"
STORIES: dict[str, list[tuple[str, str, Any]]] = {
    "reported": ASKING[:1], "asking": ASKING, "cut": CUT, "closed": CLOSED,
    "two must agree": [*ASKING[:-1], ("deactivate", "asked", ASKED | {"needs": 2, "undo": False})],
    "a person's step": [*ASKING[:3], ("revoke", "look", PERSON), ("revoke", "asked", ASKED | {"purpose": "answer"})],
    "an undo": [*CUT, ("deactivate/undo", "asked", ASKED | {"purpose": "undo"})],
    "a failure": [*ASKING[:-1], ("deactivate", "failed", FAILED),
                  ("deactivate/retry", "asked", ASKED | {"purpose": "failure"})],
    "denied": [*ASKING, ("deactivate", "decided", DECIDED | {"go": False, "said": "denied"})],
    "aborted": [*ASKING, ("incident", "aborted", {"by": "slack:U0ALICE"})],
    "a broken glass": [
        *ASKING[:-1], ("deactivate", "asked", ASKED | {"needs": 2, "group": "two"}),
        ("deactivate", "decided", DECIDED | {"said": GLASS, "by": ["slack:U0BOB"]}), ("deactivate", GLASS, BROKEN),
    ],
    "a last step of an incident that is over": [*CLOSED, (LAST, "look", LOOK), (LAST, "asked", ASKED)],
    "an order": [("incident", "triage", ORDERED) if one[1] == "triage" else one for one in ASKING],
    "a broken glass of an incident that is over": [*CLOSED, ("deactivate", GLASS, BROKEN)],
    "500 planted": [*CUT, ("find", "outcome", OUTCOME | {"plants": PLANTS}),
                    *[(f"planted#{k}", "asked", ASKED) for k in range(500)]],
}  # fmt: skip


def messages(drawn: Picture) -> Iterator[tuple[str, list[dict[str, Any]], str]]:
    """Every message that an incident at this point may lead to: what it is, blocks, text."""
    posting = card.draw(drawn)
    yield "card", posting.blocks, posting.text
    told = 0
    while (piece := thread.next_piece(drawn, told)) is not None:
        told = piece.last
        if (said := thread.draw(drawn, piece, CALLED)) is not None:
            yield f"{piece.kind} {piece.first}", said.blocks, said.text
    if drawn.triage is not None:
        question = owner_question(drawn, "mara", "U0MARA")
        yield "owner", question.blocks, question.text
    for due in calls.reminders(drawn, CALLED, {}):
        yield (
            f"reminder {due.rung}",
            [{"type": "section", "text": {"type": "mrkdwn", "text": due.text, "verbatim": True}}],
            "x",
        )


def views() -> dict[str, dict[str, Any]]:
    """Views that can be drawn without an incident's form being opened."""
    drawn = [picture(story, world=world) for story in STORIES.values() for world in ("real", "range")]
    return {
        "home": home_view("slack:U0ALICE", drawn, lambda _posture: True),
        "empty home": home_view("slack:U0ALICE", [], lambda _posture: False), "report": form("C0INCIDENTS"),
    }  # fmt: skip


@pytest.mark.parametrize("world", ["real", "range"])
@pytest.mark.parametrize("story", STORIES)
def test_every_message_is_valid(story: str, world: str) -> None:
    for name, blocks, text in messages(picture(STORIES[story], hours=30, world=world)):
        check(blocks)
        assert 0 < len(text) <= 300, name


def test_a_last_step_is_asked_in_the_thread_of_an_incident_that_is_over() -> None:
    drawn = picture(STORIES["a last step of an incident that is over"])
    assert drawn.over == "closed"
    (question,) = [blocks for name, blocks, _ in messages(drawn) if name.startswith("questions")]
    assert LAST in str(question)
    assert any(block["type"] == "actions" for block in question)


def test_every_home_is_valid() -> None:
    for name, view in views().items():
        if "home" in name:
            check_view(view)


# a second opinion ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebClient]:
    """A client of the emulated Slack. Skips, with the reason, where there is no Node or the package cannot be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not (node and npm):
        pytest.skip("there is no Node.js here, which the second opinion runs on")
    folder = tmp_path_factory.mktemp("emulate")
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save", PACKAGE]
    env = os.environ | {"npm_config_cache": str(folder / "cache"), "npm_config_update_notifier": "false"}
    try:
        done = subprocess.run(install, cwd=folder, env=env, capture_output=True, text=True, timeout=90, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not fetch {PACKAGE} within 90 s")
    if done.returncode:
        pytest.skip(f"npm could not fetch {PACKAGE}: {done.stderr.strip().splitlines()[-1:]}")
    program = folder / "node_modules" / "emulate"
    assert json.loads((program / "package.json").read_text())["version"] == "0.8.0"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [node, str(program / "dist" / "index.js"), "start", "--service", "slack", "--port", str(port)]
    child = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = WebClient(token="test_token_admin", base_url=f"http://127.0.0.1:{port}/api/", timeout=20)
    client.proxy = None
    try:
        until(lambda: child.poll() is not None or _answers(port), 30)
        if child.poll() is not None:
            pytest.skip(f"{PACKAGE} does not run on this Node.js")
        yield client
    finally:
        child.terminate()
        child.wait(10)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_another_slack_takes_every_message_and_keeps_it_as_it_was_sent(emulated: WebClient) -> None:
    made: Any = emulated.conversations_create(name="incidents")
    channel = made["channel"]["id"]
    for story in STORIES.values():
        for world in ("real", "range"):
            root = ""
            for name, blocks, text in messages(picture(story, hours=30, world=world)):
                sent: Any = emulated.chat_postMessage(channel=channel, blocks=blocks, text=text, thread_ts=root or None)
                assert sent["ok"], name
                assert sent["message"]["blocks"] == blocks, name
                root = root or sent["ts"]
            again: Any = emulated.chat_update(channel=channel, ts=root, blocks=blocks, text=text)
            assert again["ok"]


def test_another_slack_takes_every_view(emulated: WebClient) -> None:
    who: Any = emulated.auth_test()
    for name, view in views().items():
        if "home" in name:
            shown: Any = emulated.views_publish(user_id=who["user_id"], view=view)
        else:
            trigger: Any = emulated.api_call("views.generateTriggerId", json={})
            shown = emulated.views_open(trigger_id=trigger["trigger_id"], view=view)
        assert shown["ok"], name
        assert [block["type"] for block in shown["view"]["blocks"]] == [block["type"] for block in view["blocks"]]


# real timelines ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("drill", ["aws-key-in-public-log", "github-pat-in-image", "npm-token-stolen-by-dependency"])
def test_at_every_moment_of_a_real_drill_what_is_shown_is_valid_and_holds_no_secret(drill: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bot", "drill", "run", drill, "--json", "--home", str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    document = json.loads(done.stdout)
    events = [Event(**event) for event in document["timeline"]]
    opened = events[0].body
    row = IncidentRow(
        id=document["incident"], opened_at=opened["reported_at"], world="range", status="open", title=opened["title"],
        credential_key="", body={"report": opened["report"], "playbook": opened["playbook"]}, head_n=0, head_hash="",
    )  # fmt: skip
    recognizer, seen = Recognizer(Fingerprinter(bytes(32)), rules_cache()), []
    for n in range(1, len(events) + 1):
        drawn = Picture(row=row, events=events[:n], now=when(events[n - 1].at))
        posting = card.draw(drawn)
        check(posting.blocks)
        seen.append(json.dumps(posting.blocks, ensure_ascii=False))
    for name, blocks, _text in messages(Picture(row=row, events=events, now=when(events[-1].at))):
        check(blocks)
        seen.append(json.dumps([name, blocks], ensure_ascii=False))
    key, secret = made_up_key()
    text = "\n".join(dict.fromkeys([*seen, f"AWS_ACCESS_KEY_ID={key}", f"AWS_SECRET_ACCESS_KEY={secret}"]))
    found = {one.id for one in recognizer.find(text) if one.value and one.kind != "generic"}
    assert found == {key}, "it finds the one that the test has put there, and no other"
