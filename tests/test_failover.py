"""One of two workers on PostgreSQL is killed, or stopped and later continued, at a boundary: the other one finishes.

Every change is made once, the range ends as it does without that, and the one that wakes again changes nothing. In one
drill that happens again and again, far apart: who is gone has a successor before the next one goes. The slow suite
takes a sample of each playbook; ``BULKHEAD_FAILOVER=all`` takes every boundary on both sides, as long as
``BULKHEAD_TESTS_UNTIL`` allows.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.databases import Make
from tests.failover import Crew, Hatchery, downs, hatchery, leases_of, written
from tests.test_crash import DRILLS, SEED, SHARDS, UNTIL, Arena, Clean, arena, clean_of, nursery, stable, unlike

__all__ = ["arena", "nursery"]  # fixtures
pytestmark = pytest.mark.slow
ALL = os.environ.get("BULKHEAD_FAILOVER") == "all"
SAMPLE = 3  # boundaries of each playbook, killed and stopped
LONGEST = 12  # so many are gone in one drill at most
MADE, DELETED = "aws POST iam:CreateAccessKey", "aws POST iam:DeleteAccessKey"
HOW = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}


@pytest.fixture(scope="session")
def workers() -> Iterator[Hatchery]:
    with hatchery() as workers:
        yield workers


def once(writes: dict[str, int], clean: Clean) -> dict[str, int]:
    """Without keys whose secret went with its worker before it was noted: each was deleted and made anew.

    Nothing else may be (docs/design.md, Rotation's orphan), and the state says that the one of them is gone.
    """
    more = writes.get(MADE, 0) - clean.writes.get(MADE, 0)
    if more <= 0 or writes.get(DELETED, 0) - clean.writes.get(DELETED, 0) != more:
        return writes
    return writes | {MADE: writes[MADE] - more, DELETED: writes[DELETED] - more}


def fail_over(there: Arena, clean: Clean, workers: Hatchery, home: Path, at: list[str], how: str) -> set[str]:
    """Where somebody was gone. Raises AssertionError, and EngineError when the others do not finish it."""
    fresh = there.fresh()
    crew = Crew(arena=fresh.range, hatchery=workers, home=home, database=there.database, name=there.name)
    try:
        result, bulkhead = crew.play(at, HOW[how])
        try:
            assert crew.gone, f"nobody came to {at}: {crew.said()}"
            assert result.contained, result.why_not
            assert once(fresh.writes(), clean) == clean.writes, "every change is made once"
            assert unlike(stable(fresh.range.get("/state")), stable(clean.state)) == []
            before = written(bulkhead)
            if how == "stopped":
                crew.wake(leases_of(bulkhead), len(at))
                assert written(bulkhead) == before, "it wrote"
                assert unlike(stable(fresh.range.get("/state")), stable(clean.state)) == [], "it changed something"
        finally:
            bulkhead.close()
    finally:
        crew.stop()
    return {gone.where for gone in crew.gone}


def cases() -> list[Any]:
    return list(itertools.product(HOW, DRILLS, range(SHARDS if ALL else 1)))


@pytest.mark.timeout(20_000)
@pytest.mark.parametrize(("how", "drill", "shard"), cases())
def test_one_of_two_workers_is_gone_at_a_boundary(
    arena: Arena, workers: Hatchery, tmp_path_factory: pytest.TempPathFactory, new_postgres: Make, tmp_path: Path,
    how: str, drill: str, shard: int,
) -> None:  # fmt: skip
    there = replace(arena, name=drill)
    clean = clean_of(there, tmp_path_factory)
    # As they come, each once, but for what the company itself lands.
    left = [name for name in dict.fromkeys(clean.names) if "/landed/" not in name][shard :: SHARDS if ALL else 1]
    if not ALL:
        left = sorted(random.Random(f"{SEED} {how} {drill}").sample(left, SAMPLE), key=left.index)
    wrong, number, of = [], 0, len(left)
    while left:
        if time.time() > UNTIL:
            assert not wrong, "\n".join(wrong)
            pytest.skip(f"time was up when {len(left)} of {of} boundaries were left")
        home = tmp_path / str(number)
        home.mkdir()
        at = left[:: math.ceil(len(left) / LONGEST)]
        try:
            came = fail_over(replace(there, database=new_postgres()), clean, workers, home, at, how)
        except Exception as exc:  # noqa: BLE001 - all of them are told in the end, however they went wrong
            wrong.append(f"{how} at {at}: {type(exc).__name__}: {exc}")
            came = {gone.where for gone in downs(home)} or {at[0]}
        number += 1
        left = [name for name in left if name not in came]
    assert not wrong, "\n".join(wrong)
