"""From which refs a job's tokens come: the triggers of its workflow, or of those that call it, as patterns of refs.

Source: docs.github.com, "OpenID Connect reference" (a schedule, a dispatch and the events of issues run on a branch; a
release runs on its tag) and "Filter pattern cheat sheet". A push without a filter would be any branch: the default
branch is taken, and the reader is told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bot.oidc.repository import Repository
from bot.oidc.shape import Job, Workflow, leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the tokens of a job come from. ``refs`` may hold ``*``; ``unsure`` is what a file cannot tell, in words."""

    refs: tuple[str, ...]
    pulls: bool
    environments: tuple[str, ...]
    unsure: tuple[str, ...] = ()


def of(repository: Repository, job: Job, branch: str) -> Origin:
    """The origin of a job's tokens. ``branch``: the default branch."""
    refs: dict[str, None] = {}
    unsure: list[str] = []
    for workflow in _starting(repository, job.workflow):
        for event in workflow.events:
            if event in {"workflow_call", "pull_request"} or not (job.reached(event) or job.workflow.called):
                continue
            refs |= dict.fromkeys(_refs(workflow, event, branch, unsure))
    environments, said = _environments(job)
    return Origin(
        refs=tuple(refs), pulls=repository.reached(job, "pull_request"), environments=environments,
        unsure=tuple(dict.fromkeys(unsure + said)),
    )  # fmt: skip


def _starting(repository: Repository, workflow: Workflow, seen: tuple[str, ...] = ()) -> list[Workflow]:
    """The workflows that start a job: its own, and those that call it."""
    found = [workflow]
    if workflow.called and workflow.path not in seen:
        for caller in repository.callers(workflow.path):
            found += _starting(repository, caller.workflow, (*seen, workflow.path))
    return list({each.path: each for each in found}.values())


def _refs(workflow: Workflow, event: str, branch: str, unsure: list[str]) -> list[str]:
    on = workflow.source.root.get("on")
    stated: Any = on.real.plain if on is not None else {}
    filters = stated.get(event) if isinstance(stated, dict) else None
    filters = filters if isinstance(filters, dict) else {}
    if event == "release":
        return ["refs/tags/*"]
    if event == "merge_group":
        return [f"refs/heads/gh-readonly-queue/{branch}/*"]
    if event != "push":
        return [f"refs/heads/{branch}"]
    found = [f"refs/heads/{each}" for each in _listed(filters.get("branches"))]
    found += [f"refs/tags/{each}" for each in _listed(filters.get("tags"))]
    if any("!" in each for each in found) or "branches-ignore" in filters or "tags-ignore" in filters:
        unsure.append(f"{workflow.path} leaves out some refs; the trust names those that are named")
    found = [re.sub(r"\*+|\?|\[[^]]*\]\+?", "*", each) for each in found if "!" not in each]
    if not found:
        unsure.append(f"{workflow.path} starts on pushes of any branch; the trust is for {branch} alone")
        return [f"refs/heads/{branch}"]
    return found


def _listed(found: Any) -> list[str]:
    return [] if not found else [found] if isinstance(found, str) else [str(each) for each in found]


def _environments(job: Job) -> tuple[tuple[str, ...], list[str]]:
    """The environments that a job may run in; an expression is followed through the matrix only."""
    name = job.environment
    if "${{" not in name:
        return ((name,) if name else ()), []
    chosen = re.fullmatch(r"\$\{\{\s*matrix\.([\w-]+)\s*\}\}", name.strip())
    strategy = job.node.get("strategy")
    matrix = strategy.get("matrix") if strategy is not None else None
    axis = matrix.get(chosen[1]) if matrix is not None and chosen else None
    values = tuple(leaves(axis)) if axis is not None else ()
    if values and not any("${{" in each for each in values):
        return values, []
    return (), [f"the environment of job {job.id} is {name}; write one subject for each that it may be"]
