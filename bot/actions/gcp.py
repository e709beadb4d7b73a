"""Google Cloud: disable a service-account key, disable its account for the tokens that it has bought, delete the key.

Calls and effects: cloud.google.com/iam/docs/reference/rest/v1 (projects.serviceAccounts and .keys). A disabled key
buys nothing more, and what it has bought lives on for an hour at most: only a disabled account is refused everywhere.
An account that is enabled again within that hour has its old tokens accepted again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from bot.action import Action
from bot.actions.github import own_warning
from bot.errors import Conflict, Forbidden, InputError, NotFound
from bot.gcp import KIND, TOKEN_TAIL, KeyName, key_name
from bot.model import Before, Breaks, Credential, Effect, EvidenceRef, Grade, Liveness, Outcome, Proof, material
from bot.world import Gcp, World

ENABLED, DISABLED, GONE = "enabled", "disabled", "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyIn:
    """A service-account key. Its value need not be held; where it is, Google's refusal of it is the proof."""

    credential: Credential


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBefore(Before):
    """IAM's record of the key. ``others``: the account's other keys, each with its date; they go on working."""

    state: str = material()  # enabled, disabled or gone
    made_at: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBefore(Before):
    """IAM's record of the account."""

    email: str
    state: str = material()  # enabled or disabled
    keys: int = 0  # that people have made for it


def _gcp(world: World) -> Gcp:
    if world.gcp is None:
        raise InputError("this World has no Google Cloud")
    return world.gcp


def _name(given: KeyIn) -> KeyName:
    if given.credential.kind != KIND:
        raise InputError(f"a {given.credential.kind or 'credential'} is no key of a service account")
    return key_name(given.credential.id)


def _state(world: World, name: str) -> str:
    """Of a key or an account, now."""
    try:
        return DISABLED if _gcp(world).get(name).get("disabled") else ENABLED
    except NotFound:
        return GONE


def _own(world: World, name: KeyName) -> bool:
    """Whether the bot itself signs in as this account."""
    return any(key.startswith(f"{KIND}:{name.account}/keys/") for key in world.identities)


def _keys(world: World, name: KeyName) -> list[dict[str, Any]]:
    """The keys that people have made; those that Google keeps for itself sign nothing outside."""
    listed = _gcp(world).get(f"{name.account}/keys").get("keys", [])
    return [key for key in listed if key.get("keyType", "USER_MANAGED") == "USER_MANAGED"]


def _short(name: KeyName) -> str:
    return f"key {name.key[:8]}… of {name.email}"


def _file(name: KeyName, what: str) -> str:
    return f"gcp/{name.email}/{what}.json"


def _save(world: World, file: str, record: Any) -> tuple[EvidenceRef, ...]:
    text = world.scrub(json.dumps(record, indent=1, sort_keys=True)).encode()
    return (world.evidence.save(file, text, hashlib.sha256(text).hexdigest()),)


# The key


def _look_key(world: World, given: KeyIn) -> KeyBefore:
    name = _name(given)
    own = KIND + ":" + str(name) in world.identities
    try:
        key = _gcp(world).get(str(name))
    except NotFound:
        return KeyBefore(needed=False, state=GONE, summary=f"{_short(name)} is gone: somebody has deleted it")
    others = tuple(
        f"{k['name'].rpartition('/')[2][:8]}… of {k['validAfterTime']}" + (" (disabled)" if k.get("disabled") else "")
        for k in _keys(world, name) if k["name"] != key["name"]
    )  # fmt: skip
    state = DISABLED if key.get("disabled") else ENABLED
    said = f"{_short(name)}, made {key['validAfterTime']}, is {state}"
    said += f"; the account has {len(others)} other key{'s'[: len(others) > 1]}: {', '.join(others)}" if others else ""
    said += "; it is Bulkhead's own key" if own else ""
    return KeyBefore(
        needed=state == ENABLED, cuts_own=own, state=state, made_at=key["validAfterTime"], others=others, summary=said
    )


def _save_key(world: World, given: KeyIn, _before: KeyBefore) -> tuple[EvidenceRef, ...]:
    """IAM's record of the key, with those beside it; none holds a secret."""
    name = _name(given)
    return _save(world, _file(name, f"key-{name.key}"), {"key": str(name), "keys": _keys(world, name)})


def _disable_key(world: World, given: KeyIn, _before: KeyBefore) -> Outcome:
    name = _name(given)
    if _state(world, str(name)) != ENABLED:
        return Outcome(changed=False, summary=f"{_short(name)} is disabled, or gone")
    _gcp(world).send("POST", f"{name}:disable")
    return Outcome(changed=True, summary=f"{_short(name)} is disabled; what it has bought lives on for up to an hour")


def _prove_key(world: World, given: KeyIn, _before: KeyBefore, _outcome: Outcome) -> Proof:
    """IAM calls it disabled, or gone. Where its value is held, Google must refuse what it signs, too."""
    name = _name(given)
    state = _state(world, str(name))
    if state == ENABLED:
        return Proof.refuted(f"IAM shows {_short(name)} enabled")
    secret = world.secrets.of(given.credential.key)
    if secret is None:
        return Proof.proven(Grade.STATE, f"IAM shows {_short(name)} {state}")
    live, why = _gcp(world).tried(str(name), secret)
    if live == Liveness.DEAD:
        return Proof.proven(Grade.REFUSED, f"{why}; IAM shows it {state}")
    if live == Liveness.LIVE:  # IAM is consistent after minutes (cloud.google.com/iam/docs/access-change-propagation)
        return Proof.not_yet(f"IAM shows {_short(name)} {state}, but {why}", retry_after=5.0)
    return Proof.proven(Grade.STATE, f"IAM shows {_short(name)} {state}; {why}")


def _undo_key(world: World, given: KeyIn, before: KeyBefore, _outcome: Outcome) -> Outcome:
    name = _name(given)
    state = _state(world, str(name))
    if before.state != ENABLED or state == ENABLED:
        return Outcome(changed=False, summary=f"{_short(name)} is as it was")
    if state == GONE:
        raise Conflict(f"{_short(name)} is gone and cannot be enabled", {"state": (DISABLED, GONE)})
    _gcp(world).send("POST", f"{name}:enable")
    return Outcome(changed=True, summary=f"{_short(name)} is enabled again")


def _breaks_key(before: KeyBefore) -> Breaks:
    if not before.needed:
        return Breaks()
    return Breaks(stops=("every workflow and machine that signs in with this key file", *own_warning(before)))


disable_key = Action(
    name="gcp.disable_key", title="Disable a service-account key of Google Cloud", inputs=KeyIn, before=KeyBefore,
    outcome=Outcome, effect=Effect.CONTAIN, look=_look_key, run=_disable_key, prove=_prove_key, breaks=_breaks_key,
    evidence=_save_key, undo=_undo_key, kills=lambda given: given.credential.key, proof_deadline=900.0,
    permissions=(
        "iam.serviceAccountKeys.get", "iam.serviceAccountKeys.list", "iam.serviceAccountKeys.disable",
        "iam.serviceAccountKeys.enable",
    ),
)  # fmt: skip


# The account


def _account(world: World, name: KeyName) -> dict[str, Any]:
    found: dict[str, Any] = _gcp(world).get(name.account)
    return found


def _look_account(world: World, given: KeyIn) -> AccountBefore:
    name = _name(given)
    found, keys = _account(world, name), len(_keys(world, name))
    state, own = DISABLED if found.get("disabled") else ENABLED, _own(world, name)
    said = f"{name.email} is {state} and has {keys} key{'s'[: keys != 1]}"
    return AccountBefore(
        needed=state == ENABLED, cuts_own=own, email=name.email, state=state, keys=keys,
        summary=said + ("; Bulkhead itself signs in as it" if own else ""),
    )  # fmt: skip


def _save_account(world: World, given: KeyIn, _before: AccountBefore) -> tuple[EvidenceRef, ...]:
    name = _name(given)
    try:
        roles: Any = _gcp(world).roles(str(name))
    except Forbidden as exc:
        roles = f"could not be read: {exc}"
    record = {"account": _account(world, name), "keys": _keys(world, name), "roles": roles}
    return _save(world, _file(name, "account"), record)


def _disable_account(world: World, given: KeyIn, _before: AccountBefore) -> Outcome:
    name = _name(given)
    if _state(world, name.account) != ENABLED:
        return Outcome(changed=False, summary=f"{name.email} is disabled, or gone")
    _gcp(world).send("POST", f"{name.account}:disable")
    said = f"{name.email} is disabled: every token of it is refused, until somebody enables it"
    return Outcome(changed=True, summary=said)


def _prove_account(world: World, given: KeyIn, _before: AccountBefore, _outcome: Outcome) -> Proof:
    """By IAM's record: nobody but a thief holds a token that could be tried."""
    name = _name(given)
    state = _state(world, name.account)
    if state == ENABLED:
        return Proof.refuted(f"IAM shows {name.email} enabled: tokens that the key has bought are accepted")
    return Proof.proven(Grade.STATE, f"IAM shows {name.email} {state}: Google accepts no token of it")


def _undo_account(world: World, given: KeyIn, before: AccountBefore, _outcome: Outcome) -> Outcome:
    name = _name(given)
    state = _state(world, name.account)
    if before.state != ENABLED or state == ENABLED:
        return Outcome(changed=False, summary=f"{name.email} is as it was")
    if state == GONE:
        raise Conflict(f"{name.email} is gone and cannot be enabled", {"state": (DISABLED, GONE)})
    _gcp(world).send("POST", f"{name.account}:enable")
    said = f"{name.email} is enabled again; tokens that were bought less than an hour ago are accepted again, too"
    return Outcome(changed=True, summary=said)


def _breaks_account(before: AccountBefore) -> Breaks:
    if not before.needed:
        return Breaks()
    stops = f"everything that runs as {before.email}: its workloads, its schedules, its other keys, whoever acts as it"
    return Breaks(stops=(stops, *own_warning(before)), unknown=True)


disable_account = Action(
    name="gcp.disable_account", title="Disable the service account of a leaked key", inputs=KeyIn,
    before=AccountBefore, outcome=Outcome, effect=Effect.CONTAIN, look=_look_account, run=_disable_account,
    prove=_prove_account, breaks=_breaks_account, evidence=_save_account, undo=_undo_account,
    ends=lambda given: (TOKEN_TAIL, given.credential.key), proof_deadline=900.0,
    permissions=(
        "iam.serviceAccounts.get", "iam.serviceAccounts.disable", "iam.serviceAccounts.enable",
        "iam.serviceAccountKeys.list", "resourcemanager.projects.getIamPolicy",
    ),
)  # fmt: skip


# Delete the key


def _look_delete(world: World, given: KeyIn) -> KeyBefore:
    before = _look_key(world, given)
    return KeyBefore(
        needed=before.state != GONE, cuts_own=before.cuts_own, state=before.state, made_at=before.made_at,
        others=before.others, summary=before.summary,
    )  # fmt: skip


def _delete_key(world: World, given: KeyIn, _before: KeyBefore) -> Outcome:
    name = _name(given)
    try:
        _gcp(world).send("DELETE", str(name))
    except NotFound:
        return Outcome(changed=False, summary=f"{_short(name)} is gone")
    return Outcome(changed=True, summary=f"Deleted {_short(name)}")


def _prove_delete(world: World, given: KeyIn, _before: KeyBefore, _outcome: Outcome) -> Proof:
    name = _name(given)
    state = _state(world, str(name))
    if state != GONE:
        return Proof.refuted(f"IAM shows {_short(name)} {state}")
    return Proof.proven(Grade.STATE, f"IAM has no {_short(name)} any more")


delete_key = Action(
    name="gcp.delete_key", title="Delete a service-account key of Google Cloud", inputs=KeyIn, before=KeyBefore,
    outcome=Outcome, effect=Effect.DESTROY, look=_look_delete, run=_delete_key, prove=_prove_delete,
    breaks=_breaks_key, evidence=_save_key, undo_none="Google brings no deleted key back; a new one can be made",
    permissions=("iam.serviceAccountKeys.get", "iam.serviceAccountKeys.list", "iam.serviceAccountKeys.delete"),
)  # fmt: skip
