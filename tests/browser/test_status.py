"""The page of Bulkhead itself on a phone: no sideways scrolling, what is wrong first, each with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from bot import web
from bot.doors import STATUS, Doors, utc
from bot.engine.freeze import Frozen
from bot.health import lights
from tests.browser.conftest import Open
from tests.states import NOW, reopened, slack_waits, well
from tests.test_status import SET
from tests.test_web import Serving

pytestmark = pytest.mark.slow


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    def health() -> lights.Health:
        frozen = Frozen(by="ann", at="", reason="a policy that cuts what it should not, see the channel", seq=1)
        return lights.of(house.store, SET, NOW, policy="ab" * 32, frozen=frozen)

    with well(tmp_path) as house:
        for state in (reopened, slack_waits):
            next(state(house))
        with Serving(web.application(house.store, status=health)) as address:
            yield f"{address}/open/{Doors(house.store).link(STATUS, utc())}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_it_is_read_without_scrolling_sideways(url: str, window: Open, scheme: str) -> None:
    page = window(
        url, viewport={"width": 360, "height": 740}, is_mobile=True, java_script_enabled=False, color_scheme=scheme
    )
    page.get_by_role("button", name="Open the page").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("something is wrong")
    first = page.get_by_role("heading", level=2).first
    expect(first).to_have_text("What to do")
    wrong = page.locator("article")
    assert wrong.count() >= 3
    for one in wrong.all():
        expect(one.get_by_text("Do:")).to_be_visible()
    expect(page.locator("main")).to_contain_text("Kill switch")
    box = page.locator("main").bounding_box()
    assert box is not None
    assert box["width"] <= 360
    for one in page.locator("main *").all():
        at = one.bounding_box()
        assert at is None or at["x"] + at["width"] <= 361, one.inner_text()
