"""GitHub's secret scanning partner program: GitHub tells whoever issues a kind of token where it has seen one.

Signed with ECDSA over the raw body by a key that GitHub publishes under its name. There is no timestamp and no id: the
same body again is the same delivery. Each match holds the token itself, and public is what all of them are. Source:
docs.github.com "Secret scanning partner program".
"""

from __future__ import annotations

import threading
import time
from typing import Any

from bot.errors import Unavailable, Undeliverable
from bot.intake import proof
from bot.intake.delivery import (
    Delivery,
    Reading,
    Seen,
    Sender,
    commit_of,
    plain,
    repository_of,
    rows_at,
    secret_at,
    text_at,
)
from bot.intake.fetch import Fetch, fetch
from bot.intake.kinds import kind_of
from bot.intake.wire import json_of, loads, text_of
from bot.model import Exposure, Trust

KEYS = "/meta/public_keys/secret_scanning"
AGAIN_S = 60.0  # so often the list of keys is asked for at most, whatever names senders make up
KEPT_S = 3600.0


class Partner:
    """GitHub's keys. Thread-safe. ``api`` is https://api.github.com."""

    def __init__(self, api: str, get: Fetch = fetch) -> None:
        self._url, self._fetch = api.rstrip("/") + KEYS, get
        self._keys: dict[str, str] = {}
        self._asked = float("-inf")
        self._lock = threading.Lock()

    def prove(self, delivery: Delivery) -> Sender:
        """Raises Undeliverable unless one of GitHub's keys has signed the raw body."""
        name = plain(delivery.header("github-public-key-identifier"), 128)
        given = delivery.header("github-public-key-signature")
        if not (name and given):
            raise Undeliverable("the signature is missing", 401, "unsigned")
        key = self._key(name)
        if key is None:
            raise Undeliverable("GitHub publishes no key of this name", 401, "key")
        proof.ecdsa(given, delivery.body, key)
        return Sender(trust=Trust.SIGNED, by="GitHub's secret scanning")

    def read(self, delivery: Delivery, _sender: Sender) -> Reading:
        """The matches. Raises Undeliverable when it is no JSON."""
        value = json_of(delivery.body, delivery.header("content-type"))
        seen = tuple(_seen(row) for row in rows_at(value, ""))
        note = "" if seen else "it holds no match"
        kinds = ", ".join(dict.fromkeys(one.called for one in seen))
        return Reading(event="matches", seen=seen, by="GitHub", text=f"GitHub found {kinds} in public", note=note)

    def _key(self, name: str) -> str | None:
        with self._lock:
            age = time.monotonic() - self._asked
            if age > KEPT_S or (name not in self._keys and age > AGAIN_S):
                try:
                    rows = rows_at(loads(text_of(self._fetch(self._url))), "public_keys")
                except Unavailable:
                    if name not in self._keys:
                        raise Undeliverable("GitHub's keys could not be fetched now; try again", 503, "key") from None
                else:
                    self._keys = {text_at(row, "key_identifier", 128): str(row.get("key", "")) for row in rows}
                self._asked = time.monotonic()
            return self._keys.get(name)


def _seen(row: dict[str, Any]) -> Seen:
    called, url = text_at(row, "type", 100), text_at(row, "url")
    value = secret_at(row, "token")
    return Seen(
        called=called, kind=kind_of(called), value=value, text=value, url=url, where=text_at(row, "source", 60) or url,
        repository=repository_of(url), commit=commit_of(url), exposure=Exposure.PUBLIC, severity="critical",
    )  # fmt: skip
