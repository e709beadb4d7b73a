"""What would be left hanging: a step's id, a variable or a file that something still reads after the migration.

The recipes look at what they change; this looks at the whole result, so that a recipe that forgets something is a
refusal and not a broken workflow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bot.oidc.find import Credential
from bot.oidc.refusal import Refusal
from bot.oidc.repository import Repository
from bot.oidc.shape import Job, leaves

# What the logins export to the steps that follow, by the names that the SDKs read.
EXPORTED = {
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GEM_HOST_API_KEY", "BUNDLE_GEM__PUSH_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
}  # fmt: skip
LOGINS = {"aws-actions/configure-aws-credentials", "google-github-actions/auth"}


def refuse(before: Repository, after: Repository) -> None:
    """Raise Refusal when a job of the result reads the id of a step, or a variable, that is not there any more."""
    for path, workflow in after.workflows.items():
        if before.files.get(path) == after.files[path]:
            continue
        for job in workflow.jobs.values():
            old = before.job(path, job.id)
            named = [node.value for step in job.steps if (node := step.node.get("id")) is not None]
            if len(named) > len(set(named)):
                raise Refusal("write-in-place", f"two steps of job {job.id} of {path} would have one id")
            for name in _ids(old) - _ids(job):
                if any(re.search(rf"\bsteps\.{re.escape(name)}\b", text) for text in leaves(job.node)):
                    raise Refusal("forwarded", f"job {job.id} of {path} reads what step {name} said, which would go")
            for name in _unasked(old, job):
                raise Refusal("computed", f"a login of job {job.id} of {path} would wait for {name}, which it brings")
            for name in _gone(old, job):
                raise Refusal("renamed", f"job {job.id} of {path} still reads the variable {name}, which would go")


def _ids(job: Job) -> set[str]:
    return {node.value for step in job.steps if (node := step.node.get("id")) is not None}


def _unasked(old: Job, new: Job) -> Iterator[str]:
    """Variables that a condition asks for and that are there only when the step that has the condition has run."""
    before = {(step.action, step.condition) for step in old.steps if not step.run}
    lost = ({*old.env, *old.workflow.env} - {*new.env, *new.workflow.env}) & EXPORTED
    for step in new.steps:
        came = step.uses and ((step.action, step.condition) not in before or step.action in LOGINS)
        yield from (name for name in sorted(lost) if came and re.search(rf"\benv\s*\.\s*{name}\b", step.condition))


def _gone(old: Job, new: Job) -> Iterator[str]:
    """Variables that a place of the job had, has no more, and reads."""
    wide = ({*old.env, *old.workflow.env} - {*new.env, *new.workflow.env}) - EXPORTED
    for name in sorted(wide):
        if any(_reads(text, name) for step in new.steps if name not in step.env for text in step.texts()):
            yield name
    before = {step.name.partition("@")[0]: set(step.env) for step in old.steps}  # its release may be another now
    for step in new.steps:
        lost = before.get(step.name.partition("@")[0], set()) - {*step.env, *new.env, *new.workflow.env} - EXPORTED
        yield from (name for name in sorted(lost) if any(_reads(text, name) for text in step.texts()))


def _reads(text: str, name: str) -> bool:
    word = re.escape(name)
    return bool(re.search(rf"\$(env:)?\{{?{word}\b|%{word}%|\benv\s*\.\s*{word}\b", text))


def named(repository: Repository, credential: Credential) -> Iterator[str]:
    """Files beside the workflows that name a variable which held the secret, as sentences for the plan."""
    kinds = {"step-env", "job-env", "workflow-env"}
    names = sorted({c.name for c in credential.carriers if c.kind in kinds and c.name not in EXPORTED})
    if names and repository.elsewhere:
        yield f"files that no script of a workflow names were not searched for {', '.join(names)}; git grep finds them"
    for path in repository.searched() if names else ():
        data = repository.files[path]
        for name in names:
            if found := re.search(rb"(?<![A-Za-z0-9_])" + re.escape(name.encode()) + rb"(?![A-Za-z0-9_])", data):
                line = data.count(b"\n", 0, found.start()) + 1
                yield f"{path}:{line} names {name}, which is not set any more; take it out there where it is read"
