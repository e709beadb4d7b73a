"""The drill of the stolen publish token, with the real npm client looking on, and canaries afterwards."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot import app, drill, sites
from bot.actions import CATALOGUE
from bot.playbook import load_folder
from bot.range.npm_company import BAD, GOOD, PACKAGE, SECRET
from bot.scenario import load_drill
from bot.settings import Settings
from tests.npm_client import NPM, NpmCommand, needs_npm
from tests.test_canaries import PUBLIC, everything, found_in

NAME = "npm-token-stolen-by-dependency"


@dataclass
class Played:
    """A drill that is over: its result, the range that still runs, what npm saw before the report."""

    result: drill.Result
    arena: drill.Range
    npm: NpmCommand
    stolen: str
    canaries: set[str]
    told: str
    home: Path
    before: str  # the version that a default install got


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    home, shop = tmp_path_factory.mktemp("stolen"), tmp_path_factory.mktemp("npm")
    source = app.SHIPPED / "drills" / f"{NAME}.yaml"
    scenario = load_drill(source.read_text(), str(source), load_folder([app.SHIPPED / "containment"], CATALOGUE))
    scenario = dataclasses.replace(scenario, delay_s=0.02)
    told: list[str] = []
    canaries: set[str] = set()
    seen: dict[str, str] = {}
    with drill.range_up() as arena:
        npm = NpmCommand(arena.info["npm"], shop)

        def tell(kind: str, data: dict[str, Any]) -> None:
            told.append(f"{kind} {json.dumps(data, default=str)}")
            if kind == "tries-before":
                canaries.update(arena.get("/values"))
                seen["stolen"] = arena.get("/drill/stolen")["values"][SECRET]
                seen["before"] = npm.installed(PACKAGE) if NPM else ""

        settings = Settings(home=home, responders=",".join(scenario.responders))
        with app.opened(settings, sites={"range": sites.range_site(arena.endpoints)}) as bulkhead:
            result = asyncio.run(drill.Run(scenario, bulkhead, arena, tell).run())
        canaries.update(arena.get("/values"))
        told.append(json.dumps(result.as_json()))
        yield Played(
            result=result, arena=arena, npm=npm, stolen=seen["stolen"], told="\n".join(told), home=home,
            canaries={c for c in canaries if len(c) >= PUBLIC and not c.startswith("AKIA")}, before=seen["before"],
        )  # fmt: skip


def test_it_is_contained_and_every_row_closed_on_proof(played: Played) -> None:
    assert played.result.contained, played.result.why_not
    rows = {row["key"].partition(":")[0]: row for row in played.result.ledger}
    assert rows["npm-token"]["proof"] == "refused"
    assert rows["npm-token"]["step"] == "revoke"
    assert {row["state"] for row in rows.values()} == {"closed"}


def test_what_the_job_could_read_beside_it_has_an_incident_of_its_own_and_is_dead_too(played: Played) -> None:
    row = next(row for row in played.result.ledger if row["key"].startswith("aws-access-key:"))
    child = next(e["body"] for e in played.result.timeline if e["kind"] == "child")
    assert child["row"] == row["key"]
    assert row["proof"] == "state"
    assert row["detail"].startswith(child["incident"])
    before, after = ({t["name"]: t["refused"] for t in played.result.attacker[k]} for k in ("before", "after"))
    assert before == dict.fromkeys(after, False)
    assert after == dict.fromkeys(("npm-token", "npm-publish", "default-install", "key", "saved-session"), True)


def test_the_bad_version_is_gone_and_its_tarball_is_evidence(played: Played) -> None:
    found = played.arena.get("/state")["npm"]["packages"][PACKAGE]
    assert (found["tags"], BAD in found["versions"]) == ({"latest": GOOD}, False)
    assert {f"npm/{PACKAGE}@{BAD}/package.tgz", f"npm/{PACKAGE}@{BAD}/document.json"} <= {
        row["name"] for row in played.result.evidence
    }


def test_what_was_staged_is_rejected_by_a_person_and_the_list_shows_it(played: Played) -> None:
    (proof,) = [e["body"] for e in played.result.timeline if (e["kind"], e["step"]) == ("proof", "reject-staged#0")]
    assert (proof["verdict"], proof["grade"]) == ("proven", "state")
    assert played.arena.get("/state")["npm"]["staged"] == []
    (looked,) = [e["body"] for e in played.result.timeline if (e["kind"], e["step"]) == ("look", "reject-staged#0")]
    assert len(looked["before"]["shasum"]) == 40


def test_a_draft_of_an_advisory_waits_for_a_person(played: Played) -> None:
    ferry = played.arena.get("/state")["github"]["repositories"]["harbor-lights/ferry"]
    assert ferry["advisories"] == [["draft", f"Nobody of us released {PACKAGE} {BAD} on npm"]]


def test_the_new_token_is_stored_and_a_run_worked_with_it(played: Played) -> None:
    state = played.arena.get("/state")
    assert "ferry release, new: live" in state["npm"]["tokens"]
    assert "ferry release: revoked" in state["npm"]["tokens"]
    ferry = state["github"]["repositories"]["harbor-lights/ferry"]
    assert ferry["workflows"][".github/workflows/release.yml"] == "disabled_manually"
    runs = [run for run in ferry["runs"] if run["workflow"].endswith("registry-access.yml")]
    assert [run["conclusion"] for run in runs] == ["success"]


@needs_npm
def test_a_default_install_by_npm_gets_the_good_version_again(played: Played) -> None:
    assert played.before == BAD
    assert played.npm.installed(PACKAGE) == GOOD
    assert played.npm.installed(PACKAGE, "@^1.4.0") == GOOD


@needs_npm
def test_npm_is_refused_with_the_stolen_token(played: Played) -> None:
    status, said = played.npm("whoami", token=played.stolen)
    assert (status, "E401" in said) == (1, True), said.replace(played.stolen, "***")
    status, said = played.npm.publish(PACKAGE, "1.4.9", token=played.stolen)
    assert (status, "E401" in said) == (1, True), said.replace(played.stolen, "***")


def test_no_secret_in_any_file_table_or_line(played: Played) -> None:
    assert played.stolen in played.canaries
    assert [(name, hit) for name, data in everything(played.home) if (hit := found_in(data, played.canaries))] == []
    assert found_in(played.told.encode(), played.canaries) == []
    with sqlite3.connect(played.home / "bulkhead.db") as db:
        assert db.execute("SELECT count(*) FROM vault WHERE sealed IS NOT NULL").fetchone() == (0,)
