"""SIGKILL of the real process at every durable boundary of the playbook: nothing lost, nothing done twice.

``make test`` takes one boundary of every kind, drawn with a fixed seed; ``make test-all`` takes all of them.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.drill import Range, range_up

CHILD = Path(__file__).parent / "drill_child.py"
SEED = 20261123
KINDS = ["opened", "triage", "severity", "plan", "look", "planned", "asked", "decided", "evidence", "outcome", "proof", "closed"]
SHARDS = 8


@pytest.fixture(scope="session")
def arena() -> Iterator[Range]:
    """One range for the tests of this worker; each drill starts from a fresh company."""
    with range_up() as arena:
        yield arena


class Clean:
    """A drill that nobody killed: which boundaries it passes, and how the range looks after it."""

    def __init__(self, names: list[str], state: Any, writes: dict[str, int]) -> None:
        self.names, self.state, self.writes = names, state, writes


def child(arena: Range, home: Path, kill_at: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHILD), str(home), json.dumps(arena.info), str(home / "names"), kill_at]
    env = {**os.environ, "PYTHONPATH": str(CHILD.parent.parent)}
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env=env, check=False)


def writes(arena: Range) -> dict[str, int]:
    """Every request that can change something, counted; numbers in paths say nothing."""
    seen = [r for r in arena.get("/requests") if r["mutating"]]
    return dict(Counter(re.sub(r"\d+", "N", f"{r['server']} {r['method']} {r['route']}") for r in seen))


def reset(arena: Range) -> Range:
    return Range(info={**arena.info, "cast": arena.post("/reset")["cast"]})


def passed(home: Path) -> list[str]:
    return (home / "names").read_text().splitlines()


@pytest.fixture(scope="session")
def clean(arena: Range, tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """Run once for all workers; the first one there runs it."""
    shared = tmp_path_factory.getbasetemp().parent / "clean.json"
    with open(shared.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            home = tmp_path_factory.mktemp("clean")
            done = child(reset(arena), home)
            assert done.returncode == 0, done.stderr[-3000:]
            assert json.loads(done.stdout.splitlines()[-1])["contained"]
            shared.write_text(json.dumps([passed(home), arena.get("/state"), writes(arena)]))
        return Clean(*json.loads(shared.read_text()))


def stable(state: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in state.items() if k != "volatile"}


def kill_and_resume(arena: Range, clean: Clean, home: Path, kill_at: str) -> None:
    there = reset(arena)
    killed = child(there, home, kill_at)
    assert killed.returncode == -signal.SIGKILL, f"it never came to {kill_at}: {killed.stderr[-2000:]}"
    resumed = child(there, home)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    result = json.loads(resumed.stdout.splitlines()[-1])
    assert result["contained"], result["why_not"]
    assert writes(arena) == clean.writes, "every change is made once"
    assert stable(arena.get("/state")) == stable(clean.state)
    keys = [(e["step"], e["kind"], e["attempt"]) for e in result["timeline"]]
    assert len(keys) == len(set(keys))


def sample(names: list[str], when: str, kind: str) -> str:
    """One boundary of this kind, the same in every run."""
    fitting = sorted(n for n in set(names) if n.startswith(f"{when} ") and n.split("/")[-2] == kind)
    return random.Random(f"{SEED} {when} {kind}").choice(fitting)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_one_boundary_of_every_kind(arena: Range, clean: Clean, tmp_path: Path, when: str, kind: str) -> None:
    kill_and_resume(arena, clean, tmp_path, sample(clean.names, when, kind))


def test_the_sample_knows_every_kind_of_boundary(clean: Clean) -> None:
    assert {name.split("/")[-2] for name in clean.names} == set(KINDS)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_killed_at_every_boundary(arena: Range, clean: Clean, tmp_path: Path, shard: int) -> None:
    for k, name in enumerate(sorted(set(clean.names))[shard::SHARDS]):
        home = tmp_path / str(k)
        home.mkdir()
        try:
            kill_and_resume(arena, clean, home, name)
        except AssertionError as exc:
            raise AssertionError(f"killed at {name!r}: {exc}") from exc
