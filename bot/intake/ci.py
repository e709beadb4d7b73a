"""Reports that a workflow uploads, vouched for by GitHub's OIDC token of the run instead of a shared secret.

The token must be of the issuer, for our audience, of a listed repository; it says which run and who started it, so
nobody has to send that. Source: docs.github.com "OpenID Connect"; RFC 7519, RFC 7517.
"""

from __future__ import annotations

import fnmatch
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jwt

from bot.errors import Unavailable, Undeliverable
from bot.intake import formats
from bot.intake.delivery import Delivery, Reading, Sender, plain, rows_at, text_at
from bot.intake.fetch import Fetch, fetch
from bot.intake.wire import loads, text_of, unpacked
from bot.model import Trust

LEEWAY_S = 30.0
AGAIN_S, KEPT_S = 60.0, 3600.0
NEEDED = ("exp", "iat", "iss", "aud", "sub", "repository", "run_id")


class Runs:
    """Who may upload. ``keys`` is the address of the issuer's JWKS; ``repositories`` are patterns: OWNER/*."""

    def __init__(
        self, issuer: str, audience: str, repositories: tuple[str, ...], keys: str, get: Fetch = fetch
    ) -> None:  # fmt: skip
        self._issuer, self._audience, self._repositories = issuer, audience, repositories
        self._url, self._fetch = keys, get
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked = float("-inf")
        self._lock = threading.Lock()

    def prove(self, delivery: Delivery) -> Sender:
        """Raises Undeliverable unless a run of a listed repository sends it."""
        scheme, _, token = delivery.header("authorization").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Undeliverable("an OIDC token of the run is needed", 401, "unsigned")
        claims = self._claims(token.strip())
        repository, run = plain(claims["repository"], 200), plain(claims["run_id"], 20)
        if not any(fnmatch.fnmatchcase(repository.lower(), one.lower()) for one in self._repositories):
            raise Undeliverable("runs of this repository may not upload here", 403, "repository")
        server = plain(claims.get("server_url"), 200) or "https://github.com"
        by = f"{plain(claims.get('actor'), 100) or 'a run'} in run {run} of {repository}"
        return Sender(
            trust=Trust.SIGNED, by=by, repository=repository, run_url=f"{server}/{repository}/actions/runs/{run}"
        )

    def read(self, delivery: Delivery, sender: Sender) -> Reading:
        """The findings of whichever form. Raises Undeliverable."""
        return read_report(delivery, formats.AUTO, sender)

    def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            name = plain(jwt.get_unverified_header(token).get("kid"), 200)
            key = self._key(name)
            if key is None:
                raise Undeliverable("the issuer publishes no key of this name", 401, "key")
            found: Mapping[str, Any] = jwt.decode(
                token, key, algorithms=["RS256"], audience=self._audience, issuer=self._issuer, leeway=LEEWAY_S,
                options={"require": list(NEEDED)},
            )  # fmt: skip
        except jwt.PyJWTError as exc:
            said = {"ExpiredSignatureError": "stale", "InvalidAudienceError": "audience",
                    "InvalidIssuerError": "issuer"}.get(type(exc).__name__, "token")  # fmt: skip
            raise Undeliverable("the token of the run does not hold", 401, said) from None
        return found

    def _key(self, name: str) -> jwt.PyJWK | None:
        with self._lock:
            age = time.monotonic() - self._asked
            if age > KEPT_S or (name not in self._keys and age > AGAIN_S):
                self._load(name)
                self._asked = time.monotonic()
            return self._keys.get(name)

    def _load(self, name: str) -> None:
        try:
            rows = rows_at(loads(text_of(self._fetch(self._url))), "keys")
        except Unavailable:
            if name not in self._keys:
                raise Undeliverable("the issuer's keys could not be fetched now; try again", 503, "key") from None
            return
        good = [row for row in rows if row.get("kty") == "RSA" and row.get("use", "sig") == "sig"]
        self._keys = {text_at(row, "kid", 200): jwt.PyJWK(row, algorithm="RS256") for row in good}


def read_report(delivery: Delivery, form: str, sender: Sender) -> Reading:
    """A scanner's report in a delivery; what names no repository is of the run's. Raises Undeliverable."""
    text = text_of(unpacked(delivery.body, delivery.header("content-encoding")))
    found, seen = formats.read(text, form)
    home = sender.repository
    rows = tuple(one if one.repository or not home else replace(one, repository=home) for one in seen)
    what = f"{found.title}: {len(rows)} findings" + (f" from {sender.run_url}" if sender.run_url else "")
    return Reading(event=found.name, seen=rows, by=sender.by, text=what, note="" if rows else "it holds no finding")
