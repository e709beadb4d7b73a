"""The house of lamps under a real policy: the shipped tables, a rulebook, and the World where modes and brake hold."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.action import Action
from bot.actions import people
from bot.engine.decisions import Attest, open_asks, unsigned
from bot.engine.policy import Policy
from bot.engine.rules import Rulebook, drilled_name
from bot.engine.run import Engine, Parts
from bot.engine.steps import Ruling
from bot.model import Before, Credential, Exposure, Liveness, Machine, Report, Triage
from bot.playbook import load
from bot.store import IncidentRow, canonical, iso
from bot.world import World
from tests.engine.lamps import House

SHIPPED = (Path(__file__).parents[2] / "playbooks" / "policy.yaml").read_text()
STAFFED = SHIPPED.replace("    responders: []", "    responders: [ann, ben, cleo]\n    night-shift: [dora]")
for group in ("one", "two", "person"):
    STAFFED = STAFFED.replace(f"    {group}: [responders]", f"    {group}: [responders, night-shift]")
STAFFED = STAFFED.replace("  escalate: [responders]", "  escalate: [night-shift]")

ONE = """
id: one-lamp
title: A lamp burns
match: {credential: lamp}
steps:
  - {id: out, uses: lamp.put_out, with: {lamp: $credential.id}, on_failure: ask}
"""


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def pass_time(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass(slots=True, kw_only=True)
class Ruled(House):
    """Incidents of the real World; who may decide, and what happens by itself, is said by the policy's text."""

    policy: str = STAFFED
    installation: str = "act"
    exposure: Exposure = Exposure.PUBLIC
    fingerprint: str = "hmac:made-up"  # without it only an id is known
    machine: Machine = Machine.UNKNOWN
    attest: Attest = unsigned
    groups: dict[str, frozenset[str]] = field(default_factory=dict)  # posture -> Slack user groups
    aliases: dict[str, str] = field(default_factory=dict)
    playbooks: dict[str, Any] = field(default_factory=dict)

    def catalogue(self) -> dict[str, Action[Any, Any, Any]]:
        return self.room.catalogue() | {"people.isolate": people.isolate}

    def rulebook(self) -> Rulebook:
        policy = Policy.load(self.policy)
        return Rulebook(
            policy=policy, default_mode=self.installation, people=frozenset(), store=self.store, groups=self.groups,
            aliases=self.aliases,
        )  # fmt: skip

    def found(self, _world: World, report: Report) -> Triage:
        assert report.credential is not None
        name = "laptop of mara" if self.machine is Machine.EXISTS else ""
        return Triage(
            credential=report.credential, live=Liveness.LIVE, exposure=self.exposure, machine=self.machine,
            machine_name=name,
        )  # fmt: skip

    def engine(self, boundary: Callable[[str], None] = lambda _name: None) -> Engine:
        rulebook = self.rulebook()

        def ruling(row: IncidentRow, found: Triage, action: Action[Any, Any, Any], before: Before) -> Ruling:
            return rulebook.ruling(row, found, action, before, self.clock)

        def severity(found: Triage) -> dict[str, str]:
            said = rulebook.severity(found)
            return {"level": said.level, "rule": said.rule, "reason": said.reason}

        return Engine(Parts(
            store=self.store, timeline=self.timeline, folder=self.folder, catalogue=self.catalogue(),
            worlds={"real": self.world}, triage=self.found, severity=severity, rules=ruling, mode=rulebook.mode,
            may=rulebook.may, attest=self.attest, human=rulebook.human, boundary=boundary, tick_s=0.02,
        ))  # fmt: skip

    def report(
        self, text: str = ONE, incident: str = "inc-1", lamp: str = "a", *, drilled: bool = True,
        repository: str = "o/r", **said: Any,
    ) -> str:  # fmt: skip
        """Land an incident of the real World; ``drilled``: this text of the playbook has passed its drill here.

        ``said``: more of the report.
        """
        playbook = load(text, "test.yaml", self.catalogue())
        if drilled:
            self.store.set_setting(drilled_name(playbook.id), json.dumps({"sha256": playbook.sha256}))
        credential = Credential(provider="lamp", kind="lamp", id=lamp, fingerprint=self.fingerprint)
        fields = {name: getattr(credential, name) for name in ("provider", "kind", "id", "fingerprint", "account")}
        book = {"id": playbook.id, "sha256": playbook.sha256, "text": text, "source": "test.yaml", "drill": ""}
        body = {
            "report": {"source": "cli", "by": "zoe", "text": "it burns", "url": "", "credential": fields, **said},
            "inbox": "x", "repository": repository, "playbook": book,
        }  # fmt: skip
        with self.store.begin() as c:
            self.store.add_incident(c, {
                "id": incident, "opened_at": iso(self.clock.now()), "world": "real", "status": "open",
                "title": "a lamp burns", "credential_key": credential.key, "body": canonical(body),
            })  # fmt: skip
        return incident

    def asks(self, step: str, incident: str = "inc-1") -> list[Any]:
        return [ask for ask in open_asks(self.events(incident)) if ask.step == step]

    def bodies(self, step: str, kind: str, incident: str = "inc-1") -> list[Any]:
        return [e.body for e in self.events(incident) if (e.step, e.kind) == (step, kind)]

    def decide(self, engine: Engine, step: str, kind: str, by: str, incident: str = "inc-1", **body: str) -> bool:
        return engine.desk.submit(
            events=self.events(incident), incident=incident, step=step, kind=kind, by=by, at=self.clock.now(), body=body
        )

    async def closed(self, incident: str = "inc-1", status: str = "closed") -> None:
        await until(lambda: self.store.incident(incident).status == status, f"{incident} to be {status}")


def drive(house: House, story: Callable[[Engine], Awaitable[None]]) -> None:
    """Start the engine, run the story against it, stop it."""

    async def main() -> None:
        engine = house.engine()
        await engine.start()
        try:
            await asyncio.wait_for(story(engine), 100)
        finally:
            await engine.stop()

    asyncio.run(main())


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition, with a deadline."""
    give_up = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < give_up, f"waited too long for: {what}"
        await asyncio.sleep(0.02)
    return value
