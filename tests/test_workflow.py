"""What a workflow file lets its jobs read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import workflow
from bot.errors import InputError


def job(text: str) -> workflow.Job:
    """The only job of a file with these lines under it."""
    lines = "\n".join("    " + line for line in text.splitlines())
    return workflow.parse(f"on: push\njobs:\n  only:\n{lines}\n", "w.yml").jobs[0]


@pytest.mark.parametrize(
    ("on", "triggers"),
    [
        ("on: push", ("push",)),
        ("on: [push, workflow_dispatch]", ("push", "workflow_dispatch")),
        ("'on':\n  pull_request: {branches: [main]}\n  schedule:\n  - cron: '1 2 * * *'", ("pull_request", "schedule")),
        ("name: no trigger", ()),
    ],
)
def test_triggers(on: str, triggers: tuple[str, ...]) -> None:
    assert workflow.parse(f"{on}\njobs:\n  a: {{runs-on: x}}\n", "w.yml").triggers == triggers


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("env: {A: '${{ secrets.ALPHA }}'}", {"ALPHA"}),
        ("env: {A: \"${{ secrets['beta'] }}\"}", {"BETA"}),
        ("env: {A: '${{ secrets . gamma }}'}", {"GAMMA"}),
        ("env: {A: '${{ Secrets.ONE || secrets.TWO }}'}", {"ONE", "TWO"}),
        ("steps: [{run: 'echo ${{ secrets.IN_RUN }}'}]", {"IN_RUN"}),
        ("steps: [{uses: a/b@v1, with: {token: '${{ secrets.IN_WITH }}'}}]", {"IN_WITH"}),
        ("container: {image: x, credentials: {password: '${{ secrets.IMAGE }}'}}", {"IMAGE"}),
        ("services: {db: {env: {P: '${{ secrets.DB }}'}}}", {"DB"}),
        ("steps: [{if: secrets.FLAG != '', run: 'true'}]", {"FLAG"}),
        ("steps: [{run: 'cat secrets.txt; echo secrets.NOT'}]", set()),
        ("env: {A: '${{ needs.x.outputs.secrets }}'}", set()),
        ("env: {A: '${{ vars.SECRETS }}'}", set()),
        ("env: {A: \"${{ 'secrets.IN_A_STRING' }}\"}", set()),
    ],
)
def test_names_of_secrets(line: str, names: set[str]) -> None:
    found = job(line)
    assert set(found.secrets) == names
    assert not found.everything


@pytest.mark.parametrize(
    "expression",
    ["toJSON(secrets)", "secrets[matrix.name]", "secrets[format('{0}_KEY', env.X)]", "secrets.*", "tojson( Secrets )"],
)
def test_a_computed_name_means_all(expression: str) -> None:
    assert job(f'env: {{A: "${{{{ {expression} }}}}"}}').everything == "its env"


def test_env_of_the_workflow_reaches_every_job_that_runs_something() -> None:
    jobs = "jobs:\n  runs: {runs-on: x}\n  calls: {uses: ./.github/workflows/x.yml}\n"
    runs, calls = workflow.parse("on: push\nenv: {A: '${{ secrets.S }}'}\n" + jobs, "w.yml").jobs
    assert runs.secrets == {"S": "the workflow's env"}
    assert calls.secrets == {}


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("permissions: {id-token: write}", True),
        ("permissions: write-all", True),
        ("permissions: read-all", False),
        ("permissions: {contents: write}", False),
        ("permissions: {}", False),
        ("runs-on: x", False),
    ],
)
def test_who_may_mint_an_id_token(text: str, may: bool) -> None:
    assert workflow.may_mint(job(text).permissions) is may


HALVES = {
    "env": """\
env:
  AWS_ACCESS_KEY_ID: ${{ secrets.KEY }}
  AWS_SECRET_ACCESS_KEY: ${{ secrets.SECRET }}""",
    "inputs": """\
steps:
- uses: aws-actions/configure-aws-credentials@v5
  with:
    aws-access-key-id: ${{ secrets.KEY }}
    aws-secret-access-key: ${{ secrets.SECRET }}""",
    "a script": """\
steps:
- run: |
    export AWS_ACCESS_KEY_ID=${{ secrets.KEY }}
    aws configure set aws_secret_access_key "${{ secrets.SECRET }}\"""",
    "secrets of a call": """\
uses: ./.github/workflows/x.yml
secrets:
  aws_access_key_id: ${{ secrets.KEY }}
  aws_secret_access_key: ${{ secrets.SECRET }}""",
}


@pytest.mark.parametrize("where", HALVES)
def test_halves_of_an_aws_pair(where: str) -> None:
    assert job(HALVES[where]).halves == {("id", "KEY"), ("secret", "SECRET")}


def test_roles() -> None:
    found = job(
        "steps:\n- uses: aws-actions/configure-aws-credentials@v5\n  with: {role-to-assume: arn:aws:iam::1:role/r}\n"
        "- uses: google-github-actions/auth@v3\n  with: {workload_identity_provider: '${{ vars.WIP }}'}\n"
        "- uses: azure/login@v2\n  with: {client-id: abc}\n- uses: other/thing@v1\n  with: {client-id: not-a-role}\n"
    )
    assert [(role.name, role.literal) for role in found.roles] == [
        ("arn:aws:iam::1:role/r", True), ("${{ vars.WIP }}", False), ("abc", True),
    ]  # fmt: skip


def test_aliases_of_aliases_cost_nothing() -> None:
    lines = ["a0: &a0 {k: '${{ secrets.S }}'}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    bomb = "on: push\njobs:\n  a:\n    env:\n" + "\n".join("      " + line for line in lines)
    assert set(workflow.parse(bomb, "w.yml").jobs[0].secrets) == {"S"}


@pytest.mark.parametrize(
    "text",
    ["", "just words", "[1, 2]", "on: push", "jobs: []", "a: b: c", "jobs: {a: !!python/object:os.system x", "\x00",
     "[" * 5000, "x: &a [*a]\njobs: 3", " " * 1_000_001],
)  # fmt: skip
def test_what_is_no_workflow_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"w\.yml"):
        workflow.parse(text, "w.yml")


@given(st.text(alphabet="${}secrt.'[]A \n:-*&!jobs", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for candidate in (text, f"jobs:\n  a:\n    env: |\n      {text}"):
        try:
            workflow.parse(candidate, "w.yml")
        except InputError:
            continue
