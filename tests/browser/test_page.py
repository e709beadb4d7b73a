"""The page of the range's Slack by itself, with a small app behind it that uses every block and every input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Page, expect
from slack_sdk import WebClient
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tests.browser.conftest import Open
from tests.slack_range import Slack, serving, slack_served, until

MANIFEST = {
    "display_information": {"name": "Tester"},
    "features": {
        "app_home": {"home_tab_enabled": True}, "bot_user": {"display_name": "tester"},
        "slash_commands": [{"command": "/try", "description": "Try it", "url": "https://example.com/x"}],
        "shortcuts": [
            {"name": "Look at this", "type": "message", "callback_id": "look", "description": "x"},
            {"name": "Begin", "type": "global", "callback_id": "begin", "description": "x"},
        ],
    },
    "oauth_config": {"scopes": {"bot": ["chat:write", "commands", "app_mentions:read"]}},
    "settings": {
        "event_subscriptions": {"request_url": "https://example.com/x", "bot_events": ["app_home_opened"]},
        "interactivity": {"is_enabled": True, "request_url": "https://example.com/x"},
    },
}  # fmt: skip


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def options(*words: str) -> list[dict[str, Any]]:
    return [{"text": plain(word.title()), "value": word} for word in words]


def field(name: str, element: dict[str, Any], **more: Any) -> dict[str, Any]:
    label = plain(name.replace("_", " ").capitalize())
    return {"type": "input", "block_id": name, "label": label, "element": element | {"action_id": "in"}, **more}


FORM = {
    "type": "modal", "callback_id": "form", "title": plain("Everything"), "submit": plain("Send it"),
    "close": plain("Leave"),
    "blocks": [
        {"type": "section", "block_id": "intro", "text": plain("Fill this in"),
         "accessory": {"type": "button", "action_id": "poke", "text": plain("Poke"), "value": "1"}},
        field("line", {"type": "plain_text_input", "max_length": 20}),
        field("lines", {"type": "plain_text_input", "multiline": True}, dispatch_action=True, optional=True),
        field("mail", {"type": "email_text_input"}, optional=True),
        field("link", {"type": "url_text_input"}, optional=True),
        field("count", {"type": "number_input", "is_decimal_allowed": False}, optional=True),
        field("day", {"type": "datepicker"}, optional=True),
        field("hour", {"type": "timepicker"}, optional=True),
        field("moment", {"type": "datetimepicker"}, optional=True),
        field("one", {"type": "static_select", "options": options("red", "green")}),
        field("some", {"type": "multi_static_select", "options": options("salt", "pepper", "oil")}, optional=True),
        field("who", {"type": "users_select"}, optional=True),
        field("where", {"type": "conversations_select"}, optional=True),
        field("radio", {"type": "radio_buttons", "options": options("yes", "no")}),
        field("checks", {"type": "checkboxes", "options": options("a", "b", "c")}, optional=True),
        field("found", {"type": "external_select", "min_query_length": 1}, optional=True),
    ],
}  # fmt: skip
ONCE = "It cannot be undone"
SURE = {"title": plain("Really?"), "text": plain(ONCE), "confirm": plain("Do it"), "deny": plain("No")}
TEXT = "*bold* _leaning_ `code` <https://example.com|a link> &lt;b&gt; <@{user}> :warning:"
CARD = [
    {"type": "header", "text": plain("A card")},
    {"type": "section", "block_id": "text",
     "text": {"type": "mrkdwn", "text": TEXT},
     "fields": [plain("left"), plain("right")]},
    {"type": "divider"},
    {"type": "context", "elements": [{"type": "mrkdwn", "text": "small print"}]},
    {"type": "actions", "block_id": "row", "elements": [
        {"type": "button", "action_id": "go", "text": plain("Go"), "value": "1", "style": "primary"},
        {"type": "button", "action_id": "drop", "text": plain("Drop"), "value": "1", "style": "danger",
         "confirm": SURE},
        {"type": "overflow", "action_id": "more", "options": options("first", "second")},
        {"type": "static_select", "action_id": "level", "options": options("low", "high")},
    ]},
]  # fmt: skip


class App:
    """Answers what it is sent, and keeps it."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.client: WebClient | None = None
        self.answers: list[Any] = []
        self.url = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        raw = await request.body()
        if request.headers["content-type"].startswith("application/json"):
            payload = json.loads(raw)
        else:
            form = {key: values[0] for key, values in parse_qs(raw.decode(), keep_blank_values=True).items()}
            payload = json.loads(form["payload"]) if "payload" in form else form
        self.got.append(payload)
        response: Response = await run_in_threadpool(self.answer, payload)
        await response(scope, receive, send)

    def answer(self, payload: dict[str, Any]) -> Response:
        assert self.client is not None
        kind = payload.get("type")
        if payload.get("command") or kind in ("shortcut", "message_action"):
            if payload.get("text") == "whisper":
                return JSONResponse({"text": "psst <!here>", "response_type": "ephemeral"})
            self.client.views_open(trigger_id=payload["trigger_id"], view=FORM)
        if kind == "block_suggestion":
            word = payload["value"]
            return JSONResponse({"options": options(f"{word}-one", f"{word}-two")})
        if kind == "view_submission" and self.answers:
            return JSONResponse(self.answers.pop(0))
        if kind == "event_callback" and payload["event"]["type"] == "app_home_opened":
            home = {
                "type": "home",
                "blocks": [
                    {"type": "section", "text": plain("Your home")},
                    {"type": "actions", "elements": [CARD[4]["elements"][0]]},
                ],
            }  # type: ignore[index]
            self.client.views_publish(user_id=payload["event"]["user"], view=home)
        return PlainTextResponse("")

    def values(self) -> dict[str, Any]:
        """What the last submission held, without types and empty fields."""
        said = next(p for p in reversed(self.got) if p.get("type") == "view_submission")["view"]["state"]["values"]
        return {block: found for block, row in said.items() if (found := _held(row["in"])) not in (None, [])}

    def last(self) -> dict[str, Any]:
        return dict(next((p for p in reversed(self.got) if p.get("type") == "block_actions"), {}))

    def heard(self, **wanted: Any) -> dict[str, Any]:
        """The last click, once it is one of an element like this."""

        def come() -> dict[str, Any]:
            found = self.last()
            said = found["actions"][0] if found else {}
            return found if wanted.items() <= said.items() else {}

        return dict(until(come))


def _held(state: dict[str, Any]) -> Any:
    value = next((v for k, v in state.items() if k != "type"), None)
    if isinstance(value, list):
        return [one["value"] if isinstance(one, dict) else one for one in value]
    return value["value"] if isinstance(value, dict) else value


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Slack, App]]:
    app = App()
    with slack_served() as slack, serving(app) as url:
        app.url = url
        yield slack, app


@pytest.fixture
def slack(served: tuple[Slack, App]) -> Slack:
    found, app = served
    found.range.reset()
    found.range.install({"manifest": MANIFEST, "request_url": app.url, "rate_limits": False})
    app.client, app.got, app.answers = found.client(), [], []
    return found


@pytest.fixture
def app(served: tuple[Slack, App], slack: Slack) -> App:
    return served[1]


def card(slack: Slack, channel: str = "incidents") -> str:
    blocks = json.loads(json.dumps(CARD).replace("{user}", slack.user("alice")))
    return str(slack.client().chat_postMessage(channel=slack.channel(channel), text="A card", blocks=blocks)["ts"])


def say(page: Page, text: str) -> None:
    page.get_by_label("Message or command").fill(text)
    page.get_by_role("button", name="Send").click()


SCRIPTS = pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])


@SCRIPTS
def test_two_people_talk_and_answer_in_a_thread(slack: Slack, window: Open, script: bool) -> None:
    jonas = window(f"{slack.url}/", java_script_enabled=script)
    say(jonas, "who has seen <b>this</b>, @alice?")
    expect(jonas.locator("article.message")).to_contain_text("who has seen <b>this</b>, @alice?")
    expect(jonas.get_by_label("Message or command")).to_have_value("")
    alice = window(f"{slack.url}/?as=alice", java_script_enabled=script)
    alice.get_by_role("button", name="More for this message").click()
    alice.get_by_role("link", name="Reply in thread").click()
    alice.get_by_label("Reply").fill("I have")
    alice.get_by_role("button", name="Reply").click()
    expect(alice.locator("#thread")).to_contain_text("I have")
    expect(alice.locator("#main article.message")).to_have_count(1)
    if not script:
        jonas.reload()
    jonas.get_by_role("link", name="1 reply").click()
    expect(jonas.locator("#thread")).to_contain_text("I have")


@SCRIPTS
def test_every_kind_of_input_says_what_was_entered(slack: Slack, app: App, window: Open, script: bool) -> None:
    page = window(f"{slack.url}/", java_script_enabled=script)
    say(page, "/try it")
    form = page.get_by_role("dialog")
    expect(form.get_by_role("heading", name="Everything")).to_be_visible()
    form.get_by_label("Line", exact=True).fill("one line")
    form.get_by_label("Lines").fill("first\nsecond")
    form.get_by_label("Mail").fill("a@b.example")
    form.get_by_label("Link").fill("https://example.com/x")
    form.get_by_label("Count").fill("42")
    form.get_by_label("Day").fill("2026-01-31")
    form.get_by_label("Hour").fill("13:37")
    form.get_by_label("Moment").fill("2026-01-31T12:00")
    form.get_by_role("combobox", name="One").select_option("green")
    form.get_by_label("Some").select_option(["salt", "oil"])
    form.get_by_label("Who").select_option(slack.user("bob"))
    form.get_by_label("Where").select_option(slack.channel("general"))
    form.get_by_label("No", exact=True).check()
    form.get_by_label("A", exact=True).check()
    form.get_by_label("C", exact=True).check()
    form.get_by_label("Search: Found").fill("ab")
    form.get_by_role("button", name="Search").click()
    form.locator('[id$="found-in"]').select_option("ab-two")
    form.get_by_role("button", name="Send it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert app.values() == {
        "line": "one line", "lines": "first\nsecond", "mail": "a@b.example", "link": "https://example.com/x",
        "count": "42", "day": "2026-01-31", "hour": "13:37", "moment": 1769860800, "one": "green",
        "some": ["salt", "oil"], "who": slack.user("bob"), "where": slack.channel("general"), "radio": "no",
        "checks": ["a", "c"], "found": "ab-two",
    }  # fmt: skip


def test_what_is_missing_or_wrong_is_said_at_its_field_and_what_was_typed_stays(
    slack: Slack, app: App, window: Open
) -> None:
    page = window(f"{slack.url}/")
    say(page, "/try it")
    form = page.get_by_role("dialog")
    form.get_by_label("Line", exact=True).fill("typed")
    form.get_by_role("button", name="Send it").click()
    expect(form.locator('[data-block="one"]').get_by_role("alert")).to_contain_text("required")
    expect(form.get_by_label("Line", exact=True)).to_have_value("typed")
    form.get_by_role("combobox", name="One").select_option("red")
    form.get_by_label("Yes", exact=True).check()
    app.answers.append({"response_action": "errors", "errors": {"line": "too bold"}})
    form.get_by_role("button", name="Send it").click()
    expect(form.locator('[data-block="line"]').get_by_role("alert")).to_have_text("too bold")
    second = FORM | {"title": plain("Second"), "blocks": [FORM["blocks"][0]]}  # type: ignore[index]
    app.answers.append({"response_action": "push", "view": second})
    form.get_by_role("button", name="Send it").click()
    expect(form.get_by_role("heading", name="Second")).to_be_visible()
    expect(form).to_contain_text("2 of 3")
    page.keyboard.press("Escape")
    expect(form.get_by_role("heading", name="Everything")).to_be_visible()
    expect(form.get_by_label("Line", exact=True)).to_have_value("typed")


def test_a_click_in_a_form_takes_along_what_was_typed_and_a_change_by_the_app_leaves_it(
    slack: Slack, app: App, window: Open
) -> None:
    page = window(f"{slack.url}/")
    page.get_by_role("button", name="Begin").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Line", exact=True).fill("so far")
    form.get_by_role("button", name="Poke").click()
    assert app.heard(action_id="poke")["view"]["state"]["values"]["line"]["in"]["value"] == "so far"
    form.get_by_label("Lines").fill("typing")
    assert app.client is not None
    changed = FORM | {"blocks": [{"type": "header", "text": plain("Changed")}, *FORM["blocks"][1:]]}  # type: ignore[misc]
    app.client.views_update(view_id=app.last()["view"]["id"], view=changed)
    expect(form.get_by_role("heading", name="Changed")).to_be_visible()
    expect(form.get_by_label("Lines")).to_have_value("typing")
    form.get_by_label("Lines").press("Enter")
    expect(form.get_by_label("Lines")).to_have_value("typing")
    app.heard(block_id="lines", value="typing")


@SCRIPTS
def test_buttons_menus_and_confirmations_on_a_message(slack: Slack, app: App, window: Open, script: bool) -> None:
    card(slack)
    page = window(f"{slack.url}/", java_script_enabled=script)
    message = page.locator("#main article.message")
    expect(message.locator("strong", has_text="bold")).to_be_visible()
    expect(message.locator("code")).to_have_text("code")
    expect(message.get_by_role("link", name="a link")).to_have_attribute("href", "https://example.com")
    expect(message).to_contain_text("<b> @alice ⚠️")
    message.get_by_role("button", name="Go").click()
    app.heard(action_id="go")
    many = len(app.got)
    message.get_by_role("button", name="Drop").click()
    sure = page.get_by_role("alertdialog")
    expect(sure).to_contain_text("It cannot be undone")
    sure.get_by_role("button", name="No").click()
    expect(sure).to_be_hidden()
    assert len(app.got) == many, "nothing was sent"
    message.get_by_role("button", name="Drop").click()
    sure.get_by_role("button", name="Do it").click()
    expect(sure).to_be_hidden()
    app.heard(action_id="drop")
    message.get_by_role("button", name="More", exact=True).click()
    page.get_by_role("button", name="Second").click()
    assert app.heard(action_id="more")["actions"][0]["selected_option"]["value"] == "second"
    message.locator("select").select_option("high")
    message.get_by_role("button", name="OK").click()
    assert app.heard(action_id="level")["actions"][0]["selected_option"]["value"] == "high"


def test_shortcuts_whispers_home_and_what_is_not_for_ones_eyes(slack: Slack, app: App, window: Open) -> None:
    ts = card(slack)
    jonas, alice = window(f"{slack.url}/"), window(f"{slack.url}/?as=alice")
    jonas.get_by_role("button", name="More for this message").click()
    jonas.get_by_role("button", name="Look at this").click()
    expect(jonas.get_by_role("dialog")).to_be_visible()
    assert (app.got[-1]["callback_id"], app.got[-1]["message"]["ts"]) == ("look", ts)
    jonas.get_by_role("button", name="Leave").click()
    expect(jonas.get_by_role("dialog")).to_have_count(0)
    say(jonas, "/try whisper")
    expect(jonas.locator(".ephemeral")).to_contain_text("psst @here")
    expect(jonas.locator(".ephemeral")).to_contain_text("Only visible to you")
    say(jonas, "seen by both")
    expect(alice.locator("#main")).to_contain_text("seen by both")
    expect(alice.locator("#main")).not_to_contain_text("psst")
    jonas.get_by_role("button", name="App Home").click()
    expect(jonas.locator("#main")).to_contain_text("Your home")
    jonas.get_by_role("button", name="Go").click()
    assert app.heard(action_id="go")["view"]["type"] == "home"
    mallory = window(f"{slack.url}/?as=mallory")
    expect(mallory.locator("#main")).to_contain_text("sees no such channel")
    expect(mallory.get_by_label("Channels").get_by_role("link")).to_have_text(["#shared-with-vendor shared"])


def test_a_command_that_fails_is_told_to_who_typed_it(slack: Slack, app: App, window: Open) -> None:
    page = window(f"{slack.url}/")
    say(page, "/nothing here")
    expect(page.locator("#said")).to_contain_text("/nothing is not a valid command")
    slack.range.install({"request_url": "http://127.0.0.1:9/"})
    say(page, "/try it")
    expect(page.locator("#told")).to_contain_text("dispatch_failed")


def test_it_can_be_used_by_keyboard_alone(slack: Slack, app: App, window: Open) -> None:
    card(slack)
    page = window(f"{slack.url}/")
    page.get_by_label("Message or command").focus()
    page.keyboard.type("/try it")
    page.keyboard.press("Enter")
    form = page.get_by_role("dialog")
    expect(form.get_by_label("Line", exact=True)).to_be_focused()
    page.keyboard.type("x")
    for _ in range(40):  # all the way round: the focus stays inside
        page.keyboard.press("Tab")
        assert form.evaluate("(e) => e.contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    drop = page.get_by_role("button", name="Drop")
    drop.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("alertdialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("alertdialog")).to_be_hidden()
    expect(drop).to_be_focused()


@pytest.mark.slow
def test_on_a_phone_nothing_is_wider_than_the_screen(slack: Slack, app: App, window: Open) -> None:
    card(slack)
    page = window(f"{slack.url}/", viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    wide = "() => document.documentElement.scrollWidth - window.innerWidth"
    assert page.evaluate(wide) <= 0
    say(page, "/try it")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate(wide) <= 0
    for button in page.get_by_role("dialog").get_by_role("button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 40, "a thumb hits it"
