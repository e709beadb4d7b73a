"""A whole incident by clicking, as after ``make serve``: several people, and one who gets nowhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Open
from tests.played import Played, played

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
LONG = 90_000  # ms; the machine may be busy


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    with played(tmp_path_factory.mktemp("played")) as found:
        yield found


class Person:
    """Somebody at the page, in a window of their own."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.set_default_timeout(LONG)
        self.card = page.locator("#main article.message", has_text="Leaked AWS access key").first

    def say(self, text: str) -> None:
        self.page.get_by_label("Message or command").fill(text)
        self.page.get_by_role("button", name="Send").click()

    def ask(self, step: str) -> Locator:
        """The buttons under a question on the card."""
        under = "xpath=following-sibling::div[contains(concat(' ', @class, ' '), ' actions ')][1]"
        return (
            self.card.locator(".block.section", has_text=f"{step}:").filter(has_not_text="failed").first.locator(under)
        )

    def press(self, buttons: Locator, name: str, sure: bool = False) -> None:
        """Press a button of the card, and where it asks again, say yes."""
        buttons.get_by_role("button", name=name, exact=True).click()
        if sure:
            asked = self.page.locator("[role=alertdialog]:popover-open")
            expect(asked).to_contain_text("inc-")
            asked.locator("button[type=submit]").click()

    def settle_the_rest(self) -> None:
        """Say yes to whatever is asked next, and answer what can only be answered, until the incident is over."""
        over = self.card.get_by_text("closed, reported")
        question = self.card.locator(".block.actions", has=self.page.get_by_role("button", name="Not me")).first
        while True:
            expect(over.or_(question).first).to_be_visible()
            if over.count():
                return
            block = question.get_attribute("data-block")
            if question.get_by_role("button", name="Answer").count():
                question.get_by_role("button", name="Answer").click()
                form = self.page.get_by_role("dialog")
                form.get_by_label("Your answer").fill("The step that printed it is gone")
                form.locator("footer button.primary").click()
                expect(self.page.get_by_role("dialog")).to_have_count(0)
            else:
                question.get_by_role("button", name="Approve").click()
                sure = self.page.locator("[role=alertdialog]:popover-open")
                self.page.wait_for_timeout(300)
                if sure.count():
                    sure.locator("button[type=submit]").click()
            expect(self.card.locator(f'[data-block="{block}"]')).to_have_count(0)

    def told(self, text: str) -> None:
        """Wait until the app has told this person, and nobody else, something."""
        expect(self.page.locator("#main .ephemeral", has_text=text).last).to_be_visible(timeout=LONG)


def report(jonas: Person) -> None:
    """Fill in the form, with the address that stands in #deploys."""
    run = jonas.page.locator("article.message a", has_text="actions/runs").first.inner_text()
    jonas.say("/bulkhead report")
    form = jonas.page.get_by_role("dialog")
    expect(form.get_by_role("heading", name="Report a leak")).to_be_visible(timeout=LONG)
    form.get_by_label("Or only where").fill(run)
    form.get_by_label("Who could have seen it?").select_option(label="Everybody could see it")
    form.get_by_role("button", name="Report", exact=True).click()
    expect(jonas.page.get_by_role("dialog")).to_have_count(0, timeout=LONG)
    # The other way: the menu of the message itself. It is the same credential, so there is still one card.
    jonas.page.get_by_role("button", name="More for this message").first.click()
    jonas.page.get_by_role("button", name="This contains a secret").click()
    jonas.told("Your report has landed")


def sign_in(person: Person) -> Page:
    """Follow the card's link to the whole timeline, and say at Slack who one is."""
    with person.page.expect_popup() as opened:
        person.card.get_by_role("link", name="The whole timeline").click()
    page = opened.value
    page.get_by_role("link", name="Sign in with Slack").click()
    name = "Alice" if "as=alice" in person.page.url else "Jonas"
    page.get_by_role("button", name=name).click()
    return page


def test_an_incident_from_report_to_close_by_clicking(running: Played, window: Open) -> None:
    expect.set_options(timeout=LONG)
    jonas = Person(window(f"{running.url}/?in=deploys"))
    alice, bob = (Person(window(f"{running.url}/?as={who}")) for who in ("alice", "bob"))
    report(jonas)

    # The plan is on the card, and what was public and live has been cut and proven without waiting for anybody.
    expect(alice.card).to_contain_text("DRILL")
    expect(alice.card).to_contain_text("10 of 10 proven dead")
    expect(alice.card).to_contain_text("proven [refused]")
    expect(alice.ask("free-slot#0")).to_be_visible()

    expect(alice.page.locator("#main article.message", has_text="Leaked AWS access key")).to_have_count(1)

    # Who reports may not decide; one no is enough; what cannot be undone is asked again.
    jonas.page.get_by_role("link", name="#incidents").click()
    jonas.press(jonas.ask("delete-logs#1"), "Deny")
    jonas.told("not one of the responders")
    alice.press(alice.ask("delete-logs#1"), "Deny")
    alice.told("Your no to delete-logs#1 is on record")
    expect(bob.card).to_contain_text("delete-logs#1 failed")
    bob.press(bob.ask("delete-logs#0"), "Approve", sure=True)
    bob.told("Your approval of delete-logs#0 is on record")

    # An undo has a reason, and two different people must agree to it.
    undo = alice.card.locator(".block.section", has_text="other steps can be undone")
    undo.locator("select").select_option(label="disable-workflow#0")
    undo.get_by_role("button", name="OK").click()
    form = alice.page.get_by_role("dialog")
    form.get_by_label("Why?").fill("the debug step is gone from main")
    form.get_by_role("button", name="Order the undo").click()
    expect(alice.page.get_by_role("dialog")).to_have_count(0)
    expect(bob.ask("disable-workflow#0/undo")).to_be_visible()
    alice.press(alice.ask("disable-workflow#0/undo"), "Approve", sure=True)
    alice.told("Your approval of disable-workflow#0/undo is on record")
    expect(bob.card).to_contain_text("1 more needed")
    bob.press(bob.ask("disable-workflow#0/undo"), "Approve", sure=True)
    expect(bob.ask("disable-workflow#0/undo")).to_have_count(0)

    # The rest, and the end: closed on proof, with timeline and manifest in the thread.
    bob.press(bob.ask("free-slot#0"), "Approve", sure=True)
    bob.settle_the_rest()
    expect(alice.card).to_contain_text("closed, reported")
    expect(alice.card.locator(".block.actions")).to_have_count(0)
    alice.card.get_by_role("link", name="replies").click()
    thread = alice.page.locator("#thread")
    expect(thread.get_by_role("link", name="timeline")).to_be_visible()
    expect(thread).to_contain_text("disable-workflow#0")

    # Bulkhead's own page, behind Sign in with Slack: a responder gets in, the one who reported does not.
    for who, gets_in in ((alice, True), (jonas, False)):
        page = sign_in(who)
        expect(page.get_by_role("heading", name="The ledger")).to_have_count(1 if gets_in else 0)
        expect(page.locator("main")).to_contain_text("disable-workflow#0" if gets_in else "not in the user group")

    # Every credential of the attacker is refused now.
    alice.page.get_by_role("button", name="The attacker tries again").first.click()
    expect(alice.page.locator(".tries .refused")).to_have_count(5)
    expect(alice.page.locator(".tries .works")).to_have_count(0)


def test_an_outsider_sees_nothing_and_is_refused(running: Played, window: Open) -> None:
    mallory = Person(window(f"{running.url}/?as=mallory"))
    expect(mallory.page.locator("#main")).to_contain_text("sees no such channel")
    mallory.page.get_by_role("link", name="#shared-with-vendor").click()
    for text in ("/bulkhead status", "/bulkhead report"):
        mallory.say(text)
        expect(mallory.page.locator("#main .ephemeral, #said p, #told p").last).to_be_visible(timeout=LONG)
        expect(mallory.page.get_by_role("dialog")).to_have_count(0)
    expect(mallory.page.locator("body")).not_to_contain_text("AWS access key")


def test_the_app_home_lists_what_waits_and_offers_the_report(running: Played, window: Open) -> None:
    alice = Person(window(f"{running.url}/?as=alice"))
    alice.page.get_by_role("button", name="App Home").click()
    home = alice.page.locator(".home")
    expect(home).to_be_visible(timeout=LONG)
    home.get_by_role("button", name="Report a leak").click()
    expect(alice.page.get_by_role("dialog").get_by_role("heading", name="Report a leak")).to_be_visible(timeout=LONG)
