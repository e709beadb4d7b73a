"""The static timeline as a PNG, for places that show no SVG, such as a thread in Slack. Drawn without a browser.

The picture is that of ``bot.replay.strip``, twice as large; its letters are those that come with Pillow.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from bot.replay.nouns import Scene
from bot.replay.scenes import scenes
from bot.replay.strip import EDGE, GREY, HEIGHT, LINE, PALE, TONES, WIDTH, labels, spans, spots
from bot.store import IncidentRow
from bot.timeline import Event

SCALE = 2
INK = "#1a1e23"
LONGEST = 100  # characters of a title


def of_incident(row: IncidentRow, events: Sequence[Event], scrub: Callable[[str], str] = str) -> bytes:
    """The timeline of an incident as far as it goes. ``scrub`` takes secrets out of what is written on it."""
    return png(scenes(events), scrub(f"{row.title}, {row.id}"))


def described(events: Sequence[Event]) -> str:
    """The same in words, for who does not see it: the milestones, with their times."""
    found = [one.words for one in labels(scenes(events))]
    return "The incident's timeline from left to right. " + "; ".join(found) if found else "The incident's timeline."


def png(shown: Sequence[Scene], title: str) -> bytes:
    """The timeline of these scenes, 1920 by 500 pixels, on white."""
    image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), "#ffffff")
    draw = ImageDraw.Draw(image)
    _words(draw, EDGE, 24, " ".join(title.split())[:LONGEST], INK, 13)
    for span in spans(shown):
        _line(draw, [(span.left, LINE + 22), (span.left, LINE + 30), (span.right, LINE + 30)], GREY)
        _words(draw, span.x, span.below, span.words, GREY, ends=span.ends)
    _line(draw, [(EDGE, LINE), (WIDTH - EDGE, LINE)], GREY)
    for x, scene in zip(spots(shown), shown, strict=True):
        _mark(draw, x, scene.tone)
    for label in labels(shown):
        _line(draw, [(label.x, LINE - 9), (label.x, label.y + 3)], PALE)
        _words(draw, label.x, label.y, label.words, INK, ends=label.ends)
    held = io.BytesIO()
    image.save(held, "PNG", optimize=True)
    return held.getvalue()


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * SCALE)


def _words(
    draw: ImageDraw.ImageDraw, x: float, y: float, text: str, colour: str, size: int = 12, *, ends: bool = False
) -> None:  # fmt: skip
    """Text whose base line is at ``y``."""
    draw.text((x * SCALE, y * SCALE), text, fill=colour, font=_font(size), anchor="rs" if ends else "ls")


def _line(draw: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: str) -> None:
    draw.line([(x * SCALE, y * SCALE) for x, y in points], fill=colour, width=SCALE)


def _mark(draw: ImageDraw.ImageDraw, x: float, tone: str) -> None:
    """The shape says what it was, as in ``strip.SHAPES``: a triangle, a square, a disc, a dot."""

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [((x + dx) * SCALE, (LINE + dy) * SCALE) for dx, dy in points]

    colour = TONES[tone]
    if tone == "bad":
        draw.polygon(at((0, -7), (7, 5), (-7, 5)), fill=colour)
    elif tone == "asks":
        draw.rectangle(at((-5, -5), (5, 5)), fill=colour)
    else:
        size = 5 if tone == "good" else 2.5
        draw.ellipse(at((-size, -size), (size, size)), fill=colour)
