"""The door, for every listener that the app has: unsigned, late, replayed, delivered twice, from elsewhere."""

from __future__ import annotations

import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.app import opened
from bot.classroom import PUT
from bot.settings import Settings
from bot.slack import choice_views, quiz_views, written_views
from bot.slack.features import FEATURES
from bot.slack.room import Room
from bot.store_drills import ORDERED, RUNNING, TEAM, Lines, Order, Orders
from tests.incidents import CLOSED, DECIDED, OUTCOME
from tests.learn.test_postmortem import OWNED
from tests.slack import deliveries
from tests.slack.workspace import INCIDENT, PLAN, PLAN_OF_TWO, Workspace, asked, moved_in
from tests.slack_range import Slack

QUESTION = {"before": {"text": "Well?"}, "breaks": {"unknown": False, "stops": []}, "kills": None, "uses": "people.ask"}
ASKING = [
    ("deactivate", "asked", asked()), ("tell", "look", QUESTION),
    ("tell", "asked", asked(purpose="answer", plan_hash="f" * 16, group="person", what="Well?")),
    ("two", "asked", asked(needs=2, group="two", plan_hash=PLAN_OF_TWO)),
    ("alone", "break-glass", {"by": "ann", "reason": "nobody was awake", "plan_hash": "3" * 16,
                              "review_by": "2999-01-01T00:00:00.000000Z"}),
]  # fmt: skip
DONE = [*ASKING, ("deactivate", "decided", DECIDED), ("deactivate", "outcome", OUTCOME)]


def listeners() -> list[tuple[str, str]]:
    """Every listener of the app, asked of the app itself: a new one is tried here without a word of this file."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), slack_bot_token=SecretStr("xoxb-none"), slack_api="http://127.0.0.1:9/api/")
        with opened(settings, sites={}) as house:
            room = Room(house, FEATURES)
            room.close()
            heard = len(room.app._listeners) + len(room.forms._listeners)
            assert heard == len(room.listeners), "nothing listens past the room"
            return sorted(room.listeners)


# Every listener comes in by one door. `make test` takes these through all that a door must do, `make test-all` all.
SAMPLE = {"approve", "/bulkhead", "report_form", "pm-publish", written_views.WORDS, quiz_views.ASK}
OWN = {"migrate_form"}  # it needs what its own form carries: tests/slack/test_migrate.py sends it in these ways


all_and_a_sample = pytest.mark.parametrize(("kind", "name"), [
    pytest.param(kind, name, marks=[] if name in SAMPLE else [pytest.mark.slow], id=f"{kind}-{name}")
    for kind, name in listeners() if name not in OWN
])  # fmt: skip


def effects(work: Workspace) -> dict[str, Any]:
    """All that a delivery may change, here and in Slack."""
    state = work.slack.range.state
    with state.lock:
        views = {view.id: (view.hash, view.errors) for view in state.views.values()}
        said = sum(len(c.messages) + len(c.whispers) for c in state.channels.values())
    store = work.house.store
    drills = Orders(store).standing(ORDERED, RUNNING)
    with store.connect() as c:
        posts = c.exec_driver_sql("SELECT key, state FROM post ORDER BY key").fetchall()
    return {
        "decisions": [(row.kind, row.by) for row in store.decisions()],
        "events": [(event["kind"], event["step"], event["attempt"]) for event in store.events(INCIDENT)],
        "reports": [row["id"] for row in store.inbox()], "views": views, "said": said,
        "edits": [(edit.field, edit.text) for edit in work.house.postmortems.rows.edits(INCIDENT)],
        "answers": work.house.quiz.rows.answers(),
        "posts": posts, "drills": [(order.drill, order.by) for order in drills],
        "choices": [line.answer for line in Lines(store).of(deliveries.DRILL)],
    }  # fmt: skip


def arranged(work: Workspace, kind: str, name: str) -> dict[str, Any]:
    """An incident that the listener has something to do with, and a true delivery for it."""
    if name.startswith("pm-") or name in (written_views.WORDS, written_views.FOLLOW):
        work.incident(*CLOSED[3:])
        books = work.house.postmortems
        books.edit(INCIDENT, {"durable_fix": "OIDC"}, by="ann", key="k1")
        books.follow(INCIDENT, OWNED, by="ann", key="k2")
    else:
        work.incident(*(DONE if "undo" in name else ASKING))
    if name == choice_views.FORM:
        store, at = work.house.store, "2999-01-01T00:00:00Z"
        Orders(store).order(Order(id=deliveries.DRILL, drill="d", by="slack:U0", at=at, state=RUNNING, mode=TEAM))
        Lines(store).say(deliveries.DRILL, deliveries.PUT, PUT, deliveries.CHOICE)
    return deliveries.of(work, kind, name)


def rest(work: Workspace) -> dict[str, Any]:
    """The effects when nothing is under way any more."""
    work.idle()
    return effects(work)


@all_and_a_sample
def test_delivered_once_it_does_something(work: Workspace, kind: str, name: str) -> None:
    payload = arranged(work, kind, name)
    before = effects(work)
    answer = work.send(payload)
    assert answer.status_code == 200
    assert "in_channel" not in answer.text
    assert rest(work) != before or "response_action" in answer.text, "it does something, or shows it in the form"


@all_and_a_sample
def test_with_a_wrong_signature_or_an_old_timestamp_it_does_nothing(work: Workspace, kind: str, name: str) -> None:
    payload = arranged(work, kind, name)
    before = effects(work)
    body, headers = work.signed(payload)
    cases = [
        (body, headers | {"x-slack-signature": "v0=" + "0" * 64}), (body + b"&x=1", headers),
        work.signed(payload, secret="of another app"), work.signed(payload, at=time.time() - 301),
        work.signed(payload, at=time.time() + 330),
        (body, {k: v for k, v in headers.items() if k != "x-slack-signature"}),
    ]  # fmt: skip
    assert [work.post(*case).status_code for case in cases] == [401] * len(cases)
    assert work.room.deliveries.waiting() == []
    assert effects(work) == before


@all_and_a_sample
def test_replayed_or_delivered_twice_it_does_what_it_does_once(work: Workspace, kind: str, name: str) -> None:
    payload = arranged(work, kind, name)
    request = work.signed(payload)
    assert work.post(*request).status_code == 200
    once = rest(work)
    assert work.post(*request).status_code == 200, "the very same request again"
    again = work.send(payload, at=time.time() + 1, headers={"x-slack-retry-num": "1"})
    assert (again.status_code, again.text) == (200, ""), "the same delivery, signed anew"
    assert rest(work) == once


@all_and_a_sample
def test_delivered_many_times_at_once_it_does_what_it_does_once(work: Workspace, kind: str, name: str) -> None:
    payload = arranged(work, kind, name)
    before = effects(work)
    requests = [work.signed(payload, at=time.time() - n) for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert {answer.status_code for answer in pool.map(lambda one: work.post(*one), requests)} == {200}
    after = rest(work)
    assert after["said"] - before["said"] <= 1
    for what in ("decisions", "events", "reports"):
        assert len(after[what]) - len(before[what]) <= 1
        assert len(after[what]) == len(set(after[what]))


@all_and_a_sample
def test_from_somebody_of_another_company_it_does_nothing_and_says_so(work: Workspace, kind: str, name: str) -> None:
    payload = arranged(work, kind, name)
    vendor = work.slack.range.state.vendor
    if kind == "command":
        payload["team_id"] = vendor
    elif kind == "event":
        payload["event"]["user_team"] = vendor
    else:
        payload["user"]["team_id"] = vendor
    before = effects(work)
    answer = work.send(payload)
    assert answer.status_code == 200
    if kind == "command":
        said = json.loads(answer.text)
        assert said["response_type"] == "ephemeral"
        assert "Nothing was noted" in said["text"]
    after = rest(work)
    assert {k: v for k, v in after.items() if k != "said"} == {k: v for k, v in before.items() if k != "said"}
    assert work.house.store.decisions() == []


# what is not a listener's ---------------------------------------------------------------------------------------------


def test_junk_is_refused_before_anybody_reads_it(work: Workspace) -> None:
    body, headers = work.signed(work.button("alice", "approve", {}))
    stamp, signature = "x-slack-request-timestamp", "x-slack-signature"
    for changed in (
        {stamp: "now"}, {stamp: ""}, {stamp: "-1"}, {stamp: "9" * 30}, {stamp: "1e9"}, {signature: "v0=\xe9"},
        {signature: ""}, {signature: "v1=" + "0" * 64},
    ):  # fmt: skip
        assert work.post(body, headers | changed).status_code == 401
    assert work.slack.http.get(work.door, timeout=10).status_code == 405
    for raw, kind in ((b"\xff\xfe", "application/json"), (b"[1]", "application/json"), (b"payload=%7B", "text/plain")):
        signed = sign_raw(work, raw)
        assert work.post(raw, signed | {"content-type": kind}).status_code in (400, 401)
    assert work.post(b"x" * 1_000_001, sign_raw(work, b"")).status_code == 413


def sign_raw(work: Workspace, raw: bytes) -> dict[str, str]:
    from bot.range.slack.deliver import sign

    stamp = str(int(time.time()))
    secret = work.slack.cast["signing_secret"]
    return {"x-slack-request-timestamp": stamp, "x-slack-signature": sign(secret, stamp, raw)}


def test_slack_is_answered_its_challenge_and_its_check(work: Workspace) -> None:
    answer = work.send({"type": "url_verification", "challenge": "3eZbrw1aB"}, form=False)
    assert json.loads(answer.text) == {"challenge": "3eZbrw1aB"}
    raw = b"ssl_check=1&token=x"
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert work.post(raw, sign_raw(work, raw) | kind).status_code == 200


def test_what_nobody_listens_to_is_answered_and_not_kept(work: Workspace) -> None:
    for payload in (
        work.button("alice", "a-link", {}), deliveries.of(work, "event", "channel_rename"),
        deliveries.of(work, "shortcut", "unknown"), {"type": "block_suggestion", "action_id": "x"} | team(work),
        {"type": "something_new"} | team(work),
    ):  # fmt: skip
        answer = work.send(payload, form=payload.get("type") != "event_callback")
        assert (answer.status_code, answer.text) == (200, "")
    assert work.room.deliveries.waiting() == []


def team(work: Workspace) -> dict[str, Any]:
    return {"team": {"id": work.slack.range.state.team}, "user": {"id": "U1"}}


def test_another_app_of_the_same_workspace_is_refused(slack: Slack, tmp_path: Path) -> None:
    with moved_in(slack, tmp_path, slack_app_id=slack.range.state.app.id) as work:
        work.incident(*ASKING)
        value = {"i": INCIDENT, "s": "deactivate", "p": PLAN}
        work.send(work.button("alice", "approve", value) | {"api_app_id": "A0THER"})
        assert work.house.store.decisions() == []
        work.click("alice", "approve", value)
        assert len(work.house.store.decisions()) == 1


def test_without_a_signing_secret_there_is_no_door(slack: Slack, tmp_path: Path) -> None:
    with moved_in(slack, tmp_path, slack_signing_secret=SecretStr("")) as work:
        assert work.send(work.button("alice", "approve", {})).status_code == 404


def test_the_workspaces_that_are_let_in_can_be_named(slack: Slack, tmp_path: Path) -> None:
    with moved_in(slack, tmp_path, slack_team="T0ELSEWHERE") as work:
        work.incident(*ASKING)
        work.click("alice", "approve", {"i": INCIDENT, "s": "deactivate", "p": PLAN})
        assert work.house.store.decisions() == []


def test_a_database_that_is_away_is_said_and_nothing_is_acknowledged(work: Workspace) -> None:
    work.incident(*ASKING)
    payload = work.button("alice", "approve", {"i": INCIDENT, "s": "deactivate", "p": PLAN})
    work.room.workspaces()
    with work.house.store.begin() as c:
        c.exec_driver_sql("ALTER TABLE slack_delivery RENAME TO away")
    assert work.send(payload).status_code == 503
    with work.house.store.begin() as c:
        c.exec_driver_sql("ALTER TABLE away RENAME TO slack_delivery")
    assert work.send(payload).status_code == 200, "sent again it lands"
    work.idle()
    assert len(work.house.store.decisions()) == 1
