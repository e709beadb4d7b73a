"""Deployments that jobs with an environment make, and those that wait for a reviewer; releases, which nobody makes.

docs.github.com/rest/actions/workflow-runs, "Review pending deployments for a workflow run": for the token of a user who
is a reviewer, never for an App.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bot.range.github import shapes
from bot.range.github.http import Call, Op, Problem, not_found
from bot.range.github.nouns import Account, Environment, Repo, Run
from bot.range.workflow_file import environment_of

R = "/repos/{owner}/{repo}"


def note(repo: Repo, run: Run, number: int, environment: str, by: Account, at: datetime) -> None:
    """A job enters an environment: GitHub makes a deployment of it, in the name of its robot."""
    row = {"id": number, "environment": environment, "ref": run.ref.split("/", 2)[-1], "sha": run.head_sha, "by": by}
    repo.deployments.append({**row, "at": at, "run": run.id})


def deployments(call: Call) -> Any:
    rows = list(reversed(call.repo.deployments))
    for name in ("environment", "ref", "sha"):
        if call.query.get(name):
            rows = [row for row in rows if row[name] == call.query[name]]
    return [_shown(call.repo, row, call.base) for row in call.page(rows)]


def _shown(repo: Repo, row: dict[str, Any], base: str) -> dict[str, Any]:
    url, at = f"{shapes.api(repo, base)}/deployments/{row['id']}", shapes.when(row["at"])
    return {
        "id": row["id"], "node_id": shapes.node("DE", row["id"]), "url": url, "sha": row["sha"], "ref": row["ref"],
        "task": "deploy", "payload": {}, "environment": row["environment"], "original_environment": row["environment"],
        "description": None, "creator": shapes.account(row["by"], base), "created_at": at, "updated_at": at,
        "statuses_url": f"{url}/statuses", "repository_url": shapes.api(repo, base), "transient_environment": False,
        "production_environment": False,
    }  # fmt: skip


def _waiting(call: Call) -> tuple[Run, dict[str, Environment]]:
    """The run of the path, and the environments that its jobs wait for."""
    found = call.state.runs.get(call.number("run_id"))
    if found is None or found.repo is not call.repo:
        raise not_found()
    names = {environment_of(job.spec) for job in found.of_attempt(found.attempt) if job.status == "waiting"}
    return found, {name: call.repo.environments[name] for name in sorted(names)}


def pending(call: Call) -> Any:
    _run, waiting = _waiting(call)
    login = call.caller.account.login if call.caller.account else ""
    return [
        {"environment": {"id": e.id, "node_id": shapes.node("EN", e.id), "name": name,
                         "url": f"{shapes.api(call.repo, call.base)}/environments/{name}", "html_url": ""},
         "wait_timer": 0, "wait_timer_started_at": None, "current_user_can_approve": login in e.reviewers,
         "reviewers": [{"type": "User", "reviewer": shapes.account(call.state.accounts[who], call.base)}
                       for who in e.reviewers]}
        for name, e in waiting.items()
    ]  # fmt: skip


def review(call: Call) -> Any:
    """A reviewer lets the jobs in, or has them fail."""
    run, waiting = _waiting(call)
    if call.caller.kind in ("installation", "job"):
        raise Problem(403, "Resource not accessible by integration")
    state, ids = call.field("state"), call.field("environment_ids", list)
    call.field("comment")
    by_id = {e.id: e for e in waiting.values()}
    if state not in ("approved", "rejected") or not ids or not set(ids) <= set(by_id):
        raise Problem(422, "There are no pending deployments of these environments")
    login = call.caller.account.login if call.caller.account else ""
    if any(login not in by_id[number].reviewers for number in ids):
        raise Problem(422, "The user is not a reviewer of the environment")
    call.state.runner.judge(run, {by_id[number].name for number in ids}, agreed=state == "approved")
    return []


def releases(call: Call) -> Any:
    return call.page([])


def meta(_call: Call) -> Any:
    """Where runners call from: the range's own is on this machine, and whoever else is there looks the same."""
    return {"verifiable_password_authentication": False, "actions": ["127.0.0.1/32"]}


PENDING = R + "/actions/runs/{run_id}/pending_deployments"
OPS = (
    Op(method="GET", path=PENDING, handle=pending, needs="actions:read"),
    Op(method="POST", path=PENDING, handle=review, needs="deployments:write"),
    Op(method="GET", path=R + "/deployments", handle=deployments, needs="deployments:read"),
    Op(method="GET", path=R + "/releases", handle=releases, needs="contents:read"),
    Op(method="GET", path="/meta", handle=meta, needs=""),
)
