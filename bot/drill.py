"""A drill: start the range, let the secret leak and be abused, run the incident in it, ask the attacker again.

The incident is a real one: same engine, playbooks and clients. Only its World is the range's, and the people who
approve are simulated, which their names say. A drill whose process was killed goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import requests

from bot import alarm, choosing, makes_way, rehearsal, timeline
from bot.actions.github_oidc import MigrationIn, open_migration
from bot.choices import END, REPORT
from bot.engine.decisions import Ask, open_asks
from bot.engine.ledger import Ledger
from bot.engine.rules import DRILL
from bot.errors import DecisionRefused, EngineError, InputError, Unavailable
from bot.intake.inbox import Inbox, Landed
from bot.intake.rounds import rounds
from bot.learn.score import Score, score
from bot.learn.times import cut_times
from bot.model import Exposure, RowState, Verdict
from bot.oidc import trust
from bot.scenario import MIGRATE, NOTHING, SCENARIOS, Drill
from bot.store import IncidentRow, Store, iso, when
from bot.store_drills import MORE, SOURCE
from bot.timeline import Event
from bot.world import RangeEndpoints, World

START_S = 60.0  # the range starts in a few seconds; a loaded machine takes longer
# what a replay is drawn from, beside the timeline
MOVES_TOLD = {MIGRATE, "leak", "abuse", "tries-before", "tries-after"}
PATIENCE_S = 300.0  # a drill that takes longer has failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A running range: where it listens and who plays in it."""

    info: dict[str, Any]

    @property
    def endpoints(self) -> RangeEndpoints:
        """What the bot may know of it. Raises InputError for an address outside loopback."""
        bot = self.info["cast"]["aws"]["bulkhead-responder"]
        app = self.info["cast"].get("app") or {"app_id": 0, "private_key": ""}
        tokens = self.info["cast"].get("stores", {})
        return RangeEndpoints(
            aws=self.info["aws"], github=self.info["github"], control=self.info["control"],
            aws_key_id=bot["key_id"], aws_secret=bot["secret"],
            github_token=self.info["cast"]["github"]["bulkhead-bot"],
            registry=self.info.get("registry", ""), github_app_id=app["app_id"], github_app_key=app["private_key"],
            npm=self.info.get("npm", ""), npm_token=self.info["cast"].get("npm", {}).get("bulkhead-bot", ""),
            registries=self.info.get("registries", {}), registry_tokens=self.info["cast"].get("registries", {}),
            gcp=self.info.get("gcp", ""), gcp_key_file=self.info["cast"].get("gcp", {}).get("bulkhead-bot", ""),
            trust_root=self.info.get("trust_root", ""),
            account_map=self.info.get("account_map", ""), stores=self.info.get("stores", ""),
            vault=self.info.get("vault", ""), kubernetes=self.info.get("kubernetes", ""),
            vault_token=tokens.get("vault", ""), kubernetes_token=tokens.get("kubernetes", ""),
        )  # fmt: skip

    def anew(self) -> Range:
        """The same range, its company as it was before anything leaked."""
        return Range(info=self.info | self.post("/reset"))

    def get(self, path: str) -> Any:
        """Ask the control address."""
        return self._call("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        """Tell the control address."""
        return self._call("POST", path, body if body is not None else {})

    def now(self) -> datetime:
        """The range's time, asked: a World's clock may lag behind a jump, by as long as it does not ask."""
        return datetime.fromisoformat(self.get("/clock")["now"])

    def _call(self, verb: str, path: str, body: Any = None) -> Any:
        with requests.Session() as session:
            session.trust_env = False
            try:
                answer = session.request(verb, self.info["control"] + path, json=body, timeout=START_S)
            except requests.RequestException as exc:
                raise Unavailable(f"the range does not answer ({type(exc).__name__})", provider="range") from None
        if answer.status_code >= 400:
            raise EngineError(f"the range refused {verb} {path}: {answer.status_code} {answer.text[:200]}")
        return answer.json()


@contextlib.contextmanager
def range_up() -> Iterator[Range]:
    """Start the range as a child; it ends with the block, and when this process dies.

    Raises InputError where the range is not installed, EngineError when it does not start.
    """
    if lacks := missing():
        raise InputError(
            f"the range is not installed here ({lacks} is missing): a drill needs it. Install Bulkhead with its extra "
            "`range` where the worker runs (`uv sync --extra range`, or `pip install 'bulkhead[range]'`)"
        )
    child = subprocess.Popen(
        [sys.executable, "-m", "bot", "range", "up", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert child.stdout is not None and child.stdin is not None
    try:
        line = child.stdout.readline()
        if not line:
            raise EngineError("the range did not start; run `bulkhead range up` to see why")
        yield Range(info=json.loads(line))
    finally:
        child.stdin.close()
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()


@dataclass(slots=True, kw_only=True)
class Result:
    """What a drill shows in the end."""

    drill: str
    incident: str
    contained: bool
    why_not: list[str]
    ledger: list[dict[str, Any]]
    timeline: list[dict[str, Any]]
    time_to_first_cut_s: float | None
    time_to_all_dead_s: float | None
    attacker: dict[str, list[dict[str, Any]]]
    evidence: list[dict[str, Any]] = field(default_factory=list)
    folder: str = ""
    told: dict[str, Any] = field(default_factory=dict)  # act -> what the range told of it, with its times
    choices: list[dict[str, Any]] = field(default_factory=list)  # what was chosen, where choices were put
    score: dict[str, Any] | None = None
    undone: list[dict[str, str]] = field(default_factory=list)  # what was taken back in the end, and what came of it

    @property
    def non_event(self) -> bool:
        """Contained, and nothing had to be cut: what leaked was of no use by then."""
        return self.contained and self.time_to_first_cut_s is None

    def as_json(self) -> dict[str, Any]:
        """The one document that ``--json`` prints."""
        return asdict(self) | {"non_event": self.non_event}


def words(drill: Drill, leak: dict[str, Any], range_: Range) -> tuple[str, str]:
    """What is reported, for the inbox alone, and the same as it may be shown. ``leak``: what the range said of it."""
    text, stage = drill.report.text, SCENARIOS[drill.scenario]
    for hole in stage.holes:
        text = text.replace(f"{{{hole}}}", str(leak.get(hole, "")))
    stolen = range_.get("/drill/stolen")["values"] if stage.secret_holes else {}
    said = text
    for hole in stage.secret_holes:  # only the inbox gets to see the value
        said, text = said.replace(f"{{{hole}}}", stolen[hole]), text.replace(f"{{{hole}}}", f"[the value of {hole}]")
    return said, text


def report(
    inbox: Inbox, drill: Drill, leak: dict[str, Any], range_: Range, *, delivery: str, at: datetime | None = None
) -> tuple[Landed, str]:
    """Land what somebody of the company, or a scanner, reports: what has landed, and the same as it may be shown.

    What other scanners have seen of it lands behind it. ``at``: since when it counts, where that was before now.
    """
    now = range_.now()
    at = at or now
    said, shown = words(drill, leak, range_)
    send = partial(alarm.deliver, inbox, range_.post, drill.scenario, leak=leak, at=at, now=now)
    landed = send(drill.report.scanner, delivery=delivery) if drill.report.scanner else inbox.land(
        source=SOURCE, world=DRILL, by=drill.report.by, text=said, at=at, delivery=delivery,
        exposure=Exposure.UNKNOWN, machine=drill.report.machine, machine_name=drill.report.machine_name,
    )  # fmt: skip
    for name in drill.alerts:
        send(name, delivery=f"{delivery}{MORE}{name}")
    return landed, shown


def payloads(drill: Drill, leak: dict[str, Any], range_: Range) -> dict[str, str]:
    """What scanners send about it, as people may read it, by the scanner's name."""
    names = [name for name in (drill.report.scanner, *drill.alerts) if name]
    hide = range_.get("/drill/stolen")["values"] if names else {}
    return {name: alarm.shown(range_.post, drill.scenario, name, leak, hide) for name in names}


def answer_of(drill: Drill, ask: Ask, range_: Range, seal: Callable[[str, str, str], str]) -> str:
    """What a simulated person says, after having done what the drill says they do: on a web page of the range.

    A new secret that came of it is sealed at once (``seal``: incident, step, value -> reference) and its reference is
    the answer.
    """
    step = ask.step.split("#")[0]
    act = drill.people.get(step)
    done = range_.post("/drill/person", {"act": act, "scenario": drill.scenario}) if act else {}
    if "secret" in done:
        return seal(ask.incident, ask.step, done["secret"])
    return drill.answers.get(step, "I do not know")


def ready_again(drill: Drill, ask: Ask, range_: Range) -> bool:
    """Whether a step that has failed may be tried again: somebody does in the range first what the drill says, if any.

    False while they wait for something there.
    """
    step = ask.step.partition("/")[0].partition("#")[0]
    act = drill.retries.get(step) if ask.purpose == "failure" else None
    return not act or "waits" not in range_.post("/drill/person", {"act": act, "scenario": drill.scenario})


def not_contained(
    drill: Drill, ledger: Ledger, tries: list[dict[str, Any]], collateral: dict[str, Any]
) -> list[str]:  # fmt: skip
    """Why a drill does not count as contained: a row without proof, a try that still works, somebody else hit."""
    why = [
        f"{row.key} is {row.state.value}, not closed on proof"
        for row in ledger.rows.values()
        if row.state != RowState.CLOSED and not (row.state == RowState.WAIVED and rehearsal.signed_for(drill, row.key))
    ]
    refused = {one["name"] for one in tries if one["refused"]}
    more = [one["name"] for one in tries]  # what came of a wrong choice is among them
    why += [
        f"the attacker's {name} still works" for name in dict.fromkeys([*drill.refused, *more]) if name not in refused
    ]
    return why + ([] if collateral["ok"] else [f"somebody else was hit: {collateral['detail']}"])


def missing() -> str:
    """What the range needs and this installation lacks, "" when it is whole."""
    needed = ("moto", "flask", "flask_cors", "websockets")
    return ", ".join(name for name in needed if importlib.util.find_spec(name) is None)


def played(drill: Drill, act: str, range_: Range, world: Callable[[], World]) -> Any:
    """A move of this drill's scenario, and what came of it; the range knows it by the scenario's name."""
    if act == MIGRATE:
        return _migrate(drill, range_, world())
    return range_.post(f"/drill/{act}", {"scenario": drill.scenario})


def _migrate(drill: Drill, range_: Range, world: World) -> Any:
    """Open the pull request as the harden step of an incident does, and let the company roll it out. Twice is once."""
    given = range_.post("/drill/move", {"scenario": drill.scenario})
    if given["moved"]:
        return given["moved"]
    account = str(world.aws.client("sts").get_caller_identity()["Account"])
    asked = MigrationIn(
        repository=given["repository"], role=f"arn:aws:iam::{account}:role/{given['role']}",
        environment=given["environment"],
    )  # fmt: skip
    before = open_migration.look(world, asked)
    opened = open_migration.run(world, asked, before)
    proof = open_migration.prove(world, asked, before, opened)
    if not opened.pull or proof.verdict != Verdict.PROVEN:
        raise EngineError(f"the migration's pull request was not opened: {proof.detail}")
    found = world.github.get(f"/repos/{given['repository']}")
    job = trust.Job(
        repository=found["full_name"], repository_id=str(found["id"]), owner_id=str(found["owner"]["id"]),
        environment=given["environment"],
    )  # fmt: skip
    allowed = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{given['bucket']}/*"}
    return range_.post("/drill/move", {
        "scenario": drill.scenario, "pull": opened.pull, "trust": trust.written(job, account),
        "permissions": {"Version": "2012-10-17", "Statement": [allowed]},
    })  # fmt: skip


class Run:
    """One drill in one folder. ``bulkhead`` is an ``app.Bulkhead`` whose only site is the range."""

    def __init__(
        self, drill: Drill, bulkhead: Any, range_: Range, tell: Callable[[str, dict[str, Any]], None],
        decide: choosing.Decide | None = None, owner: str = "", real: Callable[[], Collection[str]] = tuple,
    ) -> None:  # fmt: skip
        """``decide`` answers the drill's choices; None: none is put. ``owner``: who has what there is to learn.

        ``real`` tells the open incidents of the installation beside which the drill runs: it makes way for a new one.
        """
        self.drill, self.bulkhead, self.range, self.tell = drill, bulkhead, range_, tell
        self.store = bulkhead.store
        self.choosing = choosing.Choosing(
            drill, decide, once=self._once, play=self._happens, tell=tell
        ) if decide else None  # fmt: skip
        self.owner, self._real = owner, real
        self._thought_s = 0.0  # how long people thought about choices: that is no hanging drill
        self.patience_s = PATIENCE_S
        self.told: dict[str, Any] = {}

    async def run(self) -> Result:
        """Leak, abuse, report, contain, try again. Going on after a crash, what was done is not done again."""
        engine = self.bulkhead.engine()
        self.bulkhead.timeline.listen(lambda event: self.tell("event", asdict(event)))
        await engine.start()
        tasks = [asyncio.create_task(rounds(self.bulkhead.inbox, engine)), asyncio.create_task(self._responders())]
        try:
            told = await makes_way.undisturbed(
                self._played(engine, tasks), self._real,
                lambda: [row.id for row in self.store.incidents("open")], engine.abandon,
            )  # fmt: skip
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await engine.stop()
        return await asyncio.to_thread(self._epilogue, *told)

    async def _played(self, engine: Any, tasks: list[asyncio.Task[None]]) -> tuple[Any, ...]:
        """From the leak to the attacker's last try: what the epilogue is told."""
        before = await asyncio.to_thread(self._prologue)
        incident = await self._over(engine, tasks)
        if await asyncio.to_thread(self._afterwards):
            await self._over(engine, tasks)
        after = await asyncio.to_thread(self._tries_again)
        undone = await self._take_back(incident)
        return incident, before, after, undone

    # before the report -----------------------------------------------------------------------------------------

    def _prologue(self) -> list[dict[str, Any]]:
        """What happens before anybody knows; told once, kept for the run after a crash."""
        for act in self.drill.acts:
            self.told[act] = self._once(act, partial(self._play, act))
            self.tell(act, self.told[act])
        before: list[dict[str, Any]] = self._once("tries-before", partial(self._play, "tries"))
        self.tell("tries-before", {"tries": before})
        told = self._landing("told")
        if self.choosing is not None:  # what is thought over counts from here: somebody has said it
            _, text = words(self.drill, self.told["leak"], self.range)
            sent = payloads(self.drill, self.told["leak"], self.range)
            self.tell("alert", {"by": self.drill.report.by, "text": text, "payloads": sent})
            for said in self._choose(REPORT):  # where it can be seen by then
                self.told["leak"] |= {hole: said[hole] for hole in SCENARIOS[self.drill.scenario].holes if hole in said}
        self._report(self.told["leak"], told)
        return before

    def _landing(self, name: str) -> dict[str, Any]:
        """When something is reported, and under which delivery: once."""
        said: dict[str, Any] = self._once(
            name, lambda: {"at": iso(self.range.now()), "delivery": secrets.token_hex(6)}
        )  # fmt: skip
        return said

    def _report(self, leak: dict[str, Any], told: dict[str, Any]) -> None:
        _, text = report(
            self.bulkhead.inbox, self.drill, leak, self.range, delivery=told["delivery"], at=when(told["at"])
        )
        self.tell("report", {"by": self.drill.report.by, "text": text})

    def _choose(self, moment: str) -> list[dict[str, Any]]:
        """Put the choices of a moment; returns what came of them in the range."""
        if self.choosing is None:
            return []
        began = time.monotonic()
        try:
            return self.choosing.at(moment)
        finally:
            self._thought_s += time.monotonic() - began

    def _happens(self, act: str) -> dict[str, Any]:
        said: dict[str, Any] = self.range.post("/drill/happens", {"scenario": self.drill.scenario, "act": act})
        return said

    def _afterwards(self) -> bool:
        """The choices once all is contained. What leaks again because of them is reported again: True then."""
        return self._reported_again("", self._choose(END))

    def _reported_again(self, step: str, happened: list[dict[str, Any]]) -> bool:
        """Whether what came of a choice has leaked something: then that is reported too."""
        again = [said for said in happened if "run_url" in said]
        for number, leak in enumerate(again):
            self._report(leak, self._landing(f"told-again:{step}{number}"))
        return bool(again)

    def _play(self, act: str) -> Any:
        return played(self.drill, act, self.range, partial(self.bulkhead.worlds["range"], f"drill-{act}"))

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        stands = self.store.setting(f"drill:{name}")
        if not stands:
            stands = json.dumps(make())
            self.store.set_setting(f"drill:{name}", stands)
        return json.loads(stands)

    # while it runs ---------------------------------------------------------------------------------------------

    async def _responders(self) -> None:
        """People who are not people: they approve, one after the other, and answer what the drill says they answer."""
        quiet: dict[str, int] = {}  # how far each incident was when it asked nothing
        while True:
            for row in await asyncio.to_thread(self.store.incidents):
                if quiet.get(row.id) == row.head_n:
                    continue
                events = await asyncio.to_thread(timeline.load, self.store, row.id)
                asks = open_asks(events)
                if not asks and not self.drill.signs:
                    quiet[row.id] = row.head_n
                for ask in asks:
                    await asyncio.to_thread(self._respond, ask, events)
                if self.drill.signs and row.status == "open":
                    await asyncio.to_thread(rehearsal.sign, self.bulkhead, self.drill, self.range.post, row.id, events)
            await asyncio.sleep(self.drill.delay_s)

    def _respond(self, ask: Ask, events: list[Event]) -> None:
        done = {d.by for d in self.store.decisions(ask.incident) if d.step == ask.step and d.plan_hash == ask.plan_hash}
        person = next((p for p in self.drill.responders if p not in done), None)
        if person is None or len(done) >= ask.needs:
            return
        if not ready_again(self.drill, ask, self.range):
            return
        kind = "answer" if ask.purpose == "answer" else "approve"
        if kind == "answer":
            step = ask.step.split("#")[0]
            self._reported_again(f"{step}:", self._choose(step))
        body = {"text": answer_of(self.drill, ask, self.range, self.bulkhead.seal_answer)} if kind == "answer" else {}
        at = self.bulkhead.sites["range"].clock.now()
        try:
            self.bulkhead.desk.submit(
                events=events,
                incident=ask.incident,
                step=ask.step,
                kind=kind,
                by=person,
                at=at,
                body=body,
                plan=ask.plan_hash,
            )
        except DecisionRefused as exc:
            self.tell("refused", {"by": person, "why": str(exc)})

    async def _over(self, engine: Any, tasks: list[asyncio.Task[None]]) -> str:
        """The incident's id once it is over. Raises EngineError when it broke or takes for ever."""
        give_up = time.monotonic() + self.patience_s - self._thought_s
        while time.monotonic() < give_up + self._thought_s:
            for task in tasks:
                if task.done():
                    task.result()
            for row in await asyncio.to_thread(self.store.inbox, "dead"):
                if self.drill.ends == NOTHING:
                    return ""
                raise EngineError(f"the report could not be worked: {row['note']}")
            if engine.broken:
                raise EngineError(f"the incident broke: {'; '.join(engine.broken.values())}")
            waits = await asyncio.to_thread(self.store.inbox, "landed")
            rows = await asyncio.to_thread(self.store.incidents)
            if not waits and rows and all(row.status in ("closed", "aborted") for row in rows):
                mine = [row for row in rows if not row.body["report"].get("beside")]
                mine.sort(key=lambda row: row.body["playbook"]["id"] != self.drill.playbook)
                return str(mine[0].id)
            await asyncio.sleep(0.1)
        raise EngineError(
            f"the drill was not over after {self.patience_s:.0f} s; `bulkhead incident show` says what it waits for"
        )

    # after ------------------------------------------------------------------------------------------------------

    def _tries_again(self) -> list[dict[str, Any]]:
        """The attacker tries all of it once more. Not after a crash again: something may be taken back by then."""
        after: list[dict[str, Any]] = self._once("tries-after", partial(self._play, "tries"))
        self.tell("tries-after", {"tries": after})
        return after

    async def _take_back(self, incident: str) -> list[dict[str, str]]:
        if not self.drill.undoes or not incident:
            return []
        by = self.drill.responders[0]
        undone = await rehearsal.take_back(self.bulkhead, incident, self.drill.undoes, by)
        self.tell("taken-back", {"undone": undone})
        return undone

    def _epilogue(
        self, incident: str, before: list[dict[str, Any]], after: list[dict[str, Any]], undone: list[dict[str, str]]
    ) -> Result:  # fmt: skip
        collateral = self.range.post("/drill/collateral", {"scenario": self.drill.scenario})
        events = timeline.load(self.store, incident) if incident else []
        ledger = Ledger.fold(events)
        first, dead = cut_times(events, ledger)
        why = self._why_not(ledger, after, collateral)
        why += [f"{one['step']} was not taken back: {one['said']}" for one in undone if one["came"] != "undone"]
        why += [] if undone or not self.drill.undoes else ["nothing was there to be taken back"]
        taken = list(self.choosing.taken.values()) if self.choosing else []
        scored = score(self.drill, taken, events, owner=self.owner, thought_s=self._thought_s) if taken else None
        if scored and incident:
            said = {"choices": [one.as_json() for one in taken], **told_of(scored)}
            at = iso(self.bulkhead.sites["range"].clock.now())
            self.bulkhead.timeline.append(incident, "drill", "drill-scored", said, at=at).result()
            events = timeline.load(self.store, incident)
        return Result(
            drill=self.drill.id, incident=incident, contained=not why, why_not=why,
            ledger=[row.as_json() for row in ledger.rows.values()], timeline=[asdict(e) for e in events],
            time_to_first_cut_s=first, time_to_all_dead_s=dead, attacker={"before": before, "after": after},
            evidence=self.store.evidence(incident), folder=str(self.bulkhead.settings.home), told=self.told,
            choices=[one.as_json() for one in taken], score=scored.as_json() if scored else None,
            undone=undone,
        )  # fmt: skip

    def _why_not(self, ledger: Ledger, after: list[dict[str, Any]], collateral: dict[str, Any]) -> list[str]:
        why = not_contained(self.drill, ledger, after, collateral)
        for row in self.store.incidents():  # the one that was reported, and those beside it
            if row.status != "closed":
                why.append(f"the incident {row.id} is {row.status}")
            why += timeline.broken(self.store, row.id)
            why += [f"the evidence file {name} is damaged" for name in self.bulkhead.room.damaged(row.id)]
        return why


def told_of(scored: Score) -> dict[str, Any]:
    """What of a score stands on the timeline: no name of a person."""
    return {name: getattr(scored, name) for name in ("total", "time", "record", "recovered", "sure_and_wrong")} | {
        "findings": [{"id": one.id, "title": one.title} for one in scored.findings]
    }


def keep(store: Store, delivery: str, drill: Drill, acts: Mapping[str, Any]) -> None:
    """Keep what a drill tells beside its timeline, under the delivery of its report."""
    store.set_setting(f"drill:{delivery}", delivery)
    for name, said in ({"id": drill.id} | dict(acts)).items():
        store.set_setting(f"drill:{delivery}:{name}", json.dumps(said))


def told(store: Store, row: IncidentRow) -> dict[str, Any]:
    """What a drill has told of the incident that it reported: its id, acts and tries by name. {} for every other one.

    ``drill run`` has a store of its own and keeps them under their names, ``bot.stage`` under its drill's too, and
    ``bot.training`` under the order's (``keep``).
    """
    kept = {name.removeprefix("drill:"): value for name, value in store.settings("drill:").items()}
    delivery = row.body["inbox"].partition(":")[2]
    if row.world != "range" or not delivery:
        return {}
    if json.loads(kept.get("told", "{}")).get("delivery") == delivery:
        prefix, drill = "", kept.get("id", "")
    else:
        drill = next((name for name, value in kept.items() if value == delivery), "")
        prefix = f"{drill}:"
        if not drill:
            return {}
        drill = json.loads(kept.get(f"{prefix}id", json.dumps(drill)))
    acts = MOVES_TOLD & {name.removeprefix(prefix) for name in kept if name.startswith(prefix)}
    return {"id": drill} | {name: json.loads(kept[prefix + name]) for name in acts}
