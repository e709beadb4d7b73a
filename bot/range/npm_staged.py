"""Staged publishing of the range's npm: a version waits until a person with a second factor lets it out, or rejects it.

Sources: the npm CLI (``npm stage``: paths, pages, names of fields) and its page. Any token that may write a package may
stage; to approve or reject asks for a second factor, which no token of the range brings along. A number that waits is
taken.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bot.range.npm import NpmRegistry, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A version that waits."""

    id: str
    package: str
    version: str
    at: datetime
    actor: str
    document: dict[str, Any] = field(repr=False)
    data: bytes = field(repr=False)

    def row(self) -> dict[str, Any]:
        """As the registry lists it."""
        return {
            "id": self.id, "packageName": self.package, "version": self.version, "tag": "latest",
            "createdAt": self.at.strftime("%Y-%m-%dT%H:%M:%S.000Z"), "actor": self.actor, "actorType": "user",
            "shasum": hashlib.sha1(self.data, usedforsecurity=False).hexdigest(),
        }  # fmt: skip


class Stage:
    """What waits in a registry."""

    def __init__(self, registry: NpmRegistry) -> None:
        self._registry = registry
        self.waiting: dict[str, Staged] = {}

    def add(self, name: str, version: str, document: dict[str, Any], data: bytes, token: Token) -> str:
        """Stage a version; returns its id, which is the same in each run of the company."""
        number = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}@{version}"))
        self.waiting[number] = Staged(
            id=number, package=name, version=version, at=self._registry.clock.now(), actor=token.user,
            document=document, data=data,
        )  # fmt: skip
        return number

    def seen(self, token: Token | None, package: str = "") -> list[Staged]:
        """What a token may see: of packages that it may write."""
        if token is None:
            return []
        mine = [p.name for p in self._registry.packages.values() if token.user in p.maintainers]
        return [one for one in self.waiting.values() if one.package in mine and package in ("", one.package)]

    def reject(self, package: str) -> int:
        """A person rejects everything that waits of a package; returns how many there were."""
        found = [number for number, one in self.waiting.items() if one.package == package]
        for number in found:
            del self.waiting[number]
        return len(found)
