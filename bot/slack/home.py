"""The app's home, for each person their own: what waits for them, their incidents, their drills. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bot.engine.decisions import Ask, Review
from bot.slack import kit, names
from bot.slack.asks import ask_blocks, review_block
from bot.slack.card import LEVELS
from bot.slack.kit import Block
from bot.slack.picture import Picture
from bot.store import when

REPORT = "report_leak"  # the button's id; bot/slack/reports.py listens to it
ASKS, MINE, OTHERS, DRILLS = 8, 10, 10, 5  # so many are shown
BLOCKS = 100

May = Callable[[str], bool]  # posture -> whether this person may answer there


def home_view(
    who: str, pictures: list[Picture], may: May, learnt: Sequence[Block] = ()
) -> dict[str, Any]:  # fmt: skip
    """The view of one person (``slack:U…``). ``pictures``: open incidents, and drills that are over.

    ``learnt``: what it says of the quiz.
    """
    going = [one for one in pictures if not one.over]
    waiting = [(one, ask) for one in going for ask in one.asks if waits_for(who, one, ask, may)]
    reviews = [(one, due) for one in pictures for due in one.reviews if due.by != who and may("two")]
    report = kit.button("Report a leak", REPORT, "home", style="danger")
    blocks = [
        kit.header("Bulkhead"),
        kit.section("A token, a key, a password is where it should not be? Say so: it is contained first."),
        kit.actions(report), kit.divider(), *_waiting(waiting), *_reviews(reviews), *_incidents(who, going, may),
        *_drills(who, pictures),
    ]  # fmt: skip
    return {"type": "home", "blocks": [*blocks[: BLOCKS - len(learnt)], *learnt]}


def waits_for(who: str, picture: Picture, ask: Ask, may: May) -> bool:
    """Whether this person's word is missing: they may give it, have not, and are not who reported where two agree."""
    if not may(ask.group) or (ask.needs > 1 and who == picture.requester):
        return False
    said = [d for d in picture.decisions if d.step == ask.step and d.plan_hash == ask.plan_hash and d.by == who]
    passed = any(body.get("by") == who and body.get("of") == ask.step for body in picture.bodies("not-me"))
    return not said and not passed


def takes_part(who: str, picture: Picture) -> bool:
    """Whether it is theirs: they reported it, have a role in it, or have decided something."""
    return who in {picture.requester, *picture.roles.values(), *(d.by for d in picture.decisions)}


def _waiting(waiting: list[tuple[Picture, Ask]]) -> list[Block]:
    if not waiting:
        return [kit.section(":white_check_mark: *Nothing waits for you*")]
    order = sorted(waiting, key=lambda pair: (pair[1].expires_at or "9", pair[0].row.id))
    blocks = [kit.section(f":raising_hand: *Waits for you: {len(waiting)}*")]
    for picture, ask in order[:ASKS]:
        blocks += [kit.context(_name(picture)), *ask_blocks(picture, ask, countdown=False)]
    if len(order) > ASKS:
        blocks.append(kit.section(f"and {len(order) - ASKS} more: see the incidents"))
    return [*blocks, kit.divider()]


def _reviews(reviews: list[tuple[Picture, Review]]) -> list[Block]:
    shown = [(kit.context(_name(picture)), review_block(picture, due)) for picture, due in reviews[:5]]
    return [block for pair in shown for block in pair]


def _name(picture: Picture) -> str:
    drill = "*DRILL* " if picture.drill else ""
    return f"{drill}{kit.code(picture.row.id, 100)} {kit.clip(kit.escape(picture.row.title), 150)}"


def _line(picture: Picture) -> str:
    asks = f", {len(picture.asks)} questions open" if picture.asks else ""
    lead = f", led by {names.display(picture.roles['lead'])}" if "lead" in picture.roles else ", *nobody leads*"
    mark = LEVELS.get(picture.level, ":grey_question:")
    at = kit.moment(when(picture.row.opened_at))
    return f"{mark} {_name(picture)}: {kit.escape(picture.level) or 'not rated yet'}, since {at}{lead}{asks}"


def _incidents(who: str, going: list[Picture], may: May) -> list[Block]:
    mine = [one for one in going if takes_part(who, one)]
    others = [one for one in going if not takes_part(who, one)] if may("one") else []
    blocks = [kit.section(f"*Your open incidents: {len(mine)}*"), *_list(mine, MINE)]
    if others:
        blocks += [kit.section(f"*Other open incidents: {len(others)}*"), *_list(others, OTHERS)]
    return blocks


def _list(pictures: list[Picture], most: int) -> list[Block]:
    newest = sorted(pictures, key=lambda one: one.row.opened_at, reverse=True)
    more = [f"and {len(newest) - most} older ones"] if len(newest) > most else []
    return kit.sections([*(kit.clip(_line(one), 900) for one in newest[:most]), *more])


def _drills(who: str, pictures: list[Picture]) -> list[Block]:
    mine = [one for one in pictures if one.drill and takes_part(who, one)]
    newest = sorted(mine, key=lambda one: one.row.opened_at, reverse=True)[:DRILLS]
    lines = [f"{_name(one)}: {one.over or 'under way'}, {kit.moment(when(one.row.opened_at))}" for one in newest]
    return [kit.divider(), kit.section(f"*Your drills: {len(mine)}*"), *kit.sections(lines)] if mine else []
