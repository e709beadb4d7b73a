"""Who leads, how bad it is, what was done by hand, and whether the likely owner did it. All of it onto the timeline.

What is written here is told, not decided: no step waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.engine.policy import LEVELS
from bot.errors import DecisionRefused, InputError
from bot.signing import SLACK
from bot.slack import forms
from bot.slack.border import plain
from bot.slack.commands import clip
from bot.slack.heard import FormWrong, Heard, carried
from bot.store import IncidentRow
from bot.timeline import Event

if TYPE_CHECKING:
    from bot.slack.room import Room

HAND_OVER, SEVERITY = "hand_over_form", "severity_form"
LEAD = "lead"
MOST = 2000  # characters of a note


def join(room: Room) -> None:
    """Bring the buttons and forms of roles and severity, the owner's answer, and the words note and update."""
    room.on("block_actions", "claim", claim)
    room.on("block_actions", "hand-over", ask_hand_over)
    room.on("view_submission", HAND_OVER, handed_over, answers=True)
    room.on("block_actions", "severity", ask_severity)
    room.on("view_submission", SEVERITY, severity_said, answers=True)
    room.on("block_actions", "was-me-yes", lambda heard: was_me(heard, "yes"))
    room.on("block_actions", "was-me-no", lambda heard: was_me(heard, "no"))
    room.commands.add("note", "[INCIDENT] TEXT", "put on the timeline what you did by hand", note)
    room.commands.add("update", "[INCIDENT] TEXT", "tell everybody who follows how it stands", update)


def _must(heard: Heard, posture: str) -> None:
    if not heard.may(posture):
        raise DecisionRefused("you are not one of the responders; ask one of them", reason="wrong-person")


# who leads ------------------------------------------------------------------------------------------------------------


def claim(heard: Heard) -> None:
    """The person leads from now on."""
    row, events = heard.incident(str(heard.value.get("i", "")))
    _must(heard, LEAD)
    heard.write(row, "role", events, {"role": LEAD, "who": heard.who, "by": heard.who})
    heard.say(f"You lead `{row.id}` now.")


def ask_hand_over(heard: Heard) -> None:
    """Ask to whom."""
    row, _events = heard.incident(str(heard.value.get("i", "")))
    _must(heard, LEAD)
    pick = {"type": "users_select", "action_id": "who", "placeholder": forms.plain("One of the responders")}
    blocks = [forms.field("who", "Who leads from now on?", pick)]
    heard.open(forms.modal(HAND_OVER, "Hand over", blocks, carried(c=heard.channel, i=row.id), submit="Hand over"))


def handed_over(heard: Heard) -> None:
    """The chosen person leads, if they are one of those who may."""
    row, events = heard.incident(str(heard.meta.get("i", "")))
    chosen, room = heard.field("who"), heard.room
    if not heard.may(LEAD):
        raise FormWrong({"who": "You are not one of the responders, so there is nothing for you to hand over."})
    there = {"groups": room.groups.of(chosen)} if chosen else {}
    if not chosen or not room.house.rules.may(f"{SLACK}{chosen}", LEAD, there):
        raise FormWrong({"who": "They are not one of the responders; choose somebody who is."})
    heard.write(row, "role", events, {"role": LEAD, "who": f"{SLACK}{chosen}", "by": heard.who})
    heard.ack()
    heard.say(f"<@{chosen}> leads `{row.id}` now.")


# how bad it is --------------------------------------------------------------------------------------------------------


def ask_severity(heard: Heard) -> None:
    """Ask for the level and the reason."""
    row, _events = heard.incident(str(heard.value.get("i", "")))
    _must(heard, LEAD)
    levels = forms.options({level: level for level in LEVELS})
    pick = {"type": "static_select", "action_id": "level", "options": levels}
    blocks = [forms.field("level", "How bad is it?", pick), forms.words("why", "Why?", 500)]
    heard.open(forms.modal(SEVERITY, "Severity", blocks, carried(c=heard.channel, i=row.id), submit="Set"))


def severity_said(heard: Heard) -> None:
    """A named person's word on the severity stands over the policy's."""
    row, events = heard.incident(str(heard.meta.get("i", "")))
    level, why = heard.field("level"), plain(heard.field("why"))
    if not heard.may(LEAD):
        raise FormWrong({"level": "You are not one of the responders; ask one of them."})
    if level not in LEVELS:
        raise FormWrong({"level": f"Choose one of {', '.join(LEVELS)}."})
    heard.write(row, "severity", events, {"level": level, "by": heard.who, "reason": why})
    heard.ack()
    heard.say(f"`{row.id}` is {level} now.")


# was it you? ----------------------------------------------------------------------------------------------------------


def was_me(heard: Heard, said: str) -> None:
    """The likely owner's answer. Only whoever was asked gives it, or a responder who has asked them."""
    row, events = heard.incident(str(heard.value.get("i", "")))
    asked = str(heard.value.get("u", ""))
    if heard.user != asked:
        _must(heard, "one")
    heard.write(row, "owner-answer", events, {"said": said, "by": heard.who})
    heard.say("Thank you, it is on record. " + (
        "The credential is out all the same, so containing it goes on." if said == "yes" else
        "Whoever is in charge sees it now. Please stay within reach."
    ))  # fmt: skip


# words ----------------------------------------------------------------------------------------------------------------


def note(heard: Heard, text: str) -> None:
    """What somebody has done by hand."""
    _word(heard, text, act=True)


def update(heard: Heard, text: str) -> None:
    """How it stands, for everybody who follows."""
    _word(heard, text, act=False)


def _word(heard: Heard, text: str, *, act: bool) -> None:
    row, events, said = which(heard, text)
    if not said:
        raise InputError("say what; it goes onto the timeline as you write it")
    if len(said) > MOST:
        raise InputError(f"that is longer than {MOST} characters; say it shorter, or in several")
    if not (heard.may("one") or heard.who == row.body["report"]["by"]):
        raise DecisionRefused("you are not one of the responders of this incident", reason="wrong-person")
    heard.write(row, "note", events, {"by": heard.who, "text": said, "act": act})
    heard.say(f"On the timeline of `{row.id}`: {clip(said, 300)}")


def which(heard: Heard, text: str) -> tuple[IncidentRow, list[Event], str]:
    """The incident that a command means, and the rest of its text; without an id, the one that is open.

    Raises InputError, listing what there is, when that is not one.
    """
    store = heard.room.house.store
    first, _, rest = text.partition(" ")
    named = first.startswith("inc-")
    rows = [row for row in store.incidents() if (row.id.startswith(first) if named else row.status == "open")]
    exact = [row for row in rows if row.id == first]
    if len(exact or rows) != 1:
        found = ", ".join(f"`{row.id}`" for row in rows[-8:]) or "none"
        raise InputError(f"say which incident, by its id; {'these begin so' if named else 'open now'}: {found}")
    row, events = heard.incident((exact or rows)[0].id)
    return row, events, rest.strip() if named else text.strip()
