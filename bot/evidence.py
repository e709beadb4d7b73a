"""The evidence room: files named by their SHA-256, written once, and a manifest in the store.

A file is complete or absent: written aside, synced, renamed, made read-only.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from bot.model import EvidenceRef
from bot.store import Store, iso
from bot.world import Clock


class EvidenceRoom:
    """All evidence under one folder. ``of(incident)`` gives what one incident's World holds."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self.folder = store, folder

    def path(self, sha256: str) -> Path:
        """Where a file with this digest stands."""
        return self.folder / sha256[:2] / sha256

    def write(self, data: bytes) -> str:
        """Write bytes once; returns their SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        target = self.path(sha256)
        if target.exists():
            return sha256
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".writing-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o400)
        Path(name).replace(target)
        return sha256

    def read(self, sha256: str) -> bytes:
        """The bytes of a file. Raises FileNotFoundError."""
        return self.path(sha256).read_bytes()

    def damaged(self, incident: str) -> list[str]:
        """Names of the incident's files that are gone or no longer have their digest."""
        bad = []
        for row in self._store.evidence(incident):
            target = self.path(row["sha256"])
            if not target.exists() or hashlib.sha256(target.read_bytes()).hexdigest() != row["sha256"]:
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
