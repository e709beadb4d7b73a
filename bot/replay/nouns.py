"""What a replay is made of, frozen: things that a thief can use, what moves between places, scenes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# The places of the picture, in the order in which they are read out.
PLACES: Mapping[str, str] = {
    "pipeline": "Repository", "store": "Secret store", "issuer": "OIDC issuer", "runner": "Runner",
    "cloud": "Cloud", "registry": "Registry", "open": "In the open", "attacker": "Attacker",
    "bulkhead": "Bulkhead", "people": "People",
}  # fmt: skip
CHAPTERS: Mapping[str, str] = {
    "move": "The move to OIDC", "leak": "The leak", "abuse": "The abuse", "report": "The report",
    "contain": "Containment", "again": "Tried again",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Move:
    """Something goes from one place to another. ``what``: token, use, cut, proof, ask, word or stop."""

    what: str
    origin: str
    target: str
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something that a thief can use. ``state`` is one word of STATES, ``note`` how that is known."""

    name: str
    place: str
    state: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One moment, whole: it can be drawn without those before it. ``texts`` are sentences of a caption."""

    chapter: str
    mark: str
    texts: tuple[str, ...]
    clock: str = ""
    how: str = ""  # how strong a proof is, in words
    tone: str = ""  # good, bad, asks or ""
    moves: tuple[Move, ...] = ()
    things: tuple[Thing, ...] = ()
    changed: frozenset[int] = frozenset()  # which things are not as they were a scene before
    copies: tuple[str, ...] = ()  # the places where the leaked credential has been put
    signs: Mapping[str, str] = field(default_factory=dict)  # place -> what it shows now
    event: int = 0  # the number of the timeline's last event in it; 0 = told by the drill

    @property
    def caption(self) -> str:
        """What is read out."""
        return " ".join(self.texts)

    @property
    def seconds(self) -> float:
        """How long it stands at speed 1: as long as a calm reader needs."""
        return min(7.0, max(1.8, 1.1 + 0.036 * len(self.caption)))


# state -> mark, word, tone. A mark is never alone: the word stands beside it.
STATES: Mapping[str, tuple[str, str, str]] = {
    "safe": ("○", "in the store", ""),
    "reach": ("◌", "in reach of the leak", "asks"),
    "works": ("●", "works", "bad"),
    "cutting": ("◐", "being cut", "asks"),
    "accepted": ("◑", "cut, not proven yet", "asks"),
    "lives": ("⧗", "lives on", "asks"),
    "dead": ("✕", "dead", "good"),
    "failed": ("!", "its cut failed", "bad"),
    "waived": ("~", "waived", "asks"),
}  # fmt: skip
