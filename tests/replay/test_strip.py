"""The timeline as one static picture: every moment has its mark, and no word of anybody becomes markup."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from bot.replay.scenes import scenes
from bot.replay.strip import SHAPES, WIDTH, strip
from tests.incidents import events
from tests.replay.test_scenes import TOLD, WHOLE

SVG = "{http://www.w3.org/2000/svg}"


def test_every_moment_has_a_mark_in_order_and_the_milestones_have_words() -> None:
    shown = scenes(events(WHOLE), TOLD)
    tree = ET.fromstring(strip(shown, "A key, inc-1"))  # noqa: S314 - it is ours
    marks = [p for p in tree.iter(f"{SVG}path") if p.get("d") in SHAPES.values()]
    assert [p.get("d") for p in marks] == [SHAPES[scene.tone] for scene in shown]
    across = [float(p.get("transform", "(0 ").split("(")[1].split()[0]) for p in marks]
    assert across == sorted(across)
    assert 0 < across[0] < across[-1] < WIDTH
    words = [text.text for text in tree.iter(f"{SVG}text")]
    assert "Cut, +10.5 s" in words
    assert {"The leak", "The abuse", "The report", "Containment", "Tried again"} <= set(words)


def test_what_somebody_typed_stays_text_and_no_incident_is_too_short() -> None:
    text = strip(scenes(events(WHOLE[:1])), "<script>x</script>")
    assert "<script" not in text
    for n in (0, 1, 2):
        ET.fromstring(strip(scenes(events(WHOLE[:n])), "short"))  # noqa: S314 - it is ours
