"""Scene -> SVG: one picture of pipeline, providers, the outside and who contains, in a wide and in a tall layout.

Colour never stands alone: what moves has a line of its own kind, a glyph and a word; what is dead is crossed out.
Text is escaped here; no address outside the document is ever referred to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from bot.replay.nouns import PLACES, STATES, Move, Scene, Thing

GLYPHS: Mapping[str, str] = {  # 24 by 24, drawn by hand
    "pipeline": "M4 4v11a4 4 0 0 0 4 4h6 M4 9h9a3 3 0 0 0 3-3V4 M2 4h4 M14 4h4 M16 21l3-2-3-2",
    "store": "M5 11h14v9H5z M8 11V8a4 4 0 0 1 8 0v3 M12 14v3",
    "issuer": "M4 5h16v14H4z M8 10a2 2 0 1 0 4 0a2 2 0 1 0-4 0 M6.5 16c.6-2 6.4-2 7 0 M15 9h3 M15 13h3",
    "runner": "M3 5h18v12H3z M7 9l3 2-3 2 M12 14h4 M8 21h8",
    "cloud": "M7 18a4 4 0 0 1 0-8a5 5 0 0 1 9.6-1.2A4.3 4.3 0 0 1 17 18z",
    "registry": "M4 8l8-4l8 4v9l-8 4l-8-4z M4 8l8 4l8-4 M12 12v9",
    "open": "M2 12c4-7 16-7 20 0c-4 7-16 7-20 0z M9 12a3 3 0 1 0 6 0a3 3 0 1 0-6 0",
    "attacker": "M4 10c0-9 16-9 16 0v10H4z M7 11h10l-1.5 3h-2L12 13l-1.5 1h-2z",
    "bulkhead": "M12 3l8 3v6c0 5-4 8-8 9c-4-1-8-4-8-9V6z M8.5 12l2.5 2.5l4.5-5",
    "people": "M6 8a3 3 0 1 0 6 0a3 3 0 1 0-6 0 M3 19c0-7 12-7 12 0 M15.5 6.5a2.5 2.5 0 1 1 0 4.6 M17 13c3 .4 4 3 4 6",
}  # fmt: skip
KEY = "M0 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0 M8 0h9v4 M13 0v3"
DEAD = "M1-6l13 12"
# what moves -> the glyph on its way; its line is styled by its name
MOVERS: Mapping[str, str] = {
    "token": KEY,
    "use": KEY,
    "mint": KEY,
    "stop": "M-6-6l12 12 M6-6l-12 12",
    "proof": "M-7 0l5 5l9-10",
    "ours": "M-7 0l5 5l9-10",
    "cut": "M-7-6l14 10 M-7 6l14-10",
    "ask": "M-4-4a4 4 0 1 1 5 4q-1 .5-1 3 M0 7v1",
    "word": "M-8-5h16v9h-9l-4 4v-4h-3z",
    "look": "M-6-1a5 5 0 1 0 10 0a5 5 0 1 0-10 0 M3 3l5 5",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where everything stands, in the picture's own units."""

    name: str
    width: int
    height: int
    box: tuple[int, int]  # of a place
    zones: tuple[tuple[str, int, int, int, int, str], ...]  # words, x, y, width, height, class
    rows: int  # of the attacker's keys
    at: Mapping[str, tuple[int, int]]  # place -> its middle


WIDE = Layout(
    name="wide", width=960, height=418, box=(172, 70), rows=2,
    zones=(
        ("Your pipeline", 8, 8, 568, 216, "ours"),
        ("What it can change", 600, 8, 352, 216, "theirs"),
        ("Containment", 8, 246, 400, 164, "contain"),
        ("Outside: anybody", 432, 246, 520, 164, "outside"),
    ),
    at={
        "pipeline": (112, 78), "store": (112, 172), "runner": (456, 78), "issuer": (456, 172), "cloud": (780, 78),
        "registry": (780, 172), "people": (112, 326), "bulkhead": (304, 326), "attacker": (590, 326),
        "open": (844, 326),
    },
)  # fmt: skip
TALL = Layout(
    name="tall", width=400, height=408, box=(160, 50), rows=1,
    zones=(
        ("Your pipeline", 3, 3, 394, 140, "ours"),
        ("What it can change", 3, 149, 394, 76, "theirs"),
        ("Outside: anybody", 3, 231, 394, 96, "outside"),
        ("Containment", 3, 333, 394, 73, "contain"),
    ),
    at={
        "pipeline": (91, 49), "store": (91, 109), "runner": (309, 49), "issuer": (309, 109), "cloud": (91, 194),
        "registry": (309, 194), "open": (91, 276), "attacker": (309, 276), "bulkhead": (91, 376),
        "people": (309, 376),
    },
)  # fmt: skip
LAYOUTS = (WIDE, TALL)
BENDS = (0, 18, -18, 40, -40, 66, -66, 96, -96, 130, -130)  # how far a line may go aside to pass a place
WIRES = (("pipeline", "runner"), ("store", "runner"), ("runner", "cloud"), ("runner", "registry"))


def stage(layout: Layout, places: Iterable[str]) -> str:
    """What stands still, as a symbol that every scene uses: zones, wires and places."""
    parts = [f'<symbol id="stage-{layout.name}" viewBox="0 0 {layout.width} {layout.height}">']
    for said, x, y, w, h, kind in layout.zones:
        parts.append(f'<rect class="zone {kind}" x="{x}" y="{y}" width="{w}" height="{h}" rx="14"/>')
        parts.append(f'<text class="zone-name" x="{x + 12}" y="{y + 15}">{escape(said)}</text>')
    shown = list(places)
    parts += [
        f'<path class="wire" d="{_d(_curve(layout, a, b, shown, 0))}"/>' for a, b in WIRES if a in shown and b in shown
    ]
    w, h = layout.box
    for place in shown:
        x, y = layout.at[place]
        parts.append(f'<rect class="place" x="{x - w // 2}" y="{y - h // 2}" width="{w}" height="{h}" rx="10"/>')
        parts.append(f'<path class="glyph" transform="translate({x - w // 2 + 10} {y - 12})" d="{GLYPHS[place]}"/>')
        parts.append(f'<text class="name" x="{x - w // 2 + 42}" y="{y - 3}">{escape(PLACES[place])}</text>')
    return "".join([*parts, "</symbol>"])


def symbols() -> str:
    """What scenes refer to beside the stage: a key, alive and dead, what moves, and the tips of its lines."""
    parts = [f'<path id="k" d="{KEY}"/>', f'<g id="k-dead"><path d="{KEY}"/><path class="cross" d="{DEAD}"/></g>']
    parts += [f'<path id="m-{what}" d="{d}"/>' for what, d in MOVERS.items()]
    parts += [
        f'<marker id="tip-{what}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="16" markerHeight="16" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="tip {what}" d="M0 0L10 5L0 10z"/></marker>'
        for what in MOVERS
    ]
    return "".join(parts)


def draw(scene: Scene, layout: Layout, places: Iterable[str], *, title: str = "") -> str:
    """One scene. It refers to what ``symbols`` and ``stage`` give, which must stand in the same document."""
    shown = list(places)
    w, h = layout.box
    parts = [
        f'<svg class="{layout.name}" viewBox="0 0 {layout.width} {layout.height}" role="img">',
        f"<title>{escape(title or scene.mark)}</title>",
        f'<use href="#stage-{layout.name}" width="{layout.width}" height="{layout.height}"/>',
    ]
    active = {place for move in scene.moves for place in (move.origin, move.target)}
    for place in sorted(active & layout.at.keys()):
        x, y = layout.at[place]
        tone = f" {scene.tone}" if scene.tone else ""
        parts.append(
            f'<rect class="active{tone}" x="{x - w // 2}" y="{y - h // 2}" width="{w}" height="{h}" rx="10"/>'
        )
    for place, sign in scene.signs.items():
        if sign and place in layout.at:
            x, y = layout.at[place]
            parts.append(f'<text class="note" x="{x - w // 2 + 42}" y="{y + 16}">{escape(_fit(sign, w - 46))}</text>')
    parts += [_copy(layout, place, scene.things) for place in scene.copies]
    parts += _ring(layout, scene.things) if "attacker" in scene.copies else []
    taken: dict[tuple[str, str], int] = {}
    for move in scene.moves:
        pair = (move.origin, move.target)
        taken[pair] = taken.get(pair, 0) + 1
        if move.origin in shown and move.target in shown and move.origin != move.target:
            parts.append(_move(layout, move, shown, taken[pair] - 1))
    return "".join([*parts, "</svg>"])


def _fit(text: str, width: float) -> str:
    """As much of a sign as has room."""
    if _wide(text) <= width:
        return text
    while text and _wide(text) + 10 > width:
        text = text[:-1]
    return f"{text}…"


def _wide(text: str) -> float:
    """How much room a sign takes, about: capitals are wide."""
    return sum(9.2 if letter.isupper() else 7.0 for letter in text)


def _key(x: float, y: float, state: str) -> str:
    """A key, crossed out when what it stands for is dead."""
    shape = "k-dead" if state == "dead" else "k"
    return f'<g class="key {STATES[state][2]}" transform="translate({x:g} {y:g})"><use href="#{shape}"/></g>'


def _copy(layout: Layout, place: str, things: tuple[Thing, ...]) -> str:
    """The leaked credential lies here too: a badge on the edge of the place."""
    x, y = layout.at[place]
    state = things[0].state if things else "works"
    left, top = x + layout.box[0] // 2 - 18, y - layout.box[1] // 2
    return f'<circle class="badge" cx="{left}" cy="{top}" r="12"/>{_key(left - 8, top - 1, state)}'


def _ring(layout: Layout, things: tuple[Thing, ...]) -> list[str]:
    """The attacker's key ring: one key for each thing, in the order of the list beside the picture."""
    held = [thing for thing in things if thing.state not in ("safe", "reach")]
    x, y = layout.at["attacker"]
    left, top, across = x - layout.box[0] / 2 + 2, y + layout.box[1] / 2 + 12, -(-len(held) // layout.rows)
    across = max(across, int(layout.box[0] // 21))
    step = layout.box[0] / across
    return [
        _key(round(left + step * (n % across)), top + 17 * (n // across), thing.state) for n, thing in enumerate(held)
    ]


# lines ----------------------------------------------------------------------------------------------------------------

Point = tuple[float, float]
Curve = tuple[Point, Point, Point]  # begin, control, end


def _curve(layout: Layout, origin: str, target: str, shown: Iterable[str], lane: int) -> Curve:
    """From box to box, by the way that crosses the fewest others; a second line between the same two goes aside."""
    others = [layout.at[place] for place in shown if place not in (origin, target)]

    def hits(curve: Curve) -> int:
        return sum(_over(layout, point, box) for point in _points(curve) for box in others)

    curves = sorted((_bent(layout, origin, target, bend) for bend in BENDS), key=hits)  # sorted keeps the order of ties
    return curves[min(lane, len(curves) - 1)]


def _bent(layout: Layout, origin: str, target: str, bend: float) -> Curve:
    (x1, y1), (x2, y2) = layout.at[origin], layout.at[target]
    length = max(1.0, ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5)
    cx, cy = (x1 + x2) / 2 - (y2 - y1) / length * bend, (y1 + y2) / 2 + (x2 - x1) / length * bend
    return _edge(layout, origin, (cx, cy)), (cx, cy), _edge(layout, target, (cx, cy))


def _edge(layout: Layout, place: str, toward: Point) -> Point:
    """Where a line from the middle of a place leaves its box."""
    (x, y), (w, h) = layout.at[place], layout.box
    dx, dy = toward[0] - x, toward[1] - y
    scale = min((w / 2) / abs(dx) if dx else 9e9, (h / 2) / abs(dy) if dy else 9e9)
    return x + dx * scale, y + dy * scale


def _points(curve: Curve, steps: int = 20) -> list[Point]:
    (ax, ay), (cx, cy), (bx, by) = curve
    return [
        ((1 - t) ** 2 * ax + 2 * t * (1 - t) * cx + t * t * bx, (1 - t) ** 2 * ay + 2 * t * (1 - t) * cy + t * t * by)
        for t in (n / steps for n in range(1, steps))
    ]


def _over(layout: Layout, point: Point, box: tuple[float, float], wide: float = 0.0, high: float = 0.0) -> bool:
    """Whether a rectangle about a point lies over a box."""
    return (
        abs(point[0] - box[0]) < layout.box[0] / 2 + wide / 2 + 3
        and abs(point[1] - box[1]) < layout.box[1] / 2 + high / 2 + 3
    )


def _d(curve: Curve) -> str:
    (ax, ay), (cx, cy), (bx, by) = curve
    return f"M{ax:.0f} {ay:.0f}Q{cx:.0f} {cy:.0f} {bx:.0f} {by:.0f}"


def _move(layout: Layout, move: Move, shown: Iterable[str], lane: int) -> str:
    """A line with its arrow, its glyph half-way and its word where it hides the least."""
    curve = _curve(layout, move.origin, move.target, shown, lane)
    way, wide = _points(curve), _wide(move.label)
    x, y = way[len(way) // 2]

    def hidden(point: Point) -> tuple[int, float]:
        boxes = sum(_over(layout, (point[0], point[1] - 23), layout.at[place], wide, 16) for place in shown)
        return boxes, abs(point[0] - x) + abs(point[1] - y)

    lx, ly = min(way, key=hidden)
    lx = min(max(lx, wide / 2 + 6), layout.width - wide / 2 - 6)
    shift = ' x="-8" y="-1"' if move.what in ("token", "use", "mint") else ""
    return (
        f'<g class="move {move.what}"><path class="way" d="{_d(curve)}" marker-end="url(#tip-{move.what})"/>'
        f'<g class="mover" transform="translate({x:.0f} {y:.0f})"><circle r="13"/>'
        f'<use href="#m-{move.what}"{shift}/></g>'
        f'<text class="label" x="{lx:.0f}" y="{ly - 19:.0f}">{escape(move.label)}</text></g>'
    )
