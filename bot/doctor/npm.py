"""npm: as whom. What a granular token may do npm tells nobody, so that cannot be looked up."""

from __future__ import annotations

from bot.doctor.found import BROKEN, MISSING, OK, Finding, Power
from bot.errors import Forbidden, ProviderError
from bot.sites import Site


def look(site: Site, *, token: bool) -> tuple[list[Finding], Power | None]:
    """``token``: whether one is configured."""
    disables = "Versions can be looked at, but no dist-tag moved back, nothing deprecated or unpublished."
    if site.npm is None or not token:
        hint = "Set BULKHEAD_NPM_TOKEN: a granular token that may write to your packages and to nothing else."
        return [Finding(name="npm", state=MISSING, detail="no token", disables=disables, suggestion=hint)], None
    try:
        who = str(site.npm.get("/-/whoami", write=True)["username"])
    except ProviderError as exc:
        refused = exc.reason == "refused" or isinstance(exc, Forbidden)
        hint = "Make a new one: npm's granular tokens end by themselves." if refused else "Check the network."
        return [Finding(name="npm", state=BROKEN, detail=str(exc), disables=disables, suggestion=hint)], None
    power = Power(
        identity=f"npm token of {who}", summary="npm does not tell what a granular token may do",
        could=("publish a version of every package that it may write to, which all who install get",),
        suggestions=("Look at its page on npm; it should name single packages, and addresses that it may come from",),
    )  # fmt: skip
    return [Finding(name="npm", state=OK, detail=f"as {who}")], power
