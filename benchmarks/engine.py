"""The engine as production wires it (vault, policy, timeline, DBOS; WAL and FULL on SQLite) under the same load.

Times are those of the durable write: a cut counts when its proof is committed, an incident when its close is.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dbos import DBOS
from pydantic import SecretStr

from benchmarks.load import Load, Measured, Provider, catalogue, playbook
from bot.action import Action
from bot.app import Bulkhead, opened
from bot.clients import AwsClients, GitHubClient, RealClock
from bot.engine.run import Engine
from bot.engine.steps import Ruling
from bot.model import Credential, Exposure, Liveness, Machine, Report, Triage
from bot.playbook import load as load_playbook
from bot.settings import Settings
from bot.sites import Site
from bot.store import canonical, iso
from bot.timeline import Event
from bot.world import World

NOWHERE = "http://127.0.0.1:9"  # nothing of the load calls a real client; they are here because a World holds them
PATIENCE_S = 120.0


@contextlib.contextmanager
def house(folder: Path, database: str) -> Iterator[Bulkhead]:
    """A Bulkhead over a new database: SQLite in the folder when none is named. Every incident is of the range."""
    site = Site(
        name="range", aws=AwsClients(key_id="none", secret="none", endpoint=NOWHERE),  # noqa: S106 - made up
        github=GitHubClient(token="none", base_url=NOWHERE), clock=RealClock(), identities=(),  # noqa: S106 - made up
    )  # fmt: skip
    key = SecretStr(base64.b64encode(bytes(range(32))).decode())
    split = {"database_url": database, "vault_key": key, "evidence": f"{folder}/evidence"} if database else {}
    settings = Settings(home=folder, responders="ann,ben", **split)
    with opened(settings, sites={"range": site}, release=True) as bulkhead:
        yield bulkhead


def engine_of(bulkhead: Bulkhead, actions: Mapping[str, Action[Any, Any, Any]], triage: Any) -> Engine:
    """The engine as the worker has it, but for what it can do, and for people: where policy asks, all have agreed."""
    parts = bulkhead.engine().parts

    def rules(*case: Any) -> Ruling:
        return replace(parts.rules(*case), posture="act")

    return Engine(replace(parts, catalogue=actions, triage=triage, rules=rules))


def measure(load: Load, folder: Path, database: str = "") -> Measured:
    """Run the load in a new database. Raises TimeoutError when it does not come to its end."""
    provider = Provider(load.call_s)
    with house(folder, database) as bulkhead:
        return asyncio.run(_measure(bulkhead, load, provider))


async def _measure(bulkhead: Bulkhead, load: Load, provider: Provider) -> Measured:
    def triage(_world: World, report: Report) -> Triage:
        assert report.credential is not None
        provider.call(load.shape.triage)
        return Triage(
            credential=report.credential, live=Liveness.LIVE, exposure=Exposure.PUBLIC, machine=Machine.UNKNOWN
        )

    actions = catalogue(provider, load.shape)
    engine = engine_of(bulkhead, actions, triage)
    text = playbook(load.shape)
    rows = rows_of(bulkhead, text, actions, load.incidents)
    marks = Marks(load.incidents, {step.id for step in load.shape.steps if step.cuts})
    bulkhead.timeline.listen(marks.take)
    await engine.start()
    try:
        marks.start, cpu = time.perf_counter(), time.process_time()
        await asyncio.to_thread(land, bulkhead, rows)
        await asyncio.gather(*(engine.open(row["id"]) for row in rows))  # as the worker opens what one report holds
        if not await asyncio.to_thread(marks.over.wait, PATIENCE_S):
            raise TimeoutError(f"{marks.left} incidents were still open after {PATIENCE_S:.0f} s: {engine.broken}")
        for row in rows:  # an engine that is stopped now would only leave their last line for its next start
            await (await DBOS.retrieve_workflow_async(row["id"])).get_result(polling_interval_sec=0.02)
        cpu = time.process_time() - cpu
    finally:
        await engine.stop()
    return Measured(
        last_cut_s=marks.last_cut, all_done_s=marks.all_done, cpu_s=cpu, calls=provider.calls, events=marks.events
    )


class Marks:
    """Looks at a clock when the events that count have been committed."""

    def __init__(self, incidents: int, cuts: set[str]) -> None:
        self.left, self.over, self.events = incidents, threading.Event(), 0
        self.gaps = 0  # evidence that a cut did not wait for (bot.engine.steps, EVIDENCE_S)
        self.start = self.last_cut = self.all_done = 0.0
        self._cuts = cuts

    def take(self, event: Event) -> None:
        self.events += 1
        self.gaps += bool(event.kind == "evidence" and event.body.get("gap"))
        if event.kind == "proof" and event.step in self._cuts:
            self.last_cut = time.perf_counter() - self.start
        elif event.kind == "closed":
            self.left -= 1
            if not self.left:
                self.all_done = time.perf_counter() - self.start
                self.over.set()


def rows_of(
    bulkhead: Bulkhead, text: str, actions: Mapping[str, Action[Any, Any, Any]], incidents: int, first: int = 0
) -> list[dict[str, Any]]:
    """Incidents as the inbox writes them, numbered from ``first`` on."""
    book = load_playbook(text, "bench.yaml", actions)
    bound = {"id": book.id, "sha256": book.sha256, "text": text, "source": book.source, "drill": book.drill}
    at = iso(bulkhead.sites["range"].clock.now())
    rows = []
    for k in range(first, first + incidents):
        credential = Credential(provider="bench", kind=book.id, id=f"key-{k}", fingerprint="hmac:bench")
        report = Report(source="cli", by="bench", text="a load of known size", credential=credential)
        body = canonical({"report": asdict(report), "inbox": "bench", "repository": "", "playbook": bound})
        rows.append({
            "id": f"inc-{k}", "opened_at": at, "world": "range", "status": "open", "title": book.title,
            "credential_key": credential.key, "body": body,
        })  # fmt: skip
    return rows


def land(bulkhead: Bulkhead, rows: list[dict[str, Any]]) -> None:
    """Insert them, in one transaction."""
    with bulkhead.store.begin() as c:
        for row in rows:
            bulkhead.store.add_incident(c, row)
