"""What is usual: learned from facts, forgotten when it has not been seen for long, and in people's hands.

An entry is (signal, subject, feature, value): "token-lifetime", "arn:…:user/ferry-ci", "network", "203.0.113.0/24".
A person may declare an entry, which then counts without having been seen, or prune one, which is then learned no more.
Declared and pruned entries say who did it, and may have an end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from bot.errors import InputError
from bot.signals.facts import utc

AGE = timedelta(days=90)  # what was not seen for so long is new again
LEARNING = 30  # so many observations of a subject, and what is new of it is news
Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One usual thing. ``how``: learned, declared or pruned."""

    signal: str
    subject: str
    feature: str
    value: str
    first: datetime
    last: datetime
    count: int = 1
    how: str = "learned"
    by: str = ""
    until: datetime | None = None

    @property
    def key(self) -> Key:
        """What it is known by."""
        return self.signal, self.subject, self.feature, self.value


@dataclass(slots=True)
class Baseline:
    """Entries, and how often each subject was observed. Judging learns; what was found strange is not learned.

    ``counted``: which facts were observed already, where the same ones may come again, and when they happened; None:
    each fact comes once, and nothing of that is kept.
    """

    entries: dict[Key, Entry] = field(default_factory=dict)
    age: timedelta = AGE
    learning: int = LEARNING
    counted: dict[str, datetime] | None = None
    _features: dict[tuple[str, str, str], set[str]] = field(default_factory=dict)
    _patterns: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        for entry in list(self.entries.values()):
            self._index(entry)

    def _index(self, entry: Entry) -> None:
        if entry.how == "learned":
            self._features.setdefault((entry.signal, entry.subject, entry.feature), set()).add(entry.value)
        elif entry not in self._patterns:
            self._patterns.append(entry)

    def knows(self, signal: str, subject: str, feature: str, value: str, at: datetime) -> bool:
        """Whether this was usual at that time. A declared value may be a pattern, as may its subject: ``v*``."""
        for one in self._patterns:
            same = one.signal == signal and one.feature == feature and fnmatchcase(subject, one.subject)
            if same and fnmatchcase(value, one.value) and (one.until is None or at < one.until):
                return one.how == "declared"
        entry = self.entries.get((signal, subject, feature, value))
        return entry is not None and at - entry.last <= self.age

    def declared(self, signal: str, subject: str, feature: str, at: datetime) -> tuple[str, ...]:
        """What people have declared for this feature, and holds at that time: patterns."""
        return tuple(
            one.value for one in self._patterns
            if one.how == "declared" and one.signal == signal and one.feature == feature
            and fnmatchcase(subject, one.subject) and (one.until is None or at < one.until)
        )  # fmt: skip

    def values(self, signal: str, subject: str, feature: str, at: datetime) -> list[str]:
        """The usual values of a feature at that time, sorted."""
        known = self._features.get((signal, subject, feature), ())
        return sorted(v for v in known if at - self.entries[signal, subject, feature, v].last <= self.age)

    def saw(self, signal: str, subject: str, feature: str, value: str, at: datetime, count: int = 1) -> None:
        """Learn. What a person has pruned is not learned again while that holds."""
        key = (signal, subject, feature, value)
        entry = self.entries.get(key)
        if entry is None:
            new = Entry(signal=signal, subject=subject, feature=feature, value=value, first=at, last=at, count=count)
            self.entries[key] = new
            self._index(new)
        elif entry.how == "learned":
            self.entries[key] = replace(
                entry, first=min(entry.first, at), last=max(entry.last, at), count=entry.count + count
            )

    def observed(self, signal: str, subject: str) -> int:
        """How often this subject was observed."""
        entry = self.entries.get((signal, subject, "", ""))
        return entry.count if entry else 0

    def observe(self, signal: str, subject: str, at: datetime, fact: str = "") -> None:
        """Count an observation of a subject; ``fact`` names what was observed, so that it counts once."""
        if self.counted is not None and fact:
            name = f"{signal} {subject} {fact}"
            if name in self.counted:
                return
            self.counted[name] = at
        self.saw(signal, subject, "", "", at)

    def ready(self, signal: str, subject: str) -> bool:
        """Whether it has been observed often enough for something new to be news."""
        return self.observed(signal, subject) >= self.learning

    def put(self, entry: Entry) -> None:
        """Declare or prune, in place of what stood there."""
        self.entries[entry.key] = entry
        self._patterns = [one for one in self._patterns if one.key != entry.key]
        self._features.get((entry.signal, entry.subject, entry.feature), set()).discard(entry.value)
        self._index(entry)

    def forget(self, at: datetime) -> int:
        """Leave out what has not been seen for long, and what has passed its end; returns how many."""
        gone = [
            key for key, entry in self.entries.items()
            if (entry.how == "learned" and at - entry.last > self.age) or (entry.until and entry.until <= at)
        ]  # fmt: skip
        for key in gone:
            entry = self.entries.pop(key)
            self._features.get(key[:3], set()).discard(key[3])
            self._patterns = [one for one in self._patterns if one.key != entry.key]
        return len(gone)

    def forget_counted(self, before: datetime) -> None:
        """Leave out the names of facts that cannot come again."""
        if self.counted is not None:
            self.counted = {name: at for name, at in self.counted.items() if at >= before}

    def listed(self, signal: str = "", subject: str = "") -> Iterator[Entry]:
        """Entries for people: of one signal, and of subjects that fit a pattern; without the counters."""
        for key in sorted(self.entries):
            entry = self.entries[key]
            if entry.feature and signal in ("", entry.signal) and (not subject or fnmatchcase(entry.subject, subject)):
                yield entry

    # as a file ------------------------------------------------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        """What ``--baseline FILE`` holds."""
        rows = [
            asdict(entry) | {
                "first": entry.first.isoformat(), "last": entry.last.isoformat(),
                "until": entry.until.isoformat() if entry.until else "",
            } for _, entry in sorted(self.entries.items())
        ]  # fmt: skip
        found: dict[str, Any] = {
            "baseline": 1, "age_days": self.age.days, "learning": self.learning, "entries": rows,
        }  # fmt: skip
        if self.counted is not None:
            found["counted"] = {name: at.isoformat() for name, at in sorted(self.counted.items())}
        return found

    @classmethod
    def of_json(cls, text: str, name: str) -> Baseline:
        """The opposite. Raises InputError, naming what is wrong."""
        try:
            found = json.loads(text)
            if found["baseline"] != 1:
                raise ValueError("version")
            entries = {}
            for row in found["entries"]:
                times = {name: utc(row[name]) for name in ("first", "last")}
                entry = Entry(**{**row, **times, "until": utc(row["until"]) if row.get("until") else None})
                entries[entry.key] = entry
            counted = {name: utc(at) for name, at in found["counted"].items()} if "counted" in found else None
            age, learning = timedelta(days=int(found.get("age_days", AGE.days))), int(found.get("learning", LEARNING))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(f"{name} is no baseline that `bulkhead signals` wrote") from None
        return cls(entries=entries, age=age, learning=learning, counted=counted)
