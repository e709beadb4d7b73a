"""The card: one an incident, for a phone at three in the morning. Pure, from the timeline.

What leaked and how public; what was cut and what of it is proven; what is asked of whom until when; the countdown to
the last stolen session's death; what happens next by itself. Everything else is in the thread.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.engine.freeze import frozen_steps
from bot.engine.ledger import Row
from bot.model import RowState
from bot.slack import kit, names
from bot.slack.asks import ask_blocks, review_block, settled_line
from bot.slack.kit import Block
from bot.slack.next_step import next_step
from bot.slack.picture import Picture
from bot.store import Store, when
from bot.story import GRADES, exposure, signs

__all__ = ["Posting", "ask_blocks", "draw", "incident_card"]
DRILL_BANNER = "DRILL. Nothing of this is real"
# so many are on the card, the others in the thread
ASKS, ROWS, GOOD_SHOWN, TAILS, UNDOS, FAILURES, REVIEWS, SIGNS = 6, 8, 3, 3, 2, 4, 3, 3
LEVELS = {
    "critical": ":rotating_light:", "high": ":red_circle:", "medium": ":large_orange_circle:", "low": ":white_circle:",
}  # fmt: skip
LIVE = {
    "live": "it worked when it was looked at", "dead": "it no longer worked when it was looked at",
    "unknown": "whether it works is unknown",
}  # fmt: skip
STATES = {"closed": ":white_check_mark: closed", "aborted": ":black_square_for_stop: aborted"}
BAD_ROWS = (RowState.FAILED, RowState.REOPENED)
GOOD_ROWS = (RowState.CLOSED, RowState.PROVEN_DEAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """A message as Slack takes it. ``text`` is what a notification shows."""

    blocks: list[Block]
    text: str
    metadata: dict[str, Any]


def incident_card(store: Store, incident_id: str, now: datetime, *, url: str = "") -> Posting:
    """The card of an incident as it stands. Raises InputError when there is none."""
    return draw(Picture.of(store, incident_id, now, url=url))


def draw(picture: Picture) -> Posting:
    """The card of a picture."""
    blocks = [
        *_head(picture), *_drill_ended(picture), kit.section(_leak(picture)), kit.section(_standing(picture)),
        *_frozen(picture), *_signs(picture), *_failures(picture), *_questions(picture), *_reviews(picture),
        *_tails(picture),
        kit.section(f"*Next, by itself:* {next_step(picture)}"), *_people(picture), *_undos(picture), *_foot(picture),
    ]  # fmt: skip
    return Posting(blocks=blocks[: kit.BLOCKS], text=_text(picture), metadata=metadata(picture, "card"))


def metadata(picture: Picture, what: str) -> dict[str, Any]:
    """What other apps and we ourselves read: ids only. A drill's is of another type, so none can take it for real."""
    kind = "bulkhead_drill" if picture.drill else "bulkhead_incident"
    return {"event_type": kind, "event_payload": {"incident": picture.row.id, "drill": picture.drill, "what": what}}


def banner(picture: Picture) -> list[Block]:
    """What stands above everything that a drill says."""
    return [kit.context(f":construction: *{DRILL_BANNER}*")] if picture.drill else []


def _text(picture: Picture) -> str:
    drill = "DRILL: " if picture.drill else ""
    asks = len(picture.asks)
    waits = f"; {asks} question{'s' if asks > 1 else ''} to people" if asks else ""
    stands = f"({picture.over or 'open'}, {_counted(picture)}{waits})"
    return kit.clip(kit.escape(f"{drill}{picture.level or 'new'}: {picture.row.title} {stands}"), 300)


# the head -----------------------------------------------------------------------------------------------------------


def _head(picture: Picture) -> list[Block]:
    level = picture.level or "severity not known yet"
    title = f"{'DRILL: ' if picture.drill else ''}{level.capitalize()}: {picture.row.title}"
    state = STATES.get(picture.over, "open")
    mark = "" if picture.over else f"{LEVELS.get(picture.level, ':grey_question:')} "
    line = f"{mark}*{state}*, reported {kit.moment(when(picture.row.opened_at))} by {names.display(picture.requester)}"
    severity = picture.last("severity")
    if severity:
        why = kit.clip(kit.escape(severity["reason"]), 400)
        by = f", says {names.display(str(severity['by']))}" if severity.get("by") else ""
        line += f"\n*Severity {kit.escape(severity['level'])}*{by}: {why}"
    top = [kit.header(f"{DRILL_BANNER}. Practise as if it were"), *banner(picture)] if picture.drill else []
    return [*top, kit.header(title), kit.section(line)]


def _drill_ended(picture: Picture) -> list[Block]:
    """What the attacker still got in the end: that is what a drill is about."""
    said = picture.ended
    if said is None:
        return []
    tried = len(said["refused"]) + len(said["works"])
    if said["contained"]:
        text = f":large_green_circle: *Contained.* The attacker tried again: {tried} of {tried} tries were refused"
    else:
        why = kit.clip(kit.escape("; ".join(said["why_not"])), 1000)
        text = f":red_circle: *Not contained:* {why}. {len(said['refused'])} of {tried} tries were refused"
    return [kit.section(text)]


def _leak(picture: Picture) -> str:
    found = picture.triage
    if found is None:
        text = kit.clip(kit.escape(picture.row.body["report"]["text"]), 1200)
        return f"*Reported:* {text}\nTriage has not ended yet."
    if order := _order(picture):
        return f"*Ordered:* {kit.code(order)} moves to OIDC. Nothing has leaked."
    key = found["credential"]
    account = f" of account {kit.escape(key['account'])}" if key["account"] else ""
    name = f"{kit.escape(key['kind'])} {kit.code(key['id'] or key['fingerprint'])}{account}"
    lines = [
        f"*Leaked:* {name}; *{LIVE[found['live']]}*.",
        kit.clip(kit.escape(exposure(found)), 700),
    ]
    if picture.likely_owner:
        owner = found["owners"][0]
        lines.append(f"*Likely owner:* {names.display(owner['name'])} ({owner['score']} of 100){_owner_said(picture)}")
    if found["reach"]:
        unknown = sum(1 for reached in found["reach"] if not reached["known"])
        more = f", {unknown} of them known by name only" if unknown else ""
        lines.append(f"*In reach of the leak:* {len(found['reach'])}{more}")
    return "\n".join(lines)


def _order(picture: Picture) -> str:
    """The repository that is to move, where that was ordered; '' in every other incident."""
    return str(((picture.triage or {}).get("order") or {}).get("repository", ""))


def _owner_said(picture: Picture) -> str:
    answer = picture.last("owner-answer")
    if answer is None:
        return ""
    said = "it was me" if answer["said"] == "yes" else "it was not me"
    return f"; {names.display(str(answer['by']))} says: *{said}*"


# how it stands ------------------------------------------------------------------------------------------------------


def _counted(picture: Picture) -> str:
    rows = list(picture.ledger.rows.values())
    closed = sum(1 for row in rows if row.state == RowState.CLOSED)
    what = "done and proven" if _order(picture) else "proven dead"
    return f"{closed} of {len(rows)} {what}" if rows else "nothing to cut is known yet"


def _standing(picture: Picture) -> str:
    rows = list(picture.ledger.rows.values())
    if not rows:
        return "*Cut and proven:* nothing to cut is known yet"
    closed = [row for row in rows if row.state == RowState.CLOSED]
    grades = [f"{sum(1 for r in closed if r.grade == g)} {g} ({words})" for g, words in GRADES.items()]
    counted = "; ".join(text for text in grades if not text.startswith("0 "))
    mark = ":large_green_circle:" if len(closed) == len(rows) else ":large_yellow_circle:"
    text = f"{mark} *{'Ordered' if _order(picture) else 'Cut and proven'}:* {_counted(picture)}"
    # What is bad comes first, and of what is good only so much as there is room for.
    order = sorted(rows, key=lambda row: (row.settled, row.state not in BAD_ROWS))
    still = sum(1 for row in rows if not row.settled)
    shown = min(ROWS, max(still, GOOD_SHOWN))
    lines = [f"{text}{': ' + counted if counted else ''}", *map(_row, order[:shown])]
    if len(rows) > shown:
        more = f"{still - shown} of them not settled" if still > shown else "all settled"
        lines.append(f"and {len(rows) - shown} more, {more}: see the thread")
    return "\n".join(lines)


def _row(row: Row) -> str:
    mark = ":red_circle:" if row.state in BAD_ROWS else ":large_yellow_circle:"
    mark = ":large_green_circle:" if row.state in GOOD_ROWS else mark
    mark = ":white_circle:" if row.state == RowState.WAIVED else mark
    proof = f", proven [{row.grade.value}]" if row.grade and row.state != RowState.WAIVED else ""
    by = f" by {names.display(row.waived_by)}, without proof" if row.state == RowState.WAIVED else ""
    state = row.state.value.replace("_", " ")
    return f"{mark} {kit.code(row.key, 150)} {state}{by}{proof}"


def _signs(picture: Picture) -> list[Block]:
    """What the signals found in the incident's window: how many, and the surest of them, none twice."""
    found = [one for event in picture.outcomes.values() for one in signs(event.body)]
    if not found:
        return []
    found.sort(key=lambda one: one["sure"] != "certain")
    lines = [f":mag: *{len(found)} sign{'s' if len(found) > 1 else ''} of misuse*"]
    told = Counter(kit.escape(f"{one['sure']}, {one['signal']}: {one['says']}")[:300] for one in found)
    lines += [f"{said} ({n} times)" if n > 1 else said for said, n in list(told.items())[:SIGNS]]
    return [kit.section("\n".join(lines))]


def _tails(picture: Picture) -> list[Block]:
    tails = picture.ledger.open_tails()
    if not tails:
        return []
    known = sorted((tail.until, row.key, tail.kind) for row, tail in tails if tail.until is not None)
    lines = []
    if known:
        until = known[-1][0]
        lines.append(
            f":hourglass_flowing_sand: *What was stolen dies at the latest {kit.moment(until)}: "
            f"{kit.left(until, picture.now)} left*"
        )
    lines += [f"{kit.escape(kind)} made from {kit.code(key, 150)}: {kit.left(until, picture.now)} left"
              for until, key, kind in known[::-1][:TAILS]]  # fmt: skip
    lines += [f"{kit.escape(tail.kind)} made from {kit.code(row.key, 150)}: for an unknown time"
              for row, tail in tails if tail.until is None][:TAILS]  # fmt: skip
    return [kit.section("\n".join(lines))]


def _frozen(picture: Picture) -> list[Block]:
    """Who has frozen everything, and what waits for the thaw."""
    waits = frozen_steps(picture.told)
    if not waits:
        return []
    said, steps = waits[-1].body, ", ".join(dict.fromkeys(kit.escape(event.step) for event in waits))
    why = kit.clip(kit.escape(said["reason"]), 300)
    text = f":ice_cube: *Frozen by {names.display(str(said['by']))}:* {why}. Decisions still count. Waits: "
    return [kit.section(kit.clip(f"{text}{steps}", 1000))]


def _failures(picture: Picture) -> list[Block]:
    found = picture.failures
    said = [(kit.escape(e.step), kit.clip(names.mentions(kit.escape(e.body["error"])), 500)) for e in found]
    lines = [f":red_circle: *{step}* failed: {error}" for step, error in said]
    more = [f"and {len(lines) - FAILURES} more: see the thread"] if len(lines) > FAILURES else []
    return [kit.section("\n".join([*lines[:FAILURES], *more]))] if lines else []


# people -------------------------------------------------------------------------------------------------------------


def _questions(picture: Picture) -> list[Block]:
    blocks: list[Block] = []
    asks = picture.asks
    if asks:
        blocks.append(kit.divider())
        blocks.append(kit.section(f"*Asked of people: {len(asks)}*"))
        for ask in asks[:ASKS]:
            blocks += ask_blocks(picture, ask)
        if len(asks) > ASKS:
            blocks.append(kit.section(f"and {len(asks) - ASKS} more questions, with their buttons: see the thread"))
        blocks.append(kit.divider())
    return [*blocks, *_by_hand(picture)]


def _by_hand(picture: Picture) -> list[Block]:
    """People's own steps that were answered: green once the world proves them."""
    done = [(picture.asked[key], e) for key, e in picture.settled.items() if key in picture.asked]
    mine = [(asked, e) for asked, e in done if asked.body["purpose"] == "answer" and e.body["go"]]
    return kit.sections([kit.clip(settled_line(picture, *pair), 700) for pair in mine[-4:]])


def _undos(picture: Picture) -> list[Block]:
    blocks = []
    for step in picture.undoable()[:UNDOS]:
        value = kit.value_of(picture.row.id, step)
        summary = picture.outcomes[step].body["summary"] or "done"
        cut = picture.looks[step].get("kills")
        words = "This makes what leaked live again: two people must agree" if cut else "This puts back what was there"
        sure = kit.confirm("Undo this step?", f"{words}. {picture.row.id}, {step}: {summary}", "Ask for the undo")
        undo = kit.button("Undo", "undo", value, ask=sure) if value else None
        text = f":white_check_mark: *{kit.escape(step)}*: {kit.clip(kit.escape(summary), 400)}"
        blocks.append(kit.section(text, undo))
    others = {step: kit.value_of(picture.row.id, step) for step in picture.undoable()[UNDOS:]}
    choice = kit.select("Undo another step", "undo", others)
    more = f":white_check_mark: {len(others)} other steps can be undone too"
    # It has a name, so that what somebody has chosen stays chosen when the card is edited.
    return [*blocks, kit.section(more, choice) | {"block_id": "undo-another"}] if choice else blocks


def _reviews(picture: Picture) -> list[Block]:
    return [review_block(picture, due) for due in picture.reviews[:REVIEWS]]


def _people(picture: Picture) -> list[Block]:
    roles = [f"*{kit.escape(role)}:* {names.display(who)}" for role, who in sorted(picture.roles.items())]
    paged = picture.last("paged")
    taken = picture.last("acknowledged")
    if taken:
        roles.append(f":pager: *acknowledged by* {names.display(str(taken['by']))}")
    elif paged:
        roles.append(f":pager: *paged:* {kit.escape(paged['to'])}, not acknowledged yet")
    if "lead" not in picture.roles and not picture.over:
        roles.insert(0, ":warning: *nobody leads yet*")
    blocks = [kit.context(*roles)] if roles else []
    if picture.over:
        return blocks
    value = kit.value_of(picture.row.id)
    claim = kit.button("Hand over the lead", "hand-over", value) if "lead" in picture.roles else kit.button(
        "I lead this", "claim", value, style="primary")  # fmt: skip
    return [*blocks, kit.actions(claim, kit.button("Severity", "severity", value), *_ends(picture, value))]


def _ends(picture: Picture, value: str) -> list[Block]:
    """What ends a row or the incident without proof. Each asks for a reason in a form of its own."""
    sure = kit.confirm("Abort this incident?", f"{picture.row.id}: no new step begins. What was done stands.", "Go on")
    abort = kit.button("Abort", "abort", value, ask=sure)
    left = any(not row.settled for row in picture.ledger.rows.values())
    return [kit.button("Waive a row", "waive", value), abort] if left else [abort]


def _foot(picture: Picture) -> list[Block]:
    head = picture.events[-1] if picture.events else None
    small = [kit.code(picture.row.id, 100)]
    if head is not None:
        small.append(f"event {head.n}, chain {kit.code(head.hash[:16] or 'not hashed')}")
    if picture.url:
        small.append(kit.link(f"{picture.url}/incidents/{picture.row.id}", "The whole timeline"))
    return [kit.context(*small), *banner(picture)]
