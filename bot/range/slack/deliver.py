"""What Slack sends to the app: events, commands and interactions, signed, over HTTP or a Socket Mode connection.

A person waits ``ack_s`` for the answer to a command or a click, and neither is ever sent again. An event that is not
acknowledged is sent again at once, after a minute and after five, by the range's clock
(docs.slack.dev/apis/events-api, "Error handling and automatic retries").
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import requests

from bot.range.slack.nouns import Installed
from bot.range.slack.state import State

if TYPE_CHECKING:
    from bot.range.slack.sockets import Sockets

RETRIES_S = (0.0, 60.0, 300.0)  # after the failure before
MAX_REDIRECTS = 2
MAX_LOG = 10_000
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
_ENVELOPE = {"event": "events_api", "command": "slash_commands", "interactive": "interactive"}


def sign(secret: str, timestamp: str, body: str | bytes) -> str:
    """The signature of a request: v0, HMAC-SHA256 over version, time and raw body."""
    raw = body.encode() if isinstance(body, str) else body
    digest = hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + raw, hashlib.sha256)
    return f"v0={digest.hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. ``error`` is what the person sees, ``reason`` what a retried event says of the try before."""

    error: str = ""
    reason: str = ""
    body: Any = None  # JSON, or text, or None for an empty body
    no_retry: bool = False

    @property
    def ok(self) -> bool:
        return not self.error


@dataclass(slots=True)
class _Retry:
    """An event that was not acknowledged, to be sent again at ``due`` of the range's clock."""

    state: State  # the workspace it happened in; a reset makes another one, which it is no business of
    payload: dict[str, Any]
    number: int
    reason: str
    due: float


class Outbox:
    """Sends. Never called with the state's lock held: the app may call the Web API before it answers."""

    def __init__(self, state: Callable[[], State], sockets: Sockets) -> None:
        self._state, self._sockets = state, sockets
        self._retries: list[_Retry] = []
        self._lock = threading.Lock()
        self.log: deque[dict[str, Any]] = deque(maxlen=MAX_LOG)  # what was sent and what became of it, no bodies

    def reset(self) -> None:
        with self._lock:
            self._retries = []
            self.log.clear()

    def send(self, kind: str, payload: dict[str, Any], *, number: int = 0, reason: str = "") -> Answer:
        """Deliver once and wait for the answer. ``number`` and ``reason`` are of a retried event."""
        app = self._state().app
        if app.socket_mode or not app.request_url:
            answer = self._sockets.send(
                _ENVELOPE[kind], payload, timeout_s=app.ack_s, accepts=accepts(kind, payload), number=number,
                reason=reason,
            )  # fmt: skip
        else:
            answer = self._post(app, kind, payload, number, reason)
        with self._lock:
            self.log.append(
                {
                    "kind": kind, "type": _type_of(payload), "number": number, "error": answer.error,
                    "at": self._state().now(),
                }
            )  # fmt: skip
        return answer

    def _post(self, app: Installed, kind: str, payload: dict[str, Any], number: int, reason: str) -> Answer:
        body, content_type = encode(kind, payload)
        retried = {"x-slack-retry-num": str(number), "x-slack-retry-reason": reason} if number else {}
        return post(app, body, content_type, retried)

    def answers(self, url: str) -> bool:
        """Whether a request URL repeats a challenge (docs.slack.dev/reference/events/url_verification)."""
        app, challenge = self._state().app, secrets.token_urlsafe(32)
        asked = {"type": "url_verification", "token": app.verification, "challenge": challenge}
        answer = post(replace(app, request_url=url), json.dumps(asked).encode(), JSON, {})
        said = answer.body.get("challenge") if isinstance(answer.body, dict) else answer.body
        return answer.ok and str(said or "").strip().removeprefix("challenge=") == challenge

    # events --------------------------------------------------------------------------------------------------------

    def event(self, payload: dict[str, Any]) -> None:
        """Send an event; when it is not acknowledged, again at Slack's times. Returns after the first try."""
        self._event(self._state(), payload, 0, "")

    def _event(self, state: State, payload: dict[str, Any], number: int, reason: str) -> None:
        if state is not self._state():
            return
        answer = self.send("event", payload, number=number, reason=reason)
        if answer.ok or answer.no_retry or number >= len(RETRIES_S):
            return
        due = state.now() + RETRIES_S[number]
        with self._lock:
            self._retries.append(_Retry(state, payload, number + 1, answer.reason, due))

    def retry_due(self) -> int:
        """Send again what is due by the range's clock. Returns how many events that were."""
        now = self._state().now()
        with self._lock:
            due = [each for each in self._retries if each.due <= now]
            self._retries = [each for each in self._retries if each.due > now]
        for each in due:
            self._event(each.state, each.payload, each.number, each.reason)
        return len(due)

    @property
    def waiting(self) -> int:
        """Events that are to be sent again."""
        with self._lock:
            return len(self._retries)


def accepts(kind: str, payload: dict[str, Any]) -> bool:
    """Whether the answer itself may say something: to a command, a submission or a question for options."""
    return kind == "command" or payload.get("type") in ("view_submission", "block_suggestion")


def _type_of(payload: dict[str, Any]) -> str:
    event = payload.get("event")
    return str(event["type"]) if isinstance(event, dict) else str(payload.get("type") or payload.get("command"))


def encode(kind: str, payload: dict[str, Any]) -> tuple[bytes, str]:
    """The body of a delivery and its content type."""
    if kind == "event":
        return json.dumps(payload).encode(), JSON
    if kind == "command":
        return urlencode(payload).encode(), FORM
    return urlencode({"payload": json.dumps(payload)}).encode(), FORM


def post(app: Installed, body: bytes, content_type: str, headers: dict[str, str]) -> Answer:
    """One signed POST to the app's request URL. The time is the machine's: it is the app's clock that judges it."""
    timestamp = str(int(time.time()))
    signed = {
        "content-type": content_type, "user-agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        "x-slack-request-timestamp": timestamp, "x-slack-signature": sign(app.signing_secret, timestamp, body),
    }  # fmt: skip
    with requests.Session() as session:
        session.trust_env, session.max_redirects = False, MAX_REDIRECTS
        try:
            said = session.post(app.request_url, data=body, headers=signed | headers, timeout=app.ack_s)
        except requests.Timeout:
            return Answer(error="operation_timeout", reason="http_timeout")
        except requests.TooManyRedirects:
            return Answer(error="dispatch_failed", reason="too_many_redirects")
        except requests.RequestException:
            return Answer(error="dispatch_failed", reason="connection_failed")
    no_retry = said.headers.get("x-slack-no-retry") == "1"
    if not 200 <= said.status_code < 300:
        return Answer(error="http_service_error", reason="http_error", no_retry=no_retry)
    return Answer(body=decode(said.text, said.headers.get("content-type", "")), no_retry=no_retry)


def decode(text: str, content_type: str) -> Any:
    """What an answer says: JSON, plain text, or None for nothing."""
    if not text.strip():
        return None
    if JSON in content_type:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
