"""Keys that AWS has quarantined: it attaches AWSCompromisedKeyQuarantineV* to a user whose key it saw in public.

CloudTrail tells that it did, and not for which key: every active key of the user is reported. What is quarantined is
not contained: the policy denies some calls and leaves the key, its sessions and AssumeRole. Needs
cloudtrail:LookupEvents and iam:ListAccessKeys. CloudTrail is minutes late, which the overlap covers.
Source: docs.aws.amazon.com, "AWSCompromisedKeyQuarantineV3" in the AWS managed policy reference.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bot.actions.aws_trail import Call, lookup
from bot.clients import aws_errors
from bot.errors import NotFound
from bot.intake.delivery import Delivery, Reading, Seen, Sender
from bot.intake.inbox import Inbox
from bot.intake.missed import Cursor, newest
from bot.model import Exposure, Trust
from bot.store import iso
from bot.world import World

QUARANTINE = re.compile(r"arn:aws[\w-]*:iam::aws:policy/(AWSCompromisedKeyQuarantine(?:V\d+)?)")
OVERLAP = timedelta(minutes=30)
BY = Sender(trust=Trust.SIGNED, by="CloudTrail, asked")


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Users that AWS has put under quarantine."""

    inbox: Inbox
    world: World
    name: str = "aws-quarantine"

    def turn(self, cursor: Cursor) -> Cursor:
        """Every attachment since, as CloudTrail's times say."""
        now = self.world.aws.now() or datetime.now(UTC)
        since = cursor.since(OVERLAP, now)
        calls = lookup(self.world, "EventName", "AttachUserPolicy", since, max(now, since) + timedelta(hours=1))
        for call in calls:
            policy = QUARANTINE.fullmatch(call.asked("policyArn"))
            if policy and call.asked("userName"):
                self._land(call, call.asked("userName"), policy[1])
        return Cursor(at=newest((iso(call.at) for call in calls), cursor.at))

    def _land(self, call: Call, user: str, policy: str) -> None:
        keys = self._active(user)
        seen = tuple(
            Seen(called=policy, kind="aws-access-key", id=key, where=f"user {user}, quarantined by AWS",
                 severity="critical", exposure=Exposure.PUBLIC, validity="live", place=f"quarantine:{call.id}:{key}")
            for key in keys
        )  # fmt: skip
        body = json.dumps([call.id, user, policy, keys]).encode()
        key = hashlib.sha256(f"quarantine:{call.id}".encode()).hexdigest()
        reading = Reading(event=policy, seen=seen, by="AWS", key=key, text=f"AWS has attached {policy} to {user}")
        if not reading.empty:  # no key of the user works any more
            self.inbox.receive(Delivery(source="aws", body=body, headers={}, at=datetime.now(UTC)), BY, reading)

    def _active(self, user: str) -> list[str]:
        try:
            with aws_errors(f"list the keys of {user}"):
                rows = self.world.aws.client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]
        except NotFound:
            return []
        return sorted(str(row["AccessKeyId"]) for row in rows if row["Status"] == "Active")
