"""The benchmark measures what it says: the script and the engine make the same calls, all of them."""

from __future__ import annotations

from pathlib import Path

from benchmarks import bare, engine
from benchmarks.__main__ import PLACES
from benchmarks.load import Load

LOAD = Load(incidents=3, providers=2, call_s=0.001)


def test_the_script_makes_every_call() -> None:
    measured = bare.measure(LOAD, PLACES)
    assert measured.calls == LOAD.calls
    assert 0 < measured.last_cut_s <= measured.all_done_s


def test_the_engine_makes_the_same_calls_and_every_incident_closes(tmp_path: Path) -> None:
    measured = engine.measure(LOAD, tmp_path)
    assert measured.calls == LOAD.calls
    assert 0 < measured.last_cut_s <= measured.all_done_s
