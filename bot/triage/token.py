"""What GitHub tells of a user's token, and what the token reaches. Asked with the token itself, reading only.

Scopes and expiry stand in the headers of every answer and are gone with the token: PyPI revoked one in June 2024 and
then could not tell what it had been able to do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bot.errors import ProviderError
from bot.model import Credential, Reached
from bot.world import World

USER_TOKENS = {"github-pat-classic", "github-pat-fine-grained", "github-oauth"}
OWNER = 95  # on the scale of bot.triage.owner: GitHub itself says so
PAGES, LOOKED_INTO = 5, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """``login`` is '' when GitHub refuses the token. ``scopes`` are a classic token's."""

    login: str = ""
    scopes: tuple[str, ...] = ()
    expires_at: str = ""
    repositories: tuple[dict[str, Any], ...] = field(default=(), repr=False)  # as GitHub shows them to the token


def token_facts(world: World, credential: Credential, unknown: list[str]) -> TokenFacts:
    """Whose it is and where it reaches. A provider that does not answer leaves a sentence, not an error."""
    secret = world.secrets.of(credential.key)
    if credential.kind not in USER_TOKENS or secret is None:
        return TokenFacts()
    try:
        me = world.github.ask_as(secret, "/user")
        if me.status != 200:
            unknown.append("What the token could do can no longer be asked: GitHub refuses it")
            return TokenFacts()
        rows: list[dict[str, Any]] = []
        for page in range(1, PAGES + 1):
            shown = world.github.ask_as(secret, f"/user/repos?per_page=100&page={page}")
            rows += shown.data if shown.status == 200 else []
            if shown.status != 200 or len(shown.data) < 100:
                break
        else:
            unknown.append(f"The token reaches more than {PAGES * 100} repositories; the others were not read")
    except ProviderError as exc:
        unknown.append(f"What the token can do could not be asked: {exc}")
        return TokenFacts()
    scopes = tuple(filter(None, (each.strip() for each in me.headers.get("x-oauth-scopes", "").split(","))))
    return TokenFacts(
        login=str(me.data["login"]), scopes=scopes, repositories=tuple(rows),
        expires_at=me.headers.get("github-authentication-token-expiration", ""),
    )  # fmt: skip


def home(facts: TokenFacts) -> str:
    """A repository by which the account can be searched where the token may have been used: an organization's first."""
    pushes = [row for row in facts.repositories if (row.get("permissions") or {}).get("push")]
    pushes.sort(key=lambda row: (row["owner"].get("type") != "Organization", row["full_name"]))
    return str(pushes[0]["full_name"]) if pushes else ""


def reach_of_token(world: World, facts: TokenFacts, unknown: list[str]) -> list[Reached]:
    """Repositories, and the secrets that a push there could read. They join the ledger only where one was read.

    Whoever may push may change what a workflow runs, and a workflow reads secrets; the token itself cannot.
    """
    reached = []
    pushes = [row for row in facts.repositories if (row.get("permissions") or {}).get("push")]
    for row in facts.repositories:
        how = "the token may push there" if row in pushes else "the token may read it"
        reached.append(Reached(kind="repository", name=row["full_name"], scope="github", how=how))
    if len(pushes) > LOOKED_INTO:
        unknown.append(f"Only {LOOKED_INTO} of {len(pushes)} repositories in reach were asked for their secrets")
    for row in pushes[:LOOKED_INTO]:
        for path in ("secrets", "organization-secrets"):
            try:
                found = list(world.github.pages(f"/repos/{row['full_name']}/actions/{path}", "secrets"))
            except ProviderError as exc:
                unknown.append(f"Which secrets a push to {row['full_name']} could read is not known: {exc}")
                break
            reached += [
                Reached(kind="reachable-secret", name=each["name"], scope=row["full_name"],
                        how="a workflow pushed with the token could read it")
                for each in found
            ]  # fmt: skip
    return reached
