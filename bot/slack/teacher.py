"""What Slack is told by the clock afterwards: the post-mortem under its incident, reminders, a question a week.

All of it can wait, so none of it comes at night (``bot.quiet``). What is due follows from rows and the clock alone:
after an outage only the latest of several calls is made, a restart says nothing twice, and one process speaks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bot.errors import BulkheadError, RateLimited, Rejected, Unavailable
from bot.lessons.postmortem import Postmortems, View
from bot.lessons.quiz import Quiz
from bot.posts import CARD, INTENDED, OVER, SENT, Post
from bot.quiet import Quiet
from bot.replay import image
from bot.slack import closing, kit, quiz_views, written_views
from bot.slack.calls import Called
from bot.slack.card import Posting
from bot.slack.names import user_of
from bot.slack.telling import Telling, digest
from bot.slack.wire import EDITS, UPLOADS
from bot.store import Store, iso, when

LESSON, PICTURE, NUDGE, QUIZ = "lesson", "picture", "nudge", "quiz"  # kinds of posts
EVERY_S = 3.0
NUDGES = (timedelta(days=1), timedelta(days=3), timedelta(days=5))  # after the draft, while it is not published
NIGHT = Quiet.read("20:00-08:00 UTC")  # where the settings name no quiet hours
HOUR, WEEKDAY = 10, 1  # a question a week: from Tuesday, ten o'clock
FOLLOWED = timedelta(days=90)  # so long the message under an incident is kept in step
log = logging.getLogger("bulkhead.slack")


@dataclass(slots=True, kw_only=True)
class Teacher:
    """Says it. ``url``: where the pages are, "" when nobody serves any."""

    store: Store
    telling: Telling
    called: Called
    quiz: Quiz
    postmortems: Postmortems
    url: Callable[[], str] = str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    _after: float = 0.0
    _seen: dict[str, tuple[object, ...]] = field(default_factory=dict)

    @property
    def quiet(self) -> Quiet:
        """The hours in which nobody is called for what can wait."""
        return self.called.quiet or NIGHT

    def turn(self) -> int:
        """Say what is due; returns how many calls that were. Raises nothing of Slack's."""
        if self.monotonic() < self._after:
            return 0
        self._after = self.monotonic() + EVERY_S
        try:
            return self._lessons() + self._questions()
        except (RateLimited, Unavailable):
            return 1  # the wire knows when to go on

    # under an incident -------------------------------------------------------------------------------------------

    def _lessons(self) -> int:
        done = 0
        for incident, begun in self.postmortems.rows.all().items():
            if when(begun.drafted_at) + FOLLOWED < self.now():
                continue
            try:
                done += self._lesson(incident)
            except Rejected as exc:
                log.warning("the post-mortem of %s cannot be told in Slack now: %s", incident, exc.code)
            except (RateLimited, Unavailable):
                raise
            except BulkheadError as exc:
                log.warning("the post-mortem of %s cannot be told: %s", incident, exc)
        return done

    def _lesson(self, incident: str) -> int:
        """The message of one post-mortem, kept in step; then whoever it waits for."""
        posts = self.telling.posts
        row, card = posts.get(f"{incident}/{LESSON}"), posts.get(f"{incident}/{CARD}")
        if card is None or card.state == INTENDED or "ts" not in card.body:
            return 0
        quiet = self.quiet.until(self.now()) is not None
        fresh = row is None or row.state == INTENDED
        stamp = self._stamp(incident, card)
        changed = fresh or self._seen.get(incident) != stamp
        if not changed and quiet:
            return 0
        view = self.postmortems.view(incident)
        if card.upto < max((e.n for e in view.events if not e.step.startswith(closing.AFTERWARDS)), default=0):
            return 0  # the thread has not told the end yet
        if fresh:
            return 0 if quiet else int(self._begin(view, card))
        assert row is not None
        done = 0
        if changed:
            done = self._redraw(view, row)
            self._seen[incident] = stamp if done != -1 else ()
        return max(done, 0) + (0 if quiet else self._picture(view, card) + self._calls(view, card))

    def _stamp(self, incident: str, card: Post) -> tuple[object, ...]:
        """Changes whenever the message may."""
        rows = self.postmortems.rows
        edits = rows.edits(incident)
        states = tuple((one.id, one.state, one.detail) for one in rows.follow_ups(incident))
        return edits[-1].n if edits else 0, states, card.upto, rows.get(incident)

    def _begin(self, view: View, card: Post) -> bool:
        return self.telling.once(
            f"{view.row.id}/{LESSON}", incident=view.row.id, kind=LESSON, channel=str(card.body["channel"]),
            thread=str(card.body["ts"]), posting=written_views.message(view, self.url()), state=SENT,
        )  # fmt: skip

    def _picture(self, view: View, card: Post) -> int:
        """The timeline as an image, once, under the message of the post-mortem."""
        key, name = f"{view.row.id}/{PICTURE}", f"{view.row.id}-timeline.png"
        channel, thread = str(card.body["channel"]), str(card.body["ts"])
        if self._told(key) or not self.telling.wire.free(UPLOADS):
            return 0
        at = iso(self.now())
        row, new = self.telling.posts.intend(key, incident=view.row.id, kind=PICTURE, at=at, body={"calling": True})
        if new or not self.telling.find(row, channel, thread, lambda message: closing.holds(message, name)):
            drawn = image.of_incident(view.row, view.events, self.telling.scrub)
            said = f"{'*DRILL* ' if view.draft.drill else ''}The timeline of {kit.code(view.row.id, 100)}."
            try:
                described = self.telling.scrub(image.described(view.events))
                self.telling.wire.files(channel, thread, [(name, drawn)], said, described)
            except Rejected as exc:
                log.warning("Slack takes no picture of %s: %s", view.row.id, exc.code)
                row = replace(row, body=row.body | {"refused": exc.code})
        self.telling.posts.save(replace(row, state=OVER))
        return 1

    def _redraw(self, view: View, row: Post) -> int:
        """1 when it was drawn anew, 0 when it is right as it is, -1 when it has to wait."""
        posting = self.telling.ready(written_views.message(view, self.url()), row.key)
        channel = str(row.body["channel"])
        if digest(posting) == row.body["digest"] or row.state == OVER:
            return 0
        if not self.telling.wire.free(EDITS, channel):
            return -1
        try:
            self.telling.wire.edit(channel, str(row.body["ts"]), posting)
        except Rejected as exc:
            if exc.code not in ("message_not_found", "channel_not_found", "is_archived"):
                raise
            self.telling.posts.save(replace(row, state=OVER))  # somebody has deleted it
            return 1
        self.telling.posts.save(replace(row, body=row.body | {"digest": digest(posting)}))
        return 1

    # calls -------------------------------------------------------------------------------------------------------

    def _calls(self, view: View, card: Post) -> int:
        """A reminder of a draft that waits, and one a week to whoever is late with a follow-up."""
        incident, begun, done = view.row.id, view.begun, 0
        if begun is not None and not view.published:
            due = sum(when(begun.drafted_at) + after <= self.now() for after in NUDGES)
            sent = len([p for p in self.telling.posts.of(incident, NUDGE) if p.key.startswith(f"{incident}/nudge/")])
            if due and not self._told(f"{incident}/nudge/{due}") and sent < due:
                text = written_views.nudge(view, self._writers(view))
                done += self._say(f"{incident}/nudge/{due}", view, card, text)
        for one in view.follow_ups:
            if one.state == "done" or not one.what.due or one.what.due >= self.now().date().isoformat():
                continue
            year, week, _ = self.now().isocalendar()
            key = f"{incident}/overdue/{one.what.id}/{year}-W{week:02}"
            if not self._told(key):
                who = self.called.mention(one.what.owner) or kit.escape(one.what.owner) or "Nobody's:"
                done += self._say(key, view, card, written_views.overdue(view, one, who, self.now()))
        return done

    def _told(self, key: str) -> bool:
        row = self.telling.posts.get(key)
        return row is not None and row.state != INTENDED

    def _writers(self, view: View) -> list[str]:
        """Who led it, otherwise those who may decide."""
        roles = {str(e.body["role"]): str(e.body["who"]) for e in view.events if e.kind == "role" and e.body}
        lead = self.called.mention(roles.get("lead", ""))
        return [lead] if lead else self.called.answering("lead")

    def _say(self, key: str, view: View, card: Post, text: str) -> int:
        kind = "bulkhead_drill" if view.draft.drill else "bulkhead_incident"
        meta = {"event_type": kind, "event_payload": {"incident": view.row.id, "what": NUDGE}}
        posting = Posting(blocks=[kit.section(text)], text=kit.clip(text, 300), metadata=meta)
        return int(self.telling.once(
            key, incident=view.row.id, kind=NUDGE, channel=str(card.body["channel"]), thread=str(card.body["ts"]),
            posting=posting,
        ))  # fmt: skip

    # a question a week -------------------------------------------------------------------------------------------

    def _questions(self) -> int:
        done = 0
        for person, since in self.quiz.subscribers().items():
            user = user_of(person)
            if not user:
                continue
            try:
                done += self._question(person, user, since)
            except Rejected as exc:
                log.warning("%s cannot be asked a question: %s", user, exc.code)
        return done

    def _zone(self, user: str) -> ZoneInfo | None:
        """Where somebody's day is: by what Slack knows of them, else the house's. None: Slack cannot be asked now."""
        told = self.telling.places.zone(user)
        if told is None:
            return None
        try:
            return ZoneInfo(told) if told else self.quiet.zone
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return self.quiet.zone

    def _question(self, person: str, user: str, since: datetime) -> int:
        """One message a day at most, by their own clock: what they missed when due, else the question of the week."""
        zone, mine = self._zone(user), f"quiz/{user}"
        if zone is None:
            return 0
        now, quiet = self.now().astimezone(zone), replace(self.quiet, zone=zone)
        if now.hour < HOUR or quiet.until(now) is not None:
            return 0
        sent = {row.key.rpartition("/")[2]: row for row in self.telling.posts.of(mine, QUIZ)}
        today = f"{now:%Y-%m-%d}"
        row = sent.get(today)
        if row is not None and row.state != INTENDED:
            return 0
        back = bool(self.quiz.back(person, now))
        week = {f"{now - timedelta(days=k):%Y-%m-%d}" for k in range(now.weekday() + 1)}
        weekly = now.weekday() >= WEEKDAY and since < now and not week & (sent.keys() - {today})
        if not (back or weekly or row is not None):
            return 0
        (put, *_) = [*self.quiz.put(person, now.astimezone(UTC), name=f"dm/{today}"), None]
        if put is None:
            return 0
        channel = self.telling.places.dm(user)
        return int(self.telling.once(
            f"{mine}/{today}", incident=mine, kind=QUIZ, channel=channel, posting=quiz_views.message(put, back=back)
        ))  # fmt: skip
