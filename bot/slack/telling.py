"""Tells something in Slack once and only once: a row first, then the call, and a search where nobody knows.

A call that was not answered may have been heard, so whoever finds its row looks in the channel before the same is said
again: the message's metadata carries the row's key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from bot.errors import RateLimited, Rejected
from bot.posts import INTENDED, OVER, Post, Posts
from bot.slack import kit
from bot.slack.card import Posting
from bot.slack.places import Places
from bot.slack.wire import SAYS, Wire
from bot.store import canonical, iso, when

SEARCH_S = 600.0  # how far before an intent its message is looked for: clocks differ
log = logging.getLogger("bulkhead.slack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """Says things."""

    posts: Posts
    wire: Wire
    places: Places
    scrub: Callable[[str], str] = str

    def once(
        self, key: str, *, incident: str, kind: str, channel: str, posting: Posting, thread: str = "",
        state: str = OVER, more: dict[str, Any] | None = None,
    ) -> bool:  # fmt: skip
        """Say something unless it was said; whether it was said now. Raises bot.errors' ProviderErrors."""
        stands = self.posts.get(key)
        if (stands is not None and stands.state != INTENDED) or not self.wire.free(SAYS, channel):
            return False
        posting, body = self.ready(posting, key), (more or {}) | {"calling": True}
        row, new = self.posts.intend(key, incident=incident, kind=kind, at=iso(datetime.now(UTC)), body=body)
        channel, ts, shown = self.tell(row, new, channel, thread, posting)
        self.posts.save(replace(row, state=state, body=where(row, channel, ts, shown)))
        return True

    def tell(self, row: Post, new: bool, channel: str, thread_ts: str, posting: Posting) -> tuple[str, str, str]:
        """Post what this row stands for, unless it has been heard already. Gives its channel, time stamp and digest.

        What was heard before a crash may show what was true then: it has no digest, so it is drawn anew.
        """
        key = str(posting.metadata["event_payload"]["post"])
        if not new and row.body.get("calling"):
            if ts := self.find(row, channel, thread_ts, lambda message: _key(message) == key):
                return channel, ts, ""
        elif not new:
            self.posts.save(replace(row, body=row.body | {"calling": True, "channel": channel}))
        try:
            return (*self.wire.post(channel, posting, thread=thread_ts), digest(posting))
        except (Rejected, RateLimited):
            # Slack has said no: nothing to look for the next time.
            self.posts.save(replace(row, body={k: v for k, v in row.body.items() if k != "calling"}))
            raise

    def find(self, row: Post, channel: str, thread_ts: str, mine: Callable[[dict[str, Any]], bool]) -> str:
        """The time stamp of a message that was said for this row, or ""."""
        bot, since = self.places.bot(), when(row.at).timestamp() - SEARCH_S
        try:
            return self.wire.find(channel, thread_ts, lambda m: m.get("user") == bot and mine(m), since)
        except Rejected as exc:
            if exc.code != "missing_scope":
                raise
            log.warning("what was said in %s cannot be looked for: the app lacks a scope to read there", channel)
            return ""  # said twice is better than not at all

    def ready(self, posting: Posting, key: str) -> Posting:
        """A message as it goes out: with the key of its row, and without any secret that this process knows."""
        payload = posting.metadata["event_payload"] | {"post": key}
        blocks = kit.scrubbed(posting.blocks, self.scrub)
        return Posting(
            blocks=blocks, text=self.scrub(posting.text), metadata=posting.metadata | {"event_payload": payload}
        )


def where(row: Post, channel: str, ts: str, shown: str) -> dict[str, Any]:
    """The body of a row that was told: where it stands, and the digest of what it shows."""
    body = {name: value for name, value in row.body.items() if name != "calling"}
    return body | {"channel": channel, "ts": ts, "digest": shown}


def digest(posting: Posting) -> str:
    """Of what a message shows."""
    return sha256(canonical([posting.blocks, posting.text]).encode()).hexdigest()


def _key(message: dict[str, Any]) -> str:
    return str(((message.get("metadata") or {}).get("event_payload") or {}).get("post", ""))
