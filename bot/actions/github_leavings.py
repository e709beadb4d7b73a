"""GitHub: what runs leave behind for later runs and readers. Delete caches and artifacts; refuse waiting deployments.

A run of ``pull_request_target`` (or of an event like it) writes caches that every later run of the default branch
restores, a release too: so a stranger's code waits there for the next release (TanStack, May 2026; Ultralytics,
December 2024). Which cache is poisoned nobody can tell: none can be downloaded, and what restores one saves it anew. So
all go.
Paths: docs.github.com/rest/actions/cache, /rest/actions/artifacts, /rest/actions/workflow-runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.action import Action
from bot.actions.github import cuts_own, find_workflow, last_run, own_warning, repository_path
from bot.errors import NotFound
from bot.model import Before, Breaks, Effect, EvidenceRef, Grade, Outcome, Proof, RunRef, WorkflowRef, material
from bot.world import World

# Events whose runs work with code of strangers in the trust of the default branch.
STRANGERS = ("pull_request_target", "issue_comment", "workflow_run")
KEPT = timedelta(days=90)
_SECOND = timedelta(seconds=1)  # GitHub's times have no fractions
MOST_SHOWN = 20


def _saved(world: World, name: str, record: Any) -> tuple[EvidenceRef, ...]:
    text = world.scrub(json.dumps(record, indent=1, sort_keys=True)).encode()
    return (world.evidence.save(name, text, hashlib.sha256(text).hexdigest()),)


# Caches


@dataclass(frozen=True, slots=True, kw_only=True)
class CachesIn:
    """A repository, and since when strangers' code may have run in it; '' is as long as GitHub keeps runs.

    ``always``: whether all caches go, also when no such run was under way when one was written.
    """

    repository: str
    since: str = ""
    always: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """One cache, as GitHub lists it."""

    id: int
    key: str
    ref: str
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CachesBefore(Before):
    """Every cache of the repository, and in words those that were written while strangers' code ran."""

    caches: tuple[Cache, ...] = ()
    suspected: tuple[str, ...] = material(default=())


def _caches(world: World, given: CachesIn) -> list[Cache]:
    rows = world.github.pages(f"{repository_path(given.repository)}/actions/caches", "actions_caches")
    return [Cache(id=int(r["id"]), key=str(r["key"]), ref=str(r["ref"]), created_at=str(r["created_at"])) for r in rows]


def _strange_runs(world: World, given: CachesIn) -> Iterator[dict[str, Any]]:
    since = max(datetime.fromisoformat(given.since) if given.since else world.now() - KEPT, world.now() - KEPT)
    path = f"{repository_path(given.repository)}/actions/runs"
    for event in STRANGERS:
        yield from world.github.pages(path, "workflow_runs", event=event, created=f">={since:%Y-%m-%dT%H:%M:%SZ}")


def _suspected(world: World, given: CachesIn, caches: list[Cache]) -> tuple[str, ...]:
    """In words, each cache that was written while a run of a stranger's event went on."""
    spans = [
        (datetime.fromisoformat(run["created_at"]), datetime.fromisoformat(run["updated_at"]) + _SECOND, run)
        for run in (_strange_runs(world, given) if caches else ())
    ]  # fmt: skip
    return tuple(
        f"{cache.key} of {cache.ref}, written during {last_run(run)}" for cache in caches
        for start, end, run in spans if start <= datetime.fromisoformat(cache.created_at) <= end
    )  # fmt: skip


def _look_caches(world: World, given: CachesIn) -> CachesBefore:
    found = _caches(world, given)
    suspected = _suspected(world, given, found)
    said = f"{given.repository} has {len(found)} cache{'s'[: len(found) != 1]}"
    return CachesBefore(
        needed=bool(found) and (bool(suspected) or given.always), caches=tuple(found), suspected=suspected,
        summary=f"{said}, {len(suspected)} written while a stranger's code could run",
    )  # fmt: skip


def _save_caches(world: World, given: CachesIn, before: CachesBefore) -> tuple[EvidenceRef, ...]:
    record = {"caches": [asdict(cache) for cache in before.caches], "suspected": before.suspected}
    return _saved(world, f"caches/{given.repository}.json", record)


def _delete_caches(world: World, given: CachesIn, before: CachesBefore) -> Outcome:
    """All of them, those too that were written since the look."""
    if not before.needed:  # then no evidence was saved either
        return Outcome(changed=False, summary="No cache was written while a stranger's code could run")
    found = _caches(world, given)
    for cache in found:
        with contextlib.suppress(NotFound):  # GitHub threw it out meanwhile
            world.github.send("DELETE", f"{repository_path(given.repository)}/actions/caches/{cache.id}")
    return Outcome(changed=bool(found), summary=f"Deleted {len(found)} caches of {given.repository}")


def _prove_caches(world: World, given: CachesIn, before: CachesBefore, _outcome: Outcome) -> Proof:
    """None of the old ones is there, and none was written by a stranger's run since. Others may build theirs anew."""
    if not before.needed:
        return Proof.proven(Grade.STATE, f"there was nothing to delete: {before.summary}")
    now, old = _caches(world, given), {cache.id for cache in before.caches}
    if left := [cache.key for cache in now if cache.id in old]:
        return Proof.refuted(f"GitHub still lists {', '.join(left[:MOST_SHOWN])}")
    if new := _suspected(world, given, now):
        return Proof.refuted(f"since then: {', '.join(new[:MOST_SHOWN])}")
    return Proof.proven(Grade.STATE, f"GitHub lists none of the {len(before.caches)} caches any more")


def _breaks_caches(before: CachesBefore) -> Breaks:
    return Breaks(stops=("The next run of each job builds without a cache",) if before.needed else ())


delete_caches = Action(
    name="github.delete_caches", title="Delete every cache of a repository", inputs=CachesIn, before=CachesBefore,
    outcome=Outcome, effect=Effect.DESTROY, look=_look_caches, run=_delete_caches, prove=_prove_caches,
    breaks=_breaks_caches, evidence=_save_caches, undo_none="A cache is built again by the next run",
    permissions=("actions:write",),
)  # fmt: skip


# Artifacts of a run


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactsBefore(Before):
    """The artifacts of the run: number and name."""

    artifacts: dict[str, str] = material(default_factory=dict)  # noqa: RUF009 - a field with metadata


def _artifacts(world: World, given: RunRef) -> dict[str, str]:
    path = f"{repository_path(given.repository)}/actions/runs/{given.run_id}/artifacts"
    return {str(row["id"]): str(row["name"]) for row in world.github.pages(path, "artifacts") if not row["expired"]}


def _look_artifacts(world: World, given: RunRef) -> ArtifactsBefore:
    found = _artifacts(world, given)
    said = f"Run {given.run_id} of {given.repository} has {len(found)} artifact{'s'[: len(found) != 1]}"
    return ArtifactsBefore(needed=bool(found), artifacts=found, summary=said)


def _save_artifacts(world: World, given: RunRef, before: ArtifactsBefore) -> tuple[EvidenceRef, ...]:
    """Their records; what is in them may be the very secret, and can be of any size."""
    base = f"{repository_path(given.repository)}/actions/artifacts"
    record = [world.github.get(f"{base}/{number}") for number in before.artifacts]
    return _saved(world, f"runs/{given.run_id}/artifacts.json", record)


def _delete_artifacts(world: World, given: RunRef, before: ArtifactsBefore) -> Outcome:
    if not before.needed:
        return Outcome(changed=False, summary=f"Run {given.run_id} had no artifacts")
    found = _artifacts(world, given)
    for number in found:
        with contextlib.suppress(NotFound):  # it went meanwhile
            world.github.send("DELETE", f"{repository_path(given.repository)}/actions/artifacts/{number}")
    return Outcome(changed=bool(found), summary=f"Deleted {len(found)} artifacts of run {given.run_id}")


def _prove_artifacts(world: World, given: RunRef, _before: ArtifactsBefore, _outcome: Outcome) -> Proof:
    try:
        left = _artifacts(world, given)
    except NotFound:
        world.github.get(repository_path(given.repository))  # its NotFound: we do not see the repository any more
        return Proof.proven(Grade.STATE, f"run {given.run_id} itself is gone")
    if left:
        return Proof.refuted(f"GitHub still lists {', '.join(left.values())}")
    return Proof.proven(Grade.STATE, f"GitHub lists no artifact of run {given.run_id} any more")


def _breaks_artifacts(before: ArtifactsBefore) -> Breaks:
    return Breaks(stops=tuple(f"Whatever downloads the artifact {name}" for name in before.artifacts.values()))


delete_artifacts = Action(
    name="github.delete_artifacts", title="Delete the artifacts of a run", inputs=RunRef, before=ArtifactsBefore,
    outcome=Outcome, effect=Effect.DESTROY, look=_look_artifacts, run=_delete_artifacts, prove=_prove_artifacts,
    breaks=_breaks_artifacts, evidence=_save_artifacts,
    undo_none="GitHub cannot bring artifacts back; their records are in the evidence room",
    permissions=("actions:write",),
)  # fmt: skip


# Deployments that wait for a reviewer


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingBefore(Before):
    """Runs of the workflow that wait for reviewers: the run, and the environments in words."""

    waiting: dict[str, str] = material(default_factory=dict)  # noqa: RUF009 - a field with metadata


def _waiting(world: World, given: WorkflowRef) -> dict[str, list[dict[str, Any]]]:
    base = repository_path(given.repository)
    path = f"{base}/actions/workflows/{find_workflow(world, given)['id']}/runs"
    runs = [str(run["id"]) for run in world.github.pages(path, "workflow_runs", status="waiting")]
    found = {run: world.github.get(f"{base}/actions/runs/{run}/pending_deployments") for run in runs}
    return {run: rows for run, rows in found.items() if rows}


def _look_pending(world: World, given: WorkflowRef) -> PendingBefore:
    found = {
        run: ", ".join(str(row["environment"]["name"]) for row in rows) for run, rows in _waiting(world, given).items()
    }
    said = f"{len(found)} run{'s'[: len(found) != 1]} of {given.workflow} wait for a reviewer"
    return PendingBefore(
        needed=bool(found), waiting=found, cuts_own=cuts_own(world, given.repository),
        summary=said + "".join(f"; run {run} for {names}" for run, names in found.items()),
    )  # fmt: skip


def _reject(world: World, given: WorkflowRef, _before: PendingBefore) -> Outcome:
    """Raises Forbidden for an App, Rejected (422) for a user who is no reviewer of the environment."""
    found = _waiting(world, given)
    for run, rows in found.items():
        body = {
            "environment_ids": [row["environment"]["id"] for row in rows], "state": "rejected",
            "comment": "Rejected by Bulkhead: a stolen credential has pushed this workflow.",
        }  # fmt: skip
        path = f"{repository_path(given.repository)}/actions/runs/{run}/pending_deployments"
        world.github.send("POST", path, body)
    said = f"Rejected the deployments of {len(found)} run{'s'[: len(found) != 1]}"
    return Outcome(changed=bool(found), summary=said if found else "Nothing waits for a reviewer")


def _prove_rejected(world: World, given: WorkflowRef, before: PendingBefore, _outcome: Outcome) -> Proof:
    base = repository_path(given.repository)
    for run in before.waiting:
        if world.github.get(f"{base}/actions/runs/{run}/pending_deployments"):
            return Proof.refuted(f"run {run} still waits for a reviewer")
    if _waiting(world, given):
        return Proof.refuted("another run waits for a reviewer")
    return Proof.proven(Grade.STATE, f"GitHub's record shows no run of {given.workflow} that waits for a reviewer")


def _breaks_pending(before: PendingBefore) -> Breaks:
    stops = tuple(f"Run {run} fails instead of deploying to {names}" for run, names in before.waiting.items())
    return Breaks(stops=(*stops, *own_warning(before)) if before.needed else ())


reject_deployments = Action(
    name="github.reject_deployments", title="Reject the deployments of a workflow that wait for a reviewer",
    inputs=WorkflowRef, before=PendingBefore, outcome=Outcome, effect=Effect.CONTAIN, look=_look_pending, run=_reject,
    prove=_prove_rejected, breaks=_breaks_pending, undo_none="The run has failed; it can be run again",
    permissions=("deployments:write", "actions:read", "a user who is a reviewer: GitHub lets no App answer"),
)  # fmt: skip
