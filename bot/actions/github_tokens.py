"""GitHub: end what a token, an App's installation or an organization's grant lets in.

Paths and codes: docs.github.com/rest/credentials/revoke, /rest/apps/apps, /rest/orgs/personal-access-tokens.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from bot.action import Action
from bot.actions.github import cuts_own, own_warning
from bot.errors import Forbidden, InputError, NotFound, VaultError
from bot.model import Before, Breaks, Credential, Effect, EvidenceRef, Grade, Outcome, Proof, Secret, material
from bot.world import GitHub, World

REVOCABLE = {"github-pat-classic", "github-pat-fine-grained", "github-oauth"}
REFUSED = 401


# A token by its value


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeIn:
    """A leaked token. ``also``: others of the same leak that go in the same request; all must be refused afterwards."""

    credential: Credential
    also: tuple[Credential, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBefore(Before):
    """What GitHub told of the token while it worked: gone with it, so noted first. Empty when it is refused already."""

    live: tuple[str, ...] = material()  # fingerprints that GitHub accepts
    owner: str = ""
    scopes: str = ""
    expires_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeOutcome(Outcome):
    """``left_to_owner``: this GitHub has no way to revoke by value; what its owner is to do, and where."""

    left_to_owner: bool = False
    task: str = ""
    link: str = ""


def _held(world: World, given: RevokeIn) -> list[Secret]:
    """The values. Raises InputError for what GitHub revokes in another way, VaultError for one that is not held."""
    found = []
    for credential in (given.credential, *given.also):
        if credential.kind not in REVOCABLE:
            raise InputError(f"GitHub does not revoke a {credential.kind} by its value")
        value = world.secrets.of(credential.key)
        if value is None:
            raise VaultError(f"the value of {credential.key} is not held: report it (bulkhead report --secret)")
        found.append(value)
    return found


def _live(world: World, values: list[Secret]) -> list[Secret]:
    """Those that GitHub does not refuse. Whatever is not a clear refusal counts as alive."""
    return [value for value in values if world.github.status_as(value) != REFUSED]


def _look_token(world: World, given: RevokeIn) -> TokenBefore:
    values = _held(world, given)
    live = _live(world, values)
    if not live:
        said = f"GitHub already refuses {', '.join(v.fingerprint for v in values)}: somebody has revoked it"
        return TokenBefore(needed=False, live=(), summary=said)
    me = world.github.ask_as(live[0], "/user")
    owner = str(me.data.get("login", "")) if me.status == 200 and isinstance(me.data, dict) else ""
    scopes, ends = me.headers.get("x-oauth-scopes", ""), me.headers.get("github-authentication-token-expiration", "")
    return TokenBefore(
        live=tuple(v.fingerprint for v in live), owner=owner, scopes=scopes, expires_at=ends,
        cuts_own=any(world.github.is_own(value) for value in live),
        summary=f"{owner or 'a token of an unknown account'} ({scopes or 'no scopes told'}), "
        f"{f'until {ends}' if ends else 'without an end'}, is accepted",
    )  # fmt: skip


def _save_token(world: World, given: RevokeIn, before: TokenBefore) -> tuple[EvidenceRef, ...]:
    record = {
        "credential": given.credential.key, "live": before.live, "owner": before.owner, "scopes": before.scopes,
        "expires_at": before.expires_at,
    }  # fmt: skip
    text = world.scrub(json.dumps(record, indent=1, sort_keys=True)).encode()
    name = given.credential.fingerprint.partition(":")[2] or given.credential.fingerprint
    return (world.evidence.save(f"tokens/{name}.json", text, hashlib.sha256(text).hexdigest()),)


def _revoke(world: World, given: RevokeIn, before: TokenBefore) -> RevokeOutcome:
    live = _live(world, _held(world, given))
    if not live:
        return RevokeOutcome(changed=False, summary="GitHub already refuses it")
    try:
        world.github.revoke(live)
    except NotFound:  # an Enterprise Server before 3.19
        return _left(world, before)
    return RevokeOutcome(changed=True, summary=f"GitHub took the revocation of {len(live)} token{'s'[: len(live) > 1]}")


def _left(world: World, before: TokenBefore) -> RevokeOutcome:
    """What its owner does, or an administrator of the server, where GitHub has no way to revoke by value."""
    who, web = before.owner, world.github.web
    task = (
        f"delete the leaked token {', '.join(before.live)}"
        + (f" of {who}" if who else "")
        + f", at {web}/settings/tokens; where its owner is away, an administrator of the server suspends them at {web}"
        + (f"/stafftools/users/{who}" if who else "/stafftools")
    )
    return RevokeOutcome(
        changed=False, left_to_owner=True, task=task, link=f"{web}/settings/tokens",
        summary=f"{web} cannot revoke a token by its value (it can since Enterprise Server 3.19): its owner does it",
    )  # fmt: skip


def _prove_token(world: World, given: RevokeIn, _before: TokenBefore, outcome: RevokeOutcome) -> Proof:
    """GitHub's 202 says nothing of the outcome: each value is tried."""
    if outcome.left_to_owner:
        return Proof.proven(Grade.WORD, outcome.summary)
    values = _held(world, given)
    statuses = {value.fingerprint: world.github.status_as(value) for value in values}
    alive = [name for name, status in statuses.items() if status != REFUSED]
    if not alive:
        return Proof.proven(Grade.REFUSED, f"GitHub refuses {', '.join(statuses)} with 401")
    said = f"GitHub still answers {', '.join(f'{name} with {statuses[name]}' for name in alive)}"
    return Proof.not_yet(said) if outcome.changed and _settling(statuses) else Proof.refuted(said)


def _settling(statuses: dict[str, int]) -> bool:
    """An answer that is neither yes nor no: ask again."""
    return any(status >= 500 or status == 429 for status in statuses.values())


def _breaks_token(before: TokenBefore) -> Breaks:
    if not before.needed:
        return Breaks()
    stops = f"Whatever {before.owner or 'its owner'} does with this token, on machines and in jobs alike"
    return Breaks(stops=(stops, *own_warning(before)), unknown=True)


revoke_credentials = Action(
    name="github.revoke_credentials", title="Revoke a GitHub token", inputs=RevokeIn, before=TokenBefore,
    outcome=RevokeOutcome, effect=Effect.CONTAIN, look=_look_token, run=_revoke, prove=_prove_token,
    breaks=_breaks_token, evidence=_save_token,
    undo_none="GitHub brings no revoked token back; its owner makes a new one",
    kills=lambda given: given.credential.key,
    permissions=("none: whoever holds a token may revoke it, and only who does not sign in",),
)  # fmt: skip


# An App's installation


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationIn:
    """One installation of the App that Bulkhead itself is."""

    installation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationBefore(Before):
    """The installation as it was."""

    account: str = material()
    suspended_at: str = material(default="")
    permissions: dict[str, str] = material(default_factory=dict)  # noqa: RUF009 - a field with metadata


def _app(world: World) -> GitHub:
    if world.github_app is None:
        raise Forbidden(
            "an installation can only be suspended by the App itself, with its private key", provider="github",
            permission="the App's private key (BULKHEAD_GITHUB_APP_ID, BULKHEAD_GITHUB_APP_KEY)",
        )  # fmt: skip
    return world.github_app


def _installation(world: World, given: InstallationIn) -> dict[str, Any]:
    found: dict[str, Any] = _app(world).get(f"/app/installations/{given.installation}")
    return found


def _own_app(world: World) -> tuple[str, ...]:
    """Whoever lives by an App suspends its own hand with each of its installations."""
    return tuple(one for one in world.identities if one.startswith("github-app:"))


def _look_installation(world: World, given: InstallationIn) -> InstallationBefore:
    found = _installation(world, given)
    account, at = found["account"]["login"], found.get("suspended_at") or ""
    return InstallationBefore(
        needed=not at, account=account, suspended_at=at, permissions=dict(found.get("permissions") or {}),
        cuts_own=cuts_own(world, "", f"github-installation:{given.installation}", *_own_app(world)),
        summary=f"The installation on {account} " + (f"is suspended since {at}" if at else "is active"),
    )  # fmt: skip


def _suspend(world: World, given: InstallationIn, _before: InstallationBefore) -> Outcome:
    if _installation(world, given).get("suspended_at"):
        return Outcome(changed=False, summary="It is already suspended")
    _app(world).send("PUT", f"/app/installations/{given.installation}/suspended")
    return Outcome(changed=True, summary=f"Suspended installation {given.installation}")


def _prove_suspended(world: World, given: InstallationIn, _before: InstallationBefore, _outcome: Outcome) -> Proof:
    at = _installation(world, given).get("suspended_at")
    if at:
        return Proof.proven(Grade.STATE, f"GitHub's record says that it is suspended since {at}")
    return Proof.refuted("GitHub's record says that it is not suspended")


def _unsuspend(world: World, given: InstallationIn, before: InstallationBefore, _outcome: Outcome) -> Outcome:
    if before.suspended_at or not _installation(world, given).get("suspended_at"):
        return Outcome(changed=False, summary="It is as it was")
    _app(world).send("DELETE", f"/app/installations/{given.installation}/suspended")
    return Outcome(changed=True, summary=f"Installation {given.installation} is active again")


def _breaks_installation(before: InstallationBefore) -> Breaks:
    if not before.needed:
        return Breaks()
    return Breaks(stops=(f"Everything that the App does on {before.account}", *own_warning(before)))


suspend_installation = Action(
    name="github.suspend_installation", title="Suspend an App's installation", inputs=InstallationIn,
    before=InstallationBefore, outcome=Outcome, effect=Effect.CONTAIN, look=_look_installation, run=_suspend,
    prove=_prove_suspended, breaks=_breaks_installation, undo=_unsuspend, permissions=("the App's private key",),
)  # fmt: skip


# An organization's grant of a fine-grained token


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantIn:
    """A grant by its number in GET /orgs/ORG/personal-access-tokens."""

    organization: str
    grant: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantBefore(Before):
    """The grant as GitHub tells of it: it is gone with the revocation."""

    owner: str = material()
    name: str = ""
    granted_at: str = ""
    last_used_at: str = ""
    repositories: str = ""  # all, subset or none
    permissions: dict[str, Any] = material(default_factory=dict)  # noqa: RUF009 - a field with metadata


def _grants(organization: str) -> str:
    if not organization.replace("-", "").isalnum():
        raise InputError(f"{organization!r} is not an organization")
    return f"/orgs/{organization}/personal-access-tokens"


def _grant(world: World, given: GrantIn) -> dict[str, Any] | None:
    """The grant, or None. Raises Forbidden, naming the permission: GitHub answers Apps alone."""
    found = world.github.pages(_grants(given.organization))
    return next((row for row in found if row["id"] == given.grant), None)


def _look_grant(world: World, given: GrantIn) -> GrantBefore:
    found = _grant(world, given)
    if found is None:
        said = f"{given.organization} has no grant {given.grant}"
        return GrantBefore(needed=False, owner="", summary=said)
    owner = found["owner"]["login"]
    return GrantBefore(
        owner=owner, name=str(found.get("token_name") or ""), granted_at=found.get("access_granted_at") or "",
        last_used_at=found.get("token_last_used_at") or "", repositories=found["repository_selection"],
        permissions=found.get("permissions") or {},
        summary=f"{given.organization} lets a token of {owner} into its repositories ({found['repository_selection']})",
    )  # fmt: skip


def _save_grant(world: World, given: GrantIn, before: GrantBefore) -> tuple[EvidenceRef, ...]:
    record = {name: getattr(before, name) for name in GrantBefore.__dataclass_fields__}
    text = world.scrub(json.dumps(record, indent=1, sort_keys=True)).encode()
    name = f"grants/{given.organization}-{given.grant}.json"
    return (world.evidence.save(name, text, hashlib.sha256(text).hexdigest()),)


def _revoke_grant(world: World, given: GrantIn, _before: GrantBefore) -> Outcome:
    if _grant(world, given) is None:
        return Outcome(changed=False, summary="There is no such grant any more")
    try:
        world.github.send("POST", f"{_grants(given.organization)}/{given.grant}", {"action": "revoke"})
    except NotFound:
        return Outcome(changed=False, summary="It went meanwhile")
    return Outcome(changed=True, summary=f"{given.organization} no longer lets the token in")


def _prove_grant(world: World, given: GrantIn, _before: GrantBefore, _outcome: Outcome) -> Proof:
    if _grant(world, given) is None:
        return Proof.proven(Grade.STATE, f"GitHub lists no grant {given.grant} of {given.organization}")
    return Proof.refuted(f"GitHub still lists grant {given.grant} of {given.organization}")


def _breaks_grant(before: GrantBefore) -> Breaks:
    return Breaks(stops=(f"The token of {before.owner} in this organization",) if before.needed else ())


revoke_org_grant = Action(
    name="github.revoke_org_grant", title="Revoke an organization's grant of a fine-grained token", inputs=GrantIn,
    before=GrantBefore, outcome=Outcome, effect=Effect.CONTAIN, look=_look_grant, run=_revoke_grant,
    prove=_prove_grant, breaks=_breaks_grant, evidence=_save_grant,
    undo_none="Only the token's owner can ask to be let in again",
    permissions=("organization_personal_access_tokens:write",),
)  # fmt: skip
