"""Google Cloud: workload identity federation in place of a service account's key.

Sources: README of google-github-actions/auth (v3: workload_identity_provider and service_account; it exports the
credential to the steps that follow; checkout has to come before it, since it writes into the workspace) and of
setup-gcloud (no key any more since v1).
"""

from __future__ import annotations

import re
from typing import Any

from bot.oidc import find
from bot.oidc.find import Carrier
from bot.oidc.refusal import Refusal
from bot.oidc.shape import ONLY_SECRET, SECRET, Job, Step
from bot.oidc.work import CHECKOUT, Work, free_id

WHY = "Google workload identity federation"
AUTH = "google-github-actions/auth"
SETUP = ("google-github-actions/setup-gcloud", "googlecloudplatform/github-actions/setup-gcloud")
OLD_INPUTS = ("service_account_key", "service_account_email", "export_default_credentials", "credentials_file_path")
OWN_LOGIN = ("google-github-actions/deploy-cloudrun", "google-github-actions/deploy-appengine",
             "google-github-actions/get-gke-credentials", "google-github-actions/upload-cloud-storage",
             "google-github-actions/get-secretmanager-secrets")  # fmt: skip
_DROPPED = re.compile(
    r"""\s*(echo|printf)\s.*\$\{\{[^}]*secrets[^}]*\}\}.*>\s*\S+\s*$        # the key into a file
      | \s*gcloud\s+auth\s+activate-service-account\b.*$                    # and from there into gcloud
      | \s*(echo|export)\s+["']?GOOGLE_APPLICATION_CREDENTIALS=.*$""",
    re.VERBOSE,
)


def migrate(work: Work) -> None:
    """Draft the migration of one key. Raises Refusal."""
    work.refuse_odd()
    for (file, name), carriers in work.by_job().items():
        job = work.repository.job(file, name)
        if not job.uses:
            _job(work, job, carriers)
    for carrier in work.credential.carriers:
        if carrier.kind == "workflow-env":
            raise Refusal("consumers-unknown", f"{carrier.where} feeds every job")
    work.pass_on()


def _job(work: Work, job: Job, carriers: list[Carrier]) -> None:
    work.trusted(job)
    steps = {step.index: step for step in job.steps}
    logins: list[Step] = []
    for carrier in carriers:
        if carrier.step is None:
            raise Refusal("renamed", f"{carrier.where} gives the key's text to every step of the job")
        step = steps[carrier.step]
        if carrier.kind == "input" and step.action == AUTH:
            _auth(work, step, carrier)
        elif carrier.kind == "input" and (step.action in SETUP or step.action in OWN_LOGIN):
            _setup(work, step, carrier)
            logins.append(step)
        elif carrier.kind == "input" and step.action == "docker/login-action":
            _registry(work, step, carrier)
        elif carrier.kind == "input":
            raise Refusal("tool-cannot", f"{carrier.where}: {step.uses.split('@')[0]} takes the key's text only")
        elif carrier.kind == "run":
            logins += _script(work, step)
        else:
            raise Refusal("renamed", f"{carrier.where} gives the key's text to a script under the name {carrier.name}")
    firsts = [s for s in job.steps if any(c.step == s.index for c in carriers)]
    if not work.guard_job(job, firsts, []):
        for step in firsts:
            work.guard(step)
    for step in logins:
        _order(job, step)
    work.login(job, logins, lambda condition: work.uses_step(AUTH, _inputs(work, job), **{"if": condition}))
    work.grant(job, WHY)


def _inputs(work: Work, job: Job) -> dict[str, Any]:
    secret = work.credential.secrets[0]
    several = sum(c.provider == "gcp" for c in find.credentials(work.repository.workflows.values())) > 1
    mark = "_" + re.sub(r"^(GCP|GCLOUD|GOOGLE)_|_?(SA_KEY|KEY|CREDENTIALS?|JSON)$", "", secret) if several else ""
    provider = work.answers.values.get("gcp_provider") or work.need(
        "GCP_WORKLOAD_IDENTITY_PROVIDER", "projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/NAME"
    )
    account = work.answers.values.get("gcp_service_account") or work.need(
        f"GCP_SERVICE_ACCOUNT{mark}", "the service account's address"
    )
    found: dict[str, Any] = {}
    project = next((s.input("project_id") for s in job.steps if s.action in SETUP and s.input("project_id")), "")
    if project:
        found["project_id"] = project
    return found | {"workload_identity_provider": provider, "service_account": account}


def _order(job: Job, step: Step) -> None:
    if any(other.action == CHECKOUT and other.index > step.index for other in job.steps):
        raise Refusal(
            "write-in-place", f"job {job.id} checks out after its login, which would take the credential away"
        )


def _auth(work: Work, step: Step, carrier: Carrier) -> None:
    if step.input("workload_identity_provider"):
        raise Refusal("both-ways", f"{carrier.where}: the step has a provider as well")
    for name, value in _inputs(work, step.job).items():
        if name != "project_id" and not step.input(name):
            work.set_input(step, name, value, near=carrier.name)
    work.drop(carrier)
    work.repin(step)


def _setup(work: Work, step: Step, carrier: Carrier) -> None:
    if not ONLY_SECRET.fullmatch(carrier.text):
        raise Refusal("computed", f"{carrier.where} makes the value from an expression")
    work.drop(carrier)
    if step.action in SETUP:
        work.drop_input(step, *OLD_INPUTS)
        work.repin(step, SETUP[0])


def _registry(work: Work, step: Step, carrier: Carrier) -> None:
    """A login to Artifact Registry or gcr.io: the password becomes an access token of a minute's making."""
    if step.input("username") not in {"_json_key", "_json_key_base64"}:
        raise Refusal("renamed", f"{carrier.where}: the login's user is not _json_key")
    name = free_id(step.job, "gcp-auth")
    inputs = _inputs(work, step.job) | {"token_format": "access_token", "access_token_lifetime": "900s"}
    _order(step.job, step)
    work.login(step.job, [step], lambda condition: work.uses_step(AUTH, inputs, **{"if": condition, "id": name}))
    work.set_input(step, "username", "oauth2accesstoken")
    work.draft(carrier.file).replace(carrier.path, f"${{{{ steps.{name}.outputs.access_token }}}}")


def _script(work: Work, step: Step) -> list[Step]:
    """Take the key's file out of a script; the step that follows, or what is left, gets a login before it."""
    draft = work.draft(step.job.workflow.path)

    def edit(lines: list[str]) -> list[str | None]:
        made: list[str | None] = [None if _DROPPED.match(line) else line for line in lines]
        for line in made:
            if line is not None and set(work.credential.secrets) & {
                n.upper() for p in SECRET.findall(line) for n in p if n
            }:
                raise Refusal("forwarded", f"step {step.name!r} of job {step.job.id} hands the key's text on")
        if any(line and line.rstrip().endswith("\\") for line in lines):
            raise Refusal("write-in-place", f"step {step.name!r} of job {step.job.id} has lines that go on")
        return made

    if not draft.edit_lines((*step.path, "run"), edit):
        return [step]
    draft.delete_step(step.path)
    later = [s for s in step.job.steps if s.index > step.index]
    if not later:
        raise Refusal("consumers-unknown", f"nothing in job {step.job.id} follows the step that stores the key")
    return later[:1]
