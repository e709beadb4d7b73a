"""Workflows, a repository's Actions policy and alerts, against the range's GitHub."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from github import Auth

from bot.action import Action, material_fields
from bot.actions.github import disable_workflow, enable_workflow, resolve_alert
from bot.actions.github_policy import (
    RepositoryIn,
    TokenPermissionsIn,
    set_default_token_permissions,
    stop_actions,
)
from bot.clients import GitHubClient
from bot.errors import Conflict, Forbidden, InputError, ProviderError, Unavailable
from bot.model import AlertRef, Secret, Verdict, WorkflowRef
from tests.conftest import DEPLOY, FERRY, ORG, Ferry, done

WORKFLOW = WorkflowRef(repository=FERRY, workflow=DEPLOY)
REPO = RepositoryIn(repository=FERRY)
READ_ONLY = TokenPermissionsIn(repository=FERRY)


def policy(ferry: Ferry) -> dict[str, Any]:
    """What anybody can set about Actions, secrets and alerts, as its owner sees it."""
    repo = ferry.state.repos[FERRY]
    return {
        "workflows": {path: workflow.state for path, workflow in repo.workflows.items()}, "actions": dict(repo.actions),
        "selected": dict(repo.selected_actions), "default": dict(repo.token_default), "fork": repo.fork_approval,
        "alerts": {n: (alert["state"], alert["resolution"]) for n, alert in repo.alerts.items()},
    }  # fmt: skip


def add_alert(ferry: Ferry) -> AlertRef:
    number = ferry.state.add_alert(
        FERRY, secret_type="amazon_aws_secret_access_key", display_name="Amazon AWS Secret Access Key",
        secret=ferry.aws[1],
    )  # fmt: skip
    return AlertRef(repository=FERRY, number=number)


# What holds for every change that can be undone


def undoable(ferry: Ferry, name: str) -> tuple[Action[Any, Any, Any], Any]:
    repo = ferry.state.repos[FERRY]
    if name == "enable_workflow":
        repo.workflows[DEPLOY].state = "disabled_manually"
    if name == "stop_actions":
        repo.actions = {"enabled": True, "allowed_actions": "selected", "sha_pinning_required": True}
        repo.selected_actions = {"github_owned_allowed": False, "verified_allowed": True, "patterns_allowed": ["a/b@*"]}
        repo.token_default = {"default_workflow_permissions": "write", "can_approve_pull_request_reviews": True}
        repo.fork_approval = "all_external_contributors"
    if name == "set_default_token_permissions":
        repo.token_default = {"default_workflow_permissions": "write", "can_approve_pull_request_reviews": True}
    table: dict[str, tuple[Action[Any, Any, Any], Any]] = {
        "disable_workflow": (disable_workflow, WORKFLOW), "enable_workflow": (enable_workflow, WORKFLOW),
        "stop_actions": (stop_actions, REPO),
        "set_default_token_permissions": (set_default_token_permissions, READ_ONLY),
    }  # fmt: skip
    return table[name] if name in table else (resolve_alert, add_alert(ferry))


UNDOABLE = ("disable_workflow", "enable_workflow", "stop_actions", "set_default_token_permissions", "resolve_alert")


@pytest.mark.parametrize("name", UNDOABLE)
def test_run_twice_is_run_once_and_undo_restores_every_field(ferry: Ferry, name: str) -> None:
    action, given = undoable(ferry, name)
    was = policy(ferry)
    before = action.look(ferry.world, given)
    assert ferry.mutations() == []
    assert before.needed
    outcome = action.run(ferry.world, given, before)
    assert outcome.changed
    now = policy(ferry)
    assert now != was
    assert action.prove(ferry.world, given, before, outcome).verdict == Verdict.PROVEN
    assert not action.run(ferry.world, given, before).changed
    assert policy(ferry) == now
    assert not action.look(ferry.world, given).needed
    assert action.undo is not None
    assert action.undo(ferry.world, given, before, outcome).changed
    assert policy(ferry) == was
    assert action.prove(ferry.world, given, before, outcome).verdict == Verdict.REFUTED
    assert not action.undo(ferry.world, given, before, outcome).changed


@pytest.mark.parametrize("name", UNDOABLE)
def test_a_lost_answer_leaves_one_effect(ferry: Ferry, name: str) -> None:
    action, given = undoable(ferry, name)
    before = action.look(ferry.world, given)
    for method in ("PUT", "PATCH"):
        ferry.switchboard.add([{"server": "github", "method": method, "after_commit": True, "reset": True, "times": 1}])
    with pytest.raises(Unavailable):
        action.run(ferry.world, given, before)
    ferry.switchboard.clear_faults()
    outcome = action.run(ferry.world, given, before)
    assert not outcome.changed
    assert len(ferry.mutations()) == 1
    assert action.prove(ferry.world, given, before, outcome).verdict == Verdict.PROVEN


def strange(ferry: Ferry, name: str) -> None:
    """Somebody changes it after us to a third state."""
    repo = ferry.state.repos[FERRY]
    if name == "disable_workflow":
        repo.workflows[DEPLOY].state = "disabled_inactivity"
    elif name == "enable_workflow":
        repo.workflows[DEPLOY].state = "deleted"
    elif name == "stop_actions":
        repo.actions = {"enabled": True, "allowed_actions": "local_only", "sha_pinning_required": False}
    elif name == "set_default_token_permissions":
        repo.token_default = {"default_workflow_permissions": "read", "can_approve_pull_request_reviews": True}
    else:
        repo.alerts[1] |= {"state": "resolved", "resolution": "false_positive"}


@pytest.mark.parametrize("name", UNDOABLE)
def test_undo_of_what_is_no_longer_ours_is_refused_with_the_difference(ferry: Ferry, name: str) -> None:
    action, given = undoable(ferry, name)
    before, outcome, _ = done(ferry, action, given)
    strange(ferry, name)
    now, count = policy(ferry), len(ferry.mutations())
    assert action.undo is not None
    with pytest.raises(Conflict, match="changed since") as caught:
        action.undo(ferry.world, given, before, outcome)
    assert caught.value.diff
    assert policy(ferry) == now
    assert len(ferry.mutations()) == count


# Workflows


def test_a_disabled_workflow_tells_what_stops(ferry: Ferry) -> None:
    run = ferry.run()
    before = disable_workflow.look(ferry.world, WORKFLOW)
    (stops,) = disable_workflow.breaks(before).stops
    assert "Deploy (.github/workflows/deploy.yml) no longer starts on workflow_dispatch" in stops
    assert str(run) in stops
    assert before.blob == ferry.client("mara").get(f"/repos/{FERRY}/contents/{DEPLOY}")["sha"]
    disable_workflow.run(ferry.world, WORKFLOW, before)
    with pytest.raises(ProviderError):
        ferry.client("mara").send("POST", f"/repos/{FERRY}/actions/workflows/deploy.yml/dispatches", {"ref": "main"})


def test_triggers_of_a_deleted_file_are_unknown(ferry: Ferry) -> None:
    ferry.state.commit_files(FERRY, {DEPLOY: "not: [a workflow"}, "Break it", "mara", runs=False)
    assert disable_workflow.breaks(disable_workflow.look(ferry.world, WORKFLOW)).unknown


def test_a_workflow_that_sleeps_needs_no_disabling(ferry: Ferry) -> None:
    ferry.state.repos[FERRY].workflows[DEPLOY].state = "disabled_inactivity"
    before, outcome, proof = done(ferry, disable_workflow, WORKFLOW)
    assert (before.needed, outcome.changed, proof.verdict) == (False, False, Verdict.PROVEN)


@pytest.mark.parametrize("repository", ["ferry", "a/b/c", "../x", "a/..", "harbor-lights/ferry/../../x", "a/b?c", ""])
def test_what_is_no_repository_is_refused(ferry: Ferry, repository: str) -> None:
    with pytest.raises(InputError, match="owner/name"):
        disable_workflow.look(ferry.world, replace(WORKFLOW, repository=repository))


def test_a_missing_permission_is_named(ferry: Ferry) -> None:
    value = ferry.state.add_token("mara", permissions={"actions": "read", "contents": "read", "metadata": "read"})
    ferry.tokens["narrow"] = value
    world = replace(ferry.world, github=ferry.client("narrow"))
    before = disable_workflow.look(world, WORKFLOW)
    with pytest.raises(Forbidden) as caught:
        disable_workflow.run(world, WORKFLOW, before)
    assert "actions=write" in caught.value.permission
    assert value not in str(caught.value)


def test_who_cuts_his_own_token_is_told(ferry: Ferry) -> None:
    world = replace(ferry.world, identities=(f"github-token:{FERRY}",))
    for action, given in ((disable_workflow, WORKFLOW), (stop_actions, REPO)):
        before = action.look(world, given)
        assert before.cuts_own
        assert any("own credential" in each for each in action.breaks(before).stops)
        assert not action.look(ferry.world, given).cuts_own


def test_ones_own_token_is_known_whatever_one_is_given() -> None:
    client = GitHubClient(token="made-up-token", base_url="http://127.0.0.1:9")
    texts = ("made-up-token", "made-up-tokem", "", "zażółć")
    assert [client.is_own(Secret(text, "hmac:made-up")) for text in texts] == [True, False, False, False]


# Alerts


def test_an_alert_is_looked_at_without_its_secret(ferry: Ferry) -> None:
    given = add_alert(ferry)
    before = resolve_alert.look(ferry.world, given)
    assert ferry.aws[1] not in repr(before)
    assert material_fields(before)["state"] == "open"


def test_a_400_is_fine_only_when_the_state_is_right(ferry: Ferry) -> None:
    given = add_alert(ferry)
    before = resolve_alert.look(ferry.world, given)
    ferry.switchboard.add([{"server": "github", "method": "PATCH", "status": 400, "times": 1}])
    with pytest.raises(ProviderError):
        resolve_alert.run(ferry.world, given, before)
    ferry.switchboard.add([{"server": "github", "method": "PATCH", "status": 400, "after_commit": True, "times": 1}])
    assert not resolve_alert.run(ferry.world, given, before).changed
    assert ferry.state.repos[FERRY].alerts[given.number]["resolution"] == "revoked"


# Who asks


def test_an_app_does_the_same_with_its_own_permissions(ferry: Ferry) -> None:
    permissions = {"actions": "write", "contents": "read", "metadata": "read"}
    app, private_key = ferry.state.add_app("bulkhead", ORG, permissions)
    installation = ferry.state.install(app, ORG)
    auth = Auth.AppAuth(app.id, private_key).get_installation_auth(installation.id)
    world = replace(ferry.world, github=GitHubClient(auth=auth, base_url=ferry.url))
    before = disable_workflow.look(world, WORKFLOW)
    assert disable_workflow.run(world, WORKFLOW, before).changed
    with pytest.raises(Forbidden) as caught:
        stop_actions.run(world, REPO, stop_actions.before(permissions={}))
    assert "administration" in caught.value.permission
