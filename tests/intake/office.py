"""An inbox over a store, a vault and the shipped playbooks, and a door with every source that can sign."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot import app
from bot.actions import CATALOGUE
from bot.clients import AwsClients, GitHubClient, RealClock
from bot.evidence import EvidenceRoom
from bot.intake import sources
from bot.intake.delivery import Delivery
from bot.intake.door import Answer, Door
from bot.intake.inbox import Inbox
from bot.playbook import load_folder
from bot.store import Store, iso
from bot.timeline import Event, Timeline, load
from bot.triage.identify import Recognizer
from bot.vault import Vault
from bot.world import GitHub, World

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY_ID = "AK" + "IA" + "MADEUPKEY7EXAMPL"
SECRET = "made+up/secret" + "x7Q" * 8 + "ab"
PAIR = f"AWS_ACCESS_KEY_ID={KEY_ID}\nAWS_SECRET_ACCESS_KEY={SECRET}\n"
TOKEN = "npm" + "_" + "M4de" * 9
PAT = "gh" + "p_" + "M4deUpT0ken" * 3 + "abc"
NOWHERE = "http://127.0.0.1:9"
HOOK = "made-up-hook-" + "secret-of-github"
SECRETS = {
    name: (f"made-up-{name}-" + "secret-1234",) for name in (*sources.SIGNED, *sources.TOKEN_ONLY) if name != "github"
} | {"github": (HOOK,)}


@dataclass
class Office:
    """An inbox over a store, a vault and the shipped playbooks. ``github`` may be replaced by one that answers."""

    inbox: Inbox
    store: Store
    vault: Vault
    folder: Path
    door: Door
    github: list[GitHub] = field(default_factory=list)

    def land(self, text: str, **more: Any) -> Any:
        return self.inbox.land(**{"source": "cli", "world": "real", "by": "ann", "text": text, "at": AT, **more})

    def work(self) -> list[str]:
        return [incident for row in self.store.inbox("landed") for incident in self.inbox.work(row)]

    def bytes(self) -> bytes:
        return b"".join(p.read_bytes() for p in self.folder.rglob("*") if p.is_file())

    def deliver(
        self, source: str, body: Any, headers: Mapping[str, str] | None = None, at: datetime | None = None,
        token: str = "",
    ) -> Answer:  # fmt: skip
        """Hand a delivery to the door: bytes as they are, anything else as JSON. Without headers it is signed."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        now = at or datetime.now(UTC)
        given = {"content-type": "application/json"} | dict(headers if headers is not None else proof(source, raw, now))
        return self.door.receive(Delivery(source=source, body=raw, headers=given, at=now, token=token))

    def events(self, incident: str, kind: str = "") -> list[Event]:
        return [event for event in load(self.store, incident) if kind in ("", event.kind)]

    def close(self, incident: str) -> None:
        """As if it had run to its end."""
        body: dict[str, Any] = {"ledger": [], "failed": []}
        self.inbox.timeline.append(incident, "incident", "closed", body, at=iso(AT)).result()


def proof(source: str, body: bytes, at: datetime, event: str = "secret_scanning_alert") -> dict[str, str]:
    """The headers by which a source shows who it is."""
    if source == "github":
        digest = hmac.new(HOOK.encode(), body, hashlib.sha256).hexdigest()
        return {"x-hub-signature-256": f"sha256={digest}", "x-github-event": event}
    (secret,) = SECRETS.get(source, ("",))
    if source == "gitguardian":
        stamp = str(int(at.timestamp()))
        digest = hmac.new((stamp + secret).encode(), body, hashlib.sha256).hexdigest()
        return {"gitguardian-signature": f"sha256={digest}", "timestamp": stamp}
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
def office(tmp_path: Path, database: str) -> Iterator[Office]:
    store = Store(database)
    store.migrate()
    vault, clock, timeline = Vault(store, b"k" * 32), RealClock(), Timeline(store)
    room = EvidenceRoom(store, tmp_path / "evidence")
    asked: list[GitHub] = []

    def world(incident: str) -> World:
        return World(
            name="real", aws=AwsClients(key_id="none", secret="none", endpoint=NOWHERE), clock=clock,
            github=asked[-1] if asked else GitHubClient(token="none", base_url=NOWHERE),
            secrets=vault.of(incident, clock), evidence=room.of(incident, clock), scrub=vault.scrubber,
        )  # fmt: skip

    inbox = Inbox(
        store=store, vault=vault, timeline=timeline, recognizer=Recognizer(vault.fingerprinter), catalogue=CATALOGUE,
        playbooks=load_folder([app.SHIPPED / "containment"], CATALOGUE), worlds={"real": world},
        authority=app.load_policy().authority, fetch_values=False,
    )  # fmt: skip
    yield Office(inbox, store, vault, tmp_path, Door(sources.built(SECRETS), inbox), asked)
    timeline.close()
    store.close()


def alert(number: int = 7, action: str = "created", **more: Any) -> dict[str, Any]:
    """GitHub's ``secret_scanning_alert``, with the fields of its schema that say something (12.1.0)."""
    api = f"https://api.github.com/repos/harbor-lights/ferry/secret-scanning/alerts/{number}"
    fields: dict[str, Any] = {
        "number": number, "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z", "url": api,
        "html_url": f"https://github.com/harbor-lights/ferry/security/secret-scanning/{number}",
        "locations_url": f"{api}/locations", "resolution": None, "resolved_at": None, "resolved_by": None,
        "secret_type": "npm_access_token", "secret_type_display_name": "npm Access Token", "validity": "active",
        "publicly_leaked": False, "multi_repo": False,
    }  # fmt: skip
    return {
        "action": action, "alert": fields | more, "sender": {"login": "mara"},
        "repository": {"id": 4711, "full_name": "harbor-lights/ferry", "private": True},
    }  # fmt: skip


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until it holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.02)
