"""Find what a leaked key planted, and confirm that nothing of it can still act.

Two independent looks are joined: CloudTrail (who did what, minutes late) and IAM's own record (what was made in the
window, at once). What IAM shows and CloudTrail does not explain yet counts as planted: waiting for the log would give
the attacker those minutes. What the log shows to be somebody else's, or what is ours, does not.
Planted keys, users, passwords and trust edits: attack.mitre.org/techniques/T1098/001, T1136/003 and T1098/003.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.accounts import console
from bot.action import Action
from bot.actions import aws_disable, aws_iam, aws_trail, aws_trust
from bot.actions.aws_iam import Holder
from bot.actions.aws_sessions import cutoff_in
from bot.errors import NotFound, ProviderError
from bot.model import Before, Effect, Grade, Outcome, Planted, Proof
from bot.world import World

MANY_USERS = 500  # above this IAM is asked only about users that the trail names: two calls a user take too long
_LONGEST = {"user": timedelta(hours=36), "role": timedelta(hours=12)}  # no session lives longer
# What is denied everything first stops the most.
_ORDER = ("user", "role", "access-key", "login-profile", "trust", "user-policy", "role-policy")
_FOUND_BY = (
    "cloudtrail:LookupEvents", "iam:ListUsers", "iam:ListRoles", "iam:ListAccessKeys", "iam:GetLoginProfile",
    "iam:GetUser", "iam:GetRole", "iam:GetUserPolicy", "iam:GetRolePolicy", "iam:ListAttachedUserPolicies",
    "iam:ListAttachedRolePolicies",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A leaked key, its user, and the first moment it could be seen ('': as far back as CloudTrail goes)."""

    key: str
    user: str
    since: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBefore(Before):
    """The window that is searched."""

    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Outcome):
    """What the key planted and is still there. ``own_keys``: ids of planted keys of the user itself.

    ``assumed_roles``: by name; those of other accounts of the map by ARN. ``others`` are changes that only a person can
    judge; ``unknown`` says in sentences what could not be seen.
    """

    planted: tuple[Planted, ...] = ()
    assumed_roles: tuple[str, ...] = ()
    own_keys: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleanliness(Outcome):
    """``alive``: what can still act, in sentences; ``planted``: that which is a planted thing and joins the ledger."""

    alive: tuple[str, ...] = ()
    planted: tuple[Planted, ...] = ()


def new_key_label(key: str) -> str:
    """The vault's label for the secret of a key that Bulkhead itself made."""
    return f"rotated {key} secret"


def _look(world: World, window: Window) -> WindowBefore:
    earliest = aws_iam.now(world) - timedelta(days=aws_trust.TRAIL_DAYS)
    since = max(aws_iam.parse(window.since), earliest) if window.since else earliest
    return WindowBefore(since=aws_iam.iso(since), summary=f"what {window.key} planted since {aws_iam.iso(since)}")


def search(world: World, window: Window, before: WindowBefore) -> tuple[aws_trail.Deeds, tuple[Planted, ...]]:
    """What the key did, and what it planted that is still there."""
    # Both records have whole seconds; what was made in the second in which the key was exposed belongs to the window.
    since, until = aws_iam.parse(before.since).replace(microsecond=0), aws_iam.now(world) + timedelta(seconds=1)
    deeds = aws_trail.Deeds(leaked=window.key)
    aws_trail.follow(world, deeds, since, until)
    roles = aws_iam.listed(world, "list_roles", "Roles", "list roles")
    for planted in _dated(world, _users(world, deeds, window), roles, since):
        if planted.key not in deeds.planted and not _explained(world, planted, deeds, since, until):
            deeds.add(planted)
    aws_trail.follow(world, deeds, since, until)
    for planted in _let_in(roles, deeds):
        if f"aws-trust:{planted.name}" not in deeds.planted:
            deeds.add(planted)
    made = deeds.names("role")  # its trust was the attacker's from the first: there is nothing to go back to
    found = (p for p in deeds.planted.values() if p.kind != "trust" or p.name not in made)
    there = (p for p in found if aws_disable.there(p, aws_disable.look(world, p)))
    return deeds, tuple(sorted(there, key=lambda p: (_ORDER.index(p.kind), p.at, p.key)))


def _users(world: World, deeds: aws_trail.Deeds, window: Window) -> list[dict[str, Any]]:
    users = aws_iam.listed(world, "list_users", "Users", "list users")
    if len(users) <= MANY_USERS:
        return users
    deeds.unknown.append(f"{len(users)} users: IAM was asked only about those that CloudTrail names")
    named = {p.name for p in deeds.planted.values()} | {window.user}
    return [u for u in users if u["UserName"] in named]


def _dated(
    world: World, users: list[dict[str, Any]], roles: list[dict[str, Any]], since: datetime
) -> Iterator[Planted]:  # fmt: skip
    """What IAM dates into the window: users, their keys and passwords, roles."""
    for user in users:
        name = user["UserName"]
        if user["CreateDate"] >= since:
            yield Planted(kind="user", name=name, at=aws_iam.iso(user["CreateDate"]))
        yield from _keys_since(world, name, since)
        made = aws_disable.login_made(world, name)
        if made and aws_iam.parse(made) >= since:
            yield Planted(kind="login-profile", name=name, at=made)
    for role in roles:
        if role["CreateDate"] >= since:
            yield Planted(kind="role", name=role["RoleName"], at=aws_iam.iso(role["CreateDate"]))


def _keys_since(world: World, user: str, since: datetime) -> Iterator[Planted]:
    try:
        keys = aws_iam.keys_of(world, user)
    except NotFound:  # the user was deleted since it was listed
        return
    for key in keys:
        if aws_iam.parse(key.created) >= since and not world.secrets.ref(new_key_label(key.id)):
            yield Planted(kind="access-key", name=user, id=key.id, at=key.created)


def _explained(world: World, planted: Planted, deeds: aws_trail.Deeds, since: datetime, until: datetime) -> bool:
    """Whether CloudTrail shows that somebody who has no part in this made it."""
    if planted.kind != "user" and planted.name in deeds.names("user"):
        return False
    for call in aws_trail.lookup(world, "ResourceName", planted.name, since, until):
        made = aws_trail.planted_by(call)
        if made and made.key == planted.key:
            return call.key not in deeds.keys and call.actor not in deeds.names("user")
    return False


def _let_in(roles: list[dict[str, Any]], deeds: aws_trail.Deeds) -> Iterator[Planted]:
    """Roles whose trust names a planted user or role: seen without the log. ``id`` is the principal to take out."""
    made = {"user": deeds.names("user"), "role": deeds.names("role")}
    for role in roles:
        for arn in aws_trust.principals(aws_iam.canonical(role.get("AssumeRolePolicyDocument"))):
            kind, _, path = arn.rpartition(":")[2].partition("/")
            if path.rpartition("/")[2] in made.get(kind, ()):
                yield Planted(kind="trust", name=role["RoleName"], id=arn)


def _find(world: World, window: Window, before: WindowBefore) -> Found:
    deeds, planted = search(world, window, before)
    _look_abroad(world, deeds, aws_iam.parse(before.since))
    own = tuple(p.id for p in planted if p.kind == "access-key" and p.name == window.user)
    roles = (*sorted(set(deeds.roles) - deeds.names("role")), *sorted(_mapped(world, deeds)))
    return Found(
        changed=False, planted=planted, own_keys=own, assumed_roles=roles,
        others=tuple(deeds.others), unknown=(*deeds.unknown, *_unseen(world)),
        summary=f"{window.key} planted {len(planted)} things and assumed {', '.join(roles) or 'no role'}",
    )  # fmt: skip


def _mapped(world: World, deeds: aws_trail.Deeds) -> dict[str, datetime]:
    """The roles of other accounts of which it took sessions, as far as the map has a way in there."""
    return {arn: at for arn, at in deeds.abroad.items() if arn.split(":")[4] in world.aws_everywhere}


def _look_abroad(world: World, deeds: aws_trail.Deeds, since: datetime) -> None:
    """What sessions of other accounts' roles did there: a person judges it, and takes it back."""
    mapped, until = _mapped(world, deeds), aws_iam.now(world) + timedelta(seconds=1)
    for arn, at in deeds.abroad.items():
        if arn not in mapped:
            deeds.unknown.append(
                f"at {aws_iam.iso(at)} it took a session of {arn}, a role of another account: what that one did, and "
                f"whether it still lives, is to be seen there, signed in at {console(arn.split(':')[4])}"
            )
    for session, arn in deeds.opened.items():
        if arn not in mapped:
            continue
        there, _ = aws_iam.where(world, arn)
        try:
            calls = aws_trail.changed_abroad(there, session, since, until)
        except ProviderError as exc:
            deeds.unknown.append(f"what the session {session} of {arn} did there could not be read: {exc}")
            continue
        deeds.others += [f"{aws_trail.shown(call)}, by {session} of {arn}" for call in calls]


def _unseen(world: World) -> Iterator[str]:
    region = str(world.aws.client("cloudtrail").meta.region_name)
    yield f"only CloudTrail of {region} was read: sessions taken in other regions are not in it"
    if region != "us-east-1":
        yield "IAM's own events are in us-east-1: set Bulkhead's AWS region to it, or trust edits stay unseen"


def _prove_found(world: World, window: Window, before: WindowBefore, out: Found) -> Proof:
    _, planted = search(world, window, before)
    late = sorted({p.key for p in planted} - {p.key for p in out.planted})
    if late:
        return Proof.refuted(f"a second search found more: {', '.join(late)}")
    return Proof.proven(Grade.STATE, f"a second search found no more than these {len(out.planted)}")


def _alive(world: World, window: Window, before: WindowBefore) -> tuple[list[str], tuple[Planted, ...]]:
    """What can still act, in sentences, and which of it is planted."""
    deeds, planted = search(world, window, before)
    acting = tuple(p for p in planted if _acts(world, p))
    said = [f"{p.kind} {p.name} {p.id}".rstrip() + " can still act" for p in acting]
    leaked = aws_iam.key_of(world, window.user, window.key)
    if leaked and leaked.status == "Active":
        said.append(f"the leaked key {window.key} itself is Active")
    holders: tuple[tuple[Holder, dict[str, datetime]], ...] = (("user", deeds.sessions), ("role", deeds.roles))
    for holder, taken in holders:
        for name, at in sorted(taken.items()):
            if aws_iam.now(world) - at < _LONGEST[holder] and not _ended(world, holder, name, at):
                said.append(f"a session of {holder} {name} taken at {aws_iam.iso(at)} can still act")
    for arn, at in sorted(_mapped(world, deeds).items()):
        there, name = aws_iam.where(world, arn)
        if aws_iam.now(world) - at < _LONGEST["role"] and not _ended(there, "role", name, at):
            said.append(f"a session of {arn} taken at {aws_iam.iso(at)} can still act")
    return said, acting


def _acts(world: World, planted: Planted) -> bool:
    holder: Holder = "user" if planted.kind in ("user", "access-key", "login-profile", "user-policy") else "role"
    if planted.kind == "access-key":
        key = aws_iam.key_of(world, planted.name, planted.id)
        if key is None or key.status != "Active":
            return False
    return planted.kind == "trust" or not any(map(aws_disable.denies_all, _guards(world, holder, planted.name)))


def _guards(world: World, holder: Holder, name: str) -> list[str]:
    """Every inline policy document of a user or role; [] when it is not there."""
    try:
        names = aws_iam.listed(world, f"list_{holder}_policies", "PolicyNames", f"list policies of {name}",
                               **aws_iam.named(holder, name))  # fmt: skip
    except NotFound:
        return []
    return [aws_iam.inline_policy(world, holder, name, policy) for policy in names]


def _ended(world: World, holder: Holder, name: str, taken: datetime) -> bool:
    """Whether a policy denies everything to a session taken then, or its user or role is gone."""
    if not aws_iam.exists(world, holder, name):
        return True
    guards = _guards(world, holder, name)
    cutoffs = [cutoff for document in guards if (cutoff := cutoff_in(document))]
    return any(map(aws_disable.denies_all, guards)) or any(taken < cutoff for cutoff in cutoffs)


def _confirm(world: World, window: Window, before: WindowBefore) -> Cleanliness:
    said, acting = _alive(world, window, before)
    return Cleanliness(changed=False, alive=tuple(said), planted=acting, summary="; ".join(said) or "nothing can act")


def _prove_clean(world: World, window: Window, before: WindowBefore, _out: Cleanliness) -> Proof:
    said, _ = _alive(world, window, before)
    if said:
        return Proof.refuted("; ".join(said))
    return Proof.proven(Grade.STATE, f"nothing that {window.key} planted since {before.since} can act")


find_planted = Action(
    name="aws.find_planted",
    title="Find what the leaked key planted",
    inputs=Window, before=WindowBefore, outcome=Found, effect=Effect.READ,
    look=_look, run=_find, prove=_prove_found,
    plants=lambda out: out.planted,
    undo_none="it only reads",
    permissions=_FOUND_BY,
)  # fmt: skip

confirm_clean = Action(
    name="aws.confirm_clean",
    title="Confirm that nothing the leaked key planted can act",
    inputs=Window, before=WindowBefore, outcome=Cleanliness, effect=Effect.READ,
    look=_look, run=_confirm, prove=_prove_clean,
    plants=lambda out: out.planted,
    undo_none="it only reads",
    permissions=(*_FOUND_BY, "iam:ListUserPolicies", "iam:ListRolePolicies"),
)  # fmt: skip
