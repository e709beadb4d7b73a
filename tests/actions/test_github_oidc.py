"""The pull request that moves workflows to OIDC: opened once, mergeable, and found again."""

from __future__ import annotations

import base64

import pytest

from bot.actions.github_oidc import MigrationIn, git_blob
from bot.errors import Conflict
from bot.model import Grade, Verdict
from bot.range.company import DEPLOY, FERRY, LEDGER
from bot.range.npm_company import RELEASE
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
    text = text_on(drill, pull["head"]["ref"])
    assert "role-to-assume: arn:aws:iam::123456789012:role/ferry-deploy" in text
    assert "id-token: write" in text
    assert "secrets.AWS" not in text
    assert git_blob(text.encode()) == before.files[0].new


def test_it_is_found_again_instead_of_opened_twice_also_when_it_was_declined(drill: Drill) -> None:
    _, outcome = drill.do(OPEN, GIVEN)
    again, _ = drill.do(OPEN, GIVEN)
    assert not again.needed
    assert "is open already" in again.summary
    drill.world.github.send("PATCH", f"/repos/{FERRY}/pulls/{outcome.pull}", {"state": "closed"})
    declined, _ = drill.do(OPEN, GIVEN)
    assert not declined.needed
    assert len(list(drill.world.github.pages(f"/repos/{FERRY}/pulls", state="all"))) == 1


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


def test_without_a_secret_named_every_credential_moves_in_one_pull_request(drill: Drill) -> None:
    before, _ = drill.do(OPEN, MigrationIn(repository=FERRY))
    assert [change.path for change in before.files] == [DEPLOY, RELEASE]
    assert len(before.jobs) == 3  # one of them for npm, too


def test_a_repository_without_static_credentials_needs_nothing(drill: Drill) -> None:
    before, outcome = drill.do(OPEN, MigrationIn(repository=LEDGER))
    assert (before.needed, before.files, outcome.changed) == (False, (), False)
