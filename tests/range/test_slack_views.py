"""The range's Slack: modals and App Home. Triggers, the stack, hashes, what is entered and what the app answers."""

from __future__ import annotations

import time
from typing import Any

import pytest
from slack_sdk import WebClient, WebhookClient

from tests.slack_range import App, Slack, actions, button, error, plain, refusal


def text(action_id: str = "a", block_id: str = "b", *, optional: bool = False, **more: Any) -> dict[str, Any]:
    """An input block."""
    element = {"type": "plain_text_input", "action_id": action_id, **more}
    return {"type": "input", "block_id": block_id, "label": plain("What?"), "element": element, "optional": optional}


def modal(*blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "modal", "callback_id": "report", "title": plain("Report"), "submit": plain("Send"),
        "blocks": list(blocks or (text(),)), **more,
    }  # fmt: skip


def trigger(slack: Slack, app: App, user: str = "alice") -> str:
    """What a command brings with it."""
    slack.hand(user, "command", channel="incidents", text="/bulkhead report")
    return str(app.last["trigger_id"])


def opened(slack: Slack, app: App, bot: WebClient, *blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A modal in front of alice."""
    return dict(bot.views_open(trigger_id=trigger(slack, app), view=modal(*blocks, **more))["view"])


def titles(slack: Slack, user: str = "alice") -> list[str]:
    return [view["title"]["text"] for view in slack.look(user)["modals"]]


# triggers ----------------------------------------------------------------------------------------------------------


def test_a_trigger_opens_one_modal_for_its_own_person(slack: Slack, app: App, bot: WebClient) -> None:
    once = trigger(slack, app)
    bot.views_open(trigger_id=once, view=modal())

    assert (titles(slack), titles(slack, "bob")) == (["Report"], [])
    assert error(bot.views_open, trigger_id=once, view=modal()) == "exchanged_trigger_id"
    assert error(bot.views_open, trigger_id="1.2.3", view=modal()) == "invalid_trigger_id"


def test_a_trigger_lives_three_seconds(slack: Slack, app: App, bot: WebClient) -> None:
    slack.range.install({"trigger_s": 3})
    late = trigger(slack, app)
    slack.range.state.triggers[late].made -= 3.01

    assert error(bot.views_open, trigger_id=late, view=modal()) == "expired_trigger_id"
    assert titles(slack) == []
    fresh = trigger(slack, app)
    slack.range.state.triggers[fresh].made = time.monotonic()
    slack.clock.advance(3600)
    assert error(bot.views_open, trigger_id=fresh, view=modal()) == "", "the range's clock has no part in it"


def test_a_view_that_is_wrong_does_not_use_the_trigger_up(slack: Slack, app: App, bot: WebClient) -> None:
    once = trigger(slack, app)
    refused = refusal(bot.views_open, trigger_id=once, view=modal() | {"title": plain("x" * 25)})

    assert refused is not None
    assert refused["error"] == "invalid_arguments"
    assert refused["response_metadata"]["messages"] == [
        "[ERROR] must be less than 25 characters [json-pointer:/view/title/text]"
    ]
    assert error(bot.views_open, trigger_id=once, view=modal()) == ""


def test_a_view_too_large(slack: Slack, app: App, bot: WebClient) -> None:
    option = {"text": plain("x" * 75), "value": "y" * 150, "description": plain("z" * 75)}
    options = [option | {"value": f"{n:0150}"} for n in range(100)]
    blocks = [actions(*({"type": "static_select", "action_id": f"a{n}", "options": options} for n in range(10)))]

    assert error(bot.views_open, trigger_id=trigger(slack, app), view=modal(*blocks)) == "view_too_large"


# the stack ---------------------------------------------------------------------------------------------------------


def test_a_stack_holds_three(slack: Slack, app: App, bot: WebClient) -> None:
    row = actions(button("more"))
    first = opened(slack, app, bot, row)
    for n in (2, 3):
        slack.hand("alice", "click", action_id="more")
        pushed = bot.views_push(trigger_id=app.last["trigger_id"], view=modal(row) | {"title": plain(str(n))})["view"]
        assert pushed["root_view_id"] == first["id"]
    slack.hand("alice", "click", action_id="more")

    assert titles(slack) == ["Report", "2", "3"]
    assert error(bot.views_push, trigger_id=app.last["trigger_id"], view=modal(row)) == "push_limit_reached"
    assert error(bot.views_push, trigger_id=trigger(slack, app), view=modal()) == "not_found", "not from a modal"
    slack.hand("alice", "close")
    assert titles(slack) == ["Report", "2"]
    slack.hand("alice", "close", all=True)
    assert slack.hand("alice", "close", status=400)["error"] == "no_modal"


def test_only_the_top_modal_can_be_used(slack: Slack, app: App, bot: WebClient) -> None:
    below = opened(slack, app, bot, actions(button("more")))
    slack.hand("alice", "click", action_id="more")
    bot.views_push(trigger_id=app.last["trigger_id"], view=modal())

    assert slack.hand("alice", "submit", status=400, view_id=below["id"])["error"] == "view_not_found"
    assert slack.hand("bob", "submit", status=400)["error"] == "no_modal"


# updates -----------------------------------------------------------------------------------------------------------


def test_an_update_keeps_what_was_entered_and_changes_the_hash(slack: Slack, app: App, bot: WebClient) -> None:
    view = opened(slack, app, bot, text("a", "b"), text("a", "gone", optional=True))
    slack.hand("alice", "fill", action_id="a", block_id="b", value="half a word")
    slack.hand("alice", "fill", action_id="a", block_id="gone", value="x")
    new = bot.views_update(view_id=view["id"], hash=view["hash"], view=modal(text("a", "b"), text("a", "c")))["view"]

    [shown] = slack.look("alice")["modals"]
    assert shown["state"]["values"]["b"]["a"]["value"] == "half a word"
    assert shown["state"]["values"]["c"]["a"]["value"] is None
    assert "gone" not in shown["state"]["values"]
    update = bot.views_update
    assert error(update, view_id=view["id"], hash=view["hash"], view=modal()) == "hash_conflict"
    assert error(update, view_id=view["id"], hash=new["hash"], view=modal()) == ""


def test_a_modal_that_was_closed_cannot_be_updated(slack: Slack, app: App, bot: WebClient) -> None:
    view = opened(slack, app, bot)
    slack.hand("alice", "close")

    assert error(bot.views_update, view_id=view["id"], view=modal()) == "not_found"
    assert error(bot.views_update, external_id="none", view=modal()) == "not_found"


def test_an_external_id_is_there_once(slack: Slack, app: App, bot: WebClient) -> None:
    opened(slack, app, bot, external_id="e-1")

    assert error(bot.views_open, trigger_id=trigger(slack, app, "bob"), view=modal(external_id="e-1")) == (
        "duplicate_external_id"
    )
    bot.views_update(external_id="e-1", view=modal(external_id="e-1") | {"title": plain("Again")})
    assert titles(slack) == ["Again"]


def test_a_view_keeps_its_type(slack: Slack, app: App, bot: WebClient) -> None:
    home = {"type": "home", "blocks": [{"type": "divider"}]}

    assert error(bot.views_open, trigger_id=trigger(slack, app), view=home) == "invalid_arguments"
    assert error(bot.views_publish, user_id=slack.user("alice"), view=modal()) == "invalid_arguments"


# submissions -------------------------------------------------------------------------------------------------------


def test_a_submission_as_the_app_gets_it(slack: Slack, app: App, bot: WebClient) -> None:
    opened(slack, app, bot, text(), private_metadata="inc-1")
    done = slack.hand("alice", "submit", values={"b": {"a": "a key"}})
    got = app.last

    assert done == {"ok": True, "action": "close"}
    assert (got["type"], got["view"]["callback_id"], got["view"]["private_metadata"]) == (
        "view_submission", "report", "inc-1"
    )  # fmt: skip
    assert got["view"]["state"]["values"] == {"b": {"a": {"type": "plain_text_input", "value": "a key"}}}
    assert titles(slack) == []


def test_people_and_channels_are_chosen_by_name(slack: Slack, app: App, bot: WebClient) -> None:
    """And who chose a channel may be answered there, where the element asks for it."""
    picks: list[dict[str, Any]] = [
        {"type": "users_select"}, {"type": "multi_users_select"},
        {"type": "conversations_select", "response_url_enabled": True},
    ]  # fmt: skip
    blocks = [
        {"type": "input", "block_id": f"b{n}", "label": plain("?"), "element": element | {"action_id": "a"}}
        for n, element in enumerate(picks)
    ]
    opened(slack, app, bot, *blocks)
    values: dict[str, Any] = {"b0": {"a": "bob"}, "b1": {"a": ["@alice", "carol"]}, "b2": {"a": "#incidents"}}
    wrong = slack.hand("alice", "submit", status=400, values=values | {"b0": {"a": "nobody"}})
    assert wrong["error"] == "invalid_value"
    slack.hand("alice", "submit", values=values)
    held = app.last["view"]["state"]["values"]

    assert held["b0"]["a"]["selected_user"] == slack.user("bob")
    assert held["b1"]["a"]["selected_users"] == [slack.user("alice"), slack.user("carol")]
    [row] = app.last["response_urls"]
    assert (row["block_id"], row["channel_id"]) == ("b2", slack.channel("incidents"))
    assert WebhookClient(row["response_url"]).send(text="here", response_type="in_channel").body == "ok"
    assert [m["text"] for m in slack.messages("bob", "incidents")] == ["here"]


def test_what_is_required_is_asked_for_before_the_app_is(slack: Slack, app: App, bot: WebClient) -> None:
    opened(slack, app, bot, text("a", "b"), text("a", "c", optional=True))
    app.got.clear()

    assert slack.hand("alice", "submit") == {"ok": False, "error": "missing_input", "blocks": ["b"]}
    assert app.got == []
    assert slack.look("alice")["modals"][0]["errors"] == {"b": "Please complete this required field."}


@pytest.mark.parametrize(
    ("element", "value", "said"),
    [
        ({"type": "plain_text_input", "max_length": 3}, "four", "at most 3 characters"),
        ({"type": "plain_text_input", "min_length": 3}, "x", "at least 3 characters"),
        ({"type": "url_text_input"}, "b.example", "does not fit"),
        ({"type": "email_text_input"}, "bob", "does not fit"),
        ({"type": "number_input", "is_decimal_allowed": False}, "1.5", "whole numbers"),
        ({"type": "number_input", "is_decimal_allowed": True, "max_value": "3"}, "4", "between"),
        ({"type": "datepicker"}, "tomorrow", "does not fit"),
        ({"type": "static_select", "options": [{"text": plain("A"), "value": "a"}]}, "b", "no option"),
    ],
)
def test_a_value_that_the_client_does_not_take(
    slack: Slack, app: App, bot: WebClient, element: dict[str, Any], value: str, said: str
) -> None:
    block = {"type": "input", "block_id": "b", "label": plain("?"), "element": element | {"action_id": "a"}}
    opened(slack, app, bot, block)
    refused = slack.hand("alice", "submit", status=400, values={"b": {"a": value}})

    assert refused["error"] == "invalid_value"
    assert said in refused["message"]


def test_errors_are_shown_and_the_modal_stays(slack: Slack, app: App, bot: WebClient) -> None:
    opened(slack, app, bot)
    app.answer = lambda _: {"response_action": "errors", "errors": {"b": "That is no key"}}
    done = slack.hand("alice", "submit", values={"b": {"a": "x"}})

    assert done == {"ok": False, "error": "errors", "errors": {"b": "That is no key"}}
    assert slack.look("alice")["modals"][0]["errors"] == {"b": "That is no key"}


@pytest.mark.parametrize(
    ("answer", "left", "result"),
    [
        ({"response_action": "clear"}, [], {"ok": True, "action": "clear"}),
        (
            {"response_action": "update", "view": modal() | {"title": plain("2")}},
            ["2"],
            {"ok": True, "action": "update"},
        ),
        (
            {"response_action": "push", "view": modal() | {"title": plain("2")}},
            ["Report", "2"],
            {"ok": True, "action": "push"},
        ),
    ],
)
def test_what_an_answer_does_to_the_stack(
    slack: Slack, app: App, bot: WebClient, answer: Any, left: list[str], result: dict[str, Any]
) -> None:
    opened(slack, app, bot)
    app.answer = lambda _: answer

    assert slack.hand("alice", "submit", values={"b": {"a": "x"}}) == result
    assert titles(slack) == left


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"response_action": "errors", "errors": {"nowhere": "x"}}, "invalid_errors"),
        ({"response_action": "errors"}, "invalid_errors"),
        ({"response_action": "update", "view": {"type": "modal"}}, "invalid_arguments"),
        ({"response_action": "dance"}, "invalid_response_action"),
        ("fine", "invalid_response_action"),
    ],
)
def test_an_answer_that_is_wrong_is_an_error_the_person_sees(
    slack: Slack, app: App, bot: WebClient, answer: Any, said: str
) -> None:
    opened(slack, app, bot)
    app.answer = lambda _: answer
    done = slack.hand("alice", "submit", values={"b": {"a": "x"}})

    assert (done["ok"], done["error"]) == (False, said)
    assert titles(slack) == ["Report"]
    assert "We had some trouble connecting" in slack.look("alice")["notices"][-1]


def test_a_modal_that_the_app_replaced_meanwhile_is_left_alone(slack: Slack, app: App, bot: WebClient) -> None:
    view = opened(slack, app, bot)

    def answer(got: dict[str, Any]) -> None:
        if got["type"] == "view_submission":
            bot.views_update(view_id=view["id"], view=modal() | {"title": plain("Working")})

    app.answer = answer
    slack.hand("alice", "submit", values={"b": {"a": "x"}})
    assert titles(slack) == [], "an empty answer closes it all the same"


def test_closing_is_told_where_it_was_asked_for(slack: Slack, app: App, bot: WebClient) -> None:
    opened(slack, app, bot, notify_on_close=True)
    slack.hand("alice", "close")
    assert (app.last["type"], app.last["is_cleared"]) == ("view_closed", False)

    opened(slack, app, bot)
    count = len(app.got)
    slack.hand("alice", "close")
    assert len(app.got) == count


# what is told while somebody types ---------------------------------------------------------------------------------


def dispatching(*on: str) -> dict[str, Any]:
    return text(dispatch_action_config={"trigger_actions_on": list(on)}) | {"dispatch_action": True}


def test_an_input_tells_the_app_only_when_it_dispatches(slack: Slack, app: App, bot: WebClient) -> None:
    opened(slack, app, bot, text("a", "quiet"), dispatching("on_enter_pressed"))
    app.got.clear()
    slack.hand("alice", "fill", block_id="quiet", action_id="a", value="x")
    slack.hand("alice", "fill", block_id="b", action_id="a", value="half", key="character")
    assert app.got == []

    slack.hand("alice", "fill", block_id="b", action_id="a", value="whole")
    assert (app.last["type"], app.last["actions"][0]["value"]) == ("block_actions", "whole")
    assert app.last["view"]["state"]["values"]["quiet"]["a"]["value"] == "x"
    assert app.last["container"]["type"] == "view"
    assert "response_url" not in app.last


def test_a_click_on_what_is_sent_with_the_form_does_nothing(slack: Slack, app: App, bot: WebClient) -> None:
    opened(slack, app, bot)

    assert slack.hand("alice", "click", status=400, action_id="a", value="x")["error"] == "nothing_happens"


def test_options_that_the_app_suggests(slack: Slack, app: App, bot: WebClient) -> None:
    select = {"type": "external_select", "action_id": "repo", "min_query_length": 2, "placeholder": plain("Repo")}
    opened(slack, app, bot, {"type": "input", "block_id": "r", "label": plain("Repo"), "element": select})
    ferry = {"text": plain("ferry"), "value": "harbor-lights/ferry"}
    app.answer = lambda got: {"options": [ferry]} if got["type"] == "block_suggestion" else None

    assert slack.hand("alice", "suggest", status=400, action_id="repo", query="f")["error"] == "query_too_short"
    assert slack.hand("alice", "suggest", action_id="repo", query="fe")["options"] == [ferry]
    assert (app.last["type"], app.last["value"], app.last["action_id"]) == ("block_suggestion", "fe", "repo")
    slack.hand("alice", "submit", values={"r": {"repo": "harbor-lights/ferry"}})
    assert app.last["view"]["state"]["values"]["r"]["repo"]["selected_option"] == ferry


# App Home ----------------------------------------------------------------------------------------------------------


def test_a_home_is_published_for_one_person_and_clicked(slack: Slack, app: App, bot: WebClient) -> None:
    home = {"type": "home", "blocks": [actions(button("open-report"))]}
    first = bot.views_publish(user_id=slack.user("alice"), view=home)["view"]
    again = bot.views_publish(user_id=slack.user("alice"), view=home, hash=first["hash"])["view"]

    assert first["id"] == again["id"]
    publish = bot.views_publish
    assert error(publish, user_id=slack.user("alice"), view=home, hash=first["hash"]) == "hash_conflict"
    assert error(publish, user_id="U0NOBODY000", view=home) == "user_not_found"
    slack.hand("alice", "click", home=True, action_id="open-report")
    assert app.last["view"]["type"] == "home"
    bot.views_open(trigger_id=app.last["trigger_id"], view=modal())
    assert titles(slack) == ["Report"]
    assert slack.hand("bob", "click", status=400, home=True, action_id="open-report")["error"] == "no_home"
    slack.range.install({"home": False})
    assert error(publish, user_id=slack.user("alice"), view=home) == "not_enabled"
