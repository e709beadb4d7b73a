"""The keys by which the range's npm signs what it takes in (docs.npmjs.com, "About ECDSA registry signatures").

``/-/npm/v1/keys`` gives each with its id, its end and its public half; a version's ``dist.signatures`` has the key's id
and the signature over NAME@VERSION:INTEGRITY, ECDSA on NIST P-256 with SHA-256. An id is the key's
fingerprint as ssh-keygen writes it, which is what those of npm's are. Another ``Keys`` has keys that nobody publishes.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SCHEME = "ecdsa-sha2-nistp256"


class Keys:
    """All of a registry's; the last one signs."""

    def __init__(self) -> None:
        self._all = [_Key()]

    def rotate(self, at: datetime) -> None:
        """The key of now ends at a time, and another one signs from now on."""
        self._all[-1].until = at
        self._all.append(_Key())

    def sign(self, name: str, version: str, integrity: str) -> dict[str, str]:
        """What ``dist.signatures`` has of a version."""
        key = self._all[-1]
        signed = key.private.sign(f"{name}@{version}:{integrity}".encode(), ec.ECDSA(hashes.SHA256()))
        return {"keyid": key.id, "sig": base64.b64encode(signed).decode()}

    def published(self) -> list[dict[str, Any]]:
        """What anybody may read, those too that have ended."""
        return [
            {
                "expires": None if key.until is None else f"{key.until:%Y-%m-%dT%H:%M:%S}.000Z", "keyid": key.id,
                "keytype": SCHEME, "scheme": SCHEME, "key": base64.b64encode(key.public).decode(),
            }
            for key in self._all
        ]  # fmt: skip


class _Key:
    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.public = self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ssh = self.private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1]
        digest = hashlib.sha256(base64.b64decode(ssh)).digest()
        self.id = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
        self.until: datetime | None = None
