"""The same leaks after the migration, whole: what is stolen is refused, and the incident ends with nothing to cut."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bot import app, drill, sites
from bot.actions import CATALOGUE
from bot.playbook import load_folder
from bot.range.npm_company import BAD, GOOD, PACKAGE
from bot.scenario import load_drill
from bot.settings import Settings
from tests.test_canaries import PUBLIC, everything, found_in

pytestmark = pytest.mark.slow


@dataclass
class Played:
    """A drill that is over: its result, the state of its range, every secret of it, what was told, its folder."""

    result: drill.Result
    state: dict[str, Any]
    canaries: set[str]
    told: str
    home: Path


@pytest.fixture(scope="module", params=["oidc-non-event", "oidc-non-event-dependency"])
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    home = tmp_path_factory.mktemp("non-event")
    source = app.SHIPPED / "drills" / f"{request.param}.yaml"
    scenario = load_drill(source.read_text(), str(source), load_folder([app.SHIPPED / "containment"], CATALOGUE))
    scenario = replace(scenario, delay_s=0.02)
    told: list[str] = []
    canaries: set[str] = set()
    with drill.range_up() as arena:

        def tell(kind: str, data: dict[str, Any]) -> None:
            told.append(f"{kind} {json.dumps(data, default=str)}")
            if kind in ("migrate", "tries-before"):
                canaries.update(arena.get("/values"))

        settings = Settings(home=home, responders=",".join(scenario.responders))
        with app.opened(settings, sites={"range": sites.range_site(arena.endpoints)}) as bulkhead:
            result = asyncio.run(drill.Run(scenario, bulkhead, arena, tell).run())
        told.append(json.dumps(result.as_json()))
        yield Played(
            result=result, state=arena.get("/state"), told="\n".join(told), home=home,
            canaries={c for c in canaries if len(c) >= PUBLIC and not c.startswith(("AKIA", "ASIA"))},
        )  # fmt: skip


def test_it_is_a_non_event_every_row_closed_on_proof_and_no_step_had_to_change_anything(played: Played) -> None:
    assert played.result.contained, played.result.why_not
    assert played.result.non_event
    assert played.result.as_json()["time_to_first_cut_s"] is None
    rows = {row["key"].partition(":")[0]: row for row in played.result.ledger}
    assert set(rows) == {"aws-session", "github-token"}
    assert {row["state"] for row in rows.values()} == {"closed"}
    assert (rows["aws-session"]["proof"], rows["aws-session"]["step"]) == ("refused", "end")
    assert "ExpiredToken" in rows["aws-session"]["detail"]
    assert not [e for e in played.result.timeline if e["kind"] == "outcome" and e["body"]["changed"]]
    assert not [e for e in played.result.timeline if e["kind"] == "asked" and e["step"] != "ask-owner"]


def test_the_same_script_was_refused_at_every_call_and_the_session_minutes_later(played: Played) -> None:
    acts = played.result.told["abuse"]["acts"]
    by_name: dict[str, list[dict[str, Any]]] = {}
    for act in acts:
        by_name.setdefault(act["act"], []).append(act)
    first, later = by_name["sts:GetCallerIdentity"]
    assert (first["ok"], later["code"]) == (True, "ExpiredToken")
    apart = datetime.fromisoformat(later["at"]) - datetime.fromisoformat(first["at"])
    assert 600 < apart.total_seconds() < 1200
    outside = [act for act in acts if act["act"].startswith("iam:") or act["act"] == "sts:GetSessionToken"]
    assert len(outside) >= 7
    assert {act["code"] for act in outside} == {"AccessDenied"}
    assert {act["code"] for act in by_name["npm:Publish"]} == {"E401"}
    assert by_name["npm:Downloads"][0]["count"] == 0
    assert not by_name["github:ForkPullRequest"][0]["ok"]
    assert [act["at"] for act in acts] == sorted(act["at"] for act in acts)


def test_everything_it_holds_was_refused_before_anybody_did_anything(played: Played) -> None:
    before, after = ({t["name"]: t["refused"] for t in played.result.attacker[k]} for k in ("before", "after"))
    assert before == after == dict.fromkeys(("session", "npm-publish", "id-token", "fork"), True)


def test_what_it_had_before_the_move_is_dead_and_the_moved_workflows_work(played: Played) -> None:
    aws, npm = played.state["aws"], played.state["npm"]
    assert aws["users"]["ferry-ci"]["keys"] == []
    assert "ferry release: revoked" in npm["tokens"]
    package = npm["packages"][PACKAGE]
    assert BAD not in package["versions"]
    if played.result.drill == "oidc-non-event-dependency":
        assert package["tags"] == {"latest": GOOD}  # published by its own identity
    ferry = played.state["github"]["repositories"]["harbor-lights/ferry"]
    assert [run["conclusion"] for run in ferry["runs"] if not run["workflow"].endswith("test.yml")] == ["success"]


def test_no_secret_in_any_file_table_or_line(played: Played) -> None:
    assert [(name, hit) for name, data in everything(played.home) if (hit := found_in(data, played.canaries))] == []
    assert found_in(played.told.encode(), played.canaries) == []
    with sqlite3.connect(played.home / "bulkhead.db") as db:
        assert db.execute("SELECT count(*) FROM vault WHERE sealed IS NOT NULL").fetchone() == (0,)
