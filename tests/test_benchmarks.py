"""The benchmark measures what it says: the script and the engine make the same calls, all of them, in their order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import bare, engine, failover, record, restart, scale, soak
from benchmarks.__main__ import LEAST, PLACES
from benchmarks.load import Load, Shape, Step
from bot.drill import range_up
from bot.model import Effect
from tests.databases import Make
from tests.failover import hatchery

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
    assert [step.id for step in aws.steps if not step.phases] == [
        "isolate", "move-tags", "delete-images", "yank-packages", "store-copies",
    ]  # fmt: skip
    assert isinstance(aws, Shape)
    assert aws.longest() < aws.calls


FLEET = scale.fleet(
    [replace(SHAPE, name=name) for name in scale.FLEET], {"github-pat": 4, "aws-access-key": 2, "npm-token": 1}, 0.001
)


def test_a_script_and_the_engine_contain_one_leak_of_many_credentials_by_the_same_calls(tmp_path: Path) -> None:
    for measured, requests in (
        bare.measure_fleet(FLEET.shapes, FLEET.call_s, PLACES), scale.measure(FLEET, tmp_path / "house")
    ):  # fmt: skip
        assert measured.calls == FLEET.calls == 7 * SHAPE.calls
        assert 0 < measured.last_cut_s <= measured.all_done_s
        assert 1 <= requests <= 4, "GitHub's revocations go together where they can"


def test_what_grows_is_told_from_what_is_flat() -> None:
    def samples(memory: list[float]) -> list[soak.Sample]:
        return [soak.Sample(memory_mib=one, files=20, seconds=3.0) for one in memory]

    assert soak.rise(samples([100.0] * 30), lambda s: s.memory_mib) == 1.0
    assert soak.rise(samples([100.0 + 2 * k for k in range(30)]), lambda s: s.memory_mib) > soak.FLAT
    assert soak.rise(samples([10.0] * 5 + [100.0] * 25), lambda s: s.memory_mib) == 1.0, "the first few fill caches"


@pytest.mark.slow
def test_a_short_soak_closes_each_of_its_incidents(tmp_path: Path) -> None:
    seen = soak.soak(tmp_path, 2, lambda _sample: None)
    assert len(seen) == 2
    assert all(one.seconds > 0 and one.files > 3 and one.memory_mib > 10 for one in seen)


def test_recorded_incidents_are_soaked_in_parts_and_all_of_them_close(tmp_path: Path) -> None:
    seen = soak.recorded(tmp_path, soak.AT_ONCE + 1, lambda _sample: None)
    assert len(seen) == 2
    assert all(one.seconds > 0 and one.files > 3 and one.memory_mib > 10 for one in seen)


@pytest.mark.slow
def test_a_killed_workers_incidents_go_on_in_the_next_one(tmp_path: Path) -> None:
    noted, closed = restart.measure(tmp_path, count=8)
    assert 0 < noted <= closed


@pytest.mark.slow
def test_how_long_an_incident_stands_still_is_seen(tmp_path: Path, new_postgres: Make) -> None:
    with range_up() as arena, hatchery() as workers:
        seconds = failover.measure(signal.SIGKILL, arena, workers, tmp_path / "home", new_postgres())
    assert seconds > 0
