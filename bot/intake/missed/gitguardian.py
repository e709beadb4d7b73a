"""GitGuardian's incidents, their occurrences and what became of them, by its API: its webhook is sent once.

Source: api.gitguardian.com/docs, "List secret incidents" and "List secret occurrences" (``incidents:read``): date_after
and ordering, pages by the Link header. It counts on GitGuardian's clock alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import requests

from bot.errors import Forbidden, NotFound, ProviderError, RateLimited, Refused, Rejected, Unavailable
from bot.intake import gitguardian as webhook
from bot.intake.delivery import Delivery, Sender, number_at, rows_at, text_at
from bot.intake.inbox import Inbox
from bot.intake.missed import Cursor, before, newest, query_of
from bot.model import Trust
from bot.store import canonical, iso

OVERLAP = timedelta(hours=1)
TIMEOUT = (3.05, 20.0)
MOST = 16 * 1024 * 1024
BY = Sender(trust=Trust.SIGNED, by="GitGuardian, asked")
INCIDENTS, OCCURRENCES = "/v1/incidents/secrets", "/v1/occurrences/secrets"


@dataclass(frozen=True, slots=True)
class Client:
    """GitGuardian's API. Its token is shown to this address alone, wherever a link leads."""

    api: str
    token: str = field(repr=False)

    def pages(self, path: str, **query: Any) -> Iterator[list[dict[str, Any]]]:
        """The rows of each page. Raises bot.errors."""
        url, asked = f"{self.api}{path}", {"per_page": 100, **query}
        while url:
            answer = self._get(url, asked)
            yield rows_at(answer[0], "")
            url, _ = query_of(answer[1])
            if url and urlsplit(url)[:2] != urlsplit(self.api)[:2]:
                raise Rejected("GitGuardian names a next page that is not its own", provider="gitguardian")
            asked = {}

    def one(self, path: str) -> Any:
        """One document."""
        return self._get(f"{self.api}{path}", {})[0]

    def _get(self, url: str, query: dict[str, Any]) -> tuple[Any, str]:
        failure: ProviderError
        with requests.Session() as session:
            session.trust_env = False  # no ~/.netrc: its password would take the token's place
            try:
                with session.get(
                    url, params=query, timeout=TIMEOUT, allow_redirects=False, stream=True,
                    headers={"Authorization": f"Token {self.token}"},
                ) as answer:  # fmt: skip
                    if answer.status_code == 200:
                        text = answer.raw.read(MOST + 1, decode_content=True)
                        return json.loads(text), answer.headers.get("link", "")
                    failure = _failure(answer.status_code, answer.headers.get("retry-after", ""))
            except (requests.RequestException, OSError, ValueError) as exc:
                failure = Unavailable(f"GitGuardian does not answer ({type(exc).__name__})", provider="gitguardian")
        raise failure from None


def _failure(status: int, retry_after: str) -> ProviderError:
    said, code = f"GitGuardian answered {status}", str(status)
    if status == 429:
        rest = float(retry_after) if retry_after.isdigit() else 60.0
        return RateLimited(said, provider="gitguardian", code=code, retry_after=rest)
    if status == 403:
        said += "; the token needs incidents:read"
        return Forbidden(said, provider="gitguardian", code=code, permission="incidents:read")
    kinds: dict[int, type[ProviderError]] = {401: Refused, 404: NotFound}
    kind = kinds.get(status, Unavailable if status >= 500 else Rejected)
    return kind(said, provider="gitguardian", code=code)


@dataclass(frozen=True, slots=True)
class Incidents:
    """Everything of the workspace that has changed."""

    inbox: Inbox
    client: Client
    name: str = "gitguardian"

    def turn(self, cursor: Cursor) -> Cursor:
        """New incidents, then where they stand, then those that are over."""
        since = cursor.since(OVERLAP, datetime.now(UTC))
        asked = {"date_after": iso(since), "ordering": "date"}
        known: dict[int, dict[str, Any]] = {}
        times: list[str] = []
        for page in self.client.pages(INCIDENTS, **asked):
            for row in page:
                known[number_at(row, "id")] = row
                self._land("incident_triggered", row)
                times.append(text_at(row, "date"))
        for page in self.client.pages(OCCURRENCES, **asked):
            for row in page:
                number = number_at(row, "incident_id")
                if number not in known:
                    known[number] = self.client.one(f"{INCIDENTS}/{number}")
                self._land("new_occurrence", known[number], row)
                times.append(text_at(row, "date"))
        for action, status, by in (("resolved", "RESOLVED", "resolved_at"), ("ignored", "IGNORED", "ignored_at")):
            for page in self.client.pages(INCIDENTS, status=status, ordering=f"-{by}"):
                fresh = [row for row in page if not before(text_at(row, by), since)]
                for row in fresh:
                    self._land(f"incident_{action}", row)
                    times.append(text_at(row, by))
                if len(fresh) < len(page):
                    break
        return Cursor(at=newest(times, cursor.at))

    def _land(self, action: str, incident: dict[str, Any], occurrence: dict[str, Any] | None = None) -> None:
        """As the webhook would have told it, once."""
        body = {"action": action, "incident": incident} | ({"occurrence": occurrence} if occurrence else {})
        delivery = Delivery(
            source="gitguardian", body=json.dumps(body).encode(), headers={}, at=datetime.now(UTC)
        )  # fmt: skip
        reading = webhook.read(delivery, BY)
        if not reading.empty:
            told = [action, number_at(incident, "id"), number_at(occurrence or {}, "id"),
                    text_at(incident, "resolved_at"), text_at(incident, "ignored_at")]  # fmt: skip
            key = hashlib.sha256(canonical(told).encode()).hexdigest()
            self.inbox.receive(delivery, BY, replace(reading, key=key))
