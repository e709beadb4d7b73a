"""Follow-ups that a person has ordered, carried out by the engine: an issue, and the pull request to OIDC."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.actions import CATALOGUE
from bot.app import Bulkhead, opened
from bot.drill import Range as Info
from bot.engine.afterwards import MAY, ORDER
from bot.engine.steps import to_json
from bot.learn.edits import PREFIX
from bot.learn.follow_up import follow_up
from bot.lessons import rounds
from bot.lessons.postmortem import MIGRATION, MOVE, STEP
from bot.range.company import FERRY
from bot.range.server import Range
from bot.settings import Settings
from bot.sites import range_site
from bot.store import canonical, iso
from tests.incidents import BOOK, CLOSED, ID, LOOK, REPORT, ROW, TRIAGE, events

STORE = {"repository": FERRY, "name": "AWS_ACCESS_KEY_ID", "scope": "repository", "environment": "", "store": "actions"}
ISSUE, PULL = f"{PREFIX}a1", f"{PREFIX}{MIGRATION}"


@pytest.fixture(scope="module")
def company() -> Iterator[tuple[Range, dict[str, Any]]]:
    made = Range()
    yield made, made.start()
    made.stop()


@pytest.fixture
def house(company: tuple[Range, dict[str, Any]], tmp_path: Path) -> Iterator[Bulkhead]:
    """A closed incident of ferry, its post-mortem ready to be published."""
    made, info = company
    info = info | {"cast": made.reset()}
    site = range_site(Info(info=info).endpoints)
    with opened(Settings(home=tmp_path, responders="ann,bob"), sites={"range": site}) as bulkhead:
        body = {"report": REPORT, "inbox": "x", "repository": FERRY, "playbook": BOOK | {"text": "", "drill": ""}}
        row = {"id": ID, "opened_at": iso(site.clock.now()), "world": "range", "status": "closed", "title": "A leak",
               "credential_key": ROW, "body": canonical(body)}  # fmt: skip
        with bulkhead.store.begin() as c:
            bulkhead.store.add_incident(c, row)
        for event in events(CLOSED):
            said = TRIAGE | {"repository": FERRY, "stores": [STORE]} if event.kind == "triage" else event.body
            bulkhead.timeline.append(ID, event.step, event.kind, said, at=iso(site.clock.now())).result()
        books = bulkhead.postmortems
        books.edit(ID, {"durable_fix": "OIDC"}, by="ann", key="k1")
        made_up = follow_up("a1", title="Take the key out", owner="ann", due="2026-12-01",
                            check=f"secret-gone {FERRY} AWS_ACCESS_KEY_ID")  # fmt: skip
        books.follow(ID, made_up, by="ann", key="k2")
        yield bulkhead


def kinds(house: Bulkhead, step: str) -> list[str]:
    return [e["kind"] for e in house.store.events(ID) if e["step"] == step and e["kind"] != "follow-up"]


async def worked(house: Bulkhead, *steps: str, end: str = "proof") -> None:
    """Run a worker until these steps have ended so."""
    engine = house.engine()
    await engine.start()
    try:
        for _ in range(600):
            if all(end in kinds(house, step) for step in steps):
                return
            await asyncio.sleep(0.05)
        raise AssertionError([kinds(house, step) for step in steps])
    finally:
        await engine.stop()


def issues(company: tuple[Range, dict[str, Any]]) -> list[str]:
    return [row["title"] for row in company[0].github.state.repos[FERRY].issues.values()]


def test_published_they_are_opened_proven_and_found_again(house: Bulkhead, company: Any) -> None:
    house.postmortems.publish(ID, by="ann")
    house.postmortems._desk.order(  # bob has published in the same moment
        incident=ID, step=STEP, kind=ORDER, by="bob", at=house.sites["range"].clock.now(), reason="x",
        said={"steps": house.store.decisions()[0].body["steps"]},
    )  # fmt: skip
    asyncio.run(worked(house, ISSUE, PULL))
    assert kinds(house, ISSUE) == kinds(house, PULL) == ["look", "outcome", "proof"], "the Before is committed first"
    assert issues(company) == ["Take the key out"]
    pulls = company[0].github.state.repos[FERRY].pulls
    assert len(pulls) == 1 and "OIDC" in next(iter(pulls.values())).title
    urls = {one.what.id: one.url for one in house.postmortems.view(ID).follow_ups}
    assert "/issues/" in urls["a1"] and "/pull/" in urls[MIGRATION]
    asyncio.run(worked(house, ISSUE))
    assert issues(company) == ["Take the key out"] and len(pulls) == 1, "a restart opens nothing again"
    # and the clock looks at both
    rounds.turn(house.store, house.postmortems, house.worlds)
    found = {one.what.id: (one.state, one.detail) for one in house.postmortems.view(ID).follow_ups}
    assert found["a1"][0] == "open" and "old secret still exists" in found["a1"][1]
    assert "not merged" in found[MIGRATION][1]


@pytest.mark.slow
def test_a_pull_request_that_the_playbook_has_opened_is_found_again(house: Bulkhead, company: Any) -> None:
    action, site = CATALOGUE[MOVE], house.sites["range"]
    role = "arn:aws:iam::123456789012:role/ferry-deploy"
    given = action.inputs(repository=FERRY, secret="AWS_ACCESS_KEY_ID", role=role)
    world = house.worlds["range"](ID)
    outcome = action.run(world, given, action.look(world, given))
    look = LOOK | {"uses": MOVE, "inputs": to_json(given), "kills": None}
    house.timeline.append(ID, "migrate", "look", look, at=iso(site.clock.now())).result()
    house.postmortems.publish(ID, by="ann")
    asyncio.run(worked(house, PULL))
    assert list(company[0].github.state.repos[FERRY].pulls) == [outcome.pull]
    assert next(one.url for one in house.postmortems.view(ID).follow_ups if one.what.id == MIGRATION) == outcome.url


@pytest.mark.slow
def test_one_that_fails_keeps_no_other_back_and_nothing_else_can_be_ordered(house: Bulkhead, company: Any) -> None:
    steps = [
        {"id": f"{PREFIX}x", "uses": "aws.delete_access_key", "with": {"user": "ferry-ci", "key": "AKIAX"}},
        {"id": f"{PREFIX}y", "uses": "github.open_issue", "with": {"repository": FERRY}},
        {"id": f"{PREFIX}z", "uses": "github.open_issue",
         "with": {"repository": "nobody/nowhere", "title": "t", "body": "b", "mark": "m"}},
        {"id": ISSUE, "uses": "github.open_issue",
         "with": {"repository": FERRY, "title": "t", "body": "b", "mark": "m"}},
    ]  # fmt: skip
    now = house.sites["range"].clock.now()
    house.desk.order(incident=ID, step=STEP, kind=ORDER, by="ann", at=now, reason="x", said={"steps": steps})
    before = len(company[0].switchboard.requests())
    asyncio.run(worked(house, ISSUE))
    failed = {e["step"]: e["body"]["error"] for e in house.store.events(ID) if e["kind"] == "failed"}
    assert set(failed) == {f"{PREFIX}x", f"{PREFIX}y", f"{PREFIX}z"}
    assert "cannot be ordered after an incident" in failed[f"{PREFIX}x"]
    writes = {r["route"] for r in company[0].switchboard.requests()[before:] if r["mutating"]}
    assert writes == {f"/repos/{FERRY}/issues"}
    assert set(MAY) == {"github.open_issue", "github.open_migration"}


@pytest.mark.slow
def test_whoever_may_not_decide_orders_nothing(house: Bulkhead, company: Any) -> None:
    steps = [{"id": ISSUE, "uses": "github.open_issue",
              "with": {"repository": FERRY, "title": "t", "body": "b", "mark": "m"}}]  # fmt: skip
    row = {"incident": ID, "step": STEP, "kind": ORDER, "by": "mallory", "at": "2026-03-01T12:00:00.000000Z",
           "plan_hash": "", "body": {"steps": steps, "reason": "x"}}  # fmt: skip
    house.store.add_decision(row)  # past the desk
    house.postmortems.publish(ID, by="ann")
    asyncio.run(worked(house, ISSUE, PULL))
    assert issues(company) == ["Take the key out"]
