"""Whether a trust policy of AWS lets a token of GitHub in, and for which tokens that would be wrong.

Pure. Sources: IAM User Guide, "Policy evaluation logic", "JSON policy elements: Condition operators" and "Available
keys for AWS web identity federation"; docs.github.com, "OpenID Connect reference" (claims, the forms of ``sub``). What
is not understood fails closed: an unknown operator keeps an Allow from matching and lets a Deny match. STS knows the
claims in KNOWN as condition keys; a condition on any other is one on a key that is never there.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bot.errors import InputError

HOST = "token.actions.githubusercontent.com"
ACTION = "sts:AssumeRoleWithWebIdentity"
AUDIENCE = "sts.amazonaws.com"
KNOWN = (
    "aud", "sub", "actor", "actor_id", "job_workflow_ref", "repository", "repository_id", "workflow", "ref",
    "environment", "enterprise_id",
)  # fmt: skip
Claims = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """Whether a token is let in, and why: the statement that let it in, or the condition that kept it out."""

    allowed: bool
    why: str


def document(text: str) -> dict[str, Any]:
    """A trust policy. Raises InputError when it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        raise InputError("the trust policy is not JSON") from None
    if isinstance(found, dict) and isinstance(found.get("Role"), dict):  # as `aws iam get-role` prints it
        found = found["Role"].get("AssumeRolePolicyDocument")
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in _listed(found.get("Statement"))):
        raise InputError("the trust policy has no statements")
    return found


def rule(policy: Mapping[str, Any], claims: Claims, *, provider: str = "") -> Ruling:
    """What a trust policy says of a token's claims. ``provider``: its ARN in the account; '' is any."""
    context = {f"{HOST}:{name}".lower(): value for name, value in claims.items() if name in KNOWN}
    reasons = []
    allowed = ""
    for number, statement in enumerate(_listed(policy.get("Statement")), 1):
        name = str(statement.get("Sid") or f"statement {number}")
        if not _names(statement, provider) or not _acts(statement):
            continue
        failed = _failed(statement, context)
        if failed:
            reasons.append(f"{name}: {failed}")
        elif statement.get("Effect") != "Allow":
            return Ruling(allowed=False, why=f"{name} denies it")
        else:
            allowed = allowed or name
    if allowed:
        return Ruling(allowed=True, why=f"{allowed} lets it in")
    return Ruling(allowed=False, why="; ".join(reasons) or "no statement is about tokens of GitHub")


def _names(statement: Mapping[str, Any], provider: str) -> bool:
    deny = statement.get("Effect") != "Allow"
    if "NotPrincipal" in statement:
        return deny  # not understood
    principal = statement.get("Principal")
    if principal == "*":
        return True
    named = [str(each) for each in _listed(principal.get("Federated"))] if isinstance(principal, dict) else []
    return (
        any(each == provider if provider else each.endswith(f"oidc-provider/{HOST}") for each in named) or "*" in named
    )


def _acts(statement: Mapping[str, Any]) -> bool:
    return any(_like(ACTION.lower(), str(each).lower()) for each in _listed(statement.get("Action")))


def _failed(statement: Mapping[str, Any], context: Mapping[str, str]) -> str:
    """The first condition that does not hold, in words; '' when all do."""
    deny = statement.get("Effect") != "Allow"
    for operator, block in (statement.get("Condition") or {}).items():
        for key, wanted in block.items():
            values = [str(each).lower() if isinstance(each, bool) else str(each) for each in _listed(wanted)]
            verdict = _holds(operator, key, values, context)
            if verdict is False or (verdict is None and not deny):
                got = context.get(key.lower())
                said = "is not in the token" if got is None else f"is {got}"
                return f"{operator} {key.rpartition(':')[2]} {said}"
    return ""


def _holds(operator: str, key: str, wanted: list[str], context: Mapping[str, str]) -> bool | None:
    value = context.get(key.lower())
    if operator == "Null":
        return (value is None) == (wanted[0].lower() == "true")
    quantifier, colon, base = operator.partition(":")
    base = base if colon else quantifier
    quantifier = quantifier if colon else ""
    if_exists = base.endswith("IfExists")
    base = base.removesuffix("IfExists")
    negated = base in _NEGATED
    compare = _COMPARE.get(_NEGATED.get(base, base))
    if compare is None or quantifier not in {"", "ForAllValues", "ForAnyValue"}:
        return None
    if value is None:
        return if_exists or negated or quantifier == "ForAllValues"
    return any(compare(value, each) for each in wanted) != negated


def _like(value: str, pattern: str) -> bool:
    return re.fullmatch(fnmatch.translate(pattern.replace("[", "[[]")), value) is not None


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringEqualsIgnoreCase": lambda value, wanted: value.lower() == wanted.lower(),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
}
_NEGATED = {
    "StringNotEquals": "StringEquals", "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike", "ArnNotEquals": "ArnEquals", "ArnNotLike": "ArnLike",
}  # fmt: skip


# whom it is meant for -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job whose token is meant to get in. ``environment`` wins over ``ref`` in the subject, as GitHub does it."""

    repository: str  # owner/name
    repository_id: str
    owner_id: str
    ref: str = "refs/heads/main"
    environment: str = ""
    event: str = "push"

    def claims(self, **other: str) -> dict[str, str]:
        """The token's claims; ``other`` replaces some of them, '' takes one out, and the subject follows."""
        found = {
            "aud": AUDIENCE, "repository": self.repository, "repository_id": self.repository_id, "ref": self.ref,
            "repository_owner_id": self.owner_id, "environment": self.environment, "event_name": self.event,
            "workflow": "deploy", "actor": "octocat", "actor_id": "1",
            "job_workflow_ref": f"{self.repository}/.github/workflows/deploy.yml@{self.ref}",
        } | other  # fmt: skip
        found.setdefault("sub", subject(found))
        return {name: value for name, value in found.items() if value}


def subject(claims: Claims, *, immutable: bool = False) -> str:
    """The default ``sub`` of a token with these claims; ``immutable``: the form with ids, of newer repositories."""
    owner, _, name = claims["repository"].partition("/")
    if immutable:
        owner, name = f"{owner}@{claims['repository_owner_id']}", f"{name}@{claims['repository_id']}"
    if environment := claims.get("environment"):
        context = f"environment:{environment.replace(':', '%3A')}"
    elif claims.get("event_name") == "pull_request":
        context = "pull_request"
    else:
        context = f"ref:{claims['ref'].replace(':', '%3A')}"
    return f"repo:{owner}/{name}:{context}"


def written(job: Job, account: str) -> dict[str, Any]:
    """The trust policy for a job: both forms of the subject, the repository's number, and the ref."""
    claims = job.claims()
    equals: dict[str, Any] = {
        f"{HOST}:aud": AUDIENCE,
        f"{HOST}:sub": [subject(claims), subject(claims, immutable=True)],
        f"{HOST}:repository_id": job.repository_id,
    }
    if job.ref:
        equals[f"{HOST}:ref"] = job.ref
    statement = {
        "Effect": "Allow", "Principal": {"Federated": f"arn:aws:iam::{account}:oidc-provider/{HOST}"},
        "Action": ACTION, "Condition": {"StringEquals": equals},
    }  # fmt: skip
    return {"Version": "2012-10-17", "Statement": [statement]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One token of the table: what should become of it, and what does."""

    name: str
    claims: Claims
    wanted: bool
    ruling: Ruling

    @property
    def right(self) -> bool:
        return self.ruling.allowed is self.wanted


def table(policy: Mapping[str, Any], job: Job, *, provider: str = "") -> list[Row]:
    """Every kind of token that a policy for this job has to tell apart, and what it does with each."""
    return [
        Row(name=name, claims=claims, wanted=wanted, ruling=rule(policy, claims, provider=provider))
        for name, claims, wanted in tokens(job)
    ]


def tokens(job: Job) -> Iterator[tuple[str, dict[str, str], bool]]:
    """The job's own token, and those that must not get in, each with a name."""
    owner, _, name = job.repository.partition("/")
    own = job.claims()
    yield "the job itself", own, True
    yield "the job, with the immutable subject", own | {"sub": subject(own, immutable=True)}, True
    yield "a pull request", job.claims(environment="", event_name="pull_request", ref="refs/pull/7/merge"), False
    if job.environment:
        yield "the branch without the environment", job.claims(environment=""), False
        yield (
            "a pull request that names the environment",
            job.claims(event_name="pull_request", ref="refs/pull/7/merge"),
            False,
        )
    yield "another branch", job.claims(ref="refs/heads/feature"), False
    yield "another branch without an environment", job.claims(ref="refs/heads/feature", environment=""), False
    yield "a branch whose name begins the same", job.claims(ref=f"{job.ref}-2"), False
    yield "a tag", job.claims(ref="refs/tags/v1", environment=""), False
    yield "another environment", job.claims(environment="elsewhere"), False
    yield "another repository of the owner", job.claims(repository=f"{owner}/{name}-fork", repository_id="999"), False
    yield (
        "a repository of the same name elsewhere",
        job.claims(repository=f"{owner}-evil/{name}", repository_id="999"),
        False,
    )
    yield "the name registered anew after a rename", job.claims(repository_id="999", repository_owner_id="998"), False
    yield "another audience", own | {"aud": f"https://github.com/{owner}"}, False
    yield "a customised subject of another repository", own | {
        "sub": f"repository_owner_id:{job.owner_id}:job_workflow_ref:x", "repository": f"{owner}/other",
        "repository_id": "999",
    }, False  # fmt: skip
    yield (
        "another repository that calls this one's workflow",
        job.claims(repository=f"{owner}/caller", repository_id="999", job_workflow_ref=own["job_workflow_ref"]),
        False,
    )


# what a policy that is there lets in ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Something that a trust policy lets in and should not, or never lets in although it was meant to."""

    code: str
    severity: str  # high, medium or low
    said: str


def audit(policy: Mapping[str, Any]) -> list[Opening]:
    """Who gets in beside a branch of one repository. Each opening is shown by a token that the policy accepts."""
    found: list[Opening] = []
    stranger = Job(repository="someone-else/anything", repository_id="4242", owner_id="4241")
    if rule(policy, stranger.claims()).allowed:
        found.append(
            Opening(code="any-repository", severity="high", said="a token of any repository of GitHub gets in")
        )
    for pattern in _subjects(policy):
        found += _of_subject(policy, pattern)
    if _any(policy, lambda operator, _key, _value: operator.startswith("ForAllValues:")):
        said = "ForAllValues holds when the claim is missing from the token; drop the prefix"
        found.append(Opening(code="for-all-values", severity="medium", said=said))
    for operator, key, value in _conditions(policy):
        if operator.startswith("StringEquals") and ("*" in value or "?" in value):
            said = (
                f"{operator} {key.rpartition(':')[2]} {value!r}: * is a letter here, so it never holds; use StringLike"
            )
            found.append(Opening(code="wildcard-in-equals", severity="low", said=said))
        if key.startswith(f"{HOST}:") and key.rpartition(":")[2] not in KNOWN:
            said = f"STS does not know the claim {key.rpartition(':')[2]}: a condition on it never holds"
            found.append(Opening(code="unknown-claim", severity="low", said=said))
    return list(dict.fromkeys(found))


def _of_subject(policy: Mapping[str, Any], pattern: str) -> Iterator[Opening]:
    parts = re.fullmatch(r"repo:([^/:]+)/([^:]+?)(?::(.*))?", pattern)
    if parts is None:
        if pattern.startswith("repo:") and "*" in pattern:
            job = Job(
                repository=f"{pattern[5:].rstrip('*').rstrip('/').split('/')[0]}-evil/x",
                repository_id="1",
                owner_id="2",
            )
            if rule(policy, job.claims()).allowed:
                yield Opening(
                    code="owner-prefix", severity="high", said=f"{pattern!r} lets in owners whose name begins the same"
                )
        return
    owner, name = (re.sub(r"@\d+$", "", each).replace("*", "any") for each in parts.groups()[:2])
    job = Job(repository=f"{owner}/{name}", repository_id=_value(policy, "repository_id") or "1", owner_id="2",
              ref=_value(policy, "ref") or "refs/heads/main")  # fmt: skip
    probes = [
        ("any-name", "high", f"every repository of {owner} gets in", "*" in parts[2], {"repository": f"{owner}/zzz"}),
        ("name-prefix", "high", f"{owner}/{name}-evil gets in", True, {"repository": f"{owner}/{name}-evil"}),
        ("pull-requests", "high", f"pull requests of {job.repository} get in", True,
         {"event_name": "pull_request", "ref": "refs/pull/7/merge"}),
        ("any-branch", "medium", f"every branch of {job.repository} gets in", True, {"ref": "refs/heads/zzz"}),
        ("any-environment", "medium", f"every environment of {job.repository} gets in", True, {"environment": "zzz"}),
        ("any-audience", "medium", f"tokens of {job.repository} for other services get in", True, {"aud": "zzz"}),
    ]  # fmt: skip
    for code, severity, said, relevant, other in probes:
        if relevant and rule(policy, job.claims(**other)).allowed:
            yield Opening(code=code, severity=severity, said=said)
    exact = job.claims(sub=pattern)
    if "*" not in pattern and "@" not in pattern and rule(policy, exact | {"repository_id": "4242"}).allowed:
        said = f"whoever registers {job.repository} after a rename gets in; add a condition on repository_id"
        yield Opening(code="name-only", severity="low", said=said)
    if parts[3] and parts[3].startswith("environment:") and rule(policy, exact | {"ref": "refs/heads/zzz"}).allowed:
        said = (
            "the environment's subject has no branch in it: set a deployment branch policy, or add a condition on ref"
        )
        yield Opening(code="environment-any-branch", severity="low", said=said)


def _conditions(policy: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for statement in _listed(policy.get("Statement")):
        if statement.get("Effect") == "Allow" and _names(statement, "") and _acts(statement):
            for operator, block in (statement.get("Condition") or {}).items():
                for key, wanted in block.items():
                    for value in _listed(wanted):
                        yield operator, key, str(value)


def _subjects(policy: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(v for o, k, v in _conditions(policy) if k.lower() == f"{HOST}:sub" and "Not" not in o))


def _value(policy: Mapping[str, Any], claim: str) -> str:
    return next((v for _, k, v in _conditions(policy) if k.lower() == f"{HOST}:{claim}" and "*" not in v), "")


def _any(policy: Mapping[str, Any], holds: Callable[[str, str, str], bool]) -> bool:
    return any(holds(*each) for each in _conditions(policy))
