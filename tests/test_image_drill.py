"""The drill of the image that somebody replaced in ECR: tags back, bad images gone by decision, and both taken back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from bot.range.image_swap import BASE, BASE_TAG, IMAGE, TAG
from tests.test_canaries import everything, found_in
from tests.test_registry_drills import play

pytestmark = pytest.mark.slow


def test_a_deployment_gets_the_good_image_again(tmp_path: Path) -> None:
    result, state, canaries, told = play("aws-key-replaces-image", tmp_path)
    assert result.contained, result.why_not
    before, after = ({t["name"]: t["refused"] for t in result.attacker[k]} for k in ("before", "after"))
    pulls = {"default-pull", "base-pull", "bad-digest"}
    assert {name for name in pulls if before[name]} == set()
    assert all(after.values()), after

    outcomes = {e["step"]: e["body"]["outcome"] for e in result.timeline if e["kind"] == "outcome"}
    moved = sorted(said["summary"].split()[0] for step, said in outcomes.items() if step.startswith("move-tags"))
    assert moved == [f"{BASE}:{BASE_TAG}", f"{IMAGE}:{TAG}"]
    asked = {e["step"] for e in result.timeline if e["kind"] == "asked"}
    assert {"delete-images#0", "delete-images#1"} <= asked, "nobody deletes by itself"
    assert not any(step.startswith("move-tags") and "/" not in step for step in asked), "a tag goes back at once"
    saved = {row["name"] for row in result.evidence}
    for name in ("manifest-", "config-", "record.json"):
        assert len([each for each in saved if each.startswith("ecr/") and name in each]) >= 2, name

    taken = [(each["step"].split("#")[0], each["came"]) for each in result.undone]
    assert taken == [("delete-images", "undone")] * 2 + [("move-tags", "undone")] * 2
    bad = outcomes["find-images"]["images"]
    now = state["aws"]["images"]
    assert {(each["repository"], each["digest"]) for each in bad} == {
        (IMAGE, now[IMAGE]["tags"][TAG]), (BASE, now[BASE]["tags"][BASE_TAG]),
    }, "and the tags name the bad images once more"  # fmt: skip

    assert [(n, hit) for n, data in everything(tmp_path) if (hit := found_in(data, canaries))] == []
    assert found_in(told.encode(), canaries) == []
    with sqlite3.connect(tmp_path / "bulkhead.db") as db:
        assert db.execute("SELECT count(*) FROM vault WHERE sealed IS NOT NULL").fetchone() == (0,)

