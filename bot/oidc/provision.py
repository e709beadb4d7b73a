"""The providers' side of a migration as files: trust and least permissions, for the command line and for Terraform.

Sources: AWS IAM User Guide, "Create a role for OpenID Connect federation"; google-github-actions/auth,
docs/SECURITY_CONSIDERATIONS.md (numeric ids); learn.microsoft.com, "Federated identity credentials" (exact subjects,
both forms side by side); README of hashicorp/vault-action; `npm help trust`; the registries' pages on trusted
publishing. Whatever a file cannot tell stands in capitals, and the README says what it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.oidc import least, subjects, trust
from bot.oidc.plan import Outcome, Plan
from bot.oidc.subjects import Origin

ISSUER = f"https://{trust.HOST}"
PULLS = "PULL_REQUEST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose tokens are trusted: the repository, its number and its owner's, which a new name does not change."""

    repository: str  # owner/name
    repository_id: str
    owner_id: str
    branch: str = "main"
    account: str = "ACCOUNT"

    def subjects(self, context: str) -> list[str]:
        """Both forms of a subject: by names, and with the numbers of newer repositories."""
        owner, _, name = self.repository.partition("/")
        return [
            f"repo:{self.repository}:{context}",
            f"repo:{owner}@{self.owner_id}/{name}@{self.repository_id}:{context}",
        ]


@dataclass(slots=True)
class Setup:
    """The files that are being written, by name, and what people have to look at."""

    files: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    role_s: int = 3600  # how long a session of AWS's roles may live: the least that IAM takes, or as workflows ask


def files(plan: Plan, owner: Owner, events: list[dict[str, Any]] | None = None) -> dict[str, str]:
    """Every file of the providers' side. ``events``: CloudTrail's, of what the old keys did."""
    made = Setup()
    writers = {"aws": _aws, "gcp": _gcp, "azure": _azure, "vault": _vault}
    for provider, write in writers.items():
        outcomes = [each for each in plan.migrated if each.credential.provider == provider]
        if outcomes:
            origin = _origin(plan, outcomes, owner, made)
            if len(outcomes) > 1:
                made.told.append(
                    f"{len(outcomes)} {provider} credentials go to one identity here; split it where they differ"
                )
            if provider == "aws":
                _permissions(plan, outcomes, origin, made, events or [])
                made.role_s = max(made.role_s, plan.session_s)
            write(owner, origin, made)
    forms = [line for each in plan.migrated for line in _form(plan, each, owner)]
    if forms:
        made.files["registries.md"] = "# What to set at the registries\n\n" + "\n".join(dict.fromkeys(forms)) + "\n"
    if made.files:
        made.files["README.md"] = _readme(plan, made)
    return made.files


def _origin(plan: Plan, outcomes: list[Outcome], owner: Owner, made: Setup) -> Origin:
    """Where the tokens of all jobs of one provider come from."""
    jobs = dict.fromkeys(place for outcome in outcomes for place in outcome.granted)
    found = [subjects.of(plan.after, plan.after.job(*place), owner.branch)
             for place in jobs if not plan.after.job(*place).uses]  # fmt: skip
    made.told += [said for each in found for said in each.unsure]
    return Origin(
        refs=tuple(dict.fromkeys(ref for each in found for ref in each.refs)), pulls=any(each.pulls for each in found),
        environments=tuple(dict.fromkeys(name for each in found for name in each.environments))
        + (("",) if any(not each.environments for each in found) else ()),
    )  # fmt: skip


def contexts(origin: Origin) -> list[str]:
    """What stands behind the repository in the subjects of the trusted runs."""
    named = [f"environment:{name.replace(':', '%3A')}" for name in origin.environments if name]
    return named + ([f"ref:{ref}" for ref in origin.refs] if "" in origin.environments else [])


# AWS ------------------------------------------------------------------------------------------------------------------


def policy(owner: Owner, origin: Origin, *, pulls: bool = False) -> dict[str, Any]:
    """The trust policy of a role: for the trusted runs, or for pull requests alone."""
    if pulls:
        named = [f"environment:{name}" for name in origin.environments if name]
        inside, refs = [*named, "pull_request"], ["refs/pull/*/merge"]
    else:
        inside, refs = contexts(origin), list(origin.refs)
    wanted = [each for context in inside for each in owner.subjects(context)]
    host = trust.HOST
    equals: dict[str, Any] = {f"{host}:aud": trust.AUDIENCE, f"{host}:repository_id": owner.repository_id}
    like: dict[str, Any] = {}
    (like if any("*" in each for each in wanted) else equals)[f"{host}:sub"] = wanted
    if any(context.startswith("environment:") for context in inside):
        (like if any("*" in each for each in refs) else equals)[f"{host}:ref"] = refs
    statement = {
        "Effect": "Allow", "Principal": {"Federated": f"arn:aws:iam::{owner.account}:oidc-provider/{host}"},
        "Action": trust.ACTION, "Condition": {"StringEquals": equals} | ({"StringLike": like} if like else {}),
    }  # fmt: skip
    return {"Version": "2012-10-17", "Statement": [statement]}


def _permissions(
    plan: Plan, outcomes: list[Outcome], origin: Origin, made: Setup, events: list[dict[str, Any]]
) -> None:
    jobs = [plan.after.job(*place) for outcome in outcomes for place in outcome.granted]
    statements, told = least.of(jobs, events)
    made.told += told
    made.files["aws/deploy.permissions.json"] = _json(least.document(statements))
    if origin.pulls:
        made.files["aws/pull-requests.permissions.json"] = _json(least.document(least.reading(statements)))


def _aws(owner: Owner, origin: Origin, made: Setup) -> None:
    roles = ["deploy"] * bool(origin.refs) + ["pull-requests"] * origin.pulls
    if "deploy" not in roles:
        made.files.pop("aws/deploy.permissions.json", None)
    name = owner.repository.replace("/", "-")
    sh = [
        "#!/bin/sh", "set -eu", 'cd "$(dirname "$0")"',
        f'provider="arn:aws:iam::{owner.account}:oidc-provider/{trust.HOST}"',
        'aws iam get-open-id-connect-provider --open-id-connect-provider-arn "$provider" >/dev/null 2>&1 ||',
        f"  aws iam create-open-id-connect-provider --url {ISSUER} --client-id-list {trust.AUDIENCE}",
    ]  # fmt: skip
    tf = [
        (
            f'resource "aws_iam_openid_connect_provider" "github" {{\n  url            = "{ISSUER}"\n'
            f'  client_id_list = ["{trust.AUDIENCE}"]\n}}\n'
        )
    ]
    for role in roles:
        made.files[f"aws/{role}.trust.json"] = _json(policy(owner, origin, pulls=role == "pull-requests"))
        sh += [
            f"aws iam create-role --role-name {name}-{role} --max-session-duration {made.role_s} \\",
            f"  --assume-role-policy-document file://{role}.trust.json",
            f"aws iam put-role-policy --role-name {name}-{role} --policy-name least \\",
            f"  --policy-document file://{role}.permissions.json",
        ]
        label = role.replace("-", "_")
        tf.append(
            f'resource "aws_iam_role" "{label}" {{\n  name               = "{name}-{role}"\n'
            f'  assume_role_policy = file("${{path.module}}/{role}.trust.json")\n'
            f"  max_session_duration = {made.role_s}\n"
            f"  depends_on         = [aws_iam_openid_connect_provider.github]\n}}\n"
        )
        tf.append(
            f'resource "aws_iam_role_policy" "{label}" {{\n  name   = "least"\n  role   = aws_iam_role.{label}.id\n'
            f'  policy = file("${{path.module}}/{role}.permissions.json")\n}}\n'
        )
    made.files["aws/apply.sh"] = "\n".join(sh) + "\n"
    made.files["aws/main.tf"] = "\n".join(tf)


# Google, Azure, Vault -------------------------------------------------------------------------------------------------


def condition(owner: Owner, origin: Origin) -> str:
    """The attribute condition of a Google provider, in CEL."""
    refs = [_cel(ref) for ref in origin.refs]
    named = [f"assertion.environment == '{name}'" for name in origin.environments if name]
    inside = f"({' || '.join(refs)})" if refs else "false"
    if named and "" not in origin.environments:
        inside += f" && ({' || '.join(named)})"
    if origin.pulls:
        inside = f"(assertion.event_name == 'pull_request' || (assertion.event_name != 'pull_request' && {inside}))"
    return (
        f"assertion.repository_id == '{owner.repository_id}' && assertion.repository_owner_id == '{owner.owner_id}'"
        f" && {inside}"
    )


def _cel(ref: str) -> str:
    if "*" not in ref:
        return f"assertion.ref == '{ref}'"
    if ref.endswith("*") and ref.count("*") == 1:
        return f"assertion.ref.startsWith('{ref[:-1]}')"
    pattern = ".*".join(re.escape(part).replace("\\", "\\\\") for part in ref.split("*"))
    return f"assertion.ref.matches('^{pattern}$')"


def _gcp(owner: Owner, origin: Origin, made: Setup) -> None:
    kind = "assertion.repository_id + (assertion.event_name == 'pull_request' ? ':pull_request' : ':trusted')"
    mapping = {"google.subject": "assertion.repository_id + ':' + assertion.run_id", "attribute.kind": kind}
    accounts = {"trusted": "SERVICE_ACCOUNT"} if origin.refs else {}
    accounts |= {"pull_request": "PULL_REQUEST_SERVICE_ACCOUNT"} if origin.pulls else {}
    member = "principalSet://iam.googleapis.com/projects/PROJECT_NUMBER/locations/global/workloadIdentityPools/github"
    mapped = ",".join(f"{key}={value}" for key, value in mapping.items())
    sh = [
        "#!/bin/sh", "set -eu",
        "gcloud iam workload-identity-pools create github --project=PROJECT --location=global",
        "gcloud iam workload-identity-pools providers create-oidc github --project=PROJECT --location=global \\",
        f"  --workload-identity-pool=github --issuer-uri={ISSUER} \\",
        f'  --attribute-mapping="{mapped}" \\',
        f'  --attribute-condition="{condition(owner, origin)}"',
    ]  # fmt: skip
    quoted = "\n".join(f"    {json.dumps(key)} = {json.dumps(value)}" for key, value in mapping.items())
    tf = [
        (
            'resource "google_iam_workload_identity_pool" "github" {\n  project                   = "PROJECT"\n'
            '  workload_identity_pool_id = "github"\n}\n'
        ),
        (
            'resource "google_iam_workload_identity_pool_provider" "github" {\n  project = "PROJECT"\n'
            "  workload_identity_pool_id = google_iam_workload_identity_pool.github.workload_identity_pool_id\n"
            '  workload_identity_pool_provider_id = "github"\n'
            f"  attribute_mapping = {{\n{quoted}\n  }}\n"
            f"  attribute_condition = {json.dumps(condition(owner, origin))}\n"
            f'  oidc {{\n    issuer_uri = "{ISSUER}"\n  }}\n}}\n'
        ),
    ]
    for which, account in accounts.items():
        whole = f"{member}/attribute.kind/{owner.repository_id}:{which}"
        sh += [
            f"gcloud iam service-accounts add-iam-policy-binding {account} --project=PROJECT \\",
            f'  --role=roles/iam.workloadIdentityUser --member="{whole}"',
        ]
        tf.append(
            f'resource "google_service_account_iam_member" "{which}" {{\n'
            f'  service_account_id = "projects/PROJECT/serviceAccounts/{account}"\n'
            f'  role   = "roles/iam.workloadIdentityUser"\n  member = "{whole}"\n}}\n'
        )
    made.files["gcp/apply.sh"] = "\n".join(sh) + "\n"
    made.files["gcp/main.tf"] = "\n".join(tf)


def _azure(owner: Owner, origin: Origin, made: Setup) -> None:
    groups = {"APPLICATION_OBJECT_ID": contexts(origin)} if origin.refs else {}
    groups |= {"PULL_REQUEST_APPLICATION_OBJECT_ID": ["pull_request"]} if origin.pulls else {}
    sh, tf = ["#!/bin/sh", "set -eu"], []
    for application, inside in groups.items():
        for subject in (each for context in inside for each in owner.subjects(context)):
            if "*" in subject:
                made.told.append(f"Azure takes exact subjects only: write one for each ref behind {subject}")
                continue
            name = re.sub(r"[^A-Za-z0-9-]+", "-", subject)[:120].strip("-")
            body = {"name": name, "issuer": ISSUER, "subject": subject, "audiences": ["api://AzureADTokenExchange"]}
            sh.append(f"az ad app federated-credential create --id {application} --parameters '{json.dumps(body)}'")
            tf.append(
                f'resource "azuread_application_federated_identity_credential" "{name.replace("-", "_").lower()}" {{\n'
                f'  application_id = "/applications/{application}"\n  display_name   = "{name}"\n'
                f'  issuer         = "{ISSUER}"\n  subject        = "{subject}"\n'
                '  audiences      = ["api://AzureADTokenExchange"]\n}\n'
            )
    made.files["azure/apply.sh"] = "\n".join(sh) + "\n"
    made.files["azure/main.tf"] = "\n".join(tf)


def _vault(owner: Owner, origin: Origin, made: Setup) -> None:
    roles: dict[str, list[str]] = {"deploy": list(origin.refs)} if origin.refs else {}
    roles |= {"pull-requests": ["refs/pull/*/merge"]} if origin.pulls else {}
    sh = [
        "#!/bin/sh", "set -eu", "vault auth enable -path=jwt-github jwt",
        f"vault write auth/jwt-github/config oidc_discovery_url={ISSUER} bound_issuer={ISSUER}",
    ]  # fmt: skip
    tf = [
        (
            'resource "vault_jwt_auth_backend" "github" {\n  path               = "jwt-github"\n'
            f'  oidc_discovery_url = "{ISSUER}"\n  bound_issuer       = "{ISSUER}"\n}}\n'
        )
    ]
    names = [name for name in origin.environments if name]
    for role, refs in roles.items():
        claims: dict[str, Any] = {"repository_id": owner.repository_id, "ref": refs}
        claims |= {"environment": names} if names and "" not in origin.environments and role == "deploy" else {}
        body = {
            "role_type": "jwt", "user_claim": "repository_id", "bound_audiences": ["VAULT_ADDRESS"],
            "bound_claims_type": "glob" if any("*" in ref for ref in refs) else "string", "bound_claims": claims,
            "policies": [f"POLICY_{role.upper().replace('-', '_')}"], "ttl": "15m",
        }  # fmt: skip
        sh.append(f"vault write auth/jwt-github/role/{role} - <<'EOF'\n{json.dumps(body, indent=2)}\nEOF")
        bound = "\n".join(
            f"    {key} = {json.dumps(','.join(value) if isinstance(value, list) else value)}"
            for key, value in claims.items()
        )
        tf.append(
            f'resource "vault_jwt_auth_backend_role" "{role.replace("-", "_")}" {{\n'
            f"  backend           = vault_jwt_auth_backend.github.path\n"
            f'  role_name         = "{role}"\n  role_type         = "jwt"\n  user_claim        = "repository_id"\n'
            f'  bound_audiences   = ["VAULT_ADDRESS"]\n  bound_claims_type = "{body["bound_claims_type"]}"\n'
            f"  bound_claims = {{\n{bound}\n  }}\n  token_policies = {json.dumps(body['policies'])}\n"
            f"  token_ttl = 900\n}}\n"
        )
    made.files["vault/apply.sh"] = "\n".join(sh) + "\n"
    made.files["vault/main.tf"] = "\n".join(tf)


# registries -----------------------------------------------------------------------------------------------------------

FORMS: Mapping[str, str] = {
    "npm": "npmjs.com, each package: Settings, Trusted publisher, GitHub Actions. Or, with npm 11.15 or newer:\n"
    "  `npm trust github PACKAGE --file {file} --repo {repository}{npm_env} --allow-publish --yes`",
    "pypi": "pypi.org/manage/project/PROJECT/settings/publishing: owner {owner}, repository {name}, workflow {file}"
    "{environment}. TestPyPI has its own.",
    "crates": "crates.io, each crate: Settings, Trusted Publishing: owner {owner}, repository {name}, workflow {file}"
    "{environment}.",
    "rubygems": "rubygems.org/gems/GEM/trusted_publishers/new: owner {owner}, repository {name}, workflow {file}"
    "{environment}.",
    "nuget": "nuget.org/account/trustedpublishing: owner {owner}, repository {name}, workflow {file}{environment}; "
    "the policy is of the profile whose name NUGET_USER holds.",
    "dockerhub": "Docker Home, organisation, OIDC connections: a ruleset for the subjects {subjects}.",
}


def _form(plan: Plan, outcome: Outcome, owner: Owner) -> list[str]:
    """What to type into a registry's form, one line for each workflow that publishes."""
    form = FORMS.get(outcome.credential.provider)
    if form is None:
        return []
    said = []
    account, _, name = owner.repository.partition("/")
    for path, job in outcome.granted:
        found = plan.after.job(path, job)
        if found.uses:
            continue
        origin = subjects.of(plan.after, found, owner.branch)
        where = f", environment {found.environment}" if found.environment else ", no environment"
        said.append(f"- {outcome.credential.title}: " + form.format(
            file=path.rpartition("/")[2], repository=owner.repository, owner=account, name=name, environment=where,
            npm_env=f" --env {found.environment}" if found.environment else "",
            subjects=", ".join(each for context in contexts(origin) or ["(none)"] for each in owner.subjects(context)),
        ))  # fmt: skip
    return said


def _readme(plan: Plan, made: Setup) -> str:
    asks = {name: what for outcome in plan.migrated for name, what in outcome.asks.items()}
    how = (
        "Each folder holds the same twice: `apply.sh` for the command line, `main.tf` for Terraform; take one.\n"
        "Words in capitals are yours to fill in. Set this up first, then the variables, then merge."
    )
    parts = ["# The providers' side of the migration to OIDC", how]
    if asks:
        parts.append("\n".join(["| Variable | Value |", "|---|---|", *(f"| `{k}` | {v} |" for k, v in asks.items())]))
    if made.told:
        parts.append("## Please look at\n\n" + "\n".join(f"- {each}" for each in dict.fromkeys(made.told)))
    return "\n\n".join(parts) + "\n"


def _json(document: Any) -> str:
    return json.dumps(document, indent=2) + "\n"
