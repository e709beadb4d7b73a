"""One made-up incident, as events and in a store: what the pages about incidents are tested with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.app import Bulkhead, opened
from bot.settings import Settings
from bot.store import canonical, iso
from bot.timeline import Event

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
KEY = "AK" + "IA" + "MADEUPKEY7EXAMPL"
ROW = f"aws-access-key:{KEY}"
ID = "inc-2026-03-01-0badcafe"
REPORT = {
    "source": "cli",
    "by": "jonas",
    "text": "our log shows a key",
    "url": "",
    "credential": None,
    "exposure": "public",
}
BOOK = {"id": "aws-access-key", "sha256": "ab" * 32, "source": "aws-access-key.yaml"}
PLAN = "0123456789abcdef"

OPENED = {
    "report": REPORT,
    "reported_at": iso(START),
    "world": "real",
    "title": "Leaked AWS access key",
    "playbook": BOOK,
}
SEVERITY = {"level": "critical", "rule": "live-in-public", "reason": "It works and everybody can see it."}
TRIAGE: dict[str, Any] = {
    "credential": {"provider": "aws", "kind": "aws-access-key", "id": KEY, "fingerprint": "hmac:00", "account": "1234"},
    "live": "live", "exposure": "public", "exposed_from": iso(START - timedelta(hours=1)), "repository": "o/ferry",
    "sightings": [{"where": "run 7: deploy.txt", "line": 54, "encoding": "base64"}],
    "owners": [{"name": "mara", "score": 90, "reason": "tag owner; wrote the workflow; administrator"}],
    "reach": [
        {"kind": "aws-access-key", "name": "AWS_SECRET_ACCESS_KEY", "scope": "repository", "how": "read by the job",
         "credential": None, "known": True},
        {"kind": "oidc-role", "name": "deploy", "scope": "cloud", "how": "may be assumed",
         "credential": None, "known": False},
    ],
    "leaking_runs": [], "leaking_workflows": [], "stores": [], "alerts": [], "created_by_credential": [],
    "tails": [
        {"kind": "sts-session", "of": ROW, "until": (START + timedelta(hours=36)).isoformat(), "why": "lives on"},
    ],
    "unknown": ["Who made it is not in the trail"],
}  # fmt: skip
LOOK = {
    "uses": "aws.deactivate_access_key", "title": "Deactivate an IAM access key", "effect": "contain", "inputs": {},
    "before": {"needed": True, "cuts_own": False, "summary": "the key is Active"},
    "breaks": {"stops": ["deploys of ferry"], "unknown": False}, "undo": "", "kills": ROW, "ends": None, "asks": True,
    "ruling": {"posture": "one", "rule": "mode-ask", "reason": "this installation asks"},
}  # fmt: skip
ASKED = {
    "purpose": "step", "plan_hash": PLAN, "needs": 1, "group": "one", "what": "Deactivate an IAM access key",
    "why": "this installation asks (rule mode-ask)", "on_silence": "escalate", "undo": True,
    "expires_at": "2999-01-01T00:00:00.000000Z",
}  # fmt: skip
DECIDED = {"go": True, "said": "approved", "by": ["ann"]}
OUTCOME = {"outcome": {}, "changed": True, "summary": "the key no longer works", "prove_by": iso(START), "plants": []}
PROOF = {"verdict": "proven", "grade": "refused", "detail": "AWS refuses the key", "retry_after": 2.0}
END_LOOK = LOOK | {"kills": None, "ends": ["sts-session", ROW], "asks": False, "uses": "aws.deny_older_sessions"}

ASKING: list[tuple[str, str, Any]] = [
    ("incident", "opened", OPENED), ("incident", "triage", TRIAGE), ("incident", "severity", SEVERITY),
    ("deactivate", "look", LOOK), ("deactivate", "asked", ASKED),
]  # fmt: skip
CUT: list[tuple[str, str, Any]] = [
    *ASKING, ("deactivate", "decided", DECIDED), ("deactivate", "outcome", OUTCOME), ("deactivate", "proof", PROOF),
]  # fmt: skip
CLOSED: list[tuple[str, str, Any]] = [
    *CUT, ("end-sessions", "look", END_LOOK), ("end-sessions", "outcome", OUTCOME), ("end-sessions", "proof", PROOF),
    ("incident", "closed", {"ledger": [], "failed": []}),
]  # fmt: skip


def events(story: list[tuple[str, str, Any]], apart: float = 1.5) -> list[Event]:
    """The events of a story, so many seconds apart, the first at the report."""
    return [
        Event(incident=ID, n=n, step=step, kind=kind, attempt=1, at=iso(START + timedelta(seconds=apart * (n - 1))),
              body=body, body_sha256="", prev_hash="", hash="")
        for n, (step, kind, body) in enumerate(story, start=1)
    ]  # fmt: skip


def house(home: Path, story: list[tuple[str, str, Any]], *, status: str = "open", evidence: bytes = b"") -> None:
    """A store in this folder that holds the incident, as a worker has left it."""
    with opened(Settings(home=home), sites={}) as bulkhead:
        land(bulkhead, story, status, evidence)


def land(bulkhead: Bulkhead, story: list[tuple[str, str, Any]], status: str, evidence: bytes) -> None:
    body = canonical(
        {"report": REPORT, "inbox": "cli:1", "playbook": BOOK | {"text": "id: aws-access-key\n", "drill": ""}}
    )
    row = {"id": ID, "opened_at": iso(START), "world": "real", "status": status, "title": "Leaked AWS access key",
           "credential_key": ROW, "body": body}  # fmt: skip
    with bulkhead.store.begin() as c:
        bulkhead.store.add_incident(c, row)
    for event in events(story):
        bulkhead.timeline.append(ID, event.step, event.kind, event.body, at=event.at).result()
    if evidence:
        bulkhead.room.of(ID, Still()).save("key.json", evidence)


class Still:
    """A clock that stands."""

    def now(self) -> datetime:
        return START
