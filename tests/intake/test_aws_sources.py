"""AWS Health and GuardDuty by SNS: signed by a listed topic, fetched from nowhere else, samples never contain."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from bot.errors import Unavailable, Undeliverable
from bot.intake import aws, sources
from bot.intake.delivery import Delivery
from bot.intake.door import Answer, Door
from bot.intake.sns import Topics
from bot.model import Exposure
from bot.store_intake import Facts
from tests.intake.office import KEY_ID, Office

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TOPIC = "arn:aws:sns:eu-central-1:123456789012:leaked-keys"
CERTIFICATE = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-made-up.pem"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(days: int = 30) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    built = x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=KEY.public_key())
    built = built.serial_number(7).not_valid_before(NOW - timedelta(days=days)).not_valid_after(
        NOW + timedelta(days=days - 1)
    )  # fmt: skip
    return built.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


class Web:
    """What is at which address, and what was asked for."""

    def __init__(self, pem: bytes = b"") -> None:
        self.pem, self.asked = pem or certificate(), list[str]()

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if not url.startswith("https://sns."):
            raise Unavailable(url, provider="http")
        return self.pem


def message(kind: str = "Notification", version: str = "2", **fields: Any) -> dict[str, Any]:
    """A message as SNS sends it, signed as its documents say."""
    told = {
        "Type": kind, "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": TOPIC, "Message": "hello",
        "Timestamp": "2026-01-02T03:04:05.000Z", "SignatureVersion": version, "SigningCertURL": CERTIFICATE,
    } | fields  # fmt: skip
    if kind != "Notification":
        told |= {"Token": "2336412f37", "SubscribeURL": "http://169.254.169.254/latest/meta-data/"}
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{told[name]}\n" for name in names if name in told)
    digest = hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303 - what version 1 is
    signature = KEY.sign(text.encode(), padding.PKCS1v15(), digest)
    return {**told, "Signature": base64.b64encode(signature).decode()} | {
        name: value for name, value in fields.items() if name == "Signature"
    }


def deliver(door: Door, told: Any, at: datetime = NOW) -> Answer:
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    return door.receive(Delivery(source="aws", body=body, headers={"content-type": "text/plain; charset=UTF-8"}, at=at))


def health(code: str = "AWS_RISK_CREDENTIALS_EXPOSED", *keys: str) -> dict[str, Any]:
    return {
        "version": "0", "id": "1", "detail-type": "AWS Health Event", "source": "aws.health", "region": "us-east-1",
        "detail": {"eventArn": "arn:aws:health:us-east-1::event/X", "service": "RISK", "eventTypeCode": code,
                   "affectedEntities": [{"entityValue": key} for key in keys]},
    }  # fmt: skip


def finding(**more: Any) -> dict[str, Any]:
    detail = {
        "id": "43b6abcdeabcdeabcde1234562176924", "severity": 8,
        "type": "UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.OutsideAWS",
        "resource": {"accessKeyDetails": {"accessKeyId": KEY_ID, "userName": "ferry-ci", "userType": "IAMUser"}},
        "service": {"action": {"awsApiCallAction": {
            "api": "GetCallerIdentity", "serviceName": "sts.amazonaws.com",
            "remoteIpDetails": {"ipAddressV4": "198.51.100.7", "country": {"countryName": "Nowhere"}}}},
            "additionalInfo": {}, "count": 3},
        "updatedAt": "2026-01-02T03:00:00.000Z",
    }  # fmt: skip
    return {"source": "aws.guardduty", "detail-type": "GuardDuty Finding", "account": "123456789012",
            "detail": detail | more}  # fmt: skip


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def door(office: Office, web: Web) -> Door:
    return Door(sources.built({}, topics=Topics((TOPIC,), web)), office.inbox)


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_key_that_aws_saw_in_public_opens_an_incident(office: Office, door: Door, web: Web, version: str) -> None:
    told = message(version=version, Message=json.dumps(health("AWS_RISK_CREDENTIALS_EXPOSED", KEY_ID)))
    assert deliver(door, told).text == "landed"
    assert deliver(door, {**told, "UnsubscribeURL": "x"}).text == "was here already", "by its id, which is signed"
    (incident,) = office.work()
    report = office.store.incident(incident).body["report"]
    assert (report["exposure"], report["trust"], report["source"]) == ("public", "signed", "aws")
    assert office.store.incident(incident).credential_key == f"aws-access-key:{KEY_ID}"
    assert web.asked == [CERTIFICATE], "once"


def test_version_1_can_be_turned_away(office: Office, web: Web) -> None:
    strict = Door(sources.built({}, topics=Topics((TOPIC,), web, version_1=False)), office.inbox)
    assert deliver(strict, message(version="1")).status == 401
    assert deliver(strict, message(version="2")).status == 202


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-central-1.amazonaws.com/x.pem", "https://sns.eu-central-1.amazonaws.com.attacker.example/x.pem",
        "https://attacker.example/x.pem", "https://sns.eu-central-1.amazonaws.com@attacker.example/x.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/x.pem", "https://sns.eu-central-1.amazonaws.com/x.pem?a=b",
        "https://sns.eu-central-1.amazonaws.com/x", "https://169.254.169.254/x.pem", "file:///etc/passwd.pem",
        "https://s3.amazonaws.com/x.pem", "https://sns.amazonaws.com/x.pem", "", "https://[::1]/x.pem",
    ],
)  # fmt: skip
def test_a_certificate_is_fetched_from_snss_own_address_only(office: Office, door: Door, web: Web, url: str) -> None:
    assert deliver(door, message(SigningCertURL=url)).status == 401
    assert web.asked == []
    assert door.counts == {("aws", "certificate-url"): 1}


@pytest.mark.parametrize(
    ("told", "status", "reason"),
    [
        ({"TopicArn": "arn:aws:sns:eu-central-1:999999999999:leaked-keys"}, 403, "topic"),
        ({"Timestamp": "2026-01-02T01:04:04.000Z"}, 401, "stale"),
        ({"Timestamp": "2026-01-02T05:04:06.000Z"}, 401, "stale"),
        ({"SignatureVersion": "3"}, 401, "signature"),
        ({"Signature": "AAAA"}, 401, "signature"),
        ({"Signature": ""}, 401, "signature"),
    ],
)
def test_what_is_not_signed_by_a_listed_topic_within_the_hour_is_refused(
    office: Office, door: Door, web: Web, told: dict[str, str], status: int, reason: str
) -> None:
    assert deliver(door, message(**told)).status == status
    assert door.counts == {("aws", reason): 1}
    assert office.store.inbox() == []
    assert web.asked == ([] if reason == "topic" else web.asked), "nothing is fetched for a topic that is not ours"


def test_a_message_that_was_changed_is_refused(office: Office, door: Door) -> None:
    told = message(Message=json.dumps(health("AWS_RISK_CREDENTIALS_EXPOSED", KEY_ID)))
    for change in ({"Message": told["Message"].replace(KEY_ID, "AK" + "IA" + "ANOTHERKEYEXAMPL")}, {"Subject": "x"}):
        assert deliver(door, told | change).status == 401
    for odd in (b"", b"[]", b"{}", b"null", b'{"Type": {}}', b"\xff", b" " * 400_000):
        assert deliver(door, odd).status in (400, 413)
    assert office.store.inbox() == []


def test_a_certificate_out_of_its_time_proves_nothing(office: Office) -> None:
    topics = Topics((TOPIC,), Web(certificate(days=1)))
    for days in (2, -2):
        with pytest.raises(Undeliverable, match="out of its time"):
            told = message(Timestamp=(NOW + timedelta(days=days)).isoformat())
            topics.prove(Delivery(source="aws", body=json.dumps(told).encode(), headers={},
                                  at=NOW + timedelta(days=days)))  # fmt: skip
    away = Topics((TOPIC,), Web(b"no certificate"))
    with pytest.raises(Undeliverable, match="no certificate"):
        away.prove(Delivery(source="aws", body=json.dumps(message()).encode(), headers={}, at=NOW))


def test_a_subscription_is_confirmed_by_an_address_of_our_own_making(office: Office, door: Door, web: Web) -> None:
    answer = deliver(door, message("SubscriptionConfirmation"))
    assert (answer.status, answer.text) == (202, "declined: the subscription is confirmed")
    assert len(web.asked) == 2
    assert web.asked[1].startswith("https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn")
    assert "169.254" not in "".join(web.asked), "the address in the message is the sender's to choose"
    assert deliver(door, message("UnsubscribeConfirmation")).status == 202
    assert len(web.asked) == 2


def test_a_subscription_of_another_topic_is_not_confirmed(office: Office, door: Door, web: Web) -> None:
    other = message("SubscriptionConfirmation", TopicArn="arn:aws:sns:eu-central-1:999999999999:x")
    assert deliver(door, other).status == 403
    assert web.asked == []


def test_a_misused_key_opens_an_incident_and_is_one_sighting_however_often_it_is_sent(
    office: Office, door: Door
) -> None:
    for count in range(3):
        told = message(MessageId=f"m-{count}", Message=json.dumps(finding(count=count)))
        assert deliver(door, told).text == "landed"
    assert len(set(office.work())) == 1
    (incident,) = office.store.incidents()
    assert office.events(incident.id, "sighting") == []
    facts = Facts(office.store).find(kind="guardduty.")
    assert [fact["body"]["from"] for fact in facts] == ["198.51.100.7"] * 3


@pytest.mark.parametrize(
    "sample",
    [
        finding(service={"additionalInfo": {"sample": True}}),
        finding(resource={"accessKeyDetails": {"accessKeyId": KEY_ID, "userName": "GeneratedFindingUserName"}}),
    ],
)
def test_a_sample_finding_contains_nothing(office: Office, door: Door, sample: dict[str, Any]) -> None:
    answer = deliver(door, message(Message=json.dumps(sample)))
    assert "sample" in answer.text
    assert office.store.inbox() == []


def test_what_each_event_of_aws_tells() -> None:
    (seen,) = aws.read(health("AWS_RISK_IAM_QUARANTINE", KEY_ID, "not a key")).seen
    assert (seen.id, seen.exposure, seen.rank) == (KEY_ID, Exposure.PUBLIC, 0)
    for event in (health("AWS_EC2_OPERATIONAL_ISSUE", KEY_ID), health(), {"source": "aws.s3"}, None, [], "x"):
        assert aws.read(event).empty
        assert aws.read(event).note
    session = finding(resource={"accessKeyDetails": {"accessKeyId": "AS" + "IA" + "MADEUPKEY7EXAMPL"}}, severity=9.1)
    (seen,) = aws.read(session).seen
    assert (seen.kind, seen.severity) == ("aws-session", "critical")
    keyless = aws.read(finding(resource={}))
    assert not keyless.seen
    assert keyless.facts
