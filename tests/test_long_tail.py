"""An incident of the long tail in the real World, whole: nobody is asked until a person agrees, then it is cut."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from bot import app, timeline
from bot.clients import AwsClients, GitHubClient, RealClock
from bot.engine.decisions import open_asks
from bot.engine.ledger import Ledger
from bot.engine.policy import Policy
from bot.intake.rounds import rounds
from bot.model import Grade
from bot.settings import Settings
from bot.triage.longtail import Tail
from tests.tail import provider
from tests.test_canaries import encodings, everything

NOWHERE = "http://127.0.0.1:9"
SHIPPED = (app.SHIPPED / "policy.yaml").read_text()
# The most careless policy that there could be: nobody is asked, and silence acts.
CARELESS = SHIPPED.replace("posture: one", "posture: act").replace("on_silence: escalate", "on_silence: act")


def site() -> app.Site:
    """The real World, whose providers are not there but for the one of the long tail."""
    return app.Site(
        name="real", aws=AwsClients(key_id="a", secret="b", endpoint=NOWHERE),
        github=GitHubClient(token="none", base_url=NOWHERE), clock=RealClock(), identities=(),
        long_tail=partial(Tail, loopback=True),
    )  # fmt: skip


@pytest.mark.slow
def test_it_waits_for_a_person_under_any_policy_and_closes_on_proof(tmp_path: Path) -> None:
    assert CARELESS != SHIPPED
    with provider(tmp_path) as (there, rules):
        value = there.token("harbor-token")
        home = tmp_path / "home"
        settings = Settings(home=home, responders="alice", mode="act", secret_rules=rules)
        with app.opened(settings, sites={"real": site()}, policy=Policy.load(CARELESS)) as bulkhead:
            asyncio.run(story(bulkhead, there, value))
            (row,) = bulkhead.store.incidents()
            ledger = Ledger.fold(timeline.load(bulkhead.store, row.id))
            assert ledger.rows[row.credential_key].grade == Grade.REFUSED
            assert row.credential_key.startswith("other-harbor-token:")
        assert value not in there.live
        forms = list(encodings(value))
        assert [name for name, data in everything(home) if any(form in data for form in forms)] == []


async def story(bulkhead: app.Bulkhead, there: object, value: str) -> None:
    engine = bulkhead.engine()
    await engine.start()
    task = asyncio.create_task(rounds(bulkhead.inbox, engine))
    try:
        bulkhead.inbox.land(
            source="cli", world="real", by="jonas", text=f"our token is on a forum: {value}", at=datetime.now(UTC)
        )
        await asyncio.sleep(0)
        end, quiet = time.monotonic() + 120, 0.0
        while time.monotonic() < end:
            await asyncio.sleep(0.2)
            for row in bulkhead.store.incidents():
                if row.status == "closed":
                    return
                events = timeline.load(bulkhead.store, row.id)
                for ask in open_asks(events):
                    if ask.step == "revoke" and quiet < 2:  # nobody answers for a while: silence is no agreement
                        quiet += 0.2
                        assert there.asked == []  # type: ignore[attr-defined]
                        continue
                    kind = "answer" if ask.purpose == "answer" else "approve"
                    bulkhead.desk.submit(
                        events=events, incident=row.id, step=ask.step, kind=kind, by="alice", at=datetime.now(UTC),
                        body={"text": "nothing was done with it"} if kind == "answer" else {}, plan=ask.plan_hash,
                    )  # fmt: skip
        raise AssertionError([(r.id, r.status, r.title) for r in bulkhead.store.incidents()])
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.stop()
