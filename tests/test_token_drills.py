"""The drills of a token in a public image, whole, as they are typed: what is told, proven, and left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WORKFLOW = ".github/workflows/security-scan.yml"


@pytest.fixture(scope="module", params=["github-pat-in-image", "github-pat-in-image-revoked"])
def drilled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, dict[str, Any]]:
    """Whether GitHub had revoked the token before the report, and the document that the command prints."""
    home = tmp_path_factory.mktemp("drill") / "home"
    command = [sys.executable, "-m", "bot", "drill", "run", request.param, "--json", "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return request.param.endswith("-revoked"), json.loads(done.stdout)


def events(document: dict[str, Any], step: str) -> dict[str, Any]:
    return {e["kind"]: e["body"] for e in document["timeline"] if e["step"].partition("#")[0] == step}


def test_it_is_contained_and_every_row_is_closed_on_proof(drilled: tuple[bool, dict[str, Any]]) -> None:
    _, document = drilled
    assert document["contained"], document["why_not"]
    rows = {row["key"].partition(":")[0]: row for row in document["ledger"]}
    assert set(rows) == {"github-pat-classic", "github-deploy-key", "github-workflow-file", "github-token"}
    assert {row["state"] for row in rows.values()} == {"closed"}
    assert rows["github-pat-classic"]["proof"] == "refused"
    assert all(t["refused"] for t in document["attacker"]["after"])
    assert document["time_to_all_dead_s"] is not None


def test_the_clean_up_runs_also_where_github_was_faster(drilled: tuple[bool, dict[str, Any]]) -> None:
    revoked, document = drilled
    before = {t["name"]: t["refused"] for t in document["attacker"]["before"]}
    assert before.pop("token") is revoked
    assert not any(before.values()), "what was planted outlives the token"
    look, outcome = events(document, "revoke")["look"], events(document, "revoke")["outcome"]
    assert look["before"]["needed"] is not revoked
    assert outcome["changed"] is not revoked
    if revoked:
        assert "somebody has revoked it" in look["before"]["summary"]
    else:
        assert look["before"]["scopes"] == "repo, workflow"
    assert [p["kind"] for p in events(document, "find")["outcome"]["plants"]] == [
        "github-deploy-key", "github-workflow-file",
    ]  # fmt: skip
    assert events(document, "search-again")["outcome"]["plants"] == []


def test_a_person_is_asked_whose_the_files_are_before_they_go(drilled: tuple[bool, dict[str, Any]]) -> None:
    _, document = drilled
    order = [(e["step"].partition("#")[0], e["kind"]) for e in document["timeline"]]
    assert order.index(("stop-planted", "outcome")) < order.index(("remove-planted", "outcome"))
    assert order.index(("whose", "decided")) < order.index(("remove-planted", "outcome"))
    asked = events(document, "whose")["asked"]["what"]
    assert f"{WORKFLOW} on main, release-1.3" in asked


def test_the_planted_file_is_evidence(drilled: tuple[bool, dict[str, Any]]) -> None:
    revoked, document = drilled
    names = [row["name"] for row in document["evidence"]]
    assert any(name.startswith(f"planted/harbor-lights/ferry/{WORKFLOW}@") for name in names)
    assert any(name.startswith("tokens/") for name in names) is not revoked
    folder = Path(document["folder"])
    assert any(b"collector.example" in path.read_bytes() for path in folder.rglob("*") if path.is_file())
