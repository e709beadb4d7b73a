"""AWS: the door for a repository's jobs: the OIDC provider, and a role that one branch or environment gets into.

What the role may do is what the old key did before anybody else could have it, as CloudTrail tells it, and what the
workflows say that they copy to and from S3, which CloudTrail does not tell (data events). What neither tells is listed
for a person, never guessed, and nothing that could widen itself (IAM, STS, Organizations) is granted.
docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html; how GitHub's subjects look: ``bot/oidc``.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import timedelta

from bot.action import Action
from bot.actions import aws_iam, aws_trail, aws_trust, github_oidc
from bot.clients import aws_errors
from bot.errors import Conflict, NotFound
from bot.model import Before, Effect, Grade, Outcome, Proof, SecretStore, material
from bot.oidc import trust
from bot.oidc.plan import plan
from bot.oidc.repository import Repository
from bot.oidc.work import SESSION_S, Answers
from bot.world import World

POLICY = "from-the-old-key"
ROLE_S = 3600  # the longest that a session of the role may be, unless the workflows ask for more
MOST_CALLS = 1000  # of the old key that are read: what it does daily is among them
NEVER = ("iam", "sts", "organizations", "account", "sso", "sso-directory", "identitystore")
_S3 = re.compile(r"\baws\s+s3\s+(?:cp|mv|sync|rm)\s[^\n;|&]*")
_AWS = re.compile(r"\baws\s+(?:--\S+\s+)*([a-z0-9-]+)\s+([a-z0-9-]+)")


# The provider


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderIn:
    """The repository that is to move ('': nothing is known to move, and nothing is made).

    ``secret``: only the credential that this secret belongs to is to move.
    """

    repository: str
    secret: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderBefore(Before):
    """``audiences`` of the provider that is there; none of it means that there is none."""

    arn: str
    exists: bool = material()
    audiences: tuple[str, ...] = material(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderOutcome(Outcome):
    arn: str = ""
    at: str = ""


def _account(world: World) -> str:
    with aws_errors("ask for our own account"):
        return str(world.aws.client("sts").get_caller_identity()["Account"])


def _audiences(world: World, arn: str) -> tuple[str, ...] | None:
    """The audiences of the provider; None where there is none."""
    what = {"OpenIDConnectProviderArn": arn}
    try:
        found = aws_iam.iam(world, "get_open_id_connect_provider", "read the OIDC provider of GitHub", **what)
    except NotFound:
        return None
    return tuple(sorted(found.get("ClientIDList", ())))


def _look_provider(world: World, given: ProviderIn) -> ProviderBefore:
    if given.repository:
        github_oidc.refuse_other_issuer(world)
        _, repository = github_oidc.workflows(world, given.repository)
        if not _movers(repository, RoleIn(repository=given.repository, key="", secret=given.secret)):
            said = f"no job of {given.repository} can be seen to move from an AWS key to an identity: none is needed"
            return ProviderBefore(needed=False, arn="", exists=False, summary=said)
    arn = f"arn:aws:iam::{_account(world)}:oidc-provider/{trust.HOST}"
    found = _audiences(world, arn)
    there = "is there" if found is not None else "is not there yet"
    if found is not None and trust.AUDIENCE not in found:
        there += f", without the audience {trust.AUDIENCE}"
    return ProviderBefore(
        needed=bool(given.repository) and trust.AUDIENCE not in (found or ()), arn=arn, exists=found is not None,
        audiences=found or (), summary=f"the OIDC provider for {trust.HOST} {there}",
    )  # fmt: skip


def _make_provider(world: World, _given: ProviderIn, before: ProviderBefore) -> ProviderOutcome:
    if not before.arn:
        return ProviderOutcome(changed=False, summary=before.summary)
    now, what = _audiences(world, before.arn), {"OpenIDConnectProviderArn": before.arn}
    changed = before.needed and trust.AUDIENCE not in (now or ())
    if changed and now is None:
        made = {"Url": f"https://{trust.HOST}", "ClientIDList": [trust.AUDIENCE]}
        aws_iam.iam(world, "create_open_id_connect_provider", "make an OIDC provider for GitHub", **made)
    elif changed:
        aws_iam.iam(world, "add_client_id_to_open_id_connect_provider", "add an audience",
                    **what, ClientID=trust.AUDIENCE)  # fmt: skip
    at = aws_iam.iso(aws_iam.now(world))
    return ProviderOutcome(changed=changed, arn=before.arn, at=at, summary=f"{before.arn} takes tokens for AWS")


def _prove_provider(world: World, _given: ProviderIn, before: ProviderBefore, out: ProviderOutcome) -> Proof:
    if not before.needed and not before.exists:
        return Proof.proven(Grade.STATE, "nothing is to move, and nothing was made")
    found = _audiences(world, before.arn)
    if trust.AUDIENCE in (found or ()):
        return Proof.proven(Grade.STATE, f"IAM shows {before.arn} with the audience {trust.AUDIENCE}")
    said = f"IAM shows no {before.arn} with the audience {trust.AUDIENCE}"
    return Proof.not_yet(said) if aws_iam.settling(world, out.at) else Proof.refuted(said)


def _undo_provider(world: World, _given: ProviderIn, before: ProviderBefore, _out: ProviderOutcome) -> Outcome:
    """Take away what was added. Refused while a role trusts the provider: its jobs would stand outside."""
    found, what = _audiences(world, before.arn) if before.arn else None, {"OpenIDConnectProviderArn": before.arn}
    if found is None or found == before.audiences:
        return Outcome(changed=False, summary="It is as it was")
    users = [
        role["RoleName"] for role in aws_iam.listed(world, "list_roles", "Roles", "list roles")
        if before.arn in aws_iam.canonical(role.get("AssumeRolePolicyDocument"))
    ]  # fmt: skip
    if users or set(found) - {*before.audiences, trust.AUDIENCE}:
        said = f"roles trust it: {', '.join(users)}" if users else "it has other audiences now"
        raise Conflict(f"{before.arn} is in use; {said}", {"audiences": (list(before.audiences), list(found))})
    if before.exists:
        aws_iam.iam(world, "remove_client_id_from_open_id_connect_provider", "take the audience away",
                    **what, ClientID=trust.AUDIENCE)  # fmt: skip
    else:
        aws_iam.iam(world, "delete_open_id_connect_provider", "delete the OIDC provider", **what)
    return Outcome(changed=True, summary="What was added to the OIDC provider is gone")


# The role


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleIn:
    """Which repository gets a role ('': none), in place of which key, and since when others could have had that.

    ``stores``: where the key stands; () is not known, and None every AWS key of the repository's workflows. ``secret``:
    only the one that this secret belongs to. ``name``: of the role; '' names it after the repository. ``key`` is ''
    where nobody knows which one stands there; then what it did is not granted.
    """

    repository: str
    key: str
    stores: tuple[SecretStore, ...] | None = None
    since: str = ""
    environment: str = ""
    name: str = ""
    secret: str = ""
    session: str = ""  # seconds that the workflows ask for


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleBefore(Before):
    """The role as it is to be: ``trust`` and ``policy`` are documents, canonical; ``unsure`` is for a person.

    ``found``: the trust policy of a role of this name that is there already.
    """

    role: str = material(default="")
    trust: str = material(default="")
    policy: str = material(default="")
    found: str = material(default="")
    session_s: int = material(default=ROLE_S)
    provider: str = ""
    unsure: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleOutcome(Outcome):
    """``arn`` is '' where no role was made."""

    arn: str = ""
    at: str = ""


def _role_name(given: RoleIn) -> str:
    return given.name or re.sub(r"[^\w+=,.@-]", "-", f"github-{given.repository}")[:64]


def _movers(repository: Repository, given: RoleIn) -> tuple[set[tuple[str, str]], int]:
    """The jobs, by file and id, that would get an identity of AWS in place of the key, and for how many seconds."""
    if given.stores == ():
        return set(), ROLE_S
    secret = given.secret or next((store.name for store in given.stores or ()), "")
    answers = Answers(environment=given.environment, session_s=int(given.session or SESSION_S))
    made = plan(repository, answers, secret=secret)
    moved = {place for one in made.migrated if one.credential.provider == "aws" for place in one.granted}
    return moved, max(ROLE_S, made.session_s)


def _copies(repository: Repository, movers: set[tuple[str, str]]) -> tuple[dict[str, set[str]], list[str]]:
    """What the steps' commands do in S3 (resource -> actions), and commands of AWS that a person has to look at."""
    granted: dict[str, set[str]] = {}
    unsure: list[str] = []
    for job in repository.jobs():
        for step in job.steps if (job.workflow.path, job.id) in movers else ():
            lines = _S3.findall(step.run)
            unsure += [f"`{line.strip()}` of job {job.id}" for line in lines if not _copied(line, granted)]
            named = {" ".join(pair) for pair in _AWS.findall(step.run) if pair[0] != "s3"}
            unsure += [f"`aws {each}` of job {job.id}" for each in sorted(named)]
    return granted, unsure


def _copied(line: str, granted: dict[str, set[str]]) -> bool:
    """Note what one ``aws s3`` command needs; False where its text does not tell."""
    try:
        words = shlex.split(line)[2:]
    except ValueError:
        return False
    verb, places = words[0], [word for word in words[1:] if not word.startswith("-")][:2]
    if "$" in line or not any(place.startswith("s3://") for place in places):
        return False
    for k, place in enumerate(places):
        if not place.startswith("s3://"):
            continue
        bucket = f"arn:aws:s3:::{place.removeprefix('s3://').partition('/')[0]}"
        reads = k == 0 and verb != "rm"
        acts = {"s3:GetObject"} if reads else {"s3:DeleteObject"} if verb == "rm" else {"s3:PutObject"}
        acts |= {"s3:DeleteObject"} if verb == "mv" and reads else set()
        acts |= {"s3:DeleteObject"} if verb == "sync" and not reads and "--delete" in words else set()
        granted.setdefault(f"{bucket}/*", set()).update(acts)
        if verb == "sync" or "--recursive" in words:
            granted.setdefault(bucket, set()).add("s3:ListBucket")
    return True


def _seen(world: World, given: RoleIn) -> tuple[dict[str, set[str]], list[str]]:
    """What the key did before others could have had it, by the trail (resource -> actions), and what is left out."""
    until = aws_iam.parse(given.since) if given.since else aws_iam.now(world)
    since = aws_iam.now(world) - timedelta(days=aws_trust.TRAIL_DAYS)
    granted: dict[str, set[str]] = {}
    unsure: list[str] = []
    if not given.key:
        return granted, [f"what the key did that stood in the secrets of {given.repository}: it is not known which one"]
    for call in aws_trail.lookup(world, "AccessKeyId", given.key, since, until, most=MOST_CALLS):
        service = call.source.partition(".")[0]
        if call.at >= until or call.name == "GetCallerIdentity":
            continue
        if service in NEVER:
            unsure.append(f"{service}:{call.name}, which the old key used and which could widen itself")
            continue
        bucket = call.asked("bucketName") or call.asked("bucket")
        granted.setdefault(f"arn:aws:s3:::{bucket}" if bucket else "*", set()).add(f"{service}:{call.name}")
    return granted, unsure


def _look_role(world: World, given: RoleIn) -> RoleBefore:
    if not given.repository:
        return RoleBefore(needed=False, summary="which repository the key is of is not known: no role is made")
    github_oidc.refuse_other_issuer(world)
    branch, repository = github_oidc.workflows(world, given.repository)
    movers, session_s = _movers(repository, given)
    if not movers:
        said = f"no job of {given.repository} can be seen to move from this key to an identity: no role is made"
        return RoleBefore(needed=False, summary=said)
    job = github_oidc.whose(world, given.repository, given.environment, branch)
    if job is None:
        return RoleBefore(
            needed=False, summary=f"{given.repository} gives its tokens a subject of its own: a person writes the trust"
        )
    account, name = _account(world), _role_name(given)
    told, unsure = _copies(repository, movers)
    seen, left = _seen(world, given)
    granted = {
        resource: told.get(resource, set()) | seen.get(resource, set()) for resource in sorted({*told, *seen})
    }  # fmt: skip
    statements = [
        {"Effect": "Allow", "Action": sorted(acts), "Resource": resource} for resource, acts in granted.items()
    ]
    policy = aws_iam.canonical({"Version": "2012-10-17", "Statement": statements}) if statements else ""
    wanted, found = aws_iam.canonical(trust.written(job, account)), aws_trust.read(world, name)
    may = "; ".join(f"{', '.join(sorted(acts))} on {resource}" for resource, acts in granted.items()) or "nothing yet"
    if found and session_s > ROLE_S:
        unsure.append(f"whether role {name}, which is there, allows sessions of {session_s} s")
    open_ = tuple(dict.fromkeys([*unsure, *left]))
    said = f"role {name} for {trust.subject(job.claims())}, which may do {may}"
    said += f"; for a person to look at: {'; '.join(open_)}" if open_ else ""
    standing = found == wanted and aws_iam.inline_policy(world, "role", name, POLICY) == policy
    return RoleBefore(
        needed=not standing, role=name, trust=wanted, policy=policy, found=found, unsure=open_, summary=said,
        session_s=session_s,
        provider=f"arn:aws:iam::{account}:oidc-provider/{trust.HOST}",
    )  # fmt: skip


def _arn(before: RoleBefore) -> str:
    return f"arn:aws:iam::{before.provider.split(':')[4]}:role/{before.role}" if before.role else ""


def _make_role(world: World, _given: RoleIn, before: RoleBefore) -> RoleOutcome:
    if not before.needed:
        return RoleOutcome(changed=False, arn=_arn(before), summary=before.summary)
    found, changed = aws_trust.read(world, before.role), False
    if found not in ("", before.trust):
        said = f"there is a role {before.role} with another trust policy: name another one, or delete it"
        raise Conflict(said, {"trust": (before.trust, found)})
    if not found:
        aws_iam.iam(
            world, "create_role", f"make the role {before.role}", RoleName=before.role,
            MaxSessionDuration=before.session_s, AssumeRolePolicyDocument=before.trust,
            Description="Jobs of a repository, in place of an access key",
        )  # fmt: skip
        changed = True
    if before.policy and aws_iam.inline_policy(world, "role", before.role, POLICY) != before.policy:
        aws_iam.put_inline(world, "role", before.role, POLICY, before.policy)
        changed = True
    at = aws_iam.iso(aws_iam.now(world))
    return RoleOutcome(changed=changed, arn=_arn(before), at=at, summary=f"made {before.summary}")


def _prove_role(world: World, given: RoleIn, before: RoleBefore, out: RoleOutcome) -> Proof:
    """What IAM holds is asked what it does with the job's own token and with forged ones."""
    if not out.arn:
        return Proof.proven(Grade.STATE, "no role was made")
    stands = aws_trust.read(world, before.role)
    policy = aws_iam.inline_policy(world, "role", before.role, POLICY)
    job = github_oidc.whose(world, given.repository, given.environment, github_oidc.branch_of(world, given.repository))
    if stands and job is not None and policy == before.policy:
        rows = trust.table(trust.document(stands), job, provider=before.provider)
        wrong = [row.name for row in rows if not row.right]
        if wrong:
            return Proof.refuted(f"the trust of {before.role} is wrong for: {', '.join(wrong)}")
        kept = sum(not row.wanted for row in rows)
        return Proof.proven(Grade.STATE, f"IAM shows {before.role}: its trust lets the job in, keeps {kept} others out")
    said = f"IAM does not show {before.role} as it was made"
    return Proof.not_yet(said) if aws_iam.settling(world, out.at) else Proof.refuted(said)


def _undo_role(world: World, _given: RoleIn, before: RoleBefore, out: RoleOutcome) -> Outcome:
    """Delete the role that was made. Refused when somebody has changed it since."""
    if before.found or not before.needed or not (stands := aws_trust.read(world, before.role)):
        return Outcome(changed=False, summary="There is no role of ours to delete")
    policy = aws_iam.inline_policy(world, "role", before.role, POLICY)
    if stands != before.trust or policy not in ("", before.policy):
        raise Conflict(f"{out.arn} was changed since", {"trust": (before.trust, stands)})
    aws_iam.delete_inline(world, "role", before.role, POLICY)
    aws_iam.iam(world, "delete_role", f"delete the role {before.role}", RoleName=before.role)
    return Outcome(changed=True, summary=f"{out.arn} is deleted; workflows that name it no longer get in")


create_oidc_provider = Action(
    name="aws.create_oidc_provider", title="Make an OIDC provider for GitHub's tokens", inputs=ProviderIn,
    before=ProviderBefore, outcome=ProviderOutcome, effect=Effect.CHANGE, look=_look_provider, run=_make_provider,
    prove=_prove_provider, undo=_undo_provider,
    permissions=(
        "iam:GetOpenIDConnectProvider", "iam:CreateOpenIDConnectProvider", "iam:AddClientIDToOpenIDConnectProvider",
        "iam:RemoveClientIDFromOpenIDConnectProvider", "iam:DeleteOpenIDConnectProvider", "iam:ListRoles",
    ),
)  # fmt: skip

create_identity_role = Action(
    name="aws.create_identity_role", title="Make a role for a repository's jobs", inputs=RoleIn, before=RoleBefore,
    outcome=RoleOutcome, effect=Effect.CHANGE, look=_look_role, run=_make_role, prove=_prove_role, undo=_undo_role,
    asks="It lets jobs of a repository into the account.",
    permissions=(
        "iam:GetRole", "iam:CreateRole", "iam:GetRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy",
        "iam:DeleteRole", "cloudtrail:LookupEvents",
    ),
)  # fmt: skip
