"""Whose is it? Everybody who may own a credential, ranked, each with the reason.

No source is trusted alone: tags grow old, people leave. Who is named by several sources stands higher. A source that
cannot be asked leaves a sentence, not an error.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from bot.clients import aws_errors
from bot.errors import NotFound, ProviderError
from bot.model import Credential, Owner, SecretStore
from bot.triage.liveness import iam_user
from bot.world import World

# How much each source says by itself.
TAG, CODEOWNERS, AUTHOR, CREATOR, ACTOR, IAM_USER, ADMIN = 90, 80, 70, 60, 50, 30, 20
AGREES = 5  # for each further source that names the same
_TAGS = re.compile(r"owner|contact|maintainer|team|created[-_]?by", re.IGNORECASE)
_CODEOWNERS_FILES = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")  # GitHub takes the first

Claim = tuple[str, int, str]  # name, score, reason


def owners(
    world: World, credential: Credential, repository: str = "", run_id: int = 0, stores: tuple[SecretStore, ...] = (),
    said: tuple[Claim, ...] = (),
) -> tuple[tuple[Owner, ...], tuple[str, ...]]:  # fmt: skip
    """Who may own it, best first, and what could not be asked, in sentences. ``said``: what is known already."""
    unknown: list[str] = []
    claims: list[Claim] = list(said)
    run = _run(world, repository, run_id, unknown)
    sources: list[tuple[str, Callable[[], Iterator[Claim]]]] = []
    if credential.kind == "aws-access-key" and credential.id:
        sources += [
            ("the IAM user's tags", lambda: _iam(world, credential.id)),
            ("who created the key", lambda: _creator(world, credential.id, unknown)),
        ]
    if run:
        path = str(run.get("path") or "").split("@")[0]
        sources += [
            (f"who last changed {path}", lambda: _author(world, repository, path)),
            ("CODEOWNERS", lambda: _codeowners(world, repository, path)),
            ("the run's actor", lambda: _actor(run, stores)),
        ]
    if repository:
        sources.append((f"the administrators of {repository}", lambda: _admins(world, repository)))
    for what, source in sources:
        try:
            claims += source()
        except ProviderError as exc:
            unknown.append(f"Could not ask for {what}: {exc}")
    return _ranked(claims), tuple(unknown)


def _run(world: World, repository: str, run_id: int, unknown: list[str]) -> dict[str, Any]:
    if not (repository and run_id):
        return {}
    try:
        run: dict[str, Any] = world.github.get(f"/repos/{repository}/actions/runs/{run_id}")
    except ProviderError as exc:
        unknown.append(f"Could not ask who started run {run_id}: {exc}")
        return {}
    return run


def _ranked(claims: list[Claim]) -> tuple[Owner, ...]:
    """One entry a name: its best score, a little more for each further source, all reasons."""
    named: dict[str, list[Claim]] = {}
    for claim in claims:
        same = named.setdefault(claim[0].lower(), [])
        if claim[2] not in [reason for _, _, reason in same]:
            same.append(claim)
    found = []
    for same in named.values():
        same.sort(key=lambda claim: -claim[1])
        score = min(100, same[0][1] + AGREES * (len(same) - 1))
        found.append(Owner(name=same[0][0], score=score, reason="; ".join(reason for _, _, reason in same)))
    return tuple(sorted(found, key=lambda owner: (-owner.score, owner.name)))


# AWS


def _iam(world: World, key_id: str) -> Iterator[Claim]:
    user = iam_user(world, key_id)
    if not user:
        raise NotFound(f"IAM names no user of {key_id}", provider="aws")
    yield user, IAM_USER, "the IAM user that the key belongs to"
    with aws_errors(f"read the tags of {user}"):
        tags = world.aws.client("iam").list_user_tags(UserName=user)["Tags"]
    for tag in tags:
        if _TAGS.fullmatch(tag["Key"]) and tag["Value"]:
            yield tag["Value"], TAG, f"tag {tag['Key']} of IAM user {user}"


def _creator(world: World, key_id: str, unknown: list[str]) -> Iterator[Claim]:
    with aws_errors(f"look for the creation of {key_id}"):
        trail = world.aws.client("cloudtrail")
        asked = [{"AttributeKey": "ResourceName", "AttributeValue": key_id}]
        events = trail.lookup_events(LookupAttributes=asked)["Events"]
    made = [event for event in events if event["EventName"] == "CreateAccessKey" and event.get("Username")]
    for event in made:
        yield event["Username"], CREATOR, f"created the key on {event['EventTime']:%Y-%m-%d}, says CloudTrail"
    if not made:
        unknown.append(f"Who created {key_id} is not in CloudTrail, which keeps 90 days")


# GitHub


def _author(world: World, repository: str, path: str) -> Iterator[Claim]:
    for commit in world.github.get(f"/repos/{repository}/commits?path={quote(path)}&per_page=1")[:1]:
        name = (commit.get("author") or {}).get("login") or commit["commit"]["author"]["name"]
        yield name, AUTHOR, f"last changed {path}, on {commit['commit']['author']['date'][:10]}"


def _actor(run: dict[str, Any], stores: tuple[SecretStore, ...]) -> Iterator[Claim]:
    names = f", which reads {', '.join(sorted({store.name for store in stores}))}" if stores else ""
    for field, did in (("actor", "started"), ("triggering_actor", "started again")):
        login = (run.get(field) or {}).get("login")
        if login and (field == "actor" or login != (run.get("actor") or {}).get("login")):
            yield login, ACTOR, f"{did} the run that leaked{names}"


def _admins(world: World, repository: str) -> Iterator[Claim]:
    ours = {key.partition(":")[2].lower() for key in world.identities if key.startswith("github-token:")}
    for person in world.github.pages(f"/repos/{repository}/collaborators", permission="admin"):
        if person.get("type") != "Bot" and person["login"].lower() not in ours:
            yield person["login"], ADMIN, f"administrator of {repository}"


def _codeowners(world: World, repository: str, path: str) -> Iterator[Claim]:
    for place in _CODEOWNERS_FILES:
        try:
            found = world.github.get(f"/repos/{repository}/contents/{quote(place)}")
        except NotFound:
            continue
        text = base64.b64decode(found["content"]).decode(errors="replace")
        for name in codeowners(text, path):
            yield name, CODEOWNERS, f"{place} names {name} for {path}"
        return


def codeowners(text: str, path: str) -> tuple[str, ...]:
    """Whom a CODEOWNERS file names for a path: its last line that fits (docs.github.com, "About code owners")."""
    names: tuple[str, ...] = ()
    for raw in text.splitlines():
        words = re.sub(r"(?<!\\)#.*", "", raw).split()
        if words and _fits(words[0], path):
            names = tuple(word.removeprefix("@") for word in words[1:])
    return names


def _fits(pattern: str, path: str) -> bool:
    """As in .gitignore: a slash before the end anchors it, one at the end means a folder, * stops at a slash."""
    anchored = "/" in pattern.rstrip("/")
    body = pattern.lstrip("/").rstrip("/")
    parts = {"**/": "(?:.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    regex = re.sub(r"\*\*/|/\*\*|\*\*|\*|\?|[^*?/]+|/", lambda m: parts.get(m.group(), re.escape(m.group())), body)
    deeper = "/.*" if pattern.endswith("/") else "" if body.endswith("*") and anchored else "(?:/.*)?"
    return re.fullmatch(("" if anchored else "(?:.*/)?") + regex + deeper, path) is not None
