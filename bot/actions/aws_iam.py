"""IAM as the AWS actions read and write it: keys, last uses, policies by name. Every error leaves as one of ours.

IAM is eventually consistent ("a few minutes", docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html):
what was just written may not be read back at once. ``settling`` says how long a proof takes that into account.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from bot.accounts import VARIABLE, console
from bot.clients import aws_errors
from bot.errors import Conflict, Forbidden, InputError, NotFound, Refused, Unmapped
from bot.model import Breaks
from bot.world import World

Holder = Literal["user", "role"]

SETTLE_S = 30.0
QUARANTINE = "AWSCompromisedKeyQuarantine"  # AWS attaches it, V2 or V3 by itself when it sees a key in public


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """One access key of a user, as ListAccessKeys tells it."""

    id: str
    status: str
    created: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastUse:
    """Who owns a key and where it was last used (GetAccessKeyLastUsed). Empty ``at``: never, as far as AWS knows."""

    user: str = ""
    at: str = ""
    service: str = ""
    region: str = ""

    def __str__(self) -> str:
        return f"last used {self.at} by {self.service} in {self.region}" if self.at else "never used"


_alone: defaultdict[tuple[Holder, str], threading.Lock] = defaultdict(threading.Lock)


def alone_with(holder: Holder, name: str) -> threading.Lock:
    """Held while one step looks at a user or role and changes it: between the two, no other of this process does."""
    return _alone[holder, name]


def where(world: World, role: str) -> tuple[World, str]:
    """Where a role is, and its name there: an ARN is of another account. Raises Unmapped where the map has not that."""
    if not role.startswith("arn:"):
        return world, role
    number, name = role.split(":")[4], role.rpartition("/")[2]
    there = world.aws_everywhere.get(number)
    if there is None:
        raise Unmapped(
            f"{role} is of AWS account {number}, which is not in the account map ({VARIABLE}): a person has to do it "
            f"there, signed in at {console(number)}", provider="aws", account=number,
        )  # fmt: skip
    return replace(world, aws=there), name


def named(holder: Holder, name: str) -> dict[str, str]:
    """The parameter that names a user or a role."""
    return {"UserName" if holder == "user" else "RoleName": name}


def iam(world: World, operation: str, what: str, **kw: Any) -> dict[str, Any]:
    """One IAM call as the bot. ``what`` finishes "AWS refused to …"."""
    with aws_errors(what):
        answer: dict[str, Any] = getattr(world.aws.client("iam"), operation)(**kw)
    return answer


def listed(world: World, operation: str, items: str, what: str, **kw: Any) -> list[Any]:
    """Every item of a paged IAM list."""
    with aws_errors(what):
        pages = world.aws.client("iam").get_paginator(operation).paginate(**kw)
        return [item for page in pages for item in page.get(items, [])]


def now(world: World) -> datetime:
    """The time for what AWS will compare with its own: ours, or AWS's where that is ahead of ours.

    A cut-off stamped by a clock that is behind leaves every session alive that was minted in between.
    """
    ours, theirs = world.now(), world.aws.now()
    ahead = theirs is not None and theirs - ours > timedelta(seconds=1.5)  # AWS tells whole seconds
    return theirs + timedelta(seconds=1) if ahead and theirs is not None else ours


def iso(moment: datetime) -> str:
    """UTC, to the microsecond when there is one: the form in which times stand in Before and Outcome."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse(text: str) -> datetime:
    """The inverse of ``iso``; a time without zone is UTC. Raises InputError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is not a time; write it like 2026-11-23T05:06:49Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def canonical(document: Any) -> str:
    """A policy document as one line, so that two can be compared. '' for none."""
    if not document:
        return ""
    plain = json.loads(document) if isinstance(document, str) else document
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def settling(world: World, at: str) -> bool:
    """Whether a write made at ``at`` may still be on its way through IAM."""
    return bool(at) and now(world) - parse(at) < timedelta(seconds=SETTLE_S)


def keys_of(world: World, user: str) -> tuple[KeyState, ...]:
    """The user's access keys, oldest first. Raises NotFound when there is no such user."""
    found = listed(world, "list_access_keys", "AccessKeyMetadata", f"list the access keys of {user}", UserName=user)
    keys = (KeyState(id=k["AccessKeyId"], status=k["Status"], created=iso(k["CreateDate"])) for k in found)
    return tuple(sorted(keys, key=lambda k: (k.created, k.id)))


def key_of(world: World, user: str, key: str) -> KeyState | None:
    """One key of the user, or None when it (or the user) is gone."""
    try:
        return next((k for k in keys_of(world, user) if k.id == key), None)
    except NotFound:
        return None


def last_use(world: World, key: str) -> LastUse:
    """Raises NotFound when the key is not of this account, or gone."""
    answer = iam(world, "get_access_key_last_used", f"ask who owns {key}", AccessKeyId=key)
    used = answer.get("AccessKeyLastUsed", {})
    user = str(answer.get("UserName") or "")
    if not user:
        raise NotFound(f"AWS knows no owner of {key} in this account", provider="aws", code="NoSuchEntity")
    if not used.get("LastUsedDate"):
        return LastUse(user=user)
    return LastUse(user=user, at=iso(used["LastUsedDate"]), service=used["ServiceName"], region=used["Region"])


def breaks_of(use: LastUse) -> Breaks:
    """What stops with a key, as far as IAM knows; which workflow that was, triage knows."""
    if not use.at:
        return Breaks(unknown=True)
    return Breaks(stops=(f"whatever called {use.service} in {use.region} as {use.user} on {use.at}",))


def quarantine_of(world: World, user: str) -> str:
    """Name of AWS's quarantine policy on the user, '' for none, 'unknown' when we may not look: a cut goes on then.

    The policy is a list of denied actions, not a cut (AssumeRole and ListBuckets still pass), and it is AWS's: it is
    left where it is. docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCompromisedKeyQuarantineV3.html
    """
    try:
        names = (arn.rpartition("/")[2] for arn in attached_policies(world, "user", user))
        return next((name for name in names if name.startswith(QUARANTINE)), "")
    except Forbidden:
        return "unknown"


def own_keys(world: World) -> frozenset[str]:
    """Ids of the access keys that Bulkhead itself lives by."""
    return frozenset(name.partition(":")[2] for name in world.identities if name.startswith("aws-access-key:"))


def is_own(world: World, holder: Holder, name: str) -> bool:
    """Whether Bulkhead itself acts as this user or role."""
    if f"aws-{holder}:{name}" in {*world.identities, *world.aws.identities()}:
        return True
    if not any(identity.startswith("aws-") for identity in world.identities):
        return False
    with aws_errors("ask who Bulkhead is"):
        arn = str(world.aws.client("sts").get_caller_identity()["Arn"])
    kind, *rest = arn.rpartition(":")[2].split("/")  # user/PATH/NAME or assumed-role/NAME/SESSION
    return {"user": ("user", rest[-1:]), "role": ("assumed-role", rest[:1])}[holder] == (kind, [name])


def refuse_own(what: str) -> Conflict:
    """A step that would cut the hand that does it."""
    return Conflict(
        f"{what} is what Bulkhead itself lives by: cutting it would stop every later step, its proof too. It goes last:"
        " give Bulkhead another AWS identity, start it again and retry this step, or do it by hand"
    )


def inline_policy(world: World, holder: Holder, name: str, policy: str) -> str:
    """The inline policy's document, canonical, or '' when it (or its holder) is not there."""
    try:
        answer = iam(world, f"get_{holder}_policy", f"read {policy} of {name}",
                     **named(holder, name), PolicyName=policy)  # fmt: skip
    except NotFound:
        return ""
    return canonical(answer["PolicyDocument"])


def put_inline(world: World, holder: Holder, name: str, policy: str, document: str) -> None:
    """Write an inline policy; the same again changes nothing."""
    iam(world, f"put_{holder}_policy", f"put {policy} on {name}",
        **named(holder, name), PolicyName=policy, PolicyDocument=document)  # fmt: skip


def delete_inline(world: World, holder: Holder, name: str, policy: str) -> bool:
    """Take an inline policy away; False when it was not there."""
    try:
        iam(world, f"delete_{holder}_policy", f"delete {policy} of {name}", **named(holder, name), PolicyName=policy)
    except NotFound:
        return False
    return True


def attached_policies(world: World, holder: Holder, name: str) -> tuple[str, ...]:
    """ARNs of the managed policies attached; () when the holder is not there."""
    try:
        found = listed(world, f"list_attached_{holder}_policies", "AttachedPolicies", f"list policies of {name}",
                       **named(holder, name))  # fmt: skip
    except NotFound:
        return ()
    return tuple(sorted(p["PolicyArn"] for p in found))


def exists(world: World, holder: Holder, name: str) -> bool:
    """Whether there is such a user or role."""
    try:
        iam(world, f"get_{holder}", f"read {holder} {name}", **named(holder, name))
    except NotFound:
        return False
    return True


def set_key(world: World, user: str, key: str, status: str) -> None:
    """Active or Inactive. The user is always named: without, IAM takes the caller's."""
    iam(world, "update_access_key", f"set {key} of {user} {status}", UserName=user, AccessKeyId=key, Status=status)


def refused_as(world: World, key: str) -> bool | None:
    """Try the key itself: True refused, False accepted, None when the secret is not held or says nothing.

    GetCallerIdentity has no side effect and passes whatever policies deny, so only a dead key is refused
    (docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html). A wrong signature means that what we
    hold is not this key's secret, which proves nothing about the key.
    """
    secret = world.secrets.of(f"aws-access-key:{key}")
    if secret is None:
        return None
    try:
        with aws_errors(f"accept {key}"):
            world.aws.client_as("sts", key, secret).get_caller_identity()
    except Refused as exc:
        return True if exc.code == "InvalidClientTokenId" else None
    return False
