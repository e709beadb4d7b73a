"""HashiCorp Vault: the action's JWT method in place of a token or an AppRole's secret.

Source: README of hashicorp/vault-action (``method: jwt``, ``role``, ``path``, ``jwtGithubAudience``).
"""

from __future__ import annotations

from bot.oidc.refusal import Refusal
from bot.oidc.shape import Job, Step
from bot.oidc.work import Work

WHY = "Vault, method jwt"
ACTION = "hashicorp/vault-action"
OLD = ("token", "roleid", "secretid", "githubtoken")


def migrate(work: Work) -> None:
    """Draft the migration of one token or AppRole. Raises Refusal."""
    work.refuse_odd()
    for (file, name), carriers in work.by_job().items():
        job = work.repository.job(file, name)
        if job.uses:
            continue
        steps = {step.index: step for step in job.steps}
        logins: dict[int, Step] = {}
        for carrier in carriers:
            step = steps.get(-1 if carrier.step is None else carrier.step)
            if step is None or step.action != ACTION or carrier.kind != "input":
                raise Refusal("renamed", f"{carrier.where} gives the token to what cannot be seen")
            logins[step.index] = step
        _job(work, job, [logins[n] for n in sorted(logins)])
    if any(carrier.kind == "workflow-env" for carrier in work.credential.carriers):
        raise Refusal("consumers-unknown", "the token stands in the env of the whole workflow")
    work.pass_on()


def _job(work: Work, job: Job, logins: list[Step]) -> None:
    work.trusted(job)
    for step in logins:
        work.guard(step)
        if step.input("method") not in {"", "approle", "token", "github"}:
            raise Refusal("both-ways", f"step {step.name!r} of job {job.id} uses the method {step.input('method')}")
        near = next(key for key in step.inputs if key.lower() in OLD)
        work.set_input(step, "method", "jwt", near=near)
        role = work.by_event([step], lambda: _role(work), "VAULT_PULL_REQUEST_JWT_ROLE", "a role of Vault")
        work.set_input(step, "role", role, near=near)
        if not step.input("path"):
            path = work.answers.values.get("vault_path") or work.need(
                "VAULT_JWT_PATH", "where Vault has the method jwt"
            )
            work.set_input(step, "path", path, near=near)
        if not step.input("jwtGithubAudience"):
            work.set_input(step, "jwtGithubAudience", step.input("url"), near=near)
        work.drop_input(step, *OLD)
        work.repin(step)
    work.grant(job, WHY)


def _role(work: Work) -> str:
    return work.answers.values.get("vault_role") or work.need("VAULT_JWT_ROLE", "Vault's role for this repository")
