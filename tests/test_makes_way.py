"""A drill ends itself when a real incident opens: in this process, and as it is typed beside an installation."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bot import app, drill, sites
from bot.actions import CATALOGUE
from bot.errors import EngineError
from bot.playbook import load_folder
from bot.scenario import load_drills
from bot.settings import Settings
from bot.store import Store
from tests.incidents import ID, OPENED, house

PLAYBOOKS = load_folder([app.SHIPPED / "containment"], CATALOGUE)
DRILLS = load_drills([app.SHIPPED / "drills"], PLAYBOOKS)
WAITING = dataclasses.replace(DRILLS["worm-on-a-laptop"], delay_s=60.0)  # for people who do not answer


def test_it_makes_way_whatever_it_waits_for_and_leaves_nothing_open(tmp_path: Path) -> None:
    asked: list[str] = []

    def tell(kind: str, data: dict[str, object]) -> None:
        if kind == "event" and data["kind"] == "asked":
            asked.append(str(data["step"]))

    with drill.range_up() as arena:
        settings = Settings(home=tmp_path, responders=",".join(WAITING.responders))
        with app.opened(settings, sites={"range": sites.range_site(arena.endpoints)}) as bulkhead:
            real = lambda: ["inc-before", *(["inc-real"] if asked else [])]  # noqa: E731
            run = drill.Run(WAITING, bulkhead, arena, tell, real=real)
            with pytest.raises(EngineError, match=r"a real incident has opened \(inc-real\); the drill makes way"):
                asyncio.run(run.run())
            assert [row.status for row in bulkhead.store.incidents()] == ["aborted"]


@pytest.mark.slow
def test_typed_beside_an_installation_it_ends_with_a_sentence_and_the_real_incident_stands(tmp_path: Path) -> None:
    home, told = tmp_path / "installation", tmp_path / "told"
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "BULKHEAD_", "GITHUB_"))}
    with app.opened(Settings(home=home), sites={}):
        pass  # its database is there
    text = (app.SHIPPED / "drills" / "worm-on-a-laptop.yaml").read_text()
    text = text.replace("id: worm-on-a-laptop", "id: slow-people\nscenario: worm-on-a-laptop", 1)
    books = tmp_path / "books"
    (books / "drills").mkdir(parents=True)
    (books / "drills" / "slow-people.yaml").write_text(text.replace("delay_s: 0.3", "delay_s: 60"))
    command = [sys.executable, "-m", "bot", "drill", "run", "slow-people"]
    env = plain | {"BULKHEAD_HOME": str(home), "BULKHEAD_PLAYBOOKS": str(books)}
    with told.open("w") as out, subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, text=True
    ) as process:  # fmt: skip
        give_up = time.monotonic() + 90
        while "asks      isolate" not in told.read_text():
            assert time.monotonic() < give_up, told.read_text()
            time.sleep(0.2)
        house(home, [("incident", "opened", OPENED)])
        assert process.wait(timeout=60) != 0
    said = " ".join(told.read_text().split())
    assert f"a real incident has opened ({ID}); the drill makes way for it" in said
    assert "Traceback" not in said
    store = Store(f"sqlite:///{home / 'bulkhead.db'}")
    try:
        assert [(row.id, row.status, row.world) for row in store.incidents()] == [(ID, "open", "real")]
    finally:
        store.close()
