"""Scenes -> one static SVG: an incident's timeline from left to right, for a report or a print. It needs nothing else.

A moment is a mark whose shape says what it was: a triangle for harm, a square for what waits, a disc for what is good.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bot.replay.nouns import CHAPTERS, Scene
from bot.replay.scenes import chapters, scenes
from bot.store import IncidentRow
from bot.timeline import Event

WIDTH, HEIGHT, EDGE, LINE = 960, 250, 24, 132
TONES = {"good": "#14632b", "bad": "#ab1f17", "asks": "#7a4b00", "": "#565d66"}
SHAPES = {
    "good": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0", "bad": "M0-7L7 5H-7z", "asks": "M-5-5H5V5H-5z",
    "": "M-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0",
}  # fmt: skip
LABELLED = ("Leaks", "Reported", "Cut", "Lives on", "Closed")  # the first of each has its words


def of_incident(row: IncidentRow, events: Sequence[Event]) -> str:
    """The timeline of an incident as far as it goes."""
    return strip(scenes(events), f"{row.title}, {row.id}")


def strip(shown: Sequence[Scene], title: str) -> str:
    """The timeline of these scenes, 960 units wide, on white: whole as a file, or put into a page."""
    step = (WIDTH - 2 * EDGE) / max(1, len(shown) - 1)
    spots = [EDGE + step * n for n in range(len(shown))]
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" fill="#1a1e23" '
            'font-family="system-ui,sans-serif" font-size="12">'
        ),
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text font-weight="600" x="{EDGE}" y="24">{escape(title)}</text>',
    ]
    starts = chapters(list(shown))
    for n, (chapter, index) in enumerate(starts):
        end = spots[starts[n + 1][1]] if n + 1 < len(starts) else WIDTH - EDGE
        parts.append(
            f'<path d="M{spots[index]:.0f} {LINE + 22}V{LINE + 30}H{max(end - 4, spots[index] + 4):.0f}" fill="none" '
            f'stroke="#565d66"/><text fill="#565d66" x="{spots[index] + 3:.0f}" y="{LINE + 46 + 16 * (n % 3)}">'
            f"{escape(CHAPTERS[chapter])}</text>"
        )
    parts.append(f'<path d="M{EDGE} {LINE}H{WIDTH - EDGE}" stroke="#565d66"/>')
    parts += [
        f'<path d="{SHAPES[scene.tone]}" transform="translate({x:.1f} {LINE})" fill="{TONES[scene.tone]}"/>'
        for x, scene in zip(spots, shown, strict=True)
    ]
    return "".join([*parts, *_labels(shown, spots), "</svg>"])


def _labels(shown: Sequence[Scene], spots: Sequence[float]) -> list[str]:
    """The milestones in words, each on a line of its own so that none lies over another."""
    marks = [scene.mark for scene in shown]
    found = [(marks.index(mark), mark) for mark in LABELLED if mark in marks]
    parts = []
    for row, (index, mark) in enumerate(sorted(found)):
        x, y = spots[index], 42 + 16 * row
        anchor = "end" if x > WIDTH * 0.6 else "start"
        said = f"{mark}, {shown[index].clock}"
        parts.append(
            f'<path d="M{x:.0f} {LINE - 9}V{y + 3}" stroke="#c9ced4"/>'
            f'<text x="{x:.0f}" y="{y}" text-anchor="{anchor}">{escape(said)}</text>'
        )
    return parts
