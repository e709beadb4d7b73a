"""Tokens of the range's OIDC issuer: signed, dated by the range's clock, checked."""

from __future__ import annotations

import jwt
import pytest

from bot.range.clock import RangeClock
from bot.range.issuer import GITHUB_ISSUER, OidcIssuer


def test_what_it_mints_it_verifies() -> None:
    issuer = OidcIssuer(RangeClock())
    token = issuer.mint({"sub": "repo:o/r:ref:refs/heads/main", "repository_id": "7"}, "sts.amazonaws.com")

    claims = issuer.verify(token, "sts.amazonaws.com")
    assert claims["iss"] == GITHUB_ISSUER
    assert claims["sub"] == "repo:o/r:ref:refs/heads/main"
    assert claims["exp"] - claims["iat"] == 300


def test_the_published_keys_verify_it_with_a_library_of_others() -> None:
    issuer = OidcIssuer(RangeClock())
    token = issuer.mint({"sub": "s"}, "a")
    keys = jwt.PyJWKSet.from_dict(issuer.jwks())
    key = keys[jwt.get_unverified_header(token)["kid"]]

    assert jwt.decode(token, key, algorithms=["RS256"], audience="a", issuer=GITHUB_ISSUER)["sub"] == "s"
    assert issuer.configuration("http://127.0.0.1:1/oidc")["jwks_uri"] == "http://127.0.0.1:1/oidc/.well-known/jwks"


def test_another_key_another_audience_or_no_signature_is_refused() -> None:
    clock = RangeClock()
    issuer, other = OidcIssuer(clock), OidcIssuer(clock)

    with pytest.raises(jwt.InvalidSignatureError):
        issuer.verify(other.mint({"sub": "s"}, "a"), "a")
    with pytest.raises(jwt.InvalidAudienceError):
        issuer.verify(issuer.mint({"sub": "s"}, "a"), "b")
    with pytest.raises(jwt.InvalidIssuerError):
        issuer.verify(issuer.mint({"sub": "s", "iss": "https://evil.example"}, "a"), "a")
    unsigned = jwt.encode({"sub": "s", "aud": "a", "iss": GITHUB_ISSUER, "iat": 0, "exp": 2**40}, "", algorithm="none")
    with pytest.raises(jwt.InvalidTokenError):
        issuer.verify(unsigned, "a")


def test_it_expires_and_starts_by_the_range_clock() -> None:
    clock = RangeClock()
    issuer = OidcIssuer(clock)
    token = issuer.mint({"sub": "s"}, "a", ttl_s=60)

    clock.advance(59 - 30)
    assert issuer.verify(token, "a")["sub"] == "s"
    clock.advance(60)
    with pytest.raises(jwt.ExpiredSignatureError):
        issuer.verify(token, "a")
    clock.set(-3600)
    with pytest.raises(jwt.ImmatureSignatureError):
        issuer.verify(token, "a")
