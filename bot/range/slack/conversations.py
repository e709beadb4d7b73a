"""conversations.*: channels, who is in them and what was said."""

from __future__ import annotations

import re
from typing import Any

from bot.range.slack import shapes
from bot.range.slack.http import Call, Method, Refusal
from bot.range.slack.nouns import Channel, Message

MAX_NAME, MAX_TOPIC = 80, 250
_NAME = re.compile(r"[a-z0-9_-]+")
_KINDS = {"public_channel": "public", "private_channel": "private", "im": "im", "mpim": "mpim"}
_READ = ("channels:read", "groups:read", "im:read", "mpim:read")
_HISTORY = ("channels:history", "groups:history", "im:history", "mpim:history")
_MANAGE = ("channels:manage", "groups:write", "im:write", "mpim:write")


def create(call: Call) -> dict[str, Any]:
    state, name, private = call.state, call.word("name", ""), call.flag("is_private")
    call.need("groups:write" if private else "channels:manage")
    if not name:
        raise Refusal("invalid_name_required")
    if len(name) > MAX_NAME:
        raise Refusal("invalid_name_maxlength")
    if not _NAME.fullmatch(name):
        raise Refusal("invalid_name_specials")
    if not any(c.isalnum() for c in name):
        raise Refusal("invalid_name_punctuation")
    if any(c.name == name for c in state.channels.values()):
        raise Refusal("name_taken")
    bot = state.app.bot_user
    found = state.add_channel(name, [bot], kind="private" if private else "public", creator=bot)
    return {"channel": shapes.channel(state, found)}


def invite(call: Call) -> dict[str, Any]:
    channel = _open_channel(call, "manage")
    users = call.words("users")
    errors: list[dict[str, Any]] = []
    if not users:
        raise Refusal("no_user")
    for user in users:
        person = call.state.people.get(user)
        error = ""
        if person is None or person.team_id != call.state.team:
            error = "user_not_found"
        elif user == call.state.app.bot_user:
            error = "cant_invite_self"
        elif user in channel.members:
            error = "already_in_channel"
        if error:
            errors.append({"ok": False, "error": error, "user": user})
    if errors and not (call.flag("force") and len(errors) < len(users)):
        raise Refusal(errors[0]["error"], errors=errors)
    wrong = {row["user"] for row in errors}
    channel.members += [user for user in users if user not in wrong]
    call.state.changed()
    return {"channel": shapes.channel(call.state, channel)}


def kick(call: Call) -> dict[str, Any]:
    channel, user = _open_channel(call, "manage"), call.word("user")
    if channel.is_general:
        raise Refusal("cant_kick_from_general")
    if user == call.state.app.bot_user:
        raise Refusal("cant_kick_self")
    if user not in channel.members:
        raise Refusal("not_in_channel" if user in call.state.people else "user_not_found")
    channel.members.remove(user)
    call.state.changed()
    return {"errors": {}}


def archive(call: Call) -> None:
    channel = call.channel(what="manage")
    _no_dm(channel)
    if channel.is_general:
        raise Refusal("cant_archive_general")
    if channel.archived:
        raise Refusal("already_archived")
    if call.state.app.bot_user not in channel.members:
        raise Refusal("not_in_channel")
    channel.archived = True
    call.state.changed()


def set_topic(call: Call) -> dict[str, Any]:
    channel, topic = _open_channel(call, "manage"), call.word("topic", "")
    if len(topic) > MAX_TOPIC:
        raise Refusal("too_long")
    channel.topic = topic
    call.state.changed()
    return {"channel": shapes.channel(call.state, channel)}


def _open_channel(call: Call, what: str) -> Channel:
    """The channel of a call that changes it: no direct message, not archived, the bot in it."""
    channel = call.channel(what=what)
    _no_dm(channel)
    if channel.archived:
        raise Refusal("is_archived")
    if call.state.app.bot_user not in channel.members:
        raise Refusal("not_in_channel")
    return channel


def _no_dm(channel: Channel) -> None:
    if channel.kind == "im":
        raise Refusal("method_not_supported_for_channel_type")


def info(call: Call) -> dict[str, Any]:
    channel = call.channel(what="read")
    return {"channel": shapes.channel(call.state, channel, members=call.flag("include_num_members"))}


def members(call: Call) -> dict[str, Any]:
    part, meta = call.page(call.channel(what="read").members)
    return {"members": part, **meta}


def listed(call: Call) -> dict[str, Any]:
    wanted = call.word("types", "public_channel").replace(" ", "").split(",")
    if not set(wanted) <= set(_KINDS):
        raise Refusal("invalid_types")
    scopes = {"public": "channels:read", "private": "groups:read", "im": "im:read", "mpim": "mpim:read"}
    for each in wanted:
        call.need(scopes[_KINDS[each]])
    kinds, bot = {_KINDS[each] for each in wanted}, call.state.app.bot_user
    rows = [
        shapes.channel(call.state, c, members=True)
        for c in call.state.channels.values()
        if c.kind in kinds and call.state.sees(bot, c) and not (call.flag("exclude_archived") and c.archived)
    ]
    part, meta = call.page(rows)
    return {"channels": part, **meta}


def join(call: Call) -> dict[str, Any]:
    channel = call.channel()
    if channel.kind != "public":
        raise Refusal("method_not_supported_for_channel_type")
    if channel.archived:
        raise Refusal("is_archived")
    there = call.state.app.bot_user in channel.members
    if not there:
        channel.members.append(call.state.app.bot_user)
        call.state.changed()
    return {"channel": shapes.channel(call.state, channel), **({"warning": "already_in_channel"} if there else {})}


def open_dm(call: Call) -> dict[str, Any]:
    if call.word("channel", ""):
        channel = call.channel()
        return {"channel": {"id": channel.id}, "no_op": True, "already_open": True}
    users = call.words("users") if call.args.get("users") else []
    if not users:
        raise Refusal("users_list_not_supplied")
    if len(users) > 1:
        raise Refusal("method_not_supported_for_channel_type")  # no group messages in the range
    person = call.state.people.get(users[0])
    if person is None:
        raise Refusal("user_not_found")
    if person.team_id != call.state.team:
        raise Refusal("user_not_visible")
    call.need("im:write")
    before = set(call.state.channels)
    channel = call.state.dm(person.id)
    said: dict[str, Any] = {"no_op": True, "already_open": True} if channel.id in before else {}
    shown = shapes.channel(call.state, channel) if call.flag("return_im") else {"id": channel.id}
    return {"channel": shown, **said}


def history(call: Call) -> dict[str, Any]:
    """Newest first; replies stay in their threads, unless they were broadcast."""
    channel = call.channel(what="history", member=True)
    rows = [m for m in channel.messages.values() if not m.thread_ts or m.thread_ts == m.ts or m.broadcast]
    part, meta = call.page(_between(call, rows)[::-1])
    shown = [shapes.message(call.state, m, metadata=call.flag("include_all_metadata")) for m in part]
    return {"messages": shown, "has_more": bool(meta["response_metadata"]["next_cursor"]), "pin_count": 0, **meta}


def replies(call: Call) -> dict[str, Any]:
    """The first message and its replies, oldest first. A reply's own ts finds its thread too."""
    channel = call.channel(what="history", member=True)
    found = channel.messages.get(call.word("ts"))
    if found is None:
        raise Refusal("thread_not_found")
    root = channel.messages.get(found.thread_ts or found.ts, found)
    rows = [root, *_between(call, call.state.replies(channel, root.ts))]
    part, meta = call.page(rows)
    shown = [shapes.message(call.state, m, metadata=call.flag("include_all_metadata")) for m in part]
    return {"messages": shown, "has_more": bool(meta["response_metadata"]["next_cursor"]), **meta}


def _between(call: Call, rows: list[Message]) -> list[Message]:
    oldest, latest = _ts(call, "oldest"), _ts(call, "latest")
    if call.flag("inclusive"):
        return [m for m in rows if (oldest or 0) <= float(m.ts) <= (latest or float(m.ts))]
    return [m for m in rows if (oldest or 0) < float(m.ts) and (not latest or float(m.ts) < latest)]


def _ts(call: Call, name: str) -> float:
    try:
        return float(call.word(name, "0"))
    except ValueError:
        raise Refusal(f"invalid_ts_{name}") from None


METHODS = (
    Method(name="conversations.create", handle=create, scopes=_MANAGE, tier=2),
    Method(name="conversations.invite", handle=invite, scopes=_MANAGE),
    Method(name="conversations.kick", handle=kick, scopes=_MANAGE),
    Method(name="conversations.archive", handle=archive, scopes=_MANAGE, tier=2),
    Method(name="conversations.setTopic", handle=set_topic, scopes=_MANAGE, tier=2),
    Method(name="conversations.info", handle=info, scopes=_READ),
    Method(name="conversations.members", handle=members, scopes=_READ, tier=4),
    Method(name="conversations.list", handle=listed, scopes=_READ, tier=2),
    Method(name="conversations.join", handle=join, scopes=("channels:join",)),
    Method(name="conversations.open", handle=open_dm, scopes=_MANAGE),
    Method(name="conversations.history", handle=history, scopes=_HISTORY),
    Method(name="conversations.replies", handle=replies, scopes=_HISTORY),
)
