"""What a replay is drawn from, out of a store: what was told belongs to the incident that the drill reported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.app import Bulkhead, opened
from bot.drill import keep, told
from bot.replay.gather import gather, played
from bot.settings import Settings
from bot.store import canonical, iso
from tests.incidents import CLOSED, REPORT, START, events
from tests.replay.test_scenes import TOLD

FIRST, OTHER, BESIDE, REAL = "inc-first", "inc-other", "inc-beside", "inc-real"


def add(bulkhead: Bulkhead, name: str, inbox: str, world: str = "range", beside: str = "") -> None:
    body = canonical({"report": REPORT | {"beside": beside}, "inbox": inbox, "playbook": {"id": "x", "text": ""}})
    row = {"id": name, "opened_at": iso(START), "world": world, "status": "open", "title": name,
           "credential_key": "k", "body": body}  # fmt: skip
    with bulkhead.store.begin() as c:
        bulkhead.store.add_incident(c, row)
    for event in events(CLOSED):
        bulkhead.timeline.append(name, event.step, event.kind, event.body, at=event.at).result()


@pytest.fixture
def bulkhead(tmp_path: Path) -> Iterator[Bulkhead]:
    with opened(Settings(home=tmp_path), sites={}) as made:
        add(made, FIRST, "drill:d1")
        add(made, OTHER, "drill:d2")
        add(made, BESIDE, "drill:d1:beside", beside=FIRST)
        add(made, REAL, "cli:d1", world="real")
        yield made


def test_what_drill_run_keeps_is_of_the_incident_that_it_reported(bulkhead: Bulkhead) -> None:
    store = bulkhead.store
    for name, said in TOLD.items():
        store.set_setting(f"drill:{name}", json.dumps(said))
    store.set_setting("drill:id", "aws-key-in-public-log")
    store.set_setting("drill:told", json.dumps({"delivery": "d1", "at": ""}))
    assert told(store, store.incident(FIRST)) == {"id": "aws-key-in-public-log"} | TOLD
    assert [told(store, store.incident(name)) for name in (OTHER, BESIDE, REAL)] == [{}, {}, {}]


def test_what_a_company_of_its_own_keeps_is_found_by_its_order(bulkhead: Bulkhead) -> None:
    drill = bulkhead.drills["github-pat-in-image"]
    keep(bulkhead.store, "d2", drill, TOLD)
    assert told(bulkhead.store, bulkhead.store.incident(OTHER)) == {"id": drill.id} | TOLD
    assert told(bulkhead.store, bulkhead.store.incident(FIRST)) == {}
    assert gather(bulkhead.store, OTHER, bulkhead.drills).title == drill.title


def test_what_the_range_of_make_serve_keeps_is_found_by_its_delivery(bulkhead: Bulkhead) -> None:
    bulkhead.store.set_setting("drill:github-pat-in-image", "d2")
    bulkhead.store.set_setting("drill:github-pat-in-image:leak", json.dumps(TOLD["leak"]))
    found = told(bulkhead.store, bulkhead.store.incident(OTHER))
    assert found == {"id": "github-pat-in-image", "leak": TOLD["leak"]}


def test_an_incident_beside_it_is_shown_to_who_may_see_it(bulkhead: Bulkhead) -> None:
    assert len(gather(bulkhead.store, FIRST, {}).beside) == 1
    assert gather(bulkhead.store, FIRST, {}, lambda name: name == FIRST).beside == ()
    assert gather(bulkhead.store, OTHER, {}).beside == ()


def test_the_run_beside_it_is_the_last_one_of_its_drill_and_behind_the_same_door(bulkhead: Bulkhead) -> None:
    drill = bulkhead.drills["oidc-non-event"]
    assert played(bulkhead.store, drill.id, bulkhead.drills) is None
    keep(bulkhead.store, "d2", drill, TOLD)
    found = played(bulkhead.store, drill.id, bulkhead.drills)
    assert found is not None
    assert found.title == drill.title
    assert played(bulkhead.store, drill.id, bulkhead.drills, lambda _name: False) is None


def test_every_contrast_names_a_drill_that_moves_to_oidc(bulkhead: Bulkhead) -> None:
    named = {drill.id: drill.contrast for drill in bulkhead.drills.values() if drill.contrast}
    assert {"aws-key-in-public-log", "npm-token-stolen-by-dependency"} <= named.keys()
    assert all("migrate" in bulkhead.drills[other].acts for other in named.values())
