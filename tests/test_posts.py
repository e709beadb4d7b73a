"""The rows of what was told, in both databases: an intent once, however many want it, and what is left to tell."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from bot.posts import CARD, INTENDED, OVER, SENT, Posts
from bot.store import Store, canonical

AT = "2026-01-01T00:00:00.000000Z"
LATER = "2026-01-02T00:00:00.000000Z"


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    store.migrate()
    yield store
    store.close()


def incident(store: Store, name: str, **more: Any) -> None:
    row = {"id": name, "opened_at": AT, "world": "real", "status": "open", "title": "t", "credential_key": "k",
           "body": canonical({})}  # fmt: skip
    with store.begin() as c:
        store.add_incident(c, row | more)


def card(posts: Posts, name: str) -> Any:
    return posts.intend(f"{name}/card", incident=name, kind=CARD, at=AT, body={"no": 1})[0]


def test_an_intent_is_there_once_and_what_stands_is_not_written_over(store: Store) -> None:
    posts = Posts(store)
    row, new = posts.intend("a", incident="i", kind="said", at=AT, body={"x": 1})
    assert new and row.state == INTENDED
    again, new = posts.intend("a", incident="i", kind="said", at=LATER, body={"x": 2})
    assert not new and again == row
    posts.save(replace(row, state=SENT, upto=3, body={"x": 3}))
    found = posts.get("a")
    assert found is not None and (found.state, found.upto, found.body, found.at) == (SENT, 3, {"x": 3}, AT)
    assert posts.get("b") is None


def test_of_many_at_once_one_is_new(store: Store) -> None:
    posts = Posts(store)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _n: posts.intend("a", incident="i", kind="said", at=AT, body={})[1], range(16)))
    assert sum(made) == 1


def test_what_has_something_left_to_tell_is_followed_those_without_a_card_first(store: Store) -> None:
    posts = Posts(store)
    ended = {"status": "closed"}
    for name, more in {"told": {}, "new": {"opened_at": LATER}, "old": ended, "over": ended}.items():
        incident(store, name, **more)
    incident(store, "ended", status="closed", opened_at=LATER)
    card(posts, "told")
    posts.save(replace(card(posts, "over"), state=OVER))
    found = posts.followed(LATER)
    assert [(one.id, one.card is not None) for one in found] == [("ended", False), ("new", False), ("told", True)]
    posts.save(replace(card(posts, "over"), state=OVER, upto=-1))
    assert "over" in [one.id for one in posts.followed(LATER)], "its timeline has grown since: a cut was undone"


def test_rows_are_found_by_incident_kind_and_state(store: Store) -> None:
    posts = Posts(store)
    for k, state in enumerate((INTENDED, SENT, OVER)):
        row, _ = posts.intend(f"i/page/{k}", incident="i", kind="page", at=AT, body={"to": "PagerDuty"})
        posts.save(replace(row, state=state))
    posts.intend("j/said/1", incident="j", kind="said", at=AT, body={})
    assert [row.key for row in posts.of("i")] == ["i/page/0", "i/page/1", "i/page/2"]
    assert posts.of("i", "said") == []
    assert [row.state for row in posts.all("page", INTENDED, SENT)] == [INTENDED, SENT]
    assert dict(posts.counts("page")) == {("PagerDuty", state): 1 for state in (INTENDED, SENT, OVER)}


def test_the_stamp_changes_with_what_happens(store: Store) -> None:
    posts = Posts(store)
    seen = [posts.stamp()]
    incident(store, "a")
    seen.append(posts.stamp())
    store.add_decision(
        {"incident": "a", "step": "s", "kind": "approve", "by": "ann", "at": AT, "plan_hash": "p", "body": {}}
    )
    seen.append(posts.stamp())
    assert len(set(seen)) == 3 and posts.stamp() == seen[-1]
    assert posts.heads("open", "real") == {"a": 0} and posts.heads("closed", "real") == {}
