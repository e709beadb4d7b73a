"""The timeline as an image: the same marks at the same places as in the drawing, whatever it is drawn from."""

from __future__ import annotations

import io

from PIL import Image, ImageColor

from bot.replay import image
from bot.replay.scenes import scenes
from bot.replay.strip import HEIGHT, LINE, TONES, WIDTH, labels, spans, spots
from bot.store import IncidentRow
from tests.incidents import events
from tests.replay.test_scenes import TOLD, WHOLE


def test_every_moment_has_its_mark_where_the_drawing_has_it() -> None:
    shown = scenes(events(WHOLE), TOLD)
    drawn = Image.open(io.BytesIO(image.png(shown, "A key, inc-1")))
    assert (drawn.format, drawn.size) == ("PNG", (WIDTH * image.SCALE, HEIGHT * image.SCALE))
    for x, scene in zip(spots(shown), shown, strict=True):
        pixel = drawn.getpixel((round(x * image.SCALE), LINE * image.SCALE))
        assert pixel == ImageColor.getrgb(TONES[scene.tone])
    for one in (*labels(shown), *spans(shown)):
        assert 0 <= one.x <= WIDTH


def test_its_words_are_on_it_and_a_secret_is_not() -> None:
    shown = scenes(events(WHOLE), TOLD)
    plain, other = image.png(shown, "A key"), image.png(shown, "Another")
    assert plain == image.png(shown, "A key") != other
    assert "Cut, +10.5 s" in image.described(events(WHOLE))
    hidden = image.of_incident(_row("the key hunter2"), events(WHOLE), lambda text: text.replace("hunter2", "[secret]"))
    assert hidden == image.of_incident(_row("the key [secret]"), events(WHOLE))


def test_no_incident_is_too_short_and_no_title_too_long_or_too_strange() -> None:
    for n in (0, 1, 2):
        assert image.png(scenes(events(WHOLE[:n])), "x" * 5000 + "\u202e\n\U0001f600").startswith(b"\x89PNG")
        assert image.described(events(WHOLE[:n]))


def _row(title: str) -> IncidentRow:
    names = dict.fromkeys(IncidentRow.__dataclass_fields__, "")
    return IncidentRow(**{**names, "id": "inc-1", "title": title})  # type: ignore[arg-type]
