"""One house with the long tail in a process that can be killed: ``HOME RULES WHEN STEP KIND``, the value on its input.

It lands the report, answers what people are asked, and ends when the incident is closed. At the boundary of that step
and kind it kills itself, as a power cut would.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bot import app, sites, timeline
from bot.clients import AwsClients, GitHubClient, RealClock
from bot.engine.decisions import Ask, open_asks
from bot.errors import DecisionRefused
from bot.intake.rounds import rounds
from bot.settings import Settings
from bot.triage.longtail import Tail

NOWHERE = "http://127.0.0.1:9"
PATIENCE_S = 90


def site() -> sites.Site:
    """The real World, whose providers are not there but for the one of the long tail."""
    return sites.Site(
        name="real", aws=AwsClients(key_id="a", secret="b", endpoint=NOWHERE),
        github=GitHubClient(token="none", base_url=NOWHERE), clock=RealClock(), identities=(),
        long_tail=partial(Tail, loopback=True),
    )  # fmt: skip


async def story(bulkhead: app.Bulkhead, value: str) -> None:
    """From the report to its close; landed again it is the same one."""
    engine = bulkhead.engine()
    await engine.start()
    task = asyncio.create_task(rounds(bulkhead.inbox, engine))
    try:
        bulkhead.inbox.land(
            source="cli", world="real", by="jonas", text=f"our token is on a forum: {value}", at=datetime.now(UTC),
            delivery="the-one",
        )  # fmt: skip
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            await asyncio.sleep(0.1)
            for row in bulkhead.store.incidents():
                if row.status == "closed":
                    return
                events = timeline.load(bulkhead.store, row.id)
                for ask in open_asks(events):
                    answer(bulkhead, row.id, events, ask)
        raise AssertionError([(r.id, r.status, r.title) for r in bulkhead.store.incidents()])
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.stop()


def answer(bulkhead: app.Bulkhead, incident: str, events: list[timeline.Event], ask: Ask) -> None:
    kind = "answer" if ask.purpose == "answer" else "approve"
    with contextlib.suppress(DecisionRefused):  # it has been answered meanwhile
        bulkhead.desk.submit(
            events=events, incident=incident, step=ask.step, kind=kind, by="alice", at=datetime.now(UTC),
            body={"text": "nothing was done with it"} if kind == "answer" else {}, plan=ask.plan_hash,
        )  # fmt: skip


def main(home: str, rules: str, when: str, step: str, kind: str) -> None:
    def boundary(name: str) -> None:
        at, _, place = name.partition(" ")
        if at == when and place.split("/")[-3:-1] == [step, kind]:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = Settings(home=Path(home), responders="alice", mode="act", secret_rules=Path(rules))
    with app.opened(settings, sites={"real": site()}, boundary=boundary) as bulkhead:
        asyncio.run(story(bulkhead, sys.stdin.readline().strip()))


if __name__ == "__main__":
    main(*sys.argv[1:])
