"""``drill``: which drills there are, and, in a company of the range, to begin one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.errors import DecisionRefused, InputError
from bot.slack.commands import clip
from bot.slack.heard import Heard

if TYPE_CHECKING:
    from bot.slack.room import Room

ELSEWHERE = (
    "A drill needs a company of its own, which must not be this one. `bulkhead serve --range` starts one with a Slack "
    "to click through; `bulkhead drill run NAME` runs one in a terminal, with simulated people."
)


def join(room: Room) -> None:
    """Bring the word ``drill``."""
    room.commands.add("drill", "list | run NAME", "train: what drills there are, and begin one", drill)


def drill(heard: Heard, text: str) -> None:
    """List the drills, or begin the one that is named."""
    word, _, name = text.partition(" ")
    if word == "run":
        run(heard, name.strip())
    elif word in ("", "list"):
        show(heard)
    else:
        raise InputError(f"say `drill list` or `drill run NAME`, not {clip(word)!r}")


def show(heard: Heard) -> None:
    """The drills there are."""
    house = heard.room.house
    lines = [f"`{one.id}`: {clip(one.title, 200)}. {clip(one.briefing, 400)}" for one in house.drills.values()]
    if house.stage is None:
        lines.append(ELSEWHERE)
    heard.say("\n".join(lines))


def run(heard: Heard, name: str) -> None:
    """Play what happens before anybody knows, and report it; from then on people act."""
    stage = heard.room.house.stage
    if stage is None:
        raise InputError(ELSEWHERE)
    if not heard.may("one"):
        raise DecisionRefused("you are not one of the responders, who train here", reason="wrong-person")
    found, landed, shown = stage.begin(name, heard.delivery.id)
    heard.say(f"*DRILL* `{found.id}` has begun. {clip(found.report.by)} reports: {clip(shown, 500)} (`{landed.id}`)")
