"""What a job's token needs where nobody wrote it down: shell scripts of the repository are read, others refused."""

from __future__ import annotations

import pytest

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
