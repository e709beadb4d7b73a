"""A drill from Slack in a real installation: a company of its own, people who decide, nothing real touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bot.app import opened
from bot.settings import Settings
from tests.incidents import ASKING, ID, land
from tests.slack.boards import words
from tests.slack.installed import Installed, installed
from tests.slack_range import Slack, until

NAME = "github-pat-in-image"


def orders(work: Installed) -> list[tuple[Any, ...]]:
    return work.ask("SELECT drill, state, note, incident FROM drill_order ORDER BY at")


def real_incident(home: Path) -> None:
    """An incident of the real World that waits for people, as a worker has left it; its providers are away."""
    home.mkdir(parents=True)
    with opened(Settings(home=home), sites={}) as house:
        land(house, ASKING, "open", b"")


def approve(work: Installed) -> bool:
    """Alice and Bob agree to what the drill's card asks; True once it is over."""
    for card in work.cards("drills"):
        for user in ("alice", "bob"):
            work.press(user, card, "approve", lambda _value: True)
    return orders(work)[0][1] != "running"


@pytest.mark.slow
def test_a_drill_runs_beside_real_incidents_in_a_company_of_its_own(slack: Slack, tmp_path: Path) -> None:
    real_incident(tmp_path / "home")
    with installed(slack, tmp_path) as work:
        before = work.ask("SELECT kind, body FROM timeline WHERE incident = ?", ID)
        work.command("alice", f"drill run {NAME}")
        until(lambda: "is ordered" in work.whispers("alice"))
        until(lambda: work.cards("drills"), 90)
        until(lambda: "has begun" in work.whispers("alice"))
        until(lambda: approve(work), 150)
        assert orders(work)[0][:3] == (NAME, "over", ""), work.log()
        (card,) = until(lambda: [c for c in work.cards("drills") if "*Contained.*" in words([c])], 60)
        assert "DRILL. Nothing of this is real" in words([card])
        assert card["text"].startswith("DRILL")
        assert card["metadata"]["event_type"] == "bulkhead_drill"
        assert '"action_id": "undo"' not in words([card]), "its company is gone"
        worlds = work.ask("SELECT world, status, count(*) FROM incident GROUP BY world, status")
        assert ("range", "closed", 1) in worlds
        assert not [row for row in worlds if row[:2] == ("range", "open")]
        after = work.ask("SELECT kind, body FROM timeline WHERE incident = ?", ID)
        assert [row for row in after if row[0] not in ("role", "note")][: len(before)] == before
        assert not [c for c in work.cards("incidents") if "drill" in c["metadata"]["event_type"]]
        played = work.ask("SELECT \"by\", kind FROM decision WHERE \"by\" LIKE 'drill:%'")
        assert played, "people of the company answer by themselves"
        assert {kind for _, kind in played} == {"answer"}, "and decide nothing"
        assert all(by.endswith("(simulated)") for by, _ in played)
        work.stop()


@pytest.mark.slow
def test_a_drill_makes_way_for_a_real_incident_that_opens_in_the_middle(slack: Slack, tmp_path: Path) -> None:
    with installed(slack, tmp_path) as work:
        work.command("alice", f"drill run {NAME}")
        until(lambda: orders(work) and orders(work)[0][3], 90)
        with opened(Settings(home=tmp_path / "home"), sites={}) as house:
            land(house, ASKING, "open", b"")
        until(lambda: orders(work)[0][1] == "failed", 60)
        assert f"a real incident has opened ({ID})" in orders(work)[0][2]
        until(lambda: "makes way for it" in work.whispers("alice"))
        worlds = work.ask("SELECT world, status FROM incident ORDER BY world")
        assert worlds == [("range", "aborted"), ("real", "open")]
        work.stop()


@pytest.mark.slow
def test_a_range_that_dies_with_its_worker_ends_the_drill_and_says_so(slack: Slack, tmp_path: Path) -> None:
    with installed(slack, tmp_path) as work:
        work.command("alice", f"drill run {NAME}")
        until(lambda: orders(work) and orders(work)[0][3], 90)
        work.kill()
        work.start()
        until(lambda: orders(work)[0][1] == "failed", 60)
        assert "order the drill again" in orders(work)[0][2]
        until(lambda: "has ended without a result" in work.whispers("alice"))
        assert work.ask("SELECT DISTINCT status FROM incident") == [("aborted",)]
        said = [json.loads(body) for (body,) in work.ask("SELECT body FROM timeline WHERE kind = 'aborted'")]
        assert [one["by"] for one in said] == ["bulkhead"]
        work.stop()
