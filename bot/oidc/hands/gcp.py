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
from bot.oidc.hands import composite
from bot.oidc.hands.composite import Composite
from bot.oidc.refusal import Refusal
from bot.oidc.shape import ONLY_SECRET, SECRET, Job, Step
from bot.oidc.work import CHECKOUT, Work, free_id

WHY = "Google workload identity federation"
AUTH = "google-github-actions/auth"
SETUP = ("google-github-actions/setup-gcloud", "googlecloudplatform/github-actions/setup-gcloud")
LEAST_SDK = 390  # README of google-github-actions/auth, "Prerequisites": of bq and gsutil; gcloud itself 363
OLD_INPUTS = ("service_account_key", "service_account_email", "export_default_credentials", "credentials_file_path")
OWN_LOGIN = (
    "google-github-actions/deploy-cloudrun", "google-github-actions/deploy-cloud-functions",
    "google-github-actions/deploy-appengine", "google-github-actions/get-gke-credentials",
    "google-github-actions/upload-cloud-storage", "google-github-actions/get-secretmanager-secrets",
)  # fmt: skip
# Variables whose text is a key for Terraform and Pulumi; without them both take the credential that the action exports.
READ_BY_TERRAFORM = ("GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON")
FILE_NAMES = ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE", "GOOGLE_CREDENTIALS")
_TERRAFORM = re.compile(r"(?<![\w-])(terraform|tofu|terragrunt|pulumi)\b")
_VALUE = r"(\$\{\{[^}]*secrets[^}]*\}\}|\$\{?\w+\}?)"
_EXPRESSION = re.compile(r"\$\{\{[^}]*secrets[^}]*\}\}")
_WRITTEN = re.compile(  # the key into a file
    rf"""\s*(echo|printf)\s(-\w+\s+|['"]%s['"]\s+)*["']?{_VALUE}["']?
         (\s*\|\s*base64\s+(-d|-di|--decode|-D|-id)(\s+-i)?)?\s*>\s*(?P<file>"[^"]+"|'[^']+'|[^\s&|;]+)\s*""",
    re.VERBOSE,
)
_ACTIVATED = re.compile(r"\s*gcloud\s+auth\s+activate-service-account\b[^|;&\\]*")  # and from there into gcloud
_EXPORTED = re.compile(r"""\s*(echo|export)\s+["']?GOOGLE_APPLICATION_CREDENTIALS=[^|;&]*""")


_REMOVED = re.compile(r"\s*(rm|shred|unlink)\s+(-\w+\s+)*\S+\s*")
# A login to a registry by hand, with the key as a password.
_DOCKER = re.compile(
    rf"""\s*((echo|printf)\s(-\w+\s+|['"]%s['"]\s+)*["']?{_VALUE}["']?\s*\|\s*)?docker\s+login\b[^|;&]*\b_json_key\b[^|;&]*"""
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
            if carrier.kind == "step-env":
                _only_stored(carrier, step)
                work.drop(carrier)
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


def _terraform(work: Work, carrier: Carrier) -> None:
    """The key's text among the variables of a job or a file: Terraform and Pulumi do without."""
    if carrier.name.upper() not in READ_BY_TERRAFORM:
        raise Refusal(
            "renamed", f"{carrier.where} gives the key's text to every step under the name {carrier.name}",
            "Log in with google-github-actions/auth and let the program use the default credential, then plan again.",
        )  # fmt: skip
    work.drop(carrier)


def _only_stored(carrier: Carrier, step: Step) -> None:
    """Refuse a variable that a script does more with than to write it to a file."""
    used = [line for line in step.run.splitlines() if re.search(rf"\$\{{?{re.escape(carrier.name)}\b", line)]
    if not used or not all(_WRITTEN.fullmatch(line) for line in used):
        raise Refusal(
            "renamed", f"{carrier.where} gives the key's text to a script under the name {carrier.name}",
            "Log in with google-github-actions/auth and let the program use the default credential, then plan again.",
        )  # fmt: skip


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
    name = free_id(step.job, "gcp-auth")
    inputs = _inputs(work, step.job, [step]) | {"token_format": "access_token"}
    _order(step.job, step)
    work.login(step.job, [step], lambda condition: work.uses_step(AUTH, inputs, **{"if": condition, "id": name}))
    work.set_input(step, "username", "oauth2accesstoken")
    work.draft(carrier.file).replace(carrier.path, f"${{{{ steps.{name}.outputs.access_token }}}}")


def _script(work: Work, step: Step, carrier: Carrier) -> list[Step]:
    """Take the key's file out of a script; the step that follows, or what is left, gets a login before it."""
    draft = work.draft(step.job.workflow.path)
    if carrier.kind == "run" and any(_ours(work, line, carrier) and _DOCKER.fullmatch(line)
                                     for line in step.run.splitlines()):  # fmt: skip
        _docker_login(work, step, carrier)
        return []
    files = [found["file"] for line in step.run.splitlines() if _ours(work, line, carrier)
             and (found := _WRITTEN.fullmatch(line))]  # fmt: skip
    _files(work, step.job, files)

    def edit(lines: list[str]) -> list[str | None]:
        made: list[str | None] = []
        for number, line in enumerate(lines):
            gone = bool(_ours(work, line, carrier) and _WRITTEN.fullmatch(line))
            gone = gone or (_logs_in(line) and any(_base(each) in line for each in files))
            carried = line.rstrip().endswith("\\") or (number and lines[number - 1].rstrip().endswith("\\"))
            if not gone and _ours(work, line, carrier):
                raise Refusal("forwarded", f"step {step.name!r} of job {step.job.id} hands the key's text on")
            if gone and carried:
                raise Refusal("write-in-place", f"step {step.name!r} of job {step.job.id} has lines that go on")
            made.append(None if gone else line)
        return made

    if not draft.edit_lines((*step.path, "run"), edit):
        return [step]
    draft.delete_step(step.path)
    later = [s for s in step.job.steps if s.index > step.index]
    if not later:
        raise Refusal("consumers-unknown", f"nothing in job {step.job.id} follows the step that stores the key")
    return later[:1]


def _docker_login(work: Work, step: Step, carrier: Carrier) -> None:
    """A login by hand takes an access token in the key's place, under the user that means one."""
    name = free_id(step.job, "gcp-auth")
    inputs = _inputs(work, step.job, [step]) | {"token_format": "access_token"}

    def edit(lines: list[str]) -> list[str | None]:
        made: list[str | None] = []
        for line in lines:
            mine = _ours(work, line, carrier)
            if mine and not _DOCKER.fullmatch(line):
                raise Refusal("forwarded", f"step {step.name!r} of job {step.job.id} hands the key's text on")
            token = _EXPRESSION.sub(f"${{{{ steps.{name}.outputs.access_token }}}}", line)
            made.append(token.replace("_json_key", "oauth2accesstoken") if mine else line)
        return made

    _order(step.job, step)
    work.login(step.job, [step], lambda condition: work.uses_step(AUTH, inputs, **{"if": condition, "id": name}))
    work.draft(step.job.workflow.path).edit_lines((*step.path, "run"), edit)


def _ours(work: Work, line: str, carrier: Carrier) -> bool:
    """Whether a line reads the key, from its secret or from the step's variable."""
    read = {name.upper() for pair in SECRET.findall(line) for name in pair if name}
    named = carrier.kind == "step-env" and re.search(rf"\$\{{?{re.escape(carrier.name)}\b", line)
    return bool(read & set(work.credential.secrets) or named)


def _logs_in(line: str) -> bool:
    """A line that logs in from a file, or takes the file away; both go with it."""
    return any(pattern.fullmatch(line) for pattern in (_ACTIVATED, _EXPORTED, _REMOVED))


def _base(file: str) -> str:
    return file.strip("\"'").rstrip("/").rpartition("/")[2]


def _files(work: Work, job: Job, files: list[str]) -> None:
    """What names the file of the key goes with it: the action exports another. Refuse what reads it otherwise."""
    names = {_base(each) for each in files}
    tables = [((), job.workflow.env), (job.path, job.env), *((step.path, step.env) for step in job.steps)]
    for path, env in tables:
        for key, value in env.items():
            if _base(value) in names and key.upper() in FILE_NAMES:
                if not path:
                    raise Refusal("forwarded", f"the env of {job.workflow.path} names the key's file for every job")
                work.draft(job.workflow.path).delete((*path, "env", key))
            elif any(name in value for name in names):
                raise Refusal("forwarded", f"{key} in job {job.id} names the file of the key")
    for step in job.steps:
        known = [line for line in step.run.splitlines() if _WRITTEN.fullmatch(line) or _logs_in(line)]
        for value in (*step.inputs.values(), *step.run.splitlines()):
            if value not in known and any(name in value for name in names):
                raise Refusal("forwarded", f"step {step.name!r} of job {job.id} reads the file of the key")
        if not _touched(work, step) and any(name in line for line in known for name in names):
            _forget(work, step, names)


def _forget(work: Work, step: Step, names: set[str]) -> None:
    """A login from the key's file, in a step of its own: the action has logged in by then."""
    draft = work.draft(step.job.workflow.path)

    def edit(lines: list[str]) -> list[str | None]:
        if any(line.rstrip().endswith("\\") for line in lines):
            raise Refusal("write-in-place", f"step {step.name!r} of job {step.job.id} has lines that go on")
        return [None if _logs_in(line) and any(name in line for name in names) else line for line in lines]

    if draft.edit_lines((*step.path, "run"), edit):
        draft.delete_step(step.path)


def _touched(work: Work, step: Step) -> bool:
    return any((c.file, c.job, c.step) == (step.job.workflow.path, step.job.id, step.index)
               for c in work.credential.carriers)  # fmt: skip
