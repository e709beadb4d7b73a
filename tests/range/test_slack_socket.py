"""The range's Slack over Socket Mode: slack_sdk's builtin client and Bolt's handler, both unchanged."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from slack_bolt import App as Bolt
from slack_bolt.adapter.socket_mode.builtin import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.socket_mode.builtin import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.slack_range import Slack, actions, button, error, plain, until


class Listener:
    """The SDK's client, which keeps the envelopes and acknowledges them unless it is told not to."""

    def __init__(self, slack: Slack) -> None:
        self.got: list[SocketModeRequest] = []
        self.acks, self.payload = True, None
        self.client = SocketModeClient(
            app_token=slack.cast["app_token"], web_client=WebClient(base_url=f"{slack.url}/api/"), ping_interval=1
        )
        self.client.socket_mode_request_listeners.append(self._listen)
        self.client.connect()
        until(lambda: slack.range.sockets.count)

    def _listen(self, client: Any, request: SocketModeRequest) -> None:
        self.got.append(request)
        if self.acks:
            client.send_socket_mode_response(SocketModeResponse(request.envelope_id, self.payload))


@pytest.fixture
def listener(slack: Slack) -> Iterator[Listener]:
    found = Listener(slack)
    yield found
    found.client.close()
    until(lambda: slack.range.sockets.count == 0)


def test_an_event_a_command_and_a_click_come_in_envelopes(slack: Slack, bot: WebClient, listener: Listener) -> None:
    blocks = [actions(button("ok"))]
    ts = bot.chat_postMessage(channel=slack.channel("incidents"), text="card", blocks=blocks)["ts"]
    slack.hand("alice", "home")
    listener.payload = {"text": "hello"}
    slack.hand("alice", "command", channel="incidents", text="/bulkhead x")
    listener.payload = None
    slack.hand("alice", "click", channel="incidents", ts=ts, action_id="ok")

    assert [(r.type, r.accepts_response_payload) for r in listener.got] == [
        ("events_api", False), ("slash_commands", True), ("interactive", False)
    ]  # fmt: skip
    assert listener.got[1].payload["command"] == "/bulkhead"
    assert [m["text"] for m in slack.messages("alice", "incidents")] == ["card", "hello"]


def test_what_is_not_acknowledged_is_a_timeout_and_an_event_comes_again(slack: Slack, listener: Listener) -> None:
    slack.range.install({"ack_s": 0.3})
    listener.acks = False
    done = slack.hand("alice", "command", channel="incidents", text="/bulkhead x")
    assert done == {"ok": False, "error": "operation_timeout"}

    slack.hand("alice", "home")
    listener.acks = True
    until(lambda: len(listener.got) == 3)
    first, again = listener.got[1:]
    assert (first.retry_attempt, again.retry_attempt, again.retry_reason) == (0, 1, "timeout")
    assert first.payload["event_id"] == again.payload["event_id"]
    assert first.envelope_id != again.envelope_id
    until(lambda: slack.range.outbox.waiting == 0)


def test_without_a_connection_a_command_fails_at_once(slack: Slack) -> None:
    slack.range.install({"socket_mode": True, "request_url": "http://127.0.0.1:9/"})

    assert slack.hand("alice", "command", channel="incidents", text="/bulkhead x")["error"] == "dispatch_failed"


@pytest.mark.parametrize("reason", ["refresh_requested", "warning"])
def test_a_client_comes_back_when_slack_refreshes_or_warns(slack: Slack, listener: Listener, reason: str) -> None:
    before = slack.range.sockets.open
    assert slack.range.disconnect(reason, close=reason != "warning") == {"connections": 1}

    until(lambda: len(slack.range.sockets.open) == 1 and slack.range.sockets.open != before)
    until(lambda: slack.hand("alice", "command", channel="incidents", text="/bulkhead x")["ok"])


def test_a_url_works_once_and_is_not_guessed(slack: Slack) -> None:
    app = slack.client(slack.cast["app_token"])
    url = str(app.apps_connections_open(app_token=slack.cast["app_token"])["url"])
    with connect(url) as socket:
        hello = json.loads(socket.recv())
        assert (hello["type"], hello["num_connections"]) == ("hello", 1)
        assert hello["connection_info"]["app_id"] == slack.cast["app_id"]
        for wrong in (url, url.replace("ticket=", "ticket=x")):
            with pytest.raises(InvalidStatus), connect(wrong):
                pass
    until(lambda: slack.range.sockets.count == 0)


def test_an_app_has_ten_connections_at_most(slack: Slack) -> None:
    app, token = slack.client(slack.cast["app_token"]), slack.cast["app_token"]
    slack.range.state.limits.on = False
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(connect(str(app.apps_connections_open(app_token=token)["url"])))
        until(lambda: slack.range.sockets.count == 10)
        with pytest.raises(InvalidStatus), connect(str(app.apps_connections_open(app_token=token)["url"])):
            pass
    until(lambda: slack.range.sockets.count == 0)


def test_what_is_lost_with_its_connection_fails(slack: Slack) -> None:
    app = slack.client(slack.cast["app_token"])
    done: list[dict[str, Any]] = []
    person = threading.Thread(
        target=lambda: done.append(slack.hand("alice", "command", channel="incidents", text="/bulkhead x"))
    )
    with connect(str(app.apps_connections_open(app_token=slack.cast["app_token"])["url"])) as socket:
        assert json.loads(socket.recv())["type"] == "hello"
        until(lambda: slack.range.sockets.count == 1)
        person.start()
        assert json.loads(socket.recv())["type"] == "slash_commands"
    person.join(20)

    assert done == [{"ok": False, "error": "dispatch_failed"}]


def test_bolts_own_handler_runs_an_app(slack: Slack) -> None:
    """A command opens a modal, its submission is refused once, a button edits its message."""
    bolt = Bolt(client=slack.client(), signing_secret=slack.cast["signing_secret"])

    @bolt.command("/bulkhead")
    def command(ack: Any, body: Any, client: WebClient) -> None:
        ack("Opening")
        label = {"type": "input", "block_id": "b", "label": plain("Key id")}
        view = {
            "type": "modal", "callback_id": "report", "title": plain("Report"), "submit": plain("Send"),
            "blocks": [label | {"element": {"type": "plain_text_input", "action_id": "a"}}],
        }  # fmt: skip
        client.views_open(trigger_id=body["trigger_id"], view=view)

    @bolt.view("report")
    def submitted(ack: Any, view: Any, client: WebClient) -> None:
        if view["state"]["values"]["b"]["a"]["value"] == "no":
            ack(response_action="errors", errors={"b": "No such key"})
            return
        ack()
        blocks = [actions(button("approve"))]
        client.chat_postMessage(channel=slack.channel("incidents"), text="Report", blocks=blocks)

    @bolt.action("approve")
    def approve(ack: Any, body: Any, respond: Any) -> None:
        ack()
        respond(f"Approved by <@{body['user']['id']}>", replace_original=True)

    handler = SocketModeHandler(bolt, slack.cast["app_token"], web_client=WebClient(base_url=f"{slack.url}/api/"))
    handler.connect()
    try:
        until(lambda: slack.range.sockets.count)
        assert slack.hand("jonas", "command", channel="incidents", text="/bulkhead report")["ok"]
        until(lambda: slack.look("jonas")["modals"])
        assert slack.hand("jonas", "submit", values={"b": {"a": "no"}})["errors"] == {"b": "No such key"}
        assert slack.hand("jonas", "submit", values={"b": {"a": "AKIA"}})["ok"]
        [card] = until(lambda: slack.messages("bob", "incidents"))
        assert slack.hand("bob", "click", channel="incidents", ts=card["ts"], action_id="approve")["ok"]
        until(lambda: slack.messages("alice", "incidents")[0]["text"] == f"Approved by <@{slack.user('bob')}>")
        assert [m["text"] for m in slack.messages("jonas", "incidents") if m["ephemeral"]] == ["Opening"]
    finally:
        handler.close()
        until(lambda: slack.range.sockets.count == 0)


def test_only_an_app_level_token_with_its_scope_opens_a_socket(slack: Slack) -> None:
    token = slack.cast["app_token"]
    slack.range.state.tokens[token].scopes = ()

    assert error(slack.client(token).apps_connections_open, app_token=token) == "missing_scope"
