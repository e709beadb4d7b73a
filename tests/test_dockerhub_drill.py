"""The drills of a Docker Hub token that leaked: contained, latest led back, the bad tag gone, what it bought over."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from bot.range.registries.docker_theft import IMAGE, RELEASE, REPOSITORY
from bot.range.registries.theft import BAD, GOOD, OLD
from tests.test_canaries import everything, found_in
from tests.test_registry_drills import play

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
BY = {"dockerhub-pat-in-public-log": "revoke", "dockerhub-oat-in-public-log": "revoke-of-organization"}


@pytest.mark.parametrize("name", BY)
def test_it_is_contained_on_proof(name: str, tmp_path: Path) -> None:
    result, state, canaries, told = play(name, tmp_path)
    assert result.contained, result.why_not
    rows = {row["key"].partition(":")[0]: row for row in result.ledger}
    row = rows[name.removesuffix("-in-public-log")]
    assert (row["proof"], row["state"], row["step"]) == ("refused", "closed", BY[name])
    assert [(tail["kind"], tail["ended"]) for tail in row["tails"]] == [("dockerhub-session", "expired")]

    before, after = ({t["name"]: t["refused"] for t in result.attacker[k]} for k in ("before", "after"))
    assert set(before.values()) == {False}
    assert set(after.values()) == {True}
    hub = state["registries"]["dockerhub"]
    tags = hub["packages"][IMAGE]
    assert list(tags) == [OLD, GOOD, *(BAD for _ in result.undone), "latest"], (
        "gone, and pushed back where that was asked"
    )
    assert [one["step"] for one in result.undone] == ([] if "-pat-" in name else ["delete-tags#0"])
    assert tags["latest"] == tags[GOOD]
    assert hub["tokens"] == ["bulkhead: live", "release-2: live", "release: revoked"]

    repository = state["github"]["repositories"][REPOSITORY]
    assert repository["advisories"] == [
        ["draft", f"Nobody of us released {IMAGE} {BAD}, latest on Docker Hub"]
    ]  # fmt: skip
    saved = {row["name"] for row in result.evidence}
    assert {f"dockerhub/{IMAGE}:{tag}/record.json" for tag in (BAD, "latest")} <= saved
    assert any(each.startswith(f"dockerhub/{IMAGE}@sha256:") and each.endswith("/config.json") for each in saved)
    assert not any(run["logs"] for run in repository["runs"] if run["workflow"] == RELEASE)

    assert [(n, hit) for n, data in everything(tmp_path) if (hit := found_in(data, canaries))] == []
    assert found_in(told.encode(), canaries) == []
    with sqlite3.connect(tmp_path / "bulkhead.db") as db:
        assert db.execute("SELECT count(*) FROM vault WHERE sealed IS NOT NULL").fetchone() == (0,)
