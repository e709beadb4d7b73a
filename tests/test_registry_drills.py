"""The drills of a publish token that leaked: contained, proven, the bad version gone from what an install gets."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from bot import app, drill, sites
from bot.actions import CATALOGUE
from bot.actions.advisory import REGISTRIES
from bot.playbook import load_folder
from bot.range.registries.theft import BAD, SHOPS
from bot.scenario import load_drill
from bot.settings import Settings
from tests.test_canaries import PUBLIC, everything, found_in

DRILLS = {
    "pypi-token-in-public-log": "pypi", "crates-token-in-public-log": "crates", "crates-token-with-scopes": "crates",
    "rubygems-key-in-public-log": "rubygems",
}  # fmt: skip

# What the registry lets one take back. PyPI has a page for it, and RubyGems.org gives nothing back.
TAKEN_BACK = ("crates-token-in-public-log", "crates-token-with-scopes")
BY = {"crates-token-with-scopes": "revoke-by-hand"}  # which step has cut it; elsewhere the first one


def play(name: str, home: Path, **other: Any) -> tuple[drill.Result, dict[str, Any], set[str], str]:
    """A drill from the leak to its end: the result, the range's state, every secret there was, what was told.

    ``other``: what is otherwise than in its file.
    """
    source = app.SHIPPED / "drills" / f"{name}.yaml"
    scenario = load_drill(source.read_text(), str(source), load_folder([app.SHIPPED / "containment"], CATALOGUE))
    scenario = dataclasses.replace(scenario, delay_s=0.02, **other)
    told: list[str] = []

    def tell(kind: str, data: dict[str, Any]) -> None:
        told.append(json.dumps([kind, data], default=str))

    with drill.range_up() as arena:
        settings = Settings(home=home, responders=",".join(scenario.responders))
        with app.opened(settings, sites={"range": sites.range_site(arena.endpoints)}) as bulkhead:
            result = asyncio.run(drill.Run(scenario, bulkhead, arena, tell).run())
        canaries = {c for c in arena.get("/values") if len(c) >= PUBLIC and not c.startswith("AKIA")}
        return result, arena.get("/state"), canaries, "\n".join([*told, json.dumps(result.as_json())])


@pytest.mark.slow
def test_a_drill_whose_undo_is_refused_has_failed(tmp_path: Path) -> None:
    """RubyGems.org gives nothing back, so its drill may not promise that it does."""
    result, state, _, _ = play("rubygems-key-in-public-log", tmp_path, undoes=("yank",))
    assert [(each["step"], each["came"]) for each in result.undone] == [("yank#0", "undo-refused")]
    assert not result.contained
    assert "never takes its number again" in result.why_not[0]
    assert {row["state"] for row in result.ledger} == {"closed"}
    assert state["registries"]["rubygems"]["packages"][SHOPS["rubygems"].package][BAD]


@pytest.mark.slow
def test_on_a_persons_word_the_pypi_drill_does_not_end(tmp_path: Path) -> None:
    """Mara says that she has yanked the release, and has not: the simple index still offers it."""
    source = app.SHIPPED / "drills" / "pypi-token-in-public-log.yaml"
    scenario = load_drill(source.read_text(), str(source), load_folder([app.SHIPPED / "containment"], CATALOGUE))
    scenario = dataclasses.replace(scenario, delay_s=0.02, people={"revoke": "revoke-pypi-token"})
    with drill.range_up() as arena:
        settings = Settings(home=tmp_path, responders=",".join(scenario.responders))
        with app.opened(settings, sites={"range": sites.range_site(arena.endpoints)}) as bulkhead:
            run = drill.Run(scenario, bulkhead, arena, lambda _kind, _data: None)

            def said() -> list[tuple[str, str]]:
                events = [event for row in bulkhead.store.incidents() for event in bulkhead.store.events(row.id)]
                return [(e["kind"], e["body"].get("verdict", "")) for e in events if e["step"].startswith("yank")]

            async def until_she_has_spoken() -> None:
                task = asyncio.create_task(run.run())
                while not any(kind == "outcome" for kind, _ in said()):
                    assert not task.done(), await task
                    await asyncio.sleep(0.1)
                await asyncio.sleep(3)  # the index is asked meanwhile, and asked again
                assert not task.done()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

            asyncio.run(until_she_has_spoken())
            assert ("proof", "proven") not in said()
            assert [row.status for row in bulkhead.store.incidents()] == ["open"]
        assert arena.get("/state")["registries"]["pypi"]["packages"][SHOPS["pypi"].package]["yanked"] == {}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name.startswith("pypi") else pytest.mark.slow) for name in DRILLS]
)
def test_it_is_contained_on_proof(name: str, tmp_path: Path) -> None:
    result, state, canaries, told = play(name, tmp_path)
    registry, shop = DRILLS[name], SHOPS[DRILLS[name]]
    assert result.contained, result.why_not
    rows = {row["key"].partition(":")[0]: row for row in result.ledger}
    (row,) = [row for kind, row in rows.items() if kind.startswith(registry)]
    assert (row["proof"], row["state"], row["step"]) == ("refused", "closed", BY.get(name, "revoke"))

    before, after = ({t["name"]: t["refused"] for t in result.attacker[k]} for k in ("before", "after"))
    assert before == {"registry-token": False, "default-install": False}
    assert after == {"registry-token": True, "default-install": True}
    held = state["registries"][registry]["packages"][shop.package]
    marks = held["yanked"] if registry == "pypi" else {version: mark for version, mark in held.items() if mark}
    taken = [("yank#0", "undone")] if name in TAKEN_BACK else []
    assert [(each["step"], each["came"]) for each in result.undone] == taken
    assert list(marks) == ([] if taken else [BAD]), "default-install was tried before it was taken back"

    repository = state["github"]["repositories"][shop.repository]
    assert repository["advisories"] == [
        ["draft", f"Nobody of us released {shop.package} {BAD} on {REGISTRIES[registry].label}"]
    ]
    assert repository["pulls"] == {"1": "open"}, "the way to a trusted publisher"
    saved = {row["name"] for row in result.evidence}
    assert any(name.startswith("advisories/GHSA-") and name.endswith(".osv.json") for name in saved)
    assert f"{registry}/{shop.package}-{BAD}/record.json" in saved
    assert len([each for each in saved if each.startswith(f"{registry}/{shop.package}-{BAD}/")]) == 2
    assert state["github"]["secrets"].get(f"actions repository {shop.repository}", {}) == {}
    assert not any(run["logs"] for run in repository["runs"])

    assert [(n, hit) for n, data in everything(tmp_path) if (hit := found_in(data, canaries))] == []
    assert found_in(told.encode(), canaries) == []
    with sqlite3.connect(tmp_path / "bulkhead.db") as db:
        assert db.execute("SELECT count(*) FROM vault WHERE sealed IS NOT NULL").fetchone() == (0,)
