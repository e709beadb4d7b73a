"""AWS's own events, as EventBridge passes them on: a key found in public (Health), a key misused (GuardDuty).

Neither holds a value; both name the access key. Health means that AWS saw the key in public. GuardDuty sends a finding
again as it grows: its id is the place, so that it is one sighting. Its sample findings never contain. Sources:
github.com/aws/aws-health-tools; docs.aws.amazon.com "GuardDuty finding format".
"""

from __future__ import annotations

import re
from typing import Any

from bot.intake.delivery import Fact, Reading, Seen, at_path, rows_at, text_at
from bot.model import Exposure

KEY = re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{12,28}")
EXPOSED = {"AWS_RISK_CREDENTIALS_EXPOSED", "AWS_RISK_IAM_QUARANTINE"}
SAMPLE_USER = "GeneratedFindingUserName"
_LEVELS = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.0, "low"))


def read(event: Any) -> Reading:
    """What an event of EventBridge tells."""
    source = text_at(event, "source", 60)
    if source == "aws.health":
        return _health(event)
    if source == "aws.guardduty":
        return _guardduty(event)
    return Reading(event=source or "unknown", note="it is no event of AWS Health or GuardDuty")


def _kind(key: str) -> str:
    return "aws-session" if key.startswith("ASIA") else "aws-access-key"


def _health(event: Any) -> Reading:
    code, arn = text_at(event, "detail.eventTypeCode", 100), text_at(event, "detail.eventArn", 300)
    if code not in EXPOSED:
        return Reading(event=code or "aws.health", note="this event of AWS Health names no credential")
    keys = [text_at(row, "entityValue", 40) for row in rows_at(event, "detail.affectedEntities")]
    seen = tuple(
        Seen(called=code, kind=_kind(key), id=key, where="public, as AWS saw it", severity="critical",
             exposure=Exposure.PUBLIC, validity="live", place=f"{arn}:{key}")
        for key in keys if KEY.fullmatch(key)
    )  # fmt: skip
    note = "" if seen else "the event names no access key"
    return Reading(event=code, seen=seen, by="AWS Health", text=f"AWS Health: {code} of {', '.join(keys)}", note=note)


def _guardduty(event: Any) -> Reading:
    kind, name = text_at(event, "detail.type", 150), text_at(event, "detail.id", 64)
    user = text_at(event, "detail.resource.accessKeyDetails.userName", 130)
    if at_path(event, "detail.service.additionalInfo.sample") is True or user == SAMPLE_USER:
        return Reading(event=kind or "guardduty", note="a sample finding: nothing is contained for it")
    key = text_at(event, "detail.resource.accessKeyDetails.accessKeyId", 40)
    call = "detail.service.action.awsApiCallAction"
    paths = {
        "type": "detail.type", "key": "detail.resource.accessKeyDetails.accessKeyId", "api": f"{call}.api",
        "user": "detail.resource.accessKeyDetails.userName", "service": f"{call}.serviceName",
        "from": f"{call}.remoteIpDetails.ipAddressV4", "country": f"{call}.remoteIpDetails.country.countryName",
        "first": "detail.service.eventFirstSeen", "last": "detail.service.eventLastSeen",
        "count": "detail.service.count", "region": "region", "account": "account",
    }  # fmt: skip
    body = {what: text for what, path in paths.items() if (text := text_at(event, path, 200))}
    fact = Fact(kind=f"guardduty.{kind}", at=text_at(event, "detail.updatedAt", 40), body=body)
    if not KEY.fullmatch(key):
        return Reading(event=kind or "guardduty", facts=(fact,) if kind else (), note="the finding names no access key")
    seen = Seen(
        called=kind, kind=_kind(key), id=key, where=f"used from {body.get('from', 'elsewhere')}", validity="live",
        severity=_level(at_path(event, "detail.severity")), place=f"guardduty:{name}", names=(f"guardduty:{name}",),
    )  # fmt: skip
    return Reading(event=kind, seen=(seen,), facts=(fact,), by="GuardDuty", text=f"GuardDuty: {kind} with {key}")


def _level(severity: Any) -> str:
    number = float(severity) if isinstance(severity, int | float) else 0.0
    return next(level for least, level in _LEVELS if number >= least or least == 0.0)
