"""The watch: the clock runs the signals over what is new. A finding is told once: it opens an incident, or is a line.

What is at least likely and shows a credential lands in the inbox as a report of our own, by the same door as every
other; the rest waits in the list (``bulkhead signals list``). The inbox's row has the finding's name for its key,
and the row that says "told" is written after it: whoever dies between the two, or judges at the same time, tells
nothing twice. The window overlaps the one before by more than CloudTrail is late; a fact that comes in two of them
counts once. Cursor and baseline are written last, and the cursor stays where it is while a source does not answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from bot import clock, signals
from bot.actions.signal_facts import HISTORY, Collected, of_github, of_logs, of_npm
from bot.actions.signal_registries import of_attestations, of_codeartifact, of_ecr, of_ghcr, of_registries
from bot.actions.signal_trail import of_aws
from bot.actions.signals import identities, networks
from bot.errors import BulkheadError, InputError
from bot.intake.delivery import Delivery, Reading, Seen, Sender
from bot.intake.inbox import Inbox
from bot.model import Trust
from bot.signals import build_logs
from bot.signals.baseline import Baseline
from bot.signals.findings import Finding, Sure
from bot.signals.given import Given, Jobs
from bot.store import Store, canonical, iso, when
from bot.world import REAL, World

SOURCE, WORTH = "signals", Sure.LIKELY
OVERLAP = timedelta(minutes=30)  # CloudTrail is later than that only rarely
TOLD, MUTED, BASELINE, CURSOR = "signals:told:", "signals:mute:", "signals:baseline:", "signals:cursor:"
# A version that should not be there was published with a token of this kind; of an image nobody tells with which.
TOKENS = {"npm": "npm-token", "pypi": "pypi-token", "crates": "crates-token", "rubygems": "rubygems-key"}
log = logging.getLogger("bulkhead.signals")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A repository, and the IAM user whose key its jobs use, if there is one."""

    repository: str
    user: str = ""


def watched_of(text: str) -> list[Watched]:
    """OWNER/NAME, or OWNER/NAME=IAM-USER, separated by commas. Raises InputError."""
    found = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        repository, _, user = part.partition("=")
        if repository.count("/") != 1:
            raise InputError(f"BULKHEAD_WATCH: {part[:80]!r} is neither OWNER/NAME nor OWNER/NAME=IAM-USER")
        found.append(Watched(repository=repository, user=user))
    return found


# what people say of findings ------------------------------------------------------------------------------------------


def mute(store: Store, pattern: str, *, by: str, until: datetime, why: str) -> None:
    """Say no more of findings whose name, or signal, fits a pattern. It has an owner and an end."""
    store.set_setting(f"{MUTED}{pattern}", canonical({"by": by, "until": iso(until), "why": why}))


def mutes(store: Store) -> dict[str, dict[str, str]]:
    """Pattern -> by, until (ISO 8601) and why; those too that are over."""
    return {name.removeprefix(MUTED): json.loads(text) for name, text in store.settings(MUTED).items()}


def is_muted(store: Store, finding: Finding, now: datetime) -> bool:
    """Whether somebody wants to hear no more of it now."""
    return any(
        now < when(row["until"]) and (fnmatchcase(finding.name, pattern) or fnmatchcase(finding.signal, pattern))
        for pattern, row in mutes(store).items()
    )


def told(store: Store) -> list[dict[str, Any]]:
    """Every finding that was told, the newest last; ``became`` says what of it: inbox (and its row) or digest."""
    rows = [json.loads(text) for text in store.settings(TOLD).values()]
    return sorted(rows, key=lambda row: (row["told_at"], row["name"]))


# a turn ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Judges what is new in the repositories of one World."""

    inbox: Inbox
    watched: tuple[Watched, ...]
    world: str = REAL
    # called around every durable write; tests kill the process there
    boundary: Callable[[str], None] = lambda _name: None

    def turn(self) -> list[str]:
        """Judge once; returns the names of what was told now. Another process that judges just now is left to it."""
        told_now: list[str] = []
        with self.inbox.store.only_one("signals watch") as mine:
            for one in self.watched if mine else ():
                try:
                    told_now += self._one(one)
                except BulkheadError as exc:
                    log.warning("%s could not be watched: %s; it is tried again", one.repository, exc)
        return told_now

    def _one(self, one: Watched) -> list[str]:
        store, world = self.inbox.store, self.inbox.worlds[self.world]("signals-watch")
        now, stands = world.now(), store.setting(f"{CURSOR}{one.repository}")
        since = (when(stands) if stands else now) - OVERLAP
        text = store.setting(f"{BASELINE}{one.repository}")
        baseline = Baseline.of_json(text, "the stored baseline") if text else Baseline()
        baseline.counted = baseline.counted or {}  # windows overlap
        found = self._collect(world, one, since, timedelta() if text else HISTORY)
        told_now = [name for f, value in self._judge(world, one, found, baseline, since)
                    if (name := self._tell(f, value, now))]  # fmt: skip
        if found.later and not stands:
            return told_now  # the month before is learned when all of it can be read
        until = when(stands) if found.later else now
        baseline.forget(now)
        baseline.forget_counted(until - 2 * OVERLAP)
        self.boundary("before signals/cursor/1")
        store.set_setting(f"{BASELINE}{one.repository}", json.dumps(baseline.as_json()))
        store.set_setting(f"{CURSOR}{one.repository}", iso(until))
        self.boundary("after signals/cursor/1")
        return told_now

    def _collect(self, world: World, one: Watched, since: datetime, history: timedelta) -> Collected:
        found = Collected()
        of_github(world, one.repository, since, found, history)
        of_logs(world, since, found)
        of_npm(world, one.repository, "", found)
        of_registries(world, one.repository, found)
        of_ghcr(world, one.repository, found)
        if one.user:
            of_ecr(world, one.repository, found)
            of_codeartifact(world, one.repository, found)
            of_aws(world, one.user, since, found, history)
        of_attestations(world, one.repository, since, found)
        found.verify(world.trust_root)
        return found

    def _judge(
        self, world: World, one: Watched, found: Collected, baseline: Baseline, since: datetime
    ) -> Iterator[tuple[Finding, str]]:  # fmt: skip
        """Findings with the secret that a log shows, where one does."""
        named = identities(found, one.user)
        given = Given(
            now=world.now(), learn_until=since, jobs=Jobs(found.facts), networks=networks(world, found),
            homes=dict.fromkeys(named, one.repository), identities=frozenset(named),
        )  # fmt: skip
        for finding in signals.run(found.facts, [found.calls], (), baseline, given):
            yield finding, ""
        for leak in build_logs.leaks(found.texts, given, recognizer=self.inbox.recognizer):
            yield leak.finding, leak.value

    def _tell(self, finding: Finding, value: str, now: datetime) -> str:
        """Tell it, unless that was done or somebody has muted it; returns its name when it was told now."""
        store, key = self.inbox.store, f"{TOLD}{finding.name}"
        if store.setting(key) or is_muted(store, finding, now):
            return ""
        row, seen = "", _seen(finding, value)
        if seen is not None and finding.sure.rank >= WORTH.rank:
            self.boundary("before signals/landed/1")
            delivery = Delivery(source=SOURCE, body=finding.name.encode(), headers={}, at=now)
            reading = Reading(event=finding.what, seen=(seen,), key=finding.name, text=finding.says)
            sender = Sender(trust=Trust.SIGNED, by="Bulkhead's signals", repository=finding.repository)
            row = self.inbox.receive(delivery, sender, reading, self.world).id
            self.boundary("after signals/landed/1")
        scrub = self.inbox.vault.scrubber.scrub_any
        said = scrub(finding.as_json()) | {"told_at": iso(now), "became": row or "digest"}
        stands = json.loads(store.setting_once(key, canonical(said)))
        self.boundary("after signals/told/1")
        if stands["told_at"] != said["told_at"]:
            return ""
        log.warning("%s, %s: %s", finding.sure, finding.signal, said["says"])
        return finding.name


def _seen(finding: Finding, value: str) -> Seen | None:
    """The credential that a finding shows; None where it shows none, and a person has to look."""
    kind, _, name = finding.credential.partition(":")
    common: dict[str, Any] = {"repository": finding.repository, "place": finding.name, "where": finding.says[:300]}
    if value:
        return Seen(called=kind, kind=kind, text=value, value=value, **common)
    if kind == "aws-access-key" and name:
        return Seen(called=kind, kind=kind, id=name, **common)
    for registry, _, _ in finding.versions:
        if kind := TOKENS.get(registry, ""):
            return Seen(called=kind, kind=kind, names=(f"{SOURCE}:{finding.name}",), **common)
    return None


def jobs(inbox: Inbox, text: str, every_s: float) -> list[clock.Job]:
    """What the clock does: a turn every so many seconds; nothing where nothing is watched. Raises InputError."""
    watched = tuple(watched_of(text))
    if not watched:
        return []
    watch = Watch(inbox=inbox, watched=watched)

    async def turn() -> None:
        await asyncio.to_thread(watch.turn)

    return [clock.Job(turn, every_s)]
