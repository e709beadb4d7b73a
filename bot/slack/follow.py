"""The board of one house: put together from its settings. It decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from slack_sdk import WebClient

from bot.engine.announced import Notes
from bot.engine.rules import Rulebook
from bot.errors import ProviderError
from bot.heartbeat import Alarm
from bot.lessons.measures import Measures
from bot.lessons.postmortem import Postmortems
from bot.lessons.quiz import Quiz
from bot.posts import Posts
from bot.quiet import Quiet
from bot.settings import Settings
from bot.slack import choices, kit, quiz_views
from bot.slack.announce import Announcer
from bot.slack.board import SINCE, Board
from bot.slack.calls import Called
from bot.slack.card import Posting
from bot.slack.client import web_client
from bot.slack.homes import Homes
from bot.slack.kit import Block
from bot.slack.places import Places, Where
from bot.slack.service import Parts
from bot.slack.teacher import Teacher
from bot.slack.telling import Telling
from bot.slack.wire import Wire
from bot.store import Store
from bot.store_drills import Orders
from bot.vault import Vault

log = logging.getLogger("bulkhead.slack")
PAGES_AT = "pages-at"  # the setting that says where the pages are served; bot/app.py writes it


class Site(Protocol):
    """What the board needs of a World's clients: their clock."""

    @property
    def clock(self) -> Any:
        """``bot.world.Clock``."""


class House(Protocol):
    """What ``app.Bulkhead`` hands to the board."""

    settings: Settings
    store: Store
    vault: Vault
    rules: Rulebook
    boundary: Callable[[str], None]

    @property
    def quiz(self) -> Quiz:
        """The questions, and who was asked which of them."""

    @property
    def postmortems(self) -> Postmortems:
        """What is written of incidents afterwards."""

    @property
    def notes(self) -> Notes:
        """What was announced of changes of policy."""

    @property
    def sites(self) -> Mapping[str, Site]:
        """The Worlds that this process has clients for."""


def called_of(settings: Settings) -> Called:
    """Who can be called."""
    people = {name.lower(): slack.removeprefix("slack:") for slack, name in settings.aliases.items()}
    oncall = frozenset({settings.slack_oncall} if settings.slack_oncall else ())
    quiet = Quiet.read(settings.quiet_hours) if settings.quiet_hours else None
    return Called(groups=settings.groups, people=people, oncall=oncall, quiet=quiet)


def where_of(settings: Settings) -> Where:
    """The channels."""
    private = frozenset(level.strip() for level in settings.slack_private.split(",") if level.strip())
    groups = settings.groups
    invited = frozenset().union(*(groups.get(posture, frozenset()) for posture in ("lead", "one", "two", "person")))
    return Where(channel=settings.slack_channel, drills=settings.slack_drill_channel, private=private, invited=invited)


def own_client(settings: Settings) -> WebClient:
    """A client that tries nothing again by itself: what it repeated would be said twice."""
    client = web_client(settings.slack_bot_token.get_secret_value(), settings.slack_api)
    client.retry_handlers = []
    return client


def alarm_of(house: House) -> Callable[[Alarm], None]:
    """Says in the incidents channel that a part of Bulkhead has fallen silent, or is back.

    It has a client of its own and no row: it is called from a thread that watches, when all else may stand still.
    """
    settings = house.settings

    def tell(alarm: Alarm) -> None:
        wire = Wire(own_client(settings))
        mark = ":large_green_circle:" if alarm.back else ":rotating_light:"
        said = kit.clip(kit.escape(alarm.text), 1000)
        blocks = [kit.section(f"{mark} *Bulkhead itself:* {said}")]
        meta = {"event_type": "bulkhead_alarm", "event_payload": {"role": alarm.role, "back": alarm.back}}
        posting = Posting(blocks=blocks, text=kit.clip(f"Bulkhead itself: {said}", 300), metadata=meta)
        places = Places(wire, Posts(house.store), where_of(settings), str)
        try:
            if settings.slack_channel and places.safe(settings.slack_channel):
                wire.post(settings.slack_channel, posting)
        except ProviderError as exc:
            log.error("Slack was not told that the %s is silent: %s", alarm.role, exc)  # noqa: TRY400 (no trace needed)

    return tell


def learnt_blocks(house: House, who: str) -> list[Block]:
    """What somebody's home says of the drill that they do alone, of the quiz, and of how their team trains."""
    quiz, team = house.quiz, house.settings.team_of_person(house.rules.human(who))
    back = len(quiz.back(who, datetime.now(UTC)))
    rows = Measures(house.store, people=house.settings.team_of_person).trends()
    return [
        *choices.home_blocks(house.store, who), *quiz_views.home(back, subscribed=who in quiz.subscribers()),
        *quiz_views.trend(rows, team),
    ]  # fmt: skip


def board_of(house: House) -> Board:
    """The board of this house; it works where BULKHEAD_SLACK_CHANNEL names a channel."""
    settings = house.settings
    called, posts = called_of(settings), Posts(house.store)
    wire = Wire(own_client(settings), boundary=house.boundary)
    orders, scrub = Orders(house.store), house.vault.scrubber.scrub

    def ordered(report: str) -> str:
        found = orders.of_report(report)
        return found.channel if found else ""

    places = Places(wire, posts, where_of(settings), called.user, ordered=ordered)
    homes = Homes(
        store=house.store, posts=posts, wire=wire, places=places, may=house.rules.may, groups=settings.groups,
        scrub=scrub, learnt=partial(learnt_blocks, house),
    )  # fmt: skip
    telling = Telling(posts=posts, wire=wire, places=places, scrub=scrub)
    threads = choices.Threads(store=house.store, telling=telling, called=called)
    teacher = Teacher(
        store=house.store, telling=telling, called=called, quiz=house.quiz,
        postmortems=house.postmortems, url=lambda: house.store.setting(PAGES_AT),
    )  # fmt: skip
    announcer = Announcer(
        notes=house.notes, telling=teacher.telling, channel=settings.slack_channel,
        since=lambda: house.store.setting(SINCE),
    )  # fmt: skip
    return Board(Parts(
        store=house.store, posts=posts, wire=wire, places=places, called=called,
        clocks={name: site.clock for name, site in house.sites.items()}, scrub=scrub,
        url=lambda: house.store.setting(PAGES_AT), homes=homes.turn,
        afterwards=lambda: threads.turn() + teacher.turn() + announcer.turn(),
    ))  # fmt: skip
