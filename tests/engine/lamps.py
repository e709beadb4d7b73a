"""A provider of lamps, small enough to see through: a lamp is a file, off is its absence, every change a line in a log.

Real actions in the engine's own contract; only the world that they change is a folder.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from bot.action import Action
from bot.clients import AwsClients, GitHubClient, RealClock
from bot.engine.ownership import fence_sql
from bot.engine.run import Engine, Parts
from bot.engine.steps import Ruling
from bot.errors import Conflict, RateLimited, Unavailable
from bot.evidence import EvidenceRoom
from bot.model import (
    Before,
    Credential,
    Effect,
    EvidenceRef,
    Grade,
    Liveness,
    Outcome,
    Proof,
    Report,
    Tail,
    Triage,
    material,
)  # fmt: skip
from bot.playbook import load
from bot.store import Store, canonical, iso
from bot.timeline import Timeline
from bot.timeline import load as load_events
from bot.vault import Vault
from bot.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    """Which lamp."""

    lamp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lit(Before):
    """Whether it burns."""

    burning: bool = material(default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something only a person knows."""

    who: str
    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Outcome):
    """What they said."""

    answer: str = ""


class Room:
    """The folder of lamps. ``trouble`` maps a lamp to how many more calls fail; ``stubborn`` lamps never go out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.trouble: dict[str, int] = {}
        self.hidden: dict[str, Exception] = {}  # a lamp that cannot be looked at, and what the look raises
        self.stubborn: set[str] = set()
        self.slow_down: dict[str, float] = {}  # a lamp that asks for a pause once
        self.slow: dict[str, float] = {}  # a lamp whose switch takes its time
        self.entered: set[str] = set()
        self.own: set[str] = set()  # lamps that Bulkhead itself works by
        self.bugs: set[str] = set()  # lamps at which the action itself breaks
        self.unproven: set[str] = set()  # lamps that nobody can see yet
        self.one_hand = threading.Lock()  # on a switch there is room for one

    def light(self, *lamps: str) -> None:
        for lamp in lamps:
            (self.folder / lamp).touch()

    def burns(self, lamp: str) -> bool:
        return (self.folder / lamp).exists()

    def changes(self) -> list[str]:
        log = self.folder / "changes.log"
        return log.read_text().splitlines() if log.exists() else []

    def log(self, line: str) -> None:
        with (self.folder / "changes.log").open("a") as file:
            file.write(line + "\n")

    def catalogue(self) -> dict[str, Action[Any, Any, Any]]:
        def look(_: World, i: Lamp) -> Lit:
            if i.lamp in self.hidden:
                raise self.hidden[i.lamp]
            burning = self.burns(i.lamp)
            return Lit(
                needed=burning,
                cuts_own=i.lamp in self.own,
                burning=burning,
                summary=f"{i.lamp} {'burns' if burning else 'is out'}",
            )

        def put_out(_: World, i: Lamp, before: Lit) -> Outcome:
            if self.trouble.get(i.lamp, 0) > 0:
                self.trouble[i.lamp] -= 1
                raise Unavailable("the switch does not answer", provider="lamp")
            if i.lamp in self.bugs:
                raise ZeroDivisionError
            if i.lamp in self.slow_down:
                raise RateLimited("too fast", provider="lamp", retry_after=self.slow_down.pop(i.lamp))
            self.entered.add(i.lamp)
            time.sleep(self.slow.get(i.lamp, 0))
            with self.one_hand:
                changed = self.burns(i.lamp)
                if changed and i.lamp not in self.stubborn:
                    (self.folder / i.lamp).unlink()
                    self.log(f"out {i.lamp}")
            return Outcome(changed=changed)

        def prove(_: World, i: Lamp, before: Lit, outcome: Outcome) -> Proof:
            if i.lamp in self.unproven:
                return Proof.not_yet(f"{i.lamp} cannot be seen", retry_after=0.05)
            return (
                Proof.refuted(f"{i.lamp} still burns")
                if self.burns(i.lamp)
                else Proof.proven(Grade.REFUSED, f"{i.lamp} is dark")
            )

        def undo(_: World, i: Lamp, before: Lit, outcome: Outcome) -> Outcome:
            if self.burns(i.lamp):
                raise Conflict("somebody lit it already", {"burning": (False, True)})
            if before.burning:
                self.light(i.lamp)
                self.log(f"lit {i.lamp}")
            return Outcome(changed=before.burning)

        def photograph(world: World, i: Lamp, before: Lit) -> tuple[EvidenceRef, ...]:
            return (world.evidence.save(f"{i.lamp}.json", json.dumps({"burning": before.burning}).encode()),)

        def smash(_: World, i: Lamp, before: Lit) -> Outcome:
            return put_out(_, i, before)

        def told(world: World, i: Question, before: Before) -> Told:
            said = world.answers.answer() if world.answers else None
            return Told(changed=False, answer=said[1] if said else "")

        common: dict[str, Any] = {"inputs": Lamp, "before": Lit, "outcome": Outcome, "look": look, "prove": prove}
        actions: list[Action[Any, Any, Any]] = [
            Action(name="lamp.put_out", title="Put a lamp out", effect=Effect.CONTAIN, run=put_out, undo=undo,
                   kills=lambda i: f"lamp:{i.lamp}", proof_deadline=2, **common),
            Action(name="lamp.smash", title="Smash a lamp", effect=Effect.DESTROY, run=smash,
                   undo_none="it is in pieces",
                   evidence=photograph, kills=lambda i: f"lamp:{i.lamp}", proof_deadline=2, **common),
            Action(name="lamp.cool", title="Cool a lamp", effect=Effect.CONTAIN,
                   run=lambda _w, _i, _b: Outcome(changed=True),
                   ends=lambda i: ("glow", f"lamp:{i.lamp}"), **common),
            Action(name="people.ask", title="Ask somebody", effect=Effect.READ, inputs=Question, before=Before,
                   outcome=Told,
                   look=lambda _w, i: Before(summary=i.question), run=told,
                   prove=lambda _w, _i, _b, o: Proof.proven(Grade.WORD, o.answer), person=True),
        ]  # fmt: skip
        return {action.name: action for action in actions}


@dataclass(slots=True, kw_only=True)
class House:
    """Store, engine and lamps in one folder. ``postures`` maps an effect to what policy says of it."""

    folder: Path
    room: Room
    store: Store
    timeline: Timeline
    vault: Vault
    clock: Any
    people: set[str] = field(default_factory=lambda: {"ann", "ben", "cleo"})
    postures: dict[str, str] = field(default_factory=dict)
    on_silence: str = "hold"
    after_s: float = 0
    tails: tuple[tuple[str, str, float], ...] = ()  # kind, lamp, seconds
    mode: str = "act"
    lease_s: float = 30.0  # longer than a busy machine holds up a worker
    blind: list[Exception] = field(default_factory=list)  # what the next triages raise

    @classmethod
    def build(cls, folder: Path, clock: Any = None, database: str = "") -> House:
        store = Store(database or f"sqlite:///{folder / 'b.db'}")
        store.migrate()
        return cls(
            folder=folder, room=Room(folder / "lamps"), store=store, timeline=Timeline(store, fence_sql(store.url)),
            vault=Vault(store, b"k" * 32), clock=clock or RealClock(),
        )  # fmt: skip

    def world(self, incident: str) -> World:
        room = EvidenceRoom(self.store, self.folder / "evidence")
        return World(
            name="range", aws=AwsClients(key_id="none", secret="none", endpoint="http://127.0.0.1:9"),
            github=GitHubClient(token="none", base_url="http://127.0.0.1:9"), clock=self.clock,
            secrets=self.vault.of(incident, self.clock), evidence=room.of(incident, self.clock),
            scrub=self.vault.scrubber,
        )  # fmt: skip

    def triage(self, world: World, report: Report) -> Triage:
        assert report.credential is not None
        if self.blind:
            raise self.blind.pop(0)
        now = world.now()
        tails = tuple(
            Tail(kind=k, of=f"lamp:{lamp}", until=now + timedelta(seconds=s), why="it glows on")
            for k, lamp, s in self.tails
        )
        return Triage(credential=report.credential, live=Liveness.LIVE, tails=tails)

    def engine(self, boundary: Callable[[str], None] = lambda _name: None, freeze: str = "") -> Engine:
        def rules(_row: Any, _triage: Any, action: Action[Any, Any, Any], _before: Before) -> Ruling:
            posture = self.postures.get(action.effect.value, "act")
            return Ruling(
                posture=posture,
                on_silence=self.on_silence,
                after_s=self.after_s,
                rule="test",
                reason="the test says so",
            )

        return Engine(Parts(
            store=self.store, timeline=self.timeline, folder=self.folder, catalogue=self.room.catalogue(),
            worlds={"range": self.world}, triage=self.triage, rules=rules, mode=lambda _row: self.mode,
            severity=lambda _t: {"level": "high", "rule": "test", "reason": "it is a test"},
            may=lambda person, _group, _said: person in self.people, boundary=boundary, tick_s=0.02,
            lease_s=self.lease_s, freeze=freeze,
        ))  # fmt: skip

    def land(self, text: str, incident: str = "inc-1", lamp: str = "a", by: str = "zoe") -> str:
        """Land an incident whose playbook is this text."""
        playbook = load(text, "test.yaml", self.room.catalogue())
        credential = Credential(provider="lamp", kind="lamp", id=lamp)
        report = Report(source="cli", by=by, text="it burns", credential=credential)
        body = {
            "report": {**{f: getattr(report, f) for f in ("source", "by", "text", "url")}, "credential": {
                "provider": "lamp", "kind": "lamp", "id": lamp, "fingerprint": "", "account": ""},
                "exposure": "unknown"},
            "inbox": "x",
            "playbook": {
                "id": playbook.id, "sha256": playbook.sha256, "text": text, "source": "test.yaml", "drill": "",
            },
        }  # fmt: skip
        with self.store.begin() as c:
            self.store.add_incident(c, {
                "id": incident, "opened_at": iso(self.clock.now()), "world": "range", "status": "open",
                "title": "a lamp burns",
                "credential_key": credential.key, "body": canonical(body),
            })  # fmt: skip
        return incident

    def events(self, incident: str = "inc-1") -> list[Any]:
        return load_events(self.store, incident)

    def kinds(self, step: str, incident: str = "inc-1") -> list[str]:
        return [e.kind for e in self.events(incident) if e.step == step]

    def close(self) -> None:
        self.timeline.close()
        self.store.close()
