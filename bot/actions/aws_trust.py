"""The trust policy of a role: whom it lets in, and what it said before somebody else edited it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.actions import aws_iam, aws_trail
from bot.errors import NotFound
from bot.model import Planted
from bot.world import World

TRAIL_DAYS = 90  # LookupEvents goes back no further

# A trust policy must hold a statement: this one lets nobody in.
NOBODY = aws_iam.canonical(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "BulkheadNobody", "Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        ],
    }
)


def read(world: World, role: str) -> str:
    """The trust policy, canonical, or '' when there is no such role."""
    try:
        answer = aws_iam.iam(world, "get_role", f"read role {role}", RoleName=role)
    except NotFound:
        return ""
    return aws_iam.canonical(answer["Role"].get("AssumeRolePolicyDocument"))


def write(world: World, role: str, document: str) -> None:
    """Replace the trust policy. Sessions that are open live on."""
    aws_iam.iam(world, "update_assume_role_policy", f"write the trust policy of {role}",
                RoleName=role, PolicyDocument=document)  # fmt: skip


def statements(document: str) -> list[dict[str, Any]]:
    """The statements of a policy, one or many."""
    found = json.loads(document).get("Statement", []) if document else []
    return found if isinstance(found, list) else [found]


def principals(document: str) -> Iterator[str]:
    """AWS principals that a trust policy lets in."""
    for statement in statements(document):
        if statement.get("Effect") == "Allow":
            yield from _aws(statement)


def _aws(statement: dict[str, Any]) -> list[str]:
    principal = statement.get("Principal", {})
    found = principal if isinstance(principal, str) else principal.get("AWS", [])
    return [found] if isinstance(found, str) else list(found)


def without(document: str, removed: set[str]) -> str:
    """The trust policy with these principals no longer let in; what lets nobody in is dropped."""
    kept = []
    for statement in statements(document):
        aws = _aws(statement)
        if statement.get("Effect") != "Allow" or not removed & set(aws):
            kept.append(statement)
            continue
        rest = [p for p in aws if p not in removed]
        others = statement["Principal"] if isinstance(statement["Principal"], dict) else {}
        principal = {k: v for k, v in others.items() if k != "AWS"} | ({"AWS": rest} if rest else {})
        if principal:
            kept.append(statement | {"Principal": principal})
    if not kept:
        return NOBODY
    return aws_iam.canonical(json.loads(document) | {"Statement": kept})


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A trust edit as it stands. ``wanted``: what the policy should say again, '' when that cannot be told."""

    stands: bool
    wanted: str


def judge(world: World, planted: Planted, document: str) -> Edit:
    """Whether a planted trust edit still has effect, and what should stand instead.

    First choice is the document from before the edit, as CloudTrail holds it; else the present one without the
    principals that the edit can have let in: those that the editor made, those of other accounts, and deleted ones.
    A policy that is none of the editor's and lets in no such principal has been put right since.
    """
    if planted.id:  # found by the principal that it lets in
        return Edit(stands=planted.id in principals(document), wanted=without(document, {planted.id}))
    edited = aws_iam.parse(planted.at)
    since, until = edited - timedelta(days=TRAIL_DAYS), aws_iam.now(world) + timedelta(seconds=1)
    editors = {c.key for c in aws_trail.lookup(world, "EventId", planted.event, edited, edited + timedelta(seconds=1))}
    history = [
        c for c in aws_trail.lookup(world, "ResourceName", planted.name, since, until)
        if c.name in ("CreateRole", "UpdateAssumeRolePolicy") and c.asked("roleName") == planted.name
    ]  # fmt: skip
    theirs = {aws_trail.trust_document(c) for c in history if c.key in editors}
    earlier = [aws_trail.trust_document(c) for c in history if c.key not in editors and c.at <= edited]
    strangers = _strangers(world, planted.name, document, editors, since)
    stands = document in theirs or bool(strangers)
    if earlier:
        return Edit(stands=stands, wanted=earlier[-1])
    return Edit(stands=stands, wanted=without(document, strangers) if strangers else "")


def _strangers(world: World, role: str, document: str, editors: set[str], since: datetime) -> set[str]:
    account = aws_iam.iam(world, "get_role", f"read role {role}", RoleName=role)["Role"]["Arn"].split(":")[4]
    made: set[str] = set()
    for editor in editors:
        for call in aws_trail.lookup(world, "AccessKeyId", editor, since, aws_iam.now(world)):
            if call.name == "CreateUser":
                made.add("user/" + call.asked("userName"))
            elif call.name == "CreateRole":
                made.add("role/" + call.asked("roleName"))
    return {p for p in principals(document) if _stranger(p, account, made)}


def _stranger(principal: str, account: str, made: set[str]) -> bool:
    if not principal.startswith("arn:"):  # "*", an account's number, or AIDA…/AROA…: one that was deleted
        return principal != account
    parts = principal.split(":")
    kind, _, path = parts[5].partition("/")
    return parts[4] != account or f"{kind}/{path.rpartition('/')[2]}" in made
