"""The range's OIDC issuer. It signs as GitHub's does (RS256, same ``iss``), with a key made when it starts.

The ``iss`` is GitHub's real one, so that a trust policy written for production is the one that is tried here; where
the keys are served is the range's own address (``configuration``).
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from bot.range.clock import RangeClock

GITHUB_ISSUER = "https://token.actions.githubusercontent.com"


class OidcIssuer:
    """Mints and verifies id-tokens by the range's clock."""

    def __init__(self, clock: RangeClock, issuer: str = GITHUB_ISSUER) -> None:
        self.issuer = issuer
        self._clock = clock
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._kid = uuid.uuid4().hex

    def mint(self, claims: dict[str, Any], audience: str, ttl_s: float = 300) -> str:
        """A signed token; ``claims`` are added to iss, aud, iat, nbf, exp and jti."""
        now = int(self._clock.time())
        body = {
            "jti": str(uuid.uuid4()), "iss": self.issuer, "aud": audience,
            "iat": now, "nbf": now, "exp": int(now + ttl_s), **claims,
        }  # fmt: skip
        return jwt.encode(body, self._key, algorithm="RS256", headers={"kid": self._kid})

    def verify(self, token: str, audience: str | list[str]) -> dict[str, Any]:
        """The claims of a token of ours for one of these audiences.

        Raises ``jwt.InvalidTokenError`` or one of its kinds (``ExpiredSignatureError``, ``InvalidAudienceError``, ...).
        """
        claims: dict[str, Any] = jwt.decode(
            token, self._key.public_key(), algorithms=["RS256"], audience=audience, issuer=self.issuer,
            options={
                "require": ["exp", "iat", "aud", "sub"],
                "verify_exp": False, "verify_nbf": False, "verify_iat": False,
            },
        )  # fmt: skip
        now = self._clock.time()  # PyJWT would ask the machine's clock
        if now >= float(claims["exp"]):
            raise jwt.ExpiredSignatureError("the token has expired")
        if now < float(claims.get("nbf", 0)):
            raise jwt.ImmatureSignatureError("the token is not valid yet")
        return claims

    def jwks(self) -> dict[str, Any]:
        """The public keys (RFC 7517)."""
        key = json.loads(RSAAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**key, "kid": self._kid, "use": "sig", "alg": "RS256"}]}

    def configuration(self, base: str) -> dict[str, Any]:
        """The discovery document (OpenID Connect Discovery 1.0, section 3). ``base`` is where it is served."""
        return {
            "issuer": self.issuer, "jwks_uri": f"{base}/.well-known/jwks",
            "subject_types_supported": ["public", "pairwise"], "response_types_supported": ["id_token"],
            "id_token_signing_alg_values_supported": ["RS256"], "scopes_supported": ["openid"],
        }  # fmt: skip
