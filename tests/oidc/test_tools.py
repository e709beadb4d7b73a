"""What tools of others say of the migrated files: zizmor, the JSON schema and GitHub's own parser find nothing new."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.cli.oidc import app
from bot.oidc import verify
from tests.oidc.test_cases import BEFORE, CASES

PAIRS = [(p.read_bytes(), p.with_name(p.name.replace(".before.", ".after.")).read_bytes()) for p in BEFORE]
GOOD = b"on: push\npermissions: {}\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps: [{run: 'true'}]\n"


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GitHub's parser, of the lock beside it; what is installed already is taken as it is."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("GitHub's parser is a package of npm, and this machine has no Node with npm")
    if (verify.PARSER / "node_modules").is_dir():
        return verify.PARSER
    folder = tmp_path_factory.mktemp("parser")
    for name in ("package.json", "package-lock.json", "parse.mjs"):
        shutil.copy(verify.PARSER / name, folder)
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"GitHub's parser could not be installed from npm's registry: {done.stderr.strip()[-200:]}")
    return folder


def test_no_tool_finds_anything_new_in_a_migrated_file() -> None:
    errors, missing = verify.new_errors(PAIRS)
    assert dict(errors) == {}
    assert set(missing) <= {"parser"}  # which comes from npm; the next test installs it


@pytest.mark.slow
def test_githubs_own_parser_finds_nothing_new_in_a_migrated_file(parser: Path) -> None:
    assert verify.installed(parser).keys() == {"zizmor", "schema", "parser"}
    errors, missing = verify.new_errors(PAIRS, parser)
    assert (dict(errors), missing) == ({}, [])


@pytest.mark.slow
def test_githubs_own_parser_finds_what_github_would_refuse(parser: Path) -> None:
    for old, new, said in [
        (b"permissions: {}", b"permissions: {id-token: maybe}", "Unexpected value 'maybe'"),
        (b"run: 'true'", b"run: '${{ secret.KEY }}'", "Unrecognized named-value: 'secret'"),
    ]:
        errors, _ = verify.new_errors([(GOOD, GOOD.replace(old, new))], parser)
        assert errors[f"parser: {said}"] == 1, errors
    moved = GOOD.replace(b"on: push", b"on: push\n")
    assert not verify.new_errors([(moved.replace(b"{}", b"no"), b"\n" + moved.replace(b"{}", b"no"))], parser)[0]


def test_a_finding_that_was_not_there_is_found() -> None:
    bad = GOOD.replace(b"permissions: {}", b"permissions: write-all").replace(b"runs-on", b"run-on")
    errors, missing = verify.new_errors([(GOOD, bad)])
    assert any(name.startswith("zizmor") for name in errors)
    assert any(name.startswith("schema") for name in errors)
    assert "New findings" in verify.said(errors, missing)
    assert not verify.new_errors([(GOOD, GOOD)])[0]


def test_a_plan_can_be_read_by_them_and_nothing_is_written_that_one_finds_fault_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w.yml"
    shutil.copy(CASES / "aws" / "action.before.yml", file)
    done = CliRunner().invoke(app, ["plan", str(file), "--check"])
    assert done.exit_code == 0, done.output
    assert "Read before and after by zizmor's auditor, the JSON schema" in " ".join(done.output.split())
    strict = tmp_path / "check-jsonschema"  # a schema that knows no id-token
    strict.write_text(STRICT)
    strict.chmod(0o755)
    monkeypatch.setattr(verify, "tool", {"check-jsonschema": str(strict)}.get)
    before = file.read_bytes()
    done = CliRunner().invoke(app, ["plan", str(file), "--check", "--write", "--json"])
    assert (done.exit_code, file.read_bytes()) == (1, before)
    said = json.loads(done.stdout)
    assert (said["written"], said["checked"]["new_findings"]) == (False, {"schema: schema": 1})


STRICT = f"""#!{sys.executable}
import json, pathlib, sys
bad = [name for name in sys.argv[1:] if name.endswith(".yml") and "id-token" in pathlib.Path(name).read_text()]
print(json.dumps({{"errors": [{{"filename": name}} for name in bad]}}))
"""


def test_who_has_read_and_who_is_not_installed_is_said(tmp_path: Path) -> None:
    assert "parser" not in verify.installed(tmp_path)
    said = verify.said({}, ["parser"])
    assert said == (
        "Read before and after by zizmor's auditor, the JSON schema: no new finding; not installed here: GitHub's own "
        "parser."
    )
    assert verify.said({}, verify.READERS).startswith("No other tool has read the files")
