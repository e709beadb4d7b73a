"""What the company did in the month before a drill: quiet deploys, so that what a thief does can be told from them."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bot.range.aws_sts import ACCOUNT, iso
from bot.range.company import DEPLOY_USER

if TYPE_CHECKING:
    from bot.range.server import Range

DEPLOYS, EVERY = 9, timedelta(days=3)
USUAL = (("sts", "GetCallerIdentity"), ("s3", "ListBuckets"), ("s3", "GetBucketLocation"))


def deploys(range_: Range) -> None:
    """Put the calls of past deploys into CloudTrail, before all that stands there. GitHub has forgotten the runs."""
    now, rows = range_.clock.now(), []
    who = {
        "type": "IAMUser", "principalId": "AIDA" + "DRILLHISTORY", "accountId": ACCOUNT, "userName": DEPLOY_USER,
        "arn": f"arn:aws:iam::{ACCOUNT}:user/{DEPLOY_USER}", "accessKeyId": range_.company.deploy_key[0],
    }  # fmt: skip
    for number in range(DEPLOYS, 0, -1):
        for second, (service, name) in enumerate(USUAL):
            rows.append(_row((now - number * EVERY + timedelta(seconds=second)).timestamp(), service, name, who))
    range_.aws.trail.events[:0] = rows


def _row(at: float, service: str, name: str, who: dict[str, Any]) -> dict[str, Any]:
    event = {
        "eventVersion": "1.11", "userIdentity": who, "eventTime": iso(at)[:19] + "Z", "eventName": name,
        "eventSource": f"{service}.amazonaws.com", "awsRegion": "us-east-1", "sourceIPAddress": "127.0.0.1",
        "userAgent": "aws-cli", "requestParameters": None, "responseElements": None, "requestID": str(uuid.uuid4()),
        "eventID": str(uuid.uuid4()), "readOnly": True, "eventType": "AwsApiCall", "managementEvent": True,
        "recipientAccountId": ACCOUNT, "eventCategory": "Management",
    }  # fmt: skip
    return {"at": at, "event": event, "resources": []}
