"""pins.*, bookmarks.* and reactions.*: what is hung on a channel or on a message."""

from __future__ import annotations

import re
from typing import Any

from bot.range.slack import shapes
from bot.range.slack.http import Call, Method, Refusal
from bot.range.slack.nouns import Channel, Message

MAX_PINS, MAX_BOOKMARKS = 100, 100
_EMOJI = re.compile(r"[a-z0-9_+'-]+(::skin-tone-[2-6])?")


def _item(call: Call) -> tuple[Channel, Message]:
    channel = call.channel(member=True)
    if not call.word("timestamp", ""):
        raise Refusal("no_item_specified")
    return channel, call.message(channel, "timestamp")


def pin(call: Call) -> None:
    channel, found = _item(call)
    if found.ts in channel.pins:
        raise Refusal("already_pinned")
    if len(channel.pins) >= MAX_PINS:
        raise Refusal("too_many_pins")
    channel.pins.append(found.ts)
    call.state.changed()


def unpin(call: Call) -> None:
    channel, found = _item(call)
    if found.ts not in channel.pins:
        raise Refusal("no_pin")
    channel.pins.remove(found.ts)
    call.state.changed()


def pins(call: Call) -> dict[str, Any]:
    channel = call.channel(member=True)
    rows = [channel.messages[ts] for ts in channel.pins]
    shown = [
        {"type": "message", "channel": channel.id, "message": shapes.message(call.state, m)} for m in rows
    ]  # fmt: skip
    return {"items": shown}


def bookmark(call: Call) -> dict[str, Any]:
    channel, title, kind = call.channel("channel_id", member=True), call.word("title"), call.word("type")
    if kind != "link":
        raise Refusal("invalid_bookmark_type")
    link = _link(call.word("link", ""))
    if len(channel.bookmarks) >= MAX_BOOKMARKS:
        raise Refusal("too_many_bookmarks")
    made = {
        "id": call.state.new_id("Bk"), "channel_id": channel.id, "title": title, "link": link, "type": kind,
        "emoji": call.word("emoji", ""), "app_id": call.state.app.id, "date_created": int(call.state.now()),
    }  # fmt: skip
    channel.bookmarks.append(made)
    call.state.changed()
    return {"bookmark": made}


def _link(link: str) -> str:
    if not re.fullmatch(r"https?://\S+", link):
        raise Refusal("invalid_link")
    return link


def _bookmark(call: Call) -> tuple[Channel, dict[str, Any]]:
    channel, wanted = call.channel("channel_id", member=True), call.word("bookmark_id")
    for found in channel.bookmarks:
        if found["id"] == wanted:
            return channel, found
    raise Refusal("not_found")


def edit_bookmark(call: Call) -> dict[str, Any]:
    _, found = _bookmark(call)
    found["title"] = call.word("title", found["title"])
    found["link"] = _link(call.word("link", found["link"]))
    call.state.changed()
    return {"bookmark": found}


def remove_bookmark(call: Call) -> None:
    channel, found = _bookmark(call)
    channel.bookmarks.remove(found)
    call.state.changed()


def bookmarks(call: Call) -> dict[str, Any]:
    return {"bookmarks": list(call.channel("channel_id", member=True).bookmarks)}


def react(call: Call) -> None:
    name = _emoji(call)
    _, found = _item(call)
    who = found.reactions.setdefault(name, [])
    if call.state.app.bot_user in who:
        raise Refusal("already_reacted")
    who.append(call.state.app.bot_user)
    call.state.changed()


def unreact(call: Call) -> None:
    name = _emoji(call)
    _, found = _item(call)
    if call.state.app.bot_user not in found.reactions.get(name, []):
        raise Refusal("no_reaction")
    found.reactions[name].remove(call.state.app.bot_user)
    if not found.reactions[name]:
        del found.reactions[name]
    call.state.changed()


def _emoji(call: Call) -> str:
    name = call.word("name")
    if not _EMOJI.fullmatch(name):
        raise Refusal("invalid_name")
    return name


METHODS = (
    Method(name="pins.add", handle=pin, scopes=("pins:write",), tier=2),
    Method(name="pins.remove", handle=unpin, scopes=("pins:write",), tier=2),
    Method(name="pins.list", handle=pins, scopes=("pins:read",), tier=2),
    Method(name="bookmarks.add", handle=bookmark, scopes=("bookmarks:write",), tier=2),
    Method(name="bookmarks.edit", handle=edit_bookmark, scopes=("bookmarks:write",), tier=2),
    Method(name="bookmarks.remove", handle=remove_bookmark, scopes=("bookmarks:write",), tier=2),
    Method(name="bookmarks.list", handle=bookmarks, scopes=("bookmarks:read",)),
    Method(name="reactions.add", handle=react, scopes=("reactions:write",)),
    Method(name="reactions.remove", handle=unreact, scopes=("reactions:write",), tier=2),
)
