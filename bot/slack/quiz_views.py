"""The quiz as Slack shows it: a question in a form of its own, and at once what is said to the answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bot.learn.metrics import TOTAL
from bot.learn.trends import Trend
from bot.lessons.quiz import Answered, Put
from bot.slack import forms, kit
from bot.slack.card import Posting
from bot.slack.kit import Block
from bot.slack.payloads import Payload

ASK, NEXT = "quiz_form", "quiz_next"  # callback ids
OPTION, SURE = "quiz_option", "quiz_sure"  # blocks and fields
OPEN, SKIP, WEEKLY = "quiz", "quiz-skip", "quiz-weekly"  # buttons
TRENDS = 3  # months in a home
HOW_SURE = {"yes": "I am sure", "no": "It is a guess"}


def question(put: Put, place: tuple[int, int], carries: str) -> Payload:
    """The form of a question. ``place``: which it is, of how many."""
    options = forms.options(dict(put.options))
    sure = forms.options(HOW_SURE)
    blocks = [
        kit.context(f"Question {place[0]} of {place[1]}. Only you see it. Close it to leave it for later."),
        kit.section(f"*{kit.escape(put.question.ask)}*"),
        forms.field(OPTION, "The best of these", {"type": "radio_buttons", "action_id": OPTION, "options": options}),
        forms.field(SURE, "How sure are you?", {"type": "radio_buttons", "action_id": SURE, "options": sure}),
    ]  # fmt: skip
    return forms.modal(ASK, "Check yourself", blocks, carries, submit="Answer")


def told(answered: Answered, carries: str, *, more: bool) -> Payload:
    """What is said to an answer: why the chosen one tempts, the best one, the note, and when it comes back."""
    graded, put = answered.graded, answered.put
    head = ":white_check_mark: *Right.*" if graded.right else ":x: *Not the best one.*"
    lines = [kit.section(f"{head} {kit.escape(graded.feedback)}".strip())]
    if not graded.right:
        lines.append(kit.section(f"*Best:* {kit.escape(graded.best)}"))
        if answered.sure:
            lines.append(kit.context("You were sure, so this one is worth a second look."))
    lines += [
        kit.section(f"*Coach note:* {kit.escape(graded.coach)}"),
        kit.context(f"Source: {kit.escape(put.question.source)}"),
    ]
    small = []
    if answered.again:
        small.append("It was answered before; the first answer stands.")
    if answered.back:
        small.append(f"It comes back from {answered.back:%Y-%m-%d}.")
    if small:
        lines.append(kit.context(*small))
    if not more:
        lines.append(kit.section("That was all for now."))
    shown = [kit.section(f"*{kit.escape(put.question.ask)}*"), *lines]
    return forms.modal(NEXT, "Check yourself", shown, carries, submit="Next question" if more else "")


def weekly(put: Put, *, back: bool) -> list[Block]:
    """The direct message to whoever wants a question a week."""
    value = kit.value_of("", put.asked)
    why = "One that you missed is back." if back else "Your question of the week."
    return [
        kit.section(f":mortar_board: {why} It takes a minute, and you may skip it.\n*{kit.escape(put.question.ask)}*"),
        kit.actions(
            kit.button("Answer", OPEN, value, style="primary"), kit.button("Skip", SKIP, value),
            kit.button("No more of these", WEEKLY, kit.value_of("off")),
        ),
    ]  # fmt: skip


def message(put: Put, *, back: bool) -> Posting:
    """The same as a message."""
    text = kit.clip(f"A question: {kit.escape(put.question.ask)}", 300)
    meta = {"event_type": "bulkhead_quiz", "event_payload": {"asked": put.asked}}
    return Posting(blocks=weekly(put, back=back), text=text, metadata=meta)


def trend(rows: Sequence[Trend], team: str) -> list[Block]:
    """How a team trains, month by month, the newest first; nothing where fewer than five people have."""
    mine = [one for one in rows if one.team == (team or TOTAL)][:TRENDS]
    lines = []
    for one in mine:
        parts = []
        if one.drills:
            parts.append(f"drills {one.drills.score:g} of 100 ({one.drills.n}, {one.drills.people} people)")
        if one.quiz:
            parts.append(f"quiz {one.quiz.right:.0%} right ({one.quiz.n} answers, {one.quiz.people} people)")
        lines.append(f"{one.month}: {', '.join(parts)}")
    who = f"of {kit.escape(team)}" if team else "of everybody"
    return [kit.context(kit.clip(f":chart_with_upwards_trend: Training {who}. " + " · ".join(lines)))] if lines else []


def home(back: int, *, subscribed: bool) -> list[Block]:
    """What stands in somebody's home."""
    many = f"{back} questions that you missed are back" if back > 1 else "A question that you missed is back"
    waits = f"*{many}.*" if back else ""
    word, value = ("Once a week: stop", "off") if subscribed else ("One a week, please", "on")
    return [
        kit.divider(), kit.section(f":mortar_board: *Check yourself* {waits}".strip()),
        kit.actions(kit.button("A question", OPEN, kit.value_of("", "self")),
                    kit.button(word, WEEKLY, kit.value_of(value))),
    ]  # fmt: skip
