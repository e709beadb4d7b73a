"""Takes the pictures of the README: `make screenshots`. An incident in the range, by clicking, in a real browser."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.played import played  # noqa: E402 - the checkout, not what may be installed

IMAGES = ROOT / "docs" / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
LONG = 120_000  # ms
MOST = 250_000  # bytes of a picture


def main() -> None:
    """Write every picture anew."""
    chromium = shutil.which("chromium") or sys.exit("there is no chromium; Debian and Ubuntu: apt-get install chromium")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, played(Path(folder)) as running, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS, headless=True)
        size = {"width": 1000, "height": 760}
        page = browser.new_context(viewport=size, locale="en-GB", color_scheme="light").new_page()
        page.set_default_timeout(LONG)
        take(page, running.url)
        replay(browser)
        contrast(browser)
        browser.close()


def take(page: Page, url: str) -> None:
    """Go through the incident and stop for each picture."""
    page.goto(f"{url}/?in=deploys")
    run = page.locator("article.message a", has_text="actions/runs").first.inner_text()
    page.get_by_label("Message or command").fill("/bulkhead report")
    page.get_by_role("button", name="Send").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Or only where").fill(run)
    form.get_by_label("Who could have seen it?").select_option(label="Everybody could see it")
    keep(page, "modal")
    form.get_by_role("button", name="Report", exact=True).click()
    page.goto(f"{url}/?as=alice")
    card = page.locator("#main article.message", has_text="Leaked AWS access key").first
    card.get_by_text("10 of 10 proven dead").wait_for()
    card.get_by_role("button", name="Approve").nth(2).wait_for()  # every cut is proven, and the rest asks
    page.set_viewport_size({"width": 1000, "height": 900})
    page.wait_for_timeout(1500)
    page.evaluate("() => document.querySelector('#main').scrollTo(0, 0)")
    keep(page, "card")
    page.set_viewport_size({"width": 1000, "height": 760})
    page.get_by_role("button", name="App Home").click()
    page.locator(".home").wait_for()
    page.wait_for_timeout(1500)
    keep(page, "home")


def replay(browser: Browser) -> None:
    """A drill's file, where the thief has just made itself at home."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        command = [sys.executable, "-m", "bot", "drill", "run", "aws-key-in-public-log", "--home", str(home), "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        size = {"width": 1200, "height": 880}
        page = browser.new_context(viewport=size, color_scheme="light", reduced_motion="reduce").new_page()
        page.goto((home / "replay.html").as_uri())
        page.locator(".scrub").fill("13")
        page.evaluate("() => document.activeElement.blur()")
        page.wait_for_timeout(500)
        keep(page, "replay")


def contrast(browser: Browser) -> None:
    """The worked example and the same leak under OIDC, each where its downloads are counted."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        name = "npm-token-stolen-by-dependency"
        command = [sys.executable, "-m", "bot", "drill", "run", name, "--contrast", "--home", str(home), "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        size = {"width": 1440, "height": 960}
        page = browser.new_context(viewport=size, color_scheme="light", reduced_motion="reduce").new_page()
        page.goto((home / "replay.html").as_uri())
        for player, mark in (("main", "Spread"), ("contrast", "Nothing")):
            scenes = page.locator(f"section[aria-labelledby={player}-name] .scene")
            marks = scenes.evaluate_all("(all) => all.map((one) => one.dataset.mark)")
            page.locator(f"section[aria-labelledby={player}-name] .scrub").fill(str(marks.index(mark) + 1))
        page.evaluate("() => document.activeElement.blur()")
        page.wait_for_timeout(500)
        keep(page, "contrast")


def keep(what: Page | Locator, name: str) -> None:
    """One picture, and how large it is."""
    path = IMAGES / f"{name}.png"
    what.screenshot(path=path)
    size = path.stat().st_size
    sys.stdout.write(f"{path.relative_to(ROOT)}: {size} bytes\n")
    if size > MOST:
        sys.exit(f"{path.name} is larger than {MOST} bytes")


if __name__ == "__main__":
    main()
