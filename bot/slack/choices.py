"""A drill's choices in Slack: put in a thread of the team's channel, or in the home of whoever trains alone.

What is told, and what was answered, are lines in the store (``bot.classroom``); here they are shown, and a form writes
the answer. The first one counts; who comes later, or may not answer, is told so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bot.classroom import PUT
from bot.errors import BulkheadError, DecisionRefused, InputError, RateLimited, Rejected, Unavailable
from bot.posts import INTENDED, OVER, SENT, Post
from bot.slack import choice_views, homes, kit
from bot.slack.calls import Called
from bot.slack.choice_views import ALONE_BUTTON, CHOOSE, FORM, NAME, OPTION, PICK, SURE
from bot.slack.drills import alone, with_choices
from bot.slack.heard import FormWrong, Heard, carried
from bot.slack.kit import Block
from bot.slack.names import user_of
from bot.slack.telling import Telling, digest
from bot.slack.wire import EDITS
from bot.store import Store, iso, when
from bot.store_drills import ALONE, FAILED, RUNNING, Line, Lines, Order, Orders
from bot.store_drills import OVER as ENDED

if TYPE_CHECKING:
    from bot.slack.room import Room

KIND = "drill-line"
EVERY_S = 1.0
REMINDED = timedelta(minutes=45)  # a question to the team that waits so long is called out once; the drill ends later
FOLLOWED = timedelta(days=2)  # so long a drill's thread, and the home of who trains alone, are kept in step
log = logging.getLogger("bulkhead.slack")


def join(room: Room) -> None:
    """Bring the buttons and forms of choices."""
    room.on("block_actions", CHOOSE, choose)
    room.on("block_actions", ALONE_BUTTON, picks)
    room.on("view_submission", FORM, answered, answers=True)
    room.on("view_submission", PICK, begins, answers=True)


def choose(heard: Heard) -> None:
    """Somebody wants to answer: the form, if they may and it still waits."""
    order, line = _meant(heard, str(heard.value.get("i", "")), str(heard.value.get("s", "")))
    heard.open(choice_views.form(line, carried(o=order.id, n=line.name, c=heard.channel)))


def answered(heard: Heard) -> None:
    """Take an answer, once. Whoever is late is told in the form who was faster."""
    option, sure = heard.field(OPTION), heard.field(SURE)
    if not option or not sure:
        raise FormWrong({OPTION if not option else SURE: "Choose one; close the form to leave it to others."})
    try:
        order, line = _meant(heard, str(heard.meta.get("o", "")), str(heard.meta.get("n", "")))
        if option not in line.body["options"]:
            raise InputError("this is none of the answers")
        lines = Lines(heard.room.house.store)
        if not lines.answer(line, option, sure=sure == "yes", by=heard.who, at=iso(heard.at)):
            raise InputError(_taken(heard, lines.get(order.id, line.name)))
    except (InputError, DecisionRefused) as exc:
        raise FormWrong({OPTION: str(exc)}) from None


def _meant(heard: Heard, order_id: str, name: str) -> tuple[Order, Line]:
    """The question that is meant. Raises InputError when it no longer waits, DecisionRefused for the wrong person."""
    store = heard.room.house.store
    order, line = Orders(store).get(order_id), Lines(store).get(order_id, name)
    if order.mode == ALONE and heard.who != order.by:
        raise DecisionRefused("somebody else trains alone here", reason="wrong-person")
    if order.mode != ALONE and not heard.may("one"):
        raise DecisionRefused("you are not one of the responders, who train here", reason="wrong-person")
    mine = bool(line.answer) and line.answer["by"] == heard.who and line.answer["at"] == iso(heard.at)
    if line.answer and not mine:
        raise InputError(_taken(heard, line))
    if line.kind != PUT or order.state in (ENDED, FAILED):
        raise InputError("this drill is over; nobody waits for an answer any more")
    return order, line


def _taken(heard: Heard, line: Line) -> str:
    by = "you" if line.answer["by"] == heard.who else "somebody else"
    return f"It was answered already, by {by}; the first answer counts."


# training alone -------------------------------------------------------------------------------------------------------


def picks(heard: Heard) -> None:
    """Somebody wants to train alone: which drill?"""
    heard.open(choice_views.pick(with_choices(heard), carried(c=heard.channel)))


def begins(heard: Heard) -> None:
    """The drill that was picked is ordered."""
    try:
        alone(heard, heard.field(NAME))
    except (InputError, DecisionRefused) as exc:
        raise FormWrong({NAME: str(exc)}) from None


def home_blocks(store: Store, who: str) -> list[Block]:
    """What stands in somebody's home of the drill that they do alone."""
    since = iso(datetime.now(UTC) - FOLLOWED)
    mine = [one for one in Orders(store).choosing(since) if one.mode == ALONE and one.by == who]
    return choice_views.home(mine[-1], Lines(store).of(mine[-1].id)) if mine else choice_views.home(None, [])


# showing them ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Threads:
    """Keeps the threads of drills in step with their lines, and the homes of those who train alone."""

    store: Store
    telling: Telling
    called: Called
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _after: float = 0.0
    _seen: dict[str, tuple[object, ...]] = field(default_factory=dict)

    def turn(self) -> int:
        """Tell what is due; returns how many calls that were. Raises nothing of Slack's."""
        if self.monotonic() < self._after:
            return 0
        self._after, done = self.monotonic() + EVERY_S, 0
        for order in Orders(self.store).choosing(iso(self.now() - FOLLOWED)):
            try:
                done += self._home(order) if order.mode == ALONE else self._thread(order)
            except (RateLimited, Unavailable):
                return done + 1  # the wire knows when to go on
            except BulkheadError as exc:
                log.warning("the drill %s cannot be told now: %s", order.id, exc)
        return done

    def _home(self, order: Order) -> int:
        """A home is drawn by its own part of the board; here it is only asked for."""
        lines = Lines(self.store).of(order.id)
        stamp = (order.state, len(lines), sum(bool(line.answer) for line in lines))
        if self._seen.get(order.id) != stamp:
            self._seen[order.id] = stamp
            homes.wanted(self.telling.posts, user_of(order.by))
        return 0

    def _thread(self, order: Order) -> int:
        lines, thread = Lines(self.store).of(order.id), ""
        channel = self.telling.places.of_drill(order.channel) if lines else ""
        for line in lines if channel else ():
            key = f"drill:{order.id}/line/{line.name}"
            row = self.telling.posts.get(key)
            if row is None or row.state == INTENDED:
                return int(self.telling.once(
                    key, incident="", kind=KIND, channel=channel, thread=thread,
                    posting=choice_views.message(order, line), state=SENT if line.kind == PUT else OVER,
                ))  # fmt: skip
            thread = thread or str(row.body["ts"])
            if row.state == SENT and (done := self._redraw(order, line, row) or self._remind(order, line, row, thread)):
                return done
        return 0

    def _remind(self, order: Order, line: Line, row: Post, thread: str) -> int:
        """Call those who may answer, once a question. A drill can wait: in quiet hours nobody is called for it."""
        now, quiet = self.now(), self.called.quiet
        if line.answer or order.state != RUNNING or now < when(row.at) + REMINDED or (quiet and quiet.until(now)):
            return 0
        who = self.called.answering("one")
        return int(self.telling.once(
            f"drill:{order.id}/reminder/{line.name}", incident="", kind=KIND, channel=str(row.body["channel"]),
            thread=thread, posting=choice_views.reminder(order, line, who, kit.left(now, when(row.at))),
        ))  # fmt: skip

    def _redraw(self, order: Order, line: Line, row: Post) -> int:
        """A question that was answered, or waits no more, says so and loses its button."""
        posting = self.telling.ready(choice_views.message(order, line), row.key)
        settled = bool(line.answer) or order.state in (ENDED, FAILED)
        channel = str(row.body["channel"])
        if digest(posting) == row.body["digest"]:
            return 0
        if not self.telling.wire.free(EDITS, channel):
            return 0
        state = OVER if settled else SENT
        try:
            self.telling.wire.edit(channel, str(row.body["ts"]), posting)
        except Rejected as exc:
            if exc.code not in ("message_not_found", "channel_not_found", "is_archived"):
                raise
            state = OVER  # somebody has deleted it
        self.telling.posts.save(replace(row, state=state, body=row.body | {"digest": digest(posting)}))
        return 1
