"""What a signal found, and how sure it is. A finding has one name for ever, so that it is told once."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

SIGNALS = ("deploy-source", "release-path", "api-target", "build-log", "token-lifetime")


class Sure(StrEnum):
    """How sure, least first. ``possible``: worth a line in a digest; ``likely``: worth an incident;
    ``certain``: nothing innocent that we know of looks like this.
    """

    POSSIBLE = "possible"
    LIKELY = "likely"
    CERTAIN = "certain"

    @property
    def rank(self) -> int:
        """0, 1 or 2."""
        return list(Sure).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sign of misuse.

    ``subject`` is what is misused (an identity, a workflow, a package, a run); ``what`` a short word for the kind of
    sign; ``value`` what is new or wrong. These three and the signal make its name. ``ruled_out`` says which innocent
    explanations were looked for and are not there, ``evidence`` where each fact stands.
    """

    signal: str
    subject: str
    what: str
    value: str
    at: datetime
    sure: Sure
    says: str
    evidence: tuple[str, ...] = ()
    ruled_out: tuple[str, ...] = ()
    repository: str = ""
    credential: str = ""  # key of the credential that is shown by it, where one is
    versions: tuple[tuple[str, str, str], ...] = ()  # (registry, package, version) that should not be there

    @property
    def name(self) -> str:
        """The same sign seen again has the same name."""
        drawn = f"{self.signal}\x1f{self.subject}\x1f{self.what}\x1f{self.value}"
        return f"{self.signal}-{hashlib.sha256(drawn.encode()).hexdigest()[:12]}"

    def as_json(self) -> dict[str, Any]:
        """For ``--json``, the timeline and the store."""
        return asdict(self) | {"name": self.name, "at": self.at.isoformat(), "sure": self.sure.value}


def once(findings: list[Finding]) -> list[Finding]:
    """Each name once, the surest and then the earliest of it; in the order of time."""
    best: dict[str, Finding] = {}
    for one in sorted(findings, key=lambda f: (-f.sure.rank, f.at)):
        best.setdefault(one.name, one)
    return sorted(best.values(), key=lambda f: (f.at, f.signal, f.name))
