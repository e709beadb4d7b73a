"""The providers' side as files: they let the migrated jobs in and nobody else, and their readers accept them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import hcl2
import pytest
from typer.testing import CliRunner

from bot.cli.oidc import app
from bot.oidc import least, provision, subjects, trust
from bot.oidc.plan import Plan, plan
from bot.oidc.repository import FOLDER, Repository
from tests.oidc.test_cases import BEFORE, CASES, case_id, planned

OWNER = provision.Owner(repository="acme/shop", repository_id="7001", owner_id="70", account="123456789012")
JOB = trust.Job(repository="acme/shop", repository_id="7001", owner_id="70")
PATH = f"{FOLDER}w.yml"
KEY = "{AWS_ACCESS_KEY_ID: '${{ secrets.AWS_ID }}', AWS_SECRET_ACCESS_KEY: '${{ secrets.AWS_SECRET }}'}"


def made(on: str, job: str = "", run: str = "aws s3 sync . s3://acme-site") -> Plan:
    text = (
        f"on: {on}\njobs:\n  a:\n    runs-on: ubuntu-latest\n{job}    steps:\n      - run: {run}\n        env: {KEY}\n"
    )
    return plan(Repository.of({PATH: text.encode()}))


def policies(on: str, job: str = "") -> dict[str, Any]:
    found = provision.files(made(on, job), OWNER)
    return {name: json.loads(text) for name, text in found.items() if name.endswith(".trust.json")}


@pytest.mark.parametrize("path", BEFORE, ids=case_id)
def test_terraform_the_shell_and_json_read_every_file(path: Path) -> None:
    shell = shutil.which("sh") or "sh"
    found = provision.files(planned(path), OWNER)
    for name, text in found.items():
        if name.endswith(".tf"):
            assert hcl2.loads(text)["resource"]
        elif name.endswith(".sh"):
            subprocess.run([shell, "-n"], input=text.encode(), check=True)
        elif name.endswith(".json"):
            assert json.loads(text)["Statement"]
    clouds = {o.credential.provider for o in planned(path).migrated} & {"aws", "gcp", "azure", "vault"}
    assert {name.partition("/")[0] for name in found if "/" in name} == clouds


def test_the_trust_of_a_job_on_main_decides_every_token_as_it_should() -> None:
    found = policies("{push: {branches: [main]}}")
    assert list(found) == ["aws/deploy.trust.json"]
    assert all(row.right for row in trust.table(found["aws/deploy.trust.json"], JOB))


def test_the_trust_of_a_job_with_an_environment_names_its_ref_too() -> None:
    found = policies("{push: {branches: [main]}}", "    environment: live\n")
    job = trust.Job(repository="acme/shop", repository_id="7001", owner_id="70", environment="live")
    assert all(row.right for row in trust.table(found["aws/deploy.trust.json"], job))


@pytest.mark.parametrize("environment", ["", "live"])
def test_pull_requests_get_their_own_role_and_no_other(environment: str) -> None:
    found = policies("[push, pull_request]", f"    environment: {environment}\n" if environment else "")
    token = JOB.claims(event_name="pull_request", ref="refs/pull/7/merge", environment=environment)
    pushed = JOB.claims(environment=environment)
    ruled = {name: [trust.rule(found[name], each).allowed for each in (token, pushed)] for name in found}
    assert ruled == {"aws/deploy.trust.json": [False, True], "aws/pull-requests.trust.json": [True, False]}


def test_tags_by_a_pattern_are_let_in_and_branches_are_not() -> None:
    policy = policies("{push: {tags: ['v*']}}")["aws/deploy.trust.json"]
    ruled = [
        trust.rule(policy, JOB.claims(ref=ref)).allowed for ref in ("refs/tags/v1.2", "refs/tags/x", "refs/heads/v1")
    ]
    assert ruled == [True, False, False]


@pytest.mark.parametrize(
    ("on", "refs", "pulls"),
    [
        ("push", ["refs/heads/main"], False),
        ("{push: {branches: [main, 'release/**']}}", ["refs/heads/main", "refs/heads/release/*"], False),
        ("{schedule: [{cron: '0 0 * * *'}], release: {types: [published]}}", ["refs/heads/main", "refs/tags/*"], False),
        ("[workflow_dispatch, pull_request]", ["refs/heads/main"], True),
        ("pull_request", [], True),
        ("merge_group", ["refs/heads/gh-readonly-queue/main/*"], False),
    ],
)
def test_the_refs_of_each_trigger(on: str, refs: list[str], pulls: bool) -> None:
    found = made(on).after
    origin = subjects.of(found, found.job(PATH, "a"), "main")
    assert (list(origin.refs), origin.pulls) == (refs, pulls)


def test_a_push_of_any_branch_is_told_and_a_matrix_of_environments_is_followed() -> None:
    matrix = "    environment: ${{ matrix.stage }}\n    strategy: {matrix: {stage: [test, live]}}\n"
    found = made("push", matrix).after
    origin = subjects.of(found, found.job(PATH, "a"), "main")
    assert origin.environments == ("test", "live")
    assert "main alone" in origin.unsure[0]
    unknown = made("push", "    environment: ${{ inputs.stage }}\n").after
    assert "one subject for each" in subjects.of(unknown, unknown.job(PATH, "a"), "main").unsure[1]


def test_permissions_are_what_the_trail_saw_succeed() -> None:
    events = [
        {"eventSource": "s3.amazonaws.com", "eventName": "ListObjects", "resources": [{"ARN": "arn:aws:s3:::acme"}]},
        {"eventSource": "s3.amazonaws.com", "eventName": "HeadBucket", "resources": [{"ARN": "arn:aws:s3:::acme"}]},
        {"eventSource": "lambda.amazonaws.com", "eventName": "UpdateFunctionCode20150331v2"},
        {"eventSource": "iam.amazonaws.com", "eventName": "CreateUser", "errorCode": "AccessDenied"},
    ]
    statements, told = least.of([], events)
    assert told == []
    assert [(s["Action"], s["Resource"]) for s in statements] == [
        (["lambda:UpdateFunctionCode"], ["*"]),
        (["s3:ListBucket"], ["arn:aws:s3:::acme"]),
    ]
    assert [s["Action"] for s in least.reading(statements)] == [["s3:ListBucket"]]


def test_without_a_trail_they_are_what_the_jobs_show_and_the_rest_is_told() -> None:
    found = provision.files(made("push"), OWNER)
    actions = [s["Action"] for s in json.loads(found["aws/deploy.permissions.json"])["Statement"]]
    assert actions == [["s3:ListBucket"], ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]]
    assert (
        "terraform does what its configuration says"
        in provision.files(made("push", run="terraform apply"), OWNER)["README.md"]
    )


def test_google_takes_pull_requests_under_an_account_of_their_own() -> None:
    found = provision.files(planned(CASES / "gcp" / "pull-requests.before.yml"), OWNER)
    script = found["gcp/apply.sh"]
    assert "attribute.kind/7001:trusted" in script
    assert "PULL_REQUEST_SERVICE_ACCOUNT" in script
    assert "assertion.repository_id == '7001'" in script
    assert "assertion.ref == 'refs/heads/main'" in script


def test_the_forms_of_registries_name_the_file_and_the_environment() -> None:
    found = provision.files(planned(CASES / "npm" / "setup-node.before.yml"), OWNER)["registries.md"]
    assert "npm trust github PACKAGE --file setup-node.yml --repo acme/shop" in found


def test_the_command_writes_them_and_says_what_is_missing(tmp_path: Path) -> None:
    case = str(CASES / "aws" / "action.before.yml")
    run = CliRunner().invoke
    assert "--repository" in str(run(app, ["plan", case, "--out", str(tmp_path)]).exception)
    (tmp_path / "trail.json").write_text(
        json.dumps(
            {
                "Records": [
                    {
                        "eventSource": "s3.amazonaws.com",
                        "eventName": "PutObject",
                        "resources": [{"ARN": "arn:aws:s3:::acme/x"}],
                    }
                ]
            }
        )
    )
    words = [
        "--out",
        str(tmp_path / "o"),
        "--repository",
        "acme/shop,7001,70",
        "--events",
        str(tmp_path / "trail.json"),
    ]
    assert run(app, ["plan", case, *words]).exit_code == 0
    assert "s3:PutObject" in (tmp_path / "o" / "aws" / "deploy.permissions.json").read_text()
    (tmp_path / "trail.json").write_text("no")
    assert "CloudTrail" in str(run(app, ["plan", case, *words]).exception)
