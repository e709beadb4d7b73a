"""The benchmark measures what it says: the script and the engine make the same calls, all of them, in their order."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import bare, engine, record
from benchmarks.__main__ import LEAST, PLACES
from benchmarks.load import Load, Shape, Step
from bot.model import Effect
from tests.databases import Make

SKIPPED = Step(id="aside", provider="cloud", effect=Effect.CHANGE, needs={"cut": "outcome"}, phases=())
PHASES = (("look", 2), ("run", 0), ("prove", 0))
LAST = Step(id="last", provider="people", effect=Effect.READ, needs={"restore": "outcome"}, phases=PHASES)
SHAPE = replace(LEAST, triage=2, steps=(*LEAST.steps, SKIPPED, LAST))
LOAD = Load(shape=SHAPE, incidents=3, call_s=0.001)


def test_the_script_makes_every_call() -> None:
    measured = bare.measure(LOAD, PLACES)
    assert measured.calls == LOAD.calls == 3 * (2 + 12 + 2)
    assert LOAD.floor(PLACES) <= measured.last_cut_s + measured.all_done_s
    assert 0 < measured.last_cut_s <= measured.all_done_s


def test_the_engine_makes_the_same_calls_and_every_incident_closes(tmp_path: Path) -> None:
    measured = engine.measure(LOAD, tmp_path)
    assert measured.calls == LOAD.calls
    assert measured.events > 0
    assert 0 < measured.last_cut_s <= measured.all_done_s


@pytest.mark.slow
def test_the_engine_does_so_on_postgresql(new_postgres: Make, tmp_path: Path) -> None:
    assert engine.measure(LOAD, tmp_path, new_postgres()).calls == LOAD.calls


def test_the_longest_way_waits_for_what_is_needed_as_far_as_it_is_needed() -> None:
    assert SHAPE.longest() == 2 + 3 + 3 + 2 + 2  # triage; cut; one of two; restore up to its outcome; the last look
    assert replace(LEAST, triage=0).longest() == 9


@pytest.mark.slow
def test_of_repeated_deliveries_none_is_lost_and_none_done_twice(tmp_path: Path) -> None:
    few = ["--seconds", "2", "--incidents", "10", "--deliveries", "120"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.slack", *few], env=os.environ | {"BULKHEAD_HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "120 deliveries of 40 clicks and commands" in done.stdout
    assert done.stdout.rstrip().endswith("answers that were none: {}; lost: 0; done twice: 0")


@pytest.mark.slow
def test_what_a_drill_does_is_recorded_whole(tmp_path: Path) -> None:
    shapes = {shape.name: shape for shape in record.shapes(tmp_path)}
    assert set(shapes) == {"aws-access-key", "npm-token", "github-pat"}
    aws = shapes["aws-access-key"]
    ids = [step.id for step in aws.steps]
    assert {"deactivate", "planted-0", "rotate", "store-1"} <= set(ids)
    assert [step.id for step in aws.steps if step.cuts] == ["deactivate"]
    assert all(set(step.needs) <= set(ids[: ids.index(step.id)]) for step in aws.steps)
    assert dict(aws.steps[ids.index("rotate")].phases)["run"] >= 2, "CreateAccessKey, and a look before it"
    assert [step.id for step in aws.steps if not step.phases] == ["isolate"]
    assert isinstance(aws, Shape)
    assert aws.longest() < aws.calls
