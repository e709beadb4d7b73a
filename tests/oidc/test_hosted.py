"""A repository at GitHub without a clone: what the API tells of every branch, and what was not looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bot.__main__ import app
from bot.clients import AwsClients, GitHubClient
from bot.oidc import hosted
from bot.oidc.repository import FOLDER
from bot.range.aws_sts import ACCOUNT
from bot.range.company import DEPLOY, FERRY
from bot.range.server import Range

OLD = f"{FOLDER}old.yml"
KEYED = """\
on: {push: {branches: [%s]}}
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - run: aws s3 ls
        env: {AWS_ACCESS_KEY_ID: '${{ secrets.OLD_ID }}', AWS_SECRET_ACCESS_KEY: '${{ secrets.OLD_KEY }}'}
"""


@pytest.fixture(scope="module")
def company() -> Iterator[Range]:
    """A company with one old branch whose file can run, and one whose file cannot."""
    range_ = Range()
    range_.start()
    for branch, text in (("v1", KEYED % "v1"), ("asleep", KEYED % "main"), ("same", "")):
        files = {OLD: text} if text else {"README.md": "x"}
        range_.github.state.commit_files(FERRY, files, branch, "mara", branch=branch, runs=False)
    yield range_
    range_.stop()


@pytest.fixture
def github(company: Range) -> GitHubClient:
    return GitHubClient(token=company.company.cast["github"]["bulkhead-bot"], base_url=company.github_url)


@pytest.fixture
def scan(company: Range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("BULKHEAD_HOME", str(tmp_path))
    monkeypatch.setenv("BULKHEAD_GITHUB_API", company.github_url)
    monkeypatch.setenv("BULKHEAD_GITHUB_TOKEN", company.company.cast["github"]["bulkhead-bot"])
    return lambda *words: CliRunner().invoke(app, ["oidc", "scan", *words])


def test_the_default_branch_and_each_other_one_that_can_run_are_scanned(scan: Callable[..., Result]) -> None:
    done = scan(FERRY, "--json")
    assert done.exit_code == 0, done.output
    said: dict[str, Any] = json.loads(done.stdout)
    assert any(each["secrets"] == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] for each in said["credentials"])
    assert {name: [each["secrets"] for each in held] for name, held in said["branches"].items()} == {
        "v1": [["OLD_ID", "OLD_KEY"]]
    }
    assert "limits" not in said
    told = " ".join(scan(FERRY).output.split())
    assert "branch v1" in told
    assert "asleep" not in told


def test_what_was_not_looked_at_is_said(
    github: GitHubClient, scan: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted, "MOST_BRANCHES", 1)
    monkeypatch.setattr(hosted, "MAX_BYTES", 100)
    found = hosted.read(github, FERRY)
    assert found.looked_at == 2
    assert DEPLOY not in found.repository.workflows
    assert any("only 1 branches beside main" in each for each in found.limits)
    assert any("are larger than 100 bytes" in each for each in found.limits)
    assert "Not looked at: only 1 branches" in " ".join(scan(FERRY).output.split())


def test_a_blob_that_several_branches_share_is_asked_for_once(github: GitHubClient) -> None:
    asked: list[str] = []

    class Counting:
        def get(self, path: str, **params: Any) -> Any:
            asked.append(path)
            return github.get(path, **params)

        def pages(self, path: str, items: str = "", **params: Any) -> Iterator[dict[str, Any]]:
            return github.pages(path, items, **params)

    hosted.read(Counting(), FERRY)
    blobs = [path for path in asked if "/git/blobs/" in path]
    assert len(blobs) == len(set(blobs))
    assert sum("/git/trees/" in path for path in asked) == 4


def test_a_repository_that_is_not_there_is_told_in_one_sentence(scan: Callable[..., Result]) -> None:
    done = scan("harbor-lights/nothing")
    assert done.exit_code != 0
    assert "404" in done.output


OPEN = {
    "Version": "2012-10-17",
    "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": "*"},
        "Condition": {"StringLike": {"token.actions.githubusercontent.com:sub": "repo:acme/*"}},
    }],
}  # fmt: skip


def test_the_trust_of_a_role_that_aws_holds_is_audited_by_its_name_or_arn(
    company: Range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = company.company.cast["aws"]["bulkhead-responder"]
    aws = AwsClients(key_id=own["key_id"], secret=own["secret"], endpoint=company.aws_url)
    aws.client("iam").create_role(RoleName="wide", AssumeRolePolicyDocument=json.dumps(OPEN))
    for name, value in {
        "HOME": str(tmp_path), "BULKHEAD_HOME": str(tmp_path), "AWS_ENDPOINT_URL": company.aws_url,
        "AWS_ACCESS_KEY_ID": own["key_id"], "AWS_SECRET_ACCESS_KEY": own["secret"],
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for named in ("wide", f"arn:aws:iam::{ACCOUNT}:role/wide"):
        done = CliRunner().invoke(app, ["oidc", "audit", named, "--json"])
        assert (done.exit_code, "any-name" in {each["code"] for each in json.loads(done.stdout)[named]}) == (1, True)
    gone = CliRunner().invoke(app, ["oidc", "audit", "nobody"])
    assert gone.exit_code == 2
    assert "no role of that name in our AWS account" in " ".join(gone.output.split())
