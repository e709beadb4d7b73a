"""Who is alive: worker and clock each write a beat, and all who live look whether one of them has fallen silent.

A beat is written from the loop that does the work, so a loop that hangs stops beating; the watch has a thread of its
own, which does not hang with it. One of all processes raises the alarm, once a silence, and says when it is over.

With its beat a process says how it is (its version, its mode, what it has heard of providers): what the status page and
the metrics show is read there, in whatever process they are asked for.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.errors import BulkheadError
from bot.store import Store, canonical, iso, when

ROLES = ("worker", "clock")
BEAT_S = 5.0
QUIET = timedelta(seconds=60)
REMEMBERED = timedelta(hours=1)  # so long a process that went without a word is missed
PROCESS = "process:"  # the settings in which each process says how it is
log = logging.getLogger("bulkhead.heartbeat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One role has fallen silent, or is back. ``text`` says what it means and what to do."""

    role: str
    back: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process in one role, as it was when it spoke last. ``said``: what it told of itself."""

    role: str
    name: str
    since: datetime
    at: datetime
    said: Mapping[str, Any]

    def alive(self, now: datetime) -> bool:
        """Whether it has spoken lately."""
        return now - self.at <= QUIET


def beat(store: Store, role: str, now: datetime, since: datetime | None = None, **said: Any) -> None:
    """Say that a role is alive, and how this process is in it. ``since``: when it began."""
    told = {"since": iso(since or now), "at": iso(now), "said": said}
    store.set_settings({f"beat:{role}": iso(now), f"{PROCESS}{role}:{store.process}": canonical(told)})


def goodbye(store: Store, role: str) -> None:
    """This process ends in good order: nobody is to miss it."""
    store.take_setting(f"{PROCESS}{role}:{store.process}")


def processes(store: Store, now: datetime) -> list[Process]:
    """Every process that lives or is missed, by role and by when it began."""
    found = [_process(*one) for one in store.settings(PROCESS).items()]
    return sorted((one for one in found if now - one.at <= REMEMBERED), key=lambda one: (one.role, one.since))


def forget(store: Store, now: datetime) -> None:
    """Forget processes that nobody misses any more."""
    for name, text in store.settings(PROCESS).items():
        if now - _process(name, text).at > REMEMBERED:
            store.take_setting(name)


def _process(name: str, text: str) -> Process:
    _, role, process = name.split(":", 2)
    told = json.loads(text)
    return Process(role=role, name=process, since=when(told["since"]), at=when(told["at"]), said=told["said"])


def ages(store: Store, now: datetime) -> dict[str, timedelta | None]:
    """How long ago each role said so; None for one that never did."""
    beats = store.settings("beat:")
    return {role: now - when(beats[f"beat:{role}"]) if f"beat:{role}" in beats else None for role in ROLES}


def words(age: timedelta | None) -> str:
    """How a role is, in a word or two: ok, silent for 75 s, never seen."""
    if age is None:
        return "never seen"
    return "ok" if age <= QUIET else f"silent for {int(age.total_seconds())} s"


class Watch:
    """Looks whether somebody has fallen silent, and tells. Silence from before the watch began counts from then on."""

    def __init__(self, store: Store, tell: Callable[[Alarm], object], began: datetime) -> None:
        self._store, self._tell, self._began = store, tell, began
        self._name = secrets.token_hex(8)  # tells this watch from those of other processes

    def look(self, now: datetime) -> None:
        """One look. Of all who see a silence, the first to write it down tells of it; the same holds for its end."""
        for role, age in ages(self._store, now).items():
            quiet_for = min(now - self._began, age if age is not None else timedelta.max)
            known = f"silent:{role}"
            if quiet_for > QUIET:
                if not self._store.setting(known) and self._store.setting_once(known, self._name) == self._name:
                    self._tell(Alarm(role=role, back=False, text=_silent(role, age)))
            elif age is not None and age <= QUIET and self._store.setting(known) and self._store.take_setting(known):
                self._tell(Alarm(role=role, back=True, text=f"the {role} is back"))


def _silent(role: str, age: timedelta | None) -> str:
    since = f"has said nothing for {int(age.total_seconds())} s" if age is not None else "has never said anything"
    stops = {
        "worker": "no incident goes on until one runs: start `bulkhead worker` (or `bulkhead serve`), see its log",
        "clock": "nothing is forgotten, reminded or named as stuck: start `bulkhead clock`, see its log",
    }
    return f"the {role} {since}; {stops[role]}"


@contextlib.contextmanager
def watching(watch: Watch, every_s: float = BEAT_S) -> Iterator[None]:
    """Look again and again from a thread while the block runs."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(every_s):
            try:
                watch.look(datetime.now(UTC))
            except BulkheadError as exc:
                log.warning("nobody can be watched: %s", exc)

    thread = threading.Thread(target=work, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
