"""One GitHub App in several organizations: each call goes to the installation of the owner that its path names.

Tokens are minted per installation, one that only reads and one that acts (docs.github.com/rest/apps/apps, "Create an
installation access token": fewer permissions may be asked for); PyGithub renews them before their hour is over. Where
the App is not installed, what is public can still be read, and a change is a person's step.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.clients import GitHubClient
from bot.errors import Forbidden, Unmapped
from bot.model import Secret
from bot.world import Reply

FRESH_S, OLD_S = 60.0, 600.0  # who may not be acted for is looked for again after so long; all of them after so long
_OWNER = re.compile(r"/(?:repos|orgs|users)/([^/?]+)")
_WRITE_ONLY = {"workflows", "profile"}  # permissions that have no level read (docs.github.com, Apps' permissions)

Mint = Callable[[int, dict[str, str] | None], GitHubClient]  # (installation, permissions or None for all of them)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Where the App is installed, and what it may do there."""

    id: int
    owner: str
    suspended: bool = False
    every: bool = False  # in all repositories of the owner, those that come later too
    permissions: dict[str, str] = field(default_factory=dict)


class Installations:
    """GitHub as the App, wherever it is installed. Thread-safe. ``app`` signs as the App itself.

    ``only``: the one installation that the settings name; 0 is all of them.
    """

    def __init__(self, app: GitHubClient, mint: Mint, only: int = 0) -> None:
        self._app, self._mint, self._only = app, mint, only
        self._known: dict[str, Installation] | None = None
        self._asked = float("-inf")
        self._clients: dict[tuple[int, bool, tuple[str, ...]], GitHubClient] = {}
        self._lock = threading.Lock()

    def everywhere(self) -> list[Installation]:
        """Every installation, asked of GitHub anew. Raises bot.errors."""
        if self._only:
            rows = [self._app.get(f"/app/installations/{self._only}")]
        else:
            rows = list(self._app.pages("/app/installations"))
        return [
            Installation(
                id=int(row["id"]), owner=str(row["account"]["login"]), suspended=bool(row.get("suspended_at")),
                every=row.get("repository_selection") == "all", permissions=dict(row.get("permissions") or {}),
            )
            for row in rows
        ]  # fmt: skip

    def of(self, owner: str) -> Installation | None:
        """The installation on an owner; None where there is none."""
        found = self._listed(OLD_S).get(owner.lower())
        return found if found and not found.suspended else self._listed(FRESH_S).get(owner.lower())

    def _listed(self, within_s: float) -> dict[str, Installation]:
        """Every installation by its owner, as GitHub has told it within so many seconds."""
        with self._lock:
            if self._known is None or time.monotonic() - self._asked > within_s:
                self._known = {one.owner.lower(): one for one in self.everywhere()}
                self._asked = time.monotonic()
            return self._known

    def forget(self) -> None:
        """Ask GitHub again where the App is installed."""
        with self._lock:
            self._known = None

    def _client(self, one: Installation, *, acts: bool) -> GitHubClient:
        """Its client, as long as its permissions are the same: a token for reads names them."""
        reads = {name: "read" for name in one.permissions if name not in _WRITE_ONLY}
        named = one.id, acts, ("*",) if acts else tuple(sorted(reads))
        with self._lock:
            if named not in self._clients:
                self._clients[named] = self._mint(one.id, None if acts else reads)
            return self._clients[named]

    def _any(self) -> GitHubClient:
        """Some installation that is not suspended, for what is nobody's. Raises Forbidden where there is none."""
        found = next((one for one in self._listed(OLD_S).values() if not one.suspended), None)
        if found is None:
            raise Forbidden(
                f"the App is installed nowhere, or suspended everywhere: install it at {self._install()}",
                provider="github", permission="an installation",
            )  # fmt: skip
        return self._client(found, acts=False)

    def _install(self) -> str:
        return f"{self.web}/settings/apps (Install App)"

    def _for(self, path: str, *, acts: bool) -> GitHubClient:
        match = _OWNER.match(path)
        if match is None:
            return self._any()
        found = self.of(match[1])
        if found is not None and not found.suspended:
            return self._client(found, acts=acts)
        if not acts:
            return self._any()  # what is public is read by whoever is signed in
        why = "is suspended on" if found else "is not installed on"
        raise Unmapped(
            f"the App {why} {match[1]}: a person has to do it there ({self.web}/{match[1]}), or its owner installs the "
            f"App at {self._install()}; then try again", provider="github", account=match[1],
        )  # fmt: skip

    @property
    def web(self) -> str:
        return self._app.web

    def left(self) -> tuple[int, int] | None:
        """Of the installation that has the fewest left: each has an hour of its own."""
        with self._lock:
            told = [left for client in self._clients.values() if (left := client.left()) is not None]
        return min(told, default=None)

    def get(self, path: str, **params: Any) -> Any:
        return self._for(path, acts=False).get(path, **params)

    def ask(self, path: str, etag: str = "", **params: Any) -> Reply:
        return self._for(path, acts=False).ask(path, etag, **params)

    def pages(self, path: str, items: str = "", **params: Any) -> Iterator[dict[str, Any]]:
        return self._for(path, acts=False).pages(path, items, **params)

    def send(self, verb: str, path: str, body: Any = None) -> Reply:
        return self._for(path, acts=verb != "GET").send(verb, path, body)

    def download(self, path: str) -> bytes:
        return self._for(path, acts=False).download(path)

    def status_as(self, secret: Secret, path: str = "/rate_limit") -> int:
        return self._app.status_as(secret, path)

    def ask_as(self, secret: Secret, path: str) -> Reply:
        return self._app.ask_as(secret, path)

    def is_own(self, secret: Secret) -> bool:
        """Whether it is a token that we hold. One that we would only mint is none yet."""
        with self._lock:
            return any(client.is_own(secret) for client in self._clients.values())

    def revoke(self, secrets: Sequence[Secret]) -> None:
        self._any().revoke(secrets)
