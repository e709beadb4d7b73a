"""The jobs of one run as they run: called workflows followed, names and permissions traced back to the caller.

Rules: docs.github.com/actions/how-tos/reuse-automations/reuse-workflows and /actions/reference/workflows-and-actions.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from bot import workflow
from bot.errors import Forbidden, InputError, NotFound, Rejected
from bot.workflow import Job, Workflow
from bot.world import World

DEPTH = 10  # of nested reusable workflows, as GitHub allows
UNREADABLE = (NotFound, Forbidden, Rejected)
LEVELS = {"none": 0, "read": 1, "write": 2}

Handed = dict[str, frozenset[str]] | None  # secret of a called workflow -> secrets of the run; None: the same names


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A job as it runs: its secrets under the names that the run knows, its permissions after all who called it."""

    label: str
    job: Job
    names: dict[str, str]  # secret -> where the job reads it
    own_only: dict[str, str]  # not handed on by the caller: only the job's environment can hold these
    everything: str
    halves: frozenset[tuple[str, str]]
    permissions: dict[str, str] | None  # None: the repository's default
    calls: bool = False  # it only calls another workflow: it runs nothing and has no token


class Files:
    """The workflow files of a run, each read once at the commit that ran."""

    def __init__(self, world: World, repository: str, run: dict[str, Any], unknown: list[str]) -> None:
        self._world, self._repository, self._run, self._unknown = world, repository, run, unknown
        self._read: dict[tuple[str, str, str], Workflow | None] = {}

    def readers(self) -> Iterator[Reader]:
        """Every job of the run, calls followed."""
        path, sha = self._run["path"], self._run["head_sha"]
        if self._run["event"] == "pull_request_target":  # runs the base's file, not the pull request's
            sha = next((pull["base"]["sha"] for pull in self._run.get("pull_requests") or ()), "")
            if not sha:
                self._unknown.append(f"{path} was read on the default branch: the run does not tell its base commit")
        head = (self._run.get("head_repository") or {}).get("full_name") or self._repository
        found = self._file(self._repository, path, sha) or self._file(head, path, sha)
        if found is None:
            self._unknown.append(f"{path} could not be read at {sha or 'the default branch'}: what it reads is unknown")
            return
        for job in found.jobs:
            permissions = job.permissions if job.permissions is not None else found.permissions
            yield from self._job(job, job.id, permissions, None, (self._repository, sha), 0)

    def _job(
        self, job: Job, label: str, permissions: dict[str, str] | None, handed: Handed, at: tuple[str, str], depth: int
    ) -> Iterator[Reader]:
        if not job.uses:
            yield _reader(job, label, permissions, handed)
            return
        target, path, ref = self._target(job.uses, *at)
        found = self._file(target, path, ref) if depth < DEPTH else None
        yield _reader(job, label, {}, handed, calls=True)  # what it hands on by name, whoever uses it
        if found is None:
            self._unknown.append(f"{job.uses}, which job {label} calls, could not be read: what it does is unknown")
            blind = f"{job.uses} (not readable) inherits them" if job.inherit else ""
            lost = replace(job, secrets={}, halves=frozenset(), everything=blind)
            yield _reader(lost, f"{label} / ?", permissions, handed)
            return
        inner = handed if job.inherit else _through(job.passed, handed)
        for called in found.jobs:
            stated = called.permissions if called.permissions is not None else found.permissions
            allowed = _narrowed(stated, permissions)
            yield from self._job(called, f"{label} / {called.id}", allowed, inner, (target, ref), depth + 1)

    def _target(self, uses: str, repository: str, sha: str) -> tuple[str, str, str]:
        if uses.startswith("./"):
            return repository, uses[2:].split("@")[0], sha
        name, _, ref = uses.partition("@")
        for each in self._run.get("referenced_workflows") or ():
            if str(each.get("path", "")).split("@")[0] == name and each.get("sha"):
                ref = each["sha"]  # what really ran: the ref may have moved since
        owner, repo, path = [*name.split("/", 2), "", ""][:3]
        return f"{owner}/{repo}", path, ref

    def _file(self, repository: str, path: str, ref: str) -> Workflow | None:
        key = (repository, path, ref)
        if key not in self._read:
            at = {"ref": ref} if ref else {}
            try:
                content = self._world.github.get(f"/repos/{quote(repository)}/contents/{quote(path)}", **at)
                text = base64.b64decode(content["content"]).decode(errors="replace")
                self._read[key] = workflow.parse(text, path)
            except (*UNREADABLE, InputError, KeyError, TypeError):  # a folder is a list, a large file has no content
                self._read[key] = None
        return self._read[key]


def _narrowed(stated: dict[str, str] | None, cap: dict[str, str] | None) -> dict[str, str] | None:
    """A called workflow can narrow its caller's permissions, never widen them."""
    if stated is None or cap is None:  # the repository's default never includes id-token
        return cap if stated is None else {k: v for k, v in stated.items() if k != "id-token"}
    if "*" in stated:
        return {k: min(v, stated["*"], key=lambda level: LEVELS.get(level, 0)) for k, v in cap.items()}
    return {k: min(v, cap.get(k, cap.get("*", "none")), key=lambda x: LEVELS.get(x, 0)) for k, v in stated.items()}


def _through(passed: dict[str, frozenset[str]], outer: Handed) -> dict[str, frozenset[str]]:
    if outer is None:
        return passed
    return {name: frozenset().union(*(outer.get(n, frozenset()) for n in names)) for name, names in passed.items()}


def _reader(job: Job, label: str, permissions: dict[str, str] | None, handed: Handed, *, calls: bool = False) -> Reader:
    names, own = dict(job.secrets), {}
    halves, everything = job.halves, job.everything
    if handed is not None:
        own = {name: where for name, where in job.secrets.items() if name not in handed}
        names = {each: where for name, where in job.secrets.items() for each in handed.get(name, ())}
        if everything:  # all that it was handed
            names |= dict.fromkeys(frozenset().union(*handed.values()), everything)
            everything = ""
        halves = frozenset((part, each) for part, name in job.halves for each in handed.get(name, ()))
    return Reader(label=label, job=job, names=names, own_only=own, everything=everything, halves=halves,
                  permissions=permissions, calls=calls)  # fmt: skip
