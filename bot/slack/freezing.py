"""The kill switch in Slack: one word freezes everything, another thaws it; both want a reason."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bot.engine.freeze import FREEZE, THAW
from bot.errors import DecisionRefused, InputError
from bot.slack.commands import clip
from bot.slack.decisions import mentions
from bot.slack.heard import Heard

if TYPE_CHECKING:
    from bot.slack.room import Room

MOST = 500  # characters of a reason


def join(room: Room) -> None:
    """Bring the two words."""
    room.commands.add(FREEZE, "REASON", "nothing that changes anything begins any more, anywhere", freeze)
    room.commands.add(THAW, "REASON", "everything goes on where it waits", thaw)


def freeze(heard: Heard, reason: str) -> None:
    """Freeze the whole installation, or say who has."""
    if _order(heard, FREEZE, reason):
        heard.say(f"Frozen: no worker begins to change anything until somebody says `{heard.room.word} thaw REASON`.")


def thaw(heard: Heard, reason: str) -> None:
    """Thaw the whole installation."""
    if _order(heard, THAW, reason):
        heard.say("Thawed: each step goes on exactly where it waits.")


def _order(heard: Heard, kind: str, reason: str) -> bool:
    house = heard.room.house
    try:
        new = house.switch.order(
            kind, by=heard.who, at=datetime.now(UTC), reason=reason[:MOST], sign=house.attestor.sign,
            said=heard.vouched(),
        )  # fmt: skip
    except (DecisionRefused, InputError) as exc:
        usage = f"`{heard.room.word} {kind} REASON`"
        heard.say(mentions(str(exc)).replace(f"{kind} needs --reason", usage))
        return False
    if not new:
        stands = house.switch.standing()
        who = f" by {mentions(stands.by)}: {clip(stands.reason, 300)}" if stands else ""
        heard.say(f"It is frozen already{who}.")
    return new
