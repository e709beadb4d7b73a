"""Runs workflow files by GitHub's rules, on the range's clock, without a shell.

What it holds to (docs.github.com/actions, "Secrets", "Automatic token authentication", "Workflow cancellation"):

- repository and organization secrets are read when a run is queued, those of an environment when its job starts;
- a run of a fork's pull request gets no secrets, a token that can only read and no id-token; one of
  ``pull_request_target`` is not by these rules: it is the base branch's file, with its secrets, and waits for nobody;
- a job of an environment with reviewers waits until one of them agrees;
- secrets are masked where they stand in the log exactly as they are; any encoding of them passes;
- GITHUB_TOKEN has the scopes of ``permissions:`` and dies with its job; the id-token endpoint is there only with
  ``id-token: write``;
- cancelling interrupts the step that runs, ``always()`` steps go on (five minutes at most), force-cancel ends all.

Nothing runs in the background: ``advance`` brings every run up to the clock's now, and the API calls it first thing
in each request. A ``sleep`` holds its job in progress until the range's clock has passed it.
"""

from __future__ import annotations

import time as machine
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from bot.range import workflow_file
from bot.range.clock import RangeClock
from bot.range.github.nouns import TARGET, Account, Job, Pull, Repo, Run, Workflow
from bot.range.issuer import OidcIssuer
from bot.range.job import JobRun, StepCancelled
from bot.range.sigstore import AUDIENCE, Sigstore
from bot.range.workflow_file import WorkflowMistake

if TYPE_CHECKING:
    from bot.range.github.state import State

CANCEL_GRACE_S = 300
JOB_LIMIT_S = 6 * 3600
WAITING = "waiting"  # for a reviewer


class Runner:
    """All runs of one range. ``aws_url`` is where ``aws`` commands of a step go; None: nowhere."""

    def __init__(
        self, clock: RangeClock, issuer: OidcIssuer, aws_url: str | None = None, sigstore: Sigstore | None = None
    ) -> None:  # fmt: skip
        self.clock, self.issuer, self.aws_url, self.sigstore = clock, issuer, aws_url, sigstore
        self.npm_url: str | None = None  # where ``npm`` commands go, once there is a registry
        self.registries: dict[str, str] = {}  # where ``twine``, ``cargo`` and ``gem`` publish
        self.hosts: dict[str, str] = {}  # where ``curl`` gets to, by host name: addresses of the range
        self._state: State | None = None
        self._active: list[Run] = []

    @property
    def state(self) -> State:
        """GitHub's state; set by ``attach``, which also forgets every run."""
        if self._state is None:
            raise RuntimeError("the runner is not attached to a GitHub")
        return self._state

    def attach(self, state: State) -> None:
        self._state, self._active = state, []

    # Queueing

    def trigger(
        self, repo: Repo, event: str, ref: str, sha: str, actor: Account, *, pull: Pull | None = None
    ) -> list[Run]:
        """Queue a run of every workflow that listens to this event, as of the commit."""
        if not repo.actions["enabled"]:
            return []
        source = pull.head_repo.git if pull and event != TARGET else repo.git
        base = repo.git.resolve(f"refs/heads/{pull.base_ref}") if pull and event == TARGET else None
        commit, made = base or source.commits[sha], []
        branch = pull.base_ref if pull else ref.removeprefix("refs/heads/")
        changed = [change.path for change in source.changes(commit)]
        for path in sorted(source.files(commit)):
            if not (path.startswith(".github/workflows/") and path.endswith((".yml", ".yaml"))):
                continue
            data = source.read(commit, path) or b""
            try:
                spec = workflow_file.parse(data)
            except WorkflowMistake:
                spec = {"on": {event: {}}, "jobs": {}, "mistake": True}
            if workflow_file.listens(spec, event, branch, changed):
                workflow = self.state.workflow(repo, path, data)
                if workflow.state == "deleted":  # of the default branch; here it is still, or again
                    workflow.state = "active"
                if workflow.state == "active":
                    at = base.sha if base else ""
                    made.append(self._queue(repo, workflow, spec, event, ref, sha, actor, pull=pull, base_sha=at))
        return made

    def dispatch(
        self, repo: Repo, workflow: Workflow, ref: str, actor: Account, inputs: dict[str, Any] | None = None
    ) -> Run:
        """Queue a ``workflow_dispatch`` run. Raises ``WorkflowMistake`` with GitHub's sentence when it cannot be."""
        commit = repo.git.resolve(ref)
        if commit is None:
            raise WorkflowMistake(f"No ref found for: {ref}")
        if workflow.state != "active" or not repo.actions["enabled"]:
            raise WorkflowMistake("Cannot trigger a 'workflow_dispatch' on a disabled workflow")
        data = repo.git.read(commit, workflow.path)
        spec = workflow_file.parse(data) if data is not None else {"on": {}}
        if "workflow_dispatch" not in spec["on"]:
            raise WorkflowMistake("Workflow does not have 'workflow_dispatch' trigger")
        given = workflow_file.inputs(spec, inputs or {})
        kind = "heads" if f"refs/heads/{ref}" in repo.git.refs else "tags"
        full = ref if ref.startswith("refs/") else f"refs/{kind}/{ref}"
        return self._queue(repo, workflow, spec, "workflow_dispatch", full, commit.sha, actor, inputs=given)

    def _queue(
        self, repo: Repo, workflow: Workflow, spec: dict[str, Any], event: str, ref: str, sha: str, actor: Account,
        *, pull: Pull | None = None, inputs: dict[str, Any] | None = None, base_sha: str = "",
    ) -> Run:  # fmt: skip
        now = self.clock.now()
        head = pull.head_repo if pull else repo
        message = head.git.commits[sha].message.splitlines()[0]
        workflow.runs += 1
        run = Run(
            id=self.state.next_run_id(), repo=repo, workflow=workflow, number=workflow.runs, event=event, ref=ref,
            head_branch=pull.head_ref if pull else ref.split("/", 2)[2], head_sha=sha, head_repo=head, actor=actor,
            triggering_actor=actor, created_at=now, updated_at=now, started_at=now, spec=spec, pull=pull,
            title=pull.title if pull else workflow.name if event == "workflow_dispatch" else message,
            inputs=inputs or {}, base_sha=base_sha,
        )  # fmt: skip
        self.state.runs[run.id] = run
        if spec.get("mistake"):
            run.status, run.conclusion = "completed", "startup_failure"
            return run
        if self._needs_approval(run):
            run.status, run.conclusion = "completed", "action_required"
            return run
        self._new_attempt(run)
        return run

    def _needs_approval(self, run: Run) -> bool:
        """Whether a maintainer must let a fork's run start (fork-pr-contributor-approval)."""
        if run.pull is None or not run.from_fork or self.state.role(run.actor, run.repo) not in ("none", "read"):
            return False
        tip = run.repo.git.resolve(run.repo.default_branch)
        contributed = tip is not None and any(c.author.login == run.actor.login for c in run.repo.git.log(tip))
        return run.repo.fork_approval == "all_external_contributors" or not contributed

    def approve(self, run: Run) -> None:
        """Let a run start that waits for a maintainer."""
        self._new_attempt(run)

    def rerun(self, run: Run, actor: Account) -> None:
        """Queue another attempt at the same commit; secrets are read again."""
        run.attempt += 1
        run.triggering_actor, run.cancelled = actor, False
        self._new_attempt(run)

    def _new_attempt(self, run: Run) -> None:
        run.status, run.conclusion = "queued", None
        run.began = machine.monotonic()
        run.started_at = run.updated_at = self.clock.now()
        run.secrets = {} if run.from_fork else self._secrets(run.repo)
        run.jobs += [
            Job(
                id=self.state.next_run_id(), key=key, name=str(spec.get("name") or key), attempt=run.attempt,
                spec=spec, created_at=run.started_at,
            )
            for key, spec in run.spec["jobs"].items()
        ]  # fmt: skip
        if run not in self._active:
            self._active.append(run)

    def _secrets(self, repo: Repo) -> dict[str, str]:
        """What a run may read when it is queued: the organization's, overruled by the repository's."""
        found = {name: secret.value for name, secret in self.state.org_secrets_for(repo).items()}
        held = self.state.secrets.get(("actions", "repository", repo.full_name), {})
        return found | {name: secret.value for name, secret in held.items()}

    # Running

    def advance(self) -> None:
        """Bring every run up to now."""
        with self.state.lock:
            for run in list(self._active):
                while self._advance_run(run):
                    pass
            self._active = [run for run in self._active if run.status != "completed"]

    def settle(self) -> None:
        """The same, by the name that tests use: afterwards only sleeping jobs are in progress."""
        self.advance()

    def _advance_run(self, run: Run) -> bool:
        moved = False
        for job in run.of_attempt(run.attempt):
            if job.status in ("queued", WAITING) and self._ready(run, job):
                moved = self._gate(run, job) or moved
            elif job.status == "in_progress":
                moved = self._wake(run, job) or moved
        jobs = run.of_attempt(run.attempt)
        if run.status != "completed" and all(job.status == "completed" for job in jobs):
            self._finish(run, jobs)
            moved = True
        return moved

    def _needed(self, run: Run, job: Job) -> list[Job]:
        names = job.spec.get("needs") or []
        wanted = {names} if isinstance(names, str) else set(names)
        return [other for other in run.of_attempt(run.attempt) if other.key in wanted]

    def _ready(self, run: Run, job: Job) -> bool:
        return all(other.status == "completed" for other in self._needed(run, job))

    def _gate(self, run: Run, job: Job) -> bool:
        """Start a job, unless its environment has reviewers and none of them has agreed. Whether anything moved."""
        name = workflow_file.environment_of(job.spec)
        environment = run.repo.environments.get(name)
        if environment and environment.reviewers and name not in run.let_in and not run.cancelled:
            moved, job.status, run.status = job.status != WAITING, WAITING, WAITING
            return moved
        self._start(run, job)
        return True

    def judge(self, run: Run, names: set[str], *, agreed: bool) -> list[Job]:
        """A reviewer's word on the jobs that wait for these environments; returns those jobs."""
        waiting = [
            job for job in run.of_attempt(run.attempt)
            if job.status == WAITING and workflow_file.environment_of(job.spec) in names
        ]  # fmt: skip
        if agreed:
            run.let_in |= names
        for job in waiting if not agreed else ():
            job.started_at = self.clock.now()
            self._end(run, job, "failure", job.started_at)
        self.advance()
        return waiting

    def _start(self, run: Run, job: Job) -> None:
        needed = self._needed(run, job)
        ends = [other.completed_at for other in needed if other.completed_at]
        job.started_at = job.cursor = max([run.started_at, *ends])
        job.kill_at = job.started_at + timedelta(seconds=60 * float(job.spec.get("timeout-minutes", 360)))
        work = JobRun(self, run, job, needed)
        if not work.wanted():
            job.status, job.completed_at = "completed", job.started_at
            job.conclusion = "cancelled" if run.cancelled else "skipped"
            return
        run.status, job.status = "in_progress", "in_progress"
        job.program, job.wake_at = work.program(), job.started_at
        self._wake(run, job)

    def _wake(self, run: Run, job: Job) -> bool:
        now = self.clock.now()
        due = min(t for t in (job.wake_at, job.kill_at) if t is not None)
        if now < due or job.program is None:
            return False
        if job.kill_at is not None and job.kill_at <= due:
            self._end(run, job, "cancelled", job.kill_at)
            return True
        job.cursor = job.wake_at
        self._step(run, job, cancel=False)
        return True

    def _step(self, run: Run, job: Job, *, cancel: bool) -> None:
        assert job.program is not None
        assert job.cursor is not None
        begun, began = job.cursor, machine.monotonic()
        ended, pause = "", 0.0
        try:
            pause = job.program.throw(StepCancelled()) if cancel else next(job.program)
        except StopIteration as end:
            ended = str(end.value)
        # On a busy machine a step takes its time: what it published must not be from after its end.
        passed = (begun + timedelta(seconds=machine.monotonic() - began),
                  run.started_at + timedelta(seconds=machine.monotonic() - run.began))  # fmt: skip
        job.cursor = max(job.cursor, *passed)
        if ended:
            self._end(run, job, ended, job.cursor)
        else:
            job.wake_at = job.cursor + timedelta(seconds=pause)

    def _end(self, run: Run, job: Job, conclusion: str, at: datetime) -> None:
        if job.program is not None:
            job.program.close()
        job.program, job.wake_at = None, None
        job.status, job.conclusion, job.completed_at = "completed", conclusion, at
        for step in job.steps:
            if step.status != "completed":
                step.status, step.completed_at = "completed", at
                step.conclusion = "cancelled" if step.started_at else "skipped"
                step.started_at = step.started_at or at
        if job.token is not None:
            job.token.revoked = True
        run.updated_at = at

    def _finish(self, run: Run, jobs: list[Job]) -> None:
        results = {job.conclusion for job in jobs}
        worst = next((c for c in ("cancelled", "failure") if c in results), None)
        run.conclusion = "cancelled" if run.cancelled else worst or ("success" if "success" in results else "skipped")
        run.status = "completed"
        run.updated_at = max([job.completed_at for job in jobs if job.completed_at], default=self.clock.now())

    # Stopping

    def cancel(self, run: Run) -> bool:
        """Interrupt every step that runs; ``always()`` goes on. False when the run is over already."""
        self.advance()
        if run.status == "completed":
            return False
        run.cancelled = True
        now = self.clock.now()
        for job in self._in_progress(run):
            limit = now + timedelta(seconds=CANCEL_GRACE_S)
            job.kill_at = min(job.kill_at or limit, limit)
            job.cursor = now
            self._step(run, job, cancel=True)
        self.advance()
        return True

    def force_cancel(self, run: Run) -> bool:
        """End everything, ``always()`` too. False when the run is over already."""
        self.advance()
        if run.status == "completed":
            return False
        run.cancelled = True
        now = self.clock.now()
        for job in run.of_attempt(run.attempt):
            if job.status != "completed":
                job.started_at = job.started_at or now
                self._end(run, job, "cancelled", now)
        self.advance()
        return True

    def _in_progress(self, run: Run) -> Iterator[Job]:
        return (job for job in run.of_attempt(run.attempt) if job.status == "in_progress" and job.program is not None)

    # The token of a job

    def attest(self, run: Run, job: Job, statement: dict[str, Any], *, intoto: bool = False) -> dict[str, Any] | None:
        """A bundle over a statement, signed as this job; None where the range has no Sigstore."""
        if self.sigstore is None:
            return None
        return self.sigstore.attest(self.id_token(run, job, AUDIENCE), statement, intoto=intoto)

    def id_token(self, run: Run, job: Job, audience: str = "") -> str:
        """An id-token with GitHub's claims for this job."""
        return self.issuer.mint(id_claims(run, job), audience or f"https://github.com/{run.repo.owner.login}")


def id_claims(run: Run, job: Job) -> dict[str, Any]:
    """The claims of a job's id-token (docs.github.com/actions/reference/security/oidc)."""
    repo, base = run.repo, run.pull.base_ref if run.pull else ""
    file = f"{repo.full_name}/{run.workflow.path}@{run.ref}"
    claims: dict[str, Any] = {
        "ref": run.ref, "sha": run.sha, "repository": repo.full_name, "repository_owner": repo.owner.login,
        "repository_owner_id": str(repo.owner.id), "run_id": str(run.id), "run_number": str(run.number),
        "run_attempt": str(run.attempt), "repository_visibility": "private" if repo.private else "public",
        "repository_id": str(repo.id), "actor_id": str(run.actor.id), "actor": run.actor.login,
        "workflow": run.workflow.name, "head_ref": run.head_branch if run.pull else "", "base_ref": base,
        "event_name": run.event, "ref_protected": "false", "workflow_ref": file, "workflow_sha": run.sha,
        "ref_type": "tag" if run.ref.startswith("refs/tags/") else "branch", "job_workflow_ref": file,
        "job_workflow_sha": run.sha, "runner_environment": "github-hosted",
    }  # fmt: skip
    if job.environment:
        claims["environment"] = job.environment
        claims["environment_node_id"] = f"EN_{repo.environments[job.environment].id}"
    claims["sub"] = subject(repo, claims)
    return claims


def subject_prefix(repo: Repo) -> str:
    """``repo:OWNER/NAME``, or with the ids that no rename changes."""
    if repo.subject.get("use_immutable_subject"):
        return f"repo:{repo.owner.login}@{repo.owner.id}/{repo.name}@{repo.id}"
    return f"repo:{repo.full_name}"


def subject(repo: Repo, claims: dict[str, Any]) -> str:
    """The ``sub``: the default form, or the repository's own template. A colon inside a value becomes %3A."""
    if "environment" in claims:
        context = "environment:" + claims["environment"].replace(":", "%3A")
    elif claims["event_name"] == "pull_request":
        context = "pull_request"
    else:
        context = "ref:" + claims["ref"].replace(":", "%3A")
    if repo.subject.get("use_default", True):
        return f"{subject_prefix(repo)}:{context}"
    special = {"repo": subject_prefix(repo), "context": context}
    keys = repo.subject.get("include_claim_keys") or []
    return ":".join(special.get(key) or f"{key}:{str(claims.get(key, '')).replace(':', '%3A')}" for key in keys)
