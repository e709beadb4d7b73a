"""Sign in with Slack: the page that asks, the code, the token, and who it is.

docs.slack.dev/authentication/sign-in-with-slack. Anybody with a Slack account may sign in, of whatever workspace: who
relies on it looks at the team. The id_token says ``https://slack.com`` and is signed by a key that the range serves.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import html
import secrets
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, urlencode

from bot.range.clock import RangeClock
from bot.range.issuer import OidcIssuer
from bot.range.slack.http import Call, Method, Refusal
from bot.range.slack.nouns import Code, Person, Token
from bot.range.slack.state import State

CODE_S = 600.0
SCOPES = {"openid", "email", "profile"}
_KEPT = ("client_id", "redirect_uri", "scope", "state", "nonce", "response_type")


def asked(state: State, query: dict[str, str]) -> dict[str, str]:
    """What an authorization request says, checked. Raises Refusal; nobody is sent anywhere then."""
    if not hmac.compare_digest(query.get("client_id", "").encode(), state.app.client_id.encode()):
        raise Refusal("invalid_client_id")
    if query.get("redirect_uri", "") not in state.app.redirect_urls:
        raise Refusal("bad_redirect_uri")
    if query.get("response_type", "") != "code":
        raise Refusal("invalid_response_type")
    scopes = set(query.get("scope", "").replace(",", " ").split())
    allowed = SCOPES if state.app.user_scopes is None else SCOPES & set(state.app.user_scopes)
    if "openid" not in scopes or not scopes <= allowed:
        raise Refusal("invalid_scope")
    return {key: query[key] for key in _KEPT if key in query}


def page(state: State, query: dict[str, str]) -> str:
    """The page on which a person says who they are and allows it."""
    kept = "".join(
        f'<input type="hidden" name="{key}" value="{html.escape(value)}">' for key, value in query.items()
    )  # fmt: skip
    people = "".join(
        f'<p><button name="user" value="{person.name}">{html.escape(person.real_name)}'
        f" ({html.escape(_domain(state, person))})</button></p>"
        for person in state.people.values() if not person.is_bot
    )  # fmt: skip
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Sign in with Slack (range)</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><h1>Sign in with Slack</h1>'
        "<p>This is the range: choose who you are. The app learns your name and e-mail address.</p>"
        f'<form method="post">{kept}{people}</form></html>'
    )


def _domain(state: State, person: Person) -> str:
    return state.team_domain if person.team_id == state.team else state.vendor_domain


def allow(state: State, query: dict[str, str], person: Person) -> str:
    """Where the browser goes with a new code."""
    code = f"{secrets.randbelow(10**12)}.{secrets.token_hex(24)}"
    scopes = tuple(sorted(set(query["scope"].replace(",", " ").split())))
    state.codes[code] = Code(
        user=person.id, redirect_uri=query["redirect_uri"], nonce=query.get("nonce", ""), scopes=scopes,
        made=state.now(),
    )  # fmt: skip
    said = {"code": code} | ({"state": query["state"]} if "state" in query else {})
    return f"{query['redirect_uri']}{'&' if '?' in query['redirect_uri'] else '?'}{urlencode(said)}"


class OpenId:
    """The two methods and the documents about them. The key is made when it is first needed: that takes a moment."""

    def __init__(self, clock: RangeClock) -> None:
        self._clock = clock
        self.methods = (
            Method(name="openid.connect.token", handle=self.token, kinds=(), tier=0),
            Method(name="openid.connect.userInfo", handle=user_info, scopes=("openid",), kinds=("user",)),
        )

    @cached_property
    def _issuer(self) -> OidcIssuer:
        return OidcIssuer(self._clock, "https://slack.com")

    def token(self, call: Call) -> dict[str, Any]:
        state = call.state
        client, secret = _client(call)
        if not hmac.compare_digest(client.encode(), state.app.client_id.encode()):
            raise Refusal("invalid_client_id")
        if not hmac.compare_digest(secret.encode(), state.app.client_secret.encode()):
            raise Refusal("bad_client_secret")
        if call.word("grant_type", "authorization_code") != "authorization_code":
            raise Refusal("invalid_grant_type")
        found = state.codes.get(call.word("code"))
        if found is None or found.used or state.now() - found.made > CODE_S:
            raise Refusal("invalid_code")
        if call.word("redirect_uri", "") != found.redirect_uri:
            raise Refusal("bad_redirect_uri")
        found.used = True
        value = f"xoxp-{secrets.token_urlsafe(32)}"
        state.tokens[value] = Token(value=value, kind="user", user=found.user, scopes=found.scopes)
        claims = who(state, state.people[found.user], found.scopes) | ({"nonce": found.nonce} if found.nonce else {})
        return {
            "access_token": value, "token_type": "Bearer", "id_token": self._issuer.mint(claims, state.app.client_id),
        }  # fmt: skip

    def documents(self, state: State) -> dict[str, Any]:
        """The discovery document and the keys, by path."""
        base = f"{state.base_url}/openid/connect"
        found = self._issuer.configuration(base) | {
            "authorization_endpoint": f"{base}/authorize", "jwks_uri": f"{base}/keys",
            "token_endpoint": f"{state.base_url}/api/openid.connect.token",
            "userinfo_endpoint": f"{state.base_url}/api/openid.connect.userInfo",
            "scopes_supported": sorted(SCOPES), "response_types_supported": ["code"],
        }  # fmt: skip
        return {"/.well-known/openid-configuration": found, "/openid/connect/keys": self._issuer.jwks()}


def _client(call: Call) -> tuple[str, str]:
    """The client's name and secret, as HTTP Basic or as arguments."""
    said = call.authorization
    if said.startswith("Basic "):
        try:
            name, _, secret = base64.b64decode(said.removeprefix("Basic "), validate=True).decode().partition(":")
        except (ValueError, binascii.Error):
            raise Refusal("invalid_client_id") from None
        return name, secret
    return call.word("client_id", ""), call.word("client_secret", "")


def user_info(call: Call) -> dict[str, Any]:
    assert call.token is not None
    return who(call.state, call.state.people[call.token.user], call.token.scopes)


def who(state: State, person: Person, scopes: tuple[str, ...]) -> dict[str, Any]:
    """The claims about a person."""
    made: dict[str, Any] = {
        "sub": person.id, "https://slack.com/user_id": person.id, "https://slack.com/team_id": person.team_id,
    }  # fmt: skip
    if "email" in scopes:
        made |= {"email": person.email, "email_verified": True, "date_email_verified": 0}
    if "profile" in scopes:
        given, _, family = person.real_name.partition(" ")
        made |= {
            "name": person.real_name, "given_name": given, "family_name": family, "locale": "en-US",
            "https://slack.com/team_domain": _domain(state, person),
        }  # fmt: skip
    return made


def form(body: bytes) -> dict[str, str]:
    """A form's fields, the last one of each name."""
    return {key: values[-1] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
