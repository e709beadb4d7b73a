"""GitGuardian's custom webhook. It is sent once and never again: the clock asks its API for what was missed.

The key of the signature is the timestamp and the token in one string, over the raw body; many handlers get that wrong.
Events hold no value, but for the test message, which is of an older form and may. Where the credential stands comes
later, in ``new_occurrence``; both have one name, ``gitguardian:INCIDENT``. Source: docs.gitguardian.com "Custom
webhook".
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from bot.intake import proof
from bot.intake.delivery import (
    Delivery,
    Reading,
    Seen,
    Sender,
    Settled,
    number_at,
    repository_of,
    rows_at,
    secret_at,
    text_at,
)
from bot.intake.kinds import kind_of
from bot.intake.wire import json_of, unpacked
from bot.model import Exposure, Trust

WINDOW = timedelta(minutes=5)
OPENS = {"incident_triggered", "incident_reopened", "incident_regression", "new_occurrence",
         "incident_validity_changed", "incident_severity_changed", "incident_shared_publicly"}  # fmt: skip
ENDS = {"incident_resolved", "incident_ignored"}


def prove(delivery: Delivery, secrets: tuple[str, ...]) -> Sender:
    """HMAC-SHA256 with timestamp and token as its key; the timestamp is five minutes away at most."""
    stamp = delivery.header("timestamp")
    keys = tuple(stamp + secret for secret in secrets if secret)
    proof.signed(delivery.header("gitguardian-signature"), delivery.body, keys)
    proof.fresh(stamp, delivery.at, WINDOW)
    return Sender(trust=Trust.SIGNED, by="GitGuardian")


def read(delivery: Delivery, _sender: Sender) -> Reading:
    """What a delivery tells. Raises Undeliverable when it is no JSON."""
    value = json_of(unpacked(delivery.body, delivery.header("content-encoding")), delivery.header("content-type"))
    action = text_at(value, "action", 60)
    if not action and rows_at(value, "matches"):
        return _message(value)
    number = number_at(value, "incident.id")
    if not number or not action:
        return Reading(event=action or "unknown", note="it names no incident of GitGuardian's")
    by = text_at(value, "target_user", 100)
    names = tuple(f"gitguardian:{one}" for one in (str(number), _hash(value)) if one)
    if action in ENDS:
        why = text_at(value, "incident.ignore_reason", 100) or action.removeprefix("incident_")
        revoked = value["incident"].get("secret_revoked") is True
        at = text_at(value, "incident.resolved_at", 40) or text_at(value, "incident.ignored_at", 40)
        over = Settled(names=names, revoked=revoked, resolution=why, by=by, at=at)
        return Reading(event=action, settled=(over,), by=by, text=f"GitGuardian's incident {number}: {why}")
    if action not in OPENS:
        return Reading(event=action, note="this action changes nothing about the credential")
    seen = _seen(value, names)
    return Reading(event=action, seen=(seen,), by=by, text=f"GitGuardian's incident {number}: {seen.called}")


def _hash(value: Any) -> str:
    """GitGuardian's own digest of the secret; its documents' samples say xxx."""
    found = text_at(value, "incident.secret_hash", 200)
    return found if len(found) >= 16 else ""


def _seen(value: Any, names: tuple[str, ...]) -> Seen:
    called = text_at(value, "incident.detector.display_name", 100)
    public = text_at(value, "occurrence.source.visibility") or (
        "public" if text_at(value, "action") == "incident_shared_publicly" else ""
    )
    exposure = {"public": Exposure.PUBLIC, "private": Exposure.INTERNAL, "internal": Exposure.INTERNAL}
    place = number_at(value, "occurrence.id")
    return Seen(
        called=called, kind=kind_of(text_at(value, "incident.detector.name"), called), names=names,
        where=text_at(value, "occurrence.filepath"), commit=text_at(value, "occurrence.sha", 64),
        repository=repository_of(text_at(value, "occurrence.source.url")),
        url=text_at(value, "occurrence.url") or text_at(value, "incident.gitguardian_url"),
        place=f"gitguardian:{place}" if place else names[0],
        exposure=exposure.get(public, Exposure.UNKNOWN), severity=text_at(value, "incident.severity", 20),
        validity={"valid": "live", "invalid": "dead"}.get(text_at(value, "incident.validity"), ""),
    )  # fmt: skip


def _message(value: Any) -> Reading:
    """The form of 2019, which the test button still sends: matches may hold the value."""
    called = text_at(value, "type", 100)
    texts = [found for row in rows_at(value, "matches") if (found := secret_at(row, "match"))]
    if not any(text.strip("-* ").lower() not in ("", "censored") for text in texts):
        return Reading(event="test", note="a test message without a value")
    seen = Seen(
        called=called, kind=kind_of(called), text="\n".join(texts), url=text_at(value, "gitguardian_link"),
        severity=text_at(value, "severity", 20),
    )  # fmt: skip
    return Reading(event="test", seen=(seen,), text=f"GitGuardian: {called}")
