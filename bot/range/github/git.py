"""Git's objects in memory, with Git's own names: the SHA-1 of a blob, tree or commit is the one that git computes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime

FILE, EXECUTABLE, TREE = "100644", "100755", "040000"


@dataclass(frozen=True, slots=True)
class Person:
    """Author or committer of a commit; ``login`` is the account behind the address."""

    name: str
    email: str
    login: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    sha: str
    tree: str
    parents: tuple[str, ...]
    message: str
    author: Person
    at: datetime


@dataclass(frozen=True, slots=True)
class Entry:
    mode: str
    sha: str

    @property
    def kind(self) -> str:
        return "tree" if self.mode == TREE else "blob"


@dataclass(frozen=True, slots=True)
class Change:
    path: str
    status: str  # added, modified, removed
    before: str  # blob, or ""
    after: str


def _name(kind: str, body: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(body)}\0".encode() + body).hexdigest()  # noqa: S324 git's own names


@dataclass(slots=True)
class GitStore:
    """The objects and refs of one repository. ``refs`` holds full names: refs/heads/main."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    trees: dict[str, dict[str, Entry]] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def put_blob(self, data: bytes) -> str:
        sha = _name("blob", data)
        self.blobs[sha] = data
        return sha

    def put_tree(self, files: dict[str, Entry]) -> str:
        """The tree of a flat map of path -> entry; folders are made as needed."""
        here: dict[str, Entry] = {}
        below: dict[str, dict[str, Entry]] = {}
        for path, entry in files.items():
            head, slash, rest = path.partition("/")
            if slash:
                below.setdefault(head, {})[rest] = entry
            else:
                here[head] = entry
        for folder, inside in below.items():
            here[folder] = Entry(TREE, self.put_tree(inside))
        ordered = sorted(here.items(), key=lambda kv: kv[0] + ("/" if kv[1].mode == TREE else ""))
        body = b"".join(f"{e.mode.lstrip('0')} {n}\0".encode() + bytes.fromhex(e.sha) for n, e in ordered)
        sha = _name("tree", body)
        self.trees[sha] = dict(ordered)
        return sha

    def flatten(self, tree: str, prefix: str = "") -> dict[str, Entry]:
        """Every file below a tree, by path."""
        found: dict[str, Entry] = {}
        for name, entry in self.trees[tree].items():
            if entry.mode == TREE:
                found.update(self.flatten(entry.sha, f"{prefix}{name}/"))
            else:
                found[prefix + name] = entry
        return found

    def commit(self, tree: str, parents: tuple[str, ...], message: str, author: Person, at: datetime) -> Commit:
        stamp = f"{author.name} <{author.email}> {int(at.timestamp())} +0000"
        lines = [
            f"tree {tree}",
            *(f"parent {p}" for p in parents),
            f"author {stamp}",
            f"committer {stamp}",
            "",
            message,
        ]
        sha = _name("commit", "\n".join(lines).encode())
        made = Commit(sha=sha, tree=tree, parents=parents, message=message, author=author, at=at.replace(microsecond=0))
        self.commits[sha] = made
        return made

    def resolve(self, ref: str) -> Commit | None:
        """The commit of a branch, a tag, a full ref name or a SHA (seven digits will do)."""
        for name in (ref, f"refs/{ref}", f"refs/heads/{ref}", f"refs/tags/{ref}"):
            if name in self.refs:
                return self.commits[self.refs[name]]
        if re.fullmatch(r"[0-9a-f]{7,40}", ref):
            hits = [c for sha, c in self.commits.items() if sha.startswith(ref)]
            return hits[0] if len(hits) == 1 else None
        return None

    def files(self, commit: Commit) -> dict[str, Entry]:
        return self.flatten(commit.tree)

    def read(self, commit: Commit, path: str) -> bytes | None:
        """The bytes of a file at a commit, or None."""
        entry = self.files(commit).get(path)
        return None if entry is None else self.blobs[entry.sha]

    def log(self, commit: Commit, path: str = "") -> list[Commit]:
        """The history of first parents, newest first; with a path only the commits that changed it or what is below."""
        found: list[Commit] = []
        at: Commit | None = commit
        while at is not None:
            if not path or any(c.path == path or c.path.startswith(f"{path}/") for c in self.changes(at)):
                found.append(at)
            at = self.commits.get(at.parents[0]) if at.parents else None
        return found

    def changes(self, commit: Commit) -> list[Change]:
        """What a commit changed against its first parent."""
        parent = self.commits.get(commit.parents[0]) if commit.parents else None
        old = self.files(parent) if parent else {}
        new = self.files(commit)
        found: list[Change] = []
        for path in sorted(old.keys() | new.keys()):
            before, after = old.get(path), new.get(path)
            if before == after:
                continue
            status = "added" if before is None else "removed" if after is None else "modified"
            found.append(Change(path, status, before.sha if before else "", after.sha if after else ""))
        return found
