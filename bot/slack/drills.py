"""``drill``: which drills there are, and to run one: in the company of ``serve --range``, else in one of its own.

Outside the range a drill is ordered as a row, which the worker takes up (``bot/training.py``). It is told where drills
are told, and whoever asked for it is told when it begins, or why it does not.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bot import heartbeat
from bot.errors import DecisionRefused, InputError, ProviderError, RateLimited, Unavailable
from bot.posts import Posts
from bot.slack import kit
from bot.slack.client import slack_errors
from bot.slack.commands import clip
from bot.slack.heard import Heard
from bot.slack.names import user_of
from bot.store import iso
from bot.store_drills import FAILED, ORDERED, OVER, RUNNING, Order, Orders

if TYPE_CHECKING:
    from bot.slack.room import Room

EVERY_S = 2.0
log = logging.getLogger("bulkhead.slack")


def join(room: Room) -> None:
    """Bring the word ``drill``, and tell those who have asked for one."""
    room.commands.add("drill", "list | run NAME", "train: what drills there are, and begin one", drill)
    room.jobs.append(lambda: follow(room))


def drill(heard: Heard, text: str) -> None:
    """List the drills, or begin the one that is named."""
    word, _, name = text.partition(" ")
    if word == "run":
        run(heard, name.strip())
    elif word in ("", "list"):
        show(heard)
    else:
        raise InputError(f"say `drill list` or `drill run NAME`, not {clip(word)!r}")


def show(heard: Heard) -> None:
    """The drills there are."""
    drills = heard.room.house.drills.values()
    heard.say("\n".join(f"`{one.id}`: {clip(one.title, 200)}. {clip(one.briefing, 400)}" for one in drills))


def run(heard: Heard, name: str) -> None:
    """Begin a drill, in which people act. Raises DecisionRefused, InputError."""
    house = heard.room.house
    if not heard.may("one"):
        raise DecisionRefused("you are not one of the responders, who train here", reason="wrong-person")
    if house.stage is not None:
        found, landed, shown = house.stage.begin(name, heard.delivery.id)
        said = f"{clip(found.report.by)} reports: {clip(shown, 500)} (`{landed.id}`)"
        heard.say(f"*DRILL* `{found.id}` has begun. {said}")
    elif name not in house.drills:
        raise InputError(f"there is no drill {clip(name)!r}; there are: {', '.join(house.drills)}")
    else:
        order(heard, name)


def order(heard: Heard, name: str) -> None:
    """Ask the worker for a drill in a company of its own."""
    house, orders = heard.room.house, Orders(heard.room.house.store)
    channel = house.settings.slack_drill_channel or house.settings.slack_channel
    if not channel:
        raise InputError("nothing is told in Slack here, so a drill could not be seen: set BULKHEAD_SLACK_CHANNEL")
    before = [one for one in orders.standing(ORDERED, RUNNING) if one.id != heard.delivery.id]
    orders.order(Order(id=heard.delivery.id, drill=name, by=heard.who, channel=channel, at=iso(heard.at)))
    wait = f" {len(before)} others come first." if before else ""
    age = heartbeat.ages(house.store, datetime.now(UTC))["worker"]
    if heartbeat.words(age) != "ok":
        wait += f" No worker runs now ({heartbeat.words(age)}): it begins when one does."
    heard.say(
        f"*DRILL* `{name}` is ordered.{wait} The worker starts a small company for it on its own machine; what happens "
        f"there, and what you decide, touches nothing real. Its card comes in <#{channel}>."
    )


# whoever has asked for one --------------------------------------------------------------------------------------------


async def follow(room: Room) -> None:
    """Tell of each order, until cancelled."""
    while True:
        await asyncio.to_thread(tell, room)
        await asyncio.sleep(EVERY_S)


def tell(room: Room) -> int:
    """Tell what nobody was told of yet; returns how many. While Slack is away they wait."""
    orders, told = Orders(room.house.store), 0
    with room.house.store.only_one("slack-drills") as mine:
        for one in orders.untold() if mine else ():
            news, user = _news(room, one), user_of(one.by)
            if not news:
                continue
            try:
                _say(room, user, news)
            except (Unavailable, RateLimited):
                break
            except ProviderError as exc:
                log.warning("who asked for the drill %s cannot be told of it: %s", one.id, exc)
            orders.change(one.id, told=one.state)
            told += 1
    return told


def _news(room: Room, one: Order) -> str:
    """What is to be said of an order as it stands; "" when nothing is."""
    what = f"*DRILL* {kit.code(one.drill)}"
    if one.state == FAILED:
        return f":warning: {what} has ended without a result: {kit.clip(kit.escape(one.note), 600)}"
    if one.state == OVER:
        return f":checkered_flag: {what} is over; its card says what the attacker still got."
    card = Posts(room.house.store).get(f"{one.incident}/card") if one.incident else None
    if card is None or "ts" not in card.body:
        return ""
    return f":construction: {what} has begun: {kit.code(one.incident)}, in <#{card.body['channel']}>."


def _say(room: Room, user: str, text: str) -> None:
    if not user:
        return  # a schedule, or somebody at the command line
    with slack_errors("tell somebody of their drill"):
        opened: Any = room.client.conversations_open(users=user)
        room.client.chat_postMessage(channel=opened["channel"]["id"], text=text, unfurl_links=False)
