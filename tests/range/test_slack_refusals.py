"""The range's Slack: what it refuses beside what the other tests show, one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from slack_sdk import WebClient

from bot.range.slack.chat import MAX_SCHEDULED
from bot.range.slack.files import MAX_BYTES
from bot.range.slack.marks import MAX_BOOKMARKS, MAX_PINS
from tests.slack_range import App, Slack, error

Asked = Callable[[Slack], dict[str, Any]]


def named(channel: str, **more: Any) -> Asked:
    return lambda slack: {"channel": slack.channel(channel)} | more


@pytest.mark.parametrize(
    ("method", "asked", "said"),
    [
        ("conversations.kick", lambda s: {"channel": s.channel("incidents"), "user": s.cast["bot_user"]},
         "cant_kick_self"),
        ("conversations.invite", named("incidents", users=[]), "no_user"),
        ("conversations.open", lambda _: {}, "users_list_not_supplied"),
        ("conversations.open", lambda s: {"users": [s.user("alice"), s.user("bob")]},
         "method_not_supported_for_channel_type"),
        ("conversations.list", lambda _: {"limit": 1001}, "invalid_limit"),
        ("conversations.history", named("incidents", oldest="yesterday"), "invalid_ts_oldest"),
        ("chat.postMessage", named("incidents", text="x", attachments=[{"text": "y"}]), "invalid_attachments"),
        ("chat.postMessage", named("incidents", text=True), "invalid_arguments"),
        ("conversations.create", lambda _: {"name": "x", "is_private": "often"}, "invalid_arguments"),
        ("files.getUploadURLExternal", lambda _: {"filename": "a", "length": MAX_BYTES + 1},
         "file_upload_size_restricted"),
        ("files.getUploadURLExternal", lambda _: {"filename": "a", "length": "long"}, "invalid_arguments"),
        ("files.completeUploadExternal", lambda _: {"files": "[]"}, "invalid_arguments"),
        ("views.open", lambda _: {"trigger_id": "1"}, "invalid_arguments"),
        ("views.update", lambda _: {"view": {"type": "modal"}}, "invalid_arguments"),
    ],
)  # fmt: skip
def test_a_call_that_is_refused(slack: Slack, bot: WebClient, method: str, asked: Asked, said: str) -> None:
    assert error(bot.api_call, api_method=method, json=asked(slack)) == said


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("application/json", b"{", "invalid_json"),
        ("application/json; charset=utf-8", b"[1]", "json_not_object"),
        ("application/x-www-form-urlencoded", b"text=\xff", "invalid_form_data"),
        ("text/plain", b"x", "invalid_post_type"),
    ],
)
def test_a_body_that_cannot_be_read(slack: Slack, kind: str, body: bytes, said: str) -> None:
    headers = {"content-type": kind, "authorization": f"Bearer {slack.cast['bot_token']}"}

    assert slack.http.post(f"{slack.url}/api/chat.postMessage", data=body, headers=headers).json()["error"] == said


def test_a_form_and_json_say_the_same_and_the_token_may_stand_in_either(slack: Slack) -> None:
    url, incidents, token = f"{slack.url}/api/chat.postMessage", slack.channel("incidents"), slack.cast["bot_token"]
    section = '[{"type": "section", "text": {"type": "plain_text", "text": "x"}}]'
    form = {"token": token, "channel": incidents, "text": "form", "blocks": section}

    assert slack.http.post(url, data=form).json()["ok"]
    assert slack.http.post(url, json={"token": token, "channel": incidents, "text": "json"}).json()["ok"]
    assert [(m["text"], len(m.get("blocks", []))) for m in slack.messages("bob", "incidents")] == [
        ("form", 1), ("json", 0)
    ]  # fmt: skip


def test_the_general_channel_is_for_everybody(slack: Slack, bot: WebClient) -> None:
    general = slack.channel("general")
    bot.conversations_join(channel=general)

    assert error(bot.conversations_archive, channel=general) == "cant_archive_general"
    assert error(bot.conversations_kick, channel=general, user=slack.user("bob")) == "cant_kick_from_general"


def test_a_direct_message_is_no_channel(slack: Slack, bot: WebClient) -> None:
    opened = bot.conversations_open(users=slack.user("bob"))["channel"]["id"]

    for act in (bot.conversations_archive, bot.conversations_join):
        assert error(act, channel=opened) == "method_not_supported_for_channel_type"
    assert error(bot.conversations_invite, channel=opened, users=slack.user("alice")) == (
        "method_not_supported_for_channel_type"
    )


def test_a_file_goes_to_one_place(slack: Slack, bot: WebClient) -> None:
    asked = bot.files_getUploadURLExternal(filename="a", length=1)
    slack.http.post(asked["upload_url"], data=b"x")
    places = f"{slack.channel('incidents')},{slack.channel('shared-with-vendor')}"

    assert error(bot.files_completeUploadExternal, files=[{"id": asked["file_id"]}], channels=places) == (
        "channels_limit_exceeded"
    )
    assert slack.http.post(f"{slack.url}/upload/v1/guessed", data=b"x").text == "invalid_upload_url"


def test_a_channel_holds_so_many_pins_and_bookmarks(slack: Slack, bot: WebClient) -> None:
    state, incidents = slack.range.state, slack.channel("incidents")
    channel = state.channels[incidents]
    channel.pins = [state.post(channel, slack.user("bob"), "x").ts for _ in range(MAX_PINS - 1)]
    first, second = (bot.chat_postMessage(channel=incidents, text="x")["ts"] for _ in range(2))
    bot.pins_add(channel=incidents, timestamp=first)
    link = {"channel_id": incidents, "title": "x", "type": "link", "link": "https://b.example"}
    channel.bookmarks = [{"id": str(n)} for n in range(MAX_BOOKMARKS - 1)]
    bot.bookmarks_add(**link)

    assert error(bot.pins_add, channel=incidents, timestamp=second) == "too_many_pins"
    assert error(bot.bookmarks_add, **link) == "too_many_bookmarks"


def test_so_many_messages_are_scheduled_for_one_moment(slack: Slack, bot: WebClient) -> None:
    soon = {"channel": slack.channel("incidents"), "post_at": int(slack.clock.time() + 3600), "text": "x"}
    for _ in range(MAX_SCHEDULED):
        bot.chat_scheduleMessage(**soon)

    assert error(bot.chat_scheduleMessage, **soon) == "restricted_too_many"
    assert error(bot.chat_scheduleMessage, **soon | {"post_at": soon["post_at"] + 600}) == ""


def test_a_token_is_exchanged_by_its_code_only(slack: Slack) -> None:
    ids = {"client_id": slack.cast["client_id"], "client_secret": slack.cast["client_secret"]}

    assert error(slack.client("").openid_connect_token, **ids, grant_type="refresh_token") == "invalid_grant_type"


def test_a_response_url_that_was_never_given(slack: Slack) -> None:
    url = f"{slack.url}/respond/{slack.cast['team_id']}/guessed"

    assert slack.http.post(url, json={"text": "x"}).json()["error"] == "no_active_hooks"
    assert slack.http.post(url, data=b"{").text == "invalid_payload"


def test_what_nobody_does(slack: Slack, app: App, bot: WebClient) -> None:
    slack.hand("alice", "command", channel="incidents", text="/bulkhead x")
    view = {"type": "modal", "title": {"type": "plain_text", "text": "x"}, "blocks": [{"type": "divider"}]}
    bot.views_open(trigger_id=app.last["trigger_id"], view=view)

    assert slack.hand("alice", "submit", status=400)["error"] == "no_submit"
    assert slack.hand("alice", "teleport", status=404)["error"] == "unknown_act"
    assert slack.hand("bulkhead", "home", status=400)["error"] == "user_not_found", "the app has no hands"
    assert slack.hand("mallory", "home", status=400)["error"] == "user_not_visible"
    assert slack.hand("mallory", "shortcut", status=400, callback_id="report_leak")["error"] == "unknown_shortcut"
