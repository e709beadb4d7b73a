"""ghcr.io: what a tag of an organization's image leads to, and moving it.

docs.github.com/packages, "Working with the Container registry": one signs in with a classic token, under any name.
Versions and who may delete them are GitHub's own API (``bot.actions.github_packages``).
"""

from __future__ import annotations

from bot.errors import Forbidden, NotFound, Refused
from bot.registries.http import Http
from bot.registries.oci import OciClient

GHCR = "https://ghcr.io"
WRITES = "a classic token with `write:packages`"


class GhcrClient(OciClient):
    """ghcr.io as the bot's token of GitHub; without one, as everybody."""

    def __init__(self, *, token: str = "", base_url: str = GHCR) -> None:
        http = Http(
            label="ghcr.io", provider="github", base_url=base_url, token=token, setting="BULKHEAD_GITHUB_TOKEN"
        )  # fmt: skip
        super().__init__(
            http, user="bulkhead", token=token, registry_url=base_url, auth_url=base_url, service="ghcr.io",
            pushes_with=WRITES,
        )  # fmt: skip

    def _bearer(self, package: str, actions: str, *, own: bool) -> str:
        """A public image is shown to everybody, also where the bot's token (an App's) may not sign in."""
        try:
            return super()._bearer(package, actions, own=own)
        except (Refused, Forbidden) as exc:
            if actions != "pull":
                raise Forbidden(f"{exc}", provider="github", permission=WRITES) from None
        try:
            return super()._bearer(package, actions, own=False)
        except (Refused, Forbidden):
            raise NotFound(f"ghcr.io has no {package}, or does not show it to us", provider="github") from None
