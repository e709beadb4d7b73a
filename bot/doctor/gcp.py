"""Google Cloud: whether the bot's own service account is accepted there."""

from __future__ import annotations

from contextlib import suppress

from bot.doctor.found import BROKEN, MISSING, OK, Finding, Power
from bot.errors import Forbidden, ProviderError
from bot.gcp import SETTING, own_name
from bot.sites import Site

NAME = "Google Cloud"


def look(site: Site, key_file: str) -> tuple[Finding, Power | None]:
    """The finding, and what a thief of the key file could do. ``key_file``: its text, '' where there is none."""
    disables = "Service-account keys can be tried, but neither keys nor accounts can be disabled."
    hint = f"Set {SETTING}: the key file of a service account of its own, with what docs/permissions.md lists."
    own = own_name(key_file)
    if own is None or site.gcp is None:
        return Finding(name=NAME, state=MISSING, detail="no key file", disables=disables, suggestion=hint), None
    power = Power(
        identity=f"the bot's service account {own.email}", summary="it may disable accounts and keys where it is let",
        could=("stop everything that runs as the accounts it may disable, and enable what you have disabled",),
        suggestions=("Grant its role on the accounts that pipelines use, not on the project",),
    )  # fmt: skip
    try:
        with suppress(Forbidden):  # accepted; it need not be allowed to look at itself
            site.gcp.get(own.account)
    except ProviderError as exc:
        return Finding(name=NAME, state=BROKEN, detail=str(exc), disables=disables, suggestion=hint), None
    return Finding(name=NAME, state=OK, detail=f"accepted as {own.email}"), power
