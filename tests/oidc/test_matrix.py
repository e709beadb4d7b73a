"""Secrets that a matrix names: those that it writes out move, and what it computes stops every other one."""

from __future__ import annotations

import pytest

from bot.oidc.plan import Plan, plan
from bot.oidc.repository import FOLDER, Repository

FILE = f"{FOLDER}deploy.yml"
DEPLOY = """\
on: {{push: {{branches: [main]}}}}
jobs:
  each:
    runs-on: ubuntu-latest
    strategy:
      matrix: {matrix}
    steps:
      - run: aws s3 ls
        env:
          AWS_ACCESS_KEY_ID: ${{{{ secrets[matrix.id] }}}}
          AWS_SECRET_ACCESS_KEY: ${{{{ secrets[matrix.key] }}}}
  one:
    runs-on: ubuntu-latest
    steps:
      - run: npm publish
        env: {{NODE_AUTH_TOKEN: '${{{{ secrets.NPM_TOKEN }}}}'}}
"""
WRITTEN = "{include: [{id: TEST_AWS_ID, key: TEST_AWS_KEY}, {id: LIVE_AWS_ID, key: LIVE_AWS_KEY}]}"


def planned(matrix: str) -> Plan:
    return plan(Repository.of({FILE: DEPLOY.format(matrix=matrix).encode()}))


@pytest.mark.parametrize("matrix", [WRITTEN, "{id: [TEST_AWS_ID], key: [TEST_AWS_KEY], include: [{id: LIVE_AWS_ID}]}"])
def test_what_a_matrix_writes_out_is_named_and_stops_no_other_secret(matrix: str) -> None:
    made = planned(matrix)
    assert made.refused == []
    key, token = made.migrated
    assert {"TEST_AWS_ID", "TEST_AWS_KEY", "LIVE_AWS_ID"} <= set(key.credential.secrets)
    assert token.credential.key == "npm:NPM_TOKEN"
    text = made.after.files[FILE].decode()
    assert "role-to-assume: ${{ vars[format('{0}_ROLE_ARN', matrix.id)] }}\n" in text
    assert {name for name in key.asks if "ROLE" in name} == {"vars.LIVE_AWS_ID_ROLE_ARN", "vars.TEST_AWS_ID_ROLE_ARN"}
    assert "secrets" not in text


@pytest.mark.parametrize(
    "matrix",
    [
        "${{ fromJSON(needs.x.outputs.y) }}", "{include: '${{ fromJSON(vars.CASES) }}'}",
        "{id: [TEST_AWS_ID, '${{ inputs.id }}'], key: [K]}", WRITTEN.replace("TEST_AWS_KEY", "NPM_TOKEN"),
    ],
)  # fmt: skip
def test_what_it_computes_or_what_may_be_the_same_secret_stops_it(matrix: str) -> None:
    assert planned(matrix).changed == {}
