"""One file a provider: how its credential is taken out of a job, and what takes its place."""

from __future__ import annotations

from collections.abc import Callable

from bot.oidc.hands import aws, crates, gcp, npm, pypi, rubygems
from bot.oidc.work import Work

HANDS: dict[str, Callable[[Work], None]] = {
    "aws": aws.migrate,
    "crates": crates.migrate,
    "gcp": gcp.migrate,
    "npm": npm.migrate,
    "pypi": pypi.migrate,
    "rubygems": rubygems.migrate,
}
