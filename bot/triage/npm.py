"""What npm says of a token: whose it is, and from which repository that account's packages come."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from bot.errors import NotFound, ProviderError, Refused
from bot.model import Credential, Liveness
from bot.world import World

NPM_TOKEN = "npm-token"  # noqa: S105 - a kind
PUBLISHER = 60  # how much it says of the owner that npm names the account
_GITHUB = re.compile(r"github\.com[/:]([\w.-]+/[\w.-]+?)(?:\.git)?(?:[/#].*)?\Z")
_MOST = 20  # packages that are looked into for their repository


def npm_liveness(world: World, credential: Credential) -> tuple[Liveness, str]:
    """``GET /-/whoami`` with the token, which changes nothing. Raises bot.errors when npm does not answer."""
    secret = world.secrets.of(credential.key)
    if secret is None or world.npm is None:
        return Liveness.UNKNOWN, "npm can only be asked with the token itself, and it is not held"
    try:
        return Liveness.LIVE, f"npm knows it as {world.npm.user_of(secret)}"
    except Refused:
        return Liveness.DEAD, "npm refuses it: 401 to whoami"


def npm_account(world: World, credential: Credential) -> str:
    """The account's name; '' when the token is not held, is dead, or npm does not answer."""
    secret = world.secrets.of(credential.key)
    try:
        return world.npm.user_of(secret) if secret is not None and world.npm is not None else ""
    except ProviderError:
        return ""


def npm_home(world: World, account: str, unknown: list[str]) -> str:
    """The repository that the account's packages name, when they name one; '' otherwise."""
    if world.npm is None or not account:
        return ""
    named: set[str] = set()
    try:
        found = world.npm.get(f"/-/v1/search?text={quote(f'maintainer:{account}')}&size={_MOST}")
        for row in found["objects"]:
            try:
                named.add(_repository(world.npm.get(f"/{quote(row['package']['name'], safe='@')}")))
            except NotFound:
                continue
    except ProviderError as exc:
        unknown.append(f"Which packages {account} maintains could not be asked: {exc}")
    named.discard("")
    if len(named) > 1:
        unknown.append(f"The packages of {account} come from several repositories: {', '.join(sorted(named))}")
    return named.pop() if len(named) == 1 else ""


def _repository(document: dict[str, Any]) -> str:
    said = document.get("repository") or {}
    found = _GITHUB.search(str(said.get("url", "") if isinstance(said, dict) else said))
    return found[1] if found else ""
