"""The registries of the range beside npm, each a server with its own rules: PyPI, crates.io, RubyGems, Docker Hub."""

from __future__ import annotations

from bot.range.clock import RangeClock
from bot.range.registries.crates import Crates
from bot.range.registries.dockerhub import DockerHub
from bot.range.registries.pypi import Pypi
from bot.range.registries.rubygems import RubyGems
from bot.range.registries.server import RegistryServer
from bot.range.sigstore import Sigstore
from bot.range.switchboard import Switchboard

BOT = "bulkhead-bot"
HUB_ORG, HUB_OWNER = "harborlights", "maralind"  # Docker Hub's names are letters and digits only
BOT_SCOPES = ("scope-image-push", "scope-tag-admin", "scope-activity-read")


def registries(
    clock: RangeClock, switchboard: Switchboard, sigstore: Sigstore | None = None
) -> dict[str, RegistryServer]:  # fmt: skip
    """All of them by the names that ``World.registries`` has for them. PyPI's provenance is signed by ``sigstore``."""
    pypi = Pypi(clock, switchboard)
    pypi.sigstore = sigstore
    return {made.name: made for made in (pypi, *(kind(clock, switchboard) for kind in (Crates, RubyGems, DockerHub)))}


def seed(servers: dict[str, RegistryServer]) -> dict[str, str]:
    """The bot's own token at each that has tokens for what the bot does there. Returns them by registry.

    Docker Hub's has the name before it, as whoever signs in there gives both.
    """
    for server in servers.values():
        server.add_user(BOT)
    hub = servers["dockerhub"]
    assert isinstance(hub, DockerHub)
    hub.add_org(HUB_ORG, HUB_OWNER)
    return {
        "crates": servers["crates"].add_token(BOT, "bulkhead", scopes=("yank",)),
        "rubygems": servers["rubygems"].add_token(BOT, "bulkhead", scopes=("yank_rubygem",)),
        "dockerhub": f"{HUB_ORG}:{hub.add_token(HUB_ORG, 'bulkhead', scopes=BOT_SCOPES)}",
    }
