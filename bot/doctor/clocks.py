"""Whether this machine's clock agrees with the providers': cut-offs and proofs go by both."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from bot.doctor.found import OK, WARNING, Finding
from bot.errors import ProviderError
from bot.sites import Site

APART = timedelta(seconds=5)  # answers tell whole seconds, and take a moment


def utc() -> datetime:
    """Now, by this machine."""
    return datetime.now(UTC)


def look(site: Site, *, aws: bool, github: bool, now: Callable[[], datetime] = utc) -> list[Finding]:
    """Compare with each provider that has answered; nothing where none has."""
    told = {}
    if aws and (theirs := site.aws.now()) is not None:
        told["AWS"] = theirs - now()
    if github and (said := _github(site)) is not None:
        told["GitHub"] = said - now()
    wrong = {name: by for name, by in told.items() if abs(by) > APART}
    if not told:
        return []
    if not wrong:
        return [Finding(name="Clock", state=OK, detail=f"agrees with {' and '.join(told)}")]
    detail = "; ".join(f"{_amount(by)} {name}'s" for name, by in wrong.items())
    text = (
        "Times on the timeline are wrong, tails end too soon or too late, and AWS refuses requests that are five "
        "minutes off (RequestTimeTooSkewed)."
    )
    return [Finding(name="Clock", state=WARNING, detail=detail, disables=text, suggestion="Let NTP set it.")]


def _amount(by: timedelta) -> str:
    seconds = abs(by.total_seconds())
    return f"this machine's clock is {seconds:.0f} s {'behind' if by > timedelta() else 'ahead of'}"


def _github(site: Site) -> datetime | None:
    try:
        headers = {name.lower(): value for name, value in site.github.send("GET", "/rate_limit").headers.items()}
        return parsedate_to_datetime(headers["date"])
    except (ProviderError, KeyError, ValueError):
        return None
