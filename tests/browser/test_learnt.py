"""After an incident, by clicking: a question answered, a post-mortem written by two, published, issues opened."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from bot.app import opened
from bot.learn import document
from bot.settings import Settings
from tests.browser.conftest import Open
from tests.browser.test_whole import LONG, Person, report
from tests.played import Played, played

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SHOWN = "BULKHEAD_SHOWN"  # a folder: what this test writes is put there, for docs/examples


@pytest.fixture
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    with played(tmp_path_factory.mktemp("learnt")) as found:
        yield found


def dialog(person: Person) -> Locator:
    return person.page.get_by_role("dialog")


def press(person: Person, name: str) -> Locator:
    """Press a button under the post-mortem; the form that opens."""
    person.page.locator("#thread").get_by_role("button", name=name, exact=True).last.click()
    expect(dialog(person)).to_be_visible(timeout=LONG)
    return dialog(person)


def choose(form: Locator, label: str, words: str) -> None:
    """Choose in a list by what its option says."""
    field = form.get_by_label(label)
    field.select_option(value=field.locator("option").filter(has_text=words).first.get_attribute("value"))


def save(person: Person, name: str = "Save") -> None:
    dialog(person).get_by_role("button", name=name, exact=True).click()
    expect(dialog(person)).to_have_count(0, timeout=LONG)


def see_thread(person: Person) -> Locator:
    person.card.get_by_role("link", name="replies").click()
    return person.page.locator("#thread")


def test_an_incident_ends_with_what_was_learnt(running: Played, window: Open) -> None:
    expect.set_options(timeout=LONG)
    jonas = Person(window(f"{running.url}/?in=deploys"))
    alice, bob = (Person(window(f"{running.url}/?as={who}")) for who in ("alice", "bob"))
    report(jonas)
    bob.settle_the_rest()
    for person in (alice, bob):
        expect(see_thread(person)).to_contain_text("drafted from the timeline", timeout=LONG)

    # Two people have the same form open; the later one sees what the other wrote, and puts both together.
    mine, theirs = press(alice, "Write"), press(bob, "Write")
    mine.get_by_label("Where we got lucky").fill("The thief was slow.")
    mine.get_by_label("The durable fix").fill("The deploy takes a role by OIDC; the key is deleted.")
    theirs.get_by_label("Where we got lucky").fill("Jonas reads logs for fun.")
    save(alice)
    theirs.get_by_role("button", name="Save", exact=True).click()
    expect(dialog(bob)).to_contain_text("Somebody else wrote here while you did")
    lucky = dialog(bob).get_by_label("Where we got lucky")
    expect(lucky).to_have_value("The thief was slow.\nJonas reads logs for fun.")
    lucky.fill("The thief was slow, and Jonas reads logs for fun.")
    save(bob)

    form = press(alice, "Add a follow-up")
    form.get_by_label("What is to be done?").fill("Delete the key from the repository's secrets")
    choose(form, "Who does it?", "(@bob)")
    form.get_by_label("Until which day?").fill("2027-01-15")
    choose(form, "What does a machine look at?", "secret-gone harbor-lights/ferry AWS_ACCESS_KEY_ID")
    save(alice)

    # A question about this very incident, and what is said to the answer.
    form = press(jonas_in_thread(jonas), "Check yourself")
    form.get_by_role("radio").first.check()
    form.get_by_role("radio", name="It is a guess").check()
    form.get_by_role("button", name="Answer", exact=True).click()
    expect(dialog(jonas)).to_contain_text("Coach note:")
    expect(dialog(jonas)).to_contain_text(re.compile("Right|Not the best one"))

    # Published by who may; a worker opens what is to follow.
    thread = bob.page.locator("#thread")
    thread.get_by_role("button", name="Publish", exact=True).last.click()
    bob.page.locator("[role=alertdialog]:popover-open").locator("button[type=submit]").click()
    expect(thread).to_contain_text("is published; its follow-ups are being opened")
    expect(thread).to_contain_text("published", timeout=LONG)
    expect(thread).to_contain_text("Delete the key from the repository's secrets")
    expect(thread).to_contain_text(re.compile(r"/issues/\d+ stands, open"), timeout=LONG)
    (home,) = [path for path in (running.home / "range").iterdir() if path.is_dir()]
    look_at_the_books(home)


def jonas_in_thread(jonas: Person) -> Person:
    jonas.page.get_by_role("link", name="#incidents").click()
    expect(see_thread(jonas)).to_contain_text("Post-mortem")
    return jonas


def look_at_the_books(home: Path) -> None:
    """What was clicked stands in the store, and can be read outside."""
    with opened(Settings(home=home), sites={}) as house:
        (incident,) = [name for name, row in house.postmortems.rows.all().items() if row.published_at]
        view = house.postmortems.view(incident)
        assert view.field("lucky") == "The thief was slow, and Jonas reads logs for fun."
        assert len({author for author in view.written.authors if author.startswith("slack:")}) == 2
        assert len(house.quiz.rows.answers()) == 1
        mine = next(one for one in view.follow_ups if one.what.title.startswith("Delete the key"))
        assert "/issues/" in mine.url and mine.what.check.startswith("secret-gone ")
        made = house.postmortems.document(view)
        text, page = document.markdown(made), document.page(made)
        assert "hxxp" in text or "http" not in text
    if folder := os.environ.get(SHOWN):
        (Path(folder) / "postmortem.md").write_text(text, encoding="utf-8")
        (Path(folder) / "postmortem.html").write_text(page, encoding="utf-8")
