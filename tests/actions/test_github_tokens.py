"""A stolen GitHub token: what ends it, what it planted, what stays with people, and what is said when we may not."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot import clients
from bot.actions import CATALOGUE, github_planted, github_secrets, github_tokens
from bot.actions.github_files import FileBefore, OnBranch
from bot.actions.github_tokens import RevokeIn
from bot.clients import GitHubClient
from bot.errors import Conflict, Forbidden, InputError, NotFound, Refused, Rejected, Unavailable, VaultError
from bot.model import Credential, Grade, Planted, SecretStore, Verdict, WorkflowRef
from bot.range.company import FERRY, LEDGER, ORG
from tests.actions.conftest import Drill, proof
from tests.actions.token_arrangements import (
    OLD,
    PLANTED,
    SCAN,
    as_app,
    as_mara,
    leaked_token,
    planted_file,
    planted_key,
    push,
    window,
)

REVOKE, FIND, REMOVE = (
    "github.revoke_credentials", "github.find_planted_by_token", "github.remove_planted_workflow"
)  # fmt: skip


def found(drill: Drill, given: github_planted.SearchIn) -> Any:
    return drill.do(FIND, given)[1]


def blob_on(drill: Drill, branch: str, path: str = PLANTED) -> str:
    git = drill.range.github.state.repos[FERRY].git
    tip = git.resolve(f"refs/heads/{branch}")
    entry = git.files(tip).get(path) if tip else None
    return entry.sha if entry else ""


# Tokens


def test_what_the_token_could_do_is_noted_before_it_is_gone(drill: Drill) -> None:
    given = RevokeIn(credential=leaked_token(drill))
    before, outcome = drill.do(REVOKE, given)
    assert (before.owner, before.scopes) == ("mara", "repo, workflow")
    assert before.expires_at.startswith("20")
    said = proof(drill, REVOKE, given, before, outcome)
    assert (said.verdict, said.grade) == (Verdict.PROVEN, Grade.REFUSED)
    assert "401" in said.detail


def test_a_token_that_is_revoked_already_is_told_so_and_nothing_is_sent(drill: Drill) -> None:
    given = RevokeIn(credential=leaked_token(drill))
    drill.range.github.state.tokens[drill.facts["token"]].revoked = True
    written = len(drill.mutations())
    before, outcome = drill.do(REVOKE, given)
    assert not before.needed
    assert "already refuses" in before.summary
    assert not outcome.changed
    assert proof(drill, REVOKE, given, before, outcome).verdict == Verdict.PROVEN
    assert len(drill.mutations()) == written


def test_that_github_took_the_request_is_no_proof(drill: Drill) -> None:
    """GitHub says 202 whatever comes of it: here nothing does."""
    given = RevokeIn(credential=leaked_token(drill))
    drill.range.switchboard.add(
        [{"server": "github", "method": "POST", "route": "/credentials/revoke", "status": 202, "times": 1}]
    )
    before, outcome = drill.do(REVOKE, given)
    assert outcome.changed
    assert proof(drill, REVOKE, given, before, outcome).verdict == Verdict.REFUTED
    drill.range.switchboard.add(
        [{"server": "github", "method": "GET", "route": "/rate_limit", "status": 503, "times": 1}]
    )
    assert proof(drill, REVOKE, given, before, outcome).verdict == Verdict.NOT_YET, "no answer is neither yes nor no"


def test_nothing_of_the_machine_signs_the_request(
    drill: Drill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitHub refuses whoever signs in for this; a ~/.netrc would do so behind our back."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login x password made-up\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    given = RevokeIn(credential=leaked_token(drill))
    before, outcome = drill.do(REVOKE, given)
    assert proof(drill, REVOKE, given, before, outcome).verdict == Verdict.PROVEN


def test_many_go_in_batches(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "REVOKED_AT_ONCE", 2)
    first, *others = (leaked_token(drill) for _ in range(5))
    before, outcome = drill.do(REVOKE, given := RevokeIn(credential=first, also=tuple(others)))
    assert len(before.live) == 5
    assert [row["route"] for row in drill.mutations()].count("/credentials/revoke") == 3
    assert proof(drill, REVOKE, given, before, outcome).verdict == Verdict.PROVEN


def test_what_is_not_held_or_of_another_kind_is_refused(drill: Drill) -> None:
    look = CATALOGUE[REVOKE].look
    with pytest.raises(VaultError, match="is not held"):
        look(drill.world, RevokeIn(credential=Credential(provider="github", kind="github-oauth", fingerprint="hmac:1")))
    with pytest.raises(InputError, match="does not revoke a ssh-private-key"):
        look(drill.world, RevokeIn(credential=Credential(provider="ssh", kind="ssh-private-key", fingerprint="hmac:1")))


def test_our_own_token_goes_last_and_somebodys_other_one_does_not(drill: Drill) -> None:
    assert not CATALOGUE[REVOKE].look(drill.world, RevokeIn(credential=leaked_token(drill))).cuts_own
    token = drill.range.company.cast["github"]["bulkhead-bot"]
    drill.world.secrets.seal("own", token, "github-pat-classic:own")
    own = Credential(provider="github", kind="github-pat-classic", id="own")
    before = CATALOGUE[REVOKE].look(drill.world, RevokeIn(credential=own))
    assert before.cuts_own
    assert any("goes last" in stop for stop in CATALOGUE[REVOKE].breaks(before).stops)


def test_a_missing_permission_is_named(drill: Drill) -> None:
    with pytest.raises(Forbidden) as caught:
        CATALOGUE["github.revoke_org_grant"].look(drill.world, github_tokens.GrantIn(organization=ORG, grant=1))
    assert "personal-access-tokens" in str(caught.value)
    alone = replace(drill.world, github=as_app(drill, contents="read"))
    with pytest.raises(Forbidden) as caught:
        CATALOGUE["github.revoke_org_grant"].look(alone, github_tokens.GrantIn(organization=ORG, grant=1))
    assert caught.value.permission == "organization_personal_access_tokens=read"
    with pytest.raises(Forbidden) as caught:
        suspend = CATALOGUE["github.suspend_installation"]
        suspend.look(replace(drill.world, github_app=None), github_tokens.InstallationIn(installation=1))
    assert "BULKHEAD_GITHUB_APP_KEY" in caught.value.permission


def test_a_suspended_installation_gets_nothing(drill: Drill) -> None:
    number = drill.range.company.cast["app"]["installation_id"]
    alive = as_app(drill, contents="read")
    drill.do("github.suspend_installation", github_tokens.InstallationIn(installation=number))
    with pytest.raises(Forbidden):
        alive.get(f"/repos/{FERRY}")
    own, given = replace(drill.world, identities=(f"github-installation:{number}",)), number
    look = CATALOGUE["github.suspend_installation"].look
    assert look(own, github_tokens.InstallationIn(installation=given)).cuts_own


def test_a_secret_that_everybody_reads_is_not_narrowed_without_its_value(drill: Drill) -> None:
    narrow = CATALOGUE["github.narrow_organization_secret"]
    store = SecretStore(repository=FERRY, name="SHARED", scope="organization")
    with pytest.raises(NotFound):
        narrow.look(drill.world, github_secrets.NarrowIn(store=store, keep=()))
    drill.range.github.state.set_secret(ORG, "SHARED", "made-up", visibility="all")
    with pytest.raises(InputError, match="together with a new value"):
        narrow.look(drill.world, github_secrets.NarrowIn(store=store, keep=(FERRY,)))
    drill.range.github.state.set_secret(ORG, "SHARED", "made-up", visibility="selected", selected=(FERRY,))
    wider = github_secrets.NarrowIn(store=store, keep=(FERRY, LEDGER))
    before, _ = drill.do("github.narrow_organization_secret", wider)
    assert not before.needed, "nobody is let in who was not"


# What it planted


def test_a_key_and_a_file_are_found_and_what_was_there_before_is_not(drill: Drill) -> None:
    state = drill.range.github.state
    state.commit_files(FERRY, {".github/workflows/old.yml": SCAN}, "Old", "mara", runs=False)
    out = found(drill, window(drill))
    assert [(p.kind, p.name) for p in out.planted] == [
        ("github-deploy-key", FERRY), ("github-workflow-file", FERRY),
    ]  # fmt: skip
    assert out.files[0].id == PLANTED
    assert out.workflows == (WorkflowRef(repository=FERRY, workflow=PLANTED),)
    assert out.pushed
    assert f"{PLANTED} on main of {FERRY}" in out.question
    assert any("only its owner can see" in each for each in out.unknown)


def test_what_a_planted_workflow_could_read_counts_as_stolen_once_it_has_run(drill: Drill) -> None:
    given = window(drill)
    assert not [p for p in found(drill, given).planted if p.kind == "github-stolen-secret"]
    as_mara(drill).send("POST", f"/repos/{FERRY}/actions/workflows/security-scan.yml/dispatches", {"ref": "main"})
    [stolen] = [p for p in found(drill, given).planted if p.kind == "github-stolen-secret"]
    assert stolen.key == f"github-stolen-secret:{FERRY}/STATUS_PAGE_TOKEN"


@pytest.mark.parametrize("status", [503, 401])
def test_a_search_that_github_breaks_off_finds_nothing_rather_than_too_little(drill: Drill, status: int) -> None:
    given = window(drill)
    before = CATALOGUE[FIND].look(drill.world, given)
    drill.range.switchboard.add([{"server": "github", "route": f"/repos/{FERRY}/keys", "status": status, "times": 3}])
    with pytest.raises((Unavailable, Refused)):
        CATALOGUE[FIND].run(drill.world, given, before)


def test_what_only_a_person_can_judge_is_said(drill: Drill) -> None:
    given = window(drill)
    hook = {"config": {"url": "https://collector.example/"}, "events": ["push"]}
    as_mara(drill).send("POST", f"/repos/{FERRY}/hooks", hook)
    as_mara(drill).send("PUT", f"/repos/{FERRY}/collaborators/quiet-otter", {"permission": "push"})
    key = {"title": "jonas's mirror", "read_only": True, "key": planted_other_key()}
    drill.world.github.send("POST", f"/repos/{FERRY}/keys", key)
    drill.range.github.state.add_user("tern")
    drill.world.github.send("PUT", f"/repos/{FERRY}/collaborators/tern", {"permission": "push"})
    out = found(drill, given)
    others = out.others
    assert [each.id for each in out.people] == ["quiet-otter"], "invited by the account itself"
    assert any("webhook" in each for each in others)
    assert any("tern invited" in each for each in others)
    assert any("jonas's mirror" in each and "bulkhead-bot" in each for each in others)


def planted_other_key() -> str:
    from tests.actions.token_arrangements import public_key

    return public_key()


def test_what_may_not_be_seen_is_said_by_its_name(drill: Drill) -> None:
    given = window(drill)
    drill.world = replace(drill.world, github=as_app(drill, contents="read", actions="read"))
    out = found(drill, given)
    assert [p.kind for p in out.planted] == ["github-workflow-file"]
    for what, needs in (("deploy keys", "administration"), ("webhooks", "webhooks"), ("invitations", "administration")):
        assert any(f"The {what} of {FERRY}" in each and needs in each for each in out.unknown), what


def test_without_an_owner_nothing_is_searched(drill: Drill) -> None:
    with pytest.raises(InputError, match="whose token it was is not known"):
        CATALOGUE[FIND].look(drill.world, github_planted.SearchIn(owner="", repository=FERRY))


def test_a_deploy_key_that_was_never_there_changes_nothing(drill: Drill) -> None:
    gone = Planted(kind="github-deploy-key", name=FERRY, id="12345")
    before, outcome = drill.do("github.delete_deploy_key", gone)
    assert not before.needed
    assert not outcome.changed
    assert proof(drill, "github.delete_deploy_key", gone, before, outcome).verdict == Verdict.PROVEN
    with pytest.raises(InputError, match="is not a deploy key"):
        CATALOGUE["github.delete_deploy_key"].look(drill.world, Planted(kind="user", name="x"))


# Removing files


def test_the_file_goes_from_every_branch_by_a_pull_request_each(drill: Drill) -> None:
    given = planted_file(drill)
    before, outcome = drill.do(REMOVE, given)
    assert [each.branch for each in before.branches] == ["main", OLD]
    assert outcome.changed
    assert (blob_on(drill, "main"), blob_on(drill, OLD)) == ("", "")
    repo = drill.range.github.state.repos[FERRY]
    assert [(p.base_ref, p.state, p.merged_at is not None) for p in repo.pulls.values()] == [
        ("main", "closed", True), (OLD, "closed", True),
    ]  # fmt: skip
    heads = sorted(ref for ref in repo.git.refs if ref.startswith("refs/heads/"))
    assert heads == ["refs/heads/main", f"refs/heads/{OLD}"], "no branch of ours is left"
    assert blob_on(drill, "main", "README.md"), "nothing else is touched"


def test_a_workflow_that_was_changed_gets_its_old_content_back(drill: Drill) -> None:
    state, path = drill.range.github.state, ".github/workflows/test.yml"
    was = blob_on(drill, "main", path)
    drill.range.clock.advance(60)
    given = github_planted.SearchIn(owner="mara", repository=FERRY, since=drill.world.now().isoformat())
    state.commit_files(FERRY, {path: SCAN}, "Tidy", "mara", runs=False)
    [planted] = found(drill, given).files
    before, outcome = drill.do(REMOVE, planted)
    assert before.branches == (OnBranch(branch="main", blob=planted.event, wanted=was),)
    assert blob_on(drill, "main", path) == was
    assert proof(drill, REMOVE, planted, before, outcome).verdict == Verdict.PROVEN


def test_a_branch_that_was_made_with_the_file_on_it_is_cleaned_too(drill: Drill) -> None:
    given = planted_file(drill)
    repo = drill.range.github.state.repos[FERRY]
    tip = repo.git.refs["refs/heads/main"]
    as_mara(drill).send("POST", f"/repos/{FERRY}/git/refs", {"ref": "refs/heads/hidden", "sha": tip})
    before, _ = drill.do(REMOVE, given)
    assert [each.branch for each in before.branches] == ["hidden", "main", OLD]
    assert blob_on(drill, "hidden") == ""


def test_somebodys_own_work_on_the_same_file_is_left(drill: Drill) -> None:
    """A workflow that is older than the planting may be changed on another branch by its owner."""
    state, path = drill.range.github.state, ".github/workflows/test.yml"
    state.commit_files(FERRY, {"app/x.txt": "x"}, "Start", "jonas", branch="work", runs=False)
    drill.range.clock.advance(60)
    given = github_planted.SearchIn(owner="mara", repository=FERRY, since=drill.world.now().isoformat())
    state.commit_files(FERRY, {path: SCAN}, "Tidy", "mara", runs=False)
    state.commit_files(FERRY, {path: SCAN + "# jonas\n"}, "Faster", "jonas", branch="work", runs=False)
    [planted] = found(drill, given).files
    before, _ = drill.do(REMOVE, planted)
    assert [each.branch for each in before.branches] == ["main"]
    assert base64.b64decode(drill.world.github.get(f"/repos/{FERRY}/contents/{path}", ref="work")["content"]).endswith(
        b"# jonas\n"
    )


def test_what_we_may_not_merge_waits_for_a_person(drill: Drill) -> None:
    given = planted_file(drill)
    drill.range.switchboard.add([{"server": "github", "method": "PUT", "route": "*/merge", "status": 405, "times": 2}])
    before, outcome = drill.do(REMOVE, given)
    assert len(outcome.waiting) == 2
    assert "to be merged by a person" in outcome.summary
    said = proof(drill, REMOVE, given, before, outcome)
    assert said.verdict == Verdict.NOT_YET
    assert outcome.waiting[0] in said.detail
    for number in (1, 2):
        as_mara(drill).send("PUT", f"/repos/{FERRY}/pulls/{number}/merge")
    assert proof(drill, REMOVE, given, before, outcome).verdict == Verdict.PROVEN


def test_a_fault_of_the_merge_is_not_taken_for_a_rule(drill: Drill) -> None:
    given = planted_file(drill)
    drill.range.switchboard.add([{"server": "github", "method": "PUT", "route": "*/merge", "status": 422, "times": 1}])
    with pytest.raises(Rejected):
        drill.do(REMOVE, given)


@pytest.mark.parametrize("path", ["README.md", ".github/workflows/../../README.md", ""])
def test_only_workflow_files_are_removed(drill: Drill, path: str) -> None:
    with pytest.raises(InputError, match="is not a workflow file"):
        CATALOGUE[REMOVE].look(drill.world, Planted(kind="github-workflow-file", name=FERRY, id=path, at="2026-01-01"))


def test_an_undo_is_refused_when_a_branch_is_gone(drill: Drill) -> None:
    given = planted_file(drill)
    before, outcome = drill.do(REMOVE, given)
    drill.world.github.send("DELETE", f"/repos/{FERRY}/git/refs/heads/{OLD}")
    undo = CATALOGUE[REMOVE].undo
    assert undo is not None
    with pytest.raises(Conflict, match="no such branch"):
        undo(drill.world, given, before, outcome)
    assert blob_on(drill, "main") == "", "nothing is restored when not all can be"


def test_pushes_that_are_too_many_are_left_to_a_person(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    from bot.actions import github_files

    given = planted_file(drill)
    for text in ("1", "2", "3"):
        push(drill, SCAN + f"# {text}\n", "main")
    monkeypatch.setattr(github_files, "MOST_ROWS", 2)
    monkeypatch.setattr(github_planted, "MOST_ROWS", 2)
    with pytest.raises(InputError, match="moved too often"):
        CATALOGUE[REMOVE].look(drill.world, given)
    assert isinstance(drill.world.github, GitHubClient)
    assert FileBefore().branches == ()
    assert planted_key(drill).kind == "github-deploy-key"
