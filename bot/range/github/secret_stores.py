"""The four stores of secrets (actions, dependabot, codespaces, agents) of repositories, environments, organizations."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import nacl.encoding
import nacl.exceptions
import nacl.public

from bot.range.github import shapes
from bot.range.github.http import Answer, Call, Op, Problem, not_found
from bot.range.github.nouns import StoredSecret
from bot.range.github.state import SecretPlace, secret_place

R, STORES = "/repos/{owner}/{repo}", ("actions", "dependabot", "codespaces", "agents")
MAX_BYTES = 48 * 1024
# App permission on a repository and on an organization, for each store
_NEEDS = {
    "actions": ("secrets", "organization_secrets"),
    "dependabot": ("dependabot_secrets", "organization_dependabot_secrets"),
    "codespaces": ("codespaces_secrets", "organization_codespaces_secrets"),
    "agents": ("agent_secrets", "organization_agent_secrets"),
}  # fmt: skip


def _place(call: Call) -> SecretPlace:
    """The store that the path names. Raises 404 for an environment that is not there."""
    store = next((s for s in STORES if f"/{s}/" in call.op.path), "actions")
    if "org" in call.params:
        return secret_place(call.org.account.login, store)
    environment = call.params.get("environment_name", "")
    if environment and environment not in call.repo.environments:
        raise not_found()
    return secret_place(call.repo.full_name, store, environment)


def _held(call: Call) -> dict[str, StoredSecret]:
    return call.state.secrets.setdefault(_place(call), {})


def _one(call: Call) -> StoredSecret:
    found = _held(call).get(call.params["secret_name"].upper())
    if found is None:
        raise not_found()
    return found


def _shown(call: Call, secret: StoredSecret) -> dict[str, Any]:
    shown = shapes.secret(secret)
    if "org" not in call.params:
        return shown
    shown["visibility"] = secret.visibility
    store = _place(call)[0]
    if secret.visibility == "selected" or store == "codespaces":
        where = f"{call.base}/orgs/{call.params['org']}/{store}/secrets/{secret.name}/repositories"
        shown["selected_repositories_url"] = where
    return shown


def index(call: Call) -> Any:
    rows = sorted(_held(call).values(), key=lambda secret: secret.name)
    return call.listing("secrets", rows, lambda secret: _shown(call, secret))


def get(call: Call) -> Any:
    return _shown(call, _one(call))


def public_key(call: Call) -> Any:
    key_id, key = call.state.box(_place(call))
    return {"key_id": key_id, "key": key.public_key.encode(nacl.encoding.Base64Encoder).decode()}


def _opened(call: Call) -> str:
    """The value out of its sealed box. Raises 422 when it was sealed to another key."""
    key_id, key = call.state.box(_place(call))
    if call.field("key_id") != key_id:
        raise Problem(422, "The key_id is not the one of this store's current public key")
    try:
        sealed = base64.b64decode(call.field("encrypted_value"), validate=True)
        value = nacl.public.SealedBox(key).decrypt(sealed).decode()
    except (binascii.Error, nacl.exceptions.CryptoError, UnicodeDecodeError):
        raise Problem(422, "encrypted_value cannot be opened with this store's key") from None
    if len(value.encode()) > MAX_BYTES:
        raise Problem(422, "Secret value is too large")
    return value


def put(call: Call) -> Any:
    """201 when it is new, 204 when it was there. An organization's needs its visibility every time."""
    name, place = call.params["secret_name"].upper(), _place(call)
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name) or name.startswith("GITHUB_"):
        raise Problem(422, "Secret names can only contain alphanumeric characters and underscores, must not start with "
                           "a number or with GITHUB_.")  # fmt: skip
    visibility, chosen = "all", list[str]()
    if place[1] == "organization":
        visibility = call.field("visibility")
        if visibility not in ("all", "private", "selected"):
            raise Problem(422, "visibility must be all, private or selected")
        ids = call.body.get("selected_repository_ids")
        if ids is not None and visibility != "selected":
            raise Problem(422, "selected_repository_ids is only for the visibility selected")
        chosen = _names(call, ids or [])
    where, _colon, environment = place[2].partition(":")
    new = call.state.set_secret(
        where,
        name,
        _opened(call),
        store=place[0],
        environment=environment,
        visibility=visibility,
        selected=tuple(chosen),
    )
    return Answer(201, {}) if new else Answer(204)


def delete(call: Call) -> Any:
    del _held(call)[_one(call).name]
    return Answer(204)


def _names(call: Call, ids: list[Any]) -> list[str]:
    known = {r.id: r.full_name for r in call.state.repos.values() if r.owner.login == call.params["org"]}
    wanted = [int(i) for i in ids]
    if any(i not in known for i in wanted):
        raise Problem(422, "selected_repository_ids names a repository that is not the organization's")
    return [known[i] for i in wanted]


def selected(call: Call) -> Any:
    secret = _one(call)
    rows = [call.state.repos[name] for name in sorted(secret.selected)]
    return call.listing("repositories", rows, lambda r: shapes.repo_small(r, call.base))


def set_selected(call: Call) -> Any:
    _selectable(call).selected = set(_names(call, call.field("selected_repository_ids", list)))
    return Answer(204)


def add_selected(call: Call) -> Any:
    _selectable(call).selected.update(_names(call, [call.number("repository_id")]))
    return Answer(204)


def remove_selected(call: Call) -> Any:
    _selectable(call).selected.difference_update(_names(call, [call.number("repository_id")]))
    return Answer(204)


def _selectable(call: Call) -> StoredSecret:
    secret = _one(call)
    if secret.visibility != "selected":
        raise Problem(409, "Visibility of the secret is not selected")
    return secret


def organization_secrets(call: Call) -> Any:
    """The organization's secrets that this repository may read."""
    store = _place(call)[0]
    rows = sorted(call.state.org_secrets_for(call.repo, store).values(), key=lambda secret: secret.name)
    return call.listing("secrets", rows, shapes.secret)


def _ops() -> list[Op]:
    ops: list[Op] = []
    for store in STORES:
        for prefix, name in ((R, _NEEDS[store][0]), ("/orgs/{org}", _NEEDS[store][1])):
            ops += _store_ops(f"{prefix}/{store}/secrets", name)
        one = "/orgs/{org}/" + store + "/secrets/{secret_name}/repositories"
        read, write = f"{_NEEDS[store][1]}:read", f"{_NEEDS[store][1]}:write"
        ops += [
            Op(method="GET", path=one, handle=selected, needs=read),
            Op(method="PUT", path=one, handle=set_selected, needs=write),
            Op(method="PUT", path=one + "/{repository_id}", handle=add_selected, needs=write),
            Op(method="DELETE", path=one + "/{repository_id}", handle=remove_selected, needs=write),
        ]
    ops += _store_ops(R + "/environments/{environment_name}/secrets", "environments")
    for store in ("actions", "agents"):
        needs = f"{_NEEDS[store][0]}:read"
        ops.append(Op(method="GET", path=f"{R}/{store}/organization-secrets", handle=organization_secrets, needs=needs))
    return ops


def _store_ops(path: str, name: str) -> list[Op]:
    read, write = f"{name}:read", f"{name}:write"
    return [
        Op(method="GET", path=path, handle=index, needs=read),
        Op(method="GET", path=path + "/public-key", handle=public_key, needs=read),
        Op(method="GET", path=path + "/{secret_name}", handle=get, needs=read),
        Op(method="PUT", path=path + "/{secret_name}", handle=put, needs=write),
        Op(method="DELETE", path=path + "/{secret_name}", handle=delete, needs=write),
    ]


OPS = tuple(_ops())
