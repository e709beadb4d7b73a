"""A house in which all is well, and states of it that somebody should be told of: each is brought about, then over."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot import heartbeat
from bot.lessons.measures import Measures
from bot.posts import Posts
from bot.store import Store, iso
from bot.store_slack import DEAD, DONE, Deliveries, Delivery
from bot.timeline import Timeline
from bot.vault import ROTATED, SINCE
from bot.web import metrics
from tests.incidents import ASKING, CUT, ID, land

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
Series = tuple[str, Mapping[str, str], float]



@dataclass
class House:
    """An installation in which all is well, as Prometheus sees it."""

    store: Store
    timeline: Timeline
    up: float | None = 1.0
    frozen: bool = False
    said: dict[str, Any] = field(default_factory=dict)

    def beats(self, *roles: str, late: timedelta = timedelta()) -> None:
        for role in roles:
            heartbeat.beat(self.store, role, NOW - late, NOW - HOUR, **self.said)

    def lands(self, story: list[tuple[str, str, Any]], world: str = "real") -> None:
        told = [(step, kind, body | {"world": world} if kind == "opened" else body) for step, kind, body in story]
        land(SimpleNamespace(store=self.store, timeline=self.timeline), told, "open", b"")
        if world != "real":
            with self.store.begin() as c:
                c.exec_driver_sql("UPDATE incident SET world = ?", (world,))

    def happens(self, step: str, kind: str, body: Any, attempt: int = 1) -> None:
        self.timeline.append(ID, step, kind, body, at=iso(NOW), attempt=attempt).result()

    def scrape(self) -> list[Series]:
        page = metrics.page(self.store, NOW, {}, Measures(self.store), frozen=self.frozen).decode()
        found = [
            (sample.name, sample.labels, sample.value) for family in text_string_to_metric_families(page)
            for sample in family.samples
        ]  # fmt: skip
        return found + ([("up", {"job": "bulkhead"}, self.up)] if self.up is not None else [])


@contextmanager
def well(folder: Path) -> Iterator[House]:
    """A house of its own in a folder."""
    store = Store(f"sqlite:///{folder / 'bulkhead.db'}")
    store.migrate()
    store.set_setting(SINCE, iso(NOW - 30 * 24 * HOUR))
    made = House(store, Timeline(store))
    made.said = {
        "providers": {"aws": {"answered": iso(NOW), "failed": iso(NOW - HOUR), "why": "AWS did not answer", "needs": 1,
                              "places": 16, "rest_s": 0.0}},
        "left": {"github": [4000, 5000]}, "ahead_s": {"aws": 0.4},
    }  # fmt: skip
    made.beats("worker", "clock", "pages")
    yield made
    made.timeline.close()
    store.close()


PROOF = {"grade": "refused", "detail": "AWS refuses the key", "retry_after": 2.0}
LOOKED = [one for one in ASKING if one[1] != "asked"]
FAILED = {"error": "not proven in time", "on_failure": "continue", "denied": False}


def gone(house: House) -> Iterator[None]:
    house.up = 0.0
    yield
    house.up = None
    yield
    house.up = 1.0


def silent(role: str) -> Callable[[House], Iterator[None]]:
    def work(house: House) -> Iterator[None]:
        house.beats(role, late=timedelta(seconds=90))
        yield
        house.beats(role)

    return work


def lost(house: House) -> Iterator[None]:
    other = Store(house.store.url)
    heartbeat.beat(other, "worker", NOW - timedelta(minutes=2))
    house.beats("worker")
    yield
    heartbeat.goodbye(other, "worker")
    other.close()


def asks(house: House) -> Iterator[None]:
    house.lands(ASKING)
    yield
    house.happens("deactivate", "decided", {"go": True, "said": "approved", "by": ["ann"]})


def late(house: House) -> Iterator[None]:
    house.lands(LOOKED)
    yield
    house.happens("deactivate", "proof", PROOF | {"verdict": "proven"})


def reopened(house: House) -> Iterator[None]:
    house.lands([*CUT[:-1], ("deactivate", "proof", PROOF | {"verdict": "refuted"})])
    yield
    house.happens("deactivate", "proof", PROOF | {"verdict": "proven"}, attempt=2)


def not_proven(house: House) -> Iterator[None]:
    house.lands([*CUT[:-1], ("deactivate", "proof", PROOF | {"verdict": "not_yet"}), ("deactivate", "failed", FAILED)])
    yield
    house.happens("deactivate", "outcome", CUT[-2][2], attempt=2)


def frozen(house: House) -> Iterator[None]:
    house.frozen = True
    yield
    house.frozen = False


def report(house: House, at: datetime) -> None:
    with house.store.begin() as c:
        house.store.land(c, {"id": "cli:1", "source": "cli", "landed_at": iso(at), "body": {}, "raw_sha256": ""})


def becomes(house: House, state: str) -> None:
    with house.store.begin() as c:
        house.store.set_inbox(c, "cli:1", state, "")


def waits(house: House) -> Iterator[None]:
    report(house, NOW - timedelta(seconds=90))
    yield
    becomes(house, "worked")


def dead(house: House) -> Iterator[None]:
    report(house, NOW)
    becomes(house, "dead")
    yield
    becomes(house, "worked")


def page_fails(house: House) -> Iterator[None]:
    posts = Posts(house.store)
    row, _ = posts.intend("p", incident=ID, kind="page", at=iso(NOW), body={"to": "PagerDuty", "tries": 3})
    yield
    posts.save(type(row)(**{**{name: getattr(row, name) for name in row.__slots__}, "state": "sent"}))


def slack(house: House, at: datetime) -> Deliveries:
    rows = Deliveries(house.store)
    rows.land(Delivery(id="d", kind="command", landed_at=iso(at), body={}), None, lambda _c: None)
    return rows


def slack_waits(house: House) -> Iterator[None]:
    rows = slack(house, NOW - timedelta(seconds=90))
    yield
    rows.settle("d", DONE)


def slack_dead(house: House) -> Iterator[None]:
    rows = slack(house, NOW)
    rows.settle("d", DEAD)
    yield
    rows.purge(iso(NOW + HOUR))


def catch_up(house: House) -> Iterator[None]:
    name, well = "catch-up:github-alerts:acme", {"cursor": {}, "succeeded": iso(NOW)}
    house.store.set_setting(name, json.dumps(well | {"why": "GitHub refused", "failing_since": iso(NOW)}))
    yield
    house.store.set_setting(name, json.dumps(well))


def says(**other: Any) -> Callable[[House], Iterator[None]]:
    def work(house: House) -> Iterator[None]:
        well, house.said = house.said, house.said | other
        house.beats("worker")
        yield
        house.said = well
        house.beats("worker")

    return work


def old_key(house: House) -> Iterator[None]:
    house.store.set_setting(SINCE, iso(NOW - 366 * 24 * HOUR))
    yield
    house.store.set_setting(ROTATED, iso(NOW - HOUR))


AWAY = {"aws": {"answered": iso(NOW - HOUR), "failed": iso(NOW), "why": "AWS did not answer", "needs": 1, "places": 16,
                "rest_s": 0.0}}  # fmt: skip
STATES: dict[str, Callable[[House], Iterator[None]]] = {
    "BulkheadGone": gone, "BulkheadNoWorker": silent("worker"), "BulkheadWorkerLost": lost,
    "BulkheadNoClock": silent("clock"), "BulkheadAskWaits": asks, "BulkheadStepLate": late,
    "BulkheadCutFailed": reopened, "BulkheadNotProven": not_proven, "BulkheadFrozen": frozen,
    "BulkheadInboxWaits": waits, "BulkheadReportDead": dead, "BulkheadPageFails": page_fails,
    "BulkheadSlackWaits": slack_waits, "BulkheadSlackDead": slack_dead, "BulkheadCatchUpFails": catch_up,
    "BulkheadProviderAway": says(providers=AWAY), "BulkheadBudgetThin": says(left={"github": [400, 5000]}),
    "BulkheadClockOff": says(ahead_s={"aws": -7.0}), "BulkheadVaultKeyOld": old_key,
}  # fmt: skip
SAMPLE = ("BulkheadWorkerLost", "BulkheadCutFailed", "BulkheadSlackWaits", "BulkheadBudgetThin")  # of the fast suite


def each(names: Iterable[str]) -> list[Any]:
    """These states as parameters: a sample is fast, the others are slow."""
    return [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.slow, id=name) for name in names]
