"""Codecov: the action's own OIDC in place of an upload token.

Source: README of codecov/codecov-action (``use_oidc``; on forks the action uploads without a token by itself). A job
that tests runs code of others, which could ask for the job's id-token, so only jobs without pull requests are moved.
"""

from __future__ import annotations

import re

from bot.oidc.refusal import Refusal
from bot.oidc.shape import Job, Step
from bot.oidc.work import Work

WHY = "Codecov"
ACTION = "codecov/codecov-action"
RENAMED = {"file": "files", "plugin": "plugins"}  # since version 5
GONE = {
    "functionalities",
    "xtra_args",
    "gcov",
    "gcov_args",
    "gcov_ignore",
    "network_filter_file",
    "move_coverage_to_trash",
}


def migrate(work: Work) -> None:
    """Draft the migration of one token. Raises Refusal."""
    work.refuse_odd()
    for (file, name), carriers in work.by_job().items():
        job = work.repository.job(file, name)
        if job.uses:
            continue
        _pulls(work, job)
        steps = {step.index: step for step in job.steps}
        for carrier in carriers:
            step = steps.get(-1 if carrier.step is None else carrier.step)
            if (
                step is None
                or step.action != ACTION
                or (carrier.kind == "step-env" and carrier.name != "CODECOV_TOKEN")
            ):
                raise Refusal("tool-cannot", f"{carrier.where}: only codecov/codecov-action uploads without a token")
            work.drop(carrier)
            _upload(work, step)
        work.grant(job, WHY)
    if any(carrier.kind == "workflow-env" for carrier in work.credential.carriers):
        raise Refusal("consumers-unknown", "the token stands in the env of the whole workflow")
    work.pass_on()


def _pulls(work: Work, job: Job) -> None:
    work.trusted(job)
    if work.repository.reached(job, "pull_request"):
        raise Refusal(
            "reached-by-forks", f"job {job.id} runs the code of pull requests, which could ask for its id-token",
            "Upload from a job of its own that only gets the report.",
        )  # fmt: skip


def _upload(work: Work, step: Step) -> None:
    found = re.match(r"v?(\d+)", step.uses.partition("@")[2])
    if set(map(str.lower, step.inputs)) & GONE:
        raise Refusal("tool-cannot", f"step {step.name!r} uses inputs that the release with OIDC does not have")
    work.set_input(step, "use_oidc", "true", near="token" if "token" in step.inputs else "")
    if found is None or int(found[1]) < 5:
        draft = work.draft(step.job.workflow.path)
        for old, new in RENAMED.items():
            if step.input(old):
                draft.delete((*step.path, "with", old))
                draft.insert((*step.path, "with"), new, step.input(old), near=old)
        work.repin(step)
