"""Deployments that jobs with an environment make, and releases, of which nobody here makes any."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bot.range.github import shapes
from bot.range.github.http import Call, Op
from bot.range.github.nouns import Account, Repo, Run

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


def releases(call: Call) -> Any:
    return call.page([])


def meta(_call: Call) -> Any:
    """Where runners call from: the range's own is on this machine, and whoever else is there looks the same."""
    return {"verifiable_password_authentication": False, "actions": ["127.0.0.1/32"]}


OPS = (
    Op(method="GET", path=R + "/deployments", handle=deployments, needs="deployments:read"),
    Op(method="GET", path=R + "/releases", handle=releases, needs="contents:read"),
    Op(method="GET", path="/meta", handle=meta, needs=""),
)
