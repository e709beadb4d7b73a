"""The measure of a cut measures what it says: each delivery is signed, and each key is cut with nobody asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.latency import measure


@pytest.mark.slow
def test_each_delivery_ends_in_a_cut(tmp_path: Path) -> None:
    told = measure(tmp_path / "house", 2)
    assert len(told.cut_s) == len(told.acknowledged_s) == 2
    assert all(0 < cut < 60 for cut in told.cut_s)
    assert all(answered < cut for answered, cut in zip(told.acknowledged_s, told.cut_s, strict=True))
