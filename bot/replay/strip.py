"""Scenes -> one static SVG: an incident's timeline from left to right, for a report or a print. It needs nothing else.

A moment is a mark whose shape says what it was: a triangle for harm, a square for what waits, a disc for what is good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from bot.replay.nouns import CHAPTERS, Scene
from bot.replay.scenes import chapters, scenes
from bot.store import IncidentRow
from bot.timeline import Event

WIDTH, HEIGHT, EDGE, LINE = 960, 250, 24, 132
ROOM = 110  # for the words of a chapter
GREY, PALE = "#565d66", "#c9ced4"
TONES = {"good": "#14632b", "bad": "#ab1f17", "asks": "#7a4b00", "": GREY}
SHAPES = {
    "good": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0", "bad": "M0-7L7 5H-7z", "asks": "M-5-5H5V5H-5z",
    "": "M-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0",
}  # fmt: skip
LABELLED = ("Leaks", "Reported", "Cut", "Lives on", "Closed")  # the first of each has its words


def of_incident(row: IncidentRow, events: Sequence[Event]) -> str:
    """The timeline of an incident as far as it goes."""
    return strip(scenes(events), f"{row.title}, {row.id}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A chapter below the line: from where to where, and the height of its words."""

    left: float
    right: float
    below: int
    x: float  # of its words
    ends: bool  # they end there, since to the right of it is no room
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A milestone above the line, in words, each on a line of its own so that none lies over another."""

    x: float
    y: int
    ends: bool  # its words end there, and do not begin
    words: str


def spots(shown: Sequence[Scene]) -> list[float]:
    """Where each moment stands."""
    step = (WIDTH - 2 * EDGE) / max(1, len(shown) - 1)
    return [EDGE + step * n for n in range(len(shown))]


def spans(shown: Sequence[Scene]) -> list[Span]:
    """The chapters."""
    at, found, starts = spots(shown), [], chapters(list(shown))
    for n, (chapter, index) in enumerate(starts):
        end = at[starts[n + 1][1]] if n + 1 < len(starts) else WIDTH - EDGE
        right, ends = max(end - 4, at[index] + 4), at[index] > WIDTH - ROOM
        found.append(Span(
            left=at[index], right=right, below=LINE + 46 + 16 * (n % 3), ends=ends,
            x=WIDTH - EDGE if ends else at[index] + 3, words=CHAPTERS[chapter],
        ))  # fmt: skip
    return found


def labels(shown: Sequence[Scene]) -> list[Label]:
    """The milestones."""
    at, marks = spots(shown), [scene.mark for scene in shown]
    found = sorted((marks.index(mark), mark) for mark in LABELLED if mark in marks)
    return [
        Label(x=at[n], y=42 + 16 * row, ends=at[n] > WIDTH * 0.6, words=f"{mark}, {shown[n].clock}")
        for row, (n, mark) in enumerate(found)
    ]


def strip(shown: Sequence[Scene], title: str) -> str:
    """The timeline of these scenes, 960 units wide, on white: whole as a file, or put into a page."""
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" fill="#1a1e23" '
            'font-family="system-ui,sans-serif" font-size="12">'
        ),
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text font-weight="600" x="{EDGE}" y="24">{escape(title)}</text>',
    ]
    parts += [
        f'<path d="M{one.left:.0f} {LINE + 22}V{LINE + 30}H{one.right:.0f}" fill="none" stroke="{GREY}"/>'
        f'<text fill="{GREY}" x="{one.x:.0f}" y="{one.below}" text-anchor="{"end" if one.ends else "start"}">'
        f"{escape(one.words)}</text>"
        for one in spans(shown)
    ]
    parts.append(f'<path d="M{EDGE} {LINE}H{WIDTH - EDGE}" stroke="{GREY}"/>')
    parts += [
        f'<path d="{SHAPES[scene.tone]}" transform="translate({x:.1f} {LINE})" fill="{TONES[scene.tone]}"/>'
        for x, scene in zip(spots(shown), shown, strict=True)
    ]
    parts += [
        f'<path d="M{one.x:.0f} {LINE - 9}V{one.y + 3}" stroke="{PALE}"/>'
        f'<text x="{one.x:.0f}" y="{one.y}" text-anchor="{"end" if one.ends else "start"}">{escape(one.words)}</text>'
        for one in labels(shown)
    ]
    return "".join([*parts, "</svg>"])
