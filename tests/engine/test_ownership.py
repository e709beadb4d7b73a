"""The two private things of DBOS that the engine leans on: they are there, and they mean what we think."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from dbos import DBOS, SetWorkflowID

from bot.engine.ownership import current_fence, take_over
from bot.engine.run import _config
from bot.errors import EngineError, FencedOut
from bot.store import iso
from bot.timeline import Fence
from tests.engine.lamps import House


def test_outside_of_a_workflow_there_is_no_fence() -> None:
    with pytest.raises(EngineError):
        current_fence()


def test_a_run_that_was_taken_over_can_write_nothing_more(tmp_path: Path, database: str) -> None:
    """The first run is handed over while it is in the middle; the second owns the workflow from then on."""
    house = House.build(tmp_path, database=database)
    house.land(
        "id: x\ntitle: x\nmatch: {credential: lamp}\n"
        "steps:\n  - {id: s, uses: lamp.put_out, with: {lamp: a}, on_failure: ask}\n"
    )
    fences: list[Fence] = []
    ends: list[str] = []

    async def main() -> None:
        DBOS(config=_config(house.store))

        @DBOS.workflow(name="owned", max_recovery_attempts=None)
        async def owned() -> str:
            fence = current_fence()
            fences.append(fence)
            if len(fences) == 1:
                assert await asyncio.to_thread(take_over, ["worker"]) == 1
                while len(fences) == 1:
                    await asyncio.sleep(0.02)
            at = iso(house.clock.now())
            try:
                await asyncio.wrap_future(
                    house.timeline.append("inc-1", f"run-{fence.owner}", "look", 1, at=at, fence=fence)
                )
                ends.append("written")
            except FencedOut:
                ends.append("fenced")
            return "done"

        DBOS.launch()
        with SetWorkflowID("w"):
            await DBOS.start_workflow_async(owned)
        async with asyncio.timeout(20):
            while len(ends) < 2:
                await asyncio.sleep(0.02)
        await asyncio.to_thread(lambda: DBOS.destroy(destroy_registry=True))

    asyncio.run(main())
    assert sorted(ends) == ["fenced", "written"]
    assert fences[0].workflow == fences[1].workflow == "w"
    assert [e.step for e in house.events()] == [f"run-{fences[1].owner}"]
    house.close()


def test_dbos_keeps_its_records_in_our_file_synced_and_as_json(tmp_path: Path) -> None:
    house = House.build(tmp_path)
    house.room.light("a")
    house.land(
        "id: x\ntitle: x\nmatch: {credential: lamp}\n"
        "steps:\n  - {id: s, uses: lamp.put_out, with: {lamp: a}, on_failure: ask}\n"
    )

    async def main() -> None:
        engine = house.engine()
        await engine.start()
        async with asyncio.timeout(20):
            while house.store.incident("inc-1").status != "closed":
                await asyncio.sleep(0.02)
        await engine.stop()

    asyncio.run(main())
    with house.store.engine.connect() as c:
        assert (
            c.execute(sa.text("SELECT serialization FROM workflow_status WHERE workflow_uuid = 'inc-1'")).scalar()
            == "portable_json"
        )
        tables = c.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all()
        everything = (c.execute(sa.select(sa.text("*")).select_from(sa.table(table))) for table in tables)
        cells = [str(cell) for rows in everything for row in rows for cell in row]
    assert not [cell for cell in cells if cell.startswith("gA")], "base64 of a pickle begins so"
    house.close()
