"""GitHub: find what a stolen token planted. What takes it away: ``github_keys``, ``github_files``, ``github_access``.

What is looked for is what stolen tokens have been seen to do (reported of GhostAction, September 2025, and of the npm
worms of the same autumn): deploy keys that outlive the token, workflows that send secrets away on every branch that
runs them, collaborators, webhooks and self-hosted runners. Who did it is told by the activity of each repository and by
the key's own record; an author's name in a commit tells nothing, since anybody can write it.
Paths: docs.github.com/rest/deploy-keys, /rest/repos/repos ("List repository activities"), /rest/repos/webhooks.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from bot import workflow
from bot.action import Action
from bot.actions.github import repository_path
from bot.actions.github_access import COLLABORATOR, RUNNER
from bot.errors import Forbidden, InputError, NotFound, Rejected
from bot.model import Before, Effect, Grade, Outcome, Planted, Proof, WorkflowRef
from bot.world import World

FOLDER = ".github/workflows"
NOTHING = "0" * 40
KEPT = timedelta(days=90)
MOST_REPOSITORIES, MOST_ROWS = 200, 100
_AT_GITHUB = "what was made in the account itself (tokens, SSH and GPG keys, authorised Apps) only its owner can see"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchIn:
    """Whose token it was, one repository of the account that is searched, and the first moment of its exposure."""

    owner: str
    repository: str
    since: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchBefore(Before):
    """Where is searched, from when."""

    since: str
    repositories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedAtGitHub(Outcome):
    """What was planted and is still there. ``planted`` is all of it; ``keys``, ``files``, ``people`` (whom the account
    has invited) and ``runners`` are parts of that.

    ``workflows``: planted files that GitHub knows as workflows. ``question`` asks about the files, when ``pushed``.
    ``others`` are changes that only a person can judge; ``unknown`` says in sentences what could not be seen.
    """

    planted: tuple[Planted, ...] = ()
    keys: tuple[Planted, ...] = ()
    files: tuple[Planted, ...] = ()
    people: tuple[Planted, ...] = ()
    runners: tuple[Planted, ...] = ()
    workflows: tuple[WorkflowRef, ...] = ()
    pushed: bool = False
    question: str = ""
    others: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def _when(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _look(world: World, given: SearchIn) -> SearchBefore:
    if not given.owner:
        raise InputError("whose token it was is not known, so what it did cannot be told from what others did")
    repository_path(given.repository)
    since = max(_when(given.since) if given.since else world.now() - KEPT, world.now() - KEPT)
    found = _repositories(world, given.repository)
    return SearchBefore(
        since=since.replace(microsecond=0).isoformat(), repositories=found,
        summary=f"What {given.owner} did in {len(found)} repositories since {since:%Y-%m-%d %H:%M} UTC",
    )  # fmt: skip


def _repositories(world: World, repository: str) -> tuple[str, ...]:
    """Every repository of the same owner that we see; of a person's account only the one that is named."""
    owner = repository.partition("/")[0]
    try:
        rows = [row["full_name"] for row in world.github.pages(f"/orgs/{owner}/repos")]
    except NotFound:
        rows = []
    return tuple(dict.fromkeys([repository, *rows]))[:MOST_REPOSITORIES]


@dataclass(slots=True)
class _Search:
    """One search under way."""

    world: World
    owner: str
    since: datetime
    planted: dict[str, Planted] = field(default_factory=dict)
    workflows: list[WorkflowRef] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # of each file: where it lies
    others: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def repository(self, name: str) -> None:
        """Search one repository. What may not be seen is a sentence that names what is missing.

        A provider that is away in one part fails the search: what it hides would live on under a proof.
        """
        for what, search in (
            ("deploy keys", self._keys), ("pushes", self._files), ("webhooks", self._hooks),
            ("invitations", self._invitations), ("runners", self._runners),
        ):  # fmt: skip
            try:
                search(name)
            except (Forbidden, NotFound, Rejected) as exc:
                self.unknown.append(f"The {what} of {name} could not be read: {exc}")

    def _fresh(self, at: str | None) -> bool:
        return bool(at) and _when(str(at)) >= self.since

    def _keys(self, name: str) -> None:
        for key in self.world.github.pages(f"{repository_path(name)}/keys"):
            if not self._fresh(key.get("created_at")):
                continue
            if (key.get("added_by") or self.owner).lower() == self.owner.lower():  # not told: taken to be planted
                self._add(Planted(
                    kind="github-deploy-key", name=name, id=str(key["id"]), at=key["created_at"],
                    event=str(key.get("title") or ""),
                ))  # fmt: skip
            else:
                self.others.append(f"deploy key {key['title']!r} of {name}, added by {key['added_by']}")

    def _add(self, planted: Planted) -> None:
        self.planted.setdefault(planted.key, planted)

    def _files(self, name: str) -> None:
        """Workflow files that stand on a branch since a push of this account, and stood on none before."""
        base = repository_path(name)
        rows = activity(self.world, name, actor=self.owner)
        pushes = [row for row in rows if self._fresh(row["timestamp"]) and row["ref"].startswith("refs/heads/")]
        if len(rows) == MOST_ROWS and len(pushes) == MOST_ROWS:
            self.unknown.append(f"Only the latest {MOST_ROWS} pushes of {self.owner} to {name} were read")
        first: dict[str, dict[str, Any]] = {}
        for row in reversed(pushes):  # oldest first
            first.setdefault(row["ref"], row)
        if not first:
            return
        tips = branches(self.world, name)
        default = str(self.world.github.get(base)["default_branch"])
        past = {row["before"] for row in first.values() if row["before"] != NOTHING}
        if f"refs/heads/{default}" not in first:
            past.add(tips[default])
        known = {file for commit in sorted(past) for file in workflow_files(self.world, name, commit).items()}
        where: dict[str, list[str]] = {}
        for ref, row in sorted(first.items()):
            branch = ref.removeprefix("refs/heads/")
            if branch not in tips:
                continue
            for path, blob in workflow_files(self.world, name, tips[branch]).items():
                if (path, blob) not in known:
                    where.setdefault(path, []).append(branch)
                    at = min(row["timestamp"] for row in first.values())
                    self._add(Planted(kind="github-workflow-file", name=name, id=path, at=at, event=blob))
        for path, on in where.items():
            self.said.append(f"{path} on {', '.join(on)} of {name}")
            self._runs(name, path)

    def _runs(self, name: str, path: str) -> None:
        """Where GitHub knows the file as a workflow; and the secrets that it could read, if it has run."""
        base = f"{repository_path(name)}/actions/workflows/{quote(path.rpartition('/')[2], safe='')}"
        try:
            self.world.github.get(base)
        except NotFound:
            return
        self.workflows.append(WorkflowRef(repository=name, workflow=path))
        for run in self.world.github.pages(f"{base}/runs", "workflow_runs"):
            if self._fresh(run["created_at"]):
                for secret in self._read_by(name, path, str(run["head_sha"])):
                    self._add(Planted(
                        kind="github-stolen-secret", name=name, id=secret, at=run["created_at"], event=str(run["id"])
                    ))  # fmt: skip

    def _read_by(self, name: str, path: str, commit: str) -> Iterator[str]:
        """Names of the secrets that a workflow file reads at a commit."""
        text = read_file(self.world, name, path, commit)
        try:
            jobs = workflow.parse(text.decode(errors="replace"), path).jobs
        except InputError as exc:
            self.unknown.append(f"What {path} of {name} read when it ran is not known: {exc}")
            return
        for job in jobs:
            yield from (secret for secret in sorted(job.secrets) if secret != "GITHUB_TOKEN")  # noqa: S105 - a name
            if job.everything or job.inherit:
                yield from (row["name"] for row in self.world.github.pages(
                    f"{repository_path(name)}/actions/secrets", "secrets"))  # fmt: skip

    def _hooks(self, name: str) -> None:
        for hook in self.world.github.pages(f"{repository_path(name)}/hooks"):
            if self._fresh(hook.get("created_at")):
                self.others.append(f"webhook {hook['id']} of {name}; GitHub does not tell who made it")

    def _invitations(self, name: str) -> None:
        for row in self.world.github.pages(f"{repository_path(name)}/invitations"):
            if self._fresh(row.get("created_at")):
                invitee, by = row["invitee"]["login"], (row.get("inviter") or {}).get("login")
                if str(by).lower() == self.owner.lower():
                    self._add(Planted(
                        kind=COLLABORATOR, name=name, id=invitee, at=row["created_at"], event=row["permissions"]
                    ))  # fmt: skip
                else:
                    self.others.append(f"{invitee} invited to {name} ({row['permissions']}) by {by}")

    def _runners(self, name: str) -> None:
        """GitHub tells neither when a runner came nor who brought it: planted is one that no workflow asks for."""
        found = list(self.world.github.pages(f"{repository_path(name)}/actions/runners", "runners"))
        if not found:
            return
        asked = self._asks_for_runners(name)
        for row in found:
            if asked:
                self.others.append(f"self-hosted runner {row['name']!r} of {name}; {asked} asks for such runners")
            else:
                self._add(Planted(kind=RUNNER, name=name, id=str(row["id"]), event=str(row["name"])))

    def _asks_for_runners(self, name: str) -> str:
        """A workflow of the default branch, none of the planted ones, with a job for self-hosted runners; or ''."""
        default = str(self.world.github.get(repository_path(name))["default_branch"])
        planted = {p.id for p in self.planted.values() if p.name == name}
        for path in workflow_files(self.world, name, default).keys() - planted:
            text = read_file(self.world, name, path, default).decode(errors="replace")
            try:
                jobs = workflow.parse(text, path).jobs
            except InputError:
                continue
            if any(job.self_hosted for job in jobs):
                return path
        return ""


def activity(world: World, repository: str, **only: str) -> list[dict[str, Any]]:
    """The latest pushes, newest first. GitHub pages this list by cursors, so only its first page is read."""
    path = f"{repository_path(repository)}/activity"
    found: list[dict[str, Any]] = world.github.get(path, per_page=MOST_ROWS, **only)
    return found


def branches(world: World, repository: str) -> dict[str, str]:
    """Every branch and its tip."""
    found = world.github.pages(f"{repository_path(repository)}/branches")
    return {row["name"]: row["commit"]["sha"] for row in found}


def workflow_files(world: World, repository: str, commit: str) -> dict[str, str]:
    """Path and blob of every workflow file at a commit."""
    try:
        found = world.github.get(f"{repository_path(repository)}/contents/{FOLDER}", ref=commit)
    except NotFound:
        return {}
    return {row["path"]: row["sha"] for row in found if row["name"].endswith((".yml", ".yaml"))}


def read_file(world: World, repository: str, path: str, commit: str) -> bytes:
    """The bytes of a file at a commit; b'' when it is not there."""
    try:
        found = world.github.get(f"{repository_path(repository)}/contents/{quote(path)}", ref=commit)
    except NotFound:
        return b""
    return base64.b64decode(found.get("content") or "")


def _search(world: World, given: SearchIn, before: SearchBefore) -> _Search:
    search = _Search(world, given.owner, _when(before.since))
    for name in before.repositories:
        search.repository(name)
    return search


def _find(world: World, given: SearchIn, before: SearchBefore) -> PlantedAtGitHub:
    search = _search(world, given, before)
    planted = tuple(sorted(search.planted.values(), key=lambda p: (p.kind, p.at, p.key)))
    files = tuple(p for p in planted if p.kind == "github-workflow-file")
    question = f"Since {before.since} {given.owner}'s account has pushed {'; '.join(search.said)}. Are these yours?"
    several = "" if len(planted) == 1 else "s"
    return PlantedAtGitHub(
        changed=False, planted=planted, files=files, keys=tuple(p for p in planted if p.kind == "github-deploy-key"),
        people=tuple(p for p in planted if p.kind == COLLABORATOR),
        runners=tuple(p for p in planted if p.kind == RUNNER),
        workflows=tuple(search.workflows), pushed=bool(files), question=question if files else "",
        others=tuple(search.others), unknown=(*search.unknown, _AT_GITHUB),
        summary=f"{len(planted)} thing{several} planted, {len(search.others)} that a person has to judge",
    )  # fmt: skip


def _prove_found(world: World, given: SearchIn, before: SearchBefore, out: PlantedAtGitHub) -> Proof:
    late = sorted(set(_search(world, given, before).planted) - {p.key for p in out.planted})
    if late:
        return Proof.refuted(f"a second search found more: {', '.join(late)}")
    return Proof.proven(Grade.STATE, f"a second search found no more than these {len(out.planted)}")


find_planted_by_token = Action(
    name="github.find_planted_by_token", title="Find what a GitHub token planted", inputs=SearchIn,
    before=SearchBefore, outcome=PlantedAtGitHub, effect=Effect.READ, look=_look, run=_find, prove=_prove_found,
    plants=lambda out: out.planted, undo_none="it only reads",
    permissions=(
        "metadata:read", "contents:read", "actions:read", "administration:read", "webhooks:read", "secrets:read",
    ),
)  # fmt: skip
