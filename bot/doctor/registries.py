"""crates.io and RubyGems.org: whether the bot can yank there. PyPI has no token for that."""

from __future__ import annotations

from bot.app import Site
from bot.doctor.found import BROKEN, MISSING, OK, Finding, Power
from bot.errors import ProviderError
from bot.model import Liveness, Secret
from bot.settings import Settings


def look(settings: Settings, site: Site) -> tuple[list[Finding], list[Power]]:
    """One finding a registry that the bot may have a token for, and what a thief of that token could do."""
    asked = (
        ("crates", "BULKHEAD_CRATES_TOKEN", "yank", settings.crates_token.get_secret_value()),
        ("rubygems", "BULKHEAD_RUBYGEMS_KEY", "yank_rubygem", settings.rubygems_key.get_secret_value()),
    )
    findings, powers = [], []
    for name, variable, scope, token in asked:
        found, power = _one(site, name, variable, scope, token)
        findings.append(found)
        powers += [power] if power else []
    return findings, powers


def _one(site: Site, name: str, variable: str, scope: str, token: str) -> tuple[Finding, Power | None]:
    registry = site.registries[name]
    disables = f"Versions on {registry.label} can be looked at, but not yanked."
    hint = f"Set {variable}: a token of an owner of your packages, with the scope {scope} and no other."
    if not token:
        return Finding(
            name=registry.label, state=MISSING, detail="no token", disables=disables, suggestion=hint
        ), None  # fmt: skip
    try:
        live, why = registry.tried(Secret(token, "own"))
    except ProviderError as exc:
        live, why = Liveness.UNKNOWN, str(exc)
    if live != Liveness.LIVE:
        hint = hint if live == Liveness.DEAD else "Check the network."
        return Finding(name=registry.label, state=BROKEN, detail=why, disables=disables, suggestion=hint), None
    power = Power(
        identity=f"the bot's token of {registry.label}", summary=f"{registry.label} does not tell what a token may do",
        could=("take every version of your packages from whoever asks for the newest one",),
        suggestions=(f"Look at it on {registry.label}: it needs the scope {scope} and no other",),
    )  # fmt: skip
    return Finding(name=registry.label, state=OK, detail=why), power
