"""The evidence room: files named by their SHA-256, written once, and a manifest in the store.

They lie in a folder or in a bucket of S3. A file is complete or absent; the same bytes again are the same file.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bot.clients import aws_errors
from bot.errors import Conflict, NotFound, Rejected
from bot.model import EvidenceRef
from bot.store import Store, iso
from bot.world import Aws, Clock


class Shelf(Protocol):
    """Where the bytes lie, by their SHA-256 in hexadecimal."""

    def put(self, sha256: str, data: bytes) -> None:
        """Write once. Raises OSError or bot.errors when it cannot be written."""

    def get(self, sha256: str) -> bytes:
        """Read. Raises FileNotFoundError when it is not there."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder: files are written aside, synced, renamed, made read-only."""

    folder: Path

    def path(self, sha256: str) -> Path:
        """Where a file with this digest stands."""
        return self.folder / sha256[:2] / sha256

    def put(self, sha256: str, data: bytes) -> None:
        target = self.path(sha256)
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".writing-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        written = Path(name)
        written.chmod(0o400)
        written.replace(target)

    def get(self, sha256: str) -> bytes:
        return self.path(sha256).read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket of S3, below a prefix. Never overwrites, sets no ACL, and asks for encryption by S3 or by a KMS key.

    ``If-None-Match: *`` makes a second write of a name fail, and S3 checks the SHA-256 of what it gets before it keeps
    it (docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html, checking-object-integrity.html); Object
    Lock asks for such a checksum. Needs s3:PutObject and s3:GetObject below the prefix, and s3:ListBucket on the
    bucket: without that S3 tells nobody that an object is gone (it answers 403 instead of 404).
    """

    aws: Aws
    bucket: str
    prefix: str = ""
    kms_key: str = ""

    def key(self, sha256: str) -> str:
        """The name of a file with this digest."""
        return f"{self.prefix}/{sha256[:2]}/{sha256}".lstrip("/")

    def put(self, sha256: str, data: bytes) -> None:
        kms = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key}
        sealed = kms if self.kms_key else {"ServerSideEncryption": "AES256"}
        named = {"Bucket": self.bucket, "Key": self.key(sha256), "IfNoneMatch": "*"}
        digest = base64.b64encode(bytes.fromhex(sha256)).decode()
        try:
            self._call("put_object", Body=data, ChecksumSHA256=digest, **named, **sealed)
        except Rejected as exc:
            # 412: it is there. 409: somebody else is writing the same name at this moment; whoever asks again finds it.
            if exc.code not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
            if hashlib.sha256(self.get(sha256)).hexdigest() != sha256:
                said = f"s3://{self.bucket}/{self.key(sha256)} holds something else than its name says"
                raise Conflict(said) from None

    def get(self, sha256: str) -> bytes:
        try:
            answer = self._call("get_object", Bucket=self.bucket, Key=self.key(sha256))
        except NotFound as exc:
            if exc.code != "NoSuchKey":
                raise  # the bucket itself is not there: that is no loss of one file
            raise FileNotFoundError(f"s3://{self.bucket}/{self.key(sha256)}") from None
        with aws_errors(f"read evidence in {self.bucket}"):
            return bytes(answer["Body"].read())

    def _call(self, operation: str, **kw: Any) -> dict[str, Any]:
        with aws_errors(f"{operation.replace('_', ' ')} of evidence in {self.bucket}"):
            answer: dict[str, Any] = getattr(self.aws.client("s3"), operation)(**kw)
        return answer


class EvidenceRoom:
    """All evidence of one installation. ``of(incident)`` gives what one incident's World holds."""

    def __init__(self, store: Store, shelf: Shelf | Path) -> None:
        """``shelf``: where the bytes lie; a path is a folder."""
        self._store, self.shelf = store, Folder(shelf) if isinstance(shelf, Path) else shelf

    def write(self, data: bytes) -> str:
        """Write bytes once; returns their SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.shelf.put(sha256, data)
        return sha256

    def read(self, sha256: str) -> bytes:
        """The bytes of a file. Raises FileNotFoundError."""
        return self.shelf.get(sha256)

    def damaged(self, incident: str) -> list[str]:
        """Names of the incident's files that are gone or no longer have their digest."""
        bad = []
        for row in self._store.evidence(incident):
            try:
                whole = hashlib.sha256(self.read(row["sha256"])).hexdigest() == row["sha256"]
            except FileNotFoundError:
                whole = False
            if not whole:
                bad.append(str(row["name"]))
        return bad

    def of(self, incident: str, clock: Clock) -> IncidentEvidence:
        """The part of one incident."""
        return IncidentEvidence(self, self._store, incident, clock)


class IncidentEvidence:
    """``bot.world.Evidence`` over the room."""

    def __init__(self, room: EvidenceRoom, store: Store, incident: str, clock: Clock) -> None:
        self._room, self._store, self._incident, self._clock = room, store, incident, clock

    def save(self, name: str, data: bytes, original_sha256: str = "") -> EvidenceRef:
        ref = EvidenceRef(name=name, sha256=self._room.write(data), size=len(data), original_sha256=original_sha256)
        self._store.add_evidence(
            {"incident": self._incident, "name": name, "sha256": ref.sha256, "size": ref.size,
             "original_sha256": original_sha256, "at": iso(self._clock.now())}
        )  # fmt: skip
        return ref
