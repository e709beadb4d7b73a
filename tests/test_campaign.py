"""A campaign whole, on the range: its runs are found, what they leaked is contained beside, and it closes last."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bot import app, drill, sites, timeline
from bot.__main__ import app as commands
from bot.actions import CATALOGUE
from bot.engine.ledger import Ledger
from bot.intake.rounds import rounds
from bot.model import Grade, RowState
from bot.playbook import load_folder
from bot.scenario import Drill, load_drill
from bot.settings import Settings
from bot.triage.campaign import Hunt

GOOD = "1" * 40
pytestmark = pytest.mark.slow


@pytest.fixture
def played() -> Drill:
    source = app.SHIPPED / "drills" / "aws-key-in-public-log.yaml"
    found = load_drill(source.read_text(), str(source), load_folder([app.SHIPPED / "containment"], CATALOGUE))
    return replace(found, answers={**found.answers, "stop-use": "it is out"}, delay_s=0.05)


@pytest.fixture
def house(tmp_path: Path, played: Drill) -> Iterator[tuple[app.Bulkhead, drill.Run]]:
    """A company whose deploy run has printed its key, and a house that knows of nothing yet."""
    with drill.range_up() as arena:
        settings = Settings(home=tmp_path, responders=",".join(played.responders), mode="act")
        with app.opened(settings, sites={"range": sites.range_site(arena.endpoints)}) as bulkhead:
            for act in ("leak", "abuse"):
                arena.post(f"/drill/{act}", {"scenario": played.scenario})
            yield bulkhead, drill.Run(played, bulkhead, arena, lambda _kind, _data: None)


async def contain(bulkhead: app.Bulkhead, run: drill.Run, hunt: Hunt) -> None:
    """Land the question and let people and worker do their part until all is over."""
    engine = bulkhead.engine()
    await engine.start()
    tasks = [asyncio.create_task(rounds(bulkhead.inbox, engine)), asyncio.create_task(run._responders())]
    try:
        now = bulkhead.sites["range"].clock.now()
        bulkhead.inbox.campaign(hunt, by="jonas (simulated)", at=now, world="range", source="drill")
        end = time.monotonic() + 110
        while time.monotonic() < end:
            rows = await asyncio.to_thread(bulkhead.store.incidents)
            if len(rows) > 1 and all(row.status == "closed" for row in rows[1:] if _child(row)):
                await asyncio.to_thread(waive, bulkhead, run)
            if rows and all(row.status == "closed" for row in rows):
                return
            await asyncio.sleep(0.2)
        raise AssertionError([(row.id, row.status, row.credential_key) for row in rows])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await engine.stop()


def _child(row: Any) -> bool:
    return bool(row.body["report"].get("beside"))


def waive(bulkhead: app.Bulkhead, run: drill.Run) -> None:
    """What nobody can prove is signed for by name: secrets that are known by their name."""
    (parent,) = [row for row in bulkhead.store.incidents() if not _child(row)]
    events = timeline.load(bulkhead.store, parent.id)
    if not any(event.kind == "child-ended" for event in events):
        return
    for key, row in Ledger.fold(events).rows.items():
        if not row.settled:
            bulkhead.desk.order(
                incident=parent.id, step=key, kind="waive", by=run.drill.responders[0],
                at=bulkhead.sites["range"].clock.now(), reason="rotated by its owner",
            )  # fmt: skip


def pin(bulkhead: app.Bulkhead) -> None:
    """The company pins the action in every workflow, on every branch."""
    github = bulkhead.worlds["range"]("pin").github
    repo = "/repos/harbor-lights/ferry"
    for branch in [row["name"] for row in github.pages(f"{repo}/branches")]:
        for row in github.get(f"{repo}/contents/.github/workflows", ref=branch):
            file = github.get(f"{repo}/contents/{row['path']}", ref=branch)
            text = base64.b64decode(file["content"]).decode().replace("actions/checkout@v5", f"actions/checkout@{GOOD}")
            content = base64.b64encode(text.encode()).decode()
            body = {"message": "Pin", "branch": branch, "sha": file["sha"], "content": content}
            github.send("PUT", f"{repo}/contents/{row['path']}", body)


def test_what_the_runs_leaked_is_contained_beside_and_the_parent_closes_last(
    house: tuple[app.Bulkhead, drill.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    bulkhead, run = house
    now = bulkhead.sites["range"].clock.now()
    pin(bulkhead)
    hunt = Hunt(what="action", name="actions/checkout", ref="v5", since=now - timedelta(days=2),
                until=now + timedelta(hours=1), homes=("harbor-lights",))  # fmt: skip
    asyncio.run(contain(bulkhead, run, hunt))
    rows = {row.id: row for row in bulkhead.store.incidents()}
    (parent,) = [row for row in rows.values() if not _child(row)]
    children = [row for row in rows.values() if _child(row)]
    assert parent.credential_key == hunt.credential.key
    assert [row.credential_key.partition(":")[0] for row in children] == ["aws-access-key"]
    own = Ledger.fold(timeline.load(bulkhead.store, parent.id)).rows[hunt.credential.key]
    assert (own.state, own.grade) == (RowState.CLOSED, Grade.STATE), "no branch names it any more; nobody had to sign"
    ended = {name: timeline.load(bulkhead.store, name)[-1].at for name in rows}
    assert all(ended[child.id] < ended[parent.id] for child in children)
    ledger = Ledger.fold(timeline.load(bulkhead.store, children[0].id))
    assert ledger.rows[children[0].credential_key].grade is not None, "its value came from the log: refused, and proven"
    for row in rows.values():
        assert timeline.verify(bulkhead.store.events(row.id), row.head_n, row.head_hash) == []
    monkeypatch.setenv("BULKHEAD_HOME", str(bulkhead.settings.home))
    done = CliRunner().invoke(commands, ["campaign", "show", parent.id, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    (place,) = told["repositories"]
    assert (place["repository"], place["runs"], place["open"]) == ("harbor-lights/ferry", 2, [])
    assert place["done"] == place["reach"] > 1
    assert told["children"] == [{"row": children[0].credential_key, "incident": children[0].id, "status": "closed"}]
    assert "harbor-lights/ferry" in CliRunner().invoke(commands, ["campaign", "show"]).output
