"""Pieces of Block Kit, within Slack's limits. Pure: text in, blocks as Slack takes them out.

What comes from outside is escaped and is never a link, a mention or a channel (docs.slack.dev/messaging/
formatting-message-text). A text that is too long is cut with an ellipsis, and never inside an entity or a token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

BLOCKS = 50  # a message; a view has twice as many
TEXT, HEADER, BUTTON, VALUE = 3000, 150, 75, 2000
CONFIRM_TITLE, CONFIRM_TEXT, CONFIRM_BUTTON = 100, 300, 30
OPTIONS, OPTION, OPTION_VALUE, PLACEHOLDER = 100, 75, 150, 150
CONTEXT = 10  # elements
ACTIONS = 25  # elements
_HALF = re.compile(r"(?:&[a-z]*|<[^<>]*)\Z")

Block = dict[str, Any]


def plain(text: object) -> str:
    """One line of what somebody else wrote, for a plain_text object."""
    return " ".join(str(text).split())


def escape(text: object) -> str:
    """The same for mrkdwn: it can be no link, mention or channel."""
    return plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def clip(text: str, most: int = TEXT) -> str:
    """At most so many characters."""
    if len(text) <= most:
        return text
    return _HALF.sub("", text[: most - 1]).rstrip() + "…"


def code(text: object, most: int = 300) -> str:
    """In the type of code."""
    return f"`{clip(escape(text).replace('`', chr(0x27)), most)}`" if plain(text) else ""


def link(url: str, words: str) -> str:
    """A link with words of our own. ``url`` is one that was checked: the settings' or a playbook's."""
    address = plain(url).replace("&", "&amp;").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")
    return f"<{address.replace(' ', '%20')}|{escape(words)}>"


def moment(at: datetime) -> str:
    """A time as each reader's own clock shows it."""
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{at:%Y-%m-%d %H:%M} UTC>"


def left(until: datetime, now: datetime) -> str:
    """What is left, so coarse that a card need not be edited every second: 3 d 4 h, 34 h 50 min, 12 min."""
    seconds = (until - now).total_seconds()
    if seconds <= 0:
        return "over"
    minutes = int(seconds // 60)
    if minutes >= 72 * 60:
        return f"{minutes // 1440} d {minutes // 60 % 24} h"
    if minutes >= 120:
        minutes = minutes // 10 * 10
    if not minutes:
        return "under a minute"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _mrkdwn(text: str, most: int) -> Block:
    # verbatim: Slack makes no links, mentions or channels of its own out of it
    return {"type": "mrkdwn", "text": clip(text, most) or "-", "verbatim": True}


def _plain(text: str, most: int) -> Block:
    return {"type": "plain_text", "text": clip(plain(text), most) or "-", "emoji": False}


def header(text: str) -> Block:
    """A title."""
    return {"type": "header", "text": _plain(text, HEADER)}


def section(text: str, accessory: Block | None = None) -> Block:
    """A paragraph of mrkdwn, with a button beside it if need be."""
    block: Block = {"type": "section", "text": _mrkdwn(text, TEXT)}
    return block | {"accessory": accessory} if accessory else block


def sections(lines: list[str]) -> list[Block]:
    """Lines, in as few paragraphs as their length allows."""
    blocks: list[Block] = []
    room: list[str] = []
    for line in (clip(line) for line in lines):
        if room and sum(map(len, room)) + len(room) + len(line) > TEXT:
            blocks.append(section("\n".join(room)))
            room = []
        room.append(line)
    return [*blocks, section("\n".join(room))] if room else blocks


def context(*texts: str) -> Block:
    """Small print."""
    return {"type": "context", "elements": [_mrkdwn(text, TEXT) for text in texts[:CONTEXT]]}


def divider() -> Block:
    """A line."""
    return {"type": "divider"}


def actions(*buttons: Block) -> Block:
    """A row of buttons."""
    return {"type": "actions", "elements": list(buttons[:ACTIONS])}


def confirm(title: str, text: str, yes: str, *, danger: bool = True) -> Block:
    """Asks again before a click counts."""
    block: Block = {
        "title": _plain(title, CONFIRM_TITLE), "text": _plain(text, CONFIRM_TEXT),
        "confirm": _plain(yes, CONFIRM_BUTTON), "deny": _plain("Not yet", CONFIRM_BUTTON),
    }  # fmt: skip
    return block | {"style": "danger"} if danger else block


def button(words: str, action_id: str, value: str, *, style: str = "", ask: Block | None = None) -> Block:
    """A button. ``value`` comes from ``value_of``; ``style`` is primary, danger or none."""
    block: Block = {"type": "button", "text": _plain(words, BUTTON), "action_id": action_id, "value": value}
    if style:
        block["style"] = style
    return block | {"confirm": ask} if ask else block


def select(words: str, action_id: str, choices: dict[str, str]) -> Block | None:
    """A list to choose from, name -> what the choice carries. Without one that fits into it there is none."""
    fit = [(name, value) for name, value in choices.items() if value and len(value) <= OPTION_VALUE][:OPTIONS]
    options = [{"text": _plain(name, OPTION), "value": value} for name, value in fit]
    placed = {"type": "static_select", "action_id": action_id, "placeholder": _plain(words, PLACEHOLDER)}
    return placed | {"options": options} if options else None


def value_of(incident: str, step: str = "", plan: str = "", attempt: int = 0, user: str = "") -> str:
    """What a button carries: ids, nothing else. "" when they are too long for one, and then there is no button."""
    names = {"i": incident, "s": step, "p": plan, "a": attempt, "u": user}
    text = json.dumps({key: value for key, value in names.items() if value}, separators=(",", ":"))
    return text if len(text) <= VALUE else ""


def scrubbed(value: Any, scrub: Callable[[str], str]) -> Any:
    """The same blocks, every text in them scrubbed."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {name: scrubbed(one, scrub) for name, one in value.items()}
    return [scrubbed(one, scrub) for one in value] if isinstance(value, list) else value
