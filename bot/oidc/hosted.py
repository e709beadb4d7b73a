"""A repository at GitHub without a clone: the files that decide where a secret goes, on every branch that can run.

One request for a branch's tree, one for each blob that no branch before it had. Paths: docs.github.com/rest/git/trees
(recursive; cut off past 100,000 entries or 7 MB, and it says so), /rest/git/blobs, /rest/branches/branches.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from bot.oidc.branches import Branch, differing
from bot.oidc.hands.compose import DEFAULT
from bot.oidc.repository import FOLDER, Repository
from bot.oidc.source import MAX_BYTES

MOST_BRANCHES = 100
MOST_FILES = 500  # of one branch
_BESIDE = ("package.json", ".release-it.json", *DEFAULT)  # at the top; what the recipes look into


class GitHub(Protocol):
    """What is asked of a client of GitHub's REST API."""

    def get(self, path: str, **params: Any) -> Any:
        """One answer."""

    def pages(self, path: str, items: str = "", **params: Any) -> Iterator[dict[str, Any]]:
        """The rows of a list, page after page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """A repository's default branch, the others that hold credentials and can run, and what was not looked at."""

    name: str
    branch: str
    repository: Repository
    others: tuple[Branch, ...]
    looked_at: int  # branches, the default one included
    limits: tuple[str, ...]


@dataclass(slots=True)
class _Reader:
    github: GitHub
    base: str
    blobs: dict[str, bytes] = field(default_factory=dict)
    limits: dict[str, None] = field(default_factory=dict)

    def files(self, commit: str, branch: str) -> dict[str, bytes]:
        tree = self.github.get(f"{self.base}/git/trees/{commit}", recursive="1")
        wanted = [row for row in tree["tree"] if row["type"] == "blob" and _wanted(str(row["path"]))]
        if tree.get("truncated"):
            self.limits[f"GitHub cut the tree of {branch} off, so files of it may be missing"] = None
        large = [row for row in wanted if int(row.get("size") or 0) > MAX_BYTES]
        if large:
            self.limits[f"{branch}: {len(large)} files are larger than {MAX_BYTES} bytes and were left out"] = None
        if len(wanted) > MOST_FILES:
            self.limits[f"{branch}: only the first {MOST_FILES} of {len(wanted)} files were read"] = None
        kept = [row for row in wanted[:MOST_FILES] if row not in large]
        return {str(row["path"]): self._blob(str(row["sha"])) for row in kept}

    def _blob(self, sha: str) -> bytes:
        if sha not in self.blobs:
            self.blobs[sha] = base64.b64decode(self.github.get(f"{self.base}/git/blobs/{sha}")["content"])
        return self.blobs[sha]


def _wanted(path: str) -> bool:
    if path.startswith(FOLDER):
        return path.endswith((".yml", ".yaml"))
    return path in _BESIDE or path.rpartition("/")[2] in {"action.yml", "action.yaml"}


def read(github: GitHub, name: str) -> Hosted:
    """Every branch of OWNER/NAME, the default one first. Raises what GitHub says of the repository."""
    base = f"/repos/{name}"
    found = github.get(base)
    default = str(found["default_branch"])
    reader = _Reader(github, base)
    here: dict[str, bytes] = {}
    rest: list[tuple[str, str]] = []
    for row in github.pages(f"{base}/branches"):
        commit = str(row["commit"]["sha"])
        if row["name"] == default:
            here = reader.files(commit, default)
        elif len(rest) == MOST_BRANCHES:
            reader.limits[f"only {MOST_BRANCHES} branches beside {default} were looked at; there are more"] = None
        else:
            rest.append((str(row["name"]), commit))
    repository = Repository.of(here)
    rows = ((branch, branch, _workflows(reader.files(commit, branch))) for branch, commit in rest)
    others = tuple(differing(repository, rows))
    return Hosted(
        name=str(found["full_name"]), branch=default, repository=repository, others=others, looked_at=len(rest) + 1,
        limits=tuple(reader.limits),
    )  # fmt: skip


def _workflows(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if path.startswith(FOLDER)}
