"""A headless Chromium, Debian's, driven by Playwright. Without one these tests are skipped, unless they must not be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

MUST = "BULKHEAD_BROWSER_TESTS"  # set to "must" by .ci/run, which has put a Chromium in place
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--disable-dev-shm-usage",
]  # fmt: skip
Open = Callable[..., Page]


def chromium() -> str:
    """Where it is. Skips the test when there is none; fails it where it may not be skipped."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get(MUST) == "must":
            pytest.fail(f"{MUST} says that browser tests must run, and there is no chromium on the path")
        pytest.skip("there is no chromium on the path; Debian and Ubuntu have it: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a file: Playwright keeps a loop running while it lives."""
    path = chromium()
    expect.set_options(timeout=30_000)  # the machine may be busy
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=FLAGS, headless=True)
        yield made
        made.close()


@pytest.fixture
def window(browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens windows, each with cookies of its own. No script of ours may fail in any of them."""
    made: list[Any] = []
    wrong: list[str] = []

    def open_(url: str, **how: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB"} | how)
        context.set_default_timeout(30_000)
        made.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        return page

    yield open_
    for context in made:
        context.close()
    assert wrong == []
