"""Waking people, since Slack wakes nobody: PagerDuty's Events API v2, and a signed webhook for everything else.

A page is a row first (``bot.posts``) and its deduplication key is the incident, so one that is sent twice wakes once.
A page that fails is told on the timeline (and so in Slack), in the log and in the metrics, and is tried again. What
the other side says of it comes back through ``bot.paging_door``. Drills page nobody.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit

import pagerduty
import requests

from bot.errors import ProviderError, Rejected, SettingsError, Unavailable
from bot.heartbeat import Alarm
from bot.posts import INTENDED, OVER, SENT, Post, Posts
from bot.settings import Settings
from bot.store import IncidentRow, Store, canonical, iso, when
from bot.timeline import Event, Timeline, load

PAGE, REAL = "page", "real"  # of the Worlds, only the real one wakes people
LEVELS = ("low", "medium", "high", "critical")
SEVERITIES = {"critical": "critical", "high": "error", "medium": "warning", "low": "info"}  # ours -> PagerDuty's
TIMEOUT_S = 10.0
TURN_S = 2.0
AGAIN_S = (5, 15, 30, 60)  # between two tries; the last one for ever
TOLD_AT = (1, 5, 20)  # so many failures, and the alarm is raised (again)
PAGERDUTY, WEBHOOK = "PagerDuty", "webhook"
log = logging.getLogger("bulkhead.paging")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What wakes somebody. ``key``: of all pages with one key, only the first wakes."""

    key: str
    summary: str
    severity: str  # critical, high, medium, low
    at: str
    url: str = ""


class Sender(Protocol):
    """A way to wake somebody. Both methods raise bot.errors' ProviderErrors, never with what was sent in them."""

    name: str

    def trigger(self, page: Page) -> None:
        """Wake them."""

    def resolve(self, page: Page) -> None:
        """Let them sleep."""


def loopback(url: str) -> bool:
    """Whether an address is on this machine: no proxy leads there."""
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "").is_loopback
    except ValueError:
        return False


class _Client(pagerduty.EventsApiV2Client):
    """The client, at an address of loopback too: by itself it takes https only."""

    def __init__(self, routing_key: str, url: str) -> None:
        super().__init__(routing_key, base_url=None if loopback(url) else url, trust_env=not loopback(url))
        self._at = url if loopback(url) else ""
        # The client's own retries sleep, some without an end; ours are rows and outlive a restart.
        self.timeout, self.sleep_timer, self.max_network_attempts = int(TIMEOUT_S), 0.05, 0
        self.retry = dict.fromkeys((429, 500, 502, 503, 504), 1)

    def normalize_url(self, url: str) -> str:
        return f"{self._at}{url}" if self._at else str(super().normalize_url(url))


class PagerDuty:
    """PagerDuty by its own client (developer.pagerduty.com/docs/events-api-v2-overview)."""

    name = PAGERDUTY

    def __init__(self, routing_key: str, url: str) -> None:
        self._key, self._url = routing_key, url

    def trigger(self, page: Page) -> None:
        links = [{"href": page.url, "text": "The incident"}] if page.url else None
        self._do("wake somebody", lambda client: client.trigger(
            page.summary[:1024], "bulkhead", dedup_key=page.key, severity=SEVERITIES.get(page.severity, "critical"),
            payload={"timestamp": page.at}, links=links))  # fmt: skip

    def resolve(self, page: Page) -> None:
        self._do("resolve a page", lambda client: client.resolve(page.key))

    def _do(self, what: str, work: Callable[[pagerduty.EventsApiV2Client], object]) -> None:
        with _Client(self._key, self._url) as client:
            try:
                work(client)
            except pagerduty.Error as exc:
                status = exc.response.status_code if exc.response is not None else 0
                raise _refused(PAGERDUTY, what, status) from None


class Webhook:
    """A signed POST to an address of the settings; docs/howto.md says how the other side checks it."""

    name = WEBHOOK

    def __init__(self, url: str, secret: str) -> None:
        self._url, self._secret = url, secret

    def trigger(self, page: Page) -> None:
        self._send("trigger", page)

    def resolve(self, page: Page) -> None:
        self._send("resolve", page)

    def _send(self, event: str, page: Page) -> None:
        said = {"event": event, "incident": page.key, "summary": page.summary, "severity": page.severity,
                "at": page.at, "url": page.url}  # fmt: skip
        body, stamp = canonical(said).encode(), str(int(datetime.now(UTC).timestamp()))
        headers = {"content-type": "application/json", "x-bulkhead-timestamp": stamp,
                   "x-bulkhead-signature": signature(self._secret, stamp, body)}  # fmt: skip
        with requests.Session() as session:
            session.trust_env = not loopback(self._url)
            session.auth = lambda request: request  # the signature is all it carries: nothing of a ~/.netrc
            try:
                answer = session.post(self._url, data=body, headers=headers, timeout=TIMEOUT_S, allow_redirects=False)
            except requests.RequestException:
                raise _refused(WEBHOOK, "take a page", 0) from None
        if not 200 <= answer.status_code < 300:
            raise _refused(WEBHOOK, "take a page", answer.status_code)


def _refused(who: str, what: str, status: int) -> ProviderError:
    if status in (0, 429) or status >= 500:
        said = f"answered {status}" if status else "did not answer"
        return Unavailable(f"{who} {said} when asked to {what}", provider=who.lower(), code=str(status or ""))
    return Rejected(f"{who} answered {status} when asked to {what}", provider=who.lower(), code=str(status))


def signature(secret: str, stamp: str, body: bytes) -> str:
    """``v1=`` and the HMAC-SHA256 of ``v1:STAMP:BODY``, in hexadecimal. The same both ways."""
    return "v1=" + hmac.new(secret.encode(), f"v1:{stamp}:".encode() + body, hashlib.sha256).hexdigest()


def senders_of(settings: Settings) -> list[Sender]:
    """The ways to wake people that the settings name. Raises SettingsError."""
    found: list[Sender] = []
    if key := settings.pagerduty_key.get_secret_value():
        found.append(PagerDuty(key, settings.pagerduty_url))
    if settings.page_url:
        if not (secret := settings.page_secret.get_secret_value()):
            raise SettingsError("BULKHEAD_PAGE_SECRET must be set where BULKHEAD_PAGE_URL is: pages are signed with it")
        found.append(Webhook(settings.page_url, secret))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Pager:
    """Wakes people for what is bad, or what nobody has answered; lets them sleep when it is over.

    ``least``: the severity from which an incident wakes somebody. ``url``: where the pages are, or "".
    """

    store: Store
    posts: Posts
    timeline: Timeline
    senders: Sequence[Sender]
    least: str = "high"
    url: Callable[[], str] = str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    seen: dict[str, int] = field(default_factory=dict)  # incident -> the last event that was looked at

    async def turn_async(self) -> None:
        """``turn``, in a thread."""
        await asyncio.to_thread(self.turn)

    def turn(self) -> int:
        """Do what is due; returns how many calls that were."""
        with self.store.only_one("pager") as mine:
            if not mine:
                return 0
            going = self.posts.heads("open", REAL)
            self._notice(going)
            due = [row for row in self.posts.all(PAGE, INTENDED, SENT) if self._due(row, row.incident in going)]
            for row in due:
                self._do(row)
            return len(due)

    def _notice(self, heads: dict[str, int]) -> None:
        """An intent for each incident that is to wake somebody and has not."""
        for name in [name for name, head in heads.items() if self.seen.get(name) != head]:
            events = load(self.store, name)
            self.seen[name] = heads[name]
            if not wakes(events, self.least):
                continue
            life = sum(1 for event in events if event.kind in ("closed", "aborted")) + 1  # an undo reopens
            for sender in self.senders:
                self.posts.intend(
                    f"{name}/page/{sender.name}/{life}", incident=name, kind=PAGE, at=iso(self.now()),
                    body={"to": sender.name, "tries": 0, "due": iso(self.now())},
                )  # fmt: skip

    def _due(self, row: Post, going: bool) -> bool:
        if when(row.body["due"]) > self.now() or row.body["to"] not in {sender.name for sender in self.senders}:
            return False
        return row.state == INTENDED or not going

    def _do(self, row: Post) -> None:
        sender = next(sender for sender in self.senders if sender.name == row.body["to"])
        incident = self.store.incident(row.incident)
        page = self._page(incident)
        try:
            if row.state == INTENDED and incident.status == "open":
                sender.trigger(page)
                self.write(row, "paged", {"to": sender.name})
                row = replace(row, state=SENT)
            else:
                # Also for one that may have been sent: nobody is to be woken for what is over.
                sender.resolve(page)
                row = replace(row, state=OVER)
            self.posts.save(replace(row, body=row.body | {"tries": 0, "due": iso(self.now())}))
        except ProviderError as exc:
            self._failed(row, exc)

    def _failed(self, row: Post, exc: ProviderError) -> None:
        tries = int(row.body["tries"]) + 1
        due = self.now() + timedelta(seconds=AGAIN_S[min(tries, len(AGAIN_S)) - 1])
        self.posts.save(replace(row, body=row.body | {"tries": tries, "due": iso(due)}))
        if tries in TOLD_AT:
            log.error("nobody was woken for incident %s: %s (try %d); it is tried again", row.incident, exc, tries)
            if row.state == INTENDED:
                self.write(row, "page-failed", {"to": row.body["to"], "error": str(exc)}, attempt=tries)

    def write(self, row: Post, kind: str, body: dict[str, Any], attempt: int = 1) -> None:
        """Onto the timeline, once: from there cards, threads and pages take it."""
        step = row.key.removeprefix(f"{row.incident}/")
        at = iso(self.now())
        self.timeline.append(row.incident, step, kind, body, at=at, attempt=attempt).result()

    def _page(self, row: IncidentRow) -> Page:
        events = load(self.store, row.id)
        asked = sum(1 for e in events if e.kind == "asked") - sum(1 for e in events if e.kind == "decided")
        waits = f"; {asked} questions wait for people" if asked > 0 else ""
        level = level_of(events) or "high"
        url = f"{self.url()}/incidents/{row.id}" if self.url() else ""
        summary = f"{level}: {row.title} ({row.id}{waits})"
        return Page(key=row.id, summary=summary, severity=level, at=row.opened_at, url=url)

    def alarm(self, alarm: Alarm) -> None:
        """Wake somebody because a part of Bulkhead itself has fallen silent, or let them sleep when it is back.

        Sent at once and without a row: who would have sent it later may be the one that is silent.
        """
        page = Page(
            key=f"bulkhead-{alarm.role}", summary=f"Bulkhead: {alarm.text}", severity="critical", at=iso(self.now())
        )
        for sender in self.senders:
            try:
                (sender.resolve if alarm.back else sender.trigger)(page)
            except ProviderError as exc:
                log.error("nobody was woken although the %s is silent: %s", alarm.role, exc)  # noqa: TRY400


def level_of(events: Sequence[Event]) -> str:
    """The severity as it was last said; "" before triage."""
    return next((str(e.body["level"]) for e in reversed(events) if e.kind == "severity" and e.body), "")


def wakes(events: Sequence[Event], least: str) -> bool:
    """Whether somebody is to be woken: it is bad enough, or nobody has answered in time what could not wait."""
    level = level_of(events)
    bad = level in LEVELS and LEVELS.index(level) >= LEVELS.index(least)
    return bad or any(event.kind == "escalated" for event in events)


def pager_of(settings: Settings, store: Store, timeline: Timeline, url: Callable[[], str]) -> Pager | None:
    """The pager of these settings; None when they name nobody to wake. Raises SettingsError."""
    senders = senders_of(settings)
    if not senders:
        return None
    return Pager(store=store, posts=Posts(store), timeline=timeline, senders=senders, least=settings.page_from, url=url)
