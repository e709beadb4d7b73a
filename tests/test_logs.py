"""Log lines for programs: one JSON object each, what it is about in fields, and no secret in any of them."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot import logs
from bot.cli.work import _Log
from bot.redact import Fingerprinter, Scrubber
from tests.engine.lamps import House
from tests.incidents import CUT, ID, events

FIELDS = ["time", "level", "event", "incident", "step", "worker", "message"]
PLAYBOOK = """
id: one-lamp
title: A lamp burns
match: {credential: lamp}
steps:
  - {id: out, uses: lamp.put_out, with: {lamp: $credential.id}, on_failure: stop}
"""


@pytest.fixture
def lines() -> Iterator[Any]:
    """A logger whose lines are JSON; gives it, what is known as secret, and a function that reads its lines."""
    out, before = io.StringIO(), logging.getLogRecordFactory()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logs.json_lines())
    root, level = logging.getLogger(), logging.getLogger().level
    scrubber = Scrubber(Fingerprinter(b"k" * 32))
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    scrub = logs.install(scrubber)
    try:
        yield logging.getLogger("bulkhead.tests"), scrubber, lambda: [*map(json.loads, out.getvalue().splitlines())]
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        logging.setLogRecordFactory(before)
        for left in (*root.handlers, *([logging.lastResort] if logging.lastResort else [])):
            left.removeFilter(scrub)
        logs.named("")


def test_a_line_is_one_object_with_its_fields_whatever_is_in_it(lines: Any) -> None:
    log, scrubber, read = lines
    value = "made+up/" + "Zq7" * 9
    scrubber.add(scrubber.fingerprinter.secret(value))
    logs.named("bulkhead-1")
    log.info("plain")
    with logs.about(incident=ID, step="deactivate"):
        log.warning("two\nlines of %s", value, extra={"event": "proof", "body": value})
    try:
        raise ValueError(value)
    except ValueError:
        log.exception("it broke")
    plain, about, broke = read()
    assert list(plain) == list(about) == FIELDS
    assert (plain["level"], plain["event"], plain["incident"], plain["worker"]) == (
        "info", "bulkhead.tests", "", "bulkhead-1",
    )  # fmt: skip
    assert (about["event"], about["incident"], about["step"]) == ("proof", ID, "deactivate")
    assert about["message"].startswith("two\nlines of [secret hmac:")
    assert plain["time"].endswith("Z")
    assert list(broke) == [*FIELDS, "error"]
    assert "ValueError: [secret hmac:" in broke["error"]
    assert value not in json.dumps([plain, about, broke])
    logging.setLogRecordFactory(logging.LogRecord)
    foreign = logging.makeLogRecord({"msg": f"sent {value}", "exc_text": f"ValueError: {value}", "incident": value})
    assert value not in logs.json_lines().format(foreign), "what no factory of ours has made"


def test_every_event_of_a_timeline_is_a_line_with_its_kind_and_step(lines: Any) -> None:
    _, _, read = lines
    log = _Log(whole=True)
    for event in events(CUT):
        log.take(event)
    said = read()
    assert [(line["event"], line["step"]) for line in said] == [(kind, step) for step, kind, _ in CUT]
    assert {line["incident"] for line in said} == {ID}
    assert "AWS refuses the key" in said[-1]["message"]


@pytest.mark.slow
def test_what_an_action_says_in_its_thread_names_incident_and_step(lines: Any, tmp_path: Path) -> None:
    log, _, read = lines
    house = House.build(tmp_path)
    house.room.light("a")
    house.land(PLAYBOOK)
    engine = house.engine()
    action = engine.parts.catalogue["lamp.put_out"]

    def look(world: Any, given: Any) -> Any:
        log.info("looking")
        return action.look(world, given)

    telling = dataclasses.replace(action, look=look)
    engine.parts = dataclasses.replace(engine.parts, catalogue={**engine.parts.catalogue, action.name: telling})

    async def run() -> None:
        await engine.start()
        while house.store.incident("inc-1").status == "open":
            await asyncio.sleep(0.02)
        await engine.stop()

    asyncio.run(run())
    house.close()
    assert {(line["incident"], line["step"]) for line in read() if line["message"] == "looking"} == {
        ("inc-1", "out")
    }


@pytest.mark.slow
def test_all_that_a_process_says_is_json(tmp_path: Path) -> None:
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "BULKHEAD_", "GITHUB_"))}
    env = plain | {
        "BULKHEAD_HOME": str(tmp_path), "BULKHEAD_WEB_PORT": "0", "BULKHEAD_LOG": "json",
        "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    command = [sys.executable, "-m", "bot", "serve"]
    said = tmp_path / "said"
    with said.open("w") as out, subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT) as serving:
        give_up = time.monotonic() + 60
        while '"listening"' not in said.read_text():
            assert serving.poll() is None, said.read_text()
            assert time.monotonic() < give_up, said.read_text()
            time.sleep(0.05)
        second = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(timeout=60) == 0
    lines = [json.loads(line) for line in said.read_text().splitlines()]
    assert all(list(line)[: len(FIELDS)] == FIELDS for line in lines)
    assert len({line["worker"] for line in lines} - {""}) == 1, "both ends of it are told by its name"
    assert "Stopped" in lines[-1]["message"]
    (refused,) = [line for line in map(json.loads, second.stderr.splitlines()) if line["event"] == "stopped"]
    assert "another bulkhead worker runs" in refused["message"]
    assert second.returncode == 1
