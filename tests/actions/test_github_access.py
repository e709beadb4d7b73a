"""Who gets in at GitHub: what a freeze stops and whom it lets past, runners nobody asks for, a person's tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.actions import CATALOGUE
from bot.actions.github_access import RUNNER, PersonIn
from bot.actions.github_allowed import AllowedIn
from bot.actions.github_leavings import CachesIn
from bot.clients import GitHubClient
from bot.errors import Conflict, Forbidden, InputError, Rejected
from bot.model import Planted, Verdict
from bot.range.company import FERRY, ORG
from bot.range.npm_theft import dispatch
from tests.actions.access_arrangements import (
    FROZEN,
    LABELS,
    LABELS_YAML,
    LIMITED,
    MARA,
    TOOLS,
    add_runner,
    poisoned,
    waiting_deployment,
)
from tests.actions.conftest import Drill, proof
from tests.actions.token_arrangements import PLANTED, as_app, as_mara, window

NEW = {"message": "New", "content": "bmV3Cg=="}
SELF_HOSTED = "on: push\njobs: {a: {runs-on: [self-hosted, linux], steps: [{run: make}]}}\n"


def writes(client: GitHubClient) -> list[str]:
    """What GitHub says to each way of moving a ref: '' or the code."""
    tip = client.get(f"/repos/{FERRY}/git/ref/heads/main")["object"]["sha"]
    said = []
    for verb, path, body in (
        ("PUT", f"/repos/{FERRY}/contents/new.txt", NEW),
        ("POST", f"/repos/{FERRY}/git/refs", {"ref": "refs/heads/new", "sha": tip}),
        ("POST", f"/repos/{FERRY}/git/refs", {"ref": "refs/tags/v9", "sha": tip}),
        ("DELETE", f"/repos/{FERRY}/git/refs/tags/v1.4.0", None),
    ):
        try:
            client.send(verb, path, body)
            said.append("")
        except Rejected as exc:
            said.append(exc.code)
        except Conflict:
            said.append("409")
    return said


def test_a_freeze_stops_administrators_and_lets_the_bot_past_until_it_is_lifted(drill: Drill) -> None:
    before, _ = drill.do("github.freeze_refs", FROZEN)
    assert before.passes["actor_type"] == "User"
    assert writes(as_mara(drill)) == ["409", "422", "422", "422"]
    drill.do("github.lift_freeze", FROZEN)
    assert writes(as_mara(drill)) == ["", "", "", ""]


def test_the_bot_is_let_past_its_own_freeze_whatever_it_signs_in_as(drill: Drill) -> None:
    drill.do("github.freeze_refs", FROZEN)
    assert writes(drill.world.github) == ["", "", "", ""]  # type: ignore[arg-type]
    drill.start_over()
    drill.world = replace(drill.world, github=as_app(drill, administration="write", contents="write"))
    before, _ = drill.do("github.freeze_refs", FROZEN)
    assert before.passes["actor_type"] == "Integration"
    assert writes(drill.world.github) == ["", "", "", ""]  # type: ignore[arg-type]


def test_a_freeze_that_would_lock_the_bot_out_is_not_begun(drill: Drill) -> None:
    drill.world = replace(drill.world, github=as_app(drill, administration="write"), github_app=None)
    with pytest.raises(Forbidden, match="let the bot past"):
        CATALOGUE["github.freeze_refs"].look(drill.world, FROZEN)


def test_a_runner_is_planted_where_no_workflow_asks_for_one(drill: Drill) -> None:
    given = window(drill)
    number = add_runner(drill)
    out = drill.do("github.find_planted_by_token", given)[1]
    assert out.runners == (Planted(kind=RUNNER, name=FERRY, id=str(number), event="SHA1HULUD"),)
    drill.start_over()
    files: dict[str, str | bytes | None] = {".github/workflows/own.yml": SELF_HOSTED}
    drill.range.github.state.commit_files(FERRY, files, "Ours", "jonas", runs=False)
    given = window(drill)
    add_runner(drill)
    out = drill.do("github.find_planted_by_token", given)[1]
    assert out.runners == ()
    assert any("SHA1HULUD" in said and "own.yml asks" in said for said in out.others)


def test_a_planted_workflow_asks_for_no_runner(drill: Drill) -> None:
    given = window(drill)
    add_runner(drill)
    state = drill.range.github.state
    state.commit_files(FERRY, {PLANTED: SELF_HOSTED}, "Add security scan", "mara", runs=False)
    assert [r.event for r in drill.do("github.find_planted_by_token", given)[1].runners] == ["SHA1HULUD"]


def test_a_busy_runner_stays_and_the_step_fails(drill: Drill) -> None:
    number = add_runner(drill)
    drill.range.github.state.repos[FERRY].runners[number]["busy"] = True
    given = Planted(kind=RUNNER, name=FERRY, id=str(number))
    with pytest.raises(Rejected, match="422"):
        drill.do("github.remove_runner", given)


def test_a_token_that_is_cut_lives_and_gets_in_no_more(drill: Drill) -> None:
    drill.range.github.state.orgs[ORG].saml = True
    _, outcome = drill.do("github.cut_tokens_of", MARA)
    assert outcome.cut == 1
    assert len(outcome.unknown) == 1, "grants are shown to Apps alone"
    assert as_mara(drill).get("/user")["login"] == "mara"
    with pytest.raises(Forbidden, match="403"):
        as_mara(drill).send("PUT", f"/repos/{FERRY}/contents/new.txt", NEW)


def test_where_no_list_can_be_read_it_says_what_is_missing(drill: Drill) -> None:
    with pytest.raises(Forbidden, match="no token of mara can be seen") as caught:
        CATALOGUE["github.cut_tokens_of"].look(drill.world, MARA)
    assert "organization_personal_access_tokens:write" in caught.value.permission
    with pytest.raises(InputError, match="is not an account"):
        CATALOGUE["github.cut_tokens_of"].look(drill.world, PersonIn(login="../x", repository=FERRY))


def test_a_person_without_tokens_has_none_to_cut(drill: Drill) -> None:
    drill.range.github.state.orgs[ORG].saml = True
    given = PersonIn(login="quiet-otter", repository=FERRY)
    before, outcome = drill.do("github.cut_tokens_of", given)
    assert not before.needed
    assert proof(drill, "github.cut_tokens_of", given, before, outcome).verdict == Verdict.PROVEN


# What may run, and what runs leave behind


def test_a_limited_organization_keeps_every_repository_from_another_action(drill: Drill) -> None:
    drill.do("github.limit_actions", AllowedIn(where=ORG, pinned=False, github=False))
    run = dispatch(drill.range, "test.yml")
    assert run["conclusion"] == "failure"
    log = drill.range.github.state.runs[run["id"]].jobs[0].log
    assert any(f"not allowed in {ORG} by its Actions policy" in line for _, line in log)


def test_where_actions_are_off_there_is_nothing_to_limit(drill: Drill) -> None:
    drill.world.github.send("PUT", f"/repos/{FERRY}/actions/permissions", {"enabled": False})
    before, outcome = drill.do("github.limit_actions", LIMITED)
    assert not before.needed
    assert not outcome.changed
    assert proof(drill, "github.limit_actions", LIMITED, before, outcome).verdict == Verdict.PROVEN
    with pytest.raises(InputError, match="neither a repository"):
        CATALOGUE["github.limit_actions"].look(drill.world, AllowedIn(where="a b"))


def test_a_strangers_run_of_pull_request_target_has_secrets_and_leaves_a_cache_for_the_default_branch(
    drill: Drill,
) -> None:
    given = poisoned(drill)
    state = drill.range.github.state
    drill.world.github.get("/rate_limit")  # brings every run up to now
    (run,) = [r for r in state.runs.values() if r.event == "pull_request_target"]
    assert (run.status, run.conclusion) == ("completed", "success"), "nobody had to let it run"
    assert not run.from_fork
    assert "STATUS_PAGE_TOKEN" in run.secrets
    before, _ = drill.do("github.delete_caches", given)
    assert [c.ref for c in before.caches] == ["refs/heads/main"]
    assert "tools-1 of refs/heads/main" in before.suspected[0]


def test_caches_that_no_stranger_could_write_stay(drill: Drill) -> None:
    text = LABELS_YAML.replace("pull_request_target", "workflow_dispatch").replace(
        """        with: {ref: "${{ github.event.pull_request.head.sha }}"}\n""", ""
    )  # fmt: skip
    state = drill.range.github.state
    files: dict[str, str | bytes | None] = {LABELS: text, f"{TOOLS}/build.sh": "echo ours\n"}
    state.commit_files(FERRY, files, "Tools", "mara", runs=False)
    assert dispatch(drill.range, "labels.yml")["conclusion"] == "success"
    before, outcome = drill.do("github.delete_caches", CachesIn(repository=FERRY))
    assert (len(before.caches), before.needed, outcome.changed) == (1, False, False)
    before, outcome = drill.do("github.delete_caches", CachesIn(repository=FERRY, always=True))
    assert outcome.changed
    assert state.repos[FERRY].caches == {}


def test_an_app_may_not_answer_for_a_reviewer(drill: Drill) -> None:
    given = waiting_deployment(drill)
    drill.world = replace(drill.world, github=as_app(drill, actions="read", deployments="write"))
    with pytest.raises(Forbidden):
        drill.do("github.reject_deployments", given)


def test_a_rejected_deployment_never_started(drill: Drill) -> None:
    drill.do("github.reject_deployments", waiting_deployment(drill))
    (run,) = drill.range.github.state.runs.values()
    assert (run.status, run.conclusion) == ("completed", "failure")
    assert run.jobs[0].log == []


def test_a_reviewer_who_agrees_lets_the_job_start(drill: Drill) -> None:
    waiting_deployment(drill)
    (run,) = drill.range.github.state.runs.values()
    pending = f"/repos/{FERRY}/actions/runs/{run.id}/pending_deployments"
    rows = as_mara(drill).get(pending)
    assert [row["current_user_can_approve"] for row in rows] == [True]
    body = {"environment_ids": [rows[0]["environment"]["id"]], "state": "approved", "comment": "go"}
    as_mara(drill).send("POST", pending, body)
    assert (run.status, run.conclusion) == ("completed", "success")


def test_a_waiting_run_can_be_cancelled(drill: Drill) -> None:
    drill.do("github.cancel_runs", waiting_deployment(drill))
    (run,) = drill.range.github.state.runs.values()
    assert (run.status, run.conclusion) == ("completed", "cancelled")
