"""``bulkhead oidc``: what is typed, what is printed, and which files are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bot.__main__ import app
from bot.oidc.refusal import CODES
from tests.oidc.test_cases import CASES

BEFORE, AFTER = CASES / "aws" / "action.before.yml", CASES / "aws" / "action.after.yml"
REFUSED = CASES / "aws" / "renamed.refuse.renamed.yml"


def typed(*args: str | Path, status: int = 0) -> Result:
    result = CliRunner().invoke(app, ["oidc", *map(str, args)])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "deploy.yml").write_bytes(BEFORE.read_bytes())
    (folder / "e2e.yml").write_bytes(REFUSED.read_bytes().replace(b"AWS_", b"E2E_AWS_"))
    return tmp_path


def test_scan_tells_where_a_secret_stands_and_what_starts_its_jobs(repository: Path) -> None:
    said = json.loads(typed("scan", repository, "--json").output)
    first, second = said["credentials"]
    assert first["secrets"] == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
    where = {(c["file"], c["line"], c["kind"], c["name"]) for c in first["carriers"]}
    assert (".github/workflows/deploy.yml", 15, "input", "aws-access-key-id") in where
    assert first["used_by"][0]["events"] == ["push"]
    assert first["used_by"][0]["pull_requests"] is False
    assert [c["kind"] for c in second["carriers"]] == ["step-env", "step-env"]
    page = typed("scan", repository).output
    assert "2 static credentials" in page
    assert "deploy.yml:15" in page


def test_scan_as_sarif_has_one_result_a_carrier_with_its_line(repository: Path) -> None:
    said = json.loads(typed("scan", repository, "--sarif").output)
    results = said["runs"][0]["results"]
    assert said["version"] == "2.1.0"
    assert len(results) == 4
    place = results[0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == ".github/workflows/deploy.yml"
    assert place["region"]["startLine"] == 15
    rules = {rule["id"] for rule in said["runs"][0]["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in results} <= rules


def test_plan_writes_nothing_until_told_and_then_only_what_it_showed(repository: Path) -> None:
    deploy, e2e = (repository / ".github/workflows" / name for name in ("deploy.yml", "e2e.yml"))
    old = e2e.read_bytes()
    page = typed("plan", repository).output
    assert "1 migrated, 1 left as they are" in page
    assert "renamed" in page
    assert "vars.AWS_ROLE_ARN" in page
    assert deploy.read_bytes() == BEFORE.read_bytes()
    typed("plan", repository, "--write")
    assert deploy.read_bytes() == AFTER.read_bytes()
    assert e2e.read_bytes() == old
    again = json.loads(typed("plan", repository, "--json").output)
    assert again["changed"] == []
    assert again["diff"] == ""


def test_answers_come_from_options_and_from_a_file(repository: Path, tmp_path: Path) -> None:
    config = tmp_path / "answers.yaml"
    config.write_text(
        "roles: {aws_access_key_id: 'arn:aws:iam::123456789012:role/from-file'}\nenvironment: production\n"
    )
    said = json.loads(typed("plan", repository, "--config", config, "--json").output)
    assert "+          role-to-assume: arn:aws:iam::123456789012:role/from-file" in said["diff"]
    assert "+    environment: production" in said["diff"]
    said = json.loads(typed("plan", repository, "--role", "arn:aws:iam::123456789012:role/typed", "--json").output)
    assert "+          role-to-assume: arn:aws:iam::123456789012:role/typed" in said["diff"]
    assert [outcome["set"] for outcome in said["outcomes"] if outcome["migrated"]] == [{}]


def test_a_refusal_says_its_code_what_that_means_and_what_to_do(repository: Path) -> None:
    said = json.loads(typed("plan", repository, "--json").output)
    refused = next(outcome["refused"] for outcome in said["outcomes"] if not outcome["migrated"])
    assert refused["code"] == "renamed"
    assert refused["means"] == CODES["renamed"]
    assert "chain of credentials" in refused["by_hand"]


def test_what_cannot_be_planned_is_said_in_one_sentence(tmp_path: Path) -> None:
    assert "neither a folder nor a file" in typed("scan", tmp_path / "no", status=2).output
    assert "holds no .github/workflows/" in typed("plan", tmp_path, status=2).output
    (tmp_path / "a.yml").write_text("on: push\njobs: {}\n")
    (tmp_path / "c.yaml").write_text("rolls: x\n")
    assert "must be a table" in typed("plan", tmp_path / "a.yml", "--config", tmp_path / "c.yaml", status=2).output
    assert "FILE:JOB" in typed("plan", tmp_path / "a.yml", "--consumer", "x", status=2).output


def test_one_file_can_be_planned_and_written_alone(tmp_path: Path) -> None:
    file = tmp_path / "action.yml"
    file.write_bytes(BEFORE.read_bytes())
    typed("plan", file, "--write")
    assert file.read_bytes() == AFTER.read_bytes()


def test_the_page_lists_every_code_with_its_meaning() -> None:
    page = (Path(__file__).parents[2] / "docs" / "oidc.md").read_text()
    rows = dict(line.strip("| ").split(" | ", 1) for line in page.splitlines() if line.startswith("| `"))
    assert {code: rows.get(f"`{code}`") for code in CODES} == dict(CODES)


WHO = ("--repository", "acme/shop", "--repository-id", "7001", "--owner-id", "70")


def test_prove_writes_a_policy_and_shows_each_token_decided_rightly(tmp_path: Path) -> None:
    said = json.loads(typed("prove", *WHO, "--environment", "production", "--json").output)
    assert all(row["right"] for row in said["rows"])
    file = tmp_path / "trust.json"
    file.write_text(json.dumps(said["policy"]))
    assert "all " in typed("prove", *WHO, "--environment", "production", "--trust", file).output
    page = typed("prove", *WHO, "--trust", file, status=1).output
    assert "decided wrongly" in page
    assert "OWNER/NAME" in typed("prove", "--repository", "x", *WHO[2:], status=2).output


def test_audit_says_what_is_open_and_fails_on_strangers(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    policy = json.loads(typed("prove", *WHO, "--json").output)["policy"]
    good.write_text(json.dumps(policy))
    policy["Statement"][0]["Condition"] = {"StringLike": {"token.actions.githubusercontent.com:sub": "repo:acme*"}}
    bad.write_text(json.dumps(policy))
    assert "nothing open" in " ".join(typed("audit", good).output.split()), "wherever the line ends"
    assert "owner-prefix" in typed("audit", good, bad, status=1).output
    assert json.loads(typed("audit", bad, "--json", status=1).output)[str(bad)][0]["code"] == "owner-prefix"
    bad.write_text("no JSON")
    assert "is not JSON" in typed("audit", bad, status=2).output


@pytest.mark.parametrize(("said", "wanted"), [("", 900), ("session: 7200\n", 7200)])
def test_the_sessions_length_comes_from_the_config_or_the_option(repository: Path, said: str, wanted: int) -> None:
    (repository / "answers.yaml").write_text(said or "{}\n")
    words = ["plan", repository, "--config", repository / "answers.yaml"]
    assert f"role-duration-seconds: {wanted}" in typed(*words).output
    assert "role-duration-seconds: 1800" in typed(*words, "--session", "1800").output
    out = repository / "out"
    typed(*words, "--out", out, "--repository", "acme/shop,1,2")
    assert f"--max-session-duration {max(wanted, 3600)} " in (out / "aws" / "apply.sh").read_text()


@pytest.mark.parametrize("said", ["60", "90000", "long"])
def test_a_session_that_aws_does_not_give_is_refused_in_one_sentence(repository: Path, said: str) -> None:
    (repository / "answers.yaml").write_text(f"session: {said}\n")
    done = typed("plan", repository, "--config", repository / "answers.yaml", status=2)
    assert "session is a number of seconds from 900 to 43200" in " ".join(done.output.split())
