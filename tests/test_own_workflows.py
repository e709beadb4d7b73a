"""The project's own workflow files, held to what it tells others: no standing secret, pinned, with the least rights."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from bot.__main__ import app

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINS = yaml.safe_load((ROOT / "bot" / "oidc" / "recipes" / "pins.yaml").read_text())["pins"]
BIN = Path(sys.executable).parent


def loaded(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()))


def test_our_own_scan_finds_no_standing_secret_in_them() -> None:
    done = CliRunner().invoke(app, ["oidc", "scan", str(ROOT), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said == {"credentials": [], "unreadable": {}}
    assert {path.name for path in FILES} == {"test.yml", "release.yml"}


def test_zizmor_finds_nothing_in_them_by_its_strictest_persona() -> None:
    command = [BIN / "zizmor", "--offline", "--persona", "auditor", "--format", "plain", *FILES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert "No findings to report" in done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.name))
def test_every_action_is_pinned_to_what_its_version_was(path: Path) -> None:
    used = re.findall(r"uses: *(\S+)@(\S+)(?: # (\S+))?", path.read_text())
    assert used
    for name, sha, version in used:
        assert PINS[name.lower()] | {"name": ""} == {"version": version, "sha": sha, "name": ""}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.name))
def test_it_is_a_workflow_and_no_job_has_a_right_that_it_does_not_state(path: Path) -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    workflow = loaded(path)
    assert workflow["permissions"] == {}
    rights = {name: job["permissions"] for name, job in workflow["jobs"].items()}
    allowed = [{"contents": "read"}, {"id-token": "write"}]
    assert all(right in allowed for right in rights.values()), rights
    assert all(job["timeout-minutes"] for job in workflow["jobs"].values())


def test_only_the_job_that_runs_none_of_our_code_may_ask_for_an_identity() -> None:
    jobs = loaded(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    holders = [name for name, job in jobs.items() if "id-token" in job["permissions"]]
    assert holders == ["publish"]
    assert all("run" not in step for step in jobs["publish"]["steps"])
    assert jobs["publish"]["environment"]["name"] == "pypi"
