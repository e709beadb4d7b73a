"""CloudTrail of the range: a record of every authenticated call, and LookupEvents over it.

Sources: the CloudTrail User Guide, "Record contents" and "userIdentity element"; API Reference, LookupEvents
(90 days, management events only, one attribute a call, at most 50 events a page, two requests a second).
"""

from __future__ import annotations

import base64
import json
import time as machine
import uuid
from collections import deque
from collections.abc import Iterator
from typing import Any

from bot.range import aws_codeartifact
from bot.range.aws_sts import ACCOUNT, Caller, Principal, Provider, Session, iso
from bot.range.aws_wire import AwsError, Call
from bot.range.clock import RangeClock

READING = ("Get", "List", "Describe", "Lookup", "Simulate", "Head", "Generate", "AssumeRole", "Select", "BatchGet",
           "BatchCheck")  # fmt: skip
_NEVER = {
    "SecretAccessKey", "SessionToken", "Password", "WebIdentityToken", "NewPassword", "OldPassword", "layerPartBlob",
}  # fmt: skip
_ATTRIBUTES = {"EventId", "EventName", "ReadOnly", "Username", "ResourceType", "ResourceName", "EventSource",
               "AccessKeyId"}  # fmt: skip
_NINETY_DAYS = 90 * 86400
_RESOURCES = {
    "UserName": "AWS::IAM::User", "RoleName": "AWS::IAM::Role", "GroupName": "AWS::IAM::Group",
    "PolicyName": "AWS::IAM::Policy", "PolicyArn": "AWS::IAM::Policy", "AccessKeyId": "AWS::IAM::AccessKey",
    "RoleArn": "AWS::IAM::Role", "Bucket": "AWS::S3::Bucket",
}  # fmt: skip


def reads_only(operation: str) -> bool:
    """Whether an operation changes nothing that lasts, as CloudTrail's readOnly says it."""
    return operation.startswith(READING)


class Trail:
    """The record. ``lookups_per_second`` throttles LookupEvents as AWS does (0: not), by the machine's clock;
    ``lag_s`` is how long an event takes to appear, by the range's.
    """

    def __init__(self, clock: RangeClock) -> None:
        self._clock = clock
        self.events: list[dict[str, Any]] = []
        self.lookups_per_second = 0.0
        self.lag_s = 0.0
        self._asked: deque[float] = deque()

    def reset(self) -> None:
        self.events.clear()
        self._asked.clear()
        self.lookups_per_second = self.lag_s = 0.0

    def record(
        self, call: Call, who: dict[str, Any], result: dict[str, Any] | None, error: AwsError | None, *,
        management: bool = True, minted: Session | None = None, account: str = ACCOUNT,
    ) -> None:  # fmt: skip
        """Add one call. ``who`` is its userIdentity; secrets are left out of parameters and answer."""
        now = self._clock.time()
        params = aws_codeartifact.recorded(call.params) if call.service == aws_codeartifact.SERVICE else call.params
        shown = camel(result) if result and (minted is not None or not reads_only(call.operation)) else None
        event: dict[str, Any] = {
            "eventVersion": "1.11", "userIdentity": who, "eventTime": iso(now)[:19] + "Z",
            "eventSource": f"{call.service}.amazonaws.com", "eventName": call.operation, "awsRegion": call.region,
            "sourceIPAddress": "127.0.0.1", "userAgent": call.headers.get("user-agent", ""),
            "requestParameters": camel(params) or None, "responseElements": None if error else shown,
            "requestID": call.id, "eventID": str(uuid.uuid4()), "readOnly": reads_only(call.operation),
            "eventType": "AwsApiCall", "managementEvent": management, "recipientAccountId": account,
            "eventCategory": "Management" if management else "Data",
        }  # fmt: skip
        if error:
            event |= {"errorCode": error.code, "errorMessage": error.message}
        resources = list(_resources(call.params, result or {}, minted))
        self.events.append({"at": now, "event": event, "resources": resources})

    def lookup(self, params: dict[str, Any], region: str, account: str = ACCOUNT) -> dict[str, Any]:
        """LookupEvents of an account and a region: newest first. What is of no region is told in us-east-1."""
        self._throttle()
        attribute = _attribute(params)
        now = self._clock.time()
        start = max(float(params.get("StartTime", 0)), now - _NINETY_DAYS)
        end = min(float(params.get("EndTime", now)), now - self.lag_s)
        most = int(params.get("MaxResults", 50))
        if not 1 <= most <= 50:
            raise AwsError("InvalidMaxResultsException", "MaxResults must be from 1 to 50", 400)
        asked = json.dumps([attribute, params.get("StartTime"), params.get("EndTime"), region])
        below = _position(params.get("NextToken"), asked, len(self.events))
        page: list[dict[str, Any]] = []
        for index in range(below - 1, -1, -1):
            row = self.events[index]
            # an event's time has whole seconds, and so have both ends of the window
            if row["event"]["recipientAccountId"] != account:
                continue
            if not row["event"]["managementEvent"] or not int(start) <= row["at"] <= end or not _is(row, attribute):
                continue
            if row["event"]["awsRegion"] != region:
                continue
            if len(page) == most:
                token = base64.urlsafe_b64encode(json.dumps([index + 1, asked]).encode()).decode()
                return {"Events": page, "NextToken": token}
            page.append(_shown(row))
        return {"Events": page}

    def _throttle(self) -> None:
        if not self.lookups_per_second:
            return
        now = machine.monotonic()
        while self._asked and now - self._asked[0] >= 1.0:
            self._asked.popleft()
        if len(self._asked) >= self.lookups_per_second:
            raise AwsError("ThrottlingException", "Rate exceeded", 400)
        self._asked.append(now)


def identity(caller: Caller) -> dict[str, Any]:
    """The userIdentity of a signed call."""
    session, principal = caller.session, caller.principal
    found: dict[str, Any] = {"principalId": caller.user_id, "arn": caller.arn, "accountId": caller.account,
                             "accessKeyId": caller.key_id}  # fmt: skip
    if session is None or session.kind == "user":
        found = {"type": "IAMUser", **found, "userName": principal.name}
    else:
        found = {"type": "FederatedUser" if session.kind == "federated" else "AssumedRole", **found}
    if session is not None:
        context: dict[str, Any] = {
            "attributes": {"creationDate": iso(session.issued)[:19] + "Z", "mfaAuthenticated": "false"}
        }
        if session.kind != "user":
            context["sessionIssuer"] = _issuer(principal)
        found["sessionContext"] = context
    return found


def web_identity(claims: dict[str, Any], provider: Provider) -> dict[str, Any]:
    """The userIdentity of AssumeRoleWithWebIdentity."""
    return {
        "type": "WebIdentityUser", "principalId": f"{provider.arn}:{claims['aud']}:{claims['sub']}",
        "userName": claims["sub"], "identityProvider": provider.arn,
    }  # fmt: skip


def _issuer(principal: Principal) -> dict[str, Any]:
    kind = "Role" if principal.kind == "role" else "IAMUser"
    return {"type": kind, "principalId": principal.uid, "arn": principal.arn, "accountId": principal.account,
            "userName": principal.name}  # fmt: skip


def camel(value: Any) -> Any:
    """Parameters as CloudTrail writes them: names in lower camel case, no secret values."""
    if isinstance(value, dict):
        return {k[:1].lower() + k[1:]: camel(v) for k, v in value.items() if k not in _NEVER}
    return [camel(v) for v in value] if isinstance(value, list) else value


def _resources(params: dict[str, Any], result: dict[str, Any], minted: Session | None) -> Iterator[dict[str, str]]:
    for name, kind in _RESOURCES.items():
        if isinstance(params.get(name), str):
            yield {"ResourceType": kind, "ResourceName": params[name]}
    created = result.get("AccessKey") or {}
    if "AccessKeyId" in created:
        yield {"ResourceType": "AWS::IAM::AccessKey", "ResourceName": created["AccessKeyId"]}
    if minted is not None:
        yield {"ResourceType": "AWS::IAM::AccessKey", "ResourceName": minted.key_id}
    if minted is not None and minted.kind in ("role", "web"):
        yield {"ResourceType": "AWS::STS::AssumedRole", "ResourceName": minted.arn}


def _attribute(params: dict[str, Any]) -> tuple[str, str] | None:
    wanted = params.get("LookupAttributes") or []
    if len(wanted) > 1:
        raise AwsError("InvalidLookupAttributesException", "You can only use one lookup attribute at a time", 400)
    if not wanted:
        return None
    key, value = str(wanted[0].get("AttributeKey")), str(wanted[0].get("AttributeValue"))
    if key not in _ATTRIBUTES:
        raise AwsError("InvalidLookupAttributesException", f"{key} is not a lookup attribute", 400)
    return key, value


def _position(token: str | None, asked: str, newest: int) -> int:
    if not token:
        return newest
    try:
        below, same = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        below, same = -1, ""
    if same != asked:
        raise AwsError("InvalidNextTokenException", "The NextToken is not of this query", 400)
    return int(below)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    event, who = row["event"], row["event"]["userIdentity"]
    shown = {
        "EventId": event["eventID"], "EventName": event["eventName"], "ReadOnly": str(event["readOnly"]).lower(),
        "EventTime": int(row["at"]), "EventSource": event["eventSource"], "Username": _username(who),
        "Resources": row["resources"], "CloudTrailEvent": json.dumps(event),
    }  # fmt: skip
    if "accessKeyId" in who:
        shown["AccessKeyId"] = who["accessKeyId"]
    return shown


def _username(who: dict[str, Any]) -> str:
    return str(who.get("userName") or who.get("arn", who["principalId"]).rsplit("/", 1)[-1])


def _is(row: dict[str, Any], attribute: tuple[str, str] | None) -> bool:
    if attribute is None:
        return True
    key, value = attribute
    if key in ("ResourceName", "ResourceType"):
        return any(resource[key] == value for resource in row["resources"])
    return _shown(row).get(key) == value
