"""The drills of an image that somebody replaced, in ECR and at ghcr.io: contained on proof, and taken back.

With the one in ECR goes a version that was published to CodeArtifact.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from bot.range.image_swap import BASE, BASE_TAG, DOMAIN, GOOD, IMAGE, PACKAGE, REGION_OF, SHELF, TAG, WORSE
from tests.test_canaries import everything, found_in
from tests.test_registry_drills import play

pytestmark = pytest.mark.slow


def test_a_deployment_gets_the_good_image_again(tmp_path: Path) -> None:
    result, state, canaries, told = play("aws-key-replaces-image", tmp_path)
    assert result.contained, result.why_not
    before, after = ({t["name"]: t["refused"] for t in result.attacker[k]} for k in ("before", "after"))
    pulls = {"default-pull", "base-pull", "bad-digest", "default-install", "bad-version"}
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
    undone = ("delete-images", "delete-images", "move-tags", "move-tags", "yank-packages")
    assert taken == [(step, "undone") for step in undone]
    bad = outcomes["find-images"]["images"]
    now = state["aws"]["images"]
    assert {(each["repository"], each["digest"], each["region"]) for each in bad} == {
        (IMAGE, now[IMAGE]["tags"][TAG], ""), (BASE, now[BASE]["tags"][BASE_TAG], REGION_OF[BASE]),
    }, "and the tags name the bad images once more"  # fmt: skip

    assert outcomes["yank-packages#0"]["summary"].endswith("is Archived")
    assert not any(step.startswith("yank-packages") and "/" not in step for step in asked), "nor is anybody for this"
    assert any(name.startswith("codeartifact/") and name.endswith("timetable.txt") for name in saved)
    (versions,) = state["aws"]["packages"][f"us-east-1 {DOMAIN}/{SHELF}"].values()
    assert {number: row["status"] for number, row in versions.items()} == dict.fromkeys((GOOD, WORSE), "Published")
    assert PACKAGE in outcomes["find-packages"]["summary"]

    assert [(n, hit) for n, data in everything(tmp_path) if (hit := found_in(data, canaries))] == []
    assert found_in(told.encode(), canaries) == []
    with sqlite3.connect(tmp_path / "bulkhead.db") as db:
        assert db.execute("SELECT count(*) FROM vault WHERE sealed IS NOT NULL").fetchone() == (0,)


def test_at_ghcr_nobody_gets_the_bad_image_and_github_can_restore_it(tmp_path: Path) -> None:
    result, state, canaries, told = play("github-pat-pushes-image", tmp_path)
    assert result.contained, result.why_not
    before, after = ({t["name"]: t["refused"] for t in result.attacker[k]} for k in ("before", "after"))
    assert before == dict.fromkeys(after, False)
    assert after == dict.fromkeys(("token", "image-push", "default-pull", "bad-digest"), True)
    (row,) = [row for row in result.ledger if row["key"].startswith("github-pat")]
    assert (row["state"], row["proof"]) == ("closed", "refused")

    proofs = {e["step"]: e["body"]["detail"] for e in result.timeline if e["kind"] == "proof"}
    assert "it can be restored" in proofs["delete-packages#0"]
    moved = [e for e in result.timeline if e["kind"] == "outcome" and e["step"] == "move-tags#0"]
    assert "leads to" in moved[0]["body"]["outcome"]["summary"]
    undone = [(each["step"], each["came"]) for each in result.undone]
    assert undone == [("delete-packages#0", "undone"), ("move-tags#0", "undone")]
    tags = state["github"]["packages"]["harbor-lights/container/lantern"].values()
    assert sorted(tags) == [["2.2.0"], ["2.3.0"], ["2.4.0"], ["latest"]], "and it has the tag again that it took"
    found = next(e for e in result.timeline if e["kind"] == "outcome" and e["step"] == "find-packages")
    assert "tagged latest, without the provenance that 3 others have" in found["body"]["outcome"]["summary"]
    for start in ("packages/harbor-lights-lantern-", "ghcr/harbor-lights/lantern:latest/record.json"):
        assert any(row["name"].startswith(start) for row in result.evidence)
    repository = state["github"]["repositories"]["harbor-lights/lantern"]
    assert [bool(run["logs"]) for run in repository["runs"]] == [True, True, False], "of the run that printed it"
    assert state["github"]["secrets"].get("actions repository harbor-lights/lantern", {}) == {}

    assert [(n, hit) for n, data in everything(tmp_path) if (hit := found_in(data, canaries))] == []
    assert found_in(told.encode(), canaries) == []
