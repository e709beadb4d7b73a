"""The package registries of the range beside npm: PyPI, crates.io and RubyGems, each a server with its own rules."""

from __future__ import annotations

from bot.range.clock import RangeClock
from bot.range.registries.crates import Crates
from bot.range.registries.pypi import Pypi
from bot.range.registries.rubygems import RubyGems
from bot.range.registries.server import RegistryServer
from bot.range.switchboard import Switchboard

BOT = "bulkhead-bot"


def registries(clock: RangeClock, switchboard: Switchboard) -> dict[str, RegistryServer]:
    """All of them by the names that ``World.registries`` has for them."""
    return {made.name: made for made in (kind(clock, switchboard) for kind in (Pypi, Crates, RubyGems))}


def seed(servers: dict[str, RegistryServer]) -> dict[str, str]:
    """The bot's own token at each that has tokens for what the bot does there. Returns them by registry."""
    for server in servers.values():
        server.add_user(BOT)
    return {
        "crates": servers["crates"].add_token(BOT, "bulkhead", scopes=("yank",)),
        "rubygems": servers["rubygems"].add_token(BOT, "bulkhead", scopes=("yank_rubygem",)),
    }
