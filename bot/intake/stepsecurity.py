"""StepSecurity's Harden-Runner: one delivery a workflow run, its detections bundled, sent or not in an envelope.

It cannot sign; a static header is all there is, so it opens and asks. A secret in a build log or an artifact is looked
for in that run. A runner whose memory was read lost every secret of its job: the run is looked through and what its
job could read is its reach. The rest are facts. Source: docs.stepsecurity.io "Webhook integration".
"""

from __future__ import annotations

from typing import Any

from bot.intake.delivery import Delivery, Fact, Reading, Seen, Sender, plain, rows_at, text_at
from bot.intake.wire import json_of, unpacked

LEAKS = {"secret-in-build-log", "secret-in-artifact"}
TAKES_ALL = {"runner-worker-memory-read", "reverse-shell", "secret-exfiltration-attempt", "suspicious-network-call",
             "agent-tampered"}  # fmt: skip
_KEPT = ("id", "detection", "workflow_path", "run_id", "job", "html_url", "is_lockdown", "severity", "title",
         "ecosystem")  # fmt: skip


def read(delivery: Delivery, _sender: Sender) -> Reading:
    """What a delivery tells. Raises Undeliverable when it is no JSON."""
    value = json_of(unpacked(delivery.body, delivery.header("content-encoding")), delivery.header("content-type"))
    rows = rows_at(value, "") or rows_at(value, "data") or ([value] if isinstance(value, dict) else [])
    rows = [row for row in rows if _id(row)]
    seen = tuple(_seen(row) for row in rows if _id(row) in LEAKS | TAKES_ALL and _run_url(row))
    facts = tuple(_fact(row) for row in rows)
    what = ", ".join(dict.fromkeys(text_at(row, "id", 80) or text_at(row, "type", 80) for row in rows))
    return Reading(
        event=_id(rows[0]) if len(rows) == 1 else "detections", seen=seen, facts=facts,
        text=f"StepSecurity: {what}"[:500], note="" if rows else "it holds no detection",
    )  # fmt: skip


def _id(row: Any) -> str:
    found = text_at(row, "type", 80) or text_at(row, "id", 80)
    return found.strip().lower().replace(" ", "-")


def _repository(row: dict[str, Any]) -> str:
    """``repo`` is OWNER/NAME in some of their samples and NAME in others."""
    owner, repo = text_at(row, "owner", 100), text_at(row, "repo", 200)
    return repo if "/" in repo else f"{owner}/{repo}" if owner and repo else ""


def _run_url(row: dict[str, Any]) -> str:
    repository, run = _repository(row), text_at(row, "run_id", 20)
    return f"https://github.com/{repository}/actions/runs/{run}" if repository and run.isdigit() else ""


def _seen(row: dict[str, Any]) -> Seen:
    return Seen(
        called=text_at(row, "id", 80), run_url=_run_url(row), repository=_repository(row), url=text_at(row, "html_url"),
        where=f"run {text_at(row, 'run_id', 20)}, job {text_at(row, 'job', 100)}",
        place=f"stepsecurity:{text_at(row, 'detection', 200) or text_at(row, 'id_timestamp', 200)}",
        severity="critical" if _id(row) in TAKES_ALL else "high",
    )  # fmt: skip


def _fact(row: dict[str, Any]) -> Fact:
    body = {name: text for name in _KEPT if (text := plain(row.get(name), 200))}
    return Fact(kind=f"stepsecurity.{_id(row)}", repository=_repository(row), body=body)
