"""The pull request that moves workflows to OIDC: opened once, mergeable, and found again."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from pathlib import Path

import botocore.exceptions
import pytest

from bot.actions.github_oidc import MigrationIn, git_blob
from bot.errors import Conflict
from bot.model import Grade, Verdict
from bot.oidc import recipes, trust, verify
from bot.range.aws_sts import ACCOUNT
from bot.range.company import DEPLOY, DEPLOY_USER, FERRY, FERRY_ID, LEDGER, ORG_ID, SMOKE_TEST_S
from bot.range.npm_company import RELEASE
from bot.range.npm_theft import dispatch
from tests.actions.conftest import Drill, proof

OPEN = "github.open_migration"
GIVEN = MigrationIn(repository=FERRY, secret="AWS_ACCESS_KEY_ID", role="arn:aws:iam::123456789012:role/ferry-deploy")


def text_on(drill: Drill, ref: str) -> str:
    found = drill.world.github.get(f"/repos/{FERRY}/contents/{DEPLOY}", ref=ref)
    return base64.b64decode(found["content"]).decode()


def test_one_branch_one_commit_and_words_that_a_maintainer_can_work_with(drill: Drill) -> None:
    before, outcome = drill.do(OPEN, GIVEN)
    assert [change.path for change in before.files] == [DEPLOY, RELEASE]  # both use the key
    assert before.jobs == (f"{DEPLOY}: deploy", f"{RELEASE}: publish")
    pull = drill.world.github.get(f"/repos/{FERRY}/pulls/{outcome.pull}")
    assert pull["state"] == "open"
    commit = drill.world.github.get(f"/repos/{FERRY}/git/commits/{pull['head']['sha']}")
    assert [parent["sha"] for parent in commit["parents"]] == [pull["base"]["sha"]]
    assert pull["title"] == commit["message"] == "Replace AWS access keys by short-lived OIDC identities"
    for words in (
        "What leaks today",
        "AWS_ACCESS_KEY_ID",
        "Roll it out",
        "Revoke the key",
        f"`{DEPLOY}`, job `deploy`",
    ):
        assert words in pull["body"]
    assert f'"token.actions.githubusercontent.com:repository_id": "{FERRY_ID}"' in pull["body"]
    assert "| another branch | kept out | yes |" in pull["body"]
    assert "**NO**" not in pull["body"]
    text = text_on(drill, pull["head"]["ref"])
    assert "role-to-assume: arn:aws:iam::123456789012:role/ferry-deploy" in text
    assert "id-token: write" in text
    assert "secrets.AWS" not in text
    assert git_blob(text.encode()) == before.files[0].new


def test_no_trust_is_written_for_a_subject_that_the_repository_made_for_itself(drill: Drill) -> None:
    own = {"use_default": False, "include_claim_keys": ["repo", "actor"]}
    drill.world.github.send("PUT", f"/repos/{FERRY}/actions/oidc/customization/sub", own)
    _, outcome = drill.do(OPEN, GIVEN)
    assert "The trust at AWS" not in drill.world.github.get(f"/repos/{FERRY}/pulls/{outcome.pull}")["body"]


def test_it_is_found_again_instead_of_opened_twice_also_when_it_was_declined(drill: Drill) -> None:
    _, outcome = drill.do(OPEN, GIVEN)
    again, _ = drill.do(OPEN, GIVEN)
    assert not again.needed
    assert "is open already" in again.summary
    drill.world.github.send("PATCH", f"/repos/{FERRY}/pulls/{outcome.pull}", {"state": "closed"})
    declined, _ = drill.do(OPEN, GIVEN)
    assert not declined.needed
    assert len(list(drill.world.github.pages(f"/repos/{FERRY}/pulls", state="all"))) == 1


def test_with_another_role_the_open_one_stands_for_it_and_once_closed_a_new_one_is_opened(drill: Drill) -> None:
    from bot.actions import CATALOGUE

    other = replace(GIVEN, role="arn:aws:iam::123456789012:role/other")
    before_both = CATALOGUE[OPEN].look(drill.world, other)
    _, outcome = drill.do(OPEN, GIVEN)
    again, _ = drill.do(OPEN, other)
    assert not again.needed
    assert again.rival == outcome.url
    assert "moves the same with other answers" in again.summary
    with pytest.raises(Conflict, match="with other answers"):  # two workers looked before either had opened one
        CATALOGUE[OPEN].run(drill.world, other, before_both)
    assert len(list(drill.world.github.pages(f"/repos/{FERRY}/pulls", state="all"))) == 1
    drill.world.github.send("PATCH", f"/repos/{FERRY}/pulls/{outcome.pull}", {"state": "closed"})
    after, _ = drill.do(OPEN, other)
    assert (after.needed, after.rival) == (True, "")


def test_the_words_tell_who_else_has_read_the_files_and_a_finding_stops_it(
    drill: Drill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bot.actions import CATALOGUE
    from bot.errors import EngineError

    _, outcome = drill.do(OPEN, GIVEN)
    body = drill.world.github.get(f"/repos/{FERRY}/pulls/{outcome.pull}")["body"]
    assert "Read before and after by zizmor's auditor, the JSON schema" in body
    drill.world.github.send("PATCH", f"/repos/{FERRY}/pulls/{outcome.pull}", {"state": "closed"})
    other = replace(GIVEN, region="eu-west-3", role="")
    strict = tmp_path / "zizmor"  # an auditor who calls every id-token an error
    strict.write_text(STRICT)
    strict.chmod(0o755)
    monkeypatch.setattr(verify, "tool", {"zizmor": str(strict)}.get)
    before = CATALOGUE[OPEN].look(drill.world, other)
    with pytest.raises(EngineError, match="zizmor: too-much"):
        CATALOGUE[OPEN].run(drill.world, other, before)
    assert len(list(drill.world.github.pages(f"/repos/{FERRY}/pulls", state="all"))) == 1


STRICT = f"""#!{sys.executable}
import json, pathlib, sys
files = [name for name in sys.argv[1:] if name.endswith(".yml")]
bad = [name for name in files if "id-token: write" in pathlib.Path(name).read_text()]
def at(name): return {{"symbolic": {{"kind": "Primary", "key": {{"Local": {{"verbatim_path": name}}}}}}}}
print(json.dumps([{{"ident": "too-much", "locations": [at(name)]}} for name in bad]))
"""


@pytest.mark.parametrize("same", [True, False])
def test_github_is_asked_of_the_tags_that_are_pinned_and_a_moved_one_is_told(drill: Drill, same: bool) -> None:
    pin = recipes.pins()["aws-actions/configure-aws-credentials"]
    state = drill.range.github.state
    state.add_org(pin.name.split("/")[0])
    repo = state.add_repo(pin.name)
    commit = state.commit_files(pin.name, {"action.yml": "name: x"}, "x", "mara", runs=False)
    repo.git.refs[f"refs/tags/{pin.version}"] = commit.sha
    if same:
        repo.git.commits[pin.sha] = repo.git.commits[commit.sha]
        repo.git.refs[f"refs/tags/{pin.version}"] = pin.sha
    _, outcome = drill.do(OPEN, GIVEN)
    body = drill.world.github.get(f"/repos/{FERRY}/pulls/{outcome.pull}")["body"]
    assert f"a table of {recipes.pin_date()}" in body
    assert ("GitHub says today of 1 tags that they are these commits" in body) == same
    assert (f"**{pin.name} {pin.version}: the tag leads to another commit today" in body) != same
    assert pin.uses in text_on(drill, drill.world.github.get(f"/repos/{FERRY}/pulls/{outcome.pull}")["head"]["ref"])


def test_where_github_does_not_have_an_action_that_is_said(drill: Drill) -> None:
    _, outcome = drill.do(OPEN, GIVEN)
    body = drill.world.github.get(f"/repos/{FERRY}/pulls/{outcome.pull}")["body"]
    assert "GitHub could not be asked of aws-actions/configure-aws-credentials" in body


def test_merged_it_stays_proven_nothing_is_left_to_move_and_it_is_not_undone(drill: Drill) -> None:
    before, outcome = drill.do(OPEN, GIVEN)
    drill.world.github.send("PUT", f"/repos/{FERRY}/pulls/{outcome.pull}/merge", {})
    said = proof(drill, OPEN, GIVEN, before, outcome)
    assert (said.verdict, said.grade) == (Verdict.PROVEN, Grade.STATE)
    assert "is merged" in said.detail
    assert "secrets.AWS" not in text_on(drill, "main")
    after, _ = drill.do(OPEN, GIVEN)
    assert after.files == ()
    assert not after.needed
    from bot.actions import CATALOGUE

    undo = CATALOGUE[OPEN].undo
    assert undo is not None
    with pytest.raises(Conflict):
        undo(drill.world, GIVEN, before, outcome)


def test_a_workflow_that_moved_since_the_look_is_not_overwritten(drill: Drill) -> None:
    from bot.actions import CATALOGUE

    action = CATALOGUE[OPEN]
    before = action.look(drill.world, GIVEN)
    moved = text_on(drill, "main").replace("Smoke test", "Smoke tests")
    drill.range.github.state.commit_files(FERRY, {DEPLOY: moved}, "Rename", "mara", branch="main", runs=False)
    with pytest.raises(Conflict):
        action.run(drill.world, GIVEN, before)
    assert list(drill.world.github.pages(f"/repos/{FERRY}/pulls", state="all")) == []


def test_without_a_secret_named_the_others_are_looked_at_too_and_what_stays_is_said(drill: Drill) -> None:
    before, outcome = drill.do(OPEN, MigrationIn(repository=FERRY))
    assert [change.path for change in before.files] == [DEPLOY, RELEASE]
    (kept,) = before.kept  # another workflow asks npm whose token it is, which an identity cannot
    assert "not-only-publish" in kept
    body = drill.world.github.get(f"/repos/{FERRY}/pulls/{outcome.pull}")["body"]
    assert "What was not touched" in body
    assert "not-only-publish" in body


def ran(drill: Drill) -> str:
    """A run of the deployment, and how its job ended."""
    run = dispatch(drill.range, "deploy.yml")
    drill.range.clock.advance(2 * SMOKE_TEST_S)
    return str(drill.world.github.get(f"/repos/{FERRY}/actions/runs/{run['id']}")["conclusion"])


def test_after_the_merge_the_deployment_lives_by_its_identity_and_the_old_key_can_die(drill: Drill) -> None:
    job = trust.Job(repository=FERRY, repository_id=str(FERRY_ID), owner_id=str(ORG_ID))
    policy = trust.written(job, ACCOUNT)
    drill.iam.create_open_id_connect_provider(Url=f"https://{trust.HOST}", ClientIDList=[trust.AUDIENCE])
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    drill.range.aws.account.add_role("ferry-oidc", trust=policy, policy=allowed)
    given = replace(GIVEN, role=f"arn:aws:iam::{ACCOUNT}:role/ferry-oidc")
    _, outcome = drill.do(OPEN, given)
    drill.world.github.send("PUT", f"/repos/{FERRY}/pulls/{outcome.pull}/merge", {})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        drill.world.github.send("DELETE", f"/repos/{FERRY}/actions/secrets/{name}")
    drill.iam.update_access_key(UserName=DEPLOY_USER, AccessKeyId=drill.leaked, Status="Inactive")
    assert ran(drill) == "success"
    with pytest.raises(botocore.exceptions.ClientError):
        drill.as_leaked("sts").get_caller_identity()
    drill.iam.update_assume_role_policy(
        RoleName="ferry-oidc", PolicyDocument=json.dumps(trust.written(replace(job, ref="refs/heads/other"), ACCOUNT))
    )
    assert ran(drill) == "failure"  # it was the trust that let it in


def test_a_repository_without_static_credentials_needs_nothing(drill: Drill) -> None:
    before, outcome = drill.do(OPEN, MigrationIn(repository=LEDGER))
    assert (before.needed, before.files, outcome.changed) == (False, (), False)


CONTAINERS = """\
on: {push: {branches: [main]}}
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - run: AWS_ACCESS_KEY_ID=${{ secrets.AWS_ID }} AWS_SECRET_ACCESS_KEY=${{ secrets.AWS_KEY }} docker compose up -d
"""


def test_the_compose_file_that_the_key_reaches_is_changed_with_the_workflow(drill: Drill) -> None:
    compose = "services:\n  app:\n    environment:\n      - AWS_SECRET_ACCESS_KEY\n"
    given = MigrationIn(repository=FERRY, secret="AWS_ID")
    files: dict[str, str | bytes | None] = {".github/workflows/containers.yml": CONTAINERS, "compose.yaml": compose}
    drill.range.github.state.commit_files(FERRY, files, "containers", "mara", runs=False)
    before, outcome = drill.do(OPEN, given)
    assert [change.path for change in before.files] == [".github/workflows/containers.yml", "compose.yaml"]
    assert before.files[1].new == git_blob(f"{compose}      - AWS_SESSION_TOKEN\n".encode())
    assert proof(drill, OPEN, given, before, outcome).verdict is Verdict.PROVEN


def test_what_a_job_has_that_states_no_permissions_is_asked_of_the_repositorys_settings(drill: Drill) -> None:
    given, path = MigrationIn(repository=FERRY, secret="CRATES_TOKEN"), ".github/workflows/crates.yml"
    token = "GITHUB_TOKEN: '${{ github.token }}', CARGO_REGISTRY_TOKEN: '${{ secrets.CRATES_TOKEN }}'"
    step = f"    steps:\n      - run: ./release\n        env: {{{token}}}\n"
    files: dict[str, str | bytes | None] = {path: f"on: push\njobs:\n  one:\n    runs-on: ubuntu-latest\n{step}"}
    drill.range.github.state.commit_files(FERRY, files, "crates", "mara", runs=False)
    setting = {"default_workflow_permissions": "read", "can_approve_pull_request_reviews": False}
    drill.world.github.send("PUT", f"/repos/{FERRY}/actions/permissions/workflow", setting)
    _, outcome = drill.do(OPEN, given)
    head = drill.world.github.get(f"/repos/{FERRY}/pulls/{outcome.pull}")["head"]["ref"]
    found = drill.world.github.get(f"/repos/{FERRY}/contents/{path}", ref=head)
    assert "packages: read # as the repository's setting has it" in base64.b64decode(found["content"]).decode()
