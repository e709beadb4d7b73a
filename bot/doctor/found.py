"""What is found: things that are set, missing or wrong, and what identities could do in other hands."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from bot.actions import CATALOGUE

OK, MISSING, WARNING, BROKEN = "ok", "missing", "warning", "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is set, missing or wrong."""

    name: str
    state: str  # ok, missing, warning, broken
    detail: str
    disables: str = ""
    suggestion: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What one identity could do in other hands."""

    identity: str
    summary: str
    could: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """Everything that was found."""

    findings: list[Finding] = field(default_factory=list)
    powers: list[Power] = field(default_factory=list)

    @property
    def broken(self) -> bool:
        """Something is set and does not work. What is merely missing is not broken."""
        return any(finding.state == BROKEN for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """What a program reads. ``needed`` are the least permissions of all actions."""
        needed = {provider: sorted(needs(provider)) for provider in ("aws", "github")}
        return asdict(self) | {"broken": self.broken, "needed": needed}


def needs(provider: str) -> set[str]:
    """The least permissions of all actions of a provider, in its own words."""
    return {right for action in CATALOGUE.values() if action.provider == provider for right in action.permissions}
