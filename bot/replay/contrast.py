"""Two runs of one leak, side by side. Each figure is read from its own run, and what was not tried says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.replay import words
from bot.replay.cast import Cast
from bot.story import seconds
from bot.timeline import Event

NOT_TRIED = "not tried in this run"
FOUND = ("github:ReadRunLog", "npm:PostEnvironment", "registry:PullLayer")  # how the thief comes by what leaked


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run: its timeline, those beside it, and what its drill has told."""

    events: tuple[Event, ...]
    told: Mapping[str, Any]
    beside: tuple[tuple[Event, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One question, and what each run answers."""

    ask: str
    stored: str
    oidc: str


def figures(stored: Run, oidc: Run) -> list[Figure]:
    """The rows of the table. A question that neither run answers is left out."""
    left, right = answers(stored), answers(oidc)
    return [
        Figure(ask=ask, stored=left[ask], oidc=right[ask])
        for ask in left
        if not left[ask] == right[ask] == NOT_TRIED
    ]  # fmt: skip


def answers(run: Run) -> dict[str, str]:
    """What one run says to each question."""
    events, told = run.events, run.told
    acts = [act for act in (told.get("abuse") or {}).get("acts", ()) if act["act"] not in FOUND]
    tried = [act for act in acts if not act["act"].endswith(":Downloads")]
    worked = sum(1 for act in tried if act["ok"])
    bodies = [(e, e.body) for one in (events, *run.beside) for e in one if e.body is not None]
    made = sum(1 for act in tried if act["ok"] and act["act"] in words.MAKES)
    kills = {(e.incident, e.step) for e, b in bodies if e.kind == "look" and b.get("kills")}
    cuts = sum(1 for e, b in bodies if e.kind == "outcome" and (e.incident, e.step) in kills and b["changed"])
    asked = sum(1 for e, _ in bodies if e.kind == "decided")
    return {
        "How long was what leaked of use?": _life(list(events), told),
        "Of what the thief tried with it, how much worked?": f"{worked} of {len(tried)}" if tried else NOT_TRIED,
        "What did the thief leave behind?": _things(made) or "nothing",
        "Could it publish a version?": _published(acts),
        "How often was that version downloaded?": _downloads(acts),
        "What does the job of a fork's pull request get?": next(
            (act["code"] for act in acts if act["act"] == "github:ForkPullRequest"), NOT_TRIED
        ),
        "How much had to be cut?": _things(cuts) or "nothing: it was dead already",
        "How often were people asked?": "once" if asked == 1 else f"{asked} times",
    }


def _things(many: int) -> str:
    return f"{many} thing{'s' if many > 1 else ''}" if many else ""


def _life(events: list[Event], told: Mapping[str, Any]) -> str:
    """From the leak until it was dead: by itself, or cut."""
    expired = next((a for a in (told.get("abuse") or {}).get("acts", ()) if a["code"] == "ExpiredToken"), None)
    leaked = (told.get("leak") or {}).get("at")
    if expired and leaked and expired.get("at"):
        return f"no more than {_between(leaked, expired['at'])}, then it was dead by itself"
    cast = Cast(events)
    for event in events:
        cast.take(event)
    row = next((ledger.rows[cast.key] for ledger in cast.ledgers.values() if cast.key in ledger.rows), None)
    since = next((e.body["exposed_from"] for e in events if e.kind == "triage" and e.body), "")
    if row is None or row.dead_at is None or not since:
        return "it is not known"
    return f"{_between(since, row.dead_at.isoformat())}, until it was cut"


def _between(start: str, end: str) -> str:
    return seconds((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def _published(acts: list[Mapping[str, Any]]) -> str:
    found = [act for act in acts if act["act"].endswith(":Publish")]
    done = next((act for act in found if act["ok"]), None)
    if done is not None:
        return f"yes: {done['made']}"
    return f"no: refused, {found[0]['code']}" if found else NOT_TRIED


def _downloads(acts: list[Mapping[str, Any]]) -> str:
    found = next((act["made"] for act in acts if act["act"].endswith(":Downloads")), "")
    if not found:
        return NOT_TRIED
    return "never: there is none" if found.startswith("0 ") else found
