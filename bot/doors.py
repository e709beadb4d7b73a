"""Who may look at a page: a link that opens it once, the session that the link begins, and that of who has signed in.

Pages are closed by default. A link's token and a session's are random and stand in the database as SHA-256 only, each
bound to a time, and to one incident or to the person who has signed in; a link is gone with its first use.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from bot.store import Store, iso

LINK = timedelta(minutes=10)
SESSION = timedelta(hours=8)
KINDS = ("link", "session", "visit")
STATUS = "status"  # in place of an incident: the page of Bulkhead itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who has signed in. ``id`` is their name in decisions and on the timeline, ``name`` what they are called."""

    id: str
    name: str


class SignIn(Protocol):
    """An account house. Every method may ask it over the network."""

    title: str  # "Slack"

    def address(self, *, state: str, nonce: str, back: str) -> str:
        """Where the browser is sent; ``back`` is where it shall come back to."""

    def visitor(self, *, code: str, nonce: str, back: str) -> Visitor:
        """Who this code stands for. Raises DecisionRefused with the reason, Unavailable when nobody answers."""

    def admitted(self, visitor: str) -> bool:
        """Whether this visitor still is one of those who may look."""


@dataclass(frozen=True, slots=True)
class Doors:
    """Links and sessions of one installation."""

    store: Store

    def link(self, incident: str, now: datetime) -> str:
        """The token of a new link to an incident's page."""
        return self._make("link", incident, now + LINK)

    def leads(self, token: str, now: datetime) -> str:
        """Which incident a link leads to, "" for none. It is not used up by this."""
        return self._valid(self.store.setting(_name("link", token)), now)

    def enter(self, token: str, now: datetime) -> tuple[str, str] | None:
        """Use a link up: (session, incident), or None when it was used already, is too old or never was one."""
        incident = self._valid(self.store.take_setting(_name("link", token)), now)
        return (self._make("session", incident, now + SESSION), incident) if incident else None

    def inside(self, session: str, incident: str, now: datetime) -> bool:
        """Whether this session may see this incident now."""
        return bool(session) and self._valid(self.store.setting(_name("session", session)), now) == incident

    def admit(self, visitor: str, now: datetime) -> str:
        """The token of a session of somebody who has signed in."""
        return self._make("visit", visitor, now + SESSION)

    def visitor(self, session: str, now: datetime) -> str:
        """Who has signed in with this session, "" for nobody."""
        return self._valid(self.store.setting(_name("visit", session)), now) if session else ""

    def leave(self, session: str) -> None:
        """End the session of somebody who has signed in."""
        self.store.take_setting(_name("visit", session))

    def sweep(self, now: datetime) -> int:
        """Forget what is too old; returns how many."""
        held = {name: value for kind in KINDS for name, value in self.store.settings(f"{kind}:").items()}
        old = [name for name, value in held.items() if not self._valid(value, now)]
        return sum(1 for name in old if self.store.take_setting(name))

    def _make(self, kind: str, what: str, until: datetime) -> str:
        token = secrets.token_urlsafe(32)
        self.store.set_setting(_name(kind, token), json.dumps({"for": what, "until": iso(until)}))
        return token

    @staticmethod
    def _valid(value: str, now: datetime) -> str:
        stands = json.loads(value or "{}")
        # "incident" is what the key was called before anybody could sign in
        return str(stands.get("for") or stands["incident"]) if stands and iso(now) < stands["until"] else ""


def utc() -> datetime:
    """Now."""
    return datetime.now(UTC)


def _name(kind: str, token: str) -> str:
    return f"{kind}:{hashlib.sha256(token.encode()).hexdigest()}"
