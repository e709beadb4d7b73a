"""The workflow files of every branch of a clone: an old branch whose file can run still hands its secrets out.

Which file runs: a push, a pull request, a creation and a called workflow take the file of their own branch; a schedule
and the events of issues take the default branch's; a dispatch takes the branch's own, once the default branch has the
file. Source: docs.github.com/actions/reference/workflows-and-actions/events-that-trigger-workflows.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bot.errors import InputError
from bot.oidc.find import Credential, credentials
from bot.oidc.repository import FOLDER, Repository
from bot.oidc.shape import Workflow

OWN_FILE = ("push", "pull_request", "create", "delete", "release", "merge_group")
SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A branch beside the one that is checked out, and the credentials of files there that can run and differ."""

    name: str
    repository: Repository
    credentials: tuple[Credential, ...]


def others(path: Path, here: Repository) -> list[Branch]:
    """The branches of a clone, local ones and those of its remotes. Raises InputError when the folder is no clone."""
    listed = _git(path, "for-each-ref", "--format=%(refname)%00%(objectname)", "refs/heads", "refs/remotes").decode()
    return list(differing(here, _refs(path, listed)))


def _refs(path: Path, listed: str) -> Iterator[tuple[str, str, dict[str, bytes]]]:
    for row in listed.splitlines():
        ref, _, commit = row.partition("\0")
        name = ref.removeprefix("refs/heads/").removeprefix("refs/remotes/")
        short = name.partition("/")[2] if ref.startswith("refs/remotes/") else name
        if not ref.endswith("/HEAD"):
            yield name, short, _files(path, commit)


def differing(here: Repository, rows: Iterable[tuple[str, str, dict[str, bytes]]]) -> Iterator[Branch]:
    """Those branches whose workflow files differ, can run and hold credentials; two that are alike are one.

    ``rows``: the name to show, the branch's own name, its workflow files.
    """
    seen = {_key(here)}
    for name, short, files in rows:
        repository = Repository.of({p: d for p, d in files.items() if here.files.get(p) != d})
        if _key(repository) in seen:
            continue
        seen.add(_key(repository))
        running = [w for w in repository.workflows.values() if runs(w, short, w.path in here.workflows)]
        if held := credentials(running):
            yield Branch(name=name, repository=repository, credentials=tuple(held))


def runs(workflow: Workflow, branch: str, on_default: bool) -> bool:
    """Whether the file can run as it stands on this branch."""
    on = workflow.source.root.get("on")
    stated: Any = on.real.plain if on is not None else {}
    for event in workflow.events:
        filters = stated.get(event) if isinstance(stated, dict) else None
        if event == "push" and isinstance(filters, dict) and not _pushed(filters, branch):
            continue
        if event in OWN_FILE or (event == "workflow_dispatch" and on_default):
            return True
    return False


def _pushed(filters: dict[str, Any], branch: str) -> bool:
    if "branches" not in filters and "branches-ignore" not in filters:
        return not ({"tags", "tags-ignore"} & set(filters))  # tags alone: no push of a branch starts it
    kept = _listed(filters.get("branches", "**"))
    allowed = False
    for pattern in kept:  # the last one that fits decides
        if _fits(branch, pattern.removeprefix("!")):
            allowed = not pattern.startswith("!")
    return allowed and not any(_fits(branch, pattern) for pattern in _listed(filters.get("branches-ignore", [])))


def _fits(branch: str, pattern: str) -> bool:
    if "**" not in pattern and branch.count("/") != pattern.count("/"):
        return False
    return fnmatchcase(branch, pattern.replace("**", "*"))


def _listed(found: Any) -> list[str]:
    return [found] if isinstance(found, str) else [str(each) for each in found]


def _key(repository: Repository) -> tuple[tuple[str, bytes], ...]:
    return tuple(sorted((path, repository.files[path]) for path in repository.files if path.startswith(FOLDER)))


def _files(path: Path, commit: str) -> dict[str, bytes]:
    names = _git(path, "ls-tree", "-r", "-z", "--name-only", commit, FOLDER).decode().split("\0")
    return {name: _git(path, "show", f"{commit}:{name}") for name in names if name.endswith((".yml", ".yaml"))}


def _git(path: Path, *words: str) -> bytes:
    program = shutil.which("git")
    if program is None:
        raise InputError("git is not installed; scan one branch at a time, without --branches")
    done = subprocess.run(
        [program, "-C", str(path), "-c", "core.fsmonitor=false", *words],
        capture_output=True,
        check=False,
        timeout=SECONDS,
    )
    if done.returncode:
        raise InputError(f"{path} is no clone whose branches can be read; scan it without --branches")
    return done.stdout
