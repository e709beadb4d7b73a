"""The slash command and its words. A feature registers its own; a word that nobody knows gets the list, never silence.

A secret that was typed into the command is gone from the text before anything here sees it; it is told to its writer,
and reported, whatever word it stood behind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.errors import InputError
from bot.model import Exposure
from bot.slack.border import MARKER, plain
from bot.slack.heard import Heard

if TYPE_CHECKING:
    from bot.slack.room import Room

EXPOSED = (
    "That held a secret. I did not store it in the clear, but it has been in Slack: it now counts as exposed. "
    "Revoke it. "
)


@dataclass(frozen=True, slots=True)
class Command:
    """One word after the slash command."""

    name: str
    usage: str  # what stands behind the name, "" for nothing
    help: str  # one line
    run: Callable[[Heard, str], None]  # the command, and the text behind its word


class Commands:
    """Every word that is known."""

    def __init__(self) -> None:
        self.known: dict[str, Command] = {}

    def add(self, name: str, usage: str, text: str, run: Callable[[Heard, str], None]) -> None:
        """Register a word. Raises InputError when another feature has it already."""
        if name in self.known:
            raise InputError(f"two features want the word {name!r}")
        self.known[name] = Command(name, usage, text, run)

    def help(self, word: str) -> str:
        """The list, in mrkdwn. ``word``: the slash command itself."""
        lines = [f"`{' '.join(filter(None, (word, one.name, one.usage)))}`  {one.help}" for one in self.known.values()]
        return "\n".join(lines)

    def run(self, heard: Heard) -> None:
        """Do what a command says."""
        text = plain(heard.text).strip()
        if MARKER.search(text):
            _exposed(heard, text)
            return
        name, _, rest = text.partition(" ")
        command = self.known.get(name.lower() or "help")
        if command is None:
            heard.say(f"I do not know {clip(name)!r}.\n{self.help(heard.room.word)}")
        else:
            command.run(heard, rest.strip())


def clip(text: str, most: int = 60) -> str:
    """Text that somebody typed, short enough to be repeated and unable to mention or link anything."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe if len(safe) <= most else f"{safe[: most - 1]}…"


def join(room: Room) -> None:
    """Bring the slash command, and its help."""

    def show(heard: Heard, _rest: str) -> None:
        heard.say(f"Bulkhead contains leaked CI credentials.\n{room.commands.help(room.word)}")

    room.on("command", room.word, room.commands.run)
    room.commands.add("help", "", "this list", show)


def _exposed(heard: Heard, text: str) -> None:
    """Report what was typed into a command: it has been where it should not."""
    restored = heard.room.border.restore(heard.owner, text)
    try:
        landed = heard.room.report(heard, restored, exposure=Exposure.INTERNAL)
    except InputError:
        heard.say(f"{EXPOSED}No playbook of mine knows its kind, so nothing was opened: revoke it where it was issued.")
        return
    seen = "I have taken it as a report" if landed.new else "I have it as a report already"
    heard.say(f"{EXPOSED}{seen} ({landed.id}).")
