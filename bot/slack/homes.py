"""Keeps homes in step: whoever has opened theirs sees it drawn anew when something changes for them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from bot.engine.rules import DRILL
from bot.errors import RateLimited, Rejected, Unavailable
from bot.posts import INTENDED, OVER, SENT, Post, Posts
from bot.signing import GROUPS, SLACK
from bot.slack.home import home_view
from bot.slack.kit import Block, scrubbed
from bot.slack.picture import Picture
from bot.slack.places import Places
from bot.slack.wire import Wire
from bot.store import Store, iso

if TYPE_CHECKING:
    from bot.slack.heard import Heard
    from bot.slack.room import Room

HOME = "home"
EVERY_S = 5.0  # so long homes are left as they are while incidents change
DRILLS = 50  # the newest, of which each person sees their own
log = logging.getLogger("bulkhead.slack")

May = Callable[[str, str, Mapping[str, Any]], bool]  # (person, posture, what Slack says of them)


def join(room: Room) -> None:
    """Bring the home: it is drawn when somebody opens it, and from then on when it changes."""
    room.on("event", "app_home_opened", opened)


def opened(heard: Heard) -> None:
    """Somebody looks at their home: the board draws it in its next turn."""
    if (heard.body.get("event") or {}).get("tab", "home") == "home":
        wanted(Posts(heard.room.house.store), heard.user)


def wanted(posts: Posts, user: str) -> None:
    """Note that this person's home is to be drawn, whatever was drawn before."""
    at = iso(datetime.now(UTC))
    row, new = posts.intend(f"home/{user}", incident="", kind=HOME, at=at, body={"to": user})
    if not new:
        posts.save(replace(row, state=INTENDED, at=at))


def redraw(posts: Posts, user: str) -> None:
    """Note that something has changed for this person, if they have ever opened their home."""
    if posts.get(f"home/{user}") is not None:
        wanted(posts, user)


@dataclass(slots=True, kw_only=True)
class Homes:
    """Draws them. ``groups``: posture -> Slack user groups that may answer there."""

    store: Store
    posts: Posts
    wire: Wire
    places: Places
    may: May
    groups: Mapping[str, frozenset[str]]
    scrub: Callable[[str], str] = str
    learnt: Callable[[str], list[Block]] = lambda _who: []  # what it says of the quiz
    monotonic: Callable[[], float] = time.monotonic
    _stamp: str = ""
    _after: float = 0.0

    def turn(self) -> int:
        """Draw what was opened, and what has changed; returns how many that were. Raises nothing of Slack's."""
        rows = self.posts.all(HOME, INTENDED, SENT)
        if not rows:
            return 0
        fresh = [row for row in rows if row.state == INTENDED]
        stamp = self.posts.stamp()
        changed = stamp != self._stamp and self.monotonic() >= self._after
        if not (fresh or changed):
            return 0
        if changed:
            self._stamp = stamp
        began = time.monotonic()
        try:
            return self._draw(rows if changed else fresh)
        except (RateLimited, Unavailable):
            self._stamp = ""  # again, once the wire is free
            return 0
        finally:  # with many incidents open it takes long, and is done seldom
            self._after = self.monotonic() + max(EVERY_S, 20 * (time.monotonic() - began))

    def _draw(self, rows: list[Post]) -> int:
        pictures, done = self._pictures(), 0
        for row in rows:
            user = str(row.body["to"])
            if not self.wire.free("views.publish", user):
                self._stamp = ""
                continue
            try:
                done += self._publish(row, user, pictures)
            except Rejected as exc:
                log.warning("Slack does not take the home of %s: %s", user, exc.code)
                self.posts.save(replace(row, state=OVER))
        return done

    def _publish(self, row: Post, user: str, pictures: list[Picture]) -> int:
        who, inside = f"{SLACK}{user}", {GROUPS: self._groups_of(user)}
        view = home_view(who, pictures, lambda posture: self.may(who, posture, inside), self.learnt(who))
        view = scrubbed(view, self.scrub)
        digest = sha256(json.dumps(view, sort_keys=True).encode()).hexdigest()
        if row.state == SENT and digest == row.body.get("digest"):
            return 0
        self.wire.publish(user, view)
        self.posts.save(replace(row, state=SENT, body=row.body | {"digest": digest}))
        return 1

    def _groups_of(self, user: str) -> list[str]:
        return [
            group for group in sorted(frozenset().union(*self.groups.values())) if user in self.places.members(group)
        ]

    def _pictures(self) -> list[Picture]:
        """Open incidents, and the newest drills."""
        rows = self.store.incidents()
        drills = {row.id for row in [row for row in rows if row.world == DRILL][-DRILLS:]}
        shown, now = [row for row in rows if row.status == "open" or row.id in drills], datetime.now(UTC)
        return [Picture.of(self.store, row.id, now) for row in shown]
