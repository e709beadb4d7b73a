"""Bulkhead's own page of an incident in a browser: it follows the incident, and its policy lets one script in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from bot import web
from bot.app import opened
from bot.doors import Doors, utc
from bot.evidence import EvidenceRoom
from bot.settings import Settings
from bot.store import Store
from tests.browser.conftest import Open
from tests.incidents import ASKED, ASKING, CLOSED, ID, START, events, house
from tests.test_web import Serving


@pytest.fixture
def home(tmp_path: Path) -> Path:
    house(tmp_path, ASKING, evidence=b'{"key": "scrubbed"}')
    return tmp_path


@pytest.fixture
def url(home: Path) -> Iterator[str]:
    store = Store(f"sqlite:///{home / 'bulkhead.db'}")
    room = EvidenceRoom(store, home / "evidence")
    with Serving(web.application(store, evidence=room.read)) as address:
        yield f"{address}/open/{Doors(store).link(ID, utc())}"
    store.close()


def happen(home: Path, many: int) -> None:
    """Append what comes after the ``many`` first events of the story."""
    with opened(Settings(home=home), sites={}) as bulkhead:
        for event in events(CLOSED)[many : many + 1]:
            bulkhead.timeline.append(ID, event.step, event.kind, event.body, at=event.at).result()


def test_the_page_follows_the_incident_without_being_loaded_again(home: Path, url: str, window: Open) -> None:
    page = window(url)
    page.get_by_role("button", name="Open the incident").click()
    expect(page.get_by_role("heading", name="People are asked")).to_be_visible()
    left = page.locator("[data-until]").first
    before = left.inner_text()
    expect(left).not_to_have_text(before)
    page.evaluate("() => { window.untouched = true; }")
    happen(home, len(ASKING))
    expect(page.get_by_role("heading", name="People are asked")).to_have_count(0)
    expect(page.locator("main")).to_contain_text("approved by ann")
    assert page.evaluate("() => window.untouched"), "it was not loaded again"


def test_a_page_that_cannot_be_reached_says_so(url: str, window: Open) -> None:
    page = window(url)
    page.get_by_role("button", name="Open the incident").click()
    expect(page.locator("#live")).to_have_text("This page follows the incident.")
    page.route("**/head", lambda route: route.fulfill(status=200, body="not what it should be"))
    expect(page.locator("#live")).to_contain_text("cannot be reached")


def test_without_a_script_it_is_whole_and_loads_itself_again(home: Path, url: str, window: Open) -> None:
    page = window(url, java_script_enabled=False)
    page.get_by_role("button", name="Open the incident").click()
    expect(page.locator("main")).to_contain_text(ASKED["what"])
    assert page.locator('noscript meta[http-equiv="refresh"]').count() or 'http-equiv="refresh"' in page.content()
    assert f"{START:%Y-%m-%d}" in page.content()


def test_no_other_script_runs(url: str, window: Open) -> None:
    """Were markup ever to get in, the policy would still stop what it brings along."""
    page = window(url)
    page.get_by_role("button", name="Open the incident").click()
    expect(page.get_by_role("heading", name="Evidence")).to_be_visible()
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text))
    page.evaluate(
        """() => {
            const inline = document.createElement("script");
            inline.textContent = "window.got = 1";
            document.body.append(inline);
            const other = document.createElement("script");
            other.src = "/live.js";
            other.onload = () => { window.got = 2; };
            document.body.append(other);
            document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.got = 3'>");
        }"""
    )
    page.wait_for_timeout(500)
    assert page.evaluate("() => window.got === undefined")
    assert [text for text in refused if "Content Security Policy" in text]


def test_evidence_is_downloaded_from_the_page(url: str, window: Open, tmp_path: Path) -> None:
    page = window(url, accept_downloads=True)
    page.get_by_role("button", name="Open the incident").click()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="key.json").click()
    waiting.value.save_as(tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b'{"key": "scrubbed"}'
