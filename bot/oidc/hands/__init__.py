"""One file a provider: how its credential is taken out of a job, and what takes its place."""

from __future__ import annotations

from collections.abc import Callable

from bot.oidc.hands import aws, azure, codecov, crates, gcp, npm, nuget, pypi, registries, rubygems, vault
from bot.oidc.work import Work

HANDS: dict[str, Callable[[Work], None]] = {
    "aws": aws.migrate,
    "azure": azure.migrate,
    "codecov": codecov.migrate,
    "crates": crates.migrate,
    "dockerhub": registries.dockerhub,
    "gcp": gcp.migrate,
    "ghcr": registries.ghcr,
    "npm": npm.migrate,
    "nuget": nuget.migrate,
    "pypi": pypi.migrate,
    "rubygems": rubygems.migrate,
    "vault": vault.migrate,
}
