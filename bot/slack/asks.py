"""A question to people, as blocks: what, why, what breaks, whether it can be undone, who must agree until when."""

from __future__ import annotations

from typing import Any

from bot.engine.decisions import GLASS, Ask, Review
from bot.slack import kit, names
from bot.slack.kit import Block
from bot.slack.picture import Picture
from bot.store import when
from bot.timeline import Event

SILENCE = {"act": "then it goes ahead by itself", "escalate": "then more people are told"}
MANY = {1: "One person", 2: "Two different people"}
BY_HAND = "people.rotate_by_hand"


def ask_blocks(picture: Picture, ask: Ask, *, countdown: bool = True) -> list[Block]:
    """An open question: a paragraph, small print, buttons. Three blocks at most.

    Without ``countdown`` it stays as it is until it is settled.
    """
    small = small_print(picture, ask, countdown=countdown)
    buttons = _buttons(picture, ask)
    return [kit.section(question(picture, ask)), kit.context(*small), *([kit.actions(*buttons)] if buttons else [])]


def question(picture: Picture, ask: Ask) -> str:
    """What is asked, in one paragraph; a person's own step with the link to where they do it."""
    look = picture.look_of(ask.step)
    before = look.get("before") or {}
    step = f":raising_hand: *{kit.escape(ask.step)}*"
    if ask.purpose != "answer":
        return f"{step}: {kit.escape(ask.what)}"
    who = f" for {names.display(str(before['who']))}" if before.get("who") else ""
    where = f"\n{kit.link(str(before['link']), 'Open the page where it is done')}" if before.get("link") else ""
    text = kit.clip(kit.escape(before.get("text") or ask.what), 2400)
    choices = ", ".join(kit.escape(choice) for choice in before.get("choices") or ())
    return f"{step}{who}: {text}{where}" + (f"\nAnswers: {kit.clip(choices, 400)}" if choices else "")


def small_print(picture: Picture, ask: Ask, *, countdown: bool = True) -> list[str]:
    """Why, what breaks, whether there is a way back, and who must agree until when: a line each."""
    lines = [f"*Why:* {kit.clip(kit.escape(ask.why), 600)}"]
    if ask.purpose not in ("answer", "undo"):
        lines += [_breaks(picture, ask), _way_back(picture, ask)]
    lines.append(_deadline(picture, ask, countdown=countdown))
    agreed = picture.agreed(ask)
    if agreed and ask.needs > len(agreed):
        lines.append(f"*Yes so far:* {', '.join(map(names.display, agreed))}; {ask.needs - len(agreed)} more needed")
    return lines


def _breaks(picture: Picture, ask: Ask) -> str:
    breaks = picture.look_of(ask.step).get("breaks") or {"unknown": True, "stops": []}
    if breaks["unknown"]:
        return "*Breaks:* could not be found out"
    stops = "; ".join(kit.escape(one) for one in breaks["stops"])
    return f"*Breaks:* {kit.clip(stops, 600) or 'nothing that is known'}"


def reversible(picture: Picture, ask: Ask) -> bool:
    """Whether what is asked can be taken back."""
    return bool(picture.asked[ask.step, ask.attempt].body.get("undo")) and ask.purpose != "undo"


def _way_back(picture: Picture, ask: Ask) -> str:
    if reversible(picture, ask):
        return "*Can be undone*"
    why = kit.clip(kit.escape(picture.look_of(ask.step).get("undo") or ""), 300)
    return "*Cannot be undone*" + (f": {why}" if why else "")


def _deadline(picture: Picture, ask: Ask, *, countdown: bool) -> str:
    who = "Whoever knows" if ask.purpose == "answer" else f"{MANY.get(ask.needs, str(ask.needs))} must agree"
    if not ask.expires_at:
        return f"*{who}.* It waits"
    until = when(ask.expires_at)
    if until <= picture.now and countdown:
        return f"*{who}.* The time for it ended {kit.moment(until)}; it still waits"
    then = SILENCE.get(ask.on_silence, "then it goes on waiting")
    left = f" (*{kit.left(until, picture.now)} left*)" if countdown else ""
    return f"*{who}* until {kit.moment(until)}{left}, {then}"


def _buttons(picture: Picture, ask: Ask) -> list[Block]:
    value = kit.value_of(ask.incident, ask.step, ask.plan_hash, ask.attempt)
    if not value:
        return []
    not_me = kit.button("Not me", "not-me", value)
    if ask.purpose == "answer":
        return [kit.button("Answer", "answer", value, style="primary"), not_me]
    words = "Try again" if ask.purpose == "failure" else "Approve"
    sure = None
    if not reversible(picture, ask):
        title = "This makes the leak live again" if ask.purpose == "undo" else "This cannot be undone"
        sure = kit.confirm(title, f"{picture.row.id}, {ask.step}: {ask.what}", words)
    deny = "Give up" if ask.purpose == "failure" else "Deny"
    return [
        kit.button(words, "approve", value, style="primary", ask=sure),
        kit.button(deny, "deny", value, style="danger"), not_me, *_glass(picture, ask, value),
    ]  # fmt: skip


def _glass(picture: Picture, ask: Ask, value: str) -> list[Block]:
    """Where two must agree and only one is awake. An undo makes the leak live again and waits for two."""
    if ask.needs != 2 or ask.purpose == "undo":
        return []
    sure = kit.confirm("Your word in place of two?", f"{picture.row.id}, {ask.step}: {ask.what}", "I am alone")
    return [kit.button("Break the glass", GLASS, value, ask=sure)]


def review_block(picture: Picture, due: Review) -> Block:
    """A decision of one person in place of two, which somebody else has yet to look at."""
    text = (
        f":rotating_light: *{kit.escape(due.step)}*: {names.display(due.by)} decided alone, in place of two: "
        f"{kit.clip(kit.escape(due.reason), 300)}. Somebody else reviews it until {kit.moment(when(due.due))}"
    )
    value = kit.value_of(picture.row.id, due.step, attempt=due.attempt)
    return kit.section(text, kit.button("Review", "review", value) if value else None)


def settled_line(picture: Picture, asked: Event, decided: Event) -> str:
    """What has become of a question. A person's step turns green when the world has proven it."""
    body, step = decided.body, kit.escape(asked.step)
    by = f" by {', '.join(map(names.display, body['by']))}" if body["by"] else ""
    proof = picture.proofs.get(asked.step)
    if asked.body["purpose"] == "answer" and body["go"]:
        return _answered(picture, asked, body, by, proof)
    mark = ":white_check_mark:" if body["go"] else ":no_entry:"
    return f"{mark} *{step}*: {kit.escape(body['said'])}{by}, {kit.moment(when(decided.at))}"


def _answered(picture: Picture, asked: Event, body: dict[str, Any], by: str, proof: Event | None) -> str:
    step = kit.escape(asked.step)
    handed = picture.look_of(asked.step).get("uses") == BY_HAND
    said = "a new value was handed in" if handed else kit.clip(kit.escape(body.get("answer") or body["said"]), 600)
    if proof is None:
        return f":hourglass_flowing_sand: *{step}*: {said}{by}; it is being looked at"
    if proof.body["verdict"] == "proven":
        detail = kit.clip(kit.escape(proof.body["detail"]), 600)
        return f":large_green_circle: *{step}*: {said}{by}; proven [{proof.body['grade']}]: {detail}"
    return f":red_circle: *{step}*: {said}{by}; not proven: {kit.clip(kit.escape(proof.body['detail']), 600)}"
