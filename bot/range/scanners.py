"""What a scanner sends when it has seen something of a scenario: the payload in its own format, signed as it signs.

Formats: GitHub's ``secret_scanning_alert`` (docs.github.com "Webhook events and payloads"), GuardDuty's finding as
EventBridge passes it on, in a notification of SNS (docs.aws.amazon.com "GuardDuty finding format", "Verifying the
signatures of Amazon SNS messages"), StepSecurity's detection (docs.stepsecurity.io "Webhook integration"), gitleaks'
report (8.30). Whoever opens the door gives the secret, as one does when a webhook is set up.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from bot.errors import InputError
from bot.range.aws_sts import ACCOUNT
from bot.range.github import shapes
from bot.range.github.alerts import shown

if TYPE_CHECKING:
    from bot.range.server import Range

TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:security-events"
CERTIFICATE_AT = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-range.pem"
_SIGNED = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_RUN = re.compile(r"/([\w.-]+/[\w.-]+)/actions/runs/(\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One delivery. ``certificate``: what its sender shows at ``CERTIFICATE_AT``, where it signs by one."""

    source: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    certificate: str = ""

    def as_json(self) -> dict[str, Any]:
        """As the control address answers."""
        return {
            "source": self.source, "body": base64.b64encode(self.body).decode(), "headers": dict(self.headers),
            "certificate": self.certificate,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A delivery that is wanted: of which range, signed with which secret, about what has leaked."""

    range: Range
    secret: str
    leak: Mapping[str, Any]

    def run(self) -> tuple[str, str]:
        """Repository and number of the run that leaked. Raises InputError where none did."""
        found = _RUN.search(str(self.leak.get("run_url", "")))
        if found is None:
            raise InputError("nothing has leaked in a run yet")
        return found[1], found[2]


Scanner = Callable[[Asked], Sent]


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def github(repository: str) -> Scanner:
    """GitHub's newest alert of a repository. It never holds the value."""

    def alert(asked: Asked) -> Sent:
        state = asked.range.github.state
        with state.lock:
            repo = state.repos[repository]
            row = shown(repo, repo.alerts[max(repo.alerts)], state.base_url, hidden=True)
            small = shapes.repo_small(repo, state.base_url)
        body = _json({"action": "created", "alert": row, "repository": small})
        digest = hmac.new(asked.secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "content-type": "application/json", "x-github-event": "secret_scanning_alert",
            "x-github-delivery": str(uuid.uuid4()), "x-hub-signature-256": f"sha256={digest}",
        }  # fmt: skip
        return Sent(source="github", body=body, headers=headers)

    return alert


def stepsecurity(asked: Asked) -> Sent:
    """A secret in a build log, as Harden-Runner tells of it. It cannot sign: the header is all there is."""
    repository, run = asked.run()
    owner, _, name = repository.partition("/")
    row = {
        "type": "Secret-In-Build-Log", "id": "Secret-In-Build-Log", "detection": str(uuid.uuid4()), "owner": owner,
        "repo": name, "run_id": run, "job": "deploy", "severity": "High",
        "workflow_path": ".github/workflows/deploy.yml",
        "html_url": f"https://app.stepsecurity.io/github/{repository}/actions/runs/{run}",
    }  # fmt: skip
    return Sent(source="stepsecurity", body=_json([row]), headers=_bearer(asked.secret))


def gitleaks(rule: str, file: str, line: int, match: str, secret: str) -> Scanner:
    """A report with one finding, handed in by somebody's job with ``curl --data-binary``."""

    def report(asked: Asked) -> Sent:
        row = {
            "RuleID": rule, "Description": "Identified a pattern that may indicate a credential.", "StartLine": line,
            "EndLine": line, "StartColumn": 1, "EndColumn": len(match), "Match": match, "Secret": secret, "File": file,
            "SymlinkFile": "", "Commit": "", "Entropy": 3.68, "Author": "", "Email": "", "Date": "", "Message": "",
            "Tags": [], "Fingerprint": f"{file}:{rule}:{line}",
        }  # fmt: skip
        return Sent(source="gitleaks", body=_json([row]), headers=_bearer(asked.secret))

    return report


def _bearer(secret: str) -> dict[str, str]:
    return {"content-type": "application/json", "authorization": f"Bearer {secret}"}


def guardduty(asked: Asked) -> Sent:
    """GuardDuty's finding about the deploy key that the thief got last, which is used from where it never was."""
    range_ = asked.range
    used = range_.collector.values().get("AWS_ACCESS_KEY_ID", range_.company.deploy_key[0])
    at = f"{range_.clock.now():%Y-%m-%dT%H:%M:%S}.000Z"
    call = {
        "api": "GetSessionToken", "serviceName": "sts.amazonaws.com", "callerType": "Remote IP",
        "affectedResources": {},
        "remoteIpDetails": {"ipAddressV4": "198.51.100.7", "country": {"countryName": "Elsewhere"}},
    }  # fmt: skip
    detail = {
        "schemaVersion": "2.0", "accountId": ACCOUNT, "region": "us-east-1", "id": uuid.uuid4().hex,
        "type": "UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.OutsideAWS", "severity": 8,
        "resource": {"resourceType": "AccessKey", "accessKeyDetails": {
            "accessKeyId": used, "principalId": "AIDARANGE", "userType": "IAMUser",
            "userName": "ferry-ci",
        }},
        "service": {
            "serviceName": "guardduty", "eventFirstSeen": at, "eventLastSeen": at, "archived": False, "count": 1,
            "action": {"actionType": "AWS_API_CALL", "awsApiCallAction": call}, "additionalInfo": {"sample": False},
        },
        "createdAt": at, "updatedAt": at, "title": "The credentials of an IAM user were used from an unusual place.",
    }  # fmt: skip
    event = {
        "version": "0", "id": str(uuid.uuid4()), "detail-type": "GuardDuty Finding", "source": "aws.guardduty",
        "account": ACCOUNT, "time": at, "region": "us-east-1", "resources": [], "detail": detail,
    }  # fmt: skip
    return _notification(range_, event, at)


def _notification(range_: Range, event: Any, at: str) -> Sent:
    """A notification of SNS, signature version 2 (SHA-256), and the certificate that it was signed by."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = range_.clock.now()
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30)).sign(key, hashes.SHA256())
    )  # fmt: skip
    message = {
        "Type": "Notification", "MessageId": str(uuid.uuid4()), "TopicArn": TOPIC, "Message": json.dumps(event),
        "Timestamp": at, "SignatureVersion": "2", "SigningCertURL": CERTIFICATE_AT,
    }  # fmt: skip
    signed = "".join(f"{name}\n{message[name]}\n" for name in _SIGNED if name in message).encode()
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    message["Signature"] = base64.b64encode(signature).decode()
    certificate = made.public_bytes(serialization.Encoding.PEM).decode()
    headers = {"content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": "Notification"}
    return Sent(source="aws", body=_json(message), headers=headers, certificate=certificate)
