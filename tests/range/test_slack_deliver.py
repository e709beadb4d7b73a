"""What the range's Slack sends: signed, once or again, and what becomes of the app's answer."""

from __future__ import annotations

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from slack_sdk import WebClient, WebhookClient
from slack_sdk.signature import SignatureVerifier
from starlette.responses import Response

from bot.range.slack.deliver import sign
from tests.slack_range import App, Slack, actions, button, manifest, plain, until

# The example of docs.slack.dev/authentication/verifying-requests-from-slack
SECRET = "8f742231b10e8888abcd99" + "yyyzzz85a5"
STAMP = "1531420618"
BODY = (
    "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    "&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    "&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    "&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
MANY = 40  # threads that a loop has for its work when nobody says otherwise
SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


def test_the_documented_signature() -> None:
    """Known answer, from Slack's documentation."""
    assert sign(SECRET, STAMP, BODY) == SIGNATURE


def test_the_known_answer_is_that_of_the_sdk_too() -> None:
    assert SignatureVerifier(SECRET).generate_signature(timestamp=STAMP, body=BODY) == SIGNATURE


def test_every_delivery_is_signed_as_the_sdk_verifies_it(slack: Slack, app: App) -> None:
    slack.hand("alice", "command", channel="incidents", text="/bulkhead status")
    slack.hand("alice", "shortcut", callback_id="report_leak")
    slack.hand("alice", "home")

    assert len(app.raw) == 3
    for headers, body in app.raw:
        assert SignatureVerifier(slack.cast["signing_secret"]).is_valid_request(body, headers)
        assert not SignatureVerifier("another").is_valid_request(body, headers)
        assert not SignatureVerifier(slack.cast["signing_secret"]).is_valid_request(body + b" ", headers)


# commands ----------------------------------------------------------------------------------------------------------


def test_a_command_as_the_app_gets_it(slack: Slack, app: App) -> None:
    slack.hand("alice", "command", channel="#incidents", text="/bulkhead  report a leak ")
    got = app.last

    assert (got["command"], got["text"], got["user_id"]) == ("/bulkhead", "report a leak", slack.user("alice"))
    assert (got["channel_id"], got["channel_name"]) == (slack.channel("incidents"), "incidents")
    assert (got["team_id"], got["api_app_id"]) == (slack.cast["team_id"], slack.cast["app_id"])
    assert got["is_enterprise_install"] == "false"
    assert app.got[-1][0]["content-type"] == "application/x-www-form-urlencoded"


def test_the_answer_is_for_the_one_who_asked(slack: Slack, app: App) -> None:
    app.answer = lambda _: "only you"
    slack.hand("jonas", "command", channel="incidents", text="/bulkhead help")

    assert [(m["text"], m["ephemeral"]) for m in slack.messages("jonas", "incidents")] == [("only you", True)]
    assert slack.messages("alice", "incidents") == []


def test_an_answer_in_channel_shows_the_command_to_everybody(slack: Slack, app: App) -> None:
    """Also when it says nothing more: so a secret in a command would be read by all."""
    app.answer = lambda _: {"response_type": "in_channel"}
    slack.hand("jonas", "command", channel="incidents", text="/bulkhead report hunter2")

    [shown] = slack.messages("alice", "incidents")
    assert (shown["text"], shown["user"]) == ("/bulkhead report hunter2", slack.user("jonas"))


def test_a_command_is_refused_where_the_client_refuses_it(slack: Slack, app: App) -> None:
    ts = slack.hand("alice", "message", channel="incidents", text="root")["ts"]

    def said(user: str, **body: Any) -> str:
        return str(slack.hand(user, "command", status=400, **body)["error"])

    assert said("alice", channel="incidents", text="/bulkhead x", thread_ts=ts) == "not_in_threads"
    assert said("alice", channel="incidents", text=" /bulkhead x") == "not_a_command"
    assert said("alice", channel="deploys", text="/bulkhead x") == "not_in_channel"
    assert said("mallory", channel="incidents", text="/bulkhead x") == "channel_not_found"
    slack.range.install({"manifest": manifest()})
    assert said("alice", channel="incidents", text="/other x") == "unknown_command"
    assert app.got == []


def test_an_outsiders_command_names_another_team(slack: Slack, app: App) -> None:
    slack.hand("mallory", "command", channel="shared-with-vendor", text="/bulkhead status")

    assert app.last["team_id"] == slack.cast["vendor_team_id"] != slack.cast["team_id"]


def test_names_are_escaped_when_the_manifest_asks_for_it(slack: Slack, app: App) -> None:
    slack.range.install({"manifest": manifest(), "request_url": f"{app.url}/slack/events"})
    slack.hand("alice", "command", channel="incidents", text="/bulkhead lead @bob in #general, not a@bob.example")

    bob, general = slack.user("bob"), slack.channel("general")
    assert app.last["text"] == f"lead <@{bob}> in <#{general}>, not a@bob.example"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Response(status_code=500), "http_service_error"),
        ({"text": "x", "response_type": "shout"}, "invalid_response_type"),
        ({"text": ""}, "no_text"),
        ({"text": "x", "colour": "red"}, "invalid_payload"),
        ({"text": "x", "blocks": [{"type": "marquee"}]}, "invalid_blocks"),
    ],
)
def test_an_answer_that_slack_cannot_show(slack: Slack, app: App, answer: Any, said: str) -> None:
    app.answer = lambda _: answer
    done = slack.hand("alice", "command", channel="incidents", text="/bulkhead x")

    assert done == {"ok": False, "error": said}
    assert said in slack.look("alice")["notices"][-1]
    assert slack.messages("alice", "incidents") == []


def test_who_waits_too_long_sees_a_timeout_and_nothing_is_sent_again(slack: Slack, app: App) -> None:
    slack.range.install({"ack_s": 0.2})
    app.answer = lambda _: until(lambda: len(slack.range.outbox.log) > 0)  # longer than anybody waits
    done = slack.hand("alice", "command", channel="incidents", text="/bulkhead x")

    assert done == {"ok": False, "error": "operation_timeout"}
    slack.clock.advance(3600)
    assert (slack.range.outbox.retry_due(), len(app.got)) == (0, 1)


def test_an_app_that_listens_nowhere(slack: Slack) -> None:
    assert slack.hand("alice", "command", channel="incidents", text="/bulkhead x")["error"] == "dispatch_failed"
    slack.range.install({"request_url": "http://127.0.0.1:9/slack/events"})
    assert slack.hand("alice", "command", channel="incidents", text="/bulkhead x")["error"] == "dispatch_failed"


# response URLs -----------------------------------------------------------------------------------------------------


def test_a_response_url_works_five_times(slack: Slack, app: App) -> None:
    slack.hand("alice", "command", channel="incidents", text="/bulkhead x")
    hook = WebhookClient(app.last["response_url"])
    answers = [hook.send(text=f"part {n}") for n in range(6)]

    assert [a.status_code for a in answers] == [200] * 5 + [404]
    assert json.loads(answers[-1].body)["error"] == "used_url"
    assert [m["text"] for m in slack.messages("alice", "incidents")] == [f"part {n}" for n in range(5)]
    assert slack.messages("bob", "incidents") == []


def test_a_response_url_lives_half_an_hour(slack: Slack, app: App) -> None:
    slack.hand("alice", "command", channel="incidents", text="/bulkhead x")
    slack.clock.advance(1801)
    answer = WebhookClient(app.last["response_url"]).send(text="late")

    assert (answer.status_code, json.loads(answer.body)["error"]) == (404, "expired_url")
    assert WebhookClient(app.last["response_url"] + "x").send(text="x").status_code == 404


def test_a_click_may_replace_or_delete_the_message_that_was_clicked(slack: Slack, app: App, bot: WebClient) -> None:
    card = posted(slack, bot)
    slack.hand("alice", "click", channel="incidents", ts=card, action_id="approve")
    hook = WebhookClient(app.last["response_url"])

    assert hook.send(text="agreed", replace_original=True).body == "ok"
    assert [(m["text"], m.get("blocks")) for m in slack.messages("bob", "incidents")] == [("agreed", None)]
    hook.send(text="for alice")
    hook.send(text="for all", response_type="in_channel")
    assert [m["text"] for m in slack.messages("bob", "incidents")] == ["agreed", "for all"]
    hook.send(delete_original=True)
    assert [m["text"] for m in slack.messages("alice", "incidents")] == ["for alice", "for all"]
    assert hook.send(text="x", replace_original=True).status_code == 400, "it is gone"


def test_an_ephemeral_message_is_replaced_over_its_response_url_only(slack: Slack, app: App, bot: WebClient) -> None:
    alice, blocks = slack.user("alice"), [actions(button("ok"))]
    ts = bot.chat_postEphemeral(channel=slack.channel("incidents"), user=alice, text="ask", blocks=blocks)["message_ts"]
    slack.hand("bob", "click", status=400, channel="incidents", ts=ts, action_id="ok")
    slack.hand("alice", "click", channel="incidents", ts=ts, action_id="ok")

    assert app.last["container"]["is_ephemeral"] is True
    assert "message" not in app.last
    WebhookClient(app.last["response_url"]).send(text="thanks", replace_original=True)
    assert [m["text"] for m in slack.messages("alice", "incidents")] == ["thanks"]
    WebhookClient(app.last["response_url"]).send(delete_original=True)
    assert slack.messages("alice", "incidents") == []


def test_a_persons_command_cannot_be_taken_away(slack: Slack, app: App) -> None:
    slack.hand("alice", "command", channel="incidents", text="/bulkhead x")
    answer = WebhookClient(app.last["response_url"]).send(delete_original=True)

    assert (answer.status_code, json.loads(answer.body)["error"]) == (400, "message_not_found")


# clicks ------------------------------------------------------------------------------------------------------------


def posted(slack: Slack, bot: WebClient, *found: dict[str, Any]) -> str:
    blocks = [actions(*(found or (button("approve", value='{"i":"inc-1"}'),)))]
    return str(bot.chat_postMessage(channel=slack.channel("incidents"), text="card", blocks=blocks)["ts"])


def test_a_click_as_the_app_gets_it(slack: Slack, app: App, bot: WebClient) -> None:
    card = posted(slack, bot)
    assert slack.hand("bob", "click", channel="incidents", ts=card, action_id="approve") == {"ok": True}
    got = app.last

    assert (got["type"], got["user"]["id"], got["team"]["id"]) == (
        "block_actions", slack.user("bob"), slack.cast["team_id"]
    )  # fmt: skip
    assert [(a["action_id"], a["block_id"], a["value"]) for a in got["actions"]] == [
        ("approve", "b", '{"i":"inc-1"}')
    ]  # fmt: skip
    assert (got["container"]["message_ts"], got["message"]["text"]) == (card, "card")
    assert got["trigger_id"]


def test_many_people_at_once_do_not_keep_the_app_from_calling_back(slack: Slack, app: App, bot: WebClient) -> None:
    """Each click waits for the app, and the app asks the Web API before it answers."""
    card, together = posted(slack, bot), threading.Barrier(MANY, timeout=60)

    def answer(_got: dict[str, Any]) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait()
        slack.client().auth_test()

    app.answer = answer
    with ThreadPoolExecutor(MANY) as crowd:
        click = {"channel": "incidents", "ts": card, "action_id": "approve"}
        done = list(crowd.map(lambda _: post(slack, "alice", click), range(MANY)))
    assert done == [{"ok": True}] * MANY


def post(slack: Slack, user: str, body: dict[str, Any]) -> dict[str, Any]:
    """A click of a connection of its own."""
    with requests.Session() as http:
        http.trust_env = False
        return dict(http.post(f"{slack.url}/hand/{user}/click", json=body, timeout=90).json())


def test_nobody_clicks_what_they_do_not_see(slack: Slack, app: App, bot: WebClient) -> None:
    card = posted(slack, bot)

    def said(user: str, **body: Any) -> str:
        click = {"channel": "incidents", "ts": card, "action_id": "approve"} | body
        return str(slack.hand(user, "click", status=400, **click)["error"])

    assert said("mallory") == "channel_not_found"
    assert said("alice", ts="1.000001") == "message_not_found"
    assert said("alice", action_id="deny") == "no_such_element"
    assert said("nobody") == "user_not_found"
    slack.hand("alice", "leave", channel="incidents")
    assert said("alice") == "not_in_channel"
    assert app.got == []


def test_an_outsiders_click_tells_only_by_the_users_team(slack: Slack, app: App, bot: WebClient) -> None:
    shared = slack.channel("shared-with-vendor")
    ts = bot.chat_postMessage(channel=shared, text="card", blocks=[actions(button("approve"))])["ts"]
    slack.hand("mallory", "click", channel="shared-with-vendor", ts=ts, action_id="approve")

    assert app.last["team"]["id"] == slack.cast["team_id"]
    assert app.last["user"]["team_id"] == slack.cast["vendor_team_id"]


def test_a_confirm_dialog_has_to_be_answered(slack: Slack, app: App, bot: WebClient) -> None:
    dialog = {"title": plain("Sure?"), "text": plain("Delete ferry-ci"), "confirm": plain("Yes"), "deny": plain("No")}
    card = posted(slack, bot, button("approve", confirm=dialog))
    asked = slack.hand("alice", "click", status=400, channel="incidents", ts=card, action_id="approve")

    assert (asked["error"], asked["message"]) == ("confirm_required", "confirm first: Delete ferry-ci")
    assert app.got == []
    slack.hand("alice", "click", channel="incidents", ts=card, action_id="approve", confirmed=True)
    assert app.last["actions"][0]["action_id"] == "approve"


def test_a_choice_in_a_message(slack: Slack, app: App, bot: WebClient) -> None:
    options = [{"text": plain(word), "value": word} for word in ("low", "high")]
    select = {"type": "static_select", "action_id": "severity", "options": options, "placeholder": plain("Which?")}
    card = posted(slack, bot, select, button("ok"))
    slack.hand("alice", "click", channel="incidents", ts=card, action_id="severity", value="high")

    assert app.last["actions"][0]["selected_option"] == options[1]
    assert app.last["state"]["values"] == {
        "b": {"severity": {"type": "static_select", "selected_option": options[1]}}
    }  # fmt: skip
    wrong = slack.hand("alice", "click", status=400, channel="incidents", ts=card, action_id="severity", value="odd")
    assert wrong["error"] == "invalid_value"


def test_no_secret_stands_in_what_is_written_of_requests(slack: Slack, app: App, bot: WebClient) -> None:
    posted(slack, bot)
    slack.hand("alice", "command", channel="incidents", text="/bulkhead x")
    written = json.dumps([slack.switchboard.requests(), slack.range.snapshot(), slack.range.installed()])

    assert not [value for value in slack.range.values() if value in written]
