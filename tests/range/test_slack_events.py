"""The range's Slack: events, which are sent again, what people type, and the manifest that says what the app hears."""

from __future__ import annotations

import json
from typing import Any

import pytest
from slack_bolt import App as Bolt
from slack_bolt.adapter.starlette import SlackRequestHandler
from slack_sdk import WebClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from bot.errors import InputError
from tests.slack_range import App, Slack, error, manifest, serving, until

# events ------------------------------------------------------------------------------------------------------------


def test_a_mention_as_the_app_gets_it(slack: Slack, app: App) -> None:
    slack.hand("mallory", "message", channel="shared-with-vendor", text="@bulkhead what is going on?")
    got = app.last

    assert (got["type"], got["event"]["type"]) == ("event_callback", "app_mention")
    assert (got["is_ext_shared_channel"], got["event"]["user_team"]) == (True, slack.cast["vendor_team_id"])
    assert got["event_id"].startswith("Ev")
    slack.hand("alice", "message", channel="incidents", text="nothing for the bot")
    slack.hand("mara", "message", channel="deploys", text="@bulkhead is not in here")
    assert len(app.got) == 1


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("a < b && c > d", "a &lt; b &amp;&amp; c &gt; d"),
        ("see https://b.example/run/7?a=1&b=2#log now", "see <https://b.example/run/7?a=1&amp;b=2#log> now"),
        ("@alice and @responders in #general", "<@{alice}> and <!subteam^{responders}> in <#{general}>"),
        ("mail a@b.example, #nowhere, @nobody", "mail a@b.example, #nowhere, @nobody"),
        ("<@U123> is kept, <b> is not", "<@U123> is kept, &lt;b&gt; is not"),
    ],
)
def test_what_is_typed_is_kept_as_slack_keeps_it(slack: Slack, typed: str, kept: str) -> None:
    slack.hand("alice", "message", channel="incidents", text=typed)
    names = {
        "alice": slack.user("alice"), "responders": slack.cast["groups"]["responders"],
        "general": slack.channel("general"),
    }  # fmt: skip

    assert slack.messages("bob", "incidents")[0]["text"] == kept.format(**names)


def test_who_is_invited_sees_the_channel_and_the_app_hears_of_it(slack: Slack, app: App) -> None:
    slack.range.install({"events": ["member_joined_channel"]})
    slack.hand("mara", "invite", channel="deploys", who="@bulkhead")
    assert (app.last["event"]["type"], app.last["event"]["user"]) == ("member_joined_channel", slack.cast["bot_user"])
    again = slack.hand("mara", "invite", status=400, channel="deploys", who="bulkhead")
    assert again["error"] == "already_in_channel"
    assert slack.hand("mara", "invite", status=400, channel="deploys", who="mallory")["error"] == "user_not_found"
    assert slack.hand("bob", "invite", status=400, channel="deploys", who="bob")["error"] == "not_in_channel"


def test_messages_are_told_to_who_subscribed(slack: Slack, app: App) -> None:
    slack.range.install({"events": ["message.channels"]})
    slack.hand("alice", "message", channel="incidents", text="hello")

    assert (app.last["event"]["type"], app.last["event"]["channel_type"]) == ("message", "channel")


def test_a_home_that_is_opened(slack: Slack, app: App, bot: WebClient) -> None:
    slack.hand("alice", "home")
    assert (app.last["event"]["type"], app.last["event"]["tab"]) == ("app_home_opened", "home")
    assert "view" not in app.last["event"]
    bot.views_publish(user_id=slack.user("alice"), view={"type": "home", "blocks": [{"type": "divider"}]})
    slack.hand("alice", "home")

    assert app.last["event"]["view"]["id"] == slack.look("alice")["home"]["id"]
    assert slack.look("bob")["home"] is None


def test_an_event_that_fails_is_sent_again_at_once_after_a_minute_and_after_five(slack: Slack, app: App) -> None:
    app.answer = lambda _: Response(status_code=503)
    slack.hand("alice", "home")

    def sent() -> list[tuple[str, str]]:
        return [(h.get("x-slack-retry-num", ""), h.get("x-slack-retry-reason", "")) for h, _ in app.got]

    until(lambda: len(sent()) == 2)
    until(lambda: slack.range.outbox.waiting == 1)
    slack.clock.advance(61)
    until(lambda: len(sent()) == 3)
    until(lambda: slack.range.outbox.waiting == 1)
    slack.clock.advance(200)
    assert slack.range.outbox.retry_due() == 0
    slack.clock.advance(101)
    until(lambda: len(sent()) == 4)
    until(lambda: len(slack.range.outbox.log) == 4)
    slack.clock.advance(3600)

    assert (slack.range.outbox.waiting, slack.range.outbox.retry_due()) == (0, 0)
    assert sent() == [("", ""), ("1", "http_error"), ("2", "http_error"), ("3", "http_error")]
    assert len({got["event_id"] for _, got in app.got}) == 1


def test_an_event_that_is_late_or_goes_in_circles_says_so(slack: Slack, app: App) -> None:
    slack.range.install({"ack_s": 0.2})
    app.answer = lambda _: None if len(app.got) > 1 else until(lambda: len(app.got) > 1)
    slack.hand("alice", "home")
    until(lambda: len(app.got) == 2)
    assert app.got[1][0]["x-slack-retry-reason"] == "http_timeout"

    app.got.clear()
    app.answer = lambda _: RedirectResponse("/again", 307)
    slack.range.install({"ack_s": 3})
    slack.hand("alice", "home")
    until(lambda: len(slack.range.outbox.log) == 4)
    assert [got[0].get("x-slack-retry-num") for got in app.got] == [None] * 3 + ["1"] * 3, "two were followed"
    assert app.got[3][0]["x-slack-retry-reason"] == "too_many_redirects"


def test_an_app_may_forbid_to_send_again(slack: Slack, app: App) -> None:
    app.answer = lambda _: Response(status_code=500, headers={"x-slack-no-retry": "1"})
    slack.hand("alice", "home")

    assert (slack.range.outbox.waiting, len(app.got)) == (0, 1)


# the manifest ------------------------------------------------------------------------------------------------------


def test_what_the_manifest_says_holds(slack: Slack, app: App, bot: WebClient) -> None:
    slack.range.install({"manifest": manifest()})

    assert error(bot.users_info, user=slack.user("alice")) == "missing_scope"
    assert slack.hand("alice", "shortcut", status=400, callback_id="other")["error"] == "unknown_shortcut"
    slack.hand("alice", "home")
    assert app.got == [], "not subscribed"
    slack.hand("alice", "shortcut", callback_id="report_leak")
    assert app.last["type"] == "shortcut"


def test_a_request_url_repeats_a_challenge(slack: Slack, app: App) -> None:
    """Slack asks when the URL is entered; the challenge may come back as JSON or as text."""
    url = f"{app.url}/slack/events"
    app.answer = lambda got: {"challenge": got["challenge"]}
    assert slack.range.install({"request_url": url, "verify": True})["request_url"] == url
    assert (app.last["type"], app.got[-1][0]["content-type"]) == ("url_verification", "application/json")
    app.answer = lambda got: got["challenge"]
    slack.range.install({"request_url": url, "verify": True})
    app.answer = lambda _: {"challenge": "another"}
    for wrong in (url, "http://127.0.0.1:9/"):
        with pytest.raises(InputError, match="challenge"):
            slack.range.install({"request_url": wrong, "verify": True})


def bolt_served(bolt: Bolt) -> Starlette:
    handler = SlackRequestHandler(bolt)

    async def endpoint(request: Request) -> Response:
        found: Response = await handler.handle(request)
        return found

    return Starlette(routes=[Route("/slack/events", endpoint, methods=["POST"])])


def test_bolt_answers_the_challenge_and_checks_the_signature(slack: Slack) -> None:
    """Bolt over HTTP, unchanged: with the app's signing secret it listens, with another it answers nobody."""
    for secret, ok in ((slack.cast["signing_secret"], True), ("another", False)):
        bolt = Bolt(client=slack.client(), signing_secret=secret)
        bolt.command("/bulkhead")(lambda ack: ack("hello"))
        with serving(bolt_served(bolt)) as url:
            there = {"request_url": f"{url}/slack/events"}
            if ok:
                slack.range.install(there | {"verify": True})
            slack.range.install(there)
            done = slack.hand("alice", "command", channel="incidents", text="/bulkhead x")
            assert done == ({"ok": True} if ok else {"ok": False, "error": "http_service_error"})
    assert [m["text"] for m in slack.messages("alice", "incidents")] == ["hello"]


@pytest.mark.parametrize(
    ("where", "value", "pointer"),
    [
        (("display_information", "name"), "", "/display_information/name"),
        (("features", "slash_commands", 0, "command"), "Bulkhead", "/features/slash_commands/0/command"),
        (("features", "slash_commands", 0, "url"), "", "/features/slash_commands/0/url"),
        (("features", "shortcuts", 0, "type"), "channel", "/features/shortcuts/0/type"),
        (("oauth_config", "scopes", "bot"), ["commands"], "/settings/event_subscriptions/bot_events"),
        (("oauth_config", "scopes", "bot"), ["app_mentions:read"], "/oauth_config/scopes/bot"),
        (
            ("oauth_config", "scopes", "bot"),
            ["commands", "app_mentions:read", "chat:wirte"],
            "/oauth_config/scopes/bot",
        ),
        (("settings", "interactivity", "request_url"), "", "/settings/interactivity/request_url"),
        (("settings", "interactivity", "request_url"), "http://b.example", "/settings/interactivity/request_url"),
        (("settings", "event_subscriptions", "bot_events"), ["rain"], "/settings/event_subscriptions/bot_events"),
    ],
)
def test_a_manifest_that_slack_refuses(slack: Slack, where: tuple[Any, ...], value: Any, pointer: str) -> None:
    bad: Any = manifest()
    place = bad
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    tool = slack.client(slack.cast["app_token"])

    assert error(tool.apps_manifest_validate, manifest=json.dumps(manifest())) == ""
    answer = slack.http.post(
        f"{slack.url}/api/apps.manifest.validate", json={"manifest": bad},
        headers={"Authorization": f"Bearer {slack.cast['app_token']}"},
    ).json()  # fmt: skip
    assert (answer["error"], [row["pointer"] for row in answer["errors"]]) == ("invalid_manifest", [pointer])
