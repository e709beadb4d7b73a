"""Reusable workflows: the secret goes on both sides, the identity is granted on both sides, or nothing is touched."""

from __future__ import annotations

from bot.oidc.plan import Plan, plan
from bot.oidc.repository import FOLDER, Repository
from bot.oidc.shape import Workflow
from bot.oidc.source import Source

CALLER = """\
on: {push: {branches: [main]}}
jobs:
  release:
    uses: ./.github/workflows/publish.yml
    secrets:
      AWS_ACCESS_KEY_ID: ${{ secrets.AWS_ACCESS_KEY_ID }}
      AWS_SECRET_ACCESS_KEY: ${{ secrets.AWS_SECRET_ACCESS_KEY }}
"""
CALLEE = """\
on:
  workflow_call:
    inputs:
      where: {type: string}
    secrets:
      AWS_ACCESS_KEY_ID:
        required: true
      AWS_SECRET_ACCESS_KEY:
        required: true
jobs:
  copy:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: aws s3 ls --region eu-west-1
        env:
          AWS_ACCESS_KEY_ID: ${{ secrets.AWS_ACCESS_KEY_ID }}
          AWS_SECRET_ACCESS_KEY: ${{ secrets.AWS_SECRET_ACCESS_KEY }}
"""
INHERIT = CALLER.split("    secrets:")[0] + "    secrets: inherit\n"


def planned(**files: str) -> Plan:
    return plan(Repository.of({f"{FOLDER}{name}.yml": text.encode() for name, text in files.items()}))


def tree(made: Plan, name: str) -> dict[str, object]:
    path = f"{FOLDER}{name}.yml"
    return dict(Workflow(path, Source(made.after.files[path])).source.root.plain)


def codes(made: Plan) -> list[str]:
    return [outcome.refusal.code for outcome in made.refused if outcome.refusal]


def test_caller_and_callee_change_together() -> None:
    made = planned(main=CALLER, publish=CALLEE)
    assert codes(made) == []
    scopes = {"contents": "read", "id-token": "write"}
    release = {"uses": "./.github/workflows/publish.yml", "permissions": scopes}
    assert tree(made, "main")["jobs"] == {"release": release}
    callee = tree(made, "publish")
    assert callee["on"] == {"workflow_call": {"inputs": {"where": {"type": "string"}}}}
    assert callee["jobs"]["copy"]["permissions"] == scopes  # type: ignore[index]
    assert "AWS_ACCESS_KEY_ID" not in str(made.changed)


def test_a_caller_that_inherits_is_granted_the_identity_too() -> None:
    made = planned(main=INHERIT, publish=CALLEE)
    assert tree(made, "main")["jobs"]["release"]["permissions"]["id-token"] == "write"  # type: ignore[index]


def test_callers_of_callers_are_followed() -> None:
    middle = INHERIT.replace("push: {branches: [main]}", "workflow_call: {}").replace("publish.yml", "publish.yml")
    top = INHERIT.replace("publish.yml", "middle.yml")
    made = planned(top=top, middle=middle, publish=CALLEE)
    assert codes(made) == []
    for name in ("top", "middle"):
        assert tree(made, name)["jobs"]["release"]["permissions"]["id-token"] == "write"  # type: ignore[index]


def test_a_callee_whose_callers_are_not_there_is_left_alone() -> None:
    made = planned(publish=CALLEE)
    assert codes(made) == ["callers-unknown"]
    assert made.changed == {}


PUBLISHES = """\
on:
  workflow_call:
    secrets:
      NPM_TOKEN: {description: Of npm, required: true}
      OTHER: {required: true}
jobs:
  publish:
    runs-on: ubuntu-latest
    permissions: {contents: read, id-token: write}
    steps:
      - uses: actions/checkout@v4
      - run: npm publish --provenance
        env: {NODE_AUTH_TOKEN: '${{ secrets.NPM_TOKEN }}', OTHER: '${{ secrets.OTHER }}'}
"""


def test_callers_elsewhere_have_granted_what_a_called_job_asks_for_already() -> None:
    made = planned(publish=PUBLISHES)
    assert codes(made) == []
    text = made.after.files[f"{FOLDER}publish.yml"].decode()
    assert "NPM_TOKEN: {description: Of npm, required: false}\n" in text  # whoever hands it on may go on doing so
    assert "OTHER: {required: true}" in text
    assert "secrets.NPM_TOKEN" not in text
    [outcome] = made.migrated
    assert any("its callers are elsewhere" in note for note in outcome.notes)
    assert plan(made.after).changed == {}


def test_callers_elsewhere_are_not_guessed_to_grant_what_nothing_asks_for_today() -> None:
    assert codes(planned(publish=PUBLISHES.replace(", id-token: write", ""))) == ["callers-unknown"]
    assert codes(planned(publish=PUBLISHES.replace("{contents: read, id-token: write}", "write-all"))) == [
        "callers-unknown"
    ]
    called = CALLEE.replace("  copy:\n", "  copy:\n    permissions: {id-token: write}\n")
    assert codes(planned(publish=called)) == ["callers-unknown"]  # whose role it would be depends on who calls


def test_a_secret_that_goes_to_another_repository_is_left_alone() -> None:
    made = planned(main=CALLER.replace("./.github/workflows/publish.yml", "acme/ci/.github/workflows/publish.yml@v1"))
    assert codes(made) == ["called-elsewhere"]


def test_a_callee_that_is_not_there_leaves_its_caller_alone() -> None:
    assert codes(planned(main=CALLER)) == ["callee-missing"]


def test_pull_requests_that_come_through_a_caller_get_a_role_of_their_own() -> None:
    caller = CALLER.replace("on: {push: {branches: [main]}}", "on: [push, pull_request]")
    made = planned(main=caller, publish=CALLEE)
    login = next(s for s in tree(made, "publish")["jobs"]["copy"]["steps"] if "with" in s)  # type: ignore[index]
    assert login["if"].startswith("github.event_name != 'pull_request' || (github.event.pull_request.head.repo.")
    chosen = "${{ github.event_name == 'pull_request' && vars.AWS_PULL_REQUEST_ROLE_ARN || vars.AWS_ROLE_ARN }}"
    assert login["with"]["role-to-assume"] == chosen


def test_a_caller_that_only_pull_requests_start_gets_their_role_alone() -> None:
    made = planned(main=CALLER.replace("on: {push: {branches: [main]}}", "on: pull_request"), publish=CALLEE)
    login = next(s for s in tree(made, "publish")["jobs"]["copy"]["steps"] if "with" in s)  # type: ignore[index]
    assert login["with"]["role-to-assume"] == "${{ vars.AWS_PULL_REQUEST_ROLE_ARN }}"
    assert "vars.AWS_ROLE_ARN" not in made.outcomes[0].asks


def test_what_a_callee_requires_is_required_no_more_where_its_callers_inherit() -> None:
    made = planned(main=INHERIT, publish=CALLEE.replace("    inputs:\n      where: {type: string}\n", ""))
    assert codes(made) == []
    assert tree(made, "publish")["on"] == {"workflow_call": ""}
    assert "  workflow_call:\njobs:" in made.after.files[f"{FOLDER}publish.yml"].decode()


def test_who_else_may_call_a_workflow_is_listed() -> None:
    (outcome,) = planned(publish=CALLEE.replace("on:\n", "on:\n  workflow_dispatch:\n")).migrated
    assert any("no workflow elsewhere calls it" in each for each in outcome.assumed)


TWICE = """\
on: {push: {branches: [main]}}
jobs:
  live:
    uses: ./.github/workflows/publish.yml
    with: {where: live}
    secrets: {key_id: '${{ secrets.LIVE_AWS_ACCESS_KEY_ID }}', key: '${{ secrets.LIVE_AWS_SECRET_ACCESS_KEY }}'}
  test:
    uses: ./.github/workflows/publish.yml
    with: {where: test}
    secrets: {key_id: '${{ secrets.TEST_AWS_ACCESS_KEY_ID }}', key: '${{ secrets.TEST_AWS_SECRET_ACCESS_KEY }}'}
"""
UNDER_ANOTHER_NAME = (
    CALLEE.replace("      AWS_ACCESS_KEY_ID:\n", "      key_id:\n")
    .replace("      AWS_SECRET_ACCESS_KEY:\n", "      key:\n")
    .replace("secrets.AWS_ACCESS_KEY_ID", "secrets.key_id")
    .replace("secrets.AWS_SECRET_ACCESS_KEY", "secrets.key")
)
ONCE = TWICE.partition("  test:")[0]


def test_a_secret_that_has_another_name_in_the_callee_is_one_credential_with_its_caller() -> None:
    made = planned(main=ONCE, publish=UNDER_ANOTHER_NAME)
    assert codes(made) == []
    (outcome,) = made.migrated
    assert set(outcome.credential.secrets) >= {"LIVE_AWS_ACCESS_KEY_ID", "KEY_ID", "KEY"}
    assert "secrets" not in tree(made, "main")["jobs"]["live"]
    assert "secrets" not in tree(made, "publish")["on"]["workflow_call"]
    assert "secrets." not in made.after.files[f"{FOLDER}publish.yml"].decode()


def test_several_keys_for_one_callee_need_an_environment_to_tell_them_apart() -> None:
    made = planned(main=TWICE, publish=UNDER_ANOTHER_NAME)
    assert codes(made) == ["computed"]
    assert made.changed == {}
    made = planned(
        main=TWICE, publish=UNDER_ANOTHER_NAME.replace("    steps:", "    environment: ${{ inputs.where }}\n    steps:")
    )
    (outcome,) = made.migrated
    assert any("in each of its environments" in note for note in outcome.notes)
    assert all("secrets" not in job for job in tree(made, "main")["jobs"].values())


def test_a_called_job_asks_for_no_more_than_its_callers_grant_it_today() -> None:
    release = "- run: gh release create v1\n        env: {GH_TOKEN: '${{ github.token }}'}\n      - run: aws"
    callee, reads = CALLEE.replace("- run: aws", release), "permissions: {contents: read}\n" + INHERIT
    made = planned(main="permissions: {}\n" + INHERIT, other=reads, publish=callee)
    assert codes(made) == []
    assert tree(made, "publish")["jobs"]["copy"]["permissions"] == {"id-token": "write"}  # type: ignore[index]
    assert tree(made, "main")["jobs"]["release"]["permissions"] == {"id-token": "write"}  # type: ignore[index]
    made = planned(main=reads, publish=callee)
    scopes = {"contents": "read", "id-token": "write"}
    assert tree(made, "publish")["jobs"]["copy"]["permissions"] == scopes  # type: ignore[index]


def test_a_workflow_that_runs_by_itself_too_and_would_lose_a_scope_by_a_caller_is_left() -> None:
    callee = CALLEE.replace("on:\n", "on:\n  push: {branches: [main]}\n")
    assert codes(planned(main="permissions: {}\n" + INHERIT, publish=callee)) == ["permissions-unknown"]


def test_a_caller_grants_what_is_needed_two_calls_below_it() -> None:
    tag = "on: workflow_call\njobs:\n  tag:\n    runs-on: ubuntu-latest\n    steps:\n      - run: git push --tags\n"
    callee = CALLEE + "  more:\n    uses: ./.github/workflows/tag.yml\n"
    made = planned(main=INHERIT, publish=callee, tag=tag)
    assert codes(made) == []
    scopes = {"contents": "write", "id-token": "write"}
    assert tree(made, "main")["jobs"]["release"]["permissions"] == scopes  # type: ignore[index]
    other = callee.replace("./.github/workflows/tag.yml", "acme/shared/.github/workflows/tag.yml@v1")
    assert codes(planned(main=INHERIT, publish=other, tag=tag)) == ["permissions-unknown"]
    stated = other + "    permissions: {contents: write}\n"
    assert tree(planned(main=INHERIT, publish=stated, tag=tag), "main")["jobs"]["release"]["permissions"] == scopes  # type: ignore[index]
