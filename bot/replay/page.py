"""Scenes -> one document: for the pages, with a nonce, or as a file that needs nothing and nobody.

The whole storyboard stands in it. A script makes a player of that; without one, and in print, it is read as it is.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from bot.replay.contrast import Run, figures
from bot.replay.lesson import LIMITS, SIGNALS
from bot.replay.nouns import CHAPTERS, PLACES, STATES, Scene
from bot.replay.picture import LAYOUTS, draw, stage, symbols
from bot.replay.scenes import chapters, scenes
from bot.timeline import Event

HERE = Path(__file__).parent / "templates"
LEGEND = (
    "thick line: the token goes somewhere, or is used", "long dashes: a cut", "thin line with a tick: a proof",
    "dots with a cross: refused", "dots: words, questions, looks", "a key with a stroke through it: dead",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """One incident, and what its drill has told of it; ``told`` is empty for a real one."""

    title: str
    about: str
    events: tuple[Event, ...]
    told: Mapping[str, Any]
    lead: str = ""
    drill: bool = False
    beside: tuple[tuple[Event, ...], ...] = ()

    @property
    def run(self) -> Run:
        """What its figures are read from."""
        return Run(events=self.events, told=self.told, beside=self.beside)

    @property
    def scenes(self) -> list[Scene]:
        """All of it, moment by moment."""
        return scenes(self.events, self.told, self.beside)


def document(replay: Replay, *, nonce: str = "", back: str = "", contrast: Replay | None = None) -> str:
    """The page. With a ``nonce``, style and script go by it; without one the page brings its own policy, by digests."""
    loader = jinja2.FileSystemLoader(HERE)
    env = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    style, script = (HERE / "replay.css").read_text("utf-8"), (HERE / "replay.js").read_text("utf-8")
    policy = "" if nonce else _policy(style, script)
    return env.get_template("replay.html").render(
        page=_page(replay, back, contrast), nonce=nonce, policy=policy, style=style, script=script
    )


def _policy(style: str, script: str) -> str:
    """What the file allows itself: its own style and script, by their digests, and nothing from anywhere."""
    style_sum, script_sum = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)
    )
    return (
        f"default-src 'none'; style-src 'sha256-{style_sum}'; script-src 'sha256-{script_sum}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _page(replay: Replay, back: str, contrast: Replay | None) -> dict[str, Any]:
    shown = {"main": replay.scenes} | ({"contrast": contrast.scenes} if contrast else {})
    moves = [move for each in shown.values() for scene in each for move in scene.moves]
    used = {place for move in moves for place in (move.origin, move.target)}
    places = [place for place in PLACES if place != "issuer" or place in used]
    return {
        "title": replay.title, "lead": replay.lead, "about": replay.about, "back": back, "drill": replay.drill,
        "heading": "A stored token" if contrast else "Press play", "contrast_heading": "The same leak, under OIDC",
        "stage": [symbols(), *(stage(layout, places) for layout in LAYOUTS)],
        "replay": _player("main", shown["main"], places),
        "contrast": _player("contrast", shown["contrast"], places) if contrast else None,
        "figures": figures(replay.run, contrast.run) if contrast else [],
        "limits": LIMITS, "signals": SIGNALS, "legend": LEGEND,
    }  # fmt: skip


def _player(name: str, shown: list[Scene], places: list[str]) -> dict[str, Any]:
    listed = [{"name": CHAPTERS[chapter], "index": index} for chapter, index in chapters(shown)]
    return {"id": name, "scenes": [_scene(scene, places) for scene in shown], "chapters": listed}


def _scene(scene: Scene, places: list[str]) -> dict[str, Any]:
    alive = sum(1 for thing in scene.things if thing.state in ("works", "lives"))
    said = "; ".join(f"{PLACES[m.origin]} to {PLACES[m.target]}: {m.label or m.what}" for m in scene.moves)
    return {
        "chapter": scene.chapter, "mark": scene.mark, "texts": scene.texts, "clock": scene.clock, "tone": scene.tone,
        "how": scene.how, "ms": round(scene.seconds * 1000), "works": f"{alive} alive",
        "pictures": [draw(scene, layout, places, title=said) for layout in LAYOUTS],
        "things": [
            {"name": thing.name, "sign": STATES[thing.state][0], "word": STATES[thing.state][1],
             "tone": STATES[thing.state][2], "note": thing.note, "changed": n in scene.changed}
            for n, thing in enumerate(scene.things)
        ],
    }  # fmt: skip


