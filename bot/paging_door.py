"""Where the other side of a page says that somebody has taken it: PagerDuty's webhooks (v3), and signed ones.

Nothing is believed that is not signed. What is told twice is one event: its key is the other side's own id of it. An
ASGI app, since whoever serves the pages serves this too; it shows nothing, so it needs no session.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bot.errors import BulkheadError, InputError
from bot.paging import PAGERDUTY, WEBHOOK, signature
from bot.settings import Settings
from bot.store import Store, iso
from bot.timeline import Timeline

MOST = 200_000  # bytes of a body
WINDOW_S = 300  # so long a signature with a time in it holds
NAME = 100  # characters of somebody's name
log = logging.getLogger("bulkhead.paging")

Message = MutableMapping[str, Any]
Said = tuple[str, str, str] | None  # incident, by whom, the other side's id of it


@dataclass(frozen=True, slots=True, kw_only=True)
class PageDoor:
    """One address. ``kind``: PagerDuty or webhook, which says how it is signed."""

    kind: str
    secret: str
    store: Store
    timeline: Timeline
    scrub: Callable[[str], str] = str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Answer one request: 202 when it was taken, 401 when its signature does not hold, 400 for nonsense."""
        status = 405
        if scope["type"] == "http" and scope["method"] == "POST":
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            status = await asyncio.to_thread(self.take, headers, await _body(receive))
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b""})

    def take(self, headers: Mapping[str, str], body: bytes) -> int:
        """Take one message; returns the HTTP status of the answer."""
        if not self.secret or len(body) > MOST or not self._signed(headers, body):
            return 401
        try:
            data = json.loads(body)
            said = _pagerduty(data) if self.kind == PAGERDUTY else _generic(data, headers, body)
        except (ValueError, KeyError, TypeError, AttributeError):
            return 400
        if said is not None:
            return self._note(*said)
        return 202

    def _signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        if self.kind == PAGERDUTY:  # developer.pagerduty.com/docs/verifying-webhook-signatures
            wanted = "v1=" + hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
            given = [one.strip() for one in headers.get("x-pagerduty-signature", "").split(",")]
            return any(hmac.compare_digest(wanted.encode(), one.encode()) for one in given)
        stamp = headers.get("x-bulkhead-timestamp", "")
        if not (stamp.isascii() and stamp.isdigit()) or abs(self.now().timestamp() - int(stamp)) > WINDOW_S:
            return False
        wanted = signature(self.secret, stamp, body)
        return hmac.compare_digest(wanted.encode(), headers.get("x-bulkhead-signature", "").encode())

    def _note(self, incident: str, by: str, told: str) -> int:
        try:
            row = self.store.incident(incident)
        except InputError:
            return 202  # a page of somebody else's
        name = self.scrub(" ".join(by.split()))[:NAME].replace(":", " ") or "somebody"
        body = {"by": f"{name} ({self.kind})", "to": self.kind}
        try:
            self.timeline.append(row.id, f"page:{told}", "acknowledged", body, at=iso(self.now())).result()
        except BulkheadError as exc:
            log.warning("an acknowledgement could not be written down now: %s", exc)
            return 503  # they send it again
        return 202


def _pagerduty(data: Any) -> Said:
    """An acknowledgement, or None for other events (developer.pagerduty.com/docs/webhooks-overview)."""
    event = data["event"]
    if event["event_type"] != "incident.acknowledged":
        return None
    agent = event.get("agent") or {}
    found = str(event["data"].get("incident_key") or "")
    return (found, str(agent.get("summary") or agent.get("id") or ""), str(event["id"])[:100]) if found else None


def _generic(data: Any, headers: Mapping[str, str], body: bytes) -> Said:
    if data["event"] != "acknowledged":
        return None
    told = hashlib.sha256(headers["x-bulkhead-timestamp"].encode() + body).hexdigest()[:16]
    return str(data["incident"]), str(data.get("by") or ""), told


def doors_of(
    settings: Settings, store: Store, timeline: Timeline, scrub: Callable[[str], str]
) -> dict[str, PageDoor]:
    """Path -> door, for each side that has a secret to sign with."""
    duty, other = settings.pagerduty_secret.get_secret_value(), settings.page_secret.get_secret_value()
    sides = {"/pages/pagerduty": (PAGERDUTY, duty), "/pages/webhook": (WEBHOOK, other)}
    return {
        path: PageDoor(kind=kind, secret=secret, store=store, timeline=timeline, scrub=scrub)
        for path, (kind, secret) in sides.items() if secret
    }  # fmt: skip


async def _body(receive: Callable[[], Awaitable[Message]]) -> bytes:
    """The body, or a little more than the most that is read of one."""
    parts, size = [], 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if not message.get("more_body") or size > MOST:
            return b"".join(parts)
