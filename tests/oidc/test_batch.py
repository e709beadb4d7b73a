"""Many repositories at once: a row each, what fails stops nothing, and a second run goes on where the first stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.cli.oidc import app
from bot.oidc.repository import FOLDER
from tests.oidc.test_cases import CASES


@pytest.fixture
def clones(tmp_path: Path) -> list[str]:
    """Two repositories and a folder that is none."""
    for name, case in (("one", "aws/action.before.yml"), ("two", "npm/yarn-1.refuse.tool-cannot.yml")):
        file = tmp_path / name / FOLDER / "w.yml"
        file.parent.mkdir(parents=True)
        file.write_bytes((CASES / case).read_bytes())
    (tmp_path / "none").mkdir()
    return [str(tmp_path / name) for name in ("one", "none", "two")]


def run(*words: str) -> tuple[int, dict[str, dict[str, object]]]:
    done = CliRunner().invoke(app, ["batch", *words, "--json"])
    return done.exit_code, json.loads(done.stdout)["repositories"]


def test_each_repository_has_a_row_and_one_that_fails_stops_no_other(clones: list[str]) -> None:
    status, rows = run(*clones)
    assert status == 1
    one, none, two = (rows[str(Path(name).resolve())] for name in clones)
    assert (one["found"], one["migrated"], one["files"], one["refused"]) == (1, 1, 1, {})
    assert "holds no" in str(none["error"])
    assert two["refused"] == {"tool-cannot": 1}
    told = CliRunner().invoke(app, ["batch", *clones]).output
    assert "3 of 3: two: 0 of 1 credentials migrated, 0 files" in told


def test_what_is_written_is_done_once_and_only_what_changed_is_done_again(clones: list[str], tmp_path: Path) -> None:
    state, one = str(tmp_path / "state.json"), Path(clones[0])
    first = run(*clones, "--state", state)[1]
    written = run(*clones, "--state", state, "--write")[1]
    assert "id-token: write" in (one / FOLDER / "w.yml").read_text()
    again = run(*clones, "--state", state, "--write")[1]
    assert again == written
    assert first[str(one.resolve())]["digest"] != written[str(one.resolve())]["digest"]
    (one / FOLDER / "w.yml").write_text("on: push\njobs: {}\n")
    assert run(*clones, "--state", state, "--write")[1][str(one.resolve())]["found"] == 0


def test_a_file_that_is_no_state_is_not_written_over(clones: list[str], tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text("[]")
    assert "no state" in str(CliRunner().invoke(app, ["batch", *clones, "--state", str(state)]).exception)
    assert state.read_text() == "[]"
