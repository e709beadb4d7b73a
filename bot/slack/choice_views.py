"""A drill's choices as Slack shows them: lines of a thread or of somebody's home, and the form of an answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bot.choices import BEST, HARMFUL
from bot.classroom import ALERT, LONGEST_S, PUT, SCORED, open_put
from bot.scenario import Drill
from bot.slack import forms, kit, names
from bot.slack.card import DRILL_BANNER, Posting
from bot.slack.kit import Block
from bot.slack.payloads import Payload
from bot.store_drills import FAILED, ORDERED, OVER, Line, Order

CHOOSE, ALONE_BUTTON = "drill-choose", "drill-alone"  # buttons
FORM, PICK = "drill_choice_form", "drill_pick_form"  # callback ids
OPTION, SURE, NAME = "drill_option", "drill_sure", "drill_name"  # blocks and fields
HOW_SURE = {"yes": "I am sure", "no": "It is a guess"}
MARKS = {BEST: ":white_check_mark:", HARMFUL: ":x:"}
LETTERS = "ABCDEF"
SHOWN = 12  # lines of a drill in a home


def message(order: Order, line: Line) -> Posting:
    """One line as a message of the thread; a question has its button while it waits."""
    text = f"DRILL {kit.escape(order.drill)}: {_short(line)}"
    meta = {"event_type": "bulkhead_drill", "event_payload": {"order": order.id, "what": line.kind}}
    blocks = [kit.context(f":construction: *{DRILL_BANNER}*"), *_blocks(order, line)]
    return Posting(blocks=blocks[: kit.BLOCKS], text=kit.clip(text, 300), metadata=meta)


def reminder(order: Order, line: Line, who: Sequence[str], waited: str) -> Posting:
    """The call to those who may answer a question that waits; ``who``: mentions."""
    question = kit.escape(line.body["question"])
    hours = f"{LONGEST_S / 3600:.0f} hours"
    said = f"this question has waited {waited} for an answer: {question} A drill that nobody brings to its end ends by "
    text = " ".join(["*DRILL*", ":bell:", *who, f"{said}itself after {hours}."])
    meta = {"event_type": "bulkhead_drill", "event_payload": {"order": order.id, "what": "reminder"}}
    return Posting(blocks=[kit.section(kit.clip(text))], text=kit.clip(text, 300), metadata=meta)


def _short(line: Line) -> str:
    what = {PUT: "what do you do?", ALERT: "it begins", SCORED: "the score"}
    return what.get(line.kind, line.kind)


def _blocks(order: Order, line: Line) -> list[Block]:
    body = line.body
    if line.kind == ALERT:
        said = f":rotating_light: *{kit.escape(body['by'])}* reports: {kit.escape(body['text'])}"
        head = f"*{kit.escape(body['title'])}*\n{kit.escape(body['briefing'])}"
        return [kit.section(kit.clip(head)), kit.section(kit.clip(said)), *_sent(body["payloads"])]
    if line.kind == PUT:
        return _put(order, line)
    if line.kind == SCORED:
        return _scored(body)
    if line.kind == "inject":
        return [kit.section(f":speech_balloon: {kit.escape(body['text'])}")]
    if line.kind == "chosen":
        mark = MARKS.get(body["grade"], ":large_yellow_circle:")
        grade = f"*{kit.escape(body['grade'].capitalize())}.*"
        return [kit.section(f"{mark} {grade} {kit.escape(body['option'])}\n{kit.escape(body['because'])}")]
    mark = ":boom:" if line.kind == "consequence" else ":adhesive_bandage:"
    return [kit.section(kit.clip(f"{mark} " + " ".join(kit.escape(text) for text in body["story"])))]


def _sent(payloads: dict[str, str]) -> list[Block]:
    """What scanners send, in lines as they are, each of them no markup."""
    blocks = []
    for name, text in payloads.items():
        rows = "\n".join(f"{' ' * (len(row) - len(row.lstrip()))}{kit.escape(row)}" for row in text.splitlines())
        blocks += [kit.context(f"What {kit.escape(name)} sends:"), kit.section(f"```{kit.clip(rows, 2900)}```")]
    return blocks


def _put(order: Order, line: Line) -> list[Block]:
    again = "That did harm. What now? " if line.body["again"] else ""
    options = line.body["options"]
    blocks = [kit.section(f":thinking_face: *{again}{kit.escape(line.body['question'])}*"), *_options(options)]
    if line.answer:
        letter = LETTERS[list(options).index(line.answer["option"])]
        sure = "sure of it" if line.answer["sure"] else "as a guess"
        return [*blocks, kit.context(f"{names.display(line.answer['by'])} has said {letter}, {sure}.")]
    if order.state in (OVER, FAILED):
        return [*blocks, kit.context("Nobody has answered it.")]
    value = kit.value_of(order.id, line.name)
    return [*blocks, kit.actions(kit.button("Answer", CHOOSE, value, style="primary"))]


def _options(options: dict[str, str]) -> list[Block]:
    lines = [f"*{letter}*  {kit.escape(say)}" for letter, say in zip(LETTERS, options.values(), strict=False)]
    return kit.sections(lines)


def _scored(body: dict[str, Any]) -> list[Block]:
    time = "not measured" if body["time"] is None else f"{body['time']:.0%}"
    parts = f"Choices {body['choices']:.0%} (counts half), time {time} (30 %), record {body['record']:.0%} (20 %)."
    lines = [f":checkered_flag: *Score: {body['total']} of 100.* {parts}"]
    if body["sure_and_wrong"]:
        lines.append(f"Sure, and harmful: {body['sure_and_wrong']}. What one is sure of is looked up last.")
    lines += [
        f":black_small_square: {kit.escape(one['title'])} ({names.display(one['owner'])})" for one in body["findings"]
    ]
    if body["truth"].strip():
        lines.append(f"*What was really so:* {kit.escape(body['truth'])}")
    return kit.sections(lines)


def form(line: Line, carries: str) -> Payload:
    """The form of an answer: the options as letters, since Slack shows no more than a few words of each."""
    options = line.body["options"]
    letters = forms.options({name: letter for letter, name in zip(LETTERS, options, strict=False)})
    sure = forms.options(HOW_SURE)
    blocks = [
        kit.section(f"*{kit.escape(line.body['question'])}*"), *_options(options),
        forms.field(OPTION, "What do you do?", {"type": "radio_buttons", "action_id": OPTION, "options": letters}),
        forms.field(SURE, "How sure are you?", {"type": "radio_buttons", "action_id": SURE, "options": sure}),
    ]  # fmt: skip
    return forms.modal(FORM, "Drill: your choice", blocks, carries, submit="Choose")


def pick(drills: Sequence[Drill], carries: str) -> Payload:
    """The form in which somebody picks a drill to train alone."""
    element = {
        "type": "static_select", "action_id": NAME, "placeholder": forms.plain("A drill"),
        "options": forms.options({one.id: one.title for one in drills}),
    }  # fmt: skip
    blocks = [
        kit.section(
            "A small company of its own is started for you. You decide, simulated colleagues agree to the steps, and "
            "nothing real is touched. It takes some minutes, and goes on in your home."
        ),
        forms.field(NAME, "Which one?", element),
    ]
    return forms.modal(PICK, "Train alone", blocks, carries, submit="Begin")


def home(order: Order | None, lines: Sequence[Line]) -> list[Block]:
    """What stands in somebody's home of the drill that they do alone: what was told, and what waits for them."""
    blocks = [kit.divider(), kit.section(":dart: *Train alone*")]
    if order is None:
        return [*blocks, kit.actions(kit.button("A drill for me", ALONE_BUTTON, kit.value_of("", "alone")))]
    blocks.append(kit.context(f":construction: *{DRILL_BANNER}* {kit.code(order.drill)}"))
    if not lines and order.state not in (OVER, FAILED):
        said = "its turn comes" if order.state == ORDERED else "the company is being started"
        blocks.append(kit.section(f"Noted: {said}."))
    for line in lines[-SHOWN:]:
        blocks += _blocks(order, line)
    if order.state in (OVER, FAILED):
        end = "It is over." if order.state == OVER else f"It has ended without a result: {kit.escape(order.note)}"
        blocks.append(kit.context(kit.clip(end, 600)))
        blocks.append(kit.actions(kit.button("Another drill", ALONE_BUTTON, kit.value_of("", "alone"))))
    elif lines and open_put(lines) is None:
        blocks.append(kit.context("The company goes on; what comes next is shown here."))
    return blocks
