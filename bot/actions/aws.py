"""AWS access keys: describe, deactivate, rotate, delete.

A key id alone is enough to find its user (GetAccessKeyLastUsed). A user has two keys at most, so rotating needs a free
slot, and an attacker's second key may fill it. docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import timedelta

from bot.action import Action
from bot.actions import aws_iam, aws_trail, aws_trust
from bot.actions.aws_iam import Holder, KeyState, LastUse
from bot.actions.aws_planted import new_key_label
from bot.clients import aws_errors
from bot.errors import Conflict, NotFound, Refused
from bot.model import Before, Breaks, Effect, EvidenceRef, Grade, Outcome, Proof, material
from bot.world import World

GONE = "Deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An access key, by its id."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserKey:
    """An access key of a user."""

    user: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The user that gets a new key, and the key that it replaces."""

    user: str
    old: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBefore(Before):
    """A key as it was. ``quarantine``: AWS's own policy on its user, which stays; 'unknown' when we may not look."""

    user: str = material(default="")
    status: str = material(default="")  # Active, Inactive, or Deleted
    created: str = ""
    last_use: LastUse = field(default_factory=LastUse)
    quarantine: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described(Outcome):
    """What IAM says about a key."""

    user: str = ""
    status: str = ""
    created: str = ""
    last_use: LastUse = field(default_factory=LastUse)
    siblings: tuple[KeyState, ...] = ()  # the user's other keys
    tags: dict[str, str] = field(default_factory=dict)
    policies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOutcome(Outcome):
    """``at``: when the call was made."""

    at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationBefore(Before):
    """The keys that were there. One that is there later and not in this list is ours, or somebody interfered."""

    user: str
    keys: tuple[KeyState, ...] = material(default=())
    looked_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated(Outcome):
    """``sealed``: the vault's references of the new key, by part: id and secret."""

    key_id: str = ""
    sealed: dict[str, str] = field(default_factory=dict)


def _owner(world: World, key: str) -> LastUse:
    """Whose key it is, also of one that was deleted in haste: CloudTrail still names its user. Raises NotFound."""
    try:
        return aws_iam.last_use(world, key)
    except NotFound as exc:
        missing = exc
    until = aws_iam.now(world) + timedelta(seconds=1)
    calls = aws_trail.lookup(world, "AccessKeyId", key, until - timedelta(days=aws_trust.TRAIL_DAYS), until)
    for call in reversed(calls):
        if call.actor_type == "IAMUser" and call.actor:
            return LastUse(user=call.actor, at=aws_iam.iso(call.at), service=call.source.partition(".")[0])
    raise missing


def _look(world: World, key: str) -> KeyBefore:
    use = _owner(world, key)
    state = aws_iam.key_of(world, use.user, key)
    quarantine = aws_iam.quarantine_of(world, use.user)
    status, own = state.status if state else GONE, key in aws_iam.own_keys(world)
    said = f"{key} of {use.user} is {status}, {use}"
    if quarantine not in ("", "unknown"):
        said += f"; AWS has put {quarantine} on {use.user}: it denies a list of actions, is no cut, and stays"
    if own:
        said += "; it is Bulkhead's own key"
    return KeyBefore(
        needed=status == "Active", cuts_own=own, user=use.user, status=status, last_use=use, quarantine=quarantine,
        created=state.created if state else "", summary=said,
    )  # fmt: skip


def _describe(world: World, target: Key, before: KeyBefore) -> Described:
    state = aws_iam.key_of(world, before.user, target.key)
    try:
        siblings = tuple(k for k in aws_iam.keys_of(world, before.user) if k.id != target.key)
        tags = aws_iam.listed(world, "list_user_tags", "Tags", f"list the tags of {before.user}", UserName=before.user)
    except NotFound:
        siblings, tags = (), []
    return Described(
        changed=False, summary=before.summary, user=before.user, status=state.status if state else GONE,
        created=state.created if state else "", last_use=before.last_use, siblings=siblings,
        tags={tag["Key"]: tag["Value"] for tag in tags},
        policies=aws_iam.attached_policies(world, "user", before.user),
    )  # fmt: skip


def _prove_described(world: World, target: Key, _before: KeyBefore, out: Described) -> Proof:
    state = aws_iam.key_of(world, out.user, target.key)
    status = state.status if state else GONE
    if status != out.status:
        return Proof.refuted(f"{target.key} is {status}, no longer {out.status}")
    return Proof.proven(Grade.STATE, f"IAM shows {target.key} of {out.user} {status}")


def _deactivate(world: World, target: Key, before: KeyBefore) -> KeyOutcome:
    if before.cuts_own:
        raise aws_iam.refuse_own(target.key)
    state = aws_iam.key_of(world, before.user, target.key)
    changed = state is not None and state.status == "Active"
    if changed:
        aws_iam.set_key(world, before.user, target.key, "Inactive")
    return KeyOutcome(changed=changed, at=aws_iam.iso(aws_iam.now(world)), summary=f"{target.key} no longer works")


def _prove_inactive(world: World, target: Key, before: KeyBefore, out: KeyOutcome) -> Proof:
    state = aws_iam.key_of(world, before.user, target.key)
    if state and state.status == "Active":
        said = f"IAM shows {target.key} Active"
        return Proof.not_yet(said) if aws_iam.settling(world, out.at) else Proof.refuted(said)
    return _prove_dead(world, target.key, state.status if state else GONE)


def _prove_dead(world: World, key: str, status: str) -> Proof:
    """IAM calls the key dead. When its secret is held, AWS must refuse it too before that counts."""
    refused = aws_iam.refused_as(world, key)
    if refused is False:
        return Proof.not_yet(f"IAM shows {key} {status}, but AWS still accepts it")
    if refused:
        return Proof.proven(Grade.REFUSED, f"AWS refuses {key}: InvalidClientTokenId")
    return Proof.proven(Grade.STATE, f"IAM shows {key} {status}")


def _reactivate(world: World, target: Key, before: KeyBefore, _out: KeyOutcome) -> Outcome:
    if before.status != "Active":
        return Outcome(changed=False, summary=f"{target.key} was {before.status} before")
    state = aws_iam.key_of(world, before.user, target.key)
    if state is None:
        raise Conflict(f"{target.key} is gone and cannot be made Active", {"status": ("Inactive", GONE)})
    if state.status == "Active":
        return Outcome(changed=False, summary=f"{target.key} is Active")
    aws_iam.set_key(world, before.user, target.key, "Active")
    return Outcome(changed=True, summary=f"{target.key} is Active again")


def _look_rotate(world: World, plan: Rotation) -> RotationBefore:
    keys = aws_iam.keys_of(world, plan.user)
    shown = ", ".join(f"{k.id} ({k.status})" for k in keys) or "no key"
    said = f"{plan.user} gets a new key in place of {plan.old}; it has {shown}"
    return RotationBefore(user=plan.user, keys=keys, looked_at=aws_iam.iso(aws_iam.now(world)), summary=said)


def _rotate(world: World, plan: Rotation, before: RotationBefore) -> Rotated:
    known = {key.id for key in before.keys}
    for key in aws_iam.keys_of(world, plan.user):
        if key.id in known:
            continue
        if world.secrets.ref(new_key_label(key.id)):
            return _sealed(world, key.id, changed=False)
        _drop_unsealed(world, plan, key, before)
    keys = aws_iam.keys_of(world, plan.user)
    if len(keys) >= 2:
        shown = " and ".join(f"{k.id} ({k.status}, {aws_iam.last_use(world, k.id)})" for k in keys)
        raise Conflict(f"{plan.user} has no free slot for a new key: {shown}. Delete one that nobody needs, then retry")
    made = aws_iam.iam(world, "create_access_key", f"make a key for {plan.user}", UserName=plan.user)["AccessKey"]
    # First of all: AWS never shows it again. The label holds the key's id, so that a rerun knows whose secret it is.
    credential = f"aws-access-key:{made['AccessKeyId']}"
    world.secrets.seal(new_key_label(made["AccessKeyId"]), made["SecretAccessKey"], credential)
    return _sealed(world, made["AccessKeyId"], changed=True)


def _sealed(world: World, key: str, *, changed: bool) -> Rotated:
    label = f"rotated {key} id"
    ref = world.secrets.ref(label) or world.secrets.seal(label, key)
    sealed = {"id": ref, "secret": world.secrets.ref(new_key_label(key))}
    return Rotated(changed=changed, key_id=key, sealed=sealed, summary=f"{key} is made, its secret is sealed")


def _drop_unsealed(world: World, plan: Rotation, key: KeyState, before: RotationBefore) -> None:
    """A key that came after our look and whose secret nobody holds: ours, when the answer was lost. Else Conflict."""
    use = aws_iam.last_use(world, key.id)
    older = aws_iam.parse(key.created) < aws_iam.parse(before.looked_at).replace(microsecond=0)
    if use.at or older or _made_by_another(world, plan.user, key.id, before):
        why = f"it is in use ({use})" if use.at else "it is not ours"
        raise Conflict(f"{plan.user} has a new key {key.id} of unknown origin, and {why}: see who made it, then retry",
                       {"keys": ([k.id for k in before.keys], key.id)})  # fmt: skip
    aws_iam.iam(world, "delete_access_key", f"delete {key.id}", UserName=plan.user, AccessKeyId=key.id)


def _made_by_another(world: World, user: str, key: str, before: RotationBefore) -> bool:
    """Whether CloudTrail already shows that somebody else made it; an event that is not there yet says nothing."""
    since = aws_iam.parse(before.looked_at).replace(microsecond=0)
    for call in aws_trail.lookup(world, "ResourceName", user, since, aws_iam.now(world) + timedelta(seconds=1)):
        if call.name == "CreateAccessKey" and call.made_key == key:
            holder: Holder = "user" if call.actor_type == "IAMUser" else "role"
            return not (call.key in aws_iam.own_keys(world) or aws_iam.is_own(world, holder, call.actor))
    return False


def _prove_rotated(world: World, plan: Rotation, _before: RotationBefore, out: Rotated) -> Proof:
    """The new key is there and AWS accepts it, as this user."""
    state = aws_iam.key_of(world, plan.user, out.key_id)
    if state is None or state.status != "Active":
        return Proof.refuted(f"{out.key_id} of {plan.user} is {state.status if state else GONE}")
    secret = world.secrets.open(out.sealed.get("secret", ""))
    if secret is None:
        return Proof.refuted(f"the vault does not hold the secret of {out.key_id}")
    try:
        with aws_errors(f"accept {out.key_id}"):
            arn = str(world.aws.client_as("sts", out.key_id, secret).get_caller_identity()["Arn"])
    except Refused as exc:
        if exc.code == "InvalidClientTokenId":  # a new key takes seconds to be known everywhere
            return Proof.not_yet(f"AWS does not know {out.key_id} yet")
        return Proof.refuted(f"AWS refuses {out.key_id}: {exc.code}")
    if arn.rpartition("/")[2] != plan.user:
        return Proof.refuted(f"{out.key_id} is a key of {arn}")
    return Proof.proven(Grade.STATE, f"AWS accepts {out.key_id} as {plan.user}")


def _unrotate(world: World, plan: Rotation, _before: RotationBefore, out: Rotated) -> Outcome:
    state = aws_iam.key_of(world, plan.user, out.key_id)
    if state is not None:
        use = aws_iam.last_use(world, out.key_id)
        if use.at and use.service != "sts":  # our own proof asked STS
            raise Conflict(f"{out.key_id} is in use", {out.key_id: ("never used", str(use))})
        aws_iam.iam(world, "delete_access_key", f"delete {out.key_id}", UserName=plan.user, AccessKeyId=out.key_id)
    for ref in out.sealed.values():
        world.secrets.wipe(ref)
    return Outcome(changed=state is not None, summary=f"{out.key_id} is deleted; whoever stored it needs another")


def _look_delete(world: World, target: UserKey) -> KeyBefore:
    state = aws_iam.key_of(world, target.user, target.key)
    if state is None:
        return KeyBefore(needed=False, user=target.user, status=GONE, summary=f"{target.user} has no key {target.key}")
    use, own = aws_iam.last_use(world, target.key), target.key in aws_iam.own_keys(world)
    said = f"{target.key} of {target.user} ({state.status}, {use}) is deleted for good"
    return KeyBefore(
        cuts_own=own, user=target.user, status=state.status, created=state.created, last_use=use, summary=said
    )


def _save_key(world: World, target: UserKey, before: KeyBefore) -> tuple[EvidenceRef, ...]:
    """What IAM and CloudTrail hold about the key, scrubbed; after the deletion IAM holds nothing."""
    until = aws_iam.now(world) + timedelta(seconds=1)
    calls = aws_trail.lookup(world, "AccessKeyId", target.key, until - timedelta(days=aws_trust.TRAIL_DAYS), until)
    facts = {"key": target.key} | asdict(before) | {"events": [json.loads(call.raw) for call in calls]}
    text = json.dumps(facts, indent=1, sort_keys=True)
    original = hashlib.sha256(text.encode()).hexdigest()
    return (world.evidence.save(f"aws-access-key-{target.key}.json", world.scrub(text).encode(), original),)


def _delete(world: World, target: UserKey, before: KeyBefore) -> KeyOutcome:
    if before.cuts_own:
        raise aws_iam.refuse_own(target.key)
    state = aws_iam.key_of(world, target.user, target.key)
    if state is None:
        return KeyOutcome(changed=False, summary=f"{target.key} is gone")
    if state.status != "Inactive":
        raise Conflict(f"{target.key} still works: deactivate it first, so that a mistake can be undone",
                       {"status": ("Inactive", state.status)})  # fmt: skip
    try:
        aws_iam.iam(world, "delete_access_key", f"delete {target.key}", UserName=target.user, AccessKeyId=target.key)
    except NotFound:  # somebody was faster
        return KeyOutcome(changed=False, summary=f"{target.key} is gone")
    return KeyOutcome(changed=True, at=aws_iam.iso(aws_iam.now(world)), summary=f"{target.key} is deleted")


def _prove_deleted(world: World, target: UserKey, _before: KeyBefore, out: KeyOutcome) -> Proof:
    state = aws_iam.key_of(world, target.user, target.key)
    if state is not None:
        said = f"IAM still shows {target.key} {state.status}"
        return Proof.not_yet(said) if aws_iam.settling(world, out.at) else Proof.refuted(said)
    return _prove_dead(world, target.key, GONE)


def _breaks_key(before: KeyBefore) -> Breaks:
    return aws_iam.breaks_of(before.last_use) if before.needed and before.status == "Active" else Breaks()


describe_access_key = Action(
    name="aws.describe_access_key",
    title="Describe an IAM access key",
    inputs=Key, before=KeyBefore, outcome=Described, effect=Effect.READ,
    look=lambda world, target: _look(world, target.key),
    run=_describe, prove=_prove_described, undo_none="it only reads",
    permissions=(
        "iam:GetAccessKeyLastUsed", "iam:ListAccessKeys", "iam:ListUserTags", "iam:ListAttachedUserPolicies",
        "cloudtrail:LookupEvents",
    ),
)  # fmt: skip

deactivate_access_key = Action(
    name="aws.deactivate_access_key",
    title="Deactivate an IAM access key",
    inputs=Key, before=KeyBefore, outcome=KeyOutcome, effect=Effect.CONTAIN,
    look=lambda world, target: _look(world, target.key),
    run=_deactivate, prove=_prove_inactive, undo=_reactivate, breaks=_breaks_key,
    kills=lambda target: f"aws-access-key:{target.key}",
    permissions=(
        "iam:GetAccessKeyLastUsed", "iam:ListAccessKeys", "iam:UpdateAccessKey", "iam:ListAttachedUserPolicies",
        "cloudtrail:LookupEvents",
    ),
)  # fmt: skip

rotate_access_key = Action(
    name="aws.rotate_access_key",
    title="Make a new IAM access key in place of an old one",
    inputs=Rotation, before=RotationBefore, outcome=Rotated, effect=Effect.CHANGE,
    look=_look_rotate, run=_rotate, prove=_prove_rotated, undo=_unrotate,
    permissions=(
        "iam:ListAccessKeys", "iam:GetAccessKeyLastUsed", "iam:CreateAccessKey", "iam:DeleteAccessKey",
        "cloudtrail:LookupEvents",
    ),
)  # fmt: skip

# It cuts no ledger row: only an Inactive key is deleted, and the step that made it so has proven that.
delete_access_key = Action(
    name="aws.delete_access_key",
    title="Delete an inactive IAM access key",
    inputs=UserKey, before=KeyBefore, outcome=KeyOutcome, effect=Effect.DESTROY,
    look=_look_delete, run=_delete, prove=_prove_deleted, breaks=_breaks_key, evidence=_save_key,
    undo_none="AWS keeps nothing of a deleted key; make a new one instead",
    permissions=(
        "iam:ListAccessKeys", "iam:GetAccessKeyLastUsed", "iam:DeleteAccessKey", "cloudtrail:LookupEvents",
    ),
)  # fmt: skip
