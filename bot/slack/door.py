"""The door: nothing that Slack sends passes it unsigned, twice, from a stranger's workspace, or with a secret in it.

signature -> kind -> workspace -> secrets out -> one insert -> whoever listens -> acknowledged. What has landed is never
lost: it is worked again until it is settled. Slack's signature holds for five minutes and is no protection against
being sent again, so a row's id is made from the event and its signature is unique (docs.slack.dev, "Verifying requests
from Slack").
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slack_sdk.signature import SignatureVerifier

from bot.errors import BulkheadError, InputError
from bot.slack import payloads
from bot.slack.border import Border
from bot.slack.heard import owner_of
from bot.slack.payloads import Payload
from bot.store import iso
from bot.store_slack import Deliveries, Delivery

MOST = 1_000_000  # bytes; Slack's largest bodies are a quarter of that
_STAMP = re.compile(r"\d{1,12}")
_SIGNATURE = re.compile(r"v0=[0-9a-f]{64}")
STRANGER = "Only people of the workspace that Bulkhead belongs to may use it. Nothing was noted."
log = logging.getLogger("bulkhead.slack")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back. ``body`` is JSON, or empty."""

    status: int = 200
    body: str = ""

    @property
    def payload(self) -> Payload | None:
        """The body, for Socket Mode."""
        return dict(json.loads(self.body)) if self.body else None


def ephemeral(text: str) -> Answer:
    """An answer to a command that nobody else sees."""
    return Answer(body=json.dumps({"response_type": "ephemeral", "text": text}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The way in over HTTP and over Socket Mode."""

    signing_secret: str  # "" = no HTTP
    deliveries: Deliveries
    border: Border
    workspaces: Callable[[], frozenset[str]]  # that are let in. Raises bot.errors while nobody knows
    app_id: str
    listens: Callable[[str, str], bool]
    work: Callable[[Delivery, Payload], Answer]  # the delivery, and its body with what is kept in memory only
    refuse: Callable[[Payload, str], None]  # tell a stranger who cannot be answered directly
    now: Callable[[], datetime]
    boundary: Callable[[str], None]

    def http(self, headers: Mapping[str, str], raw: bytes) -> Answer:
        """One request; ``headers`` by lower-case name. 401 when it is not signed by Slack just now."""
        if not self.signing_secret:
            return Answer(404)
        if len(raw) > MOST:
            return Answer(413)
        signature = headers.get("x-slack-signature", "")
        if not self._signed(headers.get("x-slack-request-timestamp", ""), signature, raw):
            log.warning("a request to Slack's door was not signed by Slack, or too long ago")
            return Answer(401)
        try:
            payload = payloads.read(headers.get("content-type", ""), raw)
        except InputError:
            return Answer(400)
        return self.pass_in(payload, signature)

    def socket(self, payload: Payload) -> Answer:
        """One envelope of Socket Mode: Slack has proven itself by the connection's TLS and our own token."""
        return self.pass_in(payload, None)

    def pass_in(self, payload: Payload, signature: str | None) -> Answer:
        """Everything after the signature. 503 when it could not be landed: Slack then says so, or sends it again."""
        kind = payloads.kind_of(payload)
        if kind == "url_verification":
            return Answer(body=json.dumps({"challenge": str(payload.get("challenge", ""))[:200]}))
        if not kind or kind == "ssl_check":
            return Answer()
        try:
            if (stranger := self._stranger(kind, payload)) is not None:
                return stranger
            if not self.listens(*payloads.listener_of(payload)):
                return Answer()
            delivery, body, new = self._land(kind, payload, signature)
        except BulkheadError as exc:
            log.warning("what Slack sent could not be landed: %s", exc)
            return Answer(503)
        return self.work(delivery, body) if new else Answer()

    def _signed(self, stamp: str, signature: str, raw: bytes) -> bool:
        """Signed by Slack within the last five minutes. Junk is not read further: the SDK raises on it."""
        if not _STAMP.fullmatch(stamp) or not _SIGNATURE.fullmatch(signature):
            return False
        try:
            return SignatureVerifier(self.signing_secret).is_valid(raw, stamp, signature)
        except UnicodeDecodeError:
            return False

    def _stranger(self, kind: str, payload: Payload) -> Answer | None:
        """The answer to somebody of another workspace or app, who has nothing noted; None for our own people."""
        mine = not self.app_id or payload.get("api_app_id") == self.app_id
        theirs = payloads.workspaces(payload)
        if mine and theirs and theirs <= self.workspaces():
            return None
        log.warning("a %s of another workspace or app was refused", kind)
        if kind == "command":
            return ephemeral(STRANGER)
        if kind != "event":
            self.refuse(payload, STRANGER)
        return Answer()

    def _land(self, kind: str, payload: Payload, signature: str | None) -> tuple[Delivery, Payload, bool]:
        """Take the secrets out and write the row. Returns the body with what is kept in memory only beside it."""
        name, at = payloads.name_of(payload), self.now()
        taken = self.border.take(payload)
        row = payloads.without(taken.payload)
        delivery = Delivery(id=name, kind=kind, landed_at=iso(at), body=row)

        def seal(connection: Any) -> None:
            for one in taken.seals:
                self.border.vault.seal(connection, owner_of(delivery), one.label, one.value, one.credential, at)

        self.boundary("before slack/landed/1")
        new = self.deliveries.land(delivery, signature, seal)
        self.boundary("after slack/landed/1")
        kept = {key: payload[key] for key in payloads.IN_MEMORY if key in payload}
        return delivery, {**row, **kept}, new
