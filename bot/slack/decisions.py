"""What people tell a running incident: buttons and forms in, decisions at the desk out. Nothing is decided here.

The groups that Slack says a person is in go into the decision, attested. A click that does not count is answered.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bot.engine.decisions import GLASS, Ask, open_asks
from bot.errors import DecisionRefused, InputError
from bot.signing import SLACK
from bot.slack import forms
from bot.slack.border import MARKER, plain
from bot.slack.commands import clip
from bot.slack.heard import FormWrong, Heard, carried
from bot.slack.payloads import Payload

if TYPE_CHECKING:
    from bot.slack.room import Room

ANSWER = "answer_form"
SAID = {
    "approve": "Your approval of", "deny": "Your no to", "answer": "Your answer to",
    GLASS: "Your word alone, in place of two, on",
}  # fmt: skip
_NAMED = re.compile(rf"\b{SLACK}([UW][A-Z0-9]+)")


def join(room: Room) -> None:
    """Bring the buttons of a step, and the form of an answer."""
    room.on("block_actions", "approve", lambda heard: decide(heard, "approve"))
    room.on("block_actions", "deny", lambda heard: decide(heard, "deny"))
    room.on("block_actions", "not-me", not_me)
    room.on("block_actions", "answer", ask_answer)
    room.on("view_submission", ANSWER, answered, answers=True)


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
    if kind == GLASS:
        return " It is told to everybody, and somebody else reviews it within a day."
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
    sealed = "Sealed at once and shown nowhere; it goes straight to where it is needed."
    secret = {"type": "plain_text_input", "action_id": "answer_secret", "multiline": True}
    blocks = [
        forms.said(clip(ask.what, 2900)),
        forms.field("text", "Your answer", {
            "type": "plain_text_input", "action_id": "answer_text", "multiline": True, "max_length": 2000,
        }) | {"optional": True},
        forms.field("secret", "Or a new secret", secret) | {"optional": True, "hint": forms.plain(sealed)},
    ]  # fmt: skip
    carries = carried(c=heard.channel, i=ask.incident, s=ask.step, p=ask.plan_hash)
    return forms.modal(ANSWER, "Answer", blocks, carries, submit="Answer")


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
