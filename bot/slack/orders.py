"""What nobody had asked for: a step is taken back, a row waived, an incident aborted. Each has its person and reason.

A form opens for whoever may; whether the order counts is the desk's to say, when it is handed in and when counted.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from bot.engine.ledger import Ledger, Row
from bot.errors import DecisionRefused, InputError
from bot.slack import forms
from bot.slack.commands import clip
from bot.slack.decisions import mentions
from bot.slack.heard import FormWrong, Heard, carried
from bot.slack.kit import code
from bot.slack.payloads import Payload
from bot.store import IncidentRow
from bot.timeline import Event

if TYPE_CHECKING:
    from bot.slack.room import Room

UNDO, ABORT, WAIVE = "undo_form", "abort_form", "waive_form"
ROW = "waive-row"  # the list of rows in the form
MOST = 500  # characters of a reason
OVER = "is over already, so there is nothing to stop or to waive"
SETTLED = "no row is open any more: each is proven dead, or waived already"


def join(room: Room) -> None:
    """Bring the buttons and forms of an undo, a waiver and an abort."""
    room.on("block_actions", "undo", ask_undo)
    room.on("view_submission", UNDO, undone, answers=True)
    room.on("block_actions", "abort", ask_abort)
    room.on("view_submission", ABORT, aborted, answers=True)
    room.on("block_actions", "waive", ask_waive)
    room.on("block_actions", ROW, chosen)
    room.on("view_submission", WAIVE, waived, answers=True)


def _order(heard: Heard, row: IncidentRow, events: list[Event], kind: str, step: str, done: str) -> None:
    """Hand an order in with the reason of the form, and say what became of it. Raises FormWrong with why not."""
    house = heard.room.house
    try:
        new = house.desk.order(
            incident=row.id, step=step, kind=kind, by=heard.who, at=heard.now(row, events),
            reason=heard.words("reason"), sign=house.attestor.sign, said=heard.vouched(),
        )  # fmt: skip
    except (DecisionRefused, InputError) as exc:
        raise FormWrong({"reason": mentions(str(exc)).replace("--reason", "a reason")}) from None
    heard.ack()
    heard.say(f"{done} {'is on record' if new else 'was on record already'}.")


def _reason(hint: str = "") -> Payload:
    return forms.words("reason", "Why?", MOST, hint=hint)


def _must(heard: Heard) -> None:
    """Whoever may not order is told so at once, instead of after having filled in a form."""
    if not heard.may("one"):
        raise DecisionRefused("you are not one of the responders; ask one of them", reason="wrong-person")


# an undo --------------------------------------------------------------------------------------------------------------


def ask_undo(heard: Heard) -> None:
    """Ask why: an undo has its reason on the timeline."""
    row, _events = heard.incident(str(heard.value.get("i", "")))
    step = str(heard.value.get("s", ""))
    what = forms.said(
        f"*{clip(step, 200)}* of `{row.id}` is taken back. "
        "Undoing a cut makes what leaked live again: two people are asked first."
    )
    carries = carried(c=heard.channel, i=row.id, s=step)
    heard.open(forms.modal(UNDO, "Take a step back", [what, _reason()], carries, submit="Order the undo"))


def undone(heard: Heard) -> None:
    """Order the undo; its own approvals are asked in the card."""
    step = str(heard.meta.get("s", ""))
    row, events = heard.incident(str(heard.meta.get("i", "")))
    if any(event.kind == "drill-ended" for event in events):
        raise FormWrong({"reason": "This drill is over and its company gone; there is nothing left to take back."})
    if step not in [event.step for event in events if event.kind == "outcome"]:
        raise FormWrong({"reason": f"{step} has not been done, so there is nothing to take back."})
    _order(heard, row, events, "undo", step, f"Your order to undo *{clip(step)}*")


# an abort -------------------------------------------------------------------------------------------------------------


def ask_abort(heard: Heard) -> None:
    """Say what an abort leaves, and ask why."""
    row, events = heard.incident(str(heard.value.get("i", "")))
    _must(heard)
    _going(row)
    alive = len(open_rows(events))
    left = f" *{alive} of its credentials are not proven dead.*" if alive else ""
    what = forms.said(
        f"No new step of {code(row.id, 100)} begins. What was done stands, and nothing is taken back.{left} "
        "Whoever holds them can go on using them. It cannot be begun again: report the leak anew for that."
    )
    carries = carried(c=heard.channel, i=row.id)
    heard.open(forms.modal(ABORT, "Abort the incident", [what, _reason()], carries, submit="Abort it"))


def aborted(heard: Heard) -> None:
    """Order that no new step begins."""
    row, events = heard.incident(str(heard.meta.get("i", "")))
    if row.status != "open":
        raise FormWrong({"reason": f"{row.id} {OVER}."})
    _order(heard, row, events, "abort", "incident", f"Your order to abort {code(row.id, 100)}")


def _going(row: IncidentRow) -> None:
    if row.status != "open":
        raise DecisionRefused(f"{row.id} {OVER}", reason="late")


# a waiver -------------------------------------------------------------------------------------------------------------


def ask_waive(heard: Heard) -> None:
    """Ask which row; where there is one only, ask for the reason at once."""
    row, events = heard.incident(str(heard.value.get("i", "")))
    _must(heard)
    _going(row)
    left = open_rows(events)
    if not left:
        raise DecisionRefused(f"{row.id}: {SETTLED}", reason="late")
    heard.open(_sure(heard, row, left[0]) if len(left) == 1 else _which(heard, row, left))


def _which(heard: Heard, row: IncidentRow, left: list[Row]) -> Payload:
    choices = {named(one.key): f"{one.key}: {one.state.value.replace('_', ' ')}" for one in left}
    ask = forms.said(f"Which credential of {code(row.id, 100)} do you close on your word, without proof?")
    pick = {"type": "static_select", "action_id": ROW, "placeholder": forms.plain("A credential that is not settled"),
            "options": forms.options(choices)}  # fmt: skip
    blocks: list[Payload] = [ask, {"type": "actions", "block_id": ROW, "elements": [pick]}]
    if len(left) > 100:
        more = f"The first 100 of {len(left)}; `bulkhead incident waive` takes any of them."
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": more}]})
    return forms.modal(WAIVE, "Waive a row", blocks, carried(c=heard.channel, i=row.id))


def _sure(heard: Heard, row: IncidentRow, one: Row) -> Payload:
    """What is waived is said again before it counts."""
    state = one.state.value.replace("_", " ")
    what = forms.said(
        f"{code(one.key, 300)} is *{state}*. Waived, it counts as closed: *nobody has proven that it is dead*, and "
        "your name stays on it. Nothing is cut by this."
    )
    carries = carried(c=heard.channel, i=row.id, s=named(one.key))
    reason = _reason("What makes you sure? It stands on the timeline and on the card.")
    return forms.modal(WAIVE, "Waive a row", [what, reason], carries, submit="Waive it")


def chosen(heard: Heard) -> None:
    """A row was chosen: the same form goes on with it."""
    picked = str((heard.action.get("selected_option") or {}).get("value", ""))
    row, events = heard.incident(str(heard.meta.get("i", "")))
    found = next((one for one in open_rows(events) if named(one.key) == picked), None)
    if found is None:
        raise DecisionRefused("that row is settled by now", reason="late")
    heard.update(str(heard.view.get("id", "")), _sure(heard, row, found))


def waived(heard: Heard) -> None:
    """Order the waiver."""
    row, events = heard.incident(str(heard.meta.get("i", "")))
    found = next((one for one in open_rows(events) if named(one.key) == heard.meta.get("s")), None)
    if row.status != "open":
        raise FormWrong({"reason": f"{row.id} {OVER}."})
    if found is None:
        raise FormWrong({"reason": "This row is settled by now: it is proven dead, or waived already."})
    _order(heard, row, events, "waive", found.key, f"Your waiver of {code(found.key, 200)}")


def open_rows(events: list[Event]) -> list[Row]:
    return [one for one in Ledger.fold(events).rows.values() if not one.settled]


def named(key: str) -> str:
    """A row in a form: its key may be longer than Slack lets a choice carry."""
    return sha256(key.encode()).hexdigest()[:16]
