"""Signing in with another house's account: the cookie that ties an attempt to a browser.

Who implements ``bot.doors.SignIn`` is handed in; the pages know no chat. OpenID Connect's code flow: the browser goes
away with a state and a nonce and comes back with the state and a code; the nonce stands in the token that the code is
worth. Both are digests of one random value that only this browser's cookie holds, so that nothing is stored for people
who never come back, and a link with somebody else's code in it opens nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

ATTEMPT_S = 600
_THEN = re.compile(r"/incidents(?:/[\w-]{1,80})?")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to sign in. ``cookie`` is what the browser keeps."""

    secret: str
    then: str  # the page that was wanted

    @classmethod
    def begin(cls, then: str) -> Attempt:
        """A new one. Where somebody wants to go that is no page of an incident, it is the list of them."""
        return cls(secrets.token_urlsafe(32), then if _THEN.fullmatch(then) else "/incidents")

    @classmethod
    def of(cls, cookie: str) -> Attempt:
        """The one that a browser's cookie says; of no cookie, one that matches no state."""
        secret, _, then = cookie.partition("|")
        return cls(secret or secrets.token_urlsafe(32), then if _THEN.fullmatch(then) else "/incidents")

    @property
    def cookie(self) -> str:
        """What the browser keeps."""
        return f"{self.secret}|{self.then}"

    @property
    def state(self) -> str:
        """What comes back with the browser."""
        return self._digest("state")

    @property
    def nonce(self) -> str:
        """What comes back in the token."""
        return self._digest("nonce")

    def matches(self, state: str) -> bool:
        """Whether this state was given out to this browser."""
        return hmac.compare_digest(self.state.encode(), state.encode())

    def _digest(self, purpose: str) -> str:
        return hashlib.sha256(f"{purpose}:{self.secret}".encode()).hexdigest()
