"""Socket Mode: the same door; and over both ways in, no library of Slack's writes a body into the log."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.errors import StoreAway
from bot.slack.room import TRIES, TURN_S, due
from bot.store import when
from bot.store_slack import Delivery
from tests.slack import deliveries
from tests.slack.deliveries import SECRET
from tests.slack.test_decisions import submit
from tests.slack.test_door import ASKING
from tests.slack.workspace import INCIDENT, KEY, PLAN, Workspace, moved_in
from tests.slack_range import Slack, until

CANARY = "canary" + "7Kq" * 6  # no secret by its looks: what is searched for is any body at all


@contextmanager
def at_work(work: Workspace) -> Iterator[None]:
    """The room, running as in production."""
    loop = asyncio.new_event_loop()
    running = loop.create_task(work.room.run())

    def drive() -> None:
        loop.run_until_complete(asyncio.gather(running, return_exceptions=True))
        loop.close()

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(running.cancel)
        thread.join(30)
        assert not thread.is_alive()


def test_while_it_is_at_work_threads_take_shorter_turns_and_afterwards_no_more(work: Workspace) -> None:
    usual = sys.getswitchinterval()
    with at_work(work):
        until(lambda: sys.getswitchinterval() == pytest.approx(TURN_S))
    assert sys.getswitchinterval() == usual


def test_a_database_that_goes_away_ends_nothing_that_is_done_for_ever(work: Workspace) -> None:
    began: list[int] = []

    async def job() -> None:
        began.append(1)
        if len(began) == 1:
            raise StoreAway("the database does not answer")
        await asyncio.Event().wait()

    work.room.jobs.append(job)
    with at_work(work):
        until(lambda: len(began) == 2)


@pytest.fixture
def connected(slack: Slack, tmp_path: Path) -> Iterator[Workspace]:
    """Our room, connected; its door over HTTP is shut."""
    more = {"slack_app_token": SecretStr(slack.cast["app_token"]), "slack_signing_secret": SecretStr("")}
    with moved_in(slack, tmp_path, **more) as work:
        slack.range.install({"socket_mode": True, "request_url": ""})
        with at_work(work):
            until(lambda: slack.range.installed()["connections"])
            yield work


def test_commands_clicks_and_forms_come_and_are_answered(connected: Workspace) -> None:
    work = connected
    work.incident(*ASKING)
    assert work.command("alice", "help") == {"ok": True}
    assert "/bulkhead status" in work.whispers("alice")[-1]
    assert work.command("jonas", "report") == {"ok": True}
    submit(work, "jonas")
    assert "I recognise nothing" in work.slack.look("jonas")["modals"][-1]["errors"]["where"]
    submit(work, "jonas", leaked_secret=f"{KEY} {SECRET}")
    assert work.slack.look("jonas")["modals"] == []
    assert len(work.house.store.inbox()) == 1
    assert work.send(work.button("alice", "approve", {})).status_code == 404, "there is no other way in"


def test_an_envelope_that_comes_twice_is_done_once(connected: Workspace) -> None:
    work = connected
    work.incident(*ASKING)
    click = work.button("alice", "approve", {"i": INCIDENT, "s": "deactivate", "p": PLAN})
    for _ in range(3):
        assert work.room.door.socket(dict(click)).status == 200
    work.idle()
    assert len(work.house.store.decisions()) == 1


def test_when_slack_hangs_up_it_connects_again(connected: Workspace) -> None:
    connected.slack.range.disconnect("refresh_requested")
    until(lambda: connected.slack.range.installed()["connections"], 40)
    until(lambda: connected.command("alice", "help") == {"ok": True}, 40)


@pytest.mark.parametrize("name", ["slack_bolt", "slack_sdk", "bulkhead.slack.library", ""])
def test_no_log_at_any_level_has_a_body_over_socket_mode(
    connected: Workspace, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger=name)
    work = connected
    work.command("jonas", f"frobnicate {CANARY} {KEY} {SECRET}")
    work.command("jonas", f"frobnicate {CANARY}")
    work.room.door.socket(deliveries.of(work, "shortcut", "nobody-listens") | {"x": CANARY})
    work.idle()
    until(lambda: len(work.whispers("jonas")) == 2)
    assert CANARY not in ours(caplog)
    assert SECRET not in ours(caplog)


def test_no_log_at_any_level_has_a_body_over_http(work: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """Also where Bolt itself would write it at INFO: a wrong signature, a request that nobody listens to, a fault."""
    caplog.set_level(logging.DEBUG)
    click = work.button("alice", CANARY, {"i": CANARY})
    assert work.send(click, secret="of another app").status_code == 401
    assert work.send(click).status_code == 200
    work.command("jonas", f"note {CANARY}")
    work.room.on("block_actions", "faulty", lambda _heard: 1 / 0)  # type: ignore[arg-type, return-value]
    assert work.send(work.button("alice", "faulty", {"i": CANARY})).status_code == 200
    until(lambda: "a fault of mine (ZeroDivisionError)" in "".join(work.whispers("alice")[-1:]))
    assert [row.tries for row in work.room.deliveries.waiting()] == [1], "it is left for another try"
    assert "a fault in what listens to" in caplog.text
    assert CANARY not in ours(caplog)


def ours(caplog: pytest.LogCaptureFixture) -> str:
    """What was logged by what runs in the room's process; the range and the tests' own client are none of it."""
    theirs = ("uvicorn", "urllib3", "range")
    return "\n".join(r.getMessage() + (r.exc_text or "") for r in caplog.records if not r.name.startswith(theirs))


def test_what_fails_again_and_again_is_given_up_and_said(work: Workspace) -> None:
    tried: list[int] = []

    def faulty(_heard: object) -> None:
        tried.append(1)
        raise ZeroDivisionError

    work.room.on("block_actions", "faulty", faulty)
    work.send(work.button("alice", "faulty", {}))
    until(lambda: work.whispers("alice"))
    until(lambda: not work.room._flying)  # what is under way is not begun beside itself
    for n in range(2, TRIES + 1):
        (row,) = until(work.room.deliveries.waiting)
        assert due(row) > row_landed(row), "each time it waits longer"
        work.room.work_again(row)
        until(lambda n=n: len(tried) == n)
        until(lambda: not work.room._flying)
    work.idle()
    assert len(work.whispers("alice")) == 2, "the first time, and the last"
    assert "I have given up" in work.whispers("alice")[-1]


def row_landed(row: Delivery) -> datetime:
    return when(row.landed_at)
