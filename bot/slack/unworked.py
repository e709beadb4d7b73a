"""A report that could not be worked is told to whoever made it: silence would look like containment."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from bot.errors import ProviderError, RateLimited, Unavailable
from bot.slack import kit
from bot.slack.client import slack_errors
from bot.slack.names import user_of

if TYPE_CHECKING:
    from bot.slack.room import Room

EVERY_S = 2.0
TOLD = "slack:told-unworked:"  # the setting that says that somebody was told
log = logging.getLogger("bulkhead.slack")


def join(room: Room) -> None:
    """Look for such reports as long as the room is open."""
    room.jobs.append(lambda: follow(room))


async def follow(room: Room) -> None:
    """Tell of each, until cancelled."""
    while True:
        await asyncio.to_thread(tell, room)
        await asyncio.sleep(EVERY_S)


def tell(room: Room) -> int:
    """Tell of those that nobody was told of; returns how many. While Slack is away they wait."""
    store, told = room.house.store, 0
    with store.only_one("slack-unworked") as mine:
        for row in store.inbox("dead") if mine else ():
            user = user_of(str(row["body"].get("by", "")))
            if row["source"] != "slack" or not user or store.setting(TOLD + row["id"]):
                continue
            try:
                _say(room, user, row)
            except (Unavailable, RateLimited):
                break
            except ProviderError as exc:
                log.warning("who made the report %s cannot be told that it was not worked: %s", row["id"], exc)
            store.set_setting(TOLD + row["id"], "told")
            told += 1
    return told


def _say(room: Room, user: str, row: dict[str, Any]) -> None:
    text = (
        f":warning: Your report {kit.code(row['id'])} could not be worked, and *nothing was cut*: "
        f"{kit.clip(kit.escape(row['note']), 600)}. Report it again with the secret itself or the id of the "
        f"credential: {kit.code(room.word + ' report')}"
    )
    with slack_errors("tell somebody of their report"):
        opened: Any = room.client.conversations_open(users=user)
        room.client.chat_postMessage(channel=opened["channel"]["id"], text=text, unfurl_links=False)
