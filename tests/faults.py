"""A drill whose providers fail: which faults there are, where they strike, and what must hold afterwards.

Faults begin when the report has landed, so that company and attacker are spared, and are over when the incident is.
Each strikes a route so many times; the simulated responders say "try again" whenever they are asked.
"""

from __future__ import annotations

import asyncio
import dataclasses
import difflib
import json
import random
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from bot import app, drill, timeline
from bot.actions import CATALOGUE
from bot.errors import EngineError
from bot.playbook import load_folder
from bot.scenario import load_drill
from bot.settings import Settings

DRILLS = ["aws-key-in-public-log", "github-pat-in-image", "npm-token-stolen-by-dependency"]
# What a route can answer instead. ``long`` outlasts every retry of a client and of a call, so that people are asked.
KINDS: dict[str, dict[str, Any]] = {
    "error": {"status": 500, "times": 3},
    "error-long": {"status": 503, "times": 40},
    "throttled": {"status": 429, "headers": {"retry-after": "1"}, "times": 2},
    "reset": {"reset": True, "times": 2},
    "answer-lost": {"reset": True, "after_commit": True, "times": 1},
    "slow": {"delay_s": 2.0, "times": 2},
    "expired": {"status": 401, "times": 2},
    "forbidden": {"status": 403, "times": 2},
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of failure at one route of one server of the range; numbers in the route stand for any."""

    server: str
    method: str
    route: str
    kind: str

    def rule(self) -> dict[str, Any]:
        """As the range's control address takes it."""
        return {"server": self.server, "method": self.method, "route": self.route, **KINDS[self.kind]}

    def __str__(self) -> str:
        return f"{self.kind} at {self.server} {self.method} {self.route}"


@dataclass(frozen=True, kw_only=True)
class Played:
    """How a drill under faults ended. ``result`` is None when it did not end; ``broken`` says how."""

    result: drill.Result | None
    broken: str
    timelines: dict[str, list[dict[str, Any]]]  # by incident
    state: Any
    writes: dict[str, int]

    @property
    def failed(self) -> list[str]:
        """What the timelines say of steps that failed, in sentences."""
        events = [e for events in self.timelines.values() for e in events]
        return [f"{e['step']}: {e['body']['error']}" for e in events if e["kind"] == "failed"]


def any_number(route: str) -> str:
    """A pattern in which digests and numbers stand for any: they differ from drill to drill."""
    route = re.sub(r"(?<![0-9a-z])[0-9a-f]{12,64}(?![0-9a-z])", "*", route.replace("[", "?").replace("]", "?"))
    return re.sub(r"\d{3,}", "*", route)


def play(
    arena: drill.Range, home: Path, name: str, faults: list[Fault], *, patience_s: float = 100.0
) -> tuple[Played, list[dict[str, Any]]]:
    """The drill under these faults. Returns how it ended, and the requests that the bot made until then."""
    fresh = drill.Range(info={**arena.info, "cast": arena.post("/reset")["cast"]})
    asked: list[dict[str, Any]] = []

    def tell(kind: str, data: dict[str, Any]) -> None:
        if kind == "report":
            fresh.post("/faults", [fault.rule() for fault in faults])
            asked[:] = fresh.get("/requests")
        if kind == "tries-after":  # the first thing after the incident; the attacker's tries are not the bot's
            asked[:] = asked_by_then[len(asked) :]

    asked_by_then: list[dict[str, Any]] = []
    source = app.SHIPPED / "drills" / f"{name}.yaml"
    scenario = load_drill(source.read_text(), str(source), load_folder([app.SHIPPED / "containment"], CATALOGUE))
    scenario = dataclasses.replace(scenario, delay_s=0.02)
    settings = Settings(home=home, responders=",".join(scenario.responders))
    result, broken = None, ""

    class Run(drill.Run):
        """Ends the faults with the incident, before the attacker tries again."""

        def _epilogue(self, incident: str, before: list[dict[str, Any]]) -> drill.Result:
            requests.delete(f"{fresh.info['control']}/faults", timeout=10)
            asked_by_then[:] = fresh.get("/requests")
            return super()._epilogue(incident, before)

    with app.opened(settings, sites={"range": app.range_site(fresh.endpoints)}) as bulkhead:
        run = Run(scenario, bulkhead, fresh, tell)
        run.patience_s = patience_s
        try:
            result = asyncio.run(run.run())
        except EngineError as exc:
            broken = str(exc)
            requests.delete(f"{fresh.info['control']}/faults", timeout=10)
        ids = [row.id for row in bulkhead.store.incidents()]
        timelines = {id_: [dataclasses.asdict(e) for e in timeline.load(bulkhead.store, id_)] for id_ in ids}
    seen = [r for r in fresh.get("/requests") if r["mutating"] and r["status"] and r["status"] < 400]
    writes = Counter(any_number(f"{r['server']} {r['method']} {r['route']}") for r in seen)
    state = {k: v for k, v in fresh.get("/state").items() if k != "volatile"}
    played = Played(result=result, broken=broken, timelines=timelines, state=state, writes=dict(writes))
    return played, asked


def routes(asked: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Where a fault can strike, each once: (server, method, route pattern)."""
    return sorted({(r["server"], r["method"], any_number(r["route"])) for r in asked})


def every(where: list[tuple[str, str, str]]) -> list[Fault]:
    """Each kind of fault at each route."""
    return [Fault(server=s, method=m, route=r, kind=kind) for s, m, r in where for kind in KINDS]


def drawn(where: list[tuple[str, str, str]], seed: int) -> list[Fault]:
    """Two to five faults at routes drawn by a seed."""
    dice = random.Random(seed)
    return dice.sample(every(where), dice.randint(2, 5))


def wrong(clean: Played, played: Played) -> list[str]:
    """What must not be, in sentences: a doubled change, a proof that is none, a stop without its reason."""
    said = []
    if played.result is None:
        if not played.failed:
            said.append(f"it did not end, and no step says why: {played.broken}")
        if "broke" in played.broken:
            said.append(played.broken)
    elif not played.result.contained and not played.failed:
        said.append(f"not contained, and no step says why: {'; '.join(played.result.why_not)}")
    elif played.result.contained and not played.failed and played.state != clean.state:
        said += [f"the range is not as it is after a drill without faults: {one}" for one in differs(clean, played)]
    closed = played.result is not None and all(row["state"] == "closed" for row in played.result.ledger)
    if closed and any("still works" in why for why in played.result.why_not if played.result):
        said.append(f"closed on proof, and {'; '.join(played.result.why_not if played.result else [])}")
    for route, count in played.writes.items():
        if count > clean.writes.get(route, 0) and not harmless(route):
            said.append(f"{route} was done {count} times instead of {clean.writes.get(route, 0)}")
    return said


def differs(clean: Played, played: Played) -> list[str]:
    """Where the two ranges differ, a line each."""
    was, is_ = ([line.rstrip(",") for line in json.dumps(p.state, indent=1).splitlines()] for p in (clean, played))
    return [line for line in difflib.unified_diff(was, is_, lineterm="", n=0) if line[:2] not in ("--", "++", "@@")]


def harmless(route: str) -> bool:
    """Whether a change may be made once more after its answer was lost: nobody can tell that it was made.

    A key whose secret was lost with the answer is deleted and made anew (docs/design.md, Rotation's orphan).
    """
    return any(word in route for word in ("iam:CreateAccessKey", "iam:DeleteAccessKey"))
