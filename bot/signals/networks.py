"""Where runners call from: GitHub's published ranges (``GET /meta``, "actions"), and what people declare of their own.

GitHub's hosted runners live in a public cloud, so an address in its ranges shows only that somebody is there.
"""

from __future__ import annotations

import bisect
import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from bot.errors import InputError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(slots=True)
class Networks:
    """A set of networks that is asked often. ``known`` is False when nobody said where runners are."""

    _starts: dict[int, list[int]] = field(default_factory=dict)
    _ends: dict[int, list[int]] = field(default_factory=dict)
    _asked: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, networks: Iterable[Network]) -> Networks:
        """These networks, those that lie in one another joined."""
        found = cls()
        for version in (4, 6):
            rows = [n for n in networks if n.version == version]
            merged = list(ipaddress.collapse_addresses(rows))  # type: ignore[type-var]
            found._starts[version] = [int(n.network_address) for n in merged]
            found._ends[version] = [int(n.broadcast_address) for n in merged]
        return found

    @property
    def known(self) -> bool:
        """Whether there is any."""
        return any(self._starts.values())

    def hold(self, address: str) -> bool:
        """Whether an address lies in one of them. What is no address does not."""
        answer = self._asked.get(address)
        if answer is None:
            if len(self._asked) > 100_000:
                self._asked.clear()
            answer = self._asked[address] = self._search(address)
        return answer

    def _search(self, address: str) -> bool:
        parsed = ip(address)
        if parsed is None:
            return False
        starts = self._starts.get(parsed.version, [])
        at = bisect.bisect_right(starts, int(parsed)) - 1
        return at >= 0 and int(parsed) <= self._ends[parsed.version][at]


@lru_cache(maxsize=65_536)
def ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, or None for the name of a service such as cloudformation.amazonaws.com."""
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


@lru_cache(maxsize=65_536)
def around(address: str) -> str:
    """The /24 or /48 that an address lies in: what a provider gives to one place. '' for what is no address."""
    parsed = ip(address)
    if parsed is None:
        return ""
    return str(ipaddress.ip_network((parsed, 24 if parsed.version == 4 else 48), strict=False))


def networks_of(texts: Iterable[str]) -> list[Network]:
    """Networks as they are written. Raises InputError for what is none."""
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text.strip(), strict=False))
        except ValueError:
            raise InputError(f"{text[:60]!r} is no network; write 203.0.113.0/24") from None
    return found


def of_meta(document: Any) -> list[Network]:
    """The ranges of hosted runners in the answer of ``GET /meta``. Raises InputError when there are none."""
    rows = document.get("actions") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows:
        raise InputError("there is no list `actions` in it; give the answer of `gh api /meta`")
    return networks_of(str(row) for row in rows)


def read(text: str, name: str) -> list[Network]:
    """A file: the answer of ``GET /meta``, or a network a line, ``#`` before a remark. Raises InputError."""
    if text.lstrip().startswith("{"):
        try:
            return of_meta(json.loads(text))
        except (ValueError, InputError) as exc:
            raise InputError(f"{name}: {exc}") from None
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    try:
        return networks_of(line for line in lines if line)
    except InputError as exc:
        raise InputError(f"{name}: {exc}") from None
