"""A worker that is told to stop (SIGTERM), as a real process: it ends well, and what it had begun goes on elsewhere.

The signal comes while AWS is at work on the cut itself, which is the worst moment for it.
"""

from __future__ import annotations

import base64
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot import timeline
from bot.app import Bulkhead, opened
from bot.drill import Range, range_up
from bot.engine.decisions import open_asks
from bot.settings import Settings
from tests.databases import Make
from tests.test_processes import child

CUT = "iam:UpdateAccessKey"
SLOW_S = 4.0


def until(condition: Callable[[], Any], what: str, patience_s: float = 60) -> Any:
    give_up = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < give_up, f"waited too long for: {what}"
        time.sleep(0.2)
    return value


@dataclass(kw_only=True)
class Installation:
    """Bulkhead beside a range that has leaked a key; the commands run as processes over the same database."""

    range: Range
    bulkhead: Bulkhead
    env: dict[str, str]
    folder: Path

    def start(self, command: str) -> subprocess.Popen[str]:
        asked = child(command, home=self.folder, settings=self.env)
        return subprocess.Popen(**asked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def events(self, kind: str) -> list[timeline.Event]:
        rows = self.bulkhead.store.incidents()
        return [e for row in rows for e in timeline.load(self.bulkhead.store, row.id) if e.kind == kind]

    def agree(self) -> None:
        """Ann and Bo agree to whatever is asked."""
        for row in self.bulkhead.store.incidents("open"):
            events = timeline.load(self.bulkhead.store, row.id)
            for ask in open_asks(events):
                kind, said = ("answer", {"text": "step 3"}) if ask.purpose == "answer" else ("approve", {})
                for who in ("ann", "bo")[: ask.needs]:
                    self.bulkhead.desk.submit(
                        events=events, incident=row.id, step=ask.step, kind=kind, by=who, at=datetime.now(UTC),
                        body=said,
                    )  # fmt: skip

    def cuts(self) -> list[dict[str, Any]]:
        """Every time that AWS was told to change the leaked key."""
        leaked = self.bulkhead.store.incidents()[0].credential_key.split(":")[1]
        told = [one for one in self.range.get("/requests") if one["route"] == CUT and one["status"] == 200]
        return [one for one in told if leaked in one["detail"]]

    def closed(self) -> bool:
        self.agree()
        rows = self.bulkhead.store.incidents()
        return bool(rows) and all(row.status == "closed" for row in rows)


@pytest.fixture(params=["serve", "worker"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Installation]]:
    """On SQLite with `serve`, on PostgreSQL with `worker`."""
    key = base64.b64encode(bytes(range(32))).decode()
    here = {"evidence": str(tmp_path / "evidence"), "vault_key": key, "responders": "ann,bo", "mode": "act"}
    if request.param == "worker":
        make: Make = request.getfixturevalue("new_postgres")
        here["database_url"] = make()
    with range_up() as running:
        me, cast = running.info["cast"]["aws"]["bulkhead-responder"], running.info["cast"]["github"]
        env = {f"BULKHEAD_{name.upper()}": value for name, value in here.items()} | {
            "BULKHEAD_GITHUB_API": running.info["github"], "BULKHEAD_GITHUB_TOKEN": cast["bulkhead-bot"],
            "AWS_ENDPOINT_URL": running.info["aws"],
            "AWS_ACCESS_KEY_ID": me["key_id"], "AWS_SECRET_ACCESS_KEY": me["secret"],
        }  # fmt: skip
        leak = running.post("/drill/leak")
        # The leak has moved the range's clock; the worker goes by the machine's, and a cut-off is a time.
        running.post("/clock", {"advance_s": -running.get("/clock")["offset_s"]})
        running.post("/drill/abuse")
        settings = Settings(home=tmp_path / "home", **here)
        with opened(settings, sites={}, release=True) as bulkhead:
            bulkhead.inbox.land(
                source="cli", world="real", by="jonas", text=leak["run_url"], at=datetime.now(UTC)
            )  # fmt: skip
            yield request.param, Installation(range=running, bulkhead=bulkhead, env=env, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_worker_that_is_told_to_stop_ends_its_call_and_another_goes_on(
    installation: tuple[str, Installation],
) -> None:
    command, house = installation
    house.range.post("/faults", [{"server": "aws", "route": CUT, "delay_s": SLOW_S, "times": 1}])
    with house.start(command) as first:

        def cutting() -> bool:
            assert first.poll() is None, first.communicate()[0]
            house.agree()
            looked = [e for e in house.events("look") if e.step == "deactivate"]
            decided = [e for e in house.events("decided") if e.step == "deactivate"]
            return bool(looked and (decided or not looked[0].body["asks"]))

        until(cutting, "the cut to be under way")
        time.sleep(SLOW_S / 4)
        assert not [e for e in house.events("outcome") if e.step == "deactivate"], "the signal comes before the answer"
        told = time.monotonic()
        first.send_signal(signal.SIGTERM)
        said, _ = first.communicate(timeout=30)
        took = time.monotonic() - told
    assert first.returncode == 0, said
    assert "Stopped. Open incidents go on when a worker starts again." in said
    assert "Traceback" not in said
    assert took > SLOW_S / 4, "the call that was under way was not waited for"
    assert len(house.cuts()) == 1
    with house.start(command) as second:
        until(lambda: second.poll() is None and house.closed(), "the incident to be closed", 180)
        second.send_signal(signal.SIGTERM)
        said, _ = second.communicate(timeout=30)
    assert second.returncode == 0, said
    assert len(house.cuts()) == 1, "the second worker looked first, and cut nothing twice"
    tries = house.range.post("/drill/tries")
    assert [one["name"] for one in tries if not one["refused"]] == []
