"""Reads a workflow file as far as the range's runner goes. What it does not know is a mistake, never skipped."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

import yaml

from bot.range.github.nouns import Org, Repo

_TOP = {"name", "run-name", "on", "permissions", "env", "defaults", "jobs"}
_JOB = {
    "name", "needs", "permissions", "runs-on", "environment", "env", "if", "steps", "timeout-minutes", "outputs",
    "continue-on-error", "defaults",
}  # fmt: skip
_STEP = {"id", "if", "name", "uses", "run", "with", "env", "continue-on-error", "shell", "timeout-minutes"}
_VERIFIED = {"aws-actions", "azure", "docker", "google-github-actions", "hashicorp"}  # creators that GitHub knows

# docs.github.com/actions/security-for-github-actions/security-guides/automatic-token-authentication
SCOPES = (
    "actions", "attestations", "checks", "contents", "deployments", "discussions", "issues", "packages", "pages",
    "pull-requests", "security-events", "statuses",
)  # fmt: skip


class WorkflowMistake(ValueError):
    """What is wrong, in a sentence."""


def parse(data: bytes) -> dict[str, Any]:
    """The file as a map with ``on`` as a map of event -> options. Raises ``WorkflowMistake``."""
    try:
        spec = yaml.safe_load(data)
    except yaml.YAMLError as exc:
        raise WorkflowMistake(f"Invalid workflow file: {exc}") from None
    if not isinstance(spec, dict):
        raise WorkflowMistake("Invalid workflow file: not a map")
    if True in spec:
        spec["on"] = spec.pop(True)  # YAML 1.1 reads a bare `on` as true
    _known(spec, _TOP, "the workflow")
    jobs = spec.get("jobs")
    if not isinstance(jobs, dict) or not jobs:
        raise WorkflowMistake("Invalid workflow file: no jobs")
    for key, job in jobs.items():
        _job(str(key), job, jobs)
    on = spec.get("on")
    events = {on: {}} if isinstance(on, str) else {event: {} for event in on} if isinstance(on, list) else on
    if not isinstance(events, dict) or not events:
        raise WorkflowMistake("Invalid workflow file: no event triggers in `on`")
    return {**spec, "on": {str(event): options or {} for event, options in events.items()}}


def _job(key: str, job: Any, jobs: dict[str, Any]) -> None:
    if not isinstance(job, dict):
        raise WorkflowMistake(f"Invalid workflow file: job {key} is not a map")
    _known(job, _JOB, f"job {key}")
    needs = job.get("needs") or []
    for other in [needs] if isinstance(needs, str) else needs:
        if other not in jobs:
            raise WorkflowMistake(f"Invalid workflow file: job {key} depends on unknown job {other}")
    if not isinstance(job.get("steps"), list) or not job["steps"]:
        raise WorkflowMistake(f"Invalid workflow file: job {key} has no steps")
    for number, step in enumerate(job["steps"], 1):
        if not isinstance(step, dict) or ("run" in step) == ("uses" in step):
            raise WorkflowMistake(f"Invalid workflow file: step {number} of job {key} needs one of run and uses")
        _known(step, _STEP, f"step {number} of job {key}")


def _known(given: dict[Any, Any], known: set[str], where: str) -> None:
    unknown = sorted(str(key) for key in given if key not in known)
    if unknown:
        raise WorkflowMistake(f"The range's runner does not interpret {', '.join(unknown)} in {where}")


def listens(spec: dict[str, Any], event: str, branch: str, changed: list[str]) -> bool:
    """Whether an event on a branch (of a pull request: its base) starts this workflow."""
    if event not in spec["on"]:
        return False
    options = spec["on"][event]
    if not isinstance(options, dict):
        return True
    if "branches" in options and not _match_any(options["branches"], branch):
        return False
    if "branches-ignore" in options and _match_any(options["branches-ignore"], branch):
        return False
    if "tags" in options and "branches" not in options and event == "push":
        return False
    if "paths" in options and not any(_match_any(options["paths"], path) for path in changed):
        return False
    return not ("paths-ignore" in options and all(_match_any(options["paths-ignore"], path) for path in changed))


def _match_any(patterns: Any, value: str) -> bool:
    rows = [patterns] if isinstance(patterns, str) else list(patterns)
    return any(fnmatch.fnmatchcase(value, str(row).replace("**", "*")) for row in rows)


def inputs(spec: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a dispatch with defaults filled in. Raises ``WorkflowMistake`` as GitHub does."""
    declared = (spec["on"]["workflow_dispatch"] or {}).get("inputs") or {}
    unexpected = sorted(set(given) - set(declared))
    if unexpected:
        raise WorkflowMistake(f"Unexpected inputs provided: {unexpected}")
    missing = [n for n, d in declared.items() if (d or {}).get("required") and n not in given and "default" not in d]
    if missing:
        raise WorkflowMistake(f"Required input '{missing[0]}' not provided")
    return {name: given.get(name, (detail or {}).get("default", "")) for name, detail in declared.items()}


def environment_of(spec: dict[str, Any]) -> str:
    """The environment of a job as its file says it, maybe an expression; ''."""
    named = spec.get("environment")
    return str(named.get("name", "") if isinstance(named, dict) else named or "")


def token_scopes(spec: dict[str, Any], job: dict[str, Any], default: str, *, fork: bool) -> tuple[dict[str, str], bool]:
    """(GITHUB_TOKEN's scopes as App permissions, whether the job may ask for an id-token).

    A job's block replaces the workflow's, and what a block does not list is none. A fork's run only reads.
    """
    declared = job.get("permissions", spec.get("permissions"))
    if declared is None:
        granted = dict.fromkeys(SCOPES, "write") if default == "write" else {"contents": "read", "packages": "read"}
    elif isinstance(declared, str):
        level = {"read-all": "read", "write-all": "write"}[declared]
        granted = dict.fromkeys(SCOPES, level) | ({"id-token": "write"} if level == "write" else {})
    else:
        granted = {str(scope): str(level) for scope, level in declared.items() if level != "none"}
    may_ask = granted.pop("id-token", "") == "write" and not fork
    if fork:
        granted = dict.fromkeys(granted, "read")
    return {scope.replace("-", "_"): level for scope, level in granted.items()} | {"metadata": "read"}, may_ask


def branch_allowed(patterns: tuple[str, ...] | None, ref: str) -> bool:
    """Whether a ref may deploy to an environment with these patterns; a pull request's ref never matches one."""
    if patterns is None:
        return True
    return ref.startswith("refs/heads/") and any(fnmatch.fnmatchcase(ref[len("refs/heads/") :], p) for p in patterns)


def action_refused(repo: Repo, uses: str, org: Org | None = None) -> str:
    """Why the Actions policy of the repository, or of its organization, does not let this action run, or ''."""
    said = _refused(repo.full_name, repo.owner.login, repo.actions, repo.selected_actions, uses)
    return said or (_refused(org.account.login, org.account.login, org.actions, org.selected_actions, uses)
                    if org else "")  # fmt: skip


def _refused(where: str, home: str, policy: dict[str, Any], chosen: dict[str, Any], uses: str) -> str:
    name, _at, version = uses.partition("@")
    if name.startswith("./"):
        return ""
    if policy["sha_pinning_required"] and not re.fullmatch(r"[0-9a-f]{40}", version):
        return f"The action {uses} is not allowed in {where}: it must be pinned to a full-length commit SHA."
    owner = name.split("/")[0]
    allowed = policy["allowed_actions"] == "all" or owner == home
    if policy["allowed_actions"] == "selected":
        allowed = allowed or (chosen["github_owned_allowed"] and owner in ("actions", "github"))
        allowed = allowed or (chosen["verified_allowed"] and owner in _VERIFIED)
        allowed = allowed or any(fnmatch.fnmatchcase(uses, pattern) for pattern in chosen["patterns_allowed"])
    return "" if allowed else f"The action {uses} is not allowed in {where} by its Actions policy."
