"""The board: follows the timelines and keeps Slack in step with them. It decides nothing, and containment never waits
for it.

One card an incident, edited in place; under it a thread that tells each event once. What is about to be said is a row
first (``bot.posts``). A call that was not answered may have been heard, so before the same is said again the channel
is searched for it: its metadata carries the row's key. The board keeps nothing that it could not do without: after a
restart, or an hour without Slack, it goes on where the rows stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime

from bot.errors import BulkheadError, RateLimited, Unavailable
from bot.posts import Followed
from bot.slack.picture import Picture
from bot.slack.service import Parts, Seen, Service
from bot.store import iso

TICK_S = 0.3
AGAIN_S = 10.0  # an incident with nothing to say is looked at again, for its countdown
A_SECOND = 10  # so many of these looks there are at most
TURN_S = 1.0  # a turn takes no longer, and leaves the rest to the next
SOON_S = 1.0  # one whose severity is not known yet
TROUBLE_S = 30.0
SINCE = "slack:board-since"
log = logging.getLogger("bulkhead.slack")


class Board:
    """Serves one incident after the other. Only one process at a time does (``Store.only_one``)."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._seen: dict[str, Seen] = {}
        self._decided = 0
        self._again = AGAIN_S

    async def run(self) -> None:
        """Keep Slack in step until cancelled. Clicks come first: it rests at least half as long as it works."""
        while True:
            began = time.monotonic()
            await asyncio.to_thread(self.turn)
            await asyncio.sleep(max(TICK_S, (time.monotonic() - began) / 2))

    def turn(self) -> int:
        """Do what can be done now; returns how many calls that were."""
        if self.parts.wire.down:
            return 0
        with self.parts.store.only_one("slack-board") as mine:
            return self._turn() if mine else 0

    def _turn(self) -> int:
        since = self.parts.store.setting_once(SINCE, iso(datetime.now(UTC)))
        self._poke()
        done, give_up = 0, time.monotonic() + TURN_S
        followed = self.parts.posts.followed(since) if self.parts.places.somewhere else []
        self._again = max(AGAIN_S, len(followed) / A_SECOND)
        for one in sorted(followed, key=lambda one: (one.card is not None, self._of(one).served)):
            seen = self._of(one)
            if self.parts.wire.down or time.monotonic() > give_up:
                break
            if one.head_n != seen.head or not self._rests(seen):
                done += self._serve(one, seen)
        return done + self.parts.homes() + self.parts.afterwards()

    def _of(self, one: Followed) -> Seen:
        return self._seen.setdefault(one.id, Seen(first=self.parts.monotonic()))

    def _poke(self) -> None:
        """A decision moves no timeline until it is counted, but the card shows who has said yes."""
        for row in self.parts.store.decisions(after_seq=self._decided):
            self._decided = row.seq
            if row.incident in self._seen:
                self._seen[row.incident].quiet_until, self._seen[row.incident].needs = 0.0, frozenset()

    def _rests(self, seen: Seen) -> bool:
        """Whether there is nothing to do about it yet. Asked of all in every turn, so it reads nothing."""
        if seen.needs:
            return not any(self.parts.wire.free(method, channel) for method, channel in seen.needs)
        return self.parts.monotonic() < seen.quiet_until

    def _serve(self, one: Followed, seen: Seen) -> int:
        """Say what is to be said of one incident; one that gives trouble does not keep the others waiting."""
        seen.served, seen.head, seen.needs = self.parts.monotonic(), one.head_n, frozenset()
        seen.quiet_until = seen.served + TROUBLE_S
        try:
            service = Service(self.parts, self._picture(one), one.card, seen)
            done = service.serve()
        except (RateLimited, Unavailable):
            seen.quiet_until = 0.0  # the wire knows when to go on
            return 1
        except BulkheadError as exc:
            log.warning("incident %s cannot be told in Slack now: %s", one.id, exc)
            return 1
        except Exception:  # the one edge: what cannot be drawn must not silence all the others
            log.exception("a fault of Bulkhead itself in telling incident %s", one.id)
            return 0
        seen.needs = frozenset(service.waits)
        seen.quiet_until = 0.0 if done else seen.served + (SOON_S if service.early else self._again)
        return done

    def _picture(self, one: Followed) -> Picture:
        now, clock = datetime.now(UTC), self.parts.clocks.get(one.world)
        with contextlib.suppress(BulkheadError):  # a range that has gone takes its clock with it
            now = clock.now() if clock is not None else now
        return Picture.of(self.parts.store, one.id, now, url=self.parts.url())
