"""What a sender delivers, and what a source reads from it: the values that pass between the door and the inbox.

``Seen`` may hold a secret. It lives in memory between the reading and the one insert that seals it, shows none of it
and is never pickled; everything else here is written down scrubbed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bot.model import Exposure, Trust

# What a database or a page would choke on: control characters, halves of a pair of UTF-16.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
MOST = 500  # characters of a field that is kept
RANKS = {"critical": 0, "high": 1, "medium": 3, "low": 5, "info": 6}
UNRANKED = 4  # worked after what is known to be bad, before what is known not to be


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One request of a sender, as it came. ``headers`` by lower-case name; ``token`` is what stood in the address."""

    source: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    at: datetime
    token: str = field(default="", repr=False)

    @property
    def sha256(self) -> str:
        """Of the raw body: all that is kept of it."""
        return hashlib.sha256(self.body).hexdigest()

    def header(self, name: str) -> str:
        """A header, or ''."""
        return self.headers.get(name, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who has shown to be the sender, and what that is worth."""

    trust: Trust
    by: str  # as the timeline names it
    repository: str = ""  # a run of this repository sent it (GitHub's OIDC token says so)
    run_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One credential at one place, as a sender tells of it.

    ``text`` is where its value stands, for the recogniser; ``value`` is the value itself, where the sender says which.
    """

    called: str = ""  # the sender's own word for the kind
    kind: str = ""  # ours, when the sender's word is known; what the value itself says counts more
    text: str = field(default="", repr=False)
    value: str = field(default="", repr=False)
    id: str = ""  # the provider's public name of it: AKIA…
    names: tuple[str, ...] = ()  # what this sender calls the same credential in every delivery
    hashed: str = field(default="", repr=False)  # SHA-1 of the value, unsalted (detect-secrets)
    where: str = ""  # path and line, an issue, a log: for people
    line: int = 0
    repository: str = ""
    commit: str = ""
    url: str = ""
    run_url: str = ""  # of a run whose log holds it
    place: str = ""  # the sender's own id of this place; otherwise drawn from where it is
    exposure: Exposure = Exposure.UNKNOWN
    validity: str = ""  # live or dead in the sender's word
    severity: str = ""
    alert: int = 0  # number of the secret-scanning alert of ``repository`` from which the value may be fetched

    def __reduce__(self) -> Any:
        raise TypeError("what a sender has seen may hold a secret and is never pickled")

    @property
    def rank(self) -> int:
        """Lower is worked sooner."""
        if self.exposure is Exposure.PUBLIC and self.validity != "dead":
            return 0
        return min(RANKS.get(self.severity.lower(), UNRANKED), 2 if self.validity == "live" else 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that happened at a provider and may tell later: it is stored and opens nothing."""

    kind: str  # workflow_run.completed, push, deploy_key.created, …
    repository: str = ""
    at: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A scanner says that its alert is over. ``revoked``: and says that the credential was revoked."""

    names: tuple[str, ...]
    revoked: bool
    resolution: str
    by: str = ""
    at: str = ""  # when, as the sender says it; told again it is the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a source reads from a delivery. With nothing in it, ``note`` says why it is not taken."""

    event: str
    seen: tuple[Seen, ...] = ()
    facts: tuple[Fact, ...] = ()
    settled: tuple[Settled, ...] = ()
    by: str = ""  # who did it, as the sender tells
    key: str = ""  # the delivery's own key where the sender gives one that is signed; otherwise its SHA-256
    text: str = ""
    note: str = ""

    @property
    def empty(self) -> bool:
        """Nothing to keep."""
        return not (self.seen or self.facts or self.settled)


def plain(value: Any, most: int = MOST) -> str:
    """Text that every database takes and no page is bent by; '' for what is no text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return _UNPRINTABLE.sub(" ", str(value)).strip()[:most]


def at_path(value: Any, path: str) -> Any:
    """What stands at a dotted path of a JSON value ("alert.number", "matches.0.match"), or None."""
    for part in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def text_at(value: Any, path: str, most: int = MOST) -> str:
    """The text at a path, plain; ''."""
    return plain(at_path(value, path), most)


def number_at(value: Any, path: str) -> int:
    """The whole number at a path, also written as text; 0."""
    found = at_path(value, path)
    if isinstance(found, bool):
        return 0
    if isinstance(found, int):
        return found if abs(found) < 2**63 else 0
    return int(found) if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 19 else 0


def rows_at(value: Any, path: str) -> list[dict[str, Any]]:
    """The tables of a list at a path; [] when there is no list."""
    found = at_path(value, path) if path else value
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def secret_at(value: Any, path: str) -> str:
    """A value at a path, whole: it is sealed, never shown. Halves of pairs that no encoding knows are left out."""
    found = at_path(value, path)
    if not isinstance(found, str):
        return ""
    return found.encode("utf-8", "ignore").decode()[:65_536]


_GITHUB_URL = re.compile(
    r"https?://[^/\s]+/(?P<repo>[\w.-]+/[\w.-]+?)(?:\.git)?(?:/(?:blob|commit|tree|raw)/(?P<ref>[^/#?\s]+)"
    r"(?:/(?P<path>[^#?\s]+))?)?(?:[#?]\S*)?\Z"
)


def repository_of(url: str) -> str:
    """OWNER/NAME of an address of a repository or of something in it; ''."""
    match = _GITHUB_URL.match(url.strip())
    return match["repo"] if match else ""


def commit_of(url: str) -> str:
    """The commit that an address of a file names; ''."""
    match = _GITHUB_URL.match(url.strip())
    return match["ref"] or "" if match else ""
