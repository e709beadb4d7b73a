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
from bot.oidc.hands import composite, gcp_files
from bot.oidc.hands.composite import Composite
from bot.oidc.hands.gcp_files import AUTH, VALUE
from bot.oidc.refusal import Refusal
from bot.oidc.shape import ONLY_SECRET, SECRET, Job, Step
from bot.oidc.work import CHECKOUT, VOLATILE, Work, free_id

WHY = "Google workload identity federation"
SETUP = ("google-github-actions/setup-gcloud", "googlecloudplatform/github-actions/setup-gcloud")
_INSTALLED = re.compile(r"google-cloud-(?:sdk|cli)-(\d+)\.\d+\.\d+")
LEAST_SDK = 390  # README of google-github-actions/auth, "Prerequisites": of bq and gsutil; gcloud itself 363
OLD_INPUTS = ("service_account_key", "service_account_email", "export_default_credentials", "credentials_file_path")
OWN_LOGIN = (
    "google-github-actions/deploy-cloudrun", "google-github-actions/deploy-cloud-functions",
    "google-github-actions/deploy-appengine", "google-github-actions/get-gke-credentials",
    "google-github-actions/upload-cloud-storage", "google-github-actions/get-secretmanager-secrets",
)  # fmt: skip
# Variables whose text is a key for Terraform and Pulumi; without them both take the credential that the action exports.
READ_BY_TERRAFORM = ("GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON")
_TERRAFORM = re.compile(r"(?<![\w-])(terraform|tofu|terragrunt|pulumi)\b")
_EXPRESSION = re.compile(r"\$\{\{[^}]*secrets[^}]*\}\}")
# A login to a registry by hand, with the key as a password.
_DOCKER = re.compile(
    rf"""\s*((echo|printf)\s(-\w+\s+|['"]%s['"]\s+)*["']?{VALUE}["']?\s*\|\s*)?docker\s+login\b[^|;&]*\b_json_key\b[^|;&]*"""
)


def migrate(work: Work) -> None:
    """Draft the migration of one key. Raises Refusal."""
    work.refuse_odd()
    for carrier in work.wide():
        _terraform(work, carrier)
    for job, carriers, wide in work.using_jobs(lambda step, _: bool(_TERRAFORM.search(step.run)), "run Terraform"):
        _job(work, job, carriers, wide is not None)
    work.pass_on()


def _job(work: Work, job: Job, carriers: list[Carrier], wide: bool) -> None:
    work.trusted(job)
    steps = {step.index: step for step in job.steps}
    logins: dict[int, Step] = {}
    for carrier in carriers:
        if carrier.step is None:
            stored = gcp_files.of_job(work, job, carrier)
            logins |= {each.index: each for each in stored or ()}
            if stored is None:
                _terraform(work, carrier)
                wide = True
            continue
        step = steps[carrier.step]
        if carrier.kind == "input" and step.action == AUTH:
            _auth(work, step, carrier)
        elif carrier.kind == "input" and (step.action in SETUP or step.action in OWN_LOGIN):
            _setup(work, step, carrier)
            logins[step.index] = step
        elif carrier.kind == "input" and step.action in {"docker/login-action", "azure/docker-login"}:
            _registry(work, step, carrier)
        elif carrier.kind == "input" and (found := composite.called(work, step, [carrier])) is not None:
            _composite(work, found)
        elif carrier.kind == "input":
            raise Refusal(
                "tool-cannot", f"{carrier.where}: {step.uses.split('@')[0]} takes the key's text only",
                "Let the tool read the credential that google-github-actions/auth exports, then plan again.",
            )  # fmt: skip
        elif carrier.kind == "step-env" and carrier.name.upper() in READ_BY_TERRAFORM and _TERRAFORM.search(step.run):
            work.drop(carrier)
            logins[step.index] = step
        else:
            logins |= {each.index: each for each in _script(work, step, carrier)}
    if wide:
        logins |= {each.index: each for each in job.steps if _TERRAFORM.search(each.run)}
    for step in steps.values():
        if step.action == AUTH and any(c.step == step.index for c in carriers):
            work.guard(step)
    known = [steps[n] for n in sorted(logins)]
    for step in known:
        _order(job, step)
    auths = [steps[c.step] for c in carriers if c.step is not None and steps[c.step].action == AUTH]
    before = [s for s in known if not any(a.index < s.index and a.condition in {"", s.condition} for a in auths)]
    work.login(job, before, lambda condition: work.uses_step(AUTH, _inputs(work, job, before), **{"if": condition}))
    gcp_files.forget(work, job)
    _raise_sdk(work, job)
    work.grant(job, WHY)


def _raise_sdk(work: Work, job: Job) -> None:
    """An SDK that is older than federation would not know the credential."""
    for step in (each for each in job.steps if each.action in SETUP):
        version = re.match(r"\D*(\d+)", step.input("version"))
        if version is not None and "<" not in step.input("version") and int(version[1]) < LEAST_SDK:
            work.set_input(step, "version", f">= {LEAST_SDK}.0.0")
            work.repin(step, SETUP[0])
            work.notes.append(
                f"{job.workflow.path}, job {job.id}: the SDK {step.input('version')} becomes {LEAST_SDK} or newer, "
                "which knows federation"
            )
    for step in job.steps:
        installed = _INSTALLED.search(step.run)
        if installed is not None and int(installed[1]) < LEAST_SDK:
            work.notes.append(
                f"{job.workflow.path}, job {job.id}: step {step.name!r} installs the SDK {installed[1]}, whose bq and "
                f"gsutil know no federation; those of {LEAST_SDK} and newer do"
            )


def _terraform(work: Work, carrier: Carrier) -> None:
    """The key's text among the variables of a job or a file: Terraform and Pulumi do without."""
    if carrier.name.upper() not in READ_BY_TERRAFORM:
        raise Refusal(
            "renamed", f"{carrier.where} gives the key's text to every step under the name {carrier.name}",
            "Log in with google-github-actions/auth and let the program use the default credential, then plan again.",
        )  # fmt: skip
    work.drop(carrier)


def _inputs(work: Work, job: Job, steps: list[Step]) -> dict[str, Any]:
    secret = work.credential.secrets[0]
    several = sum(c.provider == "gcp" for c in find.credentials(work.repository.workflows.values())) > 1
    mark = "_" + re.sub(r"^(GCP|GCLOUD|GOOGLE)_|_?(SA_KEY|KEY|CREDENTIALS?|JSON)$", "", secret) if several else ""
    provider = work.answers.values.get("gcp_provider") or work.need(
        "GCP_WORKLOAD_IDENTITY_PROVIDER", "projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/NAME"
    )

    def account() -> str:
        known = work.answers.values.get("gcp_service_account")
        if not known and (chosen := _chosen(work, job)):
            return SECRET.sub(lambda found: _account_of(work, found[1] or found[2]), chosen)
        return known or work.need(f"GCP_SERVICE_ACCOUNT{mark}", "the service account's address")

    found: dict[str, Any] = {}
    project = next((s.input("project_id") for s in job.steps if s.action in SETUP and s.input("project_id")), "")
    if project:
        found["project_id"] = project
    return found | {
        "workload_identity_provider": provider,
        "service_account": work.by_event(
            steps, account, "GCP_PULL_REQUEST_SERVICE_ACCOUNT", "the address of a service account"
        ),
    }


def _chosen(work: Work, job: Job) -> str:
    """``a && secrets.X || secrets.Y``: one of several keys, by a condition that can choose an account as well."""
    texts = {c.text for c in work.credential.carriers if (c.file, c.job) == (job.workflow.path, job.id)}
    several = [text for text in texts if len({n for pair in SECRET.findall(text) for n in pair if n}) > 1]
    if not several:
        return ""
    if len(texts) > 1 or not re.fullmatch(r"\s*\$\{\{[^{}]*&&[^{}]*\|\|[^{}]*\}\}\s*", several[0]):
        raise Refusal("computed", f"job {job.id} of {job.workflow.path} chooses between keys in a way of its own")
    return several[0]


def _account_of(work: Work, secret: str) -> str:
    stem = re.sub(r"^(GCP|GCLOUD|GOOGLE)_|_?(SA_KEY|KEY|CREDENTIALS?|JSON)$", "", secret.upper())
    variable = f"GCP_SERVICE_ACCOUNT_{stem}" if stem else "GCP_SERVICE_ACCOUNT"
    work.need(variable, "the service account's address")
    return f"vars.{variable}"


def _order(job: Job, step: Step) -> None:
    if any(other.action == CHECKOUT and other.index > step.index for other in job.steps):
        raise Refusal(
            "write-in-place", f"job {job.id} checks out after its login, which would take the credential away"
        )


def _auth(work: Work, step: Step, carrier: Carrier) -> None:
    if given := step.input("workload_identity_provider"):
        if not step.input("service_account"):
            raise Refusal("both-ways", f"{carrier.where}: the step has a provider as well, and no service account")
        work.asks[" ".join(given.split()).removeprefix("${{ ").removesuffix(" }}")] = (
            "has to hold the provider: the action takes a key or a provider, so one of the two is empty today"
        )
        if work.pulled(step):
            raise Refusal("both-ways", f"{carrier.where}: the step has a provider as well, and pull requests reach it")
        work.drop(carrier)
        work.repin(step)
        return
    for name, value in _inputs(work, step.job, [step]).items():
        if name != "project_id" and not step.input(name):
            work.set_input(step, name, value, near=carrier.name)
    work.drop(carrier)
    work.repin(step)


def _composite(work: Work, found: Composite) -> None:
    """An action of this repository that logs in with a key from its input: it takes provider and account instead."""
    for use in found.uses:
        if not use.whole or use.step is None or use.step.action != AUTH or use.kind != "input":
            raise found.refuse(use)
        if use.name.lower() != "credentials_json" or use.step.input("workload_identity_provider"):
            raise found.refuse(use)
        found.draft(work).delete(use.path)
        for name in ("workload_identity_provider", "service_account"):
            found.once(work, use.step, name, f"${{{{ inputs.{name} }}}}")
        work.repin(use.step)
    values = _inputs(work, found.caller.job, [found.caller])
    said = {
        "workload_identity_provider": "Provider of the pool, as projects/NUMBER/locations/global/…",
        "service_account": "Address of the service account to act as",
    }
    given = {name: (said[name], str(values[name])) for name in said}
    what, provider = given["workload_identity_provider"]
    given["workload_identity_provider"] = (what, found.offered(work, provider, "workload_identity_provider"))
    found.swap(work, given)


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
    token = _token(work, step)
    work.set_input(step, "username", "oauth2accesstoken")
    work.draft(carrier.file).replace(carrier.path, token)


def _token(work: Work, step: Step) -> str:
    """An access token for a step: of a login right before it, or of one before another step that always ran by then."""
    _order(step.job, step)
    condition, made = work.condition(step), work.tokens.setdefault((step.job.workflow.path, step.job.id), {})
    key = f"{condition} {step.index}" if VOLATILE.search(condition) else condition
    name = made.get("") or made.get(key)
    if name is None:
        name = made[key] = free_id(step.job, "gcp-auth", made.values())
        inputs = _inputs(work, step.job, [step]) | {"token_format": "access_token"}
        work.login(step.job, [step], lambda said: work.uses_step(AUTH, inputs, **{"if": said, "id": name}))
    return f"${{{{ steps.{name}.outputs.access_token }}}}"


def _script(work: Work, step: Step, carrier: Carrier) -> list[Step]:
    """Take the key out of a script. The steps that need a login before them."""
    lines = [line for line in step.run.splitlines() if gcp_files.ours(work, line, carrier)]
    if lines and any(map(_DOCKER.fullmatch, lines)):
        _docker_login(work, step, carrier)
        return []
    if carrier.kind == "step-env":
        gcp_files.only_stored(carrier, step)
        work.drop(carrier)
    return gcp_files.take_out(work, step, carrier)


def _docker_login(work: Work, step: Step, carrier: Carrier) -> None:
    """A login by hand takes an access token in the key's place, under the user that means one."""
    token = _token(work, step)
    if carrier.kind == "step-env":
        work.draft(carrier.file).replace(carrier.path, token)

    def edit(lines: list[str]) -> list[str | None]:
        made: list[str | None] = []
        for line in lines:
            mine = gcp_files.ours(work, line, carrier)
            if mine and not _DOCKER.fullmatch(line):
                raise Refusal("forwarded", f"step {step.name!r} of job {step.job.id} hands the key's text on")
            made.append(_EXPRESSION.sub(token, line).replace("_json_key", "oauth2accesstoken") if mine else line)
        return made

    work.draft(step.job.workflow.path).edit_lines((*step.path, "run"), edit)
