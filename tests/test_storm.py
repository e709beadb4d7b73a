"""The storm measures what it says: none is lost, one incident a credential, over a killed worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.storm import bodies, floor, storm


def test_the_deliveries_are_what_they_are_said_to_be() -> None:
    made = bodies(200, 10, 0.2)
    assert len(made) == 200
    assert len(set(made)) == 160


@pytest.mark.slow
def test_a_small_storm_loses_nothing(tmp_path: Path) -> None:
    made = bodies(300, 12, 0.2)
    told = storm(tmp_path / "house", made)
    assert (told.acknowledged, told.lost, told.incidents, told.ids) == (300, 0, 12, 240)
    assert floor(tmp_path / "bare", made[:50]).acknowledged == 50
