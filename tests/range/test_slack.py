"""The range's Slack, asked by slack_sdk's own client: it answers as Slack does, and refuses what Slack refuses."""

from __future__ import annotations

from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from tests.slack_range import Slack, error, refusal

NOBODY = "U0NOBODY000"
LONG = [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3000}}] * 5

# tokens and scopes -------------------------------------------------------------------------------------------------


def test_the_bot_knows_who_it_is(slack: Slack, bot: WebClient) -> None:
    said = bot.auth_test()

    assert (said["user_id"], said["team_id"]) == (slack.cast["bot_user"], slack.cast["team_id"])
    assert "chat:write" in said.headers["x-oauth-scopes"].split(",")


@pytest.mark.parametrize(("token", "said"), [("", "not_authed"), ("xoxb-1-2-no", "invalid_auth")])
def test_a_token_that_is_not_known_is_refused(slack: Slack, token: str, said: str) -> None:
    assert error(slack.client(token).auth_test) == said


def test_a_revoked_token_is_refused(slack: Slack, bot: WebClient) -> None:
    slack.range.state.tokens[slack.cast["bot_token"]].revoked = True

    assert error(bot.auth_test) == "token_revoked"


def test_an_app_level_token_posts_nothing_and_a_bot_opens_no_socket(slack: Slack, bot: WebClient) -> None:
    app = slack.client(slack.cast["app_token"])

    assert error(app.chat_postMessage, channel=slack.channel("incidents"), text="x") == "not_allowed_token_type"
    assert error(bot.apps_connections_open, app_token=slack.cast["bot_token"]) == "not_allowed_token_type"
    assert str(app.apps_connections_open(app_token=slack.cast["app_token"])["url"]).startswith("ws://127.0.0.1:")


def test_a_missing_scope_is_named_with_those_that_there_are(slack: Slack, bot: WebClient) -> None:
    slack.range.install({"scopes": ["users:read", "chat:write"]})
    refused = refusal(bot.conversations_history, channel=slack.channel("incidents"))

    assert refused is not None
    assert refused["error"] == "missing_scope"
    assert "channels:history" in refused["needed"]
    assert refused["provided"] == "chat:write,users:read"
    assert refused.headers["x-oauth-scopes"] == "chat:write,users:read"
    assert "channels:history" in refused.headers["x-accepted-oauth-scopes"]


def test_the_scope_is_that_of_the_kind_of_channel(slack: Slack, bot: WebClient) -> None:
    made = bot.conversations_create(name="inc-1", is_private=True)["channel"]["id"]
    slack.range.install({"scopes": ["channels:read", "channels:history", "channels:manage"]})
    refused = refusal(bot.conversations_info, channel=made)

    assert refused is not None
    assert (refused["error"], refused["needed"]) == ("missing_scope", "groups:read")
    assert error(bot.conversations_create, name="inc-2", is_private=True) == "missing_scope"
    assert error(bot.conversations_create, name="inc-2") == ""


def test_a_method_that_there_is_not(bot: WebClient) -> None:
    assert error(bot.api_call, api_method="chat.shout") == "unknown_method"


def test_a_missing_argument_is_named(bot: WebClient) -> None:
    refused = refusal(bot.api_call, api_method="chat.postMessage", json={"text": "x"})

    assert refused is not None
    assert refused["error"] == "invalid_arguments"
    assert refused["response_metadata"]["messages"] == ["[ERROR] missing required field: channel"]


# rate limits -------------------------------------------------------------------------------------------------------


def test_a_channel_takes_one_message_a_second(slack: Slack, bot: WebClient) -> None:
    state, now = slack.range.state, [100.0]
    state.limits.on, state.limits.now = True, lambda: now[0]
    incidents, shared = slack.channel("incidents"), slack.channel("shared-with-vendor")
    bot.chat_postMessage(channel=incidents, text="one")
    now[0] += 0.9
    refused = refusal(bot.chat_postMessage, channel=incidents, text="two")

    assert refused is not None
    assert (refused.status_code, refused["error"]) == (429, "ratelimited")
    assert refused.headers["retry-after"] == "1"
    assert error(bot.chat_postMessage, channel=shared, text="elsewhere") == ""
    now[0] += 0.1
    assert error(bot.chat_postMessage, channel=incidents, text="two") == ""
    assert [m["text"] for m in slack.messages("alice", "incidents")] == ["one", "two"]


def test_the_log_of_requests_says_what_was_refused(slack: Slack, bot: WebClient) -> None:
    error(bot.chat_postMessage, channel="C0NOWHERE00", text="x")

    assert slack.switchboard.requests()[-1]["detail"] == "channel_not_found"


def test_a_method_of_tier_two_takes_twenty_calls_a_minute(slack: Slack, bot: WebClient) -> None:
    state, now = slack.range.state, [100.0]
    state.limits.on, state.limits.now = True, lambda: now[0]
    group = slack.cast["groups"]["approvers"]
    for _ in range(20):
        now[0] += 1
        bot.usergroups_users_list(usergroup=group)
    refused = refusal(bot.usergroups_users_list, usergroup=group)

    assert refused is not None
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "41")
    assert error(bot.users_info, user=slack.user("alice")) == "", "each method has its own"
    now[0] += 41
    assert error(bot.usergroups_users_list, usergroup=group) == ""


# messages ----------------------------------------------------------------------------------------------------------


def test_what_is_posted_is_seen_by_members_and_not_by_outsiders(slack: Slack, bot: WebClient) -> None:
    posted = bot.chat_postMessage(channel=slack.channel("incidents"), text="a leak")

    assert [m["ts"] for m in slack.messages("jonas", "incidents")] == [posted["ts"]]
    assert {c["name"] for c in slack.look("mallory")["channels"]} == {"shared-with-vendor"}
    assert "incidents" not in {c["name"] for c in slack.look("ines")["channels"]}, "a guest sees its channels only"


@pytest.mark.parametrize(
    ("channel", "said"),
    [("C0NOWHERE00", "channel_not_found"), ("leads-only", "channel_not_found"), ("general", "not_in_channel")],
)
def test_the_bot_posts_only_where_it_is(slack: Slack, bot: WebClient, channel: str, said: str) -> None:
    where = slack.cast["channels"].get(channel, channel)

    assert error(bot.chat_postMessage, channel=where, text="x") == said


def test_another_name_than_its_own_needs_a_scope(slack: Slack, bot: WebClient) -> None:
    post, incidents = bot.chat_postMessage, slack.channel("incidents")

    assert error(post, channel=incidents, text="x", username="Security") == "missing_scope"
    slack.range.install({"scopes": ["chat:write", "chat:write.customize"]})
    assert error(post, channel=incidents, text="x", username="Security") == ""


def test_an_archived_channel_takes_nothing(slack: Slack, bot: WebClient) -> None:
    made = bot.conversations_create(name="inc-1")["channel"]["id"]
    bot.conversations_archive(channel=made)

    assert error(bot.chat_postMessage, channel=made, text="x") == "is_archived"
    assert error(bot.conversations_archive, channel=made) == "already_archived"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"text": "x", "blocks": "[{"}, "invalid_blocks_format"),
        ({"text": "x", "blocks": '{"type": "divider"}'}, "invalid_blocks_format"),
        ({"text": "x", "blocks": [{"type": "marquee"}]}, "invalid_blocks"),
        ({"text": "x", "blocks": LONG}, "msg_blocks_too_long"),
        ({"text": "x", "metadata": {"event_type": "a"}}, "invalid_metadata_format"),
        ({"text": "x", "metadata": {"event_type": "", "event_payload": {}}}, "invalid_metadata_format"),
        ({"text": "x", "metadata": {"event_type": "a", "event_payload": {"x": "y" * 17_000}}}, "metadata_too_large"),
        ({"text": "x", "thread_ts": "1.000001"}, "thread_not_found"),
        ({"text": "x", "thread_ts": "inc-1"}, "invalid_thread_ts"),
    ],
)
def test_a_message_that_cannot_be_posted(slack: Slack, bot: WebClient, params: dict[str, Any], said: str) -> None:
    # not by chat_postMessage: the client itself warns where there is no text
    said_so = error(bot.api_call, api_method="chat.postMessage", json={"channel": slack.channel("incidents")} | params)

    assert said_so == said
    assert slack.messages("alice", "incidents") == []


def test_wrong_blocks_are_told_with_their_place(slack: Slack, bot: WebClient) -> None:
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}
    refused = refusal(bot.chat_postMessage, channel=slack.channel("incidents"), text="x", blocks=[section])

    assert refused is not None
    assert refused["response_metadata"]["messages"] == [
        "[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text/text]"
    ]


def test_a_message_is_edited_and_deleted_by_its_own_app_only(slack: Slack, bot: WebClient) -> None:
    incidents = slack.channel("incidents")
    own = bot.chat_postMessage(channel=incidents, text="one", blocks=[{"type": "divider"}])["ts"]
    theirs = slack.hand("alice", "message", channel="incidents", text="mine")["ts"]
    bot.chat_update(channel=incidents, ts=own, text="two", blocks=[{"type": "divider"}] * 2)

    assert [(m["text"], len(m.get("blocks", [])), "edited" in m) for m in slack.messages("bob", "incidents")] == [
        ("two", 2, False), ("mine", 0, False)
    ]  # fmt: skip
    bot.chat_update(channel=incidents, ts=own, text="three")
    shown = slack.messages("bob", "incidents")[0]
    assert ("blocks" in shown, "edited" in shown) == (False, True), "a text alone takes the blocks away"
    assert error(bot.chat_update, channel=incidents, ts=theirs, text="no") == "cant_update_message"
    assert error(bot.chat_delete, channel=incidents, ts=theirs) == "cant_delete_message"
    assert error(bot.chat_update, channel=incidents, ts="1.000001", text="no") == "message_not_found"
    assert error(bot.api_call, api_method="chat.update", json={"channel": incidents, "ts": own}) == "no_text"
    bot.chat_delete(channel=incidents, ts=own)
    assert [m["text"] for m in slack.messages("bob", "incidents")] == ["mine"]


def test_metadata_stays_unless_it_is_taken_away(slack: Slack, bot: WebClient) -> None:
    incidents, meta = slack.channel("incidents"), {"event_type": "card", "event_payload": {"i": "inc-1"}}
    ts = bot.chat_postMessage(channel=incidents, text="one", metadata=meta)["ts"]

    assert bot.chat_update(channel=incidents, ts=ts, text="two")["message"]["metadata"] == meta
    assert "metadata" not in bot.chat_update(channel=incidents, ts=ts, text="three", metadata={})["message"]


def test_a_deleted_reply_is_counted_no_more_and_a_deleted_root_leaves_its_thread(slack: Slack, bot: WebClient) -> None:
    incidents = slack.channel("incidents")
    card = bot.chat_postMessage(channel=incidents, text="card")["ts"]
    replies = [bot.chat_postMessage(channel=incidents, text=str(n), thread_ts=card)["ts"] for n in range(3)]
    bot.chat_delete(channel=incidents, ts=replies[1])
    bot.chat_delete(channel=incidents, ts=card)
    thread = bot.conversations_replies(channel=incidents, ts=card)["messages"]

    assert [(m["text"], m.get("subtype")) for m in thread] == [
        ("This message was deleted.", "tombstone"), ("0", None), ("2", None)
    ]  # fmt: skip
    assert thread[0]["reply_count"] == 2
    assert error(bot.chat_update, channel=incidents, ts=card, text="back") == "cant_update_message"


def test_an_ephemeral_message_is_for_one_person_and_cannot_be_edited(slack: Slack, bot: WebClient) -> None:
    incidents, jonas = slack.channel("incidents"), slack.user("jonas")
    ts = bot.chat_postEphemeral(channel=incidents, user=jonas, text="only you")["message_ts"]

    assert [m["ephemeral"] for m in slack.messages("jonas", "incidents")] == [True]
    assert slack.messages("alice", "incidents") == []
    assert bot.conversations_history(channel=incidents)["messages"] == []
    assert error(bot.chat_update, channel=incidents, ts=ts, text="no") == "message_not_found"
    mallory = slack.user("mallory")
    assert error(bot.chat_postEphemeral, channel=incidents, user=mallory, text="x") == "user_not_in_channel"


def test_threads_and_history(slack: Slack, bot: WebClient) -> None:
    incidents = slack.channel("incidents")
    meta = {"event_type": "card", "event_payload": {"i": "inc-1"}}
    card = bot.chat_postMessage(channel=incidents, text="card", metadata=meta)["ts"]
    reply = bot.chat_postMessage(channel=incidents, text="detail", thread_ts=card)["ts"]
    bot.chat_postMessage(channel=incidents, text="to the thread of a reply", thread_ts=reply)
    plain = bot.conversations_history(channel=incidents)["messages"]

    assert [(m["text"], m["reply_count"], "metadata" in m) for m in plain] == [("card", 2, False)]
    known = bot.conversations_history(channel=incidents, include_all_metadata=True)["messages"]
    assert known[0]["metadata"] == meta
    thread = bot.conversations_replies(channel=incidents, ts=card)["messages"]
    assert [m["text"] for m in thread] == ["card", "detail", "to the thread of a reply"]
    assert error(bot.conversations_replies, channel=incidents, ts="1.000001") == "thread_not_found"


def test_history_comes_in_pages_newest_first(slack: Slack, bot: WebClient) -> None:
    incidents = slack.channel("incidents")
    stamps = [bot.chat_postMessage(channel=incidents, text=str(n))["ts"] for n in range(5)]
    pages = [[m["text"] for m in page["messages"]] for page in bot.conversations_history(channel=incidents, limit=2)]

    assert pages == [["4", "3"], ["2", "1"], ["0"]]
    later = bot.conversations_history(channel=incidents, oldest=stamps[2])["messages"]
    assert [m["text"] for m in later] == ["4", "3"]
    first = bot.conversations_history(channel=incidents, latest=stamps[1], inclusive=True)["messages"]
    assert [m["text"] for m in first] == ["1", "0"]
    assert error(bot.conversations_history, channel=incidents, cursor="?") == "invalid_cursor"


def test_a_direct_message(slack: Slack, bot: WebClient) -> None:
    opened = bot.conversations_open(users=slack.user("jonas"))["channel"]["id"]
    posted = bot.chat_postMessage(channel=slack.user("jonas"), text="was this you?")

    assert posted["channel"] == opened
    assert error(bot.conversations_open, users=slack.user("mallory")) == "user_not_visible"
    assert error(bot.conversations_open, users=NOBODY) == "user_not_found"
    assert [c["messages"][0]["text"] for c in slack.look("jonas")["channels"] if c["kind"] == "im"] == ["was this you?"]
    assert [c for c in slack.look("alice")["channels"] if c["kind"] == "im"] == []


# channels and people -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "invalid_name_required"), ("x" * 81, "invalid_name_maxlength"), ("Inc 1", "invalid_name_specials"),
        ("--", "invalid_name_punctuation"), ("incidents", "name_taken"),
    ],
)  # fmt: skip
def test_a_channels_name(bot: WebClient, name: str, said: str) -> None:
    assert error(bot.conversations_create, name=name) == said


def test_a_private_channel_is_for_those_who_are_invited(slack: Slack, bot: WebClient) -> None:
    made = bot.conversations_create(name="inc-7", is_private=True)["channel"]["id"]
    alice, bob = slack.user("alice"), slack.user("bob")
    bot.conversations_invite(channel=made, users=[alice])
    bot.chat_postMessage(channel=made, text="between us")

    assert [m["text"] for m in slack.messages("alice", "inc-7")] == ["between us"]
    assert slack.messages("bob", "inc-7") == []
    invite = bot.conversations_invite
    assert error(invite, channel=made, users=alice) == "already_in_channel"
    assert error(invite, channel=made, users=slack.cast["bot_user"]) == "cant_invite_self"
    assert error(invite, channel=made, users=slack.user("mallory")) == "user_not_found"
    assert error(bot.conversations_kick, channel=made, user=bob) == "not_in_channel"
    bot.conversations_kick(channel=made, user=alice)
    assert slack.messages("alice", "inc-7") == []
    assert error(bot.conversations_setTopic, channel=made, topic="x" * 251) == "too_long"


def test_what_a_channel_says_of_itself(slack: Slack, bot: WebClient) -> None:
    shared = bot.conversations_info(channel=slack.channel("shared-with-vendor"))["channel"]
    members = bot.conversations_members(channel=slack.channel("incidents"))["members"]

    assert (shared["is_ext_shared"], len(shared["shared_team_ids"])) == (True, 2)
    assert slack.user("bob") in members
    assert slack.user("mallory") not in members
    names = {c["name"] for c in bot.conversations_list(types="public_channel,private_channel")["channels"]}
    assert names == {"general", "incidents", "deploys", "shared-with-vendor"}, "a private one is not even listed"
    assert error(bot.conversations_list, types="secret") == "invalid_types"
    bot.conversations_join(channel=slack.channel("deploys"))
    assert error(bot.chat_postMessage, channel="#deploys", text="x") == ""


def test_people_and_groups(slack: Slack, bot: WebClient) -> None:
    alice, mallory, groups = slack.user("alice"), slack.user("mallory"), slack.cast["groups"]

    assert bot.users_info(user=alice)["user"]["profile"]["email"] == "alice@harbor-lights.example"
    stranger = bot.users_info(user=mallory)["user"]
    assert (stranger["is_stranger"], stranger["team_id"]) == (True, slack.cast["vendor_team_id"])
    assert "email" not in stranger["profile"]
    assert mallory not in {u["id"] for u in bot.users_list()["members"]}
    assert bot.users_lookupByEmail(email="bob@harbor-lights.example")["user"]["id"] == slack.user("bob")
    assert error(bot.users_lookupByEmail, email="mallory@dock-supplies.example") == "users_not_found"
    assert error(bot.users_info, user=NOBODY) == "user_not_found"
    assert bot.usergroups_users_list(usergroup=groups["approvers"])["users"] == [alice, slack.user("bob")]
    assert error(bot.usergroups_users_list, usergroup="S0NONE00000") == "no_such_subteam"
    handles = {g["handle"]: g for g in bot.usergroups_list(include_users=True)["usergroups"]}
    assert handles["oncall"]["users"] == [slack.user("carol")]


def test_what_is_compared_after_a_drill_has_no_ids_and_no_times(slack: Slack, bot: WebClient) -> None:
    for name in ("jonas", "mara"):
        bot.chat_postMessage(channel=slack.user(name), text=f"was this you, {name}?")
    bot.chat_postMessage(channel=slack.channel("incidents"), text="card")
    found = slack.range.snapshot()

    assert found["channels"]["@jonas"] == {"members": 2, "messages": ["was this you, jonas?"]}
    assert found["channels"]["@mara"]["messages"] == ["was this you, mara?"]
    assert found["channels"]["incidents"] == {"members": 6, "messages": ["card"]}


# faults ------------------------------------------------------------------------------------------------------------


def test_slack_can_be_down_or_slow(slack: Slack, bot: WebClient) -> None:
    """As with every server of the range; what was lost after it was done was done."""
    incidents = slack.channel("incidents")
    down = {"server": "slack", "route": "/api/chat.*", "status": 503, "times": 1}
    slack.switchboard.add([down, {**down, "after_commit": True, "times": 2}])
    for _ in range(2):
        with pytest.raises(SlackApiError) as caught:
            bot.chat_postMessage(channel=incidents, text="x")
        assert caught.value.response.status_code == 503
    assert len(slack.messages("alice", "incidents")) == 1
    assert error(bot.auth_test) == ""
    rows = [(r["route"], r["status"], r["fault"]) for r in slack.switchboard.requests() if "chat" in r["route"]]
    assert rows == [("/api/chat.postMessage", 503, "503"), ("/api/chat.postMessage", 200, "503 after commit")]
