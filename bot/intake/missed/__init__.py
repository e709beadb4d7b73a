"""What webhooks missed, asked for by the clock: GitHub and GitGuardian send once, and a door can be shut just then.

A poll lands what it finds through the same reading, under the same names, as its webhook would have: what came by both
opens nothing twice. How far it has come is the provider's own time, moved only once everything before it is landed;
each round begins a little before it, since lists are not in the order in which things become visible.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from bot.errors import BulkheadError, RateLimited
from bot.store import Store, iso

EVERY_S = 300.0
LOOK_S = 15.0  # how often the clock looks whether one is due
FIRST = timedelta(days=1)  # how far back the first round of an installation goes
OURS = "catch-up:"  # the settings in which it is kept how far each has come
LATE = timedelta(minutes=30)  # without a round that succeeded: doctor and metrics call it behind
log = logging.getLogger("bulkhead.intake")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a poll has come: ``at`` in the provider's time (ISO 8601, '' at first), the ETag of what it saw."""

    at: str = ""
    etag: str = ""

    def since(self, overlap: timedelta, now: datetime) -> datetime:
        """From where to ask. ``now`` counts in the first round only."""
        try:
            return datetime.fromisoformat(self.at) - overlap
        except ValueError:
            return now - FIRST


class Poll(Protocol):
    """One thing that is asked for."""

    @property
    def name(self) -> str:
        """Of its cursor, and in metrics."""

    def turn(self, cursor: Cursor) -> Cursor:
        """Land what there is since then; from where to go on. Raises bot.errors, and then nothing is moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a poll stands. Times are ISO 8601 UTC of this machine, '' for never; ``why`` it does not succeed."""

    cursor: Cursor = Cursor()
    succeeded: str = ""
    failing_since: str = ""
    why: str = ""

    def late(self, now: datetime) -> bool:
        """Whether it has not succeeded for too long."""
        last = self.succeeded or self.failing_since
        return bool(self.why) and bool(last) and now - datetime.fromisoformat(last) > LATE


def states(store: Store) -> dict[str, State]:
    """Name of a poll -> how it stands, for every poll that was ever asked here."""
    return {name.removeprefix(OURS): _read(text) for name, text in store.settings(OURS).items()}


def _read(text: str) -> State:
    said = json.loads(text or "{}")
    return State(**{**said, "cursor": Cursor(**said.get("cursor", {}))})


class CatchUp:
    """Asks each poll when it is due. A provider that fails is written down and left alone for a while; never raises."""

    def __init__(
        self, store: Store, polls: Iterable[Poll], *, every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic, now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        self._store, self.polls, self._every_s = store, tuple(polls), every_s
        self._clock, self._now = clock, now
        self._due: dict[str, float] = {}  # by a clock that does not jump; forgotten with the process

    def round(self) -> None:
        """Ask whatever is due, one after the other: GitHub wants its requests in turn."""
        with self._store.only_one("catch-up") as mine:
            for poll in self.polls if mine else ():
                if self._clock() >= self._due.get(poll.name, float("-inf")):
                    self._due[poll.name] = self._clock() + self._every_s
                    self._ask(poll)

    def _ask(self, poll: Poll) -> None:
        stood = _read(self._store.setting(OURS + poll.name))
        try:
            told = replace(stood, cursor=poll.turn(stood.cursor), why="", failing_since="", succeeded=iso(self._now()))
        except RateLimited as exc:
            self._due[poll.name] = self._clock() + max(exc.retry_after, self._every_s)
            told = self._failed(poll, stood, f"{exc}; asked again in {max(exc.retry_after, self._every_s):.0f} s")
        except BulkheadError as exc:
            told = self._failed(poll, stood, str(exc))
        self._store.set_setting(OURS + poll.name, json.dumps(asdict(told)))

    def _failed(self, poll: Poll, stood: State, why: str) -> State:
        if stood.why != why:
            log.warning("what webhooks missed (%s) cannot be asked for: %s", poll.name, why)
        return replace(stood, why=why, failing_since=stood.failing_since or iso(self._now()))


def newest(times: Iterable[str], stood: str) -> str:
    """The latest of some times as a provider writes them, and of where we stood."""
    best = _moment(stood)
    for text in times:
        at = _moment(text)
        if at is not None and (best is None or at > best):
            best = at
    return iso(best) if best is not None else ""


def before(text: str, since: datetime) -> bool:
    """Whether a time as a provider writes it lies before another. What is no time does not."""
    at = _moment(text)
    return at is not None and at < since


def _moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def query_of(link: str, rel: str = "next") -> tuple[str, str]:
    """The address of another page in a Link header (RFC 8288), and its query; ('', '') without one."""
    for part in link.split(","):
        url, _, kind = part.partition(";")
        if f'rel="{rel}"' in kind and url.strip().startswith("<"):
            found = url.strip()[1:].rstrip(">")
            return found, found.partition("?")[2]
    return "", ""


def told(value: Any) -> Mapping[str, Any]:
    """A table, whatever was answered."""
    return value if isinstance(value, dict) else {}
