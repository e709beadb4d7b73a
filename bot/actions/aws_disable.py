"""Disable one thing that a leaked key planted.

Every kind is some of five facets: keys to deactivate, a password to delete, a policy or a trust edit to take back,
and a guard: a policy of ours that stops what lives on. A planted user or role is denied everything first, since that
one call stops its keys, its password and its sessions at once. From somebody's own user a planted key or password
is taken away, then the sessions that it may have minted are denied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bot.action import Action
from bot.actions import aws_iam, aws_trust
from bot.actions.aws_iam import Holder, KeyState
from bot.actions.aws_sessions import cutoff_in, deny_document, deny_older, restore
from bot.errors import Conflict, InputError, NotFound
from bot.model import Before, Breaks, Effect, Grade, Outcome, Planted, Proof, material
from bot.world import World

DENY_ALL = "BulkheadDenyAll"
ATTACHED = "attached"  # stands for the document of a managed policy, which is not the user's own
_HOLDERS: dict[str, Holder] = {
    "access-key": "user", "user": "user", "login-profile": "user", "user-policy": "user",
    "role": "role", "role-policy": "role", "trust": "role",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedBefore(Before):
    """The facets of a planted thing as they were. An empty one does not concern it."""

    holder: str  # of the kind: user or role
    kind: str
    exists: bool = True
    keys: tuple[KeyState, ...] = material(default=())
    login_made: str = material(default="")  # when the login profile was made
    policy: str = material(default="")  # the planted policy's document, or ATTACHED
    trust: str = material(default="")
    trust_wanted: str = ""  # '' with a trust: nobody can tell what it said
    guard: str = ""  # name of the policy of ours that stops what lives on
    guarded: str = ""  # what stood under that name
    looked_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disabled(Outcome):
    """``at``: when, so that a proof knows whether IAM may still be settling. ``cutoff``: of the guard, if any."""

    at: str = ""
    cutoff: str = ""


# Deny everything, without a condition.
DENY_ALL_DOCUMENT = aws_iam.canonical(
    {
        "Version": "2012-10-17",
        "Statement": [{"Sid": DENY_ALL, "Effect": "Deny", "Action": ["*"], "Resource": ["*"]}],
    }
)


def _guard_name(planted: Planted, keys: tuple[KeyState, ...]) -> str:
    """One for each planted thing of a user, so that each undo is its own; a key has the number of its slot."""
    match planted.kind:
        case "user" | "role":
            return DENY_ALL
        case "access-key":
            slot = next((n for n, key in enumerate(keys, 1) if key.id == planted.id), 0)
            return f"BulkheadRevokeSessions-key{slot}"
        case "login-profile":
            return "BulkheadRevokeSessions-console"
        case _:
            return ""


def denies_all(document: str) -> bool:
    """Whether a policy denies everything to everybody who has it."""
    whole = ("*", ["*"])
    return any(
        s.get("Effect") == "Deny" and not s.get("Condition") and s.get("Action") in whole and s.get("Resource") in whole
        for s in aws_trust.statements(document)
    )


def login_made(world: World, user: str) -> str:
    """When the user's login profile was made; '' for none."""
    try:
        found = aws_iam.iam(world, "get_login_profile", f"read the login profile of {user}", UserName=user)
    except NotFound:
        return ""
    return aws_iam.iso(found["LoginProfile"]["CreateDate"])


def policy_now(world: World, planted: Planted) -> str:
    """The planted policy as it is now: its document, ATTACHED, or ''."""
    holder = _HOLDERS[planted.kind]
    if planted.id.startswith("arn:"):
        return ATTACHED if planted.id in aws_iam.attached_policies(world, holder, planted.name) else ""
    return aws_iam.inline_policy(world, holder, planted.name, planted.id)


def look(world: World, planted: Planted) -> PlantedBefore:
    """Read what is there now. Raises InputError for a kind that nobody knows."""
    if planted.kind not in _HOLDERS:
        raise InputError(f"nothing is known about a planted {planted.kind!r}; known are {', '.join(sorted(_HOLDERS))}")
    holder, looked_at = _HOLDERS[planted.kind], aws_iam.iso(aws_iam.now(world))
    if not aws_iam.exists(world, holder, planted.name):
        said = f"there is no {holder} {planted.name} any more"
        return PlantedBefore(
            needed=False, exists=False, holder=holder, kind=planted.kind, looked_at=looked_at, summary=said
        )
    keys = aws_iam.keys_of(world, planted.name) if planted.kind in ("user", "access-key") else ()
    guard = _guard_name(planted, keys)
    if planted.kind == "access-key":
        keys = tuple(k for k in keys if k.id == planted.id)
    login = login_made(world, planted.name) if planted.kind in ("user", "login-profile") else ""
    policy = policy_now(world, planted) if planted.kind.endswith("-policy") else ""
    trust = aws_trust.read(world, planted.name) if planted.kind in ("role", "trust") else ""
    edit = aws_trust.Edit(stands=True, wanted=aws_trust.NOBODY)
    if planted.kind == "trust":
        edit = aws_trust.judge(world, planted, trust)
    found = PlantedBefore(
        holder=holder, kind=planted.kind, keys=keys, login_made=login, policy=policy, guard=guard, looked_at=looked_at,
        guarded=aws_iam.inline_policy(world, holder, planted.name, guard) if guard else "",
        trust=trust if edit.stands else "", trust_wanted=edit.wanted if trust and edit.stands else "",
        cuts_own=_own(world, planted, keys),
    )  # fmt: skip
    said = "; ".join(_said(planted, found)) or f"{planted.kind} {planted.name} {planted.id}".rstrip() + " is gone"
    # A guard is wanted even when the key or password is gone already: the sessions made with it are not.
    ours = bool(found.guard or found.policy or found.trust) and aws_iam.QUARANTINE not in planted.id
    return replace(found, needed=ours, summary=said)


def there(planted: Planted, found: PlantedBefore) -> bool:
    """Whether the planted thing itself is still there."""
    if planted.kind in ("user", "role"):
        return found.exists
    return bool(found.keys or found.login_made or found.policy or found.trust)


def _own(world: World, planted: Planted, keys: tuple[KeyState, ...]) -> bool:
    if any(key.id in aws_iam.own_keys(world) for key in keys):
        return True
    return planted.kind in ("user", "role") and aws_iam.is_own(world, _HOLDERS[planted.kind], planted.name)


def _said(planted: Planted, found: PlantedBefore) -> Iterator[str]:
    """What the step would do, in sentences."""
    for key in found.keys:
        yield f"{key.id} ({key.status}) becomes Inactive"
    if found.login_made:
        yield f"the password of {planted.name} is deleted, which no undo brings back"
    if found.policy:
        yield f"{planted.id} is {'detached from' if found.policy == ATTACHED else 'deleted from'} {planted.name}"
    if found.trust and not found.trust_wanted:
        yield f"{planted.name} was opened by an edit that nobody can read back any more: a person must edit it"
    elif found.trust:
        gone = set(aws_trust.principals(found.trust)) - set(aws_trust.principals(found.trust_wanted))
        yield f"{planted.name} no longer lets in {', '.join(sorted(gone)) or 'what the edit allowed'}"
    if found.guard == DENY_ALL:
        yield f"{planted.name} is denied everything"
    elif found.guard:
        yield f"open sessions of {planted.name} are denied everything"


def run(world: World, planted: Planted, before: PlantedBefore) -> Disabled:
    """Take every facet away that is still there. Called again it changes nothing."""
    if not before.needed:
        return Disabled(changed=False, summary=before.summary)
    if before.cuts_own:
        raise aws_iam.refuse_own(f"{planted.kind} {planted.name}")
    # A planted user and its planted key are two steps at once: both would see the key Active, and both would cut it.
    with aws_iam.alone_with(_HOLDERS[planted.kind], planted.name):
        return _take_away(world, planted, before)


def _take_away(world: World, planted: Planted, before: PlantedBefore) -> Disabled:
    holder, name = _HOLDERS[planted.kind], planted.name
    done, cutoff = [], ""
    if before.guard == DENY_ALL:
        done.append(_deny_all(world, holder, name, before))
    for key in before.keys:
        now = aws_iam.key_of(world, name, key.id)
        if now and now.status != "Inactive":
            aws_iam.set_key(world, name, key.id, "Inactive")
            done.append(True)
    if before.login_made and login_made(world, name):
        done.append(_delete_login(world, name))
    if before.guard not in ("", DENY_ALL):
        moved, moment = deny_older(world, holder, name, before.guard, before=before.guarded, since=before.looked_at)
        done, cutoff = [*done, moved], aws_iam.iso(moment)
    if before.trust:
        done.append(_write_trust(world, name, before))
    if before.policy and policy_now(world, planted):
        _remove_policy(world, planted)
        done.append(True)
    at, said = aws_iam.iso(aws_iam.now(world)), f"{planted.kind} {name} is disabled"
    return Disabled(changed=any(done), at=at, cutoff=cutoff, summary=said)


def _deny_all(world: World, holder: Holder, name: str, before: PlantedBefore) -> bool:
    document = aws_iam.inline_policy(world, holder, name, DENY_ALL)
    if denies_all(document):
        return False
    if document != before.guarded:
        raise Conflict(f"{DENY_ALL} of {name} was changed since the look", {DENY_ALL: (before.guarded, document)})
    aws_iam.put_inline(world, holder, name, DENY_ALL, DENY_ALL_DOCUMENT)
    return True


def _delete_login(world: World, user: str) -> bool:
    try:
        aws_iam.iam(world, "delete_login_profile", f"delete the login profile of {user}", UserName=user)
    except NotFound:  # somebody, or another step, was faster
        return False
    return True


def _write_trust(world: World, role: str, before: PlantedBefore) -> bool:
    if not before.trust_wanted:
        raise Conflict(
            f"nobody can tell what the trust policy of {role} said before it was edited: CloudTrail no longer holds it"
            " and every principal in it is known. Edit it by hand, then look again"
        )
    now = aws_trust.read(world, role)
    if now == before.trust_wanted:
        return False
    if now != before.trust:
        raise Conflict(f"the trust policy of {role} was changed since the look", {"trust": (before.trust, now)})
    aws_trust.write(world, role, before.trust_wanted)
    return True


def _remove_policy(world: World, planted: Planted) -> None:
    holder = _HOLDERS[planted.kind]
    if not planted.id.startswith("arn:"):
        aws_iam.delete_inline(world, holder, planted.name, planted.id)
        return
    try:
        aws_iam.iam(world, f"detach_{holder}_policy", f"detach {planted.id}",
                    **aws_iam.named(holder, planted.name), PolicyArn=planted.id)  # fmt: skip
    except NotFound:
        return


def alive(world: World, planted: Planted, before: PlantedBefore) -> list[str]:
    """What of it still stands, in sentences; empty when it is disabled. ``before`` says what should stand instead."""
    holder, name = _HOLDERS[planted.kind], planted.name
    if not aws_iam.exists(world, holder, name):
        return []
    left = []
    for key in before.keys:
        now = aws_iam.key_of(world, name, key.id)
        if now and now.status != "Inactive":
            left.append(f"{key.id} of {name} is {now.status}")
    if planted.kind in ("user", "login-profile") and login_made(world, name):
        left.append(f"{name} has a password")
    if before.guard:
        document = aws_iam.inline_policy(world, holder, name, before.guard)
        cutoff = cutoff_in(document)
        stopped = cutoff and cutoff >= aws_iam.parse(before.looked_at)
        if before.needed and not (denies_all(document) if before.guard == DENY_ALL else stopped):
            left.append(f"{before.guard} does not stop {name}")
    if before.trust and aws_trust.read(world, name) != before.trust_wanted:
        left.append(f"the trust policy of {name} is not what it should be")
    if planted.kind.endswith("-policy") and before.needed and policy_now(world, planted):
        left.append(f"{planted.id} still stands on {name}")
    return left


def prove(world: World, planted: Planted, before: PlantedBefore, out: Disabled) -> Proof:
    """Read every facet again; a planted key whose secret is held is tried too."""
    left = alive(world, planted, before)
    if left:
        return Proof.not_yet("; ".join(left)) if aws_iam.settling(world, out.at) else Proof.refuted("; ".join(left))
    if planted.kind == "access-key":
        tried = aws_iam.refused_as(world, planted.id)
        if tried is False:
            return Proof.not_yet(f"AWS still accepts {planted.id}")
        if tried:
            return Proof.proven(Grade.REFUSED, f"AWS refuses {planted.id}")
    return Proof.proven(Grade.STATE, f"IAM shows {planted.kind} {planted.name} {planted.id}".rstrip() + " disabled")


def undo(world: World, planted: Planted, before: PlantedBefore, out: Disabled) -> Outcome:
    """Put every facet back but a password. Raises Conflict, before anything is written, when one is no longer ours."""
    if not before.needed:
        return Outcome(changed=False, summary=before.summary)
    holder, name = _HOLDERS[planted.kind], planted.name
    ours = deny_document(aws_iam.parse(out.cutoff)) if out.cutoff else DENY_ALL_DOCUMENT
    diff = _foreign(world, planted, before, ours)
    if diff:
        raise Conflict(f"{planted.kind} {name} is no longer as Bulkhead left it", diff)
    done = []
    if before.guard:
        done.append(restore(world, holder, name, before.guard, before=before.guarded, ours=ours))
    for key in before.keys:
        now = aws_iam.key_of(world, name, key.id)
        if now and now.status != key.status:
            aws_iam.set_key(world, name, key.id, key.status)
            done.append(True)
    if before.trust and aws_trust.read(world, name) != before.trust:
        aws_trust.write(world, name, before.trust)
        done.append(True)
    if before.policy and not policy_now(world, planted):
        _put_policy_back(world, planted, before.policy)
        done.append(True)
    lost = f"; the password of {name} cannot be brought back, give a new one" if before.login_made else ""
    return Outcome(changed=any(done), summary=f"{planted.kind} {name} is as it was{lost}")


def _foreign(world: World, planted: Planted, before: PlantedBefore, ours: str) -> dict[str, tuple[object, object]]:
    """What is neither as it was nor as we left it."""
    diff: dict[str, tuple[object, object]] = {}
    for key in before.keys:
        if aws_iam.key_of(world, planted.name, key.id) is None:
            diff[key.id] = ("Inactive", "gone")
    if before.guard:
        document = aws_iam.inline_policy(world, _HOLDERS[planted.kind], planted.name, before.guard)
        if document not in (before.guarded, ours):
            diff[before.guard] = (ours, document)
    if before.trust:
        trust = aws_trust.read(world, planted.name)
        if trust not in (before.trust, before.trust_wanted):
            diff["trust"] = (before.trust_wanted, trust)
    if before.policy:
        policy = policy_now(world, planted)
        if policy not in ("", before.policy):
            diff[planted.id] = ("", policy)
    return diff


def _put_policy_back(world: World, planted: Planted, policy: str) -> None:
    holder = _HOLDERS[planted.kind]
    if policy != ATTACHED:
        aws_iam.put_inline(world, holder, planted.name, planted.id, policy)
        return
    aws_iam.iam(world, f"attach_{holder}_policy", f"attach {planted.id}",
                **aws_iam.named(holder, planted.name), PolicyArn=planted.id)  # fmt: skip


def _breaks(before: PlantedBefore) -> Breaks:
    stops = tuple(f"whatever uses {key.id}" for key in before.keys if key.status == "Active")
    if before.login_made:
        stops += ("signing in with that password",)
    if before.trust or before.policy:
        stops += ("whoever is let in by it, and by nothing else",)
    return Breaks(stops=stops, unknown=before.needed and not stops)


disable_planted = Action(
    name="aws.disable_planted",
    title="Disable what the leaked key planted",
    inputs=Planted, before=PlantedBefore, outcome=Disabled, effect=Effect.CONTAIN,
    look=look, run=run, prove=prove, undo=undo, breaks=_breaks,
    kills=lambda planted: planted.key,
    permissions=(
        "iam:GetUser", "iam:ListAccessKeys", "iam:UpdateAccessKey", "iam:GetLoginProfile", "iam:DeleteLoginProfile",
        "iam:GetUserPolicy", "iam:PutUserPolicy", "iam:DeleteUserPolicy", "iam:ListAttachedUserPolicies",
        "iam:AttachUserPolicy", "iam:DetachUserPolicy",
        "iam:GetRole", "iam:GetRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:ListAttachedRolePolicies",
        "iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:UpdateAssumeRolePolicy", "cloudtrail:LookupEvents",
    ),
)  # fmt: skip
