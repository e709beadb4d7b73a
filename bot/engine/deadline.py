"""A moment that comes also where a clock is set back."""

from __future__ import annotations

import time
from datetime import datetime

from bot.world import Clock


class Deadline:
    """Passed when the World's clock says so, or when as much time has gone by as was left when this was made.

    ``since``: when the wait was written down. No more is left than from then on, whatever the clock has done meanwhile.

    A clock that is set back in the middle must not stretch what people and providers were given: an incident would
    wait for as long as the jump was. One that is set forward ends it, as it does for everybody who reads that clock.
    """

    def __init__(self, at: datetime, clock: Clock, since: datetime | None = None) -> None:
        self.at, self._clock = at, clock
        left = at - (clock.now() if since is None else max(since, clock.now()))
        self._latest = time.monotonic() + max(0.0, left.total_seconds())

    def passed(self) -> bool:
        """Whether it has come."""
        return self._clock.now() >= self.at or time.monotonic() >= self._latest
