"""A drill's alert in its real format: what a scanner of the range sends goes through the door, as it does in earnest.

The range signs as the source signs, with a secret that is made for this one delivery; the door proves it, reads it and
lands it. Only the row's name is a drill's (``drill:…``), so that nobody takes it for another.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from bot.engine.rules import DRILL
from bot.errors import EngineError
from bot.intake import sources
from bot.intake.delivery import Delivery, Reading, Sender
from bot.intake.door import Door
from bot.intake.inbox import Inbox, Landed
from bot.intake.sns import Topics
from bot.intake.sources import Source
from bot.store_drills import SOURCE

LONGEST = 2500  # characters of a payload that are shown
Post = Callable[[str, Any], Any]


def deliver(
    inbox: Inbox, post: Post, scenario: str, scanner: str, leak: Mapping[str, Any], *, at: datetime, now: datetime,
    delivery: str,
) -> Landed:  # fmt: skip
    """Have the range send an alert, and take it in by the door.

    ``at``: since when it counts, which may be before ``now``, when it is signed: people have thought meanwhile.
    Raises EngineError when the door does not take it: then the range does not sign as it should.
    """
    secret = secrets.token_urlsafe(24)
    sent = _sent(post, scenario, scanner, leak, secret)
    body, name, certificate = base64.b64decode(sent["body"]), str(sent["source"]), str(sent["certificate"]).encode()
    topics = Topics((_topic(body),), lambda _url: certificate) if certificate else None
    source = sources.built({} if topics else {name: (secret,)}, topics=topics)[name]
    door = Door({SOURCE: _drilled(source, delivery, now)}, inbox, world=DRILL)
    answer = door.receive(Delivery(source=SOURCE, body=body, headers=sent["headers"], at=at))
    if not answer.id:
        raise EngineError(f"the door did not take the alert of {scanner}: {answer.status} {answer.text}")
    return Landed(id=answer.id, new=answer.text == "landed")


def shown(
    post: Post, scenario: str, scanner: str, leak: Mapping[str, Any], hide: Mapping[str, str]
) -> str:  # fmt: skip
    """What a scanner sends, to be read by people: an envelope is opened. ``hide``: values by name, not to be shown."""
    sent = _sent(post, scenario, scanner, leak, secrets.token_urlsafe(24))
    value = json.loads(base64.b64decode(sent["body"]))
    if isinstance(value, dict) and isinstance(value.get("Message"), str):
        value = json.loads(value["Message"])
    text = json.dumps(value, indent=1)
    for name, secret in hide.items():
        text = text.replace(secret, f"[the value of {name}]")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def _sent(post: Post, scenario: str, scanner: str, leak: Mapping[str, Any], secret: str) -> dict[str, Any]:
    asked = {"scenario": scenario, "scanner": scanner, "secret": secret, "leak": dict(leak)}
    found: dict[str, Any] = post("/drill/alert", asked)
    return found


def _topic(body: bytes) -> str:
    return str(json.loads(body)["TopicArn"])


def _drilled(source: Source, delivery: str, now: datetime) -> Source:
    """The source, whose rows have the name that a drill's have."""

    def prove(given: Delivery) -> Sender:
        return source.prove(replace(given, at=now))

    def read(given: Delivery, sender: Sender) -> Reading:
        return replace(source.read(given, sender), key=delivery)

    return replace(source, name=SOURCE, prove=prove, read=read)
