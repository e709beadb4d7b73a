"""GitHub: take a planted workflow file off every branch that has it, each by a pull request.

A branch runs the workflow files that lie on it, so a copy on an old branch is as good as one on the default branch
(reported of the build system Nx in August 2025). Merged where we may merge; elsewhere the pull request waits for a
person, and the proof with it. Paths: docs.github.com/rest/pulls/pulls, /rest/repos/contents, /rest/git/refs.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from bot.action import Action
from bot.actions.github import differs, repository_path
from bot.actions.github_planted import MOST_ROWS, NOTHING, activity, branches
from bot.errors import Forbidden, InputError, NotFound, Rejected
from bot.model import Before, Breaks, Effect, EvidenceRef, Grade, Outcome, Planted, Proof, material
from bot.world import World

GONE = ""  # the blob of a file that is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBranch:
    """The file on one branch: the blob that lies there, and the one that lay there before ('': none)."""

    branch: str
    blob: str
    wanted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBefore(Before):
    """Every branch that has the planted file."""

    branches: tuple[OnBranch, ...] = material(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOutcome(Outcome):
    """Addresses of pull requests that a person has to merge."""

    waiting: tuple[str, ...] = ()


def _base(given: Planted) -> str:
    if given.kind != "github-workflow-file" or not given.id.startswith(".github/workflows/") or ".." in given.id:
        raise InputError(f"{given.key} is not a workflow file")
    return repository_path(given.name)


def _blob(world: World, given: Planted, ref: str) -> str:
    try:
        return str(world.github.get(f"{_base(given)}/contents/{quote(given.id)}", ref=ref)["sha"])
    except NotFound:
        return GONE


def _past(world: World, given: Planted) -> dict[str, str]:
    """For each branch that moved since the planting, the commit that it stood on before; NOTHING when it is new."""
    rows = activity(world, given.name)
    if len(rows) == MOST_ROWS and _since(rows[-1], given):  # the list ends too soon: ask for each branch
        rows = [row for branch in branches(world, given.name) for row in _of(world, given, branch)]
    found: dict[str, str] = {}
    for row in rows:  # newest first: the oldest stays
        if _since(row, given) and row["ref"].startswith("refs/heads/"):
            found[row["ref"].removeprefix("refs/heads/")] = row["before"]
    return found


def _since(row: dict[str, Any], given: Planted) -> bool:
    return not given.at or datetime.fromisoformat(row["timestamp"]) >= datetime.fromisoformat(given.at)


def _of(world: World, given: Planted, branch: str) -> list[dict[str, Any]]:
    rows = activity(world, given.name, ref=branch)
    if len(rows) == MOST_ROWS and _since(rows[-1], given):
        raise InputError(
            f"{branch} of {given.name} has moved too often since {given.at} to tell what lay on it: a person must look"
        )
    return rows


def _planted(world: World, given: Planted) -> tuple[OnBranch, ...]:
    """Branches on which the file is not what it was. A branch that has not moved since has nothing planted on it."""
    default = str(world.github.get(_base(given))["default_branch"])
    tips, past = branches(world, given.name), _past(world, given)
    origin = past.get(default) or tips.get(default, "")  # what a branch that is new was made from, at the best
    found = []
    for branch in sorted(set(tips) & set(past)):
        before = origin if past[branch] == NOTHING else past[branch]
        now, was = _blob(world, given, tips[branch]), _blob(world, given, before) if before else GONE
        # Where the file is older than the planting, other changes than the planted one are somebody's work.
        if now not in (was, GONE) and (was == GONE or now == given.event):
            found.append(OnBranch(branch=branch, blob=now, wanted=was))
    return tuple(found)


def _look(world: World, given: Planted) -> FileBefore:
    found = _planted(world, given)
    on = ", ".join(each.branch for each in found) or "no branch"
    said = f"{given.id} lies on {on} of {given.name}, as it was planted"
    return FileBefore(needed=bool(found), branches=found, summary=said)


def _save(world: World, given: Planted, before: FileBefore) -> tuple[EvidenceRef, ...]:
    """The file as it lies there, each form of it once."""
    saved = []
    for blob in sorted({each.blob for each in before.branches}):
        original = _content(world, given, blob)
        text = world.scrub(original.decode(errors="replace")).encode()
        name = f"planted/{given.name}/{given.id}@{blob[:12]}"
        saved.append(world.evidence.save(name, text, hashlib.sha256(original).hexdigest()))
    return tuple(saved)


def _content(world: World, given: Planted, blob: str) -> bytes:
    return base64.b64decode(world.github.get(f"{_base(given)}/git/blobs/{blob}")["content"])


def _remove(world: World, given: Planted, before: FileBefore) -> FileOutcome:
    """Each branch by its own pull request. Called again, it goes on where it stopped."""
    changed, waiting = False, []
    for each in before.branches:
        moved, address = _by_pull(world, given, each.branch, each.wanted, f"Remove {given.id}, which was planted")
        changed |= moved
        waiting += [address] if address else []
    done = len(before.branches) - len(waiting)
    said = f"Took {given.id} off {done} branch{'es'[: 2 * (done != 1)]}"
    return FileOutcome(
        changed=changed, waiting=tuple(waiting),
        summary=said + (f"; to be merged by a person: {', '.join(waiting)}" if waiting else ""),
    )  # fmt: skip


def _by_pull(world: World, given: Planted, branch: str, wanted: str, title: str) -> tuple[bool, str]:
    """Bring the file of a branch to a blob. Returns whether anything was written, and what waits for a person."""
    base, head = _base(given), _head(given, branch, wanted)
    changed, address = False, ""
    tip = branches(world, given.name).get(branch, "")
    if tip and _blob(world, given, tip) != wanted:
        changed = _prepare(world, given, head, tip, wanted, title)
        pull, opened = _pull(world, given, head, branch, title)
        changed |= opened
        try:
            world.github.send("PUT", f"{base}/pulls/{pull['number']}/merge", {"commit_title": title})
            changed = True
        except (Forbidden, Rejected) as exc:
            if isinstance(exc, Rejected) and exc.code not in ("405", "409"):
                raise
            return changed, str(pull["html_url"])  # protected, in conflict, or not ours to merge: a person does it
    if _exists(world, base, head):
        world.github.send("DELETE", f"{base}/git/refs/heads/{head}")
        changed = True
    return changed, address


def _head(given: Planted, branch: str, wanted: str) -> str:
    """The same name whenever the same change is made, so that a repeat finds what it made."""
    return f"bulkhead/{hashlib.sha256(f'{branch} {given.id} {wanted}'.encode()).hexdigest()[:12]}"


def _exists(world: World, base: str, head: str) -> bool:
    try:
        world.github.get(f"{base}/git/ref/heads/{head}")
    except NotFound:
        return False
    return True


def _prepare(world: World, given: Planted, head: str, tip: str, wanted: str, message: str) -> bool:
    """A branch of ours from the tip, with the file as it should be."""
    base, changed = _base(given), False
    if not _exists(world, base, head):
        world.github.send("POST", f"{base}/git/refs", {"ref": f"refs/heads/{head}", "sha": tip})
        changed = True
    now = _blob(world, given, head)
    if now == wanted:
        return changed
    body: dict[str, Any] = {"message": message, "branch": head, **({"sha": now} if now else {})}
    path = f"{base}/contents/{quote(given.id)}"
    if wanted == GONE:
        world.github.send("DELETE", path, body)
    else:
        content = base64.b64encode(_content(world, given, wanted)).decode()
        world.github.send("PUT", path, body | {"content": content})
    return True


def _pull(world: World, given: Planted, head: str, branch: str, title: str) -> tuple[dict[str, Any], bool]:
    base = _base(given)
    owner = given.name.partition("/")[0]
    found = world.github.get(f"{base}/pulls", head=f"{owner}:{head}", base=branch, state="open")
    if found:
        return found[0], False
    said = "A stolen token pushed this file. Opened by Bulkhead; the file is kept as evidence."
    made = world.github.send("POST", f"{base}/pulls", {"title": title, "head": head, "base": branch, "body": said})
    return made.data, True


def _prove(world: World, given: Planted, _before: FileBefore, outcome: FileOutcome) -> Proof:
    left = _planted(world, given)
    if not left:
        return Proof.proven(Grade.STATE, f"{given.id} lies on no branch of {given.name} as it was planted")
    said = f"{given.id} still lies on {', '.join(each.branch for each in left)} of {given.name}"
    if outcome.waiting:
        return Proof.not_yet(f"{said}; to be merged: {', '.join(outcome.waiting)}", retry_after=30.0)
    return Proof.refuted(said)


def _undo(world: World, given: Planted, before: FileBefore, _outcome: FileOutcome) -> Outcome:
    """The file as it lay there, by pull requests again. Refused where the branch has another content by now."""
    tips, changed = branches(world, given.name), False
    for each in before.branches:
        now = _blob(world, given, tips[each.branch]) if each.branch in tips else "no such branch"
        if now not in (each.wanted, each.blob):
            raise differs(f"{given.id} on {each.branch}", {"blob": each.wanted}, {"blob": now})
    for each in before.branches:
        moved, address = _by_pull(world, given, each.branch, each.blob, f"Restore {given.id}")
        changed |= moved
        if address:
            raise Forbidden(f"a person has to merge {address}", provider="github", permission="contents:write")
    return Outcome(changed=changed, summary=f"{given.id} is as it was" if changed else "Nothing was to be restored")


def _breaks(before: FileBefore) -> Breaks:
    return Breaks(stops=tuple(f"The workflow no longer runs from {each.branch}" for each in before.branches))


remove_planted_workflow = Action(
    name="github.remove_planted_workflow", title="Remove a planted workflow from every branch", inputs=Planted,
    before=FileBefore, outcome=FileOutcome, effect=Effect.CHANGE, look=_look, run=_remove, prove=_prove,
    breaks=_breaks, undo=_undo, evidence=_save, kills=lambda given: given.key, proof_deadline=8 * 3600.0,
    permissions=("contents:write", "workflows:write", "pull_requests:write"),
)  # fmt: skip
