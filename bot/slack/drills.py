"""``drill``: which drills there are, and to run one: in the company of ``serve --range``, else in one of its own.

Outside the range a drill is ordered as a row, which the worker takes up (``bot/training.py``). It is told where drills
are told, and whoever asked for it is told when it begins, or why it does not.
"""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bot import heartbeat
from bot.errors import DecisionRefused, InputError, ProviderError, RateLimited, Unavailable
from bot.posts import Posts
from bot.quiet import Quiet
from bot.scenario import Drill
from bot.schedule import EACH, RUN, USAGE, a_date, schedule, told
from bot.settings import listed
from bot.slack import homes, kit
from bot.slack.client import slack_errors
from bot.slack.commands import clip
from bot.slack.heard import Heard
from bot.slack.names import user_of
from bot.store import iso
from bot.store_drills import ALONE, FAILED, ORDERED, OVER, RUNNING, TEAM, Order, Orders, ScheduleRow, Schedules

if TYPE_CHECKING:
    from bot.slack.room import Room

EVERY_S = 2.0
_CHANNEL = re.compile(r"<#(C[A-Z0-9]+)(?:\|[^>]*)?>")
log = logging.getLogger("bulkhead.slack")


def join(room: Room) -> None:
    """Bring the word ``drill``, and tell those who have asked for one."""
    usage = "list | run NAME | decide NAME | alone NAME | schedule …"
    room.commands.add("drill", usage, "train: what drills there are, begin one, or let the clock begin it", drill)
    room.jobs.append(lambda: follow(room))


def drill(heard: Heard, text: str) -> None:
    """List the drills, or begin the one that is named."""
    word, _, name = text.partition(" ")
    if word == "run":
        run(heard, name.strip())
    elif word == "decide":
        decide(heard, name.strip())
    elif word == "alone":
        alone(heard, name.strip())
    elif word in ("", "list"):
        show(heard)
    elif word == "schedule":
        scheduled(heard, name.strip())
    else:
        ways = "`drill list`, `run NAME`, `decide NAME` (it asks the team what it would do), `alone NAME` or `schedule`"
        raise InputError(f"say {ways}, not {clip(word)!r}")


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


def with_choices(heard: Heard) -> list[Drill]:
    """The drills that ask what one would do."""
    return [one for one in heard.room.house.drills.values() if one.choices]


def decide(heard: Heard, name: str) -> None:
    """A drill whose choices are put to the team, in its channel. Raises DecisionRefused, InputError."""
    _may_choose(heard, name)
    order(heard, name, TEAM)


def alone(heard: Heard, name: str) -> None:
    """A drill whose choices are put to one person, in their home. Raises DecisionRefused, InputError."""
    _may_choose(heard, name)
    order(heard, name, ALONE)
    homes.wanted(Posts(heard.room.house.store), heard.user)


def _may_choose(heard: Heard, name: str) -> None:
    if not heard.may("one"):
        raise DecisionRefused("you are not one of the responders, who train here", reason="wrong-person")
    known = [one.id for one in with_choices(heard)]
    if name not in known:
        raise InputError(f"no drill with choices is called {clip(name)!r}; there are: {', '.join(known)}")


def order(heard: Heard, name: str, mode: str = "") -> None:
    """Ask the worker for a drill in a company of its own. Raises InputError where it could not be seen."""
    house, orders = heard.room.house, Orders(heard.room.house.store)
    channel = house.settings.slack_drill_channel or house.settings.slack_channel
    if not channel:
        raise InputError("nothing is told in Slack here, so a drill could not be seen: set BULKHEAD_SLACK_CHANNEL")
    if mode == ALONE:
        channel = heard.room.board.parts.places.dm(heard.user)
    before = [one for one in orders.standing(ORDERED, RUNNING) if one.id != heard.delivery.id]
    orders.order(
        Order(id=heard.delivery.id, drill=name, by=heard.who, channel=channel, at=iso(heard.at), mode=mode)
    )  # fmt: skip
    wait = f" {len(before)} others come first." if before else ""
    age = heartbeat.ages(house.store, datetime.now(UTC))["worker"]
    if heartbeat.words(age) != "ok":
        wait += f" No worker runs now ({heartbeat.words(age)}): it begins when one does."
    heard.say(
        f"*DRILL* `{name}` is ordered.{wait} The worker starts a small company for it on its own machine; what happens "
        f"there, and what you decide, touches nothing real. {_where(mode, channel)}"
    )


def _where(mode: str, channel: str) -> str:
    if mode == ALONE:
        return "What you decide is asked in my Home tab; simulated colleagues agree to the steps."
    asked = ", and what you would do is asked there" if mode == TEAM else ""
    return f"Its card comes in <#{channel}>{asked}."


# by the clock ---------------------------------------------------------------------------------------------------------


def scheduled(heard: Heard, text: str) -> None:
    """``schedule``: list them. ``schedule weekly tue 10:00 [NAME] [#channel]``, ``skip ID DATE``, ``remove ID``."""
    rows, words = Schedules(heard.room.house.store), text.split()
    if not words or words == ["list"]:
        heard.say("\n".join(_line(heard, row) for row in rows.all()) or "No drill is scheduled.")
        return
    if not heard.may("one"):
        raise DecisionRefused("you are not one of the responders, who train here", reason="wrong-person")
    if words[0] == "remove" and len(words) == 2:
        rows.remove(words[1])
        heard.say(f"{kit.code(words[1])} is no longer scheduled.")
    elif words[0] == "skip" and len(words) == 3:
        heard.say(_line(heard, rows.skip(words[1], a_date(words[2]))))
    elif words[0] == "weekly" and 3 <= len(words) <= 5:
        row = _wanted(heard, words[1], words[2], words[3:])
        heard.say(_line(heard, row) if rows.add(row) else f"{kit.code(row.id)} was scheduled already.")
    else:
        ways = f"`drill schedule {USAGE} #channel`, `list`, `skip ID DATE` or `remove ID`"
        raise InputError(f"say {ways}, not {clip(text)!r}")


def _wanted(heard: Heard, day: str, at: str, rest: list[str]) -> ScheduleRow:
    """The schedule that somebody asks for, at the hour of the house's clock. Raises InputError."""
    channels = [found[1] for word in rest if (found := _CHANNEL.fullmatch(word))]
    names = [word for word in rest if not _CHANNEL.fullmatch(word)]
    if len(names) > 1 or len(channels) > 1:
        raise InputError("name one drill and one channel at most; the channel as #name, as Slack offers it")
    return schedule(
        drill=names[0] if names else EACH, day=day.lower(), time_=at, zone=_zone(heard), missed=RUN, by=heard.who,
        channel=channels[0] if channels else "", now=heard.at, drills=heard.room.house.drills,
    )  # fmt: skip


def _zone(heard: Heard) -> str:
    """The house's time zone, as its quiet hours have it: what is scheduled comes for everybody at once."""
    hours = heard.room.house.settings.quiet_hours
    return Quiet.read(hours).zone.key if hours else "UTC"


def _line(heard: Heard, row: ScheduleRow) -> str:
    where = f" in <#{row.channel}>" if row.channel else ""
    said = f"{kit.code(row.id)}: {row.drill}, every {row.day} at {row.time} {row.zone}{where}."
    return f"{said} {told(row, datetime.now(UTC), listed(heard.room.house.settings.holidays))}"


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
    where = "what it asks is in my Home tab" if one.mode == ALONE else f"in <#{card.body['channel']}>"
    return f":construction: {what} has begun: {kit.code(one.incident)}, {where}."


def _say(room: Room, user: str, text: str) -> None:
    if not user:
        return  # a schedule, or somebody at the command line
    with slack_errors("tell somebody of their drill"):
        opened: Any = room.client.conversations_open(users=user)
        room.client.chat_postMessage(channel=opened["channel"]["id"], text=text, unfurl_links=False)
