"""GitHub's alerts and failed deliveries. The alert list has no "since": it is read from the newest back to the cursor.

The payload of a failed delivery is read, not ordered again: that needs no right to write and no open door. GitHub
tells it as JSON; where its usual form fits the signature it is the very body, with the key that it has by the webhook.

Sources: docs.github.com/rest/secret-scanning, /rest/orgs/webhooks and /rest/repos/webhooks (deliveries are kept for
three days), "Best practices for using the REST API" (conditional requests, no requests beside one another).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from bot.errors import NotFound, RateLimited, Undeliverable
from bot.intake import github as webhook
from bot.intake import proof
from bot.intake.delivery import Delivery, Sender, at_path, number_at, rows_at, text_at
from bot.intake.inbox import Inbox
from bot.intake.missed import Cursor, before, newest, query_of, told
from bot.model import Trust
from bot.store import canonical
from bot.world import GitHub, Reply

OVERLAP = timedelta(minutes=5)
PAUSE_S = 0.2  # between requests
SPARE = 0.2  # of the hour's requests are left to containment, which lives by the same token
BY = Sender(trust=Trust.SIGNED, by="GitHub, asked")


def utc() -> datetime:
    """Now."""
    return datetime.now(UTC)


def home_of(name: str) -> str:
    """Where OWNER or OWNER/REPOSITORY stands in the API."""
    return f"/repos/{name}" if "/" in name else f"/orgs/{name}"


@dataclass(frozen=True, slots=True)
class Asking:
    """GitHub, asked slowly: one request after the other, and never the last of the hour."""

    github: GitHub
    pause_s: float = PAUSE_S

    def ask(self, path: str, etag: str = "", **query: Any) -> Reply:
        """One request, a pause after it. Raises RateLimited before the token's hour is used up."""
        reply = self.github.ask(path, etag, **query)
        time.sleep(self.pause_s)
        said = {name.lower(): value for name, value in reply.headers.items()}
        limit, left = (number_at(said, f"x-ratelimit-{name}") for name in ("limit", "remaining"))
        if limit and left < limit * SPARE:
            rest = max(60.0, number_at(said, "x-ratelimit-reset") - time.time())
            text = f"{left} of GitHub's {limit} requests an hour are left, and containment may need them"
            raise RateLimited(text, provider="github", retry_after=min(rest, 3600.0))
        return replace(reply, headers=said)

    def pages(self, path: str, first: Reply) -> Iterator[list[dict[str, Any]]]:
        """The rows of each page, by GitHub's own links."""
        reply = first
        while True:
            yield rows_at(reply.data, "")
            _, query = query_of(reply.headers.get("link", ""))
            if not query:
                return
            reply = self.ask(path, **dict(parse_qsl(query)))


@dataclass(frozen=True, slots=True)
class Alerts:
    """Secret-scanning alerts of an organization or a repository that have changed."""

    inbox: Inbox
    asking: Asking
    of: str

    @property
    def name(self) -> str:
        """Of its cursor."""
        return f"github-alerts:{self.of}"

    def turn(self, cursor: Cursor) -> Cursor:
        """Every alert that has changed since, oldest first, so that one who reads along sees them in order."""
        path = f"{home_of(self.of)}/secret-scanning/alerts"
        asked = {"sort": "updated", "direction": "desc", "hide_secret": "true", "per_page": 100}
        first = self.asking.ask(path, cursor.etag, **asked)
        if first.status == 304:
            return cursor
        since, found = cursor.since(OVERLAP, utc()), list[dict[str, Any]]()
        for rows in self.asking.pages(path, first):
            found += [row for row in rows if not before(text_at(row, "updated_at"), since)]
            if any(before(text_at(row, "updated_at"), since) for row in rows):
                break
        home = self.asking.ask(home_of(self.of)).data if found and "/" in self.of else None
        for row in reversed(found):
            self._land(row, row.get("repository") or home)
        at = newest((text_at(row, "updated_at") for row in found), cursor.at)
        return Cursor(at=at, etag=first.headers.get("etag", ""))

    def _land(self, row: dict[str, Any], repository: Any) -> None:
        """As the webhook would have told it; its key is the alert as it stands, so that it is landed once."""
        action = "resolved" if text_at(row, "state") == "resolved" else "created"
        alert = {name: value for name, value in row.items() if name not in ("repository", "secret")}
        body = {"action": action, "alert": alert, "repository": told(repository)}
        delivery = _delivery(json.dumps(body).encode(), "secret_scanning_alert")
        reading = webhook.read(delivery, BY)
        if not reading.empty:
            what = [reading.event, number_at(body, "repository.id"), row.get("number"), row.get("updated_at")]
            key = hashlib.sha256(canonical(what).encode()).hexdigest()
            self.inbox.receive(delivery, BY, replace(reading, key=key))


def _delivery(body: bytes, event: str) -> Delivery:
    headers = {"content-type": "application/json", "x-github-event": event}
    return Delivery(source="github", body=body, headers=headers, at=utc())


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Deliveries to our door that have failed and that nobody has sent again with success."""

    inbox: Inbox
    asking: Asking
    of: str
    secrets: tuple[str, ...]
    ours: str  # what the address of a webhook to us ends with

    @property
    def name(self) -> str:
        """Of its cursor."""
        return f"github-deliveries:{self.of}"

    def turn(self, cursor: Cursor) -> Cursor:
        """GitHub keeps three days: in the first round all of it is looked at."""
        since = cursor.since(OVERLAP, utc()) if cursor.at else datetime.min.replace(tzinfo=UTC)
        seen: list[dict[str, Any]] = []
        hooks = [hook for page in self._listed("/hooks") for hook in page]
        mine = [hook for hook in hooks if text_at(hook, "config.url").partition("?")[0].endswith(self.ours)]
        if not mine:
            raise NotFound(f"{self.of} has no webhook whose address ends with {self.ours}", provider="github")
        for hook in mine:
            where = f"/hooks/{number_at(hook, 'id')}/deliveries"
            rows = self._since(where, since)
            for row in self._failed(rows):
                self._take(where, row)
            seen += rows
        return Cursor(at=newest((text_at(row, "delivered_at") for row in seen), cursor.at))

    def _listed(self, where: str) -> Iterator[list[dict[str, Any]]]:
        path = home_of(self.of) + where
        return self.asking.pages(path, self.asking.ask(path, per_page=100))

    def _since(self, where: str, since: datetime) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for rows in self._listed(where):
            found += [row for row in rows if not before(text_at(row, "delivered_at"), since)]
            if any(before(text_at(row, "delivered_at"), since) for row in rows):
                break
        return found

    @staticmethod
    def _failed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The first try of each that never went through, oldest first. A time-out has no status of HTTP's."""
        through = {text_at(row, "guid") for row in rows if 200 <= number_at(row, "status_code") < 400}
        tries = {text_at(row, "guid"): row for row in rows}  # the newest first: the first try stays
        return [row for guid, row in reversed(tries.items()) if guid not in through]

    def _take(self, where: str, row: dict[str, Any]) -> None:
        try:
            path = f"{home_of(self.of)}{where}/{number_at(row, 'id')}"
            one = self.asking.ask(path).data
        except NotFound:
            return  # older than three days by now
        payload, headers = at_path(one, "request.payload"), told(at_path(one, "request.headers"))
        given = {str(name).lower(): str(value) for name, value in headers.items()}
        body, exact = self._body(payload, given.get("x-hub-signature-256", ""))
        delivery = _delivery(body, text_at(row, "event", 60))
        try:
            reading = webhook.read(delivery, BY)
        except Undeliverable as exc:
            self.inbox.refuse(delivery, str(exc))
            return
        if not reading.empty:
            key = "" if exact else hashlib.sha256(text_at(row, "guid").encode()).hexdigest()
            self.inbox.receive(delivery, BY, replace(reading, key=key))

    def _body(self, payload: Any, signature: str) -> tuple[bytes, bool]:
        """The body, and whether it is the very one that GitHub has signed."""
        forms = [json.dumps(payload, separators=(",", ":"), ensure_ascii=ascii_).encode() for ascii_ in (False, True)]
        for body in forms:
            try:
                proof.signed(signature, body, self.secrets)
            except Undeliverable:
                continue
            return body, True
        return forms[0], False
