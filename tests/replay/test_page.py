"""The document: it is whole by itself, allows itself nothing else, and nothing that somebody typed becomes markup."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

from bot.replay.page import Replay, document
from tests.incidents import CLOSED, events
from tests.replay.test_scenes import TOLD, WHOLE

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def made(story: list[Any] = WHOLE, told: dict[str, Any] = TOLD, **more: Any) -> Replay:
    plain = {"title": "A key in a log", "about": "inc-1", "drill": bool(told)}
    return Replay(events=tuple(events(story)), told=told, **(plain | more))


class Read(HTMLParser):
    """Every tag with its attributes, and the text of styles and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"style": [], "script": []}
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag if tag in self.raw else ""

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in:
            self.raw[self._in].append(data)


def test_the_file_allows_itself_its_own_style_and_script_and_nothing_else() -> None:
    page = Read(document(made()))
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    for kind in ("style", "script"):
        (text,) = page.raw[kind]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_nothing_is_fetched_and_no_markup_carries_a_script_or_a_style() -> None:
    for text in (document(made()), document(made(), nonce="n" * 22)):
        for tag, attributes in Read(text).tags:
            assert "src" not in attributes
            assert tag not in ("link", "iframe", "img", "image", "object", "embed", "form", "base")
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
            if tag == "use":
                assert str(attributes["href"]).startswith("#")
        assert not re.search(r"url\((?!#)|@import|https?://", "".join(Read(text).raw["style"]))


def test_with_a_nonce_style_and_script_go_by_it_and_the_page_brings_no_policy() -> None:
    page = Read(document(made(), nonce="abc", back="/incidents/inc-1"))
    assert [a.get("nonce") for tag, a in page.tags if tag in ("style", "script")] == ["abc", "abc"]
    assert not [a for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert "/incidents/inc-1" in [a.get("href") for tag, a in page.tags if tag == "a"]


def test_what_somebody_typed_does_not_become_markup() -> None:
    told = TOLD | {"leak": {"run_url": EVIL, "story": [EVIL]}}
    told["tries-after"] = [{"name": "key", "refused": False, "code": EVIL, "identity_code": "", "said": EVIL}]
    story = [
        (step, kind, body | {"report": body["report"] | {"by": EVIL, "text": EVIL}} if kind == "opened" else body)
        for step, kind, body in WHOLE
    ]
    plain, text = Read(document(made())), document(made(story, told, title=EVIL, about=EVIL))
    evil = Read(text)
    assert "&lt;script&gt;alert(1)" in text
    assert len(evil.raw["script"]) == len(plain.raw["script"]) == 1
    assert {tag for tag, _ in evil.tags} == {tag for tag, _ in plain.tags}


def test_the_whole_storyboard_stands_in_it_without_a_script() -> None:
    replay = made()
    text = document(replay)
    assert text.count('<li class="scene') == len(replay.scenes)
    assert text.count('<svg class="wide"') == text.count('<svg class="tall"') == len(replay.scenes)


def test_the_lesson_is_for_drills_and_the_honest_table_for_all() -> None:
    drill, real = document(made()), document(made(CLOSED, {}))
    for text in (drill, real):
        assert "What OIDC alone does not stop" in text
        assert "The old token that nobody deleted" in text
    assert "Check yourself" in drill
    assert "Check yourself" not in real
    assert "nothing of it is real" not in real
