"""Trusted publishing of the range's npm: an id-token of a workflow becomes a token for one package, for minutes.

Sources: docs.npmjs.com, "Trusted publishing for npm packages" (repository, file name of the workflow and environment
are compared; the package must exist; publishing only); the npm CLI for the paths: the audience is ``npm:`` with the
registry's host, the exchange is ``POST /-/npm/v1/oidc/token/exchange/package/NAME``. How long a token lives npm does
not say; here it is ``LIFE_S``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jwt

from bot.range.issuer import OidcIssuer

if TYPE_CHECKING:
    from bot.range.npm import NpmRegistry

AUDIENCE, LIFE_S = "npm:registry.npmjs.org", 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Who may publish a package: the form of its settings page. ``workflow`` is a file name without its folder."""

    repository: str
    workflow: str
    environment: str = ""

    def fits(self, claims: dict[str, Any]) -> bool:
        file = str(claims.get("workflow_ref", "")).partition("@")[0].rpartition("/")[2]
        environment = str(claims.get("environment", ""))
        return (
            claims.get("repository") == self.repository
            and file == self.workflow
            and (not self.environment or environment == self.environment)
        )


def exchanged(registry: NpmRegistry, issuer: OidcIssuer | None, name: str, id_token: str) -> dict[str, Any] | None:
    """A token for one package, for whom its publisher names; None for everybody else."""
    publisher = registry.publishers.get(name)
    try:
        claims = issuer.verify(id_token, AUDIENCE) if issuer else {}
    except jwt.InvalidTokenError:
        claims = {}
    if publisher is None or not claims or not publisher.fits(claims):
        return None
    user = registry.packages[name].maintainers[0]
    value = registry.add_token(user, f"trusted publishing of {name}")
    token = registry.tokens[value]
    token.package, token.ends_at = name, registry.clock.now() + timedelta(seconds=LIFE_S)
    stamps = {"created": token.created_at.isoformat(), "expires": token.ends_at.isoformat()}
    return {"token": value, "token_type": "oidc", **stamps}
