"""Hours in which nobody is called for what can wait."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_QUIET = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)(?: ([A-Za-z0-9_+/-]+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """From an hour to an hour, over midnight too, in a time zone."""

    begins: time
    ends: time
    zone: ZoneInfo

    @classmethod
    def read(cls, text: str) -> Quiet:
        """From ``22:00-07:00 Europe/Berlin``; without a zone, UTC. Raises ValueError."""
        found = _QUIET.fullmatch(text.strip())
        if found is None:
            raise ValueError("must be like 22:00-07:00 Europe/Berlin")
        hours = [int(found[k]) for k in range(1, 5)]
        try:
            zone = ZoneInfo(found[5] or "UTC")
            return cls(begins=time(hours[0], hours[1]), ends=time(hours[2], hours[3]), zone=zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
            raise ValueError(f"must be hours and a time zone, like 22:00-07:00 Europe/Berlin ({exc})") from None

    def until(self, at: datetime) -> datetime | None:
        """When the quiet that ``at`` falls into ends; None when it falls into none."""
        local = at.astimezone(self.zone)
        now = local.timetz().replace(tzinfo=None)
        over_midnight = self.begins > self.ends
        inside = (now >= self.begins or now < self.ends) if over_midnight else self.begins <= now < self.ends
        if not inside:
            return None
        day = local.date() + timedelta(days=1 if over_midnight and now >= self.begins else 0)
        return datetime.combine(day, self.ends, self.zone)
