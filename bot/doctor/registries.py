"""crates.io, RubyGems.org, Docker Hub: whether the bot can take back what was published. PyPI has no token for that."""

from __future__ import annotations

from dataclasses import dataclass

from bot.doctor.found import BROKEN, MISSING, OK, Finding, Power
from bot.errors import ProviderError
from bot.model import Liveness, Secret
from bot.settings import Settings
from bot.sites import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A registry, the variable that holds the bot's token, and what a thief of it could do."""

    name: str
    variable: str
    token: str
    hint: str
    needs: str
    could: str
    account: str = ""
    what: str = "Versions"
    lacks: str = "yanked"


def _asked(settings: Settings) -> tuple[_Asked, ...]:
    yanks = "take every version of your packages from whoever asks for the newest one"
    return (
        _Asked(
            name="crates", variable="BULKHEAD_CRATES_TOKEN", token=settings.crates_token.get_secret_value(),
            hint="a token of an owner of your packages, with the scope yank and no other", needs="the scope yank",
            could=yanks,
        ),
        _Asked(
            name="rubygems", variable="BULKHEAD_RUBYGEMS_KEY", token=settings.rubygems_key.get_secret_value(),
            hint="a token of an owner of your packages, with the scope yank_rubygem and no other",
            needs="the scope yank_rubygem", could=yanks,
        ),
        _Asked(
            name="dockerhub", variable="BULKHEAD_DOCKERHUB_TOKEN", token=settings.dockerhub_token.get_secret_value(),
            account=settings.dockerhub_user, what="Tags", lacks="moved back or deleted",
            hint="an access token of your organization (its name goes into BULKHEAD_DOCKERHUB_USER), with Image Push "
            "and Tag Admin on your repositories, and Audit Log Read",
            needs="Image Push, Tag Admin and Audit Log Read",
            could="push any image under any tag of the repositories that it names, and delete their tags",
        ),
    )  # fmt: skip


def look(settings: Settings, site: Site) -> tuple[list[Finding], list[Power]]:
    """One finding a registry that the bot may have a token for, and what a thief of that token could do."""
    findings, powers = [], []
    for asked in _asked(settings):
        found, power = _one(site, asked)
        findings.append(found)
        powers += [power] if power else []
    return findings, powers


def _one(site: Site, asked: _Asked) -> tuple[Finding, Power | None]:
    registry = site.registries[asked.name]
    disables = f"{asked.what} on {registry.label} can be looked at, but not {asked.lacks}."
    hint = f"Set {asked.variable}: {asked.hint}."
    if not asked.token:
        return Finding(
            name=registry.label, state=MISSING, detail="no token", disables=disables, suggestion=hint
        ), None  # fmt: skip
    try:
        live, why = registry.tried(Secret(asked.token, "own"), asked.account)
    except ProviderError as exc:
        live, why = Liveness.UNKNOWN, str(exc)
    if live != Liveness.LIVE:
        unnamed = asked.name == "dockerhub" and not asked.account
        hint = hint if live == Liveness.DEAD or unnamed else "Check the network."
        return Finding(name=registry.label, state=BROKEN, detail=why, disables=disables, suggestion=hint), None
    power = Power(
        identity=f"the bot's token of {registry.label}", summary=f"{registry.label} does not tell what a token may do",
        could=(asked.could,),
        suggestions=(f"Look at it on {registry.label}: it needs {asked.needs} and no more",),
    )  # fmt: skip
    return Finding(name=registry.label, state=OK, detail=why), power
