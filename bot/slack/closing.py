"""What goes into the thread as files when an incident is over: its timeline and the manifest of its evidence. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from bot.slack import kit
from bot.slack.picture import Picture
from bot.store import canonical

AFTERWARDS = ("post-mortem", "follow-up:")  # steps


def upto(picture: Picture) -> int:
    """The last event that belongs to containing it: follow-ups go on for weeks, and bring no files anew."""
    return max((e.n for e in picture.events if not e.step.startswith(AFTERWARDS)), default=0)


def names(picture: Picture) -> tuple[str, str]:
    """The names of the two files: by these they are found again after a crash."""
    last = upto(picture)
    return f"{picture.row.id}-timeline-{last}.jsonl", f"{picture.row.id}-evidence-{last}.json"


def files(picture: Picture, manifest: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Name and text of each file. The timeline has a line an event, with the hashes that chain it."""
    timeline, evidence = names(picture)
    events = [event for event in picture.events if event.n <= upto(picture)]
    head = events[-1] if events else None
    listed = {
        "incident": picture.row.id, "drill": picture.drill, "ended": picture.over,
        "timeline": {"events": head.n if head else 0, "head": head.hash if head else ""},
        "evidence": manifest, "ledger": [row.as_json() for row in picture.ledger.rows.values()],
    }  # fmt: skip
    lines = "".join(canonical(asdict(event)) + "\n" for event in events)
    return [(timeline, lines), (evidence, json.dumps(listed, indent=2, sort_keys=True) + "\n")]


def words(picture: Picture) -> str:
    """What stands over the files."""
    drill = "DRILL. " if picture.drill else ""
    head = next((event.hash for event in picture.events if event.n == upto(picture)), "")
    said = f"{drill}The incident is {picture.over}. Its timeline, and the list of its evidence."
    address = f"{picture.url}/incidents/{picture.row.id}/replay"
    play = f" {kit.link(address, 'Press play on it')}." if picture.url else ""
    return f"{said}{play} Head of the chain: `{head}`"


def holds(message: dict[str, Any], name: str) -> bool:
    """Whether a message has a file of this name."""
    return any(one.get("name") == name for one in message.get("files") or ())
