"""What a scan reports: every carrier of the list, with what takes its place, on every branch that can run."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.cli.oidc import app
from bot.oidc import find, report
from bot.oidc.branches import others, runs
from bot.oidc.plan import plan
from bot.oidc.recipes import data
from bot.oidc.repository import FOLDER, Repository

PATH = f"{FOLDER}w.yml"
GIT = shutil.which("git") or "git"


def found(job: str, on: str = "push") -> dict[str, list[str]]:
    text = f"on: {on}\njobs:\n  a:\n    runs-on: ubuntu-latest\n{job}"
    repository = Repository.of({PATH: text.encode()})
    assert not repository.unreadable
    return {c.provider: list(c.secrets) for c in find.credentials(repository.workflows.values())}


def step(text: str) -> str:
    return f"    steps:\n      - {text}\n"


@pytest.mark.parametrize(
    ("job", "provider"),
    [
        (step("run: docker login ghcr.io -u me -p ${{ secrets.X }}"), "ghcr"),
        (step("run: echo ${{ secrets.X }} | docker login --password-stdin -u me"), "dockerhub"),
        (step("run: docker login -u AWS -p ${{ secrets.X }} 1.dkr.ecr.eu-west-1.amazonaws.com"), "aws"),
        (step("run: docker login acme.azurecr.io -u me -p ${{ secrets.X }}"), "azure"),
        (step("run: podman login europe-docker.pkg.dev -u _json_key -p ${{ secrets.X }}"), "gcp"),
        (step("run: helm registry login acme.jfrog.io -u me -p ${{ secrets.X }}"), "artifactory"),
        (step("{run: x, env: {TF_TOKEN_app_terraform_io: '${{ secrets.X }}'}}"), "tfc"),
        (step("{run: x, env: {PULUMI_ACCESS_TOKEN: '${{ secrets.X }}'}}"), "pulumi"),
        (step("{run: x, env: {ARM_CLIENT_SECRET: '${{ secrets.X }}'}}"), "azure"),
        (step("{run: x, env: {GOOGLE_CREDENTIALS: '${{ secrets.X }}'}}"), "gcp"),
        (step("run: az storage blob list --account-key ${{ secrets.X }}"), "azure-storage"),
        (step("run: vault login ${{ secrets.X }}"), "vault"),
        (step("run: codecov -t ${{ secrets.X }}"), "codecov"),
        (step("run: gem push --key ${{ secrets.RUBYGEMS_API_KEY }}"), "rubygems"),
        (step("run: dotnet nuget push x -k ${{ secrets.X }}"), "nuget"),
        (step("{uses: tailscale/github-action@v3, with: {oauth-secret: '${{ secrets.X }}'}}"), "tailscale"),
        ("    container: {image: acme/x, credentials: {username: u, password: '${{ secrets.X }}'}}\n"
         + step("run: 'true'"), "dockerhub"),
        ("    services: {db: {image: ghcr.io/acme/db, credentials: {username: u, password: '${{ secrets.X }}'}}}\n"
         + step("run: 'true'"), "ghcr"),
        (step("{run: x, if: 'secrets.NPM_TOKEN'}"), "npm"),
    ],
)  # fmt: skip
def test_each_carrier_is_found(job: str, provider: str) -> None:
    assert list(found(job)) == [provider]


@pytest.mark.parametrize(
    "job",
    [
        step("run: docker login ghcr.io -u me -p ${{ secrets.GITHUB_TOKEN }}"),
        step("{uses: actions/checkout@v4, with: {token: '${{ secrets.CARGO_BOT_TOKEN || secrets.GITHUB_TOKEN }}'}}"),
        step("{uses: google-github-actions/auth@v2, with: {service_account: '${{ secrets.GCP_SERVICE_ACCOUNT }}'}}"),
        step("{uses: aws-actions/configure-aws-credentials@v4, with: {role-to-assume: '${{ secrets.AWS_ROLE }}'}}"),
        step("run: echo ${{ secrets.SLACK_WEBHOOK }}"),
        step("{uses: docker/build-push-action@v6, with: {build-args: 'K=${{ secrets.GOOGLE_MAPS_API_KEY }}'}}"),
        step("{run: npm run build, env: {FIREBASE_API_KEY: '${{ secrets.FIREBASE_API_KEY }}'}}"),
    ],
)
def test_what_is_no_static_credential_of_these_is_not_reported(job: str) -> None:
    assert found(job) == {}


def test_a_secret_whose_name_is_computed_is_found_by_what_gets_it_and_refused() -> None:
    job = step("{uses: aws-actions/configure-aws-credentials@v4, with: {aws-region: eu-west-1, "
               "aws-access-key-id: \"${{ secrets[format('ID_{0}', github.ref_name)] }}\", "
               "aws-secret-access-key: \"${{ secrets[format('KEY_{0}', github.ref_name)] }}\"}}")  # fmt: skip
    assert found(job) == {"aws": ["(computed, aws)"]}
    text = f"on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n{job}"
    (outcome,) = plan(Repository.of({PATH: text.encode()})).refused
    assert outcome.refusal is not None
    assert outcome.refusal.code == "computed"
    assert found(step("{run: npm publish, env: {NODE_AUTH_TOKEN: '${{ secrets[matrix.token] }}'}}")) == {
        "npm": ["(computed, npm)"]
    }
    assert found(step("{run: x, env: {ALL: '${{ toJSON(secrets) }}'}}")) == {}


def test_a_key_of_another_store_is_not_called_one_of_aws() -> None:
    key = "AWS_ACCESS_KEY_ID: '${{ secrets.X }}', AWS_SECRET_ACCESS_KEY: '${{ secrets.Y }}'"
    assert list(found(step("{run: x, env: {%s, SCCACHE_ENDPOINT: 'https://x'}}" % key))) == ["s3"]  # noqa: UP031
    assert list(found(step("{run: x --endpoint-url https://acme.r2.dev, env: {%s}}" % key))) == ["s3"]  # noqa: UP031
    tool = "curl -LO https://storage.googleapis.com/kubernetes-release/v1/kubectl"
    assert list(found(step("{run: %s, env: {%s}}" % (tool, key)))) == ["aws"]  # noqa: UP031
    host = "s3cmd --host storage.googleapis.com ls"
    assert list(found(step("{run: %s, env: {%s}}" % (host, key)))) == ["s3"]  # noqa: UP031
    assert list(found(step("{run: minio server & aws s3 ls, env: {%s}}" % key))) == ["aws"]  # noqa: UP031


def test_every_provider_says_what_takes_its_place() -> None:
    for name, recipe in data("providers").items():
        assert recipe["instead"].endswith("."), name
    job = step("{run: x, env: {TF_API_TOKEN: '${{ secrets.X }}'}}")
    refused = Repository.of({PATH: f"on: push\njobs:\n  a:\n    runs-on: x\n{job}".encode()})
    document = report.scanned(refused, find.credentials(refused.workflows.values()))
    assert "team token" in document["credentials"][0]["instead"]


def test_a_key_in_the_env_of_a_workflow_tells_what_starts_each_job_that_gets_it() -> None:
    job = "{runs-on: ubuntu-latest, steps: [{run: aws s3 ls}]}"
    main = (
        "on: {push: {}, pull_request: {}, issue_comment: {}}\n"
        "env: {AWS_ACCESS_KEY_ID: '${{ secrets.X }}', AWS_SECRET_ACCESS_KEY: '${{ secrets.Y }}'}\njobs:\n"
        f"  both: {job}\n  pushed: {job.replace('{', chr(123) + 'environment: live, ', 1)}\n"
        "  called: {uses: ./.github/workflows/other.yml}\n"
    ).replace("pushed: {", "pushed: {if: github.event_name == 'push', ")
    other = f"on: workflow_call\njobs:\n  inner: {job}\n"
    repository = Repository.of({PATH: main.encode(), f"{FOLDER}other.yml": other.encode()})
    [credential] = find.credentials(repository.workflows.values())
    assert credential.jobs == ()  # none of them names the key
    rows = {row["job"]: row for row in report.users(repository, credential)}
    assert sorted(rows) == ["both", "pushed"]  # what is called gets nothing of its caller's env
    assert rows["both"]["events"] == ["issue_comment", "pull_request", "push"]
    assert (rows["both"]["pull_requests"], rows["both"]["forks"]) == (True, ["issue_comment"])
    assert rows["pushed"]["events"] == ["push"]
    assert (rows["pushed"]["pull_requests"], rows["pushed"]["forks"]) == (False, [])
    assert (rows["pushed"]["environment"], rows["both"]["environment"]) == ("live", "")


# branches -------------------------------------------------------------------------------------------------------------

KEYED = """\
on: {push: {branches: [%s]}}
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - run: aws s3 ls
        env: {AWS_ACCESS_KEY_ID: '${{ secrets.OLD_ID }}', AWS_SECRET_ACCESS_KEY: '${{ secrets.OLD_KEY }}'}
"""


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run([GIT, "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose main branch is clean, with one old branch that can run and one that cannot."""
    file = tmp_path / PATH
    file.parent.mkdir(parents=True)
    git(tmp_path, "init", "-q", "-b", "main")
    for branch, text in (("main", "on: push\njobs: {}\n"), ("v1", KEYED % "'v*'"), ("asleep", KEYED % "main")):
        if branch != "main":
            git(tmp_path, "switch", "-q", "-c", branch, "main")
        file.write_text(text)
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", branch)
    git(tmp_path, "switch", "-q", "main")
    return tmp_path


def test_an_old_branch_whose_file_can_run_is_reported_and_one_that_cannot_is_not(clone: Path) -> None:
    done = CliRunner().invoke(app, ["scan", str(clone), "--branches", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["credentials"] == []
    assert {name: [c["secrets"] for c in held] for name, held in said["branches"].items()} == {
        "v1": [["OLD_ID", "OLD_KEY"]]
    }
    sarif = json.loads(CliRunner().invoke(app, ["scan", str(clone), "--branches", "--sarif"]).stdout)
    assert all("on branch v1" in result["message"]["text"] for result in sarif["runs"][0]["results"])
    assert len(sarif["runs"][0]["results"]) == 2


def test_a_folder_that_is_no_clone_has_no_branches(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no clone"):
        others(tmp_path, Repository.of({}))


@pytest.mark.parametrize(
    ("on", "branch", "on_default", "can"),
    [
        ("push", "x", False, True),
        ("{push: {branches: ['release/**']}}", "release/1/2", False, True),
        ("{push: {branches: ['release/*']}}", "release/1/2", False, False),
        ("{push: {branches: ['**', '!old']}}", "old", False, False),
        ("{push: {branches-ignore: [old]}}", "old", False, False),
        ("{push: {tags: ['v*']}}", "x", False, False),
        ("{schedule: [{cron: '0 0 * * *'}]}", "x", True, False),
        ("workflow_dispatch", "x", True, True),
        ("workflow_dispatch", "x", False, False),
        ("pull_request", "x", False, True),
        ("issue_comment", "x", True, False),
    ],
)
def test_which_file_can_run_on_a_branch(on: str, branch: str, on_default: bool, can: bool) -> None:
    workflow = Repository.of({PATH: f"on: {on}\njobs: {{}}\n".encode()}).workflows[PATH]
    assert runs(workflow, branch, on_default) is can
