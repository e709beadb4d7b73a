"""One true delivery for each listener of the room, as the range's Slack would send it."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

from bot.engine.decisions import GLASS
from bot.range.slack import elements, payloads
from bot.slack import choice_views, decisions, glass, orders, people, quiz_views, reports, written_views
from bot.slack.heard import carried
from tests.incidents import ROW
from tests.slack.workspace import INCIDENT, KEY, PLAN, PLAN_OF_TWO, Workspace

Payload = dict[str, Any]
SECRET = base64.b64encode(hashlib.sha256(b"made up").digest()).decode()[:40]  # as AWS draws them
FIELDS: dict[str, dict[str, dict[str, Any]]] = {
    reports.FORM: {"where": {"where": {"type": "plain_text_input", "value": KEY}}},
    decisions.ANSWER: {"text": {"answer_text": {"type": "plain_text_input", "value": "it is done"}}},
    **{
        form: {"reason": {"reason": {"type": "plain_text_input", "value": "it was ours"}}}
        for form in (orders.UNDO, orders.ABORT, orders.WAIVE, glass.BREAK)
    },
    glass.REVIEW: {"found": {"found": {"type": "plain_text_input", "value": "it was right"}}},
    quiz_views.ASK: {
        quiz_views.OPTION: {quiz_views.OPTION: {"type": "radio_buttons", "selected_option": {"value": "a"}}},
        quiz_views.SURE: {quiz_views.SURE: {"type": "radio_buttons", "selected_option": {"value": "yes"}}},
    },
    quiz_views.NEXT: {},
    choice_views.FORM: {
        choice_views.OPTION: {choice_views.OPTION: {"type": "radio_buttons", "selected_option": {"value": "cut"}}},
        choice_views.SURE: {choice_views.SURE: {"type": "radio_buttons", "selected_option": {"value": "yes"}}},
    },
    choice_views.PICK: {choice_views.NAME: {choice_views.NAME: {
        "type": "static_select", "selected_option": {"value": "aws-key-in-public-log"},
    }}},
    written_views.WORDS: {"lucky:0": {"lucky:0": {"type": "plain_text_input", "value": "it was a Sunday"}}},
    written_views.FOLLOW: {"title": {"title": {"type": "plain_text_input", "value": "Take the key out"}}},
    people.SEVERITY: {
        "level": {"level": {"type": "static_select", "selected_option": {"value": "low"}}},
        "why": {"why": {"type": "plain_text_input", "value": "a toy account"}},
    },
}
# The drill whose choice waits: its order, the line, and what the line says.
DRILL, PUT = "o1", "put:1"
CHOICE = {"choice": "first", "question": "What now?", "options": {"cut": "Cut it", "wait": "Wait"}, "again": False}
# What of the made-up incident a delivery is about; without a word of these, it is its first step.
STEPS = {
    "answer": "tell", decisions.ANSWER: "tell", GLASS: "two", glass.BREAK: "two", "review": "alone",
    glass.REVIEW: "alone", orders.WAIVE: orders.named(ROW),
    **dict.fromkeys((written_views.CHANGE, written_views.SAY_DONE, written_views.FOLLOW), "a1"),
}  # fmt: skip


def of(work: Workspace, kind: str, name: str, user: str = "alice") -> Payload:
    """The payload that ``user`` causes for a listener. Raises KeyError for a kind that nobody thought of here."""
    made = {
        "command": _command, "shortcut": _shortcut, "message_action": _message, "block_actions": _click,
        "view_submission": _submission, "event": _event,
    }  # fmt: skip
    return made[kind](work, name, user)


def _command(work: Workspace, name: str, user: str) -> Payload:
    state = work.slack.range.state
    with state.lock:
        channel = state.channels[work.slack.channel("incidents")]
        return payloads.command(state, state.people[work.slack.user(user)], channel, name, "note unplugged it")


def _shortcut(work: Workspace, name: str, user: str) -> Payload:
    state = work.slack.range.state
    with state.lock:
        return payloads.shortcut(state, state.people[work.slack.user(user)], name, None) | {"type": "shortcut"}


def _message(work: Workspace, name: str, user: str) -> Payload:
    ts = work.slack.hand(user, "message", channel=work.slack.channel("incidents"), text=f"oh no: {KEY} {SECRET}")["ts"]
    state = work.slack.range.state
    with state.lock:
        message = state.channels[work.slack.channel("incidents")].messages[ts]
        return payloads.shortcut(state, state.people[work.slack.user(user)], name, message)


def _click(work: Workspace, name: str, user: str) -> Payload:
    if name == orders.ROW:
        return _choice_of_a_row(work, name, user)
    if name not in (reports.CHECK, "leaked_secret"):
        more = {"i": "", "s": put(work, user)} if name in (quiz_views.OPEN, quiz_views.SKIP) else {}
        return work.button(user, name, ids(name) | {"u": work.slack.user(user)} | more)
    view = opened(work, reports.form(work.slack.channel("incidents")), user)
    state, text = work.slack.range.state, {"type": "plain_text_input", "value": f"{KEY} {SECRET}"}
    with state.lock:
        found = state.views[view]
        found.values["secret"] = {"leaked_secret": text}
        place = "check" if name == reports.CHECK else "secret"
        block = next(block for block in found.body["blocks"] if block["block_id"] == place)
        element = block["elements"][0] if name == reports.CHECK else block["element"]
        action = elements.action(block, element, None if name == reports.CHECK else text)
        return payloads.view_click(state, state.people[work.slack.user(user)], found, [action])


def _choice_of_a_row(work: Workspace, name: str, user: str) -> Payload:
    option = {"text": {"type": "plain_text", "text": ROW}, "value": orders.named(ROW)}
    pick = {"type": "static_select", "action_id": name, "options": [option],
            "placeholder": {"type": "plain_text", "text": "which"}}  # fmt: skip
    body = {
        "type": "modal", "callback_id": orders.WAIVE, "title": {"type": "plain_text", "text": "A form"},
        "private_metadata": carried(c=work.slack.channel("incidents"), i=INCIDENT),
        "blocks": [{"type": "actions", "block_id": name, "elements": [pick]}],
    }  # fmt: skip
    view, state = opened(work, body, user), work.slack.range.state
    with state.lock:
        found = state.views[view]
        action = elements.action(found.body["blocks"][0], pick, {"type": "static_select", "selected_option": option})
        return payloads.view_click(state, state.people[work.slack.user(user)], found, [action])


def _submission(work: Workspace, name: str, user: str) -> Payload:
    body = {
        "type": "modal", "callback_id": name, "title": {"type": "plain_text", "text": "A form"},
        "submit": {"type": "plain_text", "text": "Go"},
        "private_metadata": carried(c=work.slack.channel("incidents"), **ids(name), q=put(work, user)),
        "blocks": [{"type": "section", "text": {"type": "plain_text", "text": "a form"}}],
    }  # fmt: skip
    view, state = opened(work, body, user), work.slack.range.state
    bob = {"who": {"who": {"type": "users_select", "selected_user": work.slack.user("bob")}}}
    with state.lock:
        found = state.views[view]
        found.values = {**(bob if name == people.HAND_OVER else FIELDS[name])}
        return payloads.submission(state, state.people[work.slack.user(user)], found)


def _event(work: Workspace, name: str, user: str) -> Payload:
    state = work.slack.range.state
    with state.lock:
        what = {"type": name, "user": work.slack.user(user), "channel": "D0", "tab": "home", "event_ts": state.new_ts()}
        return payloads.event(state, what)


def opened(work: Workspace, view: Payload, user: str) -> str:
    """Open a form for somebody; its id."""
    state = work.slack.range.state
    with state.lock:
        trigger = state.new_trigger(work.slack.user(user))
    return str(work.room.client.views_open(trigger_id=trigger, view=view)["view"]["id"])


def put(work: Workspace, user: str) -> str:
    """A question that was put to somebody, the first of a round; its id."""
    return work.house.quiz.put(f"slack:{work.slack.user(user)}", datetime.now(UTC), name="round", many=3)[0].asked


def ids(name: str) -> dict[str, str]:
    """What the buttons and forms of the made-up incident carry."""
    planned = {"approve": PLAN, "deny": PLAN, GLASS: PLAN_OF_TWO, glass.BREAK: PLAN_OF_TWO}
    drill = {"o": DRILL, "n": PUT} if name == choice_views.FORM else {}
    return {"i": INCIDENT, "s": STEPS.get(name, "deactivate"), "p": planned.get(name, ""), "a": "1"} | drill
