"""What Google Cloud says of a service-account key: whether it works, what its account may do, what outlives it."""

from __future__ import annotations

from datetime import timedelta

from bot.errors import InputError, NotFound, ProviderError
from bot.gcp import TOKEN_LIFE_S, TOKEN_TAIL, key_name
from bot.model import Credential, Liveness, Reached, Tail
from bot.world import World

_LEND = ("serviceAccountTokenCreator", "serviceAccountUser", "serviceAccountKeyAdmin", "serviceAccountAdmin")
_WHOLE = ("roles/owner", "roles/editor")


def gcp_liveness(world: World, credential: Credential) -> tuple[Liveness, str]:
    """With the value: whether IAM takes what it signs. With an id alone: IAM's record. Raises bot.errors."""
    if world.gcp is None or not credential.id:
        return Liveness.UNKNOWN, "a service-account key is known by its file, or by Google's whole name for it"
    secret = world.secrets.of(credential.key)
    if secret is not None:
        return world.gcp.tried(credential.id, secret)
    try:
        key = world.gcp.get(str(key_name(credential.id)))
    except NotFound:
        return Liveness.DEAD, "IAM has no such key any more"
    except InputError as exc:
        return Liveness.UNKNOWN, str(exc)
    state = Liveness.DEAD if key.get("disabled") else Liveness.LIVE
    return state, f"IAM says that the key is {'disabled' if key.get('disabled') else 'enabled'}"


def roles_of_key(world: World, credential: Credential, unknown: list[str]) -> list[Reached]:
    """One entry a role that the key's account holds in its project. None is a credential, so none is a row."""
    unknown.append("Who made the key, and what was done with it, stands in Cloud Audit Logs, which are not read")
    unknown.append(
        "Whether an id-token was bought with the key is not known: whoever takes one checks it without asking Google, "
        "and nothing ends it within its hour"
    )
    if world.gcp is None or not credential.id:
        return []
    try:
        name = key_name(credential.id)
        roles = world.gcp.roles(credential.id)
    except (ProviderError, InputError) as exc:
        unknown.append(f"Which roles the key's account holds could not be asked: {exc}")
        return []
    unknown.append(f"Which roles {name.email} holds in other projects, in folders or on single resources is not known")
    if any(role in _WHOLE or role.rpartition(".")[2] in _LEND for role in roles):
        unknown.append(f"{name.email} may act as other service accounts: what it made or bought as them is not known")
    how = f"the key signs in as {name.email}, which holds it"
    return [Reached(kind="gcp-role", name=role, scope=name.project, how=how) for role in roles]


def minted_by_key(world: World, credential: Credential) -> Tail:
    """Access tokens that were bought with the key: they do not die with it."""
    return Tail(
        kind=TOKEN_TAIL, of=credential.key, until=world.now() + timedelta(seconds=TOKEN_LIFE_S),
        why="access tokens that were bought with the key outlive it",
    )  # fmt: skip
