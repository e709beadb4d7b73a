"""Is it from who it says? One function a way of signing, each over the raw body, compared in constant time.

Each raises Undeliverable (401) with a word for the counter, and tells the sender no more than that.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from bot.errors import Undeliverable

DIGESTS = ("sha256", "sha384", "sha512")  # SHA-1 is what GitHub's older header has: it is not looked at


def hmac_of(secret: str, message: bytes, digest: str = "sha256") -> bytes:
    """HMAC of a message."""
    return hmac.new(secret.encode(), message, digest).digest()


def signed(
    given: str, message: bytes, secrets: Iterable[str], *, prefix: str = "sha256=", digest: str = "sha256",
    encoding: str = "hex",
) -> None:  # fmt: skip
    """Raises Undeliverable unless ``given`` is the HMAC of the message by a secret; there are two while one changes."""
    if not given:
        raise Undeliverable("the signature is missing", 401, "unsigned")
    if not given.startswith(prefix):
        raise Undeliverable("the signature is not of the kind that is asked for", 401, "signature")
    offered = _decoded(given[len(prefix) :], encoding)
    good = False
    for secret in secrets:  # all of them are computed: how long it takes tells nothing
        good |= bool(secret) and hmac.compare_digest(hmac_of(secret, message, digest), offered)
    if not good:
        raise Undeliverable("the signature does not hold", 401, "signature")


def _decoded(text: str, encoding: str) -> bytes:
    try:
        return bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""


def bearer(authorization: str, path_token: str, secrets: Iterable[str]) -> None:
    """Raises Undeliverable unless one of the secrets was sent: as a bearer, as a password, or in the address."""
    offered = [path_token.encode()] if path_token else []
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        offered.append(rest.strip().encode())
    elif scheme.lower() == "basic":
        offered.append(_decoded(rest.strip(), "base64").partition(b":")[2])
    good = False
    for secret in secrets:
        for one in offered:
            good |= bool(secret) and hmac.compare_digest(hashlib.sha256(secret.encode()).digest(),
                                                         hashlib.sha256(one).digest())  # fmt: skip
    if not good:
        raise Undeliverable("a token is needed, and this is not it", 401, "token" if offered else "unsigned")


def fresh(stamp: str, now: datetime, window: timedelta) -> None:
    """Raises Undeliverable unless a signed time (seconds since 1970, or ISO 8601) is no further than that from now."""
    at = moment(stamp)
    if at is None:
        raise Undeliverable("the time of the delivery is missing or no time", 401, "timestamp")
    if abs((now - at).total_seconds()) > window.total_seconds():
        raise Undeliverable("the delivery is too old, or from the future", 401, "stale")


def moment(stamp: str) -> datetime | None:
    """A time in seconds since 1970 or in ISO 8601 with its zone; None for anything else."""
    try:
        if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", stamp, re.ASCII):
            return datetime.fromtimestamp(float(stamp), UTC)
        at = datetime.fromisoformat(stamp)
    except (ValueError, OverflowError, OSError):
        return None
    return at if at.tzinfo else None


def ecdsa(given: str, message: bytes, key_pem: str) -> None:
    """Raises Undeliverable unless it is the ECDSA P-256 signature (base64 of DER) of the message's SHA-256."""
    try:
        key = load_pem_public_key(key_pem.encode())
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(base64.b64decode(given, validate=True), message, ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature, AssertionError):
        raise Undeliverable("the signature does not hold", 401, "signature") from None
