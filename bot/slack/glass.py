"""Break-glass: where two must agree and one is awake, one person's word, told at once and reviewed by another.

The rules are the desk's, as at the command line: never for an undo, once an hour a person, not by whoever reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.engine.decisions import GLASS, Review, open_asks, reviews_due, sign_off
from bot.errors import DecisionRefused, InputError
from bot.slack import forms, names
from bot.slack.commands import clip
from bot.slack.decisions import decide, mentions
from bot.slack.heard import FormWrong, Heard, carried
from bot.slack.kit import code, escape, moment
from bot.store import when
from bot.timeline import Event

if TYPE_CHECKING:
    from bot.slack.room import Room

BREAK, REVIEW = "glass_form", "review_form"
MOST = 500  # characters


def join(room: Room) -> None:
    """Bring the buttons and forms of a break-glass and of its review."""
    room.on("block_actions", GLASS, ask_glass)
    room.on("view_submission", BREAK, broken, answers=True)
    room.on("block_actions", "review", ask_review)
    room.on("view_submission", REVIEW, reviewed, answers=True)


def ask_glass(heard: Heard) -> None:
    """Say what it means, and ask why nobody else can be waited for."""
    row, events = heard.incident(str(heard.value.get("i", "")))
    step = str(heard.value.get("s", ""))
    ask = next((one for one in reversed(open_asks(events)) if one.step == step), None)
    if ask is None:
        raise DecisionRefused(f"{step} waits for nobody any more", reason="late")
    if not heard.may(ask.group):
        raise DecisionRefused("you are not one of those who may decide this; ask one of them", reason="wrong-person")
    blocks = [
        forms.said(f"*{clip(step, 200)}* of {code(row.id, 100)}: {clip(ask.what, 1500)}"),
        forms.said(
            "Two people must agree to this. With your word alone it *begins at once*. It is told to everybody, and "
            "somebody else has to review it within a day. You can do this once an hour."
        ),
        forms.words("reason", "Why can it not wait for a second person?", MOST),
    ]
    carries = carried(c=heard.channel, i=row.id, s=step, p=str(heard.value.get("p", "")))
    heard.open(forms.modal(BREAK, "Break the glass", blocks, carries, submit="Decide alone"))


def broken(heard: Heard) -> None:
    """One person's word for two."""
    try:
        decide(heard, GLASS, reason=heard.words("reason"))
    except (DecisionRefused, InputError) as exc:
        raise FormWrong({"reason": str(exc).replace("--break-glass needs --reason", "it needs a reason")}) from None


def ask_review(heard: Heard) -> None:
    """Show what was decided alone, and ask what the second person has found."""
    _row, events = heard.incident(str(heard.value.get("i", "")))
    due = _due(heard.value, events)
    if due is None:
        raise DecisionRefused(_settled(heard.value, events), reason="late")
    if due.by == heard.who:
        raise DecisionRefused("you broke this glass yourself, so somebody else reviews it", reason="requester")
    if not heard.may("two"):
        raise DecisionRefused("you are not one of those who may review this; ask one of them", reason="wrong-person")
    blocks = [
        forms.said(
            f"{names.display(due.by)} decided alone on *{clip(due.step, 200)}* of {code(due.incident, 100)}:\n"
            f"> {escape(due.reason)[:1500]}\nReview it until {moment(when(due.due))}: was it right, and was it needed?"
        ),
        forms.words("found", "What did you find?", MOST, optional=True, many=True),
    ]
    carries = carried(c=heard.channel, i=due.incident, s=due.step, a=str(due.attempt))
    heard.open(forms.modal(REVIEW, "Review", blocks, carries, submit="Reviewed"))


def reviewed(heard: Heard) -> None:
    """The second person's word that they have looked at it."""
    row, events = heard.incident(str(heard.meta.get("i", "")))
    due, house = _due(heard.meta, events), heard.room.house
    if due is None:
        raise FormWrong({"found": mentions(_settled(heard.meta, events))})
    try:
        sign_off(
            house.desk, house.timeline, due, by=heard.who, at=heard.now(row, events),
            text=heard.words("found"), sign=house.attestor.sign, said=heard.vouched(),
        )  # fmt: skip
    except (DecisionRefused, InputError) as exc:
        raise FormWrong({"found": mentions(str(exc))}) from None
    heard.ack()
    heard.say(f"The break-glass of {names.display(due.by)} on *{clip(due.step)}* is reviewed by you.")


def _due(ids: dict[str, object], events: list[Event]) -> Review | None:
    wanted = str(ids.get("s", "")), str(ids.get("a", ""))
    return next((one for one in reviews_due(events) if (one.step, str(one.attempt)) == wanted), None)


def _settled(ids: dict[str, object], events: list[Event]) -> str:
    """Why there is nothing to review: who has done it, if somebody has."""
    step, attempt = str(ids.get("s", "")), str(ids.get("a", ""))
    done = [e for e in events if e.kind == "reviewed" and e.body and (e.step, str(e.attempt)) == (step, attempt)]
    return f"{step} was reviewed already by {done[-1].body['by']}" if done else f"{step} waits for no review"
