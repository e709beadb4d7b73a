"""Press play, in a browser: each drill's own file, without a network, by keys alone; and the page behind its door."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from bot import web
from bot.doors import Doors, utc
from bot.store import Store
from tests.incidents import CLOSED, ID, house
from tests.test_web import Serving

pytestmark = pytest.mark.slow
DRILLS = ("aws-key-in-public-log", "npm-token-stolen-by-dependency", "github-pat-in-image")
Offline = Callable[..., Page]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """What a whole drill has left to be played. Each is run once."""

    @cache
    def run(name: str) -> Path:
        home = tmp_path_factory.mktemp("drill") / "home"
        command = [sys.executable, "-m", "bot", "drill", "run", name, "--home", str(home), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["contained"]
        return home / "replay.html"

    return run


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a drill and its contrast under OIDC have left."""
    home = tmp_path_factory.mktemp("both") / "home"
    command = [sys.executable, "-m", "bot", "drill", "run", DRILLS[1], "--contrast", "--home", str(home), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["non_event"], said["contrast"]["non_event"]) == (False, True)
    return home / "replay.html"


@pytest.fixture(params=DRILLS)
def each(request: pytest.FixtureRequest, left: Callable[[str], Path]) -> Path:
    """The file of each drill."""
    return left(request.param)


@pytest.fixture
def file(left: Callable[[str], Path]) -> Path:
    """The file of one: what is asked of it is the same for all."""
    return left(DRILLS[2])


@pytest.fixture
def offline(browser: Browser) -> Iterator[Offline]:
    """Opens a file in a window that has no network; nothing may be asked for, and nothing be said on the console."""
    made, wrong = [], []

    def open_(file: Path, **how: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **how})  # type: ignore[arg-type]
        context.set_offline(True)
        context.set_default_timeout(30_000)
        made.append(context)
        page = context.new_page()
        page.on("console", lambda said: wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith("file:") else wrong.append(asked.url))
        page.goto(file.as_uri())
        return page

    yield open_
    for context in made:
        context.close()
    assert wrong == []


def at(page: Page) -> int:
    """The number of the moment that is shown; it is the only one."""
    assert page.locator(".scene:visible").count() == 1
    return int(page.locator(".scrub").input_value())


def length(page: Page) -> int:
    return page.locator(".scene").count()


def test_play_by_keyboard_alone(each: Path, offline: Offline) -> None:
    page = offline(each, reduced_motion="reduce")
    page.keyboard.press("Tab")
    while not page.evaluate("() => document.activeElement.matches('.poster')"):
        page.keyboard.press("Tab")
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid", "focus is visible"
    page.keyboard.press("Enter")
    expect(page.locator(".play")).to_contain_text("Pause")
    expect(page.locator(".play")).to_be_focused()
    for _ in range(2):
        page.keyboard.press("+")
    expect(page.locator("select")).to_have_value("4")
    page.wait_for_function("() => Number(document.querySelector('.scrub').value) >= 3")
    page.keyboard.press("k")
    expect(page.locator(".play")).to_contain_text("Play")
    stopped = at(page)
    page.keyboard.press("ArrowRight")
    assert at(page) == stopped + 1
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert at(page) == stopped - 1
    page.keyboard.press("End")
    assert at(page) == length(page)
    expect(page.locator(".play")).to_contain_text("Again")
    page.keyboard.press("Home")
    assert at(page) == 1
    page.keyboard.press("4")
    expect(page.locator(".scene:visible")).to_have_attribute("data-chapter", "contain")
    expect(page.locator(".chapters [aria-current]")).to_contain_text("Containment")


def test_what_is_shown_is_said(file: Path, offline: Offline) -> None:
    page = offline(file)
    expect(page.locator("[role=status]")).to_have_text("")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        shown = page.locator(".scene:visible .text").inner_text().strip()
        expect(page.locator("[role=status]")).to_contain_text(re.sub(r"\s+", " ", shown))
    assert str(at(page)) in (page.locator(".scrub").get_attribute("aria-valuetext") or "")


def test_scrubbing_shows_every_moment_and_the_end_is_that_nothing_works(each: Path, offline: Offline) -> None:
    page = offline(each)
    seen = []
    for n in range(1, length(page) + 1):
        page.locator(".scrub").fill(str(n))
        assert at(page) == n
        seen.append(page.locator(".scene:visible").get_attribute("data-mark"))
    assert {"Leaks", "Stolen", "Abused", "Reported", "Cut", "Proven", "Closed", "Refused"} <= set(seen)
    expect(page.locator(".scene:visible .things h3 span")).to_have_text("0 alive")
    assert page.locator(".scene:visible .things li.good").count() == page.locator(".scene:visible .things li").count()


def test_it_plays_to_its_end_and_then_again(file: Path, offline: Offline) -> None:
    page = offline(file)
    page.locator("select").select_option("4")
    page.locator(".scrub").fill(str(length(page) - 1))
    page.locator(".play").click()
    expect(page.locator(".play")).to_contain_text("Again")
    assert at(page) == length(page)
    page.locator(".play").click()
    expect(page.locator(".play")).to_contain_text("Pause")
    assert at(page) < length(page)


def test_the_same_leak_under_oidc_is_played_beside_it_by_keys_alone(both: Path, offline: Offline) -> None:
    page = offline(both, reduced_motion="reduce", viewport={"width": 1440, "height": 1000})
    left, right = (page.get_by_role("region", name=name) for name in ("A stored token", "The same leak, under OIDC"))
    button = page.get_by_role("button", name="Play both, side by side")
    button.focus()
    page.keyboard.press("Enter")
    for player in (left, right):
        expect(player.locator(".play")).to_contain_text("Pause")
    right.locator(".play").focus()
    page.keyboard.press("k")
    expect(right.locator(".play")).to_contain_text("Play")
    expect(left.locator(".play")).to_contain_text("Pause")
    page.keyboard.press("End")
    expect(right.locator(".scene:visible .things h3 span")).to_have_text("0 alive")
    marks = right.locator(".scene").evaluate_all("(all) => all.map((one) => one.dataset.mark)")
    assert "Cut" not in marks
    assert {"Moved", "Minted", "Leaks", "Stolen", "Refused", "Nothing", "Worthless"} <= set(marks)
    table = page.get_by_role("table").filter(has_text="A stored, long-lived token")
    row = table.get_by_role("row").filter(has_text="How often was that version downloaded?")
    count = row.get_by_role("cell").first.inner_text()
    assert 40_000 < int(count.removesuffix(" times").replace(",", "")) < 60_000
    expect(row).to_contain_text("never: there is none")
    expect(table).to_contain_text("no secret and no id-token endpoint")
    expect(table).to_contain_text("no: refused, E401")
    expect(page.get_by_role("heading", name="What OIDC alone does not stop")).to_be_visible()


def test_on_a_phone_nothing_is_cut_off_and_the_picture_is_the_tall_one(file: Path, offline: Offline) -> None:
    page = offline(file, viewport={"width": 360, "height": 740}, has_touch=True)
    page.locator(".poster").tap()
    expect(page.locator(".scene:visible svg.tall")).to_be_visible()
    expect(page.locator(".scene:visible svg.wide")).to_be_hidden()
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    page.wait_for_function("() => Math.abs(document.querySelector('.player').getBoundingClientRect().top) < 40")
    head = page.locator(".scene:visible .head").bounding_box()
    controls = page.locator(".controls").bounding_box()
    assert head is not None
    assert controls is not None
    assert head["y"] + head["height"] < controls["y"], "the caption begins above the controls"


def test_without_a_script_and_in_print_it_is_a_storyboard(file: Path, offline: Offline) -> None:
    page = offline(file, java_script_enabled=False)
    assert page.locator(".scene:visible").count() == length(page)
    expect(page.locator(".controls")).to_be_hidden()
    page = offline(file)
    page.emulate_media(media="print")
    assert page.locator(".scene:visible").count() == length(page)
    expect(page.locator(".controls")).to_be_hidden()


def test_with_less_motion_nothing_travels(file: Path, offline: Offline) -> None:
    page = offline(file, reduced_motion="reduce")
    page.keyboard.press("ArrowRight")
    mover = page.locator(".scene:visible svg.wide .mover").first
    stands = mover.get_attribute("transform")
    page.wait_for_timeout(400)
    assert mover.get_attribute("transform") == stands
    page = offline(file)
    page.keyboard.press("ArrowRight")
    first = page.locator(".scene:visible svg.wide .mover").first.get_attribute("transform")
    page.wait_for_function(
        "(first) => document.querySelector('.scene:not([hidden]) svg.wide .mover').getAttribute('transform') !== first",
        arg=first,
    )


def test_the_page_behind_its_door_plays_under_its_policy(tmp_path: Path, browser: Browser) -> None:
    house(tmp_path, CLOSED, status="closed")
    store, wrong = Store(f"sqlite:///{tmp_path / 'bulkhead.db'}"), []
    with Serving(web.application(store)) as url:
        page = browser.new_context().new_page()
        page.on("console", lambda said: wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{url}/open/{Doors(store).link(ID, utc())}")
        page.get_by_role("button", name="Open the incident").click()
        page.get_by_role("link", name="Press play").click()
        expect(page.get_by_role("heading", name="Leaked AWS access key")).to_be_visible()
        page.get_by_role("button", name="Press play").click()
        expect(page.locator(".play")).to_contain_text("Pause")
        page.keyboard.press("End")
        expect(page.locator(".scene:visible .mark")).to_have_text("Closed")
        page.get_by_role("link", name="The incident, with every event").click()
        expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
        page.context.close()
    store.close()
    assert wrong == []
