"""Sign in with Slack, for the pages (docs.slack.dev/authentication/sign-in-with-slack): who somebody is, and whether
they are in the user group that may look.

The token about a person comes straight from Slack over TLS, so its signature adds nothing (OpenID Connect Core
3.1.3.7); issuer, audience, time and nonce are checked, and the group is asked by the bot, not taken from the token.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urljoin

from slack_sdk import WebClient

from bot.doors import Visitor
from bot.errors import DecisionRefused, ProviderError, RateLimited, Unavailable
from bot.slack.client import slack_errors, web_client
from bot.slack.names import PREFIX

ISSUER = "https://slack.com"
USER, TEAM = f"{ISSUER}/user_id", f"{ISSUER}/team_id"
FRESH_S = 20.0  # so long a group is believed to be as it was
AWAY_S = 3600.0  # and so long while Slack does not answer: pages are needed just then


class SlackSignIn:
    """``bot.doors.SignIn`` over Slack. ``bot`` asks who is in the group; ``teams``: the workspaces let in."""

    title = "Slack"

    def __init__(
        self, *, client_id: str, client_secret: str, api: str, bot: WebClient, group: str,
        teams: Callable[[], frozenset[str]], now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._id, self._secret, self._api, self._bot, self._group = client_id, client_secret, api, bot, group
        self._teams, self._now = teams, now
        self._lock = threading.Lock()
        self._known: tuple[float, frozenset[str]] | None = None

    def address(self, *, state: str, nonce: str, back: str) -> str:
        """Where the browser is sent."""
        asked = {
            "response_type": "code", "scope": "openid profile", "client_id": self._id, "state": state, "nonce": nonce,
            "redirect_uri": back,
        }  # fmt: skip
        return f"{urljoin(self._api, '/openid/connect/authorize')}?{urlencode(asked)}"

    def visitor(self, *, code: str, nonce: str, back: str) -> Visitor:
        """Who this code stands for. Raises DecisionRefused, or a ProviderError when Slack does not answer."""
        try:
            claims, name = self._ask(code, back)
        except (Unavailable, RateLimited):
            raise
        except ProviderError as exc:
            raise DecisionRefused(f"Slack does not vouch for you ({exc.code}); sign in again") from None
        self._check(claims, nonce)
        user = str(claims[USER])
        if user not in self._members():
            raise DecisionRefused("You are not in the user group that may look at these pages.", reason="wrong-person")
        return Visitor(id=f"{PREFIX}{user}", name=name)

    def admitted(self, visitor: str) -> bool:
        """Whether they still are in the group. While Slack is away, what it said within the last hour holds."""
        try:
            return visitor.removeprefix(PREFIX) in self._members()
        except ProviderError:
            return False

    def _ask(self, code: str, back: str) -> tuple[dict[str, Any], str]:
        """The claims of the id_token, and the name that goes with it."""
        with slack_errors("sign somebody in"):
            said: Any = web_client("", self._api).openid_connect_token(
                client_id=self._id, client_secret=self._secret, code=code, redirect_uri=back,
                grant_type="authorization_code",
            )  # fmt: skip
            about: Any = web_client(str(said["access_token"]), self._api).openid_connect_userInfo()
        claims = _claims(str(said["id_token"]))
        if not claims.get(USER) or claims.get(USER) != about.get(USER):
            raise DecisionRefused("Slack's token is about somebody else; sign in again")
        return claims, str(about.get("name") or claims[USER])

    def _check(self, claims: dict[str, Any], nonce: str) -> None:
        audience = claims.get("aud")
        fits = (
            claims.get("iss") == ISSUER
            and self._id in (audience if isinstance(audience, list) else [audience])
            and float(claims.get("exp") or 0) > self._now()
            and hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode())
        )
        if not fits:
            raise DecisionRefused("Slack's token is not for this sign-in; sign in again")
        if claims.get(TEAM) not in self._teams():
            raise DecisionRefused("You are of another workspace.", reason="wrong-person")

    def _members(self) -> frozenset[str]:
        """Who is in the group. Raises a ProviderError when Slack has not said for too long."""
        with self._lock:
            at, members = self._known or (float("-inf"), frozenset[str]())
            age = self._now() - at
            if 0 <= age <= FRESH_S:
                return members
            try:
                with slack_errors(f"say who is in the user group {self._group}"):
                    answer: Any = self._bot.usergroups_users_list(usergroup=self._group)
            except (Unavailable, RateLimited):
                if 0 <= age <= AWAY_S:
                    return members
                raise
            self._known = (self._now(), frozenset(str(user) for user in answer["users"]))
            return self._known[1]


def _claims(token: str) -> dict[str, Any]:
    """What a token says. Raises DecisionRefused for what is none."""
    try:
        middle = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (IndexError, ValueError, binascii.Error):
        found = None
    if not isinstance(found, dict):
        raise DecisionRefused("Slack's token cannot be read; sign in again")
    return found
