"""The engine as production wires it (SQLite with WAL and FULL, vault, policy, timeline, DBOS) under the same load.

Times are those of the durable write: a cut counts when its proof is committed, an incident when its close is.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dbos import DBOS

from benchmarks.load import Load, Measured, Provider, catalogue, playbook
from bot.action import Action
from bot.app import Bulkhead, Site, opened
from bot.clients import AwsClients, GitHubClient, RealClock
from bot.engine.run import Engine, Parts
from bot.model import Credential, Exposure, Liveness, Report, Triage
from bot.playbook import load as load_playbook
from bot.settings import Settings
from bot.store import canonical, iso
from bot.timeline import Event
from bot.world import World

NOWHERE = "http://127.0.0.1:9"  # nothing of the load calls a real client; they are here because a World holds them
PATIENCE_S = 60.0


def measure(load: Load, folder: Path) -> Measured:
    """Run the load in a new database below this folder. Raises TimeoutError when it does not come to its end."""
    provider = Provider(load.call_s)
    site = Site(
        name="range", aws=AwsClients(key_id="none", secret="none", endpoint=NOWHERE),  # noqa: S106 - made up
        github=GitHubClient(token="none", base_url=NOWHERE), clock=RealClock(), identities=(),  # noqa: S106 - made up
    )  # fmt: skip
    with opened(Settings(home=folder), sites={"range": site}) as bulkhead:
        return asyncio.run(_measure(bulkhead, load, provider))


async def _measure(bulkhead: Bulkhead, load: Load, provider: Provider) -> Measured:
    actions = catalogue(provider, load)
    engine = Engine(Parts(
        store=bulkhead.store, timeline=bulkhead.timeline, folder=bulkhead.settings.home, catalogue=actions,
        worlds=bulkhead.worlds, triage=_triage, severity=bulkhead._severity, rules=bulkhead._ruling,
        mode=bulkhead.rules.mode, may=bulkhead.rules.may, settled=bulkhead._settled,
    ))  # fmt: skip
    rows = [_row(bulkhead, load, k, actions) for k in range(load.incidents)]
    marks = _Marks(load.incidents)
    bulkhead.timeline.listen(marks.take)
    await engine.start()
    try:
        marks.start = time.perf_counter()
        await asyncio.to_thread(_land, bulkhead, rows)
        await asyncio.gather(*(engine.open(row["id"]) for row in rows))  # as the worker opens what one report holds
        if not await asyncio.to_thread(marks.over.wait, PATIENCE_S):
            raise TimeoutError(f"{marks.left} incidents were still open after {PATIENCE_S:.0f} s: {engine.broken}")
        for row in rows:  # an engine that is stopped now would only leave their last line for its next start
            await (await DBOS.retrieve_workflow_async(row["id"])).get_result(polling_interval_sec=0.02)
    finally:
        await engine.stop()
    return Measured(last_cut_s=marks.last_cut, all_done_s=marks.all_done, calls=provider.calls)


class _Marks:
    """Looks at a clock when the events that count have been committed."""

    def __init__(self, incidents: int) -> None:
        self.left, self.over = incidents, threading.Event()
        self.start = self.last_cut = self.all_done = 0.0

    def take(self, event: Event) -> None:
        if event.kind == "proof" and event.step == "cut":
            self.last_cut = time.perf_counter() - self.start
        elif event.kind == "closed":
            self.left -= 1
            if not self.left:
                self.all_done = time.perf_counter() - self.start
                self.over.set()


def _triage(_world: World, report: Report) -> Triage:
    assert report.credential is not None
    return Triage(credential=report.credential, live=Liveness.LIVE, exposure=Exposure.PUBLIC)


def _row(bulkhead: Bulkhead, load: Load, k: int, actions: dict[str, Action[Any, Any, Any]]) -> dict[str, Any]:
    """An incident as the inbox writes it."""
    text = playbook(load.provider(k))
    book = load_playbook(text, "bench.yaml", actions)
    credential = Credential(provider="bench", kind="bench-key", id=f"key-{k}", fingerprint="hmac:bench")
    report = Report(source="cli", by="bench", text="a load of known size", credential=credential)
    bound = {"id": book.id, "sha256": book.sha256, "text": text, "source": book.source, "drill": book.drill}
    return {
        "id": f"inc-{k}", "opened_at": iso(bulkhead.sites["range"].clock.now()), "world": "range", "status": "open",
        "title": book.title, "credential_key": credential.key,
        "body": canonical({"report": asdict(report), "inbox": "bench", "playbook": bound}),
    }  # fmt: skip


def _land(bulkhead: Bulkhead, rows: list[dict[str, Any]]) -> None:
    with bulkhead.store.begin() as c:
        for row in rows:
            bulkhead.store.add_incident(c, row)
