"""GitHub: runs of a workflow and their logs.

Secrets are read when a run is queued, so a run that waits still holds the old ones after they were changed: cancel
it too (docs.github.com/actions/reference/security/secrets). A step under ``if: always()`` outlives a cancel, not a
force-cancel (docs.github.com/actions/reference/workflows-and-actions/workflow-cancellation).
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.action import Action
from bot.actions.github import cuts_own, find_workflow, last_run, own_warning, repository_path
from bot.actions.github_secrets import folder, readers_of, shown
from bot.errors import Conflict, NotFound, Rejected
from bot.model import (
    Before,
    Breaks,
    Effect,
    EvidenceRef,
    Grade,
    Outcome,
    Proof,
    RunRef,
    SecretStore,
    WorkflowRef,
    material,
)
from bot.workflow import tokens_of
from bot.world import World

ALIVE = ("in_progress", "queued", "requested", "waiting", "pending", "action_required")
GRACE = timedelta(seconds=15)  # what a job gets between its signals: 7.5 s, then 2.5 s; and a little
POLL_S = 0.25
MEMBER_LIMIT = 256 * 1024 * 1024  # of one file in a log archive; what is longer is cut and says so


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsBefore(Before):
    """The runs that were not final, in words. They come and go, so they do not void an approval."""

    runs: tuple[int, ...] = ()
    shown: tuple[str, ...] = ()
    workflow_id: int = material()


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOutcome(Outcome):
    """Which runs were told to stop, and which did not obey and were forced."""

    cancelled: tuple[int, ...] = ()
    forced: tuple[int, ...] = ()


def _alive(world: World, repository: str, workflow_id: int) -> dict[int, dict[str, Any]]:
    path = f"{repository_path(repository)}/actions/workflows/{workflow_id}/runs"
    found = (run for status in ALIVE for run in world.github.pages(path, "workflow_runs", status=status))
    # A run can move from one status to the next between two lists: what has ended meanwhile is not alive.
    return {run["id"]: run for run in found if run["status"] != "completed"}


def _look_cancel(world: World, given: WorkflowRef) -> RunsBefore:
    workflow = find_workflow(world, given)
    runs = _alive(world, given.repository, workflow["id"])
    return RunsBefore(
        needed=bool(runs), runs=tuple(sorted(runs)), workflow_id=workflow["id"],
        shown=tuple(last_run(runs[each]) for each in sorted(runs)), cuts_own=cuts_own(world, given.repository),
        summary=f"{len(runs)} of {workflow['name']}'s runs in {given.repository} are not final",
    )  # fmt: skip


def _save_runs(world: World, given: WorkflowRef, before: RunsBefore) -> tuple[EvidenceRef, ...]:
    """Run and jobs of every attempt; a cancel rewrites their status and times."""
    saved = []
    for run in sorted(_alive(world, given.repository, before.workflow_id)):
        saved += _save_record(world, given.repository, run)
    return tuple(saved)


def _save_record(world: World, repository: str, run_id: int) -> list[EvidenceRef]:
    path = f"{repository_path(repository)}/actions/runs/{run_id}"
    record = {"run": world.github.get(path), "jobs": list(world.github.pages(f"{path}/jobs", "jobs", filter="all"))}
    text = json.dumps(record, indent=1, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return [world.evidence.save(f"runs/{run_id}/run.json", world.scrub(text).encode(), digest)]


def _cancel(world: World, given: WorkflowRef, before: RunsBefore) -> CancelOutcome:
    """Cancel what is alive, wait a little, force what does not obey. Runs that start meanwhile are met as well."""
    cancelled: set[int] = set()
    forced: set[int] = set()
    until, polls = world.now() + GRACE, int(GRACE.total_seconds() / POLL_S)
    while alive := _alive(world, given.repository, before.workflow_id):
        polls -= 1  # also counted, since the range's clock may stand still or go back
        late = polls <= 0 or world.now() >= until
        if late and forced >= set(alive):
            break  # all were forced and are ending: the proof waits for them
        for run in alive:
            if run not in cancelled:
                _stop(world, given.repository, run, "cancel")
                cancelled.add(run)
            elif late and run not in forced:
                _stop(world, given.repository, run, "force-cancel")
                forced.add(run)
        if not late:
            time.sleep(POLL_S)
    several = "s" if len(cancelled) > 1 else ""
    said = f"Cancelled {len(cancelled)} run{several}" + (f", {len(forced)} of them by force" if forced else "")
    return CancelOutcome(
        changed=bool(cancelled), summary=said if cancelled else "Nothing is running",
        cancelled=tuple(sorted(cancelled)), forced=tuple(sorted(forced)),
    )  # fmt: skip


def _stop(world: World, repository: str, run_id: int, verb: str) -> None:
    try:
        world.github.send("POST", f"{repository_path(repository)}/actions/runs/{run_id}/{verb}")
    except Rejected as exc:
        if exc.code != "409":  # 409: it has ended by itself, or is being cancelled; the next list tells which
            raise
    except NotFound:
        pass  # somebody deleted the run


def _prove_cancelled(world: World, given: WorkflowRef, before: RunsBefore, outcome: CancelOutcome) -> Proof:
    alive = _alive(world, given.repository, find_workflow(world, given)["id"])
    if new := sorted(set(alive) - {*before.runs, *outcome.cancelled}):
        return Proof.refuted(f"these runs have started since: {new}")
    if alive:
        return Proof.not_yet(f"still ending: {sorted(alive)}")
    return Proof.proven(Grade.STATE, "GitHub's record says that every run of the workflow is completed")


def _breaks_cancel(before: RunsBefore) -> Breaks:
    return Breaks(stops=(*(f"{each} is stopped midway" for each in before.shown), *own_warning(before)))


cancel_runs = Action(
    name="github.cancel_runs", title="Cancel the runs of a workflow", inputs=WorkflowRef, before=RunsBefore,
    outcome=CancelOutcome, effect=Effect.CONTAIN, look=_look_cancel, run=_cancel, prove=_prove_cancelled,
    breaks=_breaks_cancel, evidence=_save_runs,
    undo_none="A cancelled run does not go on; start it again when its cause is gone",
    kills=lambda given: tokens_of(given.repository, given.workflow),
    ends=lambda given: ("github-token", tokens_of(given.repository, given.workflow)),
    permissions=("actions:write",),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsBefore(Before):
    """Which attempts of the run still have logs."""

    attempts: tuple[int, ...] = material()
    status: str = ""  # logs can be deleted once it is completed
    run: str = ""


def _attempts(world: World, given: RunRef, run: dict[str, Any]) -> tuple[int, ...]:
    base = f"{repository_path(given.repository)}/actions/runs/{given.run_id}/attempts"
    found = []
    for attempt in range(1, int(run.get("run_attempt") or 1) + 1):
        try:
            world.github.get(f"{base}/{attempt}/logs")  # 302 when there; the link is not followed
        except NotFound:  # 404, 410
            continue
        found.append(attempt)
    return tuple(found)


def _run_of(world: World, given: RunRef) -> dict[str, Any]:
    found: dict[str, Any] = world.github.get(f"{repository_path(given.repository)}/actions/runs/{given.run_id}")
    return found


def _look_logs(world: World, given: RunRef) -> LogsBefore:
    run = _run_of(world, given)
    attempts = _attempts(world, given, run)
    # Whether a run under way has logs yet is not certain; when it has ended it will have.
    needed = bool(attempts) or run["status"] != "completed"
    have = "1 attempt has" if len(attempts) == 1 else f"{len(attempts)} attempts have"
    return LogsBefore(
        needed=needed, attempts=attempts, status=run["status"], run=last_run(run),
        summary=f"{have} logs of run {given.run_id} of {given.repository}; {run['status']}",
    )  # fmt: skip


def _completed(world: World, given: RunRef) -> dict[str, Any]:
    run = _run_of(world, given)
    if run["status"] != "completed":
        raise Conflict(
            f"run {given.run_id} is still {run['status']} and its logs are not complete: cancel it first",
            {"status": ("completed", run["status"])},
        )
    return run


def _save_logs(world: World, given: RunRef, _before: LogsBefore) -> tuple[EvidenceRef, ...]:
    """The archive of every attempt, each file scrubbed, with the SHA-256 of the original archive.

    Raises Conflict while the run is not completed.
    """
    run = _completed(world, given)
    base = f"{repository_path(given.repository)}/actions/runs/{given.run_id}/attempts"
    saved = _save_record(world, given.repository, given.run_id)
    for attempt in _attempts(world, given, run):
        original = world.github.download(f"{base}/{attempt}/logs")
        digest = hashlib.sha256(original).hexdigest()
        name = f"runs/{given.run_id}/attempt-{attempt}-logs.zip"
        try:
            scrubbed = _scrubbed(world, original)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError):  # damaged, or packed or locked unlike GitHub's
            said = f"the log of attempt {attempt} of run {given.run_id} is no zip that can be read, so it was not saved"
            raise Rejected(said, provider="github") from None
        saved.append(world.evidence.save(name, scrubbed, digest))
    return tuple(saved)


def _scrubbed(world: World, archive: bytes) -> bytes:
    """The same archive with every file scrubbed. The same input gives the same bytes, so saving twice saves once."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            if member.is_dir():
                continue
            with old.open(member) as file:
                text = file.read(MEMBER_LIMIT).decode("utf-8", errors="replace")
                cut = "\n[cut here by Bulkhead: the original is longer]\n" if file.read(1) else ""
            info = zipfile.ZipInfo(world.scrub(member.filename))  # the zip epoch as its date
            info.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(info, world.scrub(text) + cut)
    return out.getvalue()


def _delete_logs(world: World, given: RunRef, before: LogsBefore) -> Outcome:
    """Delete all logs of a completed run. Raises Conflict while it is not completed."""
    if not before.needed:  # then no evidence was saved either
        return Outcome(changed=False, summary=f"Run {given.run_id} had no logs")
    run = _completed(world, given)
    if not _attempts(world, given, run):
        return Outcome(changed=False, summary=f"Run {given.run_id} has no logs")
    try:
        world.github.send("DELETE", f"{repository_path(given.repository)}/actions/runs/{given.run_id}/logs")
    except NotFound:
        return Outcome(changed=False, summary=f"The logs of run {given.run_id} went meanwhile")
    return Outcome(changed=True, summary=f"Deleted the logs of run {given.run_id}")


def _prove_logs(world: World, given: RunRef, _before: LogsBefore, _outcome: Outcome) -> Proof:
    """404 or 410 for every attempt, while the run itself can be read: else 404 could mean that we may not see it."""
    try:
        run = _run_of(world, given)
    except NotFound:
        world.github.get(repository_path(given.repository))  # its NotFound: we do not see the repository any more
        return Proof.proven(Grade.STATE, f"run {given.run_id} itself is gone")
    if left := _attempts(world, given, run):
        return Proof.refuted(f"logs of attempts {list(left)} can still be fetched")
    return Proof.proven(Grade.STATE, f"GitHub has no logs of run {given.run_id} any more")


def _breaks_logs(before: LogsBefore) -> Breaks:
    return Breaks(stops=(f"Nobody can read the log of {before.run} on GitHub any more",) if before.needed else ())


delete_run_logs = Action(
    name="github.delete_run_logs", title="Delete the logs of a run", inputs=RunRef, before=LogsBefore,
    outcome=Outcome, effect=Effect.DESTROY, look=_look_logs, run=_delete_logs, prove=_prove_logs,
    breaks=_breaks_logs, evidence=_save_logs,
    undo_none="GitHub cannot bring logs back; a scrubbed copy is in the evidence room",
    permissions=("actions:write",),
)  # fmt: skip


# Wait for a run that works with a secret's new value


@dataclass(frozen=True, slots=True, kw_only=True)
class GreenIn:
    """A secret that has a new value."""

    store: SecretStore


@dataclass(frozen=True, slots=True, kw_only=True)
class GreenBefore(Before):
    """Workflows that read it and are not disabled."""

    workflows: tuple[str, ...] = material(default=())


def _look_green(world: World, given: GreenIn) -> GreenBefore:
    names, _known = readers_of(world, given.store)
    active = tuple(
        name for name in names
        if find_workflow(world, WorkflowRef(repository=given.store.repository, workflow=name))["state"] == "active"
    )  # fmt: skip
    said = f"{', '.join(active)} read" if active else "no workflow that is active reads"
    return GreenBefore(needed=bool(active), workflows=active, summary=f"{said} {shown(given.store)}")


def _wait_green(_world: World, _given: GreenIn, before: GreenBefore) -> Outcome:
    return Outcome(changed=False, summary=before.summary)


def _prove_green(world: World, given: GreenIn, before: GreenBefore, _outcome: Outcome) -> Proof:
    """The latest run that was queued after the secret was written: a run gets the value of when it is queued."""
    if not before.needed:
        return Proof.proven(Grade.STATE, f"there is nothing to wait for: {before.summary}")
    written = world.github.get(f"{folder(given.store)}/{given.store.name}")["updated_at"]
    runs = [
        run for name in before.workflows
        for run in _after(world, WorkflowRef(repository=given.store.repository, workflow=name), written)
    ]  # fmt: skip
    if not runs:
        return Proof.not_yet(f"no run has begun since {shown(given.store)} was written")
    latest = max(runs, key=lambda run: (run["created_at"], run["id"]))
    if latest["status"] != "completed":
        return Proof.not_yet(f"{last_run(latest)} goes on")
    if latest["conclusion"] != "success":
        return Proof.refuted(f"with the new value {last_run(latest)}")
    return Proof.proven(Grade.STATE, f"it works with the new value: {last_run(latest)}")


def _after(world: World, ref: WorkflowRef, moment: str) -> list[dict[str, Any]]:
    path = f"{repository_path(ref.repository)}/actions/workflows/{find_workflow(world, ref)['id']}/runs"
    runs = world.github.get(path, per_page=100)["workflow_runs"]
    return [run for run in runs if datetime.fromisoformat(run["created_at"]) >= datetime.fromisoformat(moment)]


await_green_run = Action(
    name="github.await_green_run", title="Wait for a run that works with the new value", inputs=GreenIn,
    before=GreenBefore, outcome=Outcome, effect=Effect.READ, look=_look_green, run=_wait_green, prove=_prove_green,
    proof_deadline=3600.0, permissions=("actions:read", "contents:read", "secrets:read"),
)  # fmt: skip
