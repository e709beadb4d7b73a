"""What a job's token needs where nobody wrote it down: shell scripts of the repository are read, others refused."""

from __future__ import annotations

import pytest

from bot.oidc import octokit
from bot.oidc.plan import Plan, plan
from bot.oidc.repository import FOLDER, Repository

FILE = f"{FOLDER}release.yml"
JOB = """\
on: workflow_dispatch
jobs:
  upload:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - name: Upload
        working-directory: ops
        run: {call}
        env:
          GITHUB_TOKEN: ${{{{ secrets.GITHUB_TOKEN }}}}
          AWS_ACCESS_KEY_ID: ${{{{ secrets.AWS_ACCESS_KEY_ID }}}}
          AWS_SECRET_ACCESS_KEY: ${{{{ secrets.AWS_SECRET_ACCESS_KEY }}}}
"""
UPLOADS = b'#!/usr/bin/env bash\nset -eu\ngh release upload "$1" build.tgz\naws s3 cp build.tgz s3://builds/\n'


def planned(call: str, **scripts: bytes) -> Plan:
    files = {FILE: JOB.format(call=call).encode()}
    return plan(Repository.of(files | {name.replace("__", "/"): text for name, text in scripts.items()}))


@pytest.mark.parametrize("call", ["./upload v1", "bash -e ./upload v1"])
def test_a_script_of_the_repository_says_what_the_token_is_for(call: str) -> None:
    made = planned(call, ops__upload=UPLOADS)
    assert [str(outcome.refusal) for outcome in made.refused] == []
    assert "contents: write # gh release upload" in made.after.files[FILE].decode()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param({}, id="not-there"),
        pytest.param({"upload": UPLOADS}, id="in-another-folder"),
        pytest.param({"ops__upload": b"#!/usr/bin/python3\nprint('gh release upload')\n"}, id="no-shell"),
        pytest.param({"ops__upload": b"#!/bin/sh\ngh release upload v1\ngh api /user\n"}, id="asks-anything"),
        pytest.param({"ops__upload": b"#!/bin/sh\ngh release upload v1\n./more\n"}, id="calls-on"),
    ],
)
def test_a_script_that_cannot_be_told_is_refused(script: dict[str, bytes]) -> None:
    [outcome] = planned("./upload v1", **script).outcomes
    assert outcome.refusal is not None
    assert outcome.refusal.code == "permissions-unknown"


def test_a_clouds_command_line_does_not_know_the_token() -> None:
    made = planned("aws s3 ls")
    assert made.refused == []
    assert "contents: read # actions/checkout\n      id-token: write" in made.after.files[FILE].decode()


def test_a_login_to_githubs_registry_with_the_token_needs_to_write_packages() -> None:
    text = JOB.format(call="aws s3 ls").replace(
        "      - name: Upload\n",
        "      - uses: elgohr/Publish-Docker-Github-Action@v5\n        with:\n          name: acme/shop\n"
        "          registry: ghcr.io\n          password: ${{ secrets.GITHUB_TOKEN }}\n      - name: Upload\n",
    )
    made = plan(Repository.of({FILE: text.encode()}))
    assert made.refused == []
    assert "packages: write # ghcr.io" in made.after.files[FILE].decode()


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ("await github.rest.issues.addLabels({labels: ['a']})", {"issues": "write", "pull-requests": "write"}),
        ("github.issues.listComments(x) // github is asked once", {"issues": "read", "pull-requests": "read"}),
        ("const all = await github.paginate(github.rest.pulls.list, {});", {"pull-requests": "read"}),
        ("github.rest.pulls.merge(x)", {"contents": "write", "pull-requests": "write"}),
        ("github.rest.repos.createDeployment(x); github.git.getRef(x)", {"deployments": "write", "contents": "read"}),
        ("github.rest.repos.createCommitStatus({sha: '${{ github.sha }}'})", {"statuses": "write"}),
        ("github.rest.repos.getCollaboratorPermissionLevel(x)", {}),
        ("core.info('github tells nothing')", {}),
        ("github.graphql(`query`)", None),
        ("github.rest.orgs.removeMember(x)", None),
        ("github.rest.repos.createAutolink(x)", None),
        ("const run = require('./run'); await run({github, context})", None),
        ("await tell(github)", None),
    ],
)  # fmt: skip
def test_a_script_of_the_api_needs_the_scopes_of_what_it_calls(script: str, wanted: dict[str, str] | None) -> None:
    assert octokit.scopes(script) == wanted


def test_the_job_of_such_a_script_keeps_its_scopes_and_one_that_is_not_understood_is_refused() -> None:
    step = "      - uses: actions/github-script@v7\n        with:\n          github-token: ${{ github.token }}\n"
    text = JOB.format(call="aws s3 ls") + step + "          script: github.rest.checks.create({owner})\n"
    made = plan(Repository.of({FILE: text.encode()}))
    assert "checks: write # actions/github-script" in made.after.files[FILE].decode()
    [outcome] = plan(Repository.of({FILE: text.replace("rest.checks.create", "request").encode()})).outcomes
    assert outcome.refusal is not None
    assert outcome.refusal.code == "permissions-unknown"


@pytest.mark.parametrize(("call", "level"), [("npm publish", "write"), ("npm ci", "read"), ("npm run tidy", "read")])
def test_the_token_as_a_registrys_own_is_for_packages(call: str, level: str) -> None:
    text = JOB.format(call=call).replace("GITHUB_TOKEN: ", "NODE_AUTH_TOKEN: ")
    made = plan(Repository.of({FILE: text.encode()}))
    assert f"packages: {level} # GitHub Packages" in made.after.files[FILE].decode()


@pytest.mark.parametrize(
    ("other", "moves"),
    [
        ("on: push\n\tjobs:", True), ("\t${{ secrets.aws_access_key_id }}", False), ("\t${{ toJSON(secrets) }}", False),
        ("\tsecrets: inherit", False),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_stops_what_it_may_use_and_nothing_else(other: str, moves: bool) -> None:
    files = {FILE: JOB.format(call="aws s3 ls").encode(), f"{FOLDER}odd.yml": other.encode()}
    made = plan(Repository.of(files))
    assert list(made.before.unreadable) == [f"{FOLDER}odd.yml"]
    assert bool(made.migrated) is moves


@pytest.mark.parametrize("second", ["TOKEN_TO_PUBLISH", "NPM_CONFIG__AUTHTOKEN"])
def test_two_variables_of_a_whole_workflow_with_one_token_go_together(second: str) -> None:
    text = (
        "on: workflow_dispatch\nenv:\n  NODE_AUTH_TOKEN: ${{ secrets.NPM_TOKEN }}\n"
        f"  {second}: ${{{{ secrets.NPM_TOKEN }}}}\n"
        "jobs:\n  release:\n    runs-on: ubuntu-latest\n    steps:\n      - run: npm publish\n"
    )
    made = plan(Repository.of({FILE: text.encode()}))
    assert [str(outcome.refusal) for outcome in made.refused] == []
    assert "secrets." not in made.after.files[FILE].decode()


@pytest.mark.parametrize(
    ("script", "jobs"),
    [
        ("#!/bin/sh\naws s3 ls\n", ["sees", "scripted"]), ("#!/bin/sh\ngit tag v1\n", ["sees"]),
        ("#!/bin/sh\n./more.sh\n", None), ("", None),
    ],
)  # fmt: skip
def test_a_script_says_whether_a_job_uses_the_key_that_every_job_has(script: str, jobs: list[str] | None) -> None:
    text = (
        "on: workflow_dispatch\npermissions: {}\nenv:\n  AWS_ACCESS_KEY_ID: ${{ secrets.AWS_ID }}\n"
        "  AWS_SECRET_ACCESS_KEY: ${{ secrets.AWS_KEY }}\njobs:\n"
        "  sees:\n    runs-on: ubuntu-latest\n    steps:\n      - run: aws s3 ls\n"
        "  scripted:\n    runs-on: ubuntu-latest\n    steps:\n      - run: bash ./ship.sh\n"
    )
    made = plan(Repository.of({FILE: text.encode()} | ({"ship.sh": script.encode()} if script else {})))
    [outcome] = made.outcomes
    assert (outcome.refusal.code if outcome.refusal else [job for _, job in outcome.granted]) == (
        "consumers-unknown" if jobs is None else jobs
    )
