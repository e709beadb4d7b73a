"""Amazon SNS over HTTPS: signed (version 1 is RSA with SHA-1, version 2 with SHA-256), from listed topics only.

Nothing is fetched for a topic that is not on the list, and nothing from anywhere but SNS's own host of a region: the
addresses in a message are the sender's to choose. A subscription is confirmed by an address that we build ourselves
from topic and token. Source: docs.aws.amazon.com/sns "Verifying the signatures of Amazon SNS messages".
"""

from __future__ import annotations

import base64
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bot.errors import Unavailable, Undeliverable
from bot.intake import aws, proof
from bot.intake.delivery import Delivery, Reading, Sender, text_at
from bot.intake.fetch import Fetch, fetch
from bot.intake.wire import json_of, loads, text_of
from bot.model import Trust

WINDOW = timedelta(hours=1)  # SNS tries again for at most so long
MOST = 300 * 1024  # a message has 256 KB at most
HOST = re.compile(r"sns\.[a-z0-9-]{3,32}\.amazonaws\.com(?:\.cn)?")
TOPIC = re.compile(r"arn:(aws|aws-cn|aws-us-gov):sns:([a-z0-9-]{3,32}):\d{12}:[\w-]{1,256}(?:\.fifo)?", re.ASCII)
_NOTICE = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED = {"Notification": _NOTICE, "SubscriptionConfirmation": _CONFIRMATION, "UnsubscribeConfirmation": _CONFIRMATION}
_HASHES = {"1": hashes.SHA1, "2": hashes.SHA256}
_KEPT = 16  # certificates


class Topics:
    """The topics that may send, and the certificates by which they sign. Thread-safe."""

    def __init__(self, topics: tuple[str, ...], get: Fetch = fetch, *, version_1: bool = True) -> None:
        """``version_1`` takes SHA-1 signatures too, which is what a topic has unless it is set otherwise."""
        self._topics, self._fetch = frozenset(topics), get
        self._versions = _HASHES if version_1 else {"2": _HASHES["2"]}
        self._certificates: dict[str, x509.Certificate] = {}
        self._lock = threading.Lock()

    def prove(self, delivery: Delivery) -> Sender:
        """Raises Undeliverable unless a listed topic has signed this very message within the hour."""
        message = _message(delivery.body)
        kind, topic = text_at(message, "Type", 40), text_at(message, "TopicArn", 400)
        if kind not in _SIGNED:
            raise Undeliverable("this is no message of SNS", 400, "type")
        if topic not in self._topics:
            raise Undeliverable("this topic is not one of ours", 403, "topic")
        digest = self._versions.get(text_at(message, "SignatureVersion", 8))
        if digest is None:
            raise Undeliverable("this signature version is not taken", 401, "signature")
        certificate = self._certificate(text_at(message, "SigningCertURL", 300), delivery.at)
        key = certificate.public_key()
        try:
            assert isinstance(key, rsa.RSAPublicKey)
            given = base64.b64decode(text_at(message, "Signature", 2000), validate=True)
            key.verify(given, _to_sign(message, _SIGNED[kind]), padding.PKCS1v15(), digest())
        except (ValueError, InvalidSignature, AssertionError):
            raise Undeliverable("the signature does not hold", 401, "signature") from None
        proof.fresh(text_at(message, "Timestamp", 40), delivery.at, WINDOW)
        return Sender(trust=Trust.SIGNED, by=f"SNS topic {topic.rpartition(':')[2]}")

    def read(self, delivery: Delivery, _sender: Sender) -> Reading:
        """What the message tells; a subscription of ours is confirmed. Raises Undeliverable (503: try again)."""
        message = _message(delivery.body)
        kind = text_at(message, "Type", 40)
        if kind == "SubscriptionConfirmation":
            return self._confirm(message)
        if kind == "UnsubscribeConfirmation":
            return Reading(event=kind, note="the subscription was ended; subscribe again if that was not you")
        inner = loads(message["Message"]) if str(message.get("Message", "")).lstrip()[:1] == "{" else None
        # The same message sent again has the same id, and it is signed.
        return replace(aws.read(inner), key=text_at(message, "MessageId", 64))

    def _confirm(self, message: dict[str, Any]) -> Reading:
        topic, token = text_at(message, "TopicArn", 400), text_at(message, "Token", 1000)
        match = TOPIC.fullmatch(topic)
        if match is None or not token:
            raise Undeliverable("the confirmation has no topic or no token", 400, "topic")
        host = f"sns.{match[2]}.amazonaws.com" + (".cn" if match[1] == "aws-cn" else "")
        asked = {"Action": "ConfirmSubscription", "TopicArn": topic, "Token": token,
                 "AuthenticateOnUnsubscribe": "true"}  # fmt: skip
        try:
            self._fetch(f"https://{host}/?{urlencode(asked)}")
        except Unavailable:
            raise Undeliverable("the subscription could not be confirmed now; try again", 503, "confirm") from None
        return Reading(event="SubscriptionConfirmation", note="the subscription is confirmed")

    def _certificate(self, url: str, now: datetime) -> x509.Certificate:
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.netloc != parts.hostname or not HOST.fullmatch(parts.netloc):
            raise Undeliverable("the certificate is not at SNS's own address", 401, "certificate-url")
        if not parts.path.endswith(".pem") or parts.query or parts.fragment:
            raise Undeliverable("the certificate is not at SNS's own address", 401, "certificate-url")
        with self._lock:
            known = self._certificates.get(url)
        certificate = known or self._load(url)
        if not certificate.not_valid_before_utc <= now.astimezone(UTC) <= certificate.not_valid_after_utc:
            raise Undeliverable("the certificate is out of its time", 401, "certificate")
        if known is None:
            with self._lock:
                if len(self._certificates) >= _KEPT:
                    self._certificates.clear()
                self._certificates[url] = certificate
        return certificate

    def _load(self, url: str) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(self._fetch(url))
        except Unavailable:
            raise Undeliverable("the certificate could not be fetched now; try again", 503, "certificate") from None
        except ValueError:
            raise Undeliverable("this is no certificate", 401, "certificate") from None


def _message(body: bytes) -> dict[str, Any]:
    if len(body) > MOST:
        raise Undeliverable("a message of SNS has 256 KB at most", 413, "size")
    value = json_of(body, "text/plain")
    if not isinstance(value, dict):
        raise Undeliverable("this is no message of SNS", 400, "type")
    return value


def _to_sign(message: dict[str, Any], names: tuple[str, ...]) -> bytes:
    return "".join(f"{name}\n{message[name]}\n" for name in names if message.get(name) is not None).encode(
        "utf-8", "surrogatepass"
    )


def unwrapped(text: str) -> Any:
    """The event in a message of SQS: as EventBridge puts it there, or in the envelope of SNS. Raises Undeliverable."""
    value = loads(text_of(text.encode("utf-8", "replace")))
    if isinstance(value, dict) and value.get("Type") == "Notification" and isinstance(value.get("Message"), str):
        return loads(value["Message"])
    return value
