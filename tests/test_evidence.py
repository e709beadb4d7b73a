"""Evidence is written once, named by its digest, and damage is seen."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.evidence import EvidenceRoom
from bot.store import Store


class Clock:
    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def room(tmp_path: Path) -> EvidenceRoom:
    store = Store(f"sqlite:///{tmp_path / 'b.db'}")
    store.migrate()
    return EvidenceRoom(store, tmp_path / "evidence")


def test_saved_twice_it_is_one_file_and_one_line(room: EvidenceRoom) -> None:
    mine = room.of("inc-1", Clock())
    first, again = mine.save("log.txt", b"what was said"), mine.save("log.txt", b"what was said")
    assert first == again
    assert first.sha256 == hashlib.sha256(b"what was said").hexdigest()
    assert len(room._store.evidence("inc-1")) == 1
    assert room.read(first.sha256) == b"what was said"
    assert room.shelf.path(first.sha256).stat().st_mode & 0o222 == 0, "nobody writes to it any more"


def test_damage_and_loss_are_seen(room: EvidenceRoom) -> None:
    mine = room.of("inc-1", Clock())
    kept, changed, lost = (mine.save(name, name.encode()) for name in ("kept", "changed", "lost"))
    assert room.damaged("inc-1") == []
    room.shelf.path(changed.sha256).chmod(0o600)
    room.shelf.path(changed.sha256).write_bytes(b"something else")
    room.shelf.path(lost.sha256).unlink()
    assert sorted(room.damaged("inc-1")) == ["changed", "lost"]
    assert room.damaged("inc-2") == []
    assert room.read(kept.sha256) == b"kept"
