"""An incident of the long tail in the real World, whole: nobody is asked until a person agrees, then it is cut; killed
at any boundary of that, it is cut once.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot import app, timeline
from bot.engine.decisions import open_asks
from bot.engine.ledger import Ledger
from bot.engine.policy import Policy
from bot.intake.rounds import rounds
from bot.model import Grade
from bot.settings import Settings
from tests.tail import Provider, provider
from tests.tail_child import site
from tests.test_canaries import encodings, everything

SHIPPED = (app.SHIPPED / "policy.yaml").read_text()
# The most careless policy that there could be: nobody is asked, and silence acts.
CARELESS = SHIPPED.replace("posture: one", "posture: act").replace("on_silence: escalate", "on_silence: act")


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


KILLS = [  # around the one step that shows the value to somebody, and at its end; each takes two processes
    ("after", "revoke", "asked"), ("before", "revoke", "outcome"), ("after", "revoke", "outcome"),
    ("before", "incident", "closed"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("when", "step", "kind"), KILLS)
def test_killed_in_the_middle_it_is_agreed_to_and_cut_once(tmp_path: Path, when: str, step: str, kind: str) -> None:
    with provider(tmp_path) as (there, rules):
        value = there.token("harbor-token")
        home = tmp_path / "home"
        killed = child(home, rules, value, when, step, kind)
        assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
        agreed = (when, kind) in {("before", "outcome"), ("after", "outcome"), ("after", "proof"), ("before", "closed")}
        assert bool(there.asked) == agreed, "it was shown to nobody before somebody had agreed"
        ended = child(home, rules, value, "", "", "")
        assert ended.returncode == 0, ended.stderr[-2000:]
        whole(there, home, rules, value)


def child(home: Path, rules: Path, value: str, *kill: str) -> subprocess.CompletedProcess[str]:
    """The house in a process of its own, to its end or to its death."""
    order = [sys.executable, "-m", "tests.tail_child", str(home), str(rules), *kill]
    root = Path(__file__).parent.parent
    return subprocess.run(order, input=f"{value}\n", text=True, capture_output=True, timeout=100, cwd=root, check=False)


def whole(there: Provider, home: Path, rules: Path, value: str) -> None:
    """Dead by one revocation, proven, each event once, and the value nowhere."""
    assert there.count("DELETE") == 1
    assert value not in there.live
    settings = Settings(home=home, responders="alice", mode="act", secret_rules=rules)
    with app.opened(settings, sites={"real": site()}) as bulkhead:
        (row,) = bulkhead.store.incidents()
        events = timeline.load(bulkhead.store, row.id)
        assert row.status == "closed"
        assert Ledger.fold(events).rows[row.credential_key].grade == Grade.REFUSED
        keys = [(event.step, event.kind, event.attempt) for event in events]
        assert len(keys) == len(set(keys))
        assert timeline.verify(bulkhead.store.events(row.id), row.head_n, row.head_hash) == []
    forms = list(encodings(value))
    assert [name for name, data in everything(home) if any(form in data for form in forms)] == []
