"""What is known of providers, actions and scopes, as data; read once, and refused whole when a file is not sound."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from bot import strictyaml

READ_ALL = (
    "actions", "artifact-metadata", "attestations", "checks", "contents", "deployments", "discussions", "issues",
    "models", "packages", "pages", "pull-requests", "security-events", "statuses",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A release of an action. ``uses`` is what a step says, ``comment`` what stands behind it."""

    name: str
    version: str
    sha: str

    @property
    def uses(self) -> str:
        return f"{self.name}@{self.sha}"

    @property
    def comment(self) -> str:
        return self.version


@cache
def data(name: str) -> Any:
    """One file of data, as plain values."""
    text = resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return strictyaml.read(text, f"bot/oidc/recipes/{name}.yaml").plain


@cache
def pins() -> dict[str, Pin]:
    """The dated table of releases, by the action's name in small letters."""
    return {
        name: Pin(name=found.get("name", name), version=found["version"], sha=found["sha"])
        for name, found in data("pins")["pins"].items()
    }


def pin_date() -> str:
    """The day on which the table was right."""
    return str(data("pins")["date"])
