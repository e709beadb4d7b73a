"""Azure: a federated credential in place of a client secret, a publish profile or a registry's password.

Sources: README of Azure/login (with any of the three ids ``creds`` is ignored in silence, so it goes); the azurerm
provider's page on OIDC (ARM_USE_OIDC); README of Azure/webapps-deploy and functions-action (no publish profile after a
login). The secret of ``creds`` is a JSON that nobody can read back, so the ids are asked for as variables.
"""

from __future__ import annotations

import re
from typing import Any

from bot.oidc import find
from bot.oidc.find import Carrier
from bot.oidc.refusal import Refusal
from bot.oidc.shape import Job, Step, secrets_of
from bot.oidc.work import Work

WHY = "Azure federated credential"
LOGIN = "azure/login"
IDS = ("client-id", "tenant-id", "subscription-id")
DEPLOYS = ("azure/functions-action", "azure/webapps-deploy")
REGISTRY = ("azure/docker-login", "docker/login-action")
TERRAFORM = re.compile(r"(?<![\w-])(terraform|tofu|terragrunt|packer)\b|hashicorp/setup-terraform")
_LOGIN_LINE = re.compile(r"\s*az\s+login\s+--service-principal\b(?P<rest>[^\n|;&]*)")


def migrate(work: Work) -> None:
    """Draft the migration of one secret. Raises Refusal."""
    work.refuse_odd()
    found = work.by_job()
    wide = {c.file: c for c in work.credential.carriers if c.kind == "workflow-env"}
    for file, carrier in wide.items():
        users = [j for j in work.repository.workflows[file].jobs.values() if _terraform(j)]
        if not users:
            raise Refusal("consumers-unknown", f"{carrier.where} feeds every job, and none can be seen to use it")
        _arm(work, carrier, (), [step for job in users for step in job.steps])
        for job in users:
            found.setdefault((file, job.id), [])
    for (file, name), carriers in found.items():
        job = work.repository.job(file, name)
        if not job.uses:
            _job(work, job, carriers)
    work.pass_on()


def _terraform(job: Job) -> bool:
    return any(TERRAFORM.search(step.run or step.action) for step in job.steps)


def _job(work: Work, job: Job, carriers: list[Carrier]) -> None:
    work.trusted(job)
    steps = {step.index: step for step in job.steps}
    before: dict[int, Step] = {}  # steps that need a login before them
    logins: dict[int, Step] = {}
    for carrier in carriers:
        if carrier.step is None:
            _arm(work, carrier, job.path, job.steps)
            continue
        step = steps[carrier.step]
        if carrier.kind == "step-env":
            _arm(work, carrier, step.path, [step])
            logins[step.index] = step
        elif carrier.kind == "run":
            before |= _script(work, step)
        elif step.action == LOGIN:
            _login(work, step)
            logins[step.index] = step
        else:
            _other(work, step, carrier)
            before[step.index] = step
    for step in logins.values():
        if step.action == LOGIN:
            work.guard(step)
    kept = [s for n, s in sorted(before.items()) if not any(m < n for m in logins) and not _logged_in(job, n)]
    work.login(job, kept, lambda condition: work.uses_step(LOGIN, _ids(work, kept), **{"if": condition}))
    work.grant(job, WHY)


def _logged_in(job: Job, index: int) -> bool:
    """Whether a step before logs in by OIDC already."""
    return any(s.action == LOGIN and s.index < index and s.input("client-id") for s in job.steps)


def _ids(work: Work, steps: list[Step]) -> dict[str, Any]:
    several = sum(c.provider == "azure" for c in find.credentials(work.repository.workflows.values())) > 1
    secret = work.credential.secrets[0]
    stem = re.sub(
        r"_?(AZURE|CREDENTIALS?|CREDS|CLIENT_SECRET|PUBLISH_?PROFILE|PASSWORD|ARM|SP|SECRET)", "", secret
    ).strip("_")
    mark = f"_{stem}" if several and stem else ""
    what = {
        "client-id": "the application's id",
        "tenant-id": "the directory's id",
        "subscription-id": "the subscription's id",
    }
    found = {}
    for name in IDS:
        variable = f"AZURE_{name.upper().replace('-', '_')}" + (mark if name == "client-id" else "")
        found[name] = work.answers.values.get(f"azure_{name.replace('-', '_')}") or work.need(variable, what[name])
    return found | {"client-id": _client(work, steps, found["client-id"])}


def _client(work: Work, steps: list[Step], known: str) -> str:
    return work.by_event(steps, lambda: known, "AZURE_PULL_REQUEST_CLIENT_ID", "the id of an application")


def _login(work: Work, step: Step) -> None:
    chosen = [text for name in ("creds", "client-secret") if len(secrets_of(text := step.input(name))) > 1]
    if chosen and not step.job.environment:
        raise Refusal(
            "computed", f"step {step.name!r} of job {step.job.id} chooses between secrets, and no environment does",
            "Give the job an environment for each of them, whose variables hold the ids, then plan again.",
        )  # fmt: skip
    ids = _ids(work, [step])
    if step.input("auth-type") not in {"", "SERVICE_PRINCIPAL"}:
        raise Refusal("both-ways", f"step {step.name!r} of job {step.job.id} logs in by {step.input('auth-type')}")
    near = next(key for key in step.inputs if key.lower() in {"creds", "client-secret"})
    for name in IDS:
        if name == "subscription-id" and step.input("allow-no-subscriptions") == "true":
            continue
        if not step.input(name):
            work.set_input(step, name, ids[name], near=near)
        elif name == "client-id" and work.pulled(step):
            work.set_input(step, name, _client(work, [step], step.input(name)))
    work.drop_input(step, "creds", "client-secret")
    work.repin(step)


def _arm(work: Work, carrier: Carrier, path: tuple[str | int, ...], steps: list[Step]) -> None:
    """Terraform's secret among variables: the provider exchanges the token itself when it is told to."""
    if carrier.name.upper() != "ARM_CLIENT_SECRET":
        raise Refusal(
            "renamed", f"{carrier.where} gives the secret to a program under the name {carrier.name}",
            "Log in with azure/login and let the program use the CLI's login, then plan again.",
        )  # fmt: skip
    draft = work.draft(carrier.file)
    if any(work.pulled(step) for step in steps):
        beside = (*path, "env", "ARM_CLIENT_ID")
        if not draft.has(beside):
            raise Refusal(
                "reached-by-forks", f"{carrier.where} serves pull requests too, and no ARM_CLIENT_ID stands beside it",
                "Put ARM_CLIENT_ID beside the secret, so that pull requests can get an application of their own.",
            )  # fmt: skip
        draft.replace(beside, _client(work, steps, draft.source.at(beside).value))
    if not draft.has((*path, "env", "ARM_USE_OIDC")):
        draft.insert((*path, "env"), "ARM_USE_OIDC", "true", near=carrier.name)
    work.drop(carrier)


def _other(work: Work, step: Step, carrier: Carrier) -> None:
    draft = work.draft(carrier.file)
    if step.action in DEPLOYS and carrier.name.lower() == "publish-profile":
        work.drop(carrier)
    elif step.action in REGISTRY:
        server = step.input("login-server") or step.input("registry")
        if (
            not server
            or set(map(str.lower, step.inputs)) - {"login-server", "registry", "username", "password"}
            or step.env
        ):
            raise Refusal(
                "tool-cannot", f"step {step.name!r} of job {step.job.id} does more than to log in to a registry"
            )
        if "azurecr." not in server and "${{" not in server:
            raise Refusal("other-service", f"step {step.name!r} of job {step.job.id} logs in to {server[:60]}")
        draft.delete((*step.path, "uses"))
        draft.delete((*step.path, "with"))
        draft.insert(step.path, "run", 'az acr login --name "$LOGIN_SERVER"', near="uses")
        draft.insert(step.path, "env", {"LOGIN_SERVER": server}, near="uses")
    elif carrier.part == "static":
        raise Refusal(
            "no-federation", f"{carrier.where}: a deployment token of Static Web Apps has no full replacement",
            "Keep it in a protected environment and reset it on a schedule.",
        )  # fmt: skip
    else:
        raise Refusal("tool-cannot", f"{carrier.where} hands the secret to {step.uses.split('@')[0]}")


def _script(work: Work, step: Step) -> dict[int, Step]:
    """`az login` with the secret goes from a script; a login takes its place."""
    draft = work.draft(step.job.workflow.path)
    names = set(work.credential.secrets)

    def edit(lines: list[str]) -> list[str | None]:
        made: list[str | None] = []
        for line in lines:
            found = _LOGIN_LINE.fullmatch(line)
            gone = found is not None and any(name in line.upper() for name in names)
            if not gone and any(re.search(rf"secrets\.{name}\b", line, re.IGNORECASE) for name in names):
                raise Refusal(
                    "forwarded", f"step {step.name!r} of job {step.job.id} uses the secret otherwise than to log in"
                )
            if gone and line.rstrip().endswith("\\"):
                raise Refusal("write-in-place", f"step {step.name!r} of job {step.job.id} logs in over several lines")
            made.append(None if gone else line)
        return made

    if not draft.edit_lines((*step.path, "run"), edit):
        return {step.index: step}
    draft.delete_step(step.path)
    later = [s for s in step.job.steps if s.index > step.index]
    if not later:
        raise Refusal("consumers-unknown", f"nothing in job {step.job.id} follows the step that logs in")
    return {later[0].index: later[0]}
