"""The range's Slack, asked odd things: every call has an answer of Slack's, every act one of the client's."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.range.clock import RangeClock
from bot.range.slack import SlackRange
from bot.range.slack.eyes import Cannot
from bot.range.slack.http import Refusal
from bot.range.switchboard import Switchboard

NAMES = [
    "channel", "channel_id", "user", "users", "user_id", "usergroup", "text", "blocks", "view", "view_id", "hash", "ts",
    "timestamp", "thread_ts", "message_ts", "trigger_id", "external_id", "cursor", "limit", "types", "name", "topic",
    "files", "file", "filename", "length", "channels", "metadata", "post_at", "oldest", "latest", "title", "type",
    "link", "bookmark_id", "manifest", "code", "redirect_uri", "client_id", "client_secret", "is_private", "email",
    "scheduled_message_id", "inclusive", "include_users", "attachments", "initial_comment",
]  # fmt: skip
TEXTS = [
    "", "x", "0", "-1", "1.5", "true", "[]", "{}", "[{}]", "null", "[[", "1.000001", "https://b.example", "link",
    '[{"type": "divider"}]', '{"type": "home", "blocks": []}', "public_channel", "incidents", "a.txt", "é\x00",
]  # fmt: skip


def stocked() -> SlackRange:
    """A workspace in which something is there of everything."""
    slack = SlackRange(RangeClock(), Switchboard(RangeClock()))
    slack.base_url = "http://127.0.0.1:9"
    state = slack.state
    state.limits.on = False
    channel = state.channels[slack.cast["channels"]["incidents"]]
    button = {"type": "button", "action_id": "a", "text": {"type": "plain_text", "text": "x"}}
    element = {"type": "plain_text_input", "action_id": "a"}
    entry = {"type": "input", "block_id": "b", "label": button["text"], "element": element}
    card = state.post(channel, state.app.bot_user, "card", [{"type": "actions", "elements": [button]}], by_app=True)
    state.post(channel, state.app.bot_user, "reply", thread_ts=card.ts, by_app=True)
    body = {"title": button["text"], "submit": button["text"], "blocks": [entry], "type": "modal"}
    view = {"view": body, "trigger_id": state.new_trigger(slack.cast["users"]["alice"]["id"])}
    slack.web.call("views.open", f"Bearer {slack.cast['bot_token']}", view, {})
    return slack


SLACK = stocked()
METHODS = sorted(SLACK.web.methods)
ACTS = sorted(SLACK.hand.acts | SLACK.touch.acts)


def known(slack: SlackRange) -> list[str]:
    """Ids that mean something here."""
    state = slack.state
    stamps = [ts for channel in state.channels.values() for ts in channel.messages]
    return [*state.channels, *state.people, *state.groups, *state.views, *stamps]


odd = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 10**12) | st.floats() | st.sampled_from(TEXTS) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=4,
)
quiet = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("method", METHODS)
def test_every_call_is_answered_or_refused(method: str) -> None:
    kind = SLACK.web.methods[method].kinds
    state, bearer = SLACK.state, SLACK.cast["app_token" if kind == ("app",) else "bot_token"]
    state.tokens[bearer].scopes = tuple({s for m in SLACK.web.methods.values() for s in m.scopes} | {"im:write"})
    said = st.sampled_from(known(SLACK)) | odd

    @quiet
    @given(st.dictionaries(st.sampled_from(NAMES), said, max_size=6), said, said)
    def asked(args: dict[str, Any], channel: Any, other: Any) -> None:
        full = {"channel": channel, "channel_id": channel, "users": other, "ts": other, "timestamp": other} | args
        try:
            answer = SLACK.web.call(method, f"Bearer {bearer}", full, {})
        except Refusal as refusal:
            answer = refusal.body()
        assert isinstance(answer["ok"], bool)

    asked()


@pytest.mark.parametrize("act", ACTS)
def test_every_act_is_done_or_cannot_be(act: str) -> None:
    """The app listens nowhere here, so what reaches it fails as a person would see it."""
    slack = stocked()
    acts = slack.hand.acts | slack.touch.acts
    said = st.sampled_from(known(slack)) | odd
    keys = ["channel", "ts", "thread_ts", "action_id", "block_id", "value", "values", "callback_id", "home", "all",
            "query", "text", "who", "name", "view_id", "confirmed", "tab", "key"]  # fmt: skip
    likely = st.sampled_from(["a", "b", "incidents", "/bulkhead x", "@bob", "#general"])

    @quiet
    @given(st.sampled_from(["alice", "mallory"]), st.dictionaries(st.sampled_from(keys), likely | said, max_size=8))
    def done(user: str, body: dict[str, Any]) -> None:
        person = slack.state.people[slack.cast["users"][user]["id"]]
        with contextlib.suppress(Cannot):
            assert isinstance(acts[act](person, body)["ok"], bool)

    done()
