"""A drill's alert in its real format: what the range's scanners send is proven, read and landed as in earnest."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot import alarm, app, drill, sites
from bot.errors import EngineError
from bot.scenario import SCENARIOS, load_drills
from bot.settings import Settings
from bot.store_drills import MORE

DRILLS = load_drills([app.SHIPPED / "drills"])
SENT = [(one, name) for one in DRILLS.values() for name in (one.report.scanner, *one.alerts) if name]
TRUST = {"github": "signed", "guardduty": "signed", "stepsecurity": "unsigned", "gitleaks": "unsigned"}


@pytest.fixture(scope="module")
def arena() -> Iterator[drill.Range]:
    with drill.range_up() as up:
        yield up


def test_every_scanner_of_a_scenario_is_one_that_a_drill_of_ours_has() -> None:
    assert {name for _, name in SENT} == set(TRUST)
    assert {(one.scenario, name) for one, name in SENT} == {
        (name, scanner) for name, one in SCENARIOS.items() for scanner in one.scanners
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("one", "scanner"), SENT, ids=[f"{one.id}-{name}" for one, name in SENT])
def test_it_is_taken_in_by_the_door_and_what_was_changed_on_its_way_is_not(
    arena: drill.Range, tmp_path: Path, one: drill.Drill, scanner: str
) -> None:
    here = arena.anew()
    told = {act: here.post(f"/drill/{act}", {"scenario": one.scenario}) for act in one.acts}
    settings = Settings(home=tmp_path)
    with app.opened(settings, sites={"range": sites.range_site(here.endpoints)}) as house:
        now = house.sites["range"].clock.now()

        def deliver(delivery: str, post: alarm.Post = here.post) -> Any:
            return alarm.deliver(
                house.inbox, post, one.scenario, scanner, told["leak"], at=now, now=now, delivery=delivery
            )

        landed = deliver("d1")
        assert (landed.id, landed.new, deliver("d1").new) == ("drill:d1", True, False)
        (row,) = house.store.inbox("landed")
        assert (row["body"]["world"], row["body"]["trust"], row["source"]) == ("range", TRUST[scanner], "drill")

        def changed(path: str, body: Any) -> Any:
            """A bearer's body could be anybody's; a signed one is refused."""
            sent = dict(here.post(path, body))
            raw = base64.b64decode(sent["body"]).replace(b"harbor-lights", b"harbor-nights").replace(b"GuardDuty", b"G")
            bearer = {"authorization": "Bearer of-somebody-else"}
            headers = sent["headers"] | (bearer if "authorization" in sent["headers"] else {})
            return sent | {"body": base64.b64encode(raw).decode(), "headers": headers}

        with pytest.raises(EngineError, match="did not take the alert"):
            deliver("d2", changed)
        assert len(house.store.inbox("landed")) == 1
        shown = alarm.shown(here.post, one.scenario, scanner, told["leak"], here.get("/drill/stolen")["values"])
        assert shown.startswith(("{", "["))
        assert not any(value in shown for value in here.get("/values") if not value.startswith("AKIA"))
    assert MORE not in landed.id


@pytest.mark.slow
def test_nothing_is_sent_of_what_has_not_leaked_or_by_whom_there_is_not(arena: drill.Range) -> None:
    here = arena.anew()
    for body, said in (
        ({"scenario": "aws-key-in-every-re-run", "scanner": "stepsecurity", "leak": {}}, "nothing has leaked"),
        ({"scenario": "oauth-app-breached", "scanner": "guardduty", "leak": {}}, "who does: github"),
        ({"scenario": "gcp-key-in-public-log", "scanner": "github", "leak": {}}, "sees nothing"),
    ):
        with pytest.raises(EngineError, match=said):
            here.post("/drill/alert", body | {"secret": "made-up"})
