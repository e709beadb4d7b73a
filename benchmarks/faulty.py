"""A drill whose providers fail: which faults there are, where they strike, and what must hold afterwards."""

from __future__ import annotations

import asyncio
import dataclasses
import difflib
import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from bot import app, drill, sites, timeline
from bot.actions import CATALOGUE
from bot.engine.decisions import open_asks
from bot.engine.ledger import Ledger
from bot.errors import EngineError
from bot.playbook import load_folder
from bot.scenario import load_drill
from bot.settings import Settings

PATIENCE_S = 200.0
QUIET_S = 25.0  # an incident that says nothing for so long waits for a person, or for nothing
LANDING_S = 90.0  # a report whose run or image cannot be read waits for its provider
PUBLIC = 12  # a shorter value is an id or a word, and no secret that could be told apart
KEY_ID = re.compile(r"\b(AKIA|ASIA)[A-Z2-7]{16}\b")
PAGE = "<html><body><h1>Bad gateway</h1></body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a route answers instead, as the range's control address takes it, and how a person would call it."""

    what: str
    rule: dict[str, Any]


KINDS = {
    "error": Kind(what="500, twice", rule={"status": 500, "times": 2}),
    # outlasts every try of a client and of a call: people are asked
    "outage": Kind(what="503, longer than is tried", rule={"status": 503, "times": 30}),
    "throttled": Kind(what="429 with retry-after", rule={"status": 429, "headers": {"retry-after": "1"}, "times": 2}),
    "reset": Kind(what="connection reset", rule={"reset": True, "times": 2}),
    "answer-lost": Kind(what="done, and the answer is lost", rule={"reset": True, "after_commit": True, "times": 1}),
    "late": Kind(what="done after the client has given up", rule={"delay_s": 4.0, "times": 1}),
    "slow": Kind(what="slow, three times", rule={"delay_s": 1.0, "times": 3}),
    "expired": Kind(what="401: our credential has expired", rule={"status": 401, "code": "ExpiredToken", "times": 2}),
    "forbidden": Kind(what="403: we may not", rule={"status": 403, "code": "AccessDenied", "times": 2}),
    "garbage": Kind(
        what="done, and a proxy's page for an answer",
        rule={"status": 200, "body": PAGE, "after_commit": True, "times": 2},
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of failure at one route of one server of the range; digests and numbers in the route stand for any."""

    server: str
    method: str
    route: str
    kind: str

    @property
    def where(self) -> str:
        """The route, for people."""
        return f"{self.server} {'' if self.server == 'aws' else self.method + ' '}{self.route}"

    def rule(self) -> dict[str, Any]:
        """As the range's control address takes it."""
        return {"server": self.server, "method": self.method, "route": self.route, **KINDS[self.kind].rule}

    def __str__(self) -> str:
        return f"{self.kind} at {self.where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a drill under faults ended. ``result`` is None when it did not end; ``broken`` says how."""

    result: drill.Result | None
    broken: str
    timelines: dict[str, list[timeline.Event]]  # by incident
    state: dict[str, Any]
    writes: dict[str, int]
    leaked: list[str]  # where a secret of the range stands that should not
    unknown: list[str]  # what triage could not find out, and said so; numbers and ids stand for any

    def told(self, clean: Clean) -> bool:
        """Whether people are told of something that a drill without faults does not say."""
        return bool(self.failed) or not set(self.unknown) <= set(clean.unknown)

    @property
    def failed(self) -> list[str]:
        """What the timelines say of steps that failed, in sentences."""
        events = [e for events in self.timelines.values() for e in events]
        return [f"{e.step}: {e.body['error']}" for e in events if e.kind == "failed"]

    @property
    def waits(self) -> list[str]:
        """What the incidents that are still open ask of people: questions, and rows that a person has to sign for."""
        found = []
        for events in self.timelines.values():
            if any(e.kind == "closed" for e in events):
                continue
            found += [f"{ask.step} asks" for ask in open_asks(events)]
            found += [f"{row.key} is {row.state.value}" for row in Ledger.fold(events).rows.values() if not row.settled]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Clean:
    """What a drill without faults does: its end, its changes, and the routes that the bot asks."""

    state: dict[str, Any]
    writes: dict[str, int]
    routes: list[list[str]]
    unknown: list[str]

    @classmethod
    def of(cls, ended: Ended, routes: list[tuple[str, str, str]]) -> Clean:
        """Raises EngineError when that drill was not contained."""
        if ended.result is None or not ended.result.contained:
            why = ended.result.why_not if ended.result else [ended.broken]
            raise EngineError(f"the drill without faults was not contained: {'; '.join(why)}")
        listed = [list(route) for route in routes]
        return cls(state=ended.state, writes=ended.writes, routes=listed, unknown=ended.unknown)


def any_number(route: str) -> str:
    """A pattern in which digests and numbers stand for any: they differ from drill to drill."""
    route = re.sub(r"(?<![0-9a-z])[0-9a-f]{12,64}(?![0-9a-z])", "*", route.replace("[", "?").replace("]", "?"))
    return re.sub(r"\d{3,}|(?<=-rev/)\d+", "*", route)


class _Run(drill.Run):
    """Ends the faults with the incident, before the attacker tries again; gives up when nothing happens any more."""

    asked_by_then: tuple[dict[str, Any], ...] = ()
    heard = float("inf")

    async def _over(self, engine: Any, tasks: list[asyncio.Task[None]]) -> str:
        over = asyncio.ensure_future(super()._over(engine, tasks))
        try:
            while not over.done():
                await asyncio.wait([over], timeout=0.5)
                patience = QUIET_S if self.store.incidents() else LANDING_S
                if time.monotonic() - self.heard > patience:
                    raise EngineError(f"nothing has happened for {patience:.0f} s")
            return over.result()
        finally:
            over.cancel()

    def _tries_again(self) -> list[dict[str, Any]]:
        _end_faults(self.range)
        self.asked_by_then = tuple(self.range.get("/requests"))
        return super()._tries_again()


def _end_faults(arena: drill.Range) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.delete(f"{arena.info['control']}/faults", timeout=30).raise_for_status()


def play(arena: drill.Range, home: Path, name: str, faults: list[Fault]) -> tuple[Ended, list[dict[str, Any]]]:
    """The drill under these faults. Returns how it ended, and the requests that were made until then."""
    fresh = arena.anew()
    source = app.SHIPPED / "drills" / f"{name}.yaml"
    scenario = load_drill(source.read_text(), str(source), load_folder([app.SHIPPED / "containment"], CATALOGUE))
    scenario = dataclasses.replace(scenario, delay_s=0.02)
    settings = Settings(home=home, responders=",".join(scenario.responders))
    before_report = 0

    def tell(kind: str, _data: dict[str, Any]) -> None:
        nonlocal before_report
        if kind == "report":
            before_report = len(fresh.get("/requests"))
            fresh.post("/faults", [fault.rule() for fault in faults])
        if kind in ("report", "event"):
            run.heard = time.monotonic()

    result, broken = None, ""
    with app.opened(settings, sites={"range": sites.range_site(fresh.endpoints)}) as bulkhead:
        run = _Run(scenario, bulkhead, fresh, tell)
        run.patience_s = PATIENCE_S
        try:
            result = asyncio.run(run.run())
        except EngineError as exc:
            broken = str(exc)
            _end_faults(fresh)
        ids = [row.id for row in bulkhead.store.incidents()]
        timelines = {id_: timeline.load(bulkhead.store, id_) for id_ in ids}
    written = json.dumps([[dataclasses.asdict(e) for e in events] for events in timelines.values()])
    secret = [one for one in fresh.get("/values") if len(one) >= PUBLIC and not one.startswith(("AKIA", "ASIA"))]
    leaked = ["the timeline" for value in secret if value in written]
    done = [r for r in fresh.get("/requests") if r["mutating"] and r["status"] and r["status"] < 400]
    writes = Counter(any_number(f"{r['server']} {r['method']} {r['route']}") for r in done)
    state = {k: v for k, v in fresh.get("/state").items() if k != "volatile"}
    triaged = [e.body["unknown"] for events in timelines.values() for e in events if e.kind == "triage"]
    ended = Ended(
        result=result, broken=broken, timelines=timelines, state=state, writes=dict(writes), leaked=leaked[:1],
        unknown=[any_number(KEY_ID.sub("*", one)) for found in triaged for one in found],
    )  # fmt: skip
    return ended, list(run.asked_by_then[before_report:])


def routes(asked: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Where a fault can strike, each once: (server, method, route pattern)."""
    return sorted({(r["server"], r["method"], any_number(r["route"])) for r in asked})


def every(where: list[list[str]]) -> list[Fault]:
    """Each kind of fault at each route."""
    return [Fault(server=s, method=m, route=r, kind=kind) for s, m, r in where for kind in KINDS]


def drawn(where: list[list[str]], seed: int) -> list[Fault]:
    """Two to five faults at routes drawn by a seed."""
    dice = random.Random(seed)  # noqa: S311 - the same faults for the same seed
    return dice.sample(every(where), dice.randint(2, 5))


def verdict(clean: Clean, ended: Ended) -> tuple[str, list[str]]:
    """A word for how it ended (``benchmarks.faults.MEANS``), and why it is that word."""
    if said := wrong(clean, ended):
        return "WRONG", said
    if ended.result is None or not ended.result.contained:
        said = [*ended.failed, *ended.waits, *(ended.result.why_not if ended.result else [])]
        return "stopped", said or [ended.broken]
    told = ended.told(clean)
    retried = any(e.step.endswith("/retry") for events in ended.timelines.values() for e in events)
    return ("asked" if retried else "told" if told else "contained"), ended.failed


def wrong(clean: Clean, ended: Ended) -> list[str]:
    """What must not be, in sentences: a doubled change, a proof that is none, a stop without its reason.

    A change that was sent twice has doubled nothing where everything ends as it does without faults.
    """
    said, result = [f"a secret stands in {place}" for place in ended.leaked], ended.result
    told = ended.told(clean)
    if "broke" in ended.broken:
        said.append(ended.broken)
    elif result is None and not (told or ended.waits) and "could not be worked" not in ended.broken:
        said.append(f"it did not end ({ended.broken}), and nobody is told why or what to do")
    if result is not None and not result.contained and not told:
        said.append(f"not contained, and no step says why: {'; '.join(result.why_not)}")
    if result is not None and result.contained and not told and ended.state != clean.state:
        said += [f"the range is not as after a drill without faults: {one}" for one in differs(clean, ended)[:5]]
    closed = result is not None and all(row["state"] == "closed" for row in result.ledger)
    if result is not None and closed and any("still works" in why for why in result.why_not):
        said.append(f"closed on proof, and {'; '.join(result.why_not)}")
    said += [f"of itself: {one}" for one in ended.failed if "fault of Bulkhead itself" in one]
    for route, count in ended.writes.items():
        if count > clean.writes.get(route, 0) and not harmless(route) and ended.state != clean.state:
            said.append(f"{route} was done {count} times instead of {clean.writes.get(route, 0)}")
    return said


def differs(clean: Clean, ended: Ended) -> list[str]:
    """Where the two ranges differ, a line each."""
    was, is_ = ([line.rstrip(",") for line in json.dumps(p.state, indent=1).splitlines()] for p in (clean, ended))
    return [line for line in difflib.unified_diff(was, is_, lineterm="", n=0) if line[:2] not in ("--", "++", "@@")]


def harmless(route: str) -> bool:
    """Whether a change may be made once more after its answer was lost: nobody can tell that it was made.

    A key whose secret was lost with the answer is deleted and made anew (docs/design.md, Rotation's orphan). An object
    of git has its content for its name: made again, it is the same one.
    """
    again = ("iam:CreateAccessKey", "iam:DeleteAccessKey", "/git/blobs", "/git/trees", "/git/commits")
    return any(word in route for word in again)
