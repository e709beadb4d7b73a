"""What a package registry of the range is: accounts and tokens over a table of routes."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bot.range.served import Served

MANY, HALF_WAY_S = 20_000, 2 * 3600.0  # downloads that a version has in the end while it is the newest, and how soon


@dataclass(slots=True, kw_only=True)
class Token:
    """A token of an account. ``scopes`` and ``packages`` limit it; none of either is no limit."""

    value: str = field(repr=False)
    name: str
    user: str
    created_at: datetime
    scopes: frozenset[str] = frozenset()
    packages: tuple[str, ...] = ()
    revoked: bool = False
    otp: bool = False  # its account asks for a second factor at the API too


class RegistryServer(Served):
    """Accounts, tokens and HTTP of one registry. Subclasses hold its packages and its rules."""

    def reset(self) -> None:
        """Forget everything; the base URL stays."""
        with self.lock:
            self.tokens: dict[str, Token] = {}
            self.users: set[str] = set()
            self.empty()

    @abstractmethod
    def empty(self) -> None:
        """Forget the packages."""

    @abstractmethod
    def make_value(self, user: str, packages: tuple[str, ...]) -> str:
        """A new token's value, in the registry's form."""

    # accounts: what a person does on the web site, with a second factor

    def add_user(self, name: str) -> None:
        self.users.add(name)

    def add_token(self, user: str, name: str, *, scopes: Iterable[str] = (), packages: Iterable[str] = ()) -> str:
        """Make a token; returns its value, which is told once."""
        limited = tuple(packages)
        value = self.make_value(user, limited)
        with self.lock:
            self.tokens[value] = Token(
                value=value, name=name, user=user, created_at=self.clock.now(), scopes=frozenset(scopes),
                packages=limited,
            )  # fmt: skip
        return value

    def revoke(self, name: str) -> int:
        """Revoke every live token of that name; returns how many there were."""
        with self.lock:
            live = [token for token in self.tokens.values() if token.name == name and not token.revoked]
            for token in live:
                token.revoked = True
            return len(live)

    def live(self, value: str) -> Token | None:
        """A token that still works."""
        token = self.tokens.get(value)
        return None if token is None or token.revoked else token

    def values(self) -> list[str]:
        """Every secret that it knows."""
        with self.lock:
            return list(self.tokens)

    # for the range itself

    @abstractmethod
    def delivered(self, package: str) -> str:
        """The version that somebody gets who asks for the newest; '' when there is none."""

    @abstractmethod
    def packages_state(self) -> dict[str, Any]:
        """The packages, for comparing end states: no times, no secrets."""

    def snapshot(self) -> dict[str, Any]:
        """What matters for comparing end states."""
        with self.lock:
            live = sorted(f"{t.name}: {'revoked' if t.revoked else 'live'}" for t in self.tokens.values())
            return {"packages": self.packages_state(), "tokens": live}

    def climbed(self, since: datetime, until: datetime | None = None) -> int:
        """Downloads of a version that was the newest from then on: they climb towards ``MANY``.

        Counted once a minute: registries too write them down in batches (crates.io's job ``update_downloads``).
        """
        minutes = max((until or self.clock.now()) - since, timedelta(0)) // timedelta(minutes=1)
        return int(MANY * (1 - math.exp(-60 * minutes / HALF_WAY_S)))


def order(version: str) -> tuple[int, ...]:
    """What sorts the versions of the range: numbers with dots."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
