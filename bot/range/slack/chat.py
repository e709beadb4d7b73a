"""chat.*: posting, editing and deleting messages, for one person too, and later."""

from __future__ import annotations

import json
import re
from typing import Any

from bot.range.slack import blocks as block_kit
from bot.range.slack import shapes
from bot.range.slack.http import Call, Method, Refusal
from bot.range.slack.nouns import Blocks, Channel, Message, Scheduled
from bot.range.slack.state import State

MAX_TEXT = 40_000
MAX_METADATA = 16_384  # bytes of event_payload; Slack has a limit and does not say which
MAX_AHEAD_S = 120 * 86_400
MAX_SCHEDULED = 30  # messages in any five minutes of one channel


def content(call: Call, *, needed: bool = True) -> dict[str, Any]:
    """Text, blocks and metadata of a call, checked. Raises Refusal."""
    if call.args.get("attachments") not in (None, "", "[]", []):
        raise Refusal("invalid_attachments")  # legacy; nothing here should send them
    if any(call.word(name, "") for name in ("username", "icon_emoji", "icon_url")):
        call.need("chat:write.customize")
    text, found = call.word("text", ""), blocks_of(call)
    if needed and not text and not found:
        raise Refusal("no_text")
    if len(text) > MAX_TEXT:
        raise Refusal("msg_too_long")
    return {"text": text, "blocks": found, "metadata": _metadata(call)}


def blocks_of(call: Call) -> Blocks:
    found = call.json("blocks", "invalid_blocks_format")
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Refusal("invalid_blocks_format")
    if wrong := block_kit.check_message(found):
        raise invalid_blocks(wrong)
    if block_kit.too_long(found):
        raise Refusal("msg_blocks_too_long")
    return found


def invalid_blocks(wrong: list[str]) -> Refusal:
    said = {"messages": [f"[ERROR] {each}" for each in wrong]}
    return Refusal("invalid_blocks", errors=wrong, response_metadata=said)


def _metadata(call: Call) -> dict[str, Any] | None:
    found = call.json("metadata", "invalid_metadata_format")
    if found is None or found == {}:
        return None
    if not isinstance(found, dict) or set(found) != {"event_type", "event_payload"}:
        raise Refusal("invalid_metadata_format")
    if not isinstance(found["event_type"], str) or not found["event_type"]:
        raise Refusal("invalid_metadata_format")
    if not isinstance(found["event_payload"], dict):
        raise Refusal("invalid_metadata_format")
    if len(json.dumps(found["event_payload"]).encode()) > MAX_METADATA:
        raise Refusal("metadata_too_large")
    return found


def _target(call: Call) -> Channel:
    """Where to post: a channel's id, its #name, or a person's id, which means the direct message with them."""
    word = call.word("channel")
    state = call.state
    if word.startswith("U") and word in state.people:
        if state.people[word].team_id != state.team:
            raise Refusal("channel_not_found")
        return state.dm(word)
    if word.startswith("#"):
        named = [c.id for c in state.channels.values() if c.name == word[1:]]
        call.args["channel"] = named[0] if named else word
    found = call.channel()
    if state.app.bot_user not in found.members and "chat:write.public" not in call.held:
        raise Refusal("not_in_channel")
    if found.archived:
        raise Refusal("is_archived")
    return found


def _thread(call: Call, channel: Channel) -> str:
    """The thread to reply in; a reply to a reply goes to the thread of that one."""
    ts = call.word("thread_ts", "")
    if not ts:
        return ""
    if not re.fullmatch(r"\d{1,10}\.\d{1,6}", ts):
        said = f"[ERROR] {ts} is not a valid thread_ts"
        raise Refusal("invalid_thread_ts", response_metadata={"messages": [said]})
    parent = channel.messages.get(ts)
    if parent is None:
        raise Refusal("thread_not_found")
    return parent.thread_ts or parent.ts


def post_message(call: Call) -> dict[str, Any]:
    channel = _target(call)
    what, thread = content(call), _thread(call, channel)
    if seconds := call.state.limits.post(channel.id):
        raise Refusal("ratelimited", retry_after=seconds)
    broadcast = call.flag("reply_broadcast")
    found = call.state.post(
        channel, call.state.app.bot_user, **what, thread_ts=thread, by_app=True, broadcast=broadcast and bool(thread)
    )
    return {"channel": channel.id, "ts": found.ts, "message": shapes.message(call.state, found, metadata=True)}


def post_ephemeral(call: Call) -> dict[str, Any]:
    channel, user = _target(call), call.word("user")
    if user not in channel.members:
        raise Refusal("user_not_in_channel")
    what, thread = content(call), _thread(call, channel)
    what.pop("metadata")
    found = call.state.post(
        channel, call.state.app.bot_user, **what, thread_ts=thread, by_app=True, only_for=user
    )  # fmt: skip
    return {"message_ts": found.ts}


def update(call: Call) -> dict[str, Any]:
    """Edit a message of the app's own. A text without blocks takes the blocks away; only then it counts as edited.

    Blocks without a text leave an empty fallback, as Slack does.
    """
    channel = call.channel()
    found = call.message(channel)
    if found.user != call.state.app.bot_user or found.subtype:
        raise Refusal("cant_update_message")
    if channel.archived:
        raise Refusal("is_archived")
    what = content(call, needed="metadata" not in call.args)
    if what["text"] or what["blocks"]:
        found.text, found.blocks = what["text"], call.state.named(what["blocks"])
        found.edited = found.edited if what["blocks"] else call.state.new_ts()
    if "metadata" in call.args:  # an empty object takes it away, what is not said stays
        found.metadata = what["metadata"]
    call.state.changed()
    return {
        "channel": channel.id, "ts": found.ts, "text": found.text,
        "message": shapes.message(call.state, found, metadata=True),
    }  # fmt: skip


def delete(call: Call) -> dict[str, Any]:
    channel = call.channel()
    found = call.message(channel)
    if found.user != call.state.app.bot_user:
        raise Refusal("cant_delete_message")
    remove(call.state, channel, found)
    return {"channel": channel.id, "ts": found.ts}


def remove(state: State, channel: Channel, found: Message) -> None:
    """Delete a message. With replies under it a tombstone stays."""
    if state.replies(channel, found.ts):
        found.text, found.blocks, found.subtype = "This message was deleted.", [], "tombstone"
        found.metadata, found.files = None, []
    else:
        del channel.messages[found.ts]
        if found.thread_ts:
            channel.threads[found.thread_ts].remove(found.ts)
    channel.pins = [ts for ts in channel.pins if ts != found.ts]
    state.changed()


def permalink(call: Call) -> dict[str, Any]:
    channel = call.channel()
    found = call.message(channel, "message_ts")
    thread = f"?thread_ts={found.thread_ts}&cid={channel.id}" if found.thread_ts else ""
    number = found.ts.replace(".", "")
    return {"channel": channel.id, "permalink": f"{call.state.base_url}/archives/{channel.id}/p{number}{thread}"}


# later -------------------------------------------------------------------------------------------------------------


def schedule(call: Call) -> dict[str, Any]:
    state, channel = call.state, _target(call)
    what, thread = content(call), _thread(call, channel)
    try:
        post_at = int(call.word("post_at"))
    except ValueError:
        raise Refusal("invalid_time") from None
    if post_at <= state.now():
        raise Refusal("time_in_past")
    if post_at > state.now() + MAX_AHEAD_S:
        raise Refusal("time_too_far")
    near = [s for s in state.scheduled.values() if s.channel == channel.id and s.post_at // 300 == post_at // 300]
    if len(near) >= MAX_SCHEDULED:
        raise Refusal("restricted_too_many")
    made = Scheduled(
        id=state.new_id("Q"), channel=channel.id, post_at=post_at, created=int(state.now()),
        message=what | {"thread_ts": thread},
    )  # fmt: skip
    state.scheduled[made.id] = made
    message = {"text": what["text"], "type": "delayed_message", "bot_id": state.app.bot_id, "user": state.app.bot_user}
    return {"channel": channel.id, "scheduled_message_id": made.id, "post_at": post_at, "message": message}


def unschedule(call: Call) -> None:
    call.channel()
    found = call.state.scheduled.get(call.word("scheduled_message_id"))
    if found is None or found.channel != call.args["channel"] or found.post_at <= call.state.now() + 60:
        raise Refusal("invalid_scheduled_message_id")  # the last minute is too late
    del call.state.scheduled[found.id]


def scheduled(call: Call) -> dict[str, Any]:
    where = call.word("channel", "")
    rows = sorted(call.state.scheduled.values(), key=lambda s: s.post_at)
    shown = [
        {
            "id": s.id, "channel_id": s.channel, "post_at": s.post_at, "date_created": s.created,
            "text": s.message["text"],
        } for s in rows if where in ("", s.channel)
    ]  # fmt: skip
    part, meta = call.page(shown)
    return {"scheduled_messages": part, **meta}


def post_due(state: State) -> None:
    """Post what was scheduled for now or earlier. A channel that went away meanwhile gets nothing."""
    due = sorted((s for s in state.scheduled.values() if s.post_at <= state.now()), key=lambda s: s.post_at)
    for each in due:
        del state.scheduled[each.id]
        channel = state.channels[each.channel]
        if not channel.archived and state.app.bot_user in channel.members:
            state.post(channel, state.app.bot_user, **each.message, by_app=True)


_WRITE = ("chat:write",)
METHODS = (
    Method(name="chat.postMessage", handle=post_message, scopes=_WRITE, tier=0),
    Method(name="chat.postEphemeral", handle=post_ephemeral, scopes=_WRITE, tier=4),
    Method(name="chat.update", handle=update, scopes=_WRITE),
    Method(name="chat.delete", handle=delete, scopes=_WRITE),
    Method(name="chat.getPermalink", handle=permalink, tier=0),
    Method(name="chat.scheduleMessage", handle=schedule, scopes=_WRITE),
    Method(name="chat.deleteScheduledMessage", handle=unschedule, scopes=_WRITE),
    Method(name="chat.scheduledMessages.list", handle=scheduled),
)
