"""Slack's Web API as the board uses it: one call at a time, never faster than Slack takes them, errors as ours.

Limits: docs.slack.dev/apis/web-api/rate-limits. A message a second in each channel; tiers for each method and
workspace, of which the board leaves some for people's own clicks. Where Slack says Retry-After, the method rests.
A call that was not answered may have been heard: it raises Unavailable, and whoever made it looks before it says the
same again (``find``).
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from bot.errors import ProviderError, RateLimited, Rejected, Unavailable
from bot.slack.card import Posting

CHANNEL_S = 1.1  # between two messages, and between two edits, in one channel
DOWN_S = (3.0, 5.0, 10.0, 30.0)  # between two tries while nobody answers
MINUTE = {"chat.update": 45, "conversations.history": 40, "conversations.replies": 40, "conversations.info": 40,
          "conversations.create": 15, "usergroups.users.list": 15, "conversations.list": 15,
          "views.publish": 80, "users.info": 80}  # fmt: skip
PAGES = 5  # so far back a message is looked for
SAYS, EDITS, UPLOADS = "chat.postMessage", "chat.update", "files.getUploadURLExternal"
log = logging.getLogger("bulkhead.slack")


class Wire:
    """One workspace. ``now`` is a monotonic clock; ``boundary`` is called around every call, and tests die there."""

    def __init__(
        self, client: WebClient, now: Callable[[], float] = time.monotonic,
        boundary: Callable[[str], None] = lambda _name: None,
    ) -> None:  # fmt: skip
        self.client, self._now, self._boundary = client, now, boundary
        self._next: dict[tuple[str, str], float] = {}
        self._rests: dict[str, float] = {}
        self._made: dict[str, deque[float]] = {}
        self._down = 0
        self._down_until = 0.0

    # when --------------------------------------------------------------------------------------------------------

    @property
    def down(self) -> bool:
        """Nobody has answered lately, and it is not yet time to try again."""
        return self._now() < self._down_until

    def free(self, method: str, channel: str = "") -> bool:
        """Whether this may be called now."""
        now, made = self._now(), self._made.get(method, deque())
        while made and now - made[0] >= 60:
            made.popleft()
        full = len(made) >= MINUTE.get(method, 10_000)
        return not (self.down or full or now < self._rests.get(method, 0) or now < self._next.get((method, channel), 0))

    # what --------------------------------------------------------------------------------------------------------

    def post(self, channel: str, posting: Posting, *, thread: str = "") -> tuple[str, str]:
        """Post a message; gives its channel and time stamp. Raises bot.errors' ProviderErrors."""
        said = self.call(SAYS, lambda: self.client.chat_postMessage(
            channel=channel, blocks=posting.blocks, text=posting.text, metadata=posting.metadata, unfurl_links=False,
            unfurl_media=False, thread_ts=thread or None), channel)  # fmt: skip
        return str(said["channel"]), str(said["ts"])

    def edit(self, channel: str, ts: str, posting: Posting) -> None:
        """Draw a message of ours again. Raises bot.errors' ProviderErrors."""
        self.call(EDITS, lambda: self.client.chat_update(
            channel=channel, ts=ts, blocks=posting.blocks, text=posting.text, metadata=posting.metadata),
            channel)  # fmt: skip

    def files(
        self, channel: str, thread: str, files: Sequence[tuple[str, str | bytes]], words: str, described: str = ""
    ) -> None:  # fmt: skip
        """Put files (name, content) into a thread. Raises bot.errors' ProviderErrors.

        ``described``: what an image shows, for who does not see it.
        """
        more = {"alt_txt": described} if described else {}
        uploads = [{"filename": name, "title": name, "content": held, **more} for name, held in files]
        self.call(UPLOADS, lambda: self.client.files_upload_v2(
            file_uploads=uploads, channel=channel, thread_ts=thread, initial_comment=words), channel)  # fmt: skip
        self._next[SAYS, channel] = self._now() + CHANNEL_S  # Slack posts a message for them

    def publish(self, user: str, view: dict[str, Any]) -> None:
        """Show somebody their home. Raises bot.errors' ProviderErrors."""
        self.call("views.publish", lambda: self.client.views_publish(user_id=user, view=view), user)

    def find(self, channel: str, thread: str, mine: Callable[[dict[str, Any]], bool], since: float) -> str:
        """The time stamp of a message of ours that fits, or "". ``since``: Unix time of the first that it may be."""
        return next((str(one["ts"]) for one in self._messages(channel, thread, f"{since:.6f}") if mine(one)), "")

    def _messages(self, channel: str, thread: str, oldest: str) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        for _ in range(PAGES):
            said = self._page(channel, thread, oldest, cursor)
            yield from said.get("messages") or ()
            cursor = (said.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return

    def _page(self, channel: str, thread: str, oldest: str, cursor: str | None) -> dict[str, Any]:
        if thread:
            return self.call("conversations.replies", lambda: self.client.conversations_replies(
                channel=channel, ts=thread, oldest=oldest, limit=200, include_all_metadata=True,
                cursor=cursor))  # fmt: skip
        return self.call("conversations.history", lambda: self.client.conversations_history(
            channel=channel, oldest=oldest, limit=200, include_all_metadata=True, cursor=cursor))  # fmt: skip

    def call(self, method: str, work: Callable[[], Any], lane: str = "") -> dict[str, Any]:
        """Make one call. Raises RateLimited, Rejected (``code`` is Slack's word for it), Unavailable.

        ``lane``: a channel or a person, for which the next call of this method has to wait a second.
        """
        self._made.setdefault(method, deque()).append(self._now())
        self._boundary(f"before {method}")
        try:
            data = work().data
        except (SlackClientError, OSError) as exc:
            raise self._told(method, exc) from None
        finally:
            if lane:
                self._next[method, lane] = self._now() + CHANNEL_S
        self._down, self._down_until = 0, 0.0
        self._boundary(f"after {method}")
        return data if isinstance(data, dict) else {}

    def _told(self, method: str, exc: Exception) -> ProviderError:
        """An error of ours for one of the SDK's, whose own can hold what was sent."""
        response = exc.response if isinstance(exc, SlackApiError) else None
        status, data = getattr(response, "status_code", 0), getattr(response, "data", None)
        code = str(data.get("error", "")) if isinstance(data, dict) else ""
        if status == 429 or code == "ratelimited":
            headers = {name.lower(): value for name, value in dict(response.headers or {}).items()}  # type: ignore[union-attr]
            asked = str(headers.get("retry-after", ""))
            wait = float(asked) if asked.isdecimal() else 30.0
            self._rests[method] = self._now() + wait
            return RateLimited(
                f"Slack asks {method} to wait {wait:.0f} s", provider="slack", code=code, retry_after=wait
            )
        if code and status < 500:
            return Rejected(f"Slack refused {method}: {code}", provider="slack", code=code)
        if not self._down:
            log.warning(
                "Slack does not answer %s (%s); containment goes on, cards follow later", method, type(exc).__name__
            )
        self._down_until = self._now() + DOWN_S[min(self._down, len(DOWN_S) - 1)]
        self._down += 1
        return Unavailable(f"Slack did not answer {method}", provider="slack")
