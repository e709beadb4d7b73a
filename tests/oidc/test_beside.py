"""What files beside the workflows decide: a script of the repository may read what a workflow hands it by a name."""

from __future__ import annotations

import pytest

from bot.oidc.plan import plan
from bot.oidc.repository import FOLDER, Repository, Unread, looked_into
from tests.oidc.test_cases import CASES

FILE = f"{FOLDER}report.yml"


def test_a_key_of_a_job_that_a_file_of_the_repository_names_is_left() -> None:
    text = (CASES / "gcp" / "key-of-a-job.before.yml").read_bytes()
    [outcome] = plan(Repository.of({FILE: text, "report.py": b"import os\n"})).outcomes
    assert outcome.refusal is None
    [outcome] = plan(Repository.of({FILE: text, "report.py": b"key = os.environ['REPORTS_KEY']\n"})).outcomes
    assert outcome.refusal is not None
    assert outcome.refusal.code == "renamed"


def test_a_name_that_hands_a_key_on_and_that_a_script_reads_is_left() -> None:
    text = (CASES / "aws" / "handed-by-env.before.yml").read_bytes()
    assert plan(Repository.of({FILE: text, "site.py": b"import os\n"})).changed
    assert plan(Repository.of({FILE: text, "site.py": b"key = os.environ['SITE_KEY']\n"})).changed == {}


@pytest.mark.parametrize("whole", [True, False])
def test_a_file_that_npm_reads_by_itself_and_that_names_the_token_is_told(whole: bool) -> None:
    text = (CASES / "npm" / "whoami.before.yml").read_bytes()
    files = {FILE: text, ".npmrc": b"//registry.npmjs.org/:_authToken=${NODE_AUTH_TOKEN}\n"}
    held = files if whole else Unread(dict(zip(files, files, strict=True)), files.__getitem__)
    [outcome] = plan(Repository.of(held, whole=whole)).migrated
    assert any(note.startswith(".npmrc:1 names NODE_AUTH_TOKEN") for note in outcome.notes)
    assert looked_into("packages/a/.npmrc")


DEPLOY = """\
on: {push: {branches: [main]}}
jobs:
  deploy:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: bash scripts/deploy.sh live
        env:
          AWS_ACCESS_KEY_ID: ${{ secrets.AWS_ACCESS_KEY_ID }}
          AWS_SECRET_ACCESS_KEY: ${{ secrets.AWS_SECRET_ACCESS_KEY }}
          AWS_REGION: eu-west-1
"""


@pytest.mark.parametrize(
    ("line", "moves"),
    [
        ("aws s3 sync . s3://acme", True),
        ('[ -z "$AWS_SECRET_ACCESS_KEY" ] && exit 1', True),
        ("# docker run -e AWS_SECRET_ACCESS_KEY", True),
        ("aws configure set aws_secret_access_key $AWS_SECRET_ACCESS_KEY", True),  # the environment goes first
        ("docker run -e AWS_ACCESS_KEY_ID -e AWS_SECRET_ACCESS_KEY -e AWS_SESSION_TOKEN acme/tool", True),
        ("docker run -e AWS_ACCESS_KEY_ID -e AWS_SECRET_ACCESS_KEY acme/tool", False),
        ('s3cmd --secret_key="$AWS_SECRET_ACCESS_KEY" ls', False),
    ],
)
def test_a_script_that_hands_two_values_on_by_name_would_leave_the_third_behind(line: str, moves: bool) -> None:
    made = plan(Repository.of({FILE: DEPLOY.encode(), "scripts/deploy.sh": f"#!/bin/sh\n{line}\n".encode()}))
    assert bool(made.changed) is moves
    assert [outcome.refusal and outcome.refusal.code for outcome in made.outcomes] == [None if moves else "forwarded"]
