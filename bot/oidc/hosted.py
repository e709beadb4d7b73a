"""A repository at GitHub without a clone: the files that decide where a secret goes, on every branch that can run.

One request for a branch's tree, one for each blob that is looked into and that no branch before it had. Paths:
docs.github.com/rest/git/trees (recursive; cut off past 100,000 entries or 7 MB, and it says so), /rest/git/blobs,
/rest/branches/branches.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from bot.oidc.branches import Branch, differing
from bot.oidc.refusal import Refusal
from bot.oidc.repository import FOLDER, Repository, Unread, looked_into
from bot.oidc.source import MAX_BYTES

MOST_BRANCHES = 100
MOST_FILES = 500  # workflows of one branch
LINK = "120000"  # git's mode of a symbolic link


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A repository at a commit: its workflows are read, other files when a recipe looks into them.

    ``blobs``: what git calls the content of each file that may be looked into, by path.
    """

    repository: Repository
    blobs: Mapping[str, str]


@dataclass(slots=True)
class Reader:
    """What a repository at GitHub holds at commits of it. ``limits`` says what was not looked at."""

    github: GitHub
    base: str
    limits: dict[str, None] = field(default_factory=dict)
    _read: dict[str, bytes] = field(default_factory=dict)

    def at(self, commit: str, branch: str) -> Snapshot:
        """The files that ``bulkhead oidc plan`` would look into in a clone of this commit."""
        tree = self.github.get(f"{self.base}/git/trees/{commit}", recursive="1")
        rows = [row for row in tree["tree"] if row["type"] == "blob" and row.get("mode") != LINK]
        rows = [row for row in rows if looked_into(str(row["path"]))]
        if tree.get("truncated"):
            self.limits[f"GitHub cut the tree of {branch} off, so files of it may be missing"] = None
        large = [row for row in rows if int(row.get("size") or 0) > MAX_BYTES]
        hidden = sum(str(row["path"]).startswith(FOLDER) for row in large)
        if hidden:
            self.limits[f"{branch}: {hidden} files are larger than {MAX_BYTES} bytes and were left out"] = None
        kept = [row for row in rows if row not in large]
        workflows = [row for row in kept if str(row["path"]).startswith(FOLDER)]
        if len(workflows) > MOST_FILES:
            self.limits[f"{branch}: only the first {MOST_FILES} of {len(workflows)} files were read"] = None
        dropped = workflows[MOST_FILES:]
        blobs = {str(row["path"]): str(row["sha"]) for row in kept if row not in dropped}
        found = Repository.of(Unread(blobs, self.blob), whole=not tree.get("truncated"))
        for row in (each for each in [*large, *dropped] if str(each["path"]).startswith(FOLDER)):
            found.unreadable[str(row["path"])] = Refusal("unreadable", "the file was not read, and may use any secret")
        return Snapshot(repository=found, blobs=blobs)

    def blob(self, sha: str) -> bytes:
        """A content by its name; asked for once, however many branches have it."""
        if sha not in self._read:
            self._read[sha] = base64.b64decode(self.github.get(f"{self.base}/git/blobs/{sha}")["content"])
        return self._read[sha]


def read(github: GitHub, name: str) -> Hosted:
    """Every branch of OWNER/NAME, the default one first. Raises what GitHub says of the repository."""
    base = f"/repos/{name}"
    found = github.get(base)
    default = str(found["default_branch"])
    reader = Reader(github, base)
    here: Mapping[str, bytes] = {}
    rest: list[tuple[str, str]] = []
    for row in github.pages(f"{base}/branches"):
        commit = str(row["commit"]["sha"])
        if row["name"] == default:
            here = reader.at(commit, default).repository.files
        elif len(rest) == MOST_BRANCHES:
            reader.limits[f"only {MOST_BRANCHES} branches beside {default} were looked at; there are more"] = None
        else:
            rest.append((str(row["name"]), commit))
    repository = Repository.of(here)
    rows = ((branch, branch, _workflows(reader.at(commit, branch).repository)) for branch, commit in rest)
    others = tuple(differing(repository, rows))
    return Hosted(
        name=str(found["full_name"]), branch=default, repository=repository, others=others, looked_at=len(rest) + 1,
        limits=tuple(reader.limits),
    )  # fmt: skip


def _workflows(repository: Repository) -> dict[str, bytes]:
    return {path: repository.files[path] for path in repository.files if path.startswith(FOLDER)}
