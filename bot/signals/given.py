"""What all signals are given beside facts and baseline: the time, where runners are, which jobs ran."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bot.signals.facts import EPOCH, AnyFact, Job, Mint, Run, Who, of_kind
from bot.signals.networks import Networks, around

CLOCKS = timedelta(seconds=60)  # how far GitHub's clock and AWS's may be apart, and a second that each rounds off
DELAY = timedelta(
    minutes=15
)  # CloudTrail tells of a call "on average within about 5 minutes" (User Guide); often later
ALWAYS = datetime.max.replace(tzinfo=UTC)
MOST_KEYS = 20_000  # keys whose last places are remembered
SESSION = timedelta(hours=36)  # the longest that STS gives


class Jobs:
    """When jobs of a repository ran. A run whose jobs are not known stands for one job."""

    def __init__(self, facts: Iterable[AnyFact] = (), until: datetime | None = None) -> None:
        rows = list(of_kind(facts, Job, Run))
        with_jobs = {(f.repository, f.run, f.attempt) for f in rows if isinstance(f, Job)}
        spans: dict[str, list[tuple[datetime, datetime]]] = {}
        for fact in rows:
            if isinstance(fact, Job):
                spans.setdefault(fact.repository, []).append((fact.at, fact.until or ALWAYS))
            elif (fact.repository, fact.id, fact.attempt) not in with_jobs:
                ended = fact.until if fact.status == "completed" else ALWAYS
                spans.setdefault(fact.repository, []).append((fact.at, ended))
        self._spans = {name: sorted(found) for name, found in spans.items()}
        self._starts = {name: [start for start, _ in found] for name, found in self._spans.items()}
        self._longest = {
            name: max((end - start for start, end in found if end != ALWAYS), default=timedelta())
            for name, found in self._spans.items()
        }
        self.from_ = {name: found[0][0] for name, found in self._spans.items()}
        self.until = until

    def __bool__(self) -> bool:
        return bool(self._spans)

    def cover(self, repository: str, at: datetime) -> bool:
        """Whether it is known which jobs ran then."""
        known = self.from_.get(repository)
        return known is not None and known - CLOCKS <= at and (self.until is None or at <= self.until)

    def at(self, repository: str, at: datetime, slack: timedelta = CLOCKS) -> list[tuple[datetime, datetime]]:
        """(start, end) of every job that ran then, clocks allowed for."""
        found = self._spans.get(repository, [])
        last = bisect.bisect_right(self._starts.get(repository, []), at + slack)
        low = 0
        if not any(end == ALWAYS for _, end in found[-50:]):
            low = bisect.bisect_left(
                self._starts.get(repository, []), at - slack - self._longest.get(repository, slack)
            )
        return [(start, end) for start, end in found[low:last] if end == ALWAYS or end + slack >= at]


@dataclass(slots=True, kw_only=True)
class Given:
    """``learn_until``: what is older is learned and not judged. ``homes``: identity or access key -> OWNER/NAME of the
    repository whose jobs may use it. ``identities``: only these are judged; without any, those that jobs use.
    """

    now: datetime
    learn_until: datetime = EPOCH
    networks: Networks = field(default_factory=Networks)  # of runners, GitHub's and our own
    own: Networks = field(default_factory=Networks)  # our own alone
    jobs: Jobs = field(default_factory=Jobs)
    homes: dict[str, str] = field(default_factory=dict)
    identities: frozenset[str] = frozenset()
    clocks: timedelta = CLOCKS
    sessions: dict[str, Mint] = field(default_factory=dict)  # of jobs, by their access key

    _places: dict[str, dict[str, tuple[datetime, datetime]]] = field(default_factory=dict)

    def beside(self, key: str, place: str, start: datetime, end: datetime, apart: timedelta) -> list[str]:
        """Other addresses from which this key was used within so much time. Only what is that fresh is kept."""
        seen = self._places.pop(key, {})
        for old in [name for name, (_, last) in seen.items() if start - last > apart]:
            del seen[old]
        first, last = seen.get(place, (start, end))
        seen[place] = (min(first, start), max(last, end))
        self._places[key] = seen
        while len(self._places) > MOST_KEYS:
            del self._places[next(iter(self._places))]
        return [
            name for name, (first, last) in seen.items()
            if around(name) != around(place) and first - apart <= end and last + apart >= start
        ]  # fmt: skip

    def home(self, identity: str, key: str) -> str:
        """The repository whose jobs may use it, or ''."""
        minted = self.sessions.get(key)
        if minted is not None:
            return minted.repository
        return self.homes.get(key) or self.homes.get(identity, "")

    def judges(self, who: Who) -> bool:
        """Whether this identity belongs to a pipeline."""
        if self.identities:
            return who.identity in self.identities
        key = who.accessKeyId
        return key in self.sessions or key in self.homes or who.identity in self.homes or who.by_github

    def remember(self, mint: Mint) -> None:
        """Keep a session of a job."""
        if mint.session:
            self.sessions.setdefault(mint.session, mint)

    def prune(self, at: datetime) -> None:
        """Drop sessions that were over by then; they stand in the order in which they were made, more or less."""
        while self.sessions:
            oldest = next(iter(self.sessions))
            if at - self.sessions[oldest].at <= SESSION:
                return
            del self.sessions[oldest]
