"""The registries beside npm behind ``bot.world.Registry``: PyPI, crates.io, RubyGems; Docker Hub and GHCR for images.

Each file is one registry: its addresses, its answers, its token. What they have in common, the calls themselves and how
an answer becomes one of our errors, is in ``http``.
"""

from __future__ import annotations

from bot.registries.crates import CratesClient
from bot.registries.dockerhub import KINDS as DOCKERHUB_KINDS
from bot.registries.dockerhub import DockerHubClient
from bot.registries.ghcr import GhcrClient
from bot.registries.pypi import PypiClient
from bot.registries.rubygems import RubyGemsClient

__all__ = [
    "DOCKERHUB_KINDS", "REGISTRY_OF", "CratesClient", "DockerHubClient", "GhcrClient", "PypiClient", "RubyGemsClient",
]  # fmt: skip

# Kind of credential -> the registry that it publishes to, as ``World.registries`` names it.
REGISTRY_OF = {
    "pypi-token": "pypi", "crates-token": "crates", "rubygems-key": "rubygems",
    **dict.fromkeys(DOCKERHUB_KINDS, "dockerhub"),
}  # fmt: skip
