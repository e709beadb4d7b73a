"""Container registries: GitHub's own takes the job's token; Docker Hub's federation needs an organisation's plan.

Sources: docs.github.com, "Working with the Container registry" (GITHUB_TOKEN with packages: write); README of
docker/login-action (``DOCKERHUB_OIDC_CONNECTIONID``, from version 4.5.0 on).
"""

from __future__ import annotations

from bot.oidc.refusal import Refusal
from bot.oidc.work import Work

LOGIN = "docker/login-action"
WHY = "Docker Hub OIDC connection"


def ghcr(work: Work) -> None:
    """Draft the job's own token in place of a personal one. Raises Refusal."""
    work.refuse_odd()
    for (file, name), carriers in work.by_job().items():
        job = work.repository.job(file, name)
        for carrier in carriers:
            step = next((s for s in job.steps if s.index == carrier.step), None)
            if step is None or step.action != LOGIN or carrier.kind != "input":
                raise Refusal("forwarded", f"{carrier.where} uses the token otherwise than to log in to ghcr.io")
            work.draft(file).replace(carrier.path, "${{ github.token }}")
            if "secrets." in step.input("username"):
                work.set_input(step, "username", "${{ github.actor }}")
        work.grant(job, "ghcr.io", scope="packages")
        work.assumed.append(
            f"job {job.id}: the package lets this repository write (its settings, Manage Actions access)"
        )
    if any(carrier.kind == "workflow-env" for carrier in work.credential.carriers):
        raise Refusal("consumers-unknown", "the token stands in the env of the whole workflow")


def dockerhub(work: Work) -> None:
    """Draft a login by an OIDC connection, when its id and the organisation were given. Raises Refusal."""
    work.refuse_odd()
    connection, organisation = (
        work.answers.values.get(f"dockerhub_{each}", "") for each in ("connection", "organisation")
    )
    if not connection or not organisation:
        raise Refusal(
            "plan-needed", "Docker Hub federates for organisations with a Team or Business plan only",
            "With such a plan, give dockerhub_connection and dockerhub_organisation in --config; without one, keep an "
            "access token that may only push, in a protected environment.",
        )  # fmt: skip
    for (file, name), carriers in work.by_job().items():
        job = work.repository.job(file, name)
        if job.uses:
            continue
        work.trusted(job)
        logins = []
        for carrier in carriers:
            step = next((s for s in job.steps if s.index == carrier.step), None)
            if step is None or step.action != LOGIN or carrier.kind != "input" or step.env:
                raise Refusal("forwarded", f"{carrier.where} uses the token otherwise than in docker/login-action")
            work.drop(carrier)
            work.set_input(step, "username", organisation)
            work.draft(file).insert(step.path, "env", {"DOCKERHUB_OIDC_CONNECTIONID": connection}, near="with")
            work.repin(step)
            logins.append(step)
        for step in logins:
            work.guard(step)
        work.grant(job, WHY)
    if any(carrier.kind == "workflow-env" for carrier in work.credential.carriers):
        raise Refusal("consumers-unknown", "the token stands in the env of the whole workflow")
    work.pass_on()
