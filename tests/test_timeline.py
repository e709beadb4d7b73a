"""The timeline: in order, once, chained, and closed to a run that no longer owns its workflow."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bot.timeline
from bot.errors import EngineError, FencedOut
from bot.store import Store
from bot.tables import timeline as table
from bot.timeline import Event, Fence, Timeline, load

AT = "2026-01-02T03:04:05.000000Z"
FENCE_SQL = "SELECT workflow, token FROM owner WHERE workflow IN :w"


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    store.migrate()
    with store.begin() as c:
        for name in ("inc-1", "inc-2"):
            store.add_incident(
                c,
                {
                    "id": name,
                    "opened_at": AT,
                    "world": "range",
                    "status": "open",
                    "title": "t",
                    "credential_key": "k",
                    "body": "{}",
                },
            )
        c.execute(sa.text("CREATE TABLE owner (workflow TEXT, token TEXT)"))
        c.execute(sa.text("INSERT INTO owner VALUES ('w', 'first')"))
    yield store
    store.close()


@pytest.fixture
def timeline(store: Store) -> Iterator[Timeline]:
    timeline = Timeline(store, FENCE_SQL)
    yield timeline
    timeline.close()


def broken(store: Store, incident: str = "inc-1") -> list[str]:
    return bot.timeline.broken(store, incident)


def fill(timeline: Timeline, count: int = 5, incident: str = "inc-1") -> list[Event]:
    futures = [timeline.append(incident, f"s{k}", "look", {"k": k, "ü": "ß"}, at=AT) for k in range(count)]
    return [f.result(10) for f in futures]


def test_events_stand_in_order_and_the_chain_holds(store: Store, timeline: Timeline) -> None:
    assert [e.n for e in fill(timeline)] == [1, 2, 3, 4, 5]
    assert [e.body["k"] for e in load(store, "inc-1")] == [0, 1, 2, 3, 4]
    assert broken(store) == []


def test_it_holds_at_every_moment_while_it_is_written_on(store: Store, timeline: Timeline) -> None:
    def write() -> None:
        for k in range(100):
            timeline.append("inc-1", f"s{k}", "look", {"k": k}, at=AT).result(10)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not writing.done():
            assert broken(store) == []
        writing.result()
    assert broken(store) == []


def test_appended_again_the_first_one_stands(store: Store, timeline: Timeline) -> None:
    first = timeline.append("inc-1", "s", "look", {"found": 1}, at=AT).result(10)
    told: list[Event] = []
    timeline.listen(told.append)
    assert timeline.append("inc-1", "s", "look", {"found": 2}, at=AT).result(10) == first
    assert (len(load(store, "inc-1")), told) == (1, [])


def test_many_writers_share_one_chain(store: Store, timeline: Timeline) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda k: timeline.append(f"inc-{k % 2 + 1}", f"s{k}", "look", k, at=AT).result(10), range(200)))
    for incident in ("inc-1", "inc-2"):
        assert len(load(store, incident)) == 100
        assert broken(store, incident) == []


def test_a_run_that_no_longer_owns_its_workflow_writes_nothing(store: Store, timeline: Timeline) -> None:
    timeline.append("inc-1", "a", "look", 1, at=AT, fence=Fence("w", "first")).result(10)
    with store.begin() as c:
        c.execute(sa.text("UPDATE owner SET token = 'second'"))
    with pytest.raises(FencedOut):
        timeline.append("inc-1", "b", "look", 2, at=AT, fence=Fence("w", "first")).result(10)
    timeline.append("inc-1", "b", "look", 3, at=AT, fence=Fence("w", "second")).result(10)
    assert [e.body for e in load(store, "inc-1")] == [1, 3]


def test_a_tombstoned_body_leaves_the_chain_whole(store: Store, timeline: Timeline) -> None:
    fill(timeline)
    with store.begin() as c:
        c.execute(sa.update(table).where(table.c.n == 3).values(body=None))
    assert broken(store) == []
    assert load(store, "inc-1")[2].body is None


COLUMNS = {"step": "other", "kind": "other", "attempt": 9, "at": "2020", "schema": 7, "body": json.dumps({"k": 99}),
           "body_sha256": "0" * 64, "prev_hash": "1" * 64, "hash": "2" * 64}  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(n=st.integers(1, 5), change=st.sampled_from(sorted(COLUMNS)))
def test_no_column_of_no_event_can_be_changed_unseen(tmp_path_factory: Any, n: int, change: str) -> None:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('t') / 'b.db'}")
    store.migrate()
    with store.begin() as c:
        store.add_incident(
            c,
            {
                "id": "inc-1",
                "opened_at": AT,
                "world": "range",
                "status": "open",
                "title": "t",
                "credential_key": "k",
                "body": "{}",
            },
        )
    timeline = Timeline(store)
    fill(timeline)
    timeline.close()
    with store.begin() as c:
        c.execute(sa.update(table).where(table.c.n == n).values({change: COLUMNS[change]}))
    assert broken(store) != []
    store.close()


@pytest.mark.parametrize("n", [1, 3, 5])
def test_no_event_can_be_removed_unseen(store: Store, timeline: Timeline, n: int) -> None:
    fill(timeline)
    with store.begin() as c:
        c.execute(sa.delete(table).where(table.c.n == n))
    assert broken(store) != []


def test_what_the_database_does_not_take_fails_for_its_callers_and_the_writer_lives_on(
    store: Store, timeline: Timeline
) -> None:
    with store.begin() as c:
        c.execute(sa.text("ALTER TABLE timeline RENAME TO gone"))
    with pytest.raises(EngineError, match="did not take"):
        timeline.append("inc-1", "s", "look", 1, at=AT).result(10)
    with store.begin() as c:
        c.execute(sa.text("ALTER TABLE gone RENAME TO timeline"))
    assert timeline.append("inc-1", "s", "look", 1, at=AT).result(10).n == 1


def test_two_writers_of_many_incidents_never_stand_in_each_others_way(store: Store, timeline: Timeline) -> None:
    """Each batch locks what it writes in one order, in whichever order its events were queued."""
    other = Timeline(store, FENCE_SQL)
    futures = []
    for k in range(300):
        names = ("inc-1", "inc-2") if k % 2 else ("inc-2", "inc-1")
        futures += [writer.append(name, f"s{k}", "look", k, at=AT) for name in names for writer in (timeline, other)]
    for future in futures:
        future.result(30)
    other.close()
    for incident in ("inc-1", "inc-2"):
        assert len(load(store, incident)) == 300, "appended by both, each event stands once"
        assert broken(store, incident) == []


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_when_the_database_hangs_up_the_writer_waits_for_it_and_writes_once(store: Store, timeline: Timeline) -> None:
    """A restart or a fail-over ends every connection; nobody who appends or reads is told of it."""
    fill(timeline)
    admin = sa.create_engine(store.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    others = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <>"
    )
    for k in range(20):
        future = timeline.append("inc-1", f"more{k}", "look", k, at=AT)
        with admin.connect() as c:
            c.execute(sa.text(f"{others} pg_backend_pid()"))
        assert future.result(30).step == f"more{k}"
    assert len(load(store, "inc-1")) == 25
    assert broken(store) == []


def test_who_is_cancelled_while_it_waits_does_not_end_the_writer(timeline: Timeline, store: Store) -> None:
    writing, go_on = threading.Event(), threading.Event()

    def hold(_event: Event) -> None:
        writing.set()
        go_on.wait(20)

    timeline.listen(hold)
    first = timeline.append("inc-1", "a", "look", {}, at=AT)
    assert writing.wait(20)
    second = timeline.append("inc-1", "b", "look", {}, at=AT)
    assert second.cancel(), "it had not begun"
    assert not first.cancel(), "it has begun, so its answer comes"
    go_on.set()
    assert first.result(20).step == "a"
    assert timeline.append("inc-1", "c", "look", {}, at=AT).result(20).step == "c"
    assert [event.step for event in load(store, "inc-1")] == ["a", "c"]
    assert broken(store) == []


def test_what_stands_and_what_is_new_in_one_batch_are_told_apart(store: Store, timeline: Timeline) -> None:
    (first,) = fill(timeline, 1)
    told: list[Event] = []
    timeline.listen(told.append)
    with timeline._wake:  # nobody writes until all of it is queued
        names = ["s0", "s1", "s0", "s1", "s2"]
        futures = [timeline.append("inc-1", name, "look", k, at=AT) for k, name in enumerate(names)]
    events = [future.result(10) for future in futures]
    assert [e.n for e in events] == [1, 2, 1, 2, 3]
    assert events[0] == first
    assert [e.step for e in told] == ["s1", "s2"]
    assert broken(store) == []


def test_an_incidents_status_is_what_its_timeline_said_last(store: Store, timeline: Timeline) -> None:
    said = [
        ("cut", "closed", {}, "open"),  # not the incident's own word
        ("incident", "closed", {}, "closed"),
        ("undo:cut", "undone", {"kills": None}, "closed"),
        ("undo:cut-2", "undone", {"kills": "key:a"}, "open"),
        ("incident", "aborted", {}, "aborted"),
    ]
    for step, kind, body, status in said:
        timeline.append("inc-1", step, kind, body, at=AT).result(10)
        assert store.incident("inc-1").status == status, (step, kind)
    assert store.incident("inc-2").status == "open"
