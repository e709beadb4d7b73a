"""Slack's rate limits, on the machine's own monotonic clock.

Sources: docs.slack.dev/apis/web-api/rate-limits (tiers are "N+ a minute" for each method, app and workspace; here
exactly N), and one message a second in each channel for chat.postMessage. Slack allows short bursts above that and
says not how long; here there is none, so that who passes here passes there.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

TIERS = {1: 1, 2: 20, 3: 50, 4: 100}  # calls a minute
SPECIAL = {"chat.postMessage": 300, "auth.test": 600, "chat.getPermalink": 600}
WINDOW_S = 60.0


class Limits:
    """``now`` may be replaced by a test. While ``on`` is false nothing is counted or refused."""

    def __init__(self) -> None:
        self.on = True
        self.now: Callable[[], float] = time.monotonic
        self._calls: dict[str, deque[float]] = {}
        self._posts: dict[str, float] = {}

    def call(self, method: str, tier: int) -> int:
        """Count a call. Returns 0, or after how many seconds to try again; then it is not counted."""
        allowed = SPECIAL.get(method) or TIERS.get(tier)
        if not self.on or allowed is None:
            return 0
        now, calls = self.now(), self._calls.setdefault(method, deque())
        while calls and now - calls[0] >= WINDOW_S:
            calls.popleft()
        if len(calls) >= allowed:
            return max(1, math.ceil(calls[0] + WINDOW_S - now))
        calls.append(now)
        return 0

    def post(self, channel: str) -> int:
        """Count a message in a channel; as ``call`` does."""
        if not self.on:
            return 0
        now, last = self.now(), self._posts.get(channel)
        if last is not None and now - last < 1.0:
            return max(1, math.ceil(last + 1.0 - now))
        self._posts[channel] = now
        return 0
