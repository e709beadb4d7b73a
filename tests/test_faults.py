"""Providers that fail in the middle of a drill: a sample of the matrix (``python -m benchmarks.faults`` takes all)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults import MEANS
from benchmarks.faulty import KINDS, Clean, Ended, any_number, drawn, every, verdict, wrong
from bot import drill
from bot.timeline import Event

pytestmark = pytest.mark.timeout(900)


def matrix(tmp_path: Path, *args: str) -> list[dict[str, Any]]:
    """What the command says of each cell. Fails where one is wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", "--json", "--jobs", "2", *args], timeout=800, check=False,
        env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    cells: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    assert cells, done.stderr[-3000:]
    assert [cell for cell in cells if cell["said"] == "WRONG"] == []
    assert done.returncode == 0
    assert {cell["said"] for cell in cells} <= set(MEANS)
    return cells


@pytest.mark.slow
def test_a_credential_of_ours_that_expires_while_planted_things_are_cut_is_a_question(tmp_path: Path) -> None:
    given = ("--drill", "aws-key-in-public-log", "--kind", "expired", "--route", "iam:DeleteLoginProfile")
    (cell,) = matrix(tmp_path, *given)
    assert cell["said"] == "asked", cell["why"]


@pytest.mark.slow
def test_what_only_the_second_search_can_see_is_cut_too(tmp_path: Path) -> None:
    keys = "/repos/harbor-lights/ferry/keys"
    cells = matrix(tmp_path, "--drill", "github-pat-in-image", "--kind", "forbidden", "--route", f"github GET {keys}")
    said = {cell["faults"][0]["route"]: cell["said"] for cell in cells}
    assert said[keys] != "stopped"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["answer-lost", "garbage"])
def test_a_sample_of_the_matrix(tmp_path: Path, kind: str) -> None:
    kept = tmp_path / "kept"
    args = ("--drill", "github-pat-in-image", "--kind", kind, "--keep", str(kept), "--sample")
    assert len(matrix(tmp_path, *args, "3")) == 3
    begun = kept.read_text()
    cells = [json.dumps(cell["faults"]) for cell in matrix(tmp_path, *args, "4")]
    assert kept.read_text().startswith(begun)
    assert len(set(cells)) == len(cells) >= 4, "what an earlier run has done is not done again"


@pytest.mark.slow
def test_faults_drawn_over_whole_drills(tmp_path: Path) -> None:
    cells = matrix(tmp_path, "--drawn", "4", "--drill", "aws-key-in-public-log", "--drill", "github-pat-in-image")
    assert [2 <= len(cell["faults"]) <= 5 for cell in cells] == [True] * 4


WHERE = [["github", "GET", "/user"], ["aws", "POST", "iam:GetUser"]]


def ended(**more: Any) -> Ended:
    row = {"key": "a", "state": "closed"}
    result = drill.Result(
        drill="d", incident="inc-1", contained=True, why_not=[], ledger=[row], timeline=[], time_to_first_cut_s=1,
        time_to_all_dead_s=2, attacker={},
    )  # fmt: skip
    usual: dict[str, Any] = {
        "result": result, "broken": "", "timelines": {"inc-1": []}, "state": {"key": "dead"}, "writes": {"cut": 1},
        "leaked": [], "unknown": ["who made it"],
    }  # fmt: skip
    return Ended(**usual | more)


def failed(error: str) -> dict[str, list[Event]]:
    body = {"error": error, "on_failure": "continue", "denied": False}
    event = Event(
        incident="inc-1", n=1, step="s", kind="failed", attempt=1, at="", body=body, body_sha256="", prev_hash="",
        hash="",
    )  # fmt: skip
    return {"inc-1": [event]}


CLEAN = Clean.of(ended(), [])


def test_what_a_verdict_calls_wrong() -> None:
    assert wrong(CLEAN, ended()) == []
    assert wrong(CLEAN, ended(leaked=["the timeline"])) == ["a secret stands in the timeline"]
    other = {"state": {"key": "two"}}
    *differs, doubled = wrong(CLEAN, ended(writes={"cut": 2}, **other))
    assert all("not as after a drill without faults" in one for one in differs)
    assert differs
    assert doubled == "cut was done 2 times instead of 1"
    assert wrong(CLEAN, ended(writes={"cut": 2})) == [], "sent twice, done once"
    assert wrong(CLEAN, ended(timelines=failed("AWS does not answer"), **other)) == [], "it was told"
    assert wrong(CLEAN, ended(unknown=["whose it is"], **other)) == [], "in place of another thing that was not known"
    (ours,) = wrong(CLEAN, ended(timelines=failed("a fault of Bulkhead itself in x")))
    assert ours.startswith("of itself")


def test_green_without_proof_and_a_stop_without_a_word_are_wrong() -> None:
    lives = drill.Result(
        drill="d", incident="inc-1", contained=False, why_not=["the attacker's key still works"], timeline=[],
        ledger=[{"key": "a", "state": "closed"}], time_to_first_cut_s=None, time_to_all_dead_s=None, attacker={},
    )  # fmt: skip
    said = wrong(CLEAN, ended(result=lives, timelines=failed("it failed")))
    assert said == ["closed on proof, and the attacker's key still works"]
    assert "no step says why" in wrong(CLEAN, ended(result=lives))[0]
    (silent,) = wrong(CLEAN, ended(result=None, broken="nothing has happened"))
    assert "nobody is told why" in silent
    unread = "the report could not be worked: its run cannot be read"
    assert verdict(CLEAN, ended(result=None, broken=unread)) == ("stopped", [unread])


def test_faults_are_every_kind_at_every_route_and_the_same_for_a_seed() -> None:
    assert len(every(WHERE)) == len(KINDS) * len(WHERE)
    assert drawn(WHERE, 7) == drawn(WHERE, 7)
    assert any(drawn(WHERE, 7) != drawn(WHERE, seed) for seed in range(5))
    assert any_number("/runs/18400000001/-rev/5-0123456789abcdef") == "/runs/*/-rev/*-*"
