"""Docker Hub: under which name a token signs in, and what outlives it.

Neither the token nor Docker Hub says whose it is. A name that stands beside it is believed; one that only the workflow
names is, when Docker Hub lets it sign in: a refusal would say as much of a wrong name as of a dead token.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from bot.errors import ProviderError
from bot.model import Credential, Liveness, Tail
from bot.registries.dockerhub import OUTLIVES_S, images_in
from bot.triage.rules import docker_names
from bot.world import World

TAIL = "dockerhub-session"
MOST_NAMES = 3  # that are tried: each is a sign-in that may fail


def account_of(world: World, credential: Credential, run: dict[str, Any], unknown: list[str]) -> str:
    """The name under which the token signs in; '' where none is known to be right."""
    if credential.account:
        return credential.account
    asked, secret = world.registries.get("dockerhub"), world.secrets.of(credential.key)
    if asked is None or secret is None:
        return ""
    text = _workflow(world, run, unknown)
    spaces = [image.split("/")[0] for image in images_in(text)]
    names = tuple(dict.fromkeys([*docker_names(text), *spaces]))[:MOST_NAMES]
    try:
        for name in names:
            if asked.tried(secret, name)[0] == Liveness.LIVE:
                return name
    except ProviderError as exc:
        unknown.append(f"Under which name the token signs in could not be tried: {exc}")
        return ""
    tried = f"; Docker Hub refuses it to {', '.join(names)}" if names else ""
    unknown.append(f"Under which name the token signs in is not known: none stands beside it{tried}")
    return ""


def _workflow(world: World, run: dict[str, Any], unknown: list[str]) -> str:
    path, commit = str(run.get("path") or "").split("@")[0], run.get("head_sha", "")
    repository = (run.get("repository") or {}).get("full_name", "")
    if not path or not repository:
        return ""
    try:
        found = world.github.get(f"/repos/{repository}/contents/{quote(path)}", ref=commit)
        return base64.b64decode(found["content"]).decode(errors="replace")
    except (ProviderError, KeyError, ValueError) as exc:
        unknown.append(f"{path} of {repository} could not be read: {exc}")
        return ""


def bought_with(world: World, credential: Credential) -> Tail:
    """Bearers of the registry and JWTs of the Hub's API: they do not die with the token."""
    return Tail(
        kind=TAIL, of=credential.key, until=world.now() + timedelta(seconds=OUTLIVES_S),
        why="what was bought with the token outlives it for up to ten minutes",
    )  # fmt: skip
