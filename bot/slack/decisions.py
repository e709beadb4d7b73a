"""What people tell a running incident: buttons and forms in, decisions at the desk out. Nothing is decided here.

The groups that Slack says a person is in go into the decision, attested. A click that does not count is answered.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bot.engine.decisions import Ask, open_asks
from bot.errors import DecisionRefused, InputError
from bot.signing import SLACK
from bot.slack.border import MARKER, plain
from bot.slack.commands import clip
from bot.slack.heard import FormWrong, Heard, carried
from bot.slack.payloads import Payload

if TYPE_CHECKING:
    from bot.slack.room import Room

ANSWER, UNDO = "answer_form", "undo_form"
SAID = {"approve": "Your approval of", "deny": "Your no to", "answer": "Your answer to", "undo": "Your order to undo"}
_NAMED = re.compile(rf"\b{SLACK}([UW][A-Z0-9]+)")


def join(room: Room) -> None:
    """Bring the buttons of a step, and the forms of an answer and an undo."""
    room.on("block_actions", "approve", lambda heard: decide(heard, "approve"))
    room.on("block_actions", "deny", lambda heard: decide(heard, "deny"))
    room.on("block_actions", "not-me", not_me)
    room.on("block_actions", "answer", ask_answer)
    room.on("block_actions", "undo", ask_undo)
    room.on("view_submission", ANSWER, answered, answers=True)
    room.on("view_submission", UNDO, undone, answers=True)


def decide(heard: Heard, kind: str, **more: str) -> None:
    """Hand one decision in, and say what became of it. Raises DecisionRefused, with why, when it does not count."""
    ids = heard.value or heard.meta
    row, events = heard.incident(str(ids.get("i", "")))
    step, plan = str(ids.get("s", "")), str(ids.get("p", ""))
    body: dict[str, Any] = {**heard.vouched(), **more}
    try:
        new = heard.room.house.desk.submit(
            events=events, incident=row.id, step=step, kind=kind, by=heard.who, at=heard.now(row, events), body=body,
            plan=plan, sign=heard.room.house.attestor.sign,
        )  # fmt: skip
    except DecisionRefused as exc:
        raise DecisionRefused(mentions(str(exc)), reason=exc.reason) from None
    ask = next((one for one in reversed(open_asks(events)) if one.step == step), None)
    heard.ack()
    heard.say(f"{SAID[kind]} *{clip(step)}* {'is on record' if new else 'was on record already'}.{_more(kind, ask)}")


def _more(kind: str, ask: Ask | None) -> str:
    if kind != "approve" or ask is None or ask.needs < 2:
        return ""
    return f" {ask.needs} different people must agree."


def mentions(text: str) -> str:
    """A sentence with Slack's people shown as Slack shows them."""
    return _NAMED.sub(r"<@\1>", text)


def not_me(heard: Heard) -> None:
    """Somebody who was asked is not the right one: it stands on the timeline, and others go on being asked."""
    row, events = heard.incident(str(heard.value.get("i", "")))
    step = str(heard.value.get("s", ""))
    ask = next((one for one in reversed(open_asks(events)) if one.step == step), None)
    if ask is None:
        raise DecisionRefused(f"{step} waits for nobody any more", reason="late")
    if not heard.may(ask.group):
        raise DecisionRefused("you were not asked: you are not one of the responders who may decide this")
    heard.write(row, "not-me", events, {"by": heard.who, "of": step})
    heard.say(f"Noted: *{clip(step)}* is not yours to decide. The others go on being asked.")


# an answer ------------------------------------------------------------------------------------------------------------


def ask_answer(heard: Heard) -> None:
    """Open the form for a question that only a person can answer."""
    _row, events = heard.incident(str(heard.value.get("i", "")))
    step = str(heard.value.get("s", ""))
    ask = next((one for one in reversed(open_asks(events)) if one.step == step), None)
    if ask is None or ask.purpose != "answer":
        raise DecisionRefused(f"{step} waits for no answer any more", reason="late")
    heard.open(answer_form(heard, ask))


def answer_form(heard: Heard, ask: Ask) -> Payload:
    """The question, a field for words, and one for a new secret."""
    return {
        "type": "modal", "callback_id": ANSWER, "private_metadata": _ids(heard, ask.incident, ask.step, ask.plan_hash),
        "title": _plain("Answer"), "submit": _plain("Answer"), "close": _plain("Cancel"),
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": clip(ask.what, 2900)}},
            {"type": "input", "block_id": "text", "optional": True, "label": _plain("Your answer"),
             "element": {"type": "plain_text_input", "action_id": "answer_text", "multiline": True,
                         "max_length": 2000}},
            {"type": "input", "block_id": "secret", "optional": True, "label": _plain("Or a new secret"),
             "hint": _plain("Sealed at once and shown nowhere; it goes straight to where it is needed."),
             "element": {"type": "plain_text_input", "action_id": "answer_secret", "multiline": True}},
        ],
    }  # fmt: skip


def answered(heard: Heard) -> None:
    """Hand the answer in; a secret is sealed for the incident and its reference is the answer."""
    said, ids = plain(heard.field("answer_text")), heard.meta
    secret = heard.secret("answer_secret")
    if heard.field("answer_secret") and not secret:
        raise FormWrong({"secret": "The secret was forgotten before it was read; enter it again."})
    if not secret and MARKER.search(said):  # it was pasted into the other field
        secret = heard.room.border.restore(heard.owner, said)
    if not (secret or said):
        raise FormWrong({"text": "Say something, or enter the new secret."})
    _row, events = heard.incident(str(ids.get("i", "")))
    if str(ids.get("s", "")) not in [ask.step for ask in open_asks(events)]:
        raise FormWrong({"text": "This no longer waits for an answer."})
    text = heard.room.house.seal_answer(str(ids["i"]), str(ids["s"]), secret) if secret else said
    try:
        decide(heard, "answer", text=text)
    except (DecisionRefused, InputError) as exc:
        raise FormWrong({"text": str(exc)}) from None


# an undo --------------------------------------------------------------------------------------------------------------


def ask_undo(heard: Heard) -> None:
    """Ask why: an undo has its reason on the timeline."""
    ids = heard.value
    row, _events = heard.incident(str(ids.get("i", "")))
    step = str(ids.get("s", ""))
    heard.open({
        "type": "modal", "callback_id": UNDO, "private_metadata": _ids(heard, row.id, step, ""),
        "title": _plain("Take a step back"), "submit": _plain("Order the undo"), "close": _plain("Cancel"),
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": f"*{clip(step, 200)}* of `{row.id}` is taken back. "
             "Undoing a cut makes what leaked live again: two people are asked first."}},
            {"type": "input", "block_id": "reason", "label": _plain("Why?"),
             "element": {"type": "plain_text_input", "action_id": "reason", "max_length": 500}},
        ],
    })  # fmt: skip


def undone(heard: Heard) -> None:
    """Order the undo; its own approvals are asked in the card."""
    step, reason = str(heard.meta.get("s", "")), plain(heard.field("reason"))
    row, events = heard.incident(str(heard.meta.get("i", "")))
    if step not in [event.step for event in events if event.kind == "outcome"]:
        raise FormWrong({"reason": f"{step} has not been done, so there is nothing to take back."})
    try:
        new = heard.room.house.desk.order(
            incident=row.id, step=step, kind="undo", by=heard.who, at=heard.now(row, events), reason=reason,
            sign=heard.room.house.attestor.sign, said=heard.vouched(),
        )  # fmt: skip
    except (DecisionRefused, InputError) as exc:
        raise FormWrong({"reason": mentions(str(exc)).replace("--reason", "a reason")}) from None
    heard.ack()
    heard.say(f"{SAID['undo']} *{clip(step)}* {'is on record' if new else 'was on record already'}.")


def _ids(heard: Heard, incident: str, step: str, plan: str) -> str:
    return carried(c=heard.channel, i=incident, s=step, p=plan)


def _plain(text: str) -> Payload:
    return {"type": "plain_text", "text": text}
