"""What a leaked key did, as CloudTrail tells it: its own calls, those of keys it made and of sessions it took.

``LookupEvents`` (docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html): 90 days, management
events only, one attribute a call, 50 a page, 2 calls a second for an account and region, one region a client. Events
come minutes late. So what is found here is joined with IAM's own record in ``aws_planted``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from bot.actions.aws_iam import canonical, iso
from bot.clients import aws_errors
from bot.errors import RateLimited
from bot.model import Planted
from bot.world import World

PACE_S, PATIENCE = 0.55, 40  # 2 calls a second for the whole account: wait our turn, at most about 22 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One management event that succeeded. ``key`` is the access key that signed it."""

    id: str
    name: str
    at: datetime
    key: str
    actor: str  # user name, or the role of a session
    actor_type: str
    request: dict[str, Any]
    response: dict[str, Any]
    reads: bool
    source: str
    raw: str
    account: str = ""  # whose trail it stands in

    def asked(self, name: str) -> str:
        """A request parameter as text, or ''."""
        return str(self.request.get(name) or "")

    @property
    def made_key(self) -> str:
        """Id of the access key or session that its answer holds, or ''."""
        holder = self.response.get("accessKey") or self.response.get("credentials") or {}
        return str(holder.get("accessKeyId") or "")

    @property
    def until(self) -> datetime:
        """When the session that it opened ends by itself: an hour where it asked for no length, 12 for a user's own.

        API Reference of AssumeRole, AssumeRoleWithWebIdentity, GetSessionToken and GetFederationToken.
        """
        hours = 12 if self.name in ("GetSessionToken", "GetFederationToken") else 1
        return self.at + timedelta(seconds=int(self.request.get("durationSeconds") or hours * 3600))

    @property
    def role(self) -> str:
        """Name of the role that an AssumeRole asked for."""
        return self.asked("roleArn").rpartition("/")[2]

    @property
    def abroad(self) -> bool:
        """Whether that role is of another account than the one whose trail it stands in."""
        owner = self.asked("roleArn").split(":")[4:5]
        return bool(self.account and owner) and owner != [self.account]


def lookup(
    world: World, attribute: str, value: str, since: datetime, until: datetime, *, most: int = 0, region: str = ""
) -> list[Call]:  # fmt: skip
    """Every successful call of the window with this attribute, oldest first; ``most``: only so many, the newest.

    An empty page with a token is not the end. A throttled page is waited for, since a new start would be throttled too.
    """
    calls = (call for call in map(_call, events(world, attribute, value, since, until, region)) if call is not None)
    found = {call.id: call for call in islice(calls, most or None)}
    return sorted(found.values(), key=lambda c: (c.at, c.id))


def events(
    world: World, attribute: str, value: str, since: datetime, until: datetime, region: str = ""
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Every event of the window with this attribute as LookupEvents gives it, refused calls too, newest first."""
    query = {
        "LookupAttributes": [{"AttributeKey": attribute, "AttributeValue": value}],
        "StartTime": since, "EndTime": until, "MaxResults": 50,
    }  # fmt: skip
    token = ""
    while True:
        answer = _page(world, query | ({"NextToken": token} if token else {}), region)
        yield from answer.get("Events", [])
        token = answer.get("NextToken", "")
        if not token:
            return


def _page(world: World, query: dict[str, Any], region: str) -> dict[str, Any]:
    for left in reversed(range(PATIENCE)):
        try:
            with aws_errors("read CloudTrail"):
                answer: dict[str, Any] = world.aws.client("cloudtrail", region).lookup_events(**query)
            return answer
        except RateLimited:
            if not left:
                raise
            time.sleep(PACE_S)
    raise AssertionError("the last try returns or raises")


def _call(event: dict[str, Any]) -> Call | None:
    """The event as a call, or None when it was refused: what was refused changed nothing."""
    raw = str(event["CloudTrailEvent"])
    data = json.loads(raw)
    if data.get("errorCode"):
        return None
    who = data.get("userIdentity") or {}
    issuer = (who.get("sessionContext") or {}).get("sessionIssuer") or {}
    return Call(
        id=event["EventId"], name=event["EventName"], at=event["EventTime"], raw=raw,
        key=str(who.get("accessKeyId") or ""), actor_type=str(who.get("type") or ""),
        actor=str(who.get("userName") or issuer.get("userName") or ""),
        request=data.get("requestParameters") or {}, response=data.get("responseElements") or {},
        reads=data.get("readOnly") in (True, "true"), source=str(data.get("eventSource") or ""),
        account=str(data.get("recipientAccountId") or ""),
    )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Deeds:
    """What was done with a leaked key and with everything that came from it."""

    leaked: str
    keys: set[str] = field(default_factory=set)  # access keys and sessions that were the attacker's
    planted: dict[str, Planted] = field(default_factory=dict)  # by ledger key
    roles: dict[str, datetime] = field(default_factory=dict)  # role -> the last time it was assumed
    abroad: dict[str, datetime] = field(default_factory=dict)  # the same of roles of other accounts, by their ARNs
    opened: dict[str, str] = field(default_factory=dict)  # session abroad -> the ARN of its role
    sessions: dict[str, datetime] = field(default_factory=dict)  # user -> the last time a session was taken
    others: list[str] = field(default_factory=list)  # changes that no kind of Planted names
    images: list[Call] = field(default_factory=list)  # changes at ECR
    unknown: list[str] = field(default_factory=list)  # what could not be seen, in sentences
    seen: set[str] = field(default_factory=set)  # keys, users and events that were followed already

    def __post_init__(self) -> None:
        self.keys.add(self.leaked)

    def add(self, planted: Planted) -> None:
        """Take one in. The first event counts: a trust goes back to what stood before the first edit."""
        if planted.kind == "access-key":
            self.keys.add(planted.id)
        if planted.key != f"aws-access-key:{self.leaked}":
            self.planted.setdefault(planted.key, planted)

    def names(self, kind: str) -> set[str]:
        """Users or roles that the attacker made."""
        return {p.name for p in self.planted.values() if p.kind == kind}


def follow(world: World, deeds: Deeds, since: datetime, until: datetime) -> None:
    """Follow keys and users through everything that they made, until nothing new comes."""
    while True:
        keys, users = deeds.keys - deeds.seen, deeds.names("user") - deeds.seen
        if not keys and not users:
            return
        calls = [c for key in sorted(keys) for c in lookup(world, "AccessKeyId", key, since, until)]
        for user in sorted(users):  # console sessions sign with keys that no answer shows
            named = lookup(world, "Username", user, since, until)
            calls += [c for c in named if c.actor_type == "IAMUser" and c.actor == user]
        deeds.seen |= keys | users
        for call in sorted(calls, key=lambda c: (c.at, c.id)):
            if call.id not in deeds.seen:
                deeds.seen.add(call.id)
                _judge(deeds, call)


def changed_abroad(world: World, session: str, since: datetime, until: datetime) -> list[Call]:
    """What a session of another account's role changed there, or opened; ``world``: AWS as that account."""
    calls = lookup(world, "AccessKeyId", session, since, until)
    return [call for call in calls if not call.reads or call.made_key]


def _judge(deeds: Deeds, call: Call) -> None:
    """Sort one call of the attacker's."""
    if call.made_key:
        deeds.keys.add(call.made_key)
    if call.name in ("AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity") and call.abroad:
        arn = call.asked("roleArn")
        deeds.abroad[arn] = max(call.at, deeds.abroad.get(arn, call.at))
        deeds.opened |= {call.made_key: arn} if call.made_key else {}
    elif call.name in ("AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"):
        deeds.roles[call.role] = max(call.at, deeds.roles.get(call.role, call.at))
    elif call.name in ("GetSessionToken", "GetFederationToken"):
        deeds.sessions[call.actor] = max(call.at, deeds.sessions.get(call.actor, call.at))
    elif planted := planted_by(call):
        deeds.add(planted)
    elif not call.reads and call.source == "ecr.amazonaws.com":
        deeds.images.append(call)
    elif not call.reads and call.source == "iam.amazonaws.com":
        deeds.others.append(shown(call))


def shown(call: Call) -> str:
    """A call in words, without documents."""
    return f"{call.name} at {iso(call.at)} ({', '.join(_shown(call))})"


def _shown(call: Call) -> Iterator[str]:
    for name, value in sorted(call.request.items()):
        if isinstance(value, str) and not name.lower().endswith("document"):
            yield f"{name}={value}"


def planted_by(call: Call) -> Planted | None:
    """What a call planted, or None. Set a key Active again, or a new password, counts as planting it."""
    user, role = call.asked("userName"), call.asked("roleName")
    kind, name, made = "", user or role, ""
    match call.name:
        case "CreateAccessKey":
            made = call.made_key
            kind, name = "access-key", user or str((call.response.get("accessKey") or {}).get("userName") or call.actor)
        case "UpdateAccessKey" if call.asked("status") == "Active":
            kind, made, name = "access-key", call.asked("accessKeyId"), user or call.actor
        case "CreateUser":
            kind = "user"
        case "CreateRole":
            kind = "role"
        case "CreateLoginProfile" | "UpdateLoginProfile":
            kind = "login-profile"
        case "PutUserPolicy" | "PutRolePolicy":
            kind, made = f"{'user' if user else 'role'}-policy", call.asked("policyName")
        case "AttachUserPolicy" | "AttachRolePolicy":
            kind, made = f"{'user' if user else 'role'}-policy", call.asked("policyArn")
        case "UpdateAssumeRolePolicy":
            kind = "trust"
    if not kind:
        return None
    return Planted(kind=kind, name=name, id=made, at=iso(call.at), event=call.id)


def trust_document(call: Call) -> str:
    """The trust policy that a CreateRole or UpdateAssumeRolePolicy wrote, canonical, or ''."""
    return canonical(call.request.get("policyDocument") or call.request.get("assumeRolePolicyDocument"))
