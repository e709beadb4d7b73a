"""The post-mortem as Slack shows it: a message in the thread that says what is missing, and its forms. Pure."""

from __future__ import annotations

from datetime import datetime

from bot.learn.edits import FIELDS, MOST, Text
from bot.learn.follow_up import DONE, RUNGS, TITLE, FollowUp, suggestions
from bot.learn.postmortem import Standing
from bot.lessons.postmortem import View
from bot.slack import forms, kit, names
from bot.slack.card import Posting
from bot.slack.kit import Block
from bot.slack.payloads import Payload
from bot.slack.quiz_views import OPEN as QUIZ
from bot.store import when

WORDS, FOLLOW = "postmortem_form", "follow_up_form"  # callback ids
WRITE, CORRECT, ADD, CHANGE, SAY_DONE, PUBLISH = (
    "pm-write", "pm-correct", "pm-add", "pm-change", "pm-done", "pm-publish",
)  # fmt: skip
ASKED = tuple(name for name, one in FIELDS.items() if one.asked)
DRAFTED = tuple(name for name, one in FIELDS.items() if not one.asked)
SHOWN = 10  # follow-ups in the message
MARKS = {"open": ":white_large_square:", DONE: ":white_check_mark:", "reopened": ":red_circle:"}
PERSON = "person"  # the choice for a follow-up that no machine looks at


def message(view: View, url: str = "") -> Posting:
    """The message under an incident that is over."""
    incident = view.row.id
    drill = "*DRILL* " if view.draft.drill else ""
    page = f" {kit.link(f'{url}/incidents/{incident}/postmortem', 'The whole page')}" if url else ""
    blocks = [kit.section(f":memo: {drill}*Post-mortem* of {kit.code(incident, 100)}: {_state(view)}{page}")]
    if not view.published:
        blocks += _lacks(view)
    blocks += _follow_ups(view)
    if view.warnings:
        blocks.append(kit.context(*(f":warning: {kit.escape(text)}" for text in view.warnings[:5])))
    blocks.append(kit.actions(*_buttons(view)))
    text = f"Post-mortem of {kit.escape(incident)}: {'published' if view.published else 'a draft is there'}"
    kind = "bulkhead_drill" if view.draft.drill else "bulkhead_incident"
    meta = {"event_type": kind, "event_payload": {"incident": incident, "what": "post-mortem"}}
    return Posting(blocks=blocks[: kit.BLOCKS], text=kit.clip(text, 300), metadata=meta)


def _state(view: View) -> str:
    begun = view.begun
    if view.published and begun is not None:
        return f"*published* {kit.moment(when(begun.published_at))} by {names.display(begun.published_by)}"
    return "drafted from the timeline. *Four things only people know:* luck, unknowns, the durable fix, follow-ups"


def _lacks(view: View) -> list[Block]:
    lines = [f":black_small_square: {names.mentions(kit.escape(text))}" for text in view.missing]
    return kit.sections([kit.clip(line, 300) for line in lines]) if lines else [
        kit.section(":white_check_mark: Nothing is missing. Whoever may decide can publish it."),
    ]  # fmt: skip


def _follow_ups(view: View) -> list[Block]:
    blocks = [_line(view, one) for one in view.follow_ups[:SHOWN]]
    if len(view.follow_ups) > SHOWN:
        blocks.append(kit.context(f"and {len(view.follow_ups) - SHOWN} more"))
    return blocks


def _line(view: View, one: Standing) -> Block:
    what = one.what
    who = names.display(what.owner) if what.owner else "*nobody yet*"
    where = f" {kit.link(one.url, 'opened')}" if one.url.startswith("https://") else ""
    found = f"\n{kit.escape(one.detail)}" if one.detail else ""
    looked = f", looked at by {kit.code(what.check, 200)}" if what.check else ""
    title = f"{MARKS[one.state]} *{kit.escape(what.title)}*"
    text = f"{title}: {who}, {kit.escape(what.due) or 'no date'}{looked}{where}{found}"
    value = kit.value_of(view.row.id, what.id)
    able = not what.check and one.state != DONE and value
    return kit.section(kit.clip(text, 600), kit.button("Done", SAY_DONE, value) if able else None)


def _buttons(view: View) -> list[Block]:
    value = kit.value_of(view.row.id)
    made = [] if view.published else [
        kit.button("Write", WRITE, value, style="primary"), kit.button("Correct the draft", CORRECT, value),
    ]  # fmt: skip
    made.append(kit.button("Add a follow-up", ADD, value))
    numbered = enumerate(view.follow_ups, 1)  # two may have one title
    choices = {f"{k}. {one.what.title}": kit.value_of(view.row.id, one.what.id) for k, one in numbered}
    if change := kit.select("Change a follow-up", CHANGE, choices):
        made.append(change)
    if not view.published and not view.missing:
        sure = kit.confirm(
            "Publish it", f"{view.row.id}: its words stay, and {len(view.follow_ups)} follow-ups are opened.",
            "Publish", danger=False,
        )  # fmt: skip
        made.append(kit.button("Publish", PUBLISH, value, ask=sure))
    return [*made, kit.button("Check yourself", QUIZ, value)]


# forms ---------------------------------------------------------------------------------------------------------------


def words(view: View, which: str, carries: str, *, beside: bool = False) -> Payload:
    """The form of the fields that people are asked for, or of those that the draft begins.

    What others wrote at the same time stands in the field too, so that whoever sends it has seen both.
    """
    blocks: list[Payload] = []
    if beside:
        blocks.append(kit.section(":warning: Somebody else wrote here while you did. *Both stand*; put them together."))
    for name in ASKED if which == WRITE else DRAFTED:
        one, place = FIELDS[name], named(name, view.written.last)
        field = forms.words(place, one.label, MOST, optional=True, many=True, hint=one.hint)
        if conflict := view.written.conflicts.get(name):
            blocks.append(kit.context(_both(conflict)))
        if said := joined(view, name)[:MOST]:
            field["element"]["initial_value"] = said
        blocks.append(field)
    return forms.modal(WORDS, "Post-mortem", blocks, carries, submit="Save")


def named(name: str, seen: int) -> str:
    """The id of a field in a form. Slack keeps what stands in a field when a form is drawn anew under the same id."""
    return f"{name}:{seen}"


def joined(view: View, name: str) -> str:
    """A field as a form begins it: with the words of everybody who wrote at the same time."""
    conflict = view.written.conflicts.get(name)
    if conflict is None:
        return view.field(name)
    return "\n".join([conflict.now.text, *(word.text for word in conflict.beside)])


def _both(conflict: Text) -> str:
    who = ", ".join(dict.fromkeys(names.display(word.by) for word in (conflict.now, *conflict.beside)))
    return f"Written at the same time by {who}. Below is what each of them wrote:"


def follow_up(view: View, one: FollowUp | None, carries: str) -> Payload:
    """The form of a follow-up, new or to be changed."""
    title = forms.words("title", "What is to be done?", TITLE)
    owner: Payload = {"type": "users_select", "action_id": "owner", "placeholder": forms.plain("Somebody")}
    due: Payload = {"type": "datepicker", "action_id": "due"}
    known = suggestions(view.draft.triage) if view.draft.triage else []
    if one and one.check and one.check not in known:
        known.append(one.check)
    checks = {PERSON: "Nothing: a person says when it is done"} | {str(k): text for k, text in enumerate(known)}
    check: Payload = {"type": "static_select", "action_id": "check", "options": forms.options(checks)}
    rungs: Payload = {"type": "static_select", "action_id": "rung", "options": forms.options(RUNGS)}
    if one is not None:
        title["element"]["initial_value"] = one.title[:TITLE]
        if user := names.user_of(one.owner):
            owner["initial_user"] = user
        if one.due:
            due["initial_date"] = one.due
        chosen = str(known.index(one.check)) if one.check else PERSON
        check["initial_option"] = next(o for o in check["options"] if o["value"] == chosen)
        rungs["initial_option"] = next(o for o in rungs["options"] if o["value"] == one.worth)
    blocks = [
        title, _optional("owner", "Who does it?", owner), _optional("due", "Until which day?", due),
        _optional("check", "What does a machine look at?", check), _optional("rung", "What does it do?", rungs),
    ]  # fmt: skip
    return forms.modal(FOLLOW, "A follow-up", blocks, carries, submit="Save")


def check_of(view: View, chosen: str) -> str:
    """The check that a choice of the form stands for. Raises IndexError for one that was not offered."""
    if chosen in ("", PERSON):
        return ""
    return suggestions(view.draft.triage or {})[int(chosen)]


def _optional(name: str, label: str, element: Payload) -> Payload:
    return forms.field(name, label, element) | {"optional": True}


# calls ---------------------------------------------------------------------------------------------------------------


def nudge(view: View, who: list[str]) -> str:
    """A line that calls somebody to a post-mortem that waits."""
    wants = "publish it" if not view.missing else " ".join(view.missing)
    said = kit.clip(names.mentions(kit.escape(wants)), 700)
    return f":bell: {' '.join(who)} the post-mortem of {kit.code(view.row.id, 100)} waits: {said}".replace("  ", " ")


def overdue(view: View, one: Standing, who: str, today: datetime) -> str:
    """A line that calls the owner of a follow-up that is late."""
    days = (today.date() - datetime.fromisoformat(one.what.due).date()).days
    found = f" {kit.escape(one.detail)}" if one.detail else ""
    said = f":bell: {who} {days} days late: *{kit.escape(one.what.title)}*, from the post-mortem of"
    return kit.clip(f"{said} {kit.code(view.row.id, 100)}.{found}", 1500)
