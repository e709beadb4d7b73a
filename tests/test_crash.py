"""SIGKILL of the real process at every durable boundary of the playbook: nothing lost, nothing done twice.

``make test`` takes one boundary of the kinds that differ most of the first drill and a few of the others, drawn with a
fixed seed; ``make test-all`` takes all of them.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bot.drill import Range, range_up
from tests.databases import Make, of_session

CHILD = Path(__file__).parent / "drill_child.py"
SEED = 20261123
KINDS = [
    "landed", "incident", "worked", "opened", "triage", "severity", "plan", "look", "planned", "skipped", "asked",
    "decided", "evidence", "outcome", "proof", "closed",
]  # fmt: skip
FEW = ["look", "decided", "outcome", "proof"]
QUICK = ["landed", "look", "outcome", "proof"]
FIRST, *OTHERS = DRILLS = ["aws-key-in-public-log", "github-pat-in-image", "npm-token-stolen-by-dependency"]
SHORT = [  # of each a sample
    "pypi-token-in-public-log", "crates-token-in-public-log", "rubygems-key-in-public-log", "gcp-key-in-public-log",
    "dockerhub-pat-in-public-log",
]  # fmt: skip
# Of two incidents beside one another both may disable the workflow, or the first alone: the second changes nothing.
AGAIN = {"npm-token-stolen-by-dependency": "/disable"}
# Steps that run beside those that cut and pull: what they find, and so how they end, depends on which came first. A run
# may pass them without a boundary that the clean one had; then it has to end as well as that one.
BESIDE = {"check", "investigate", "unpublish-found"}
SHARDS = 8
UNTIL = float(os.environ.get("BULKHEAD_TESTS_UNTIL", "inf"))  # seconds since 1970: CI has an end


@pytest.fixture(scope="session")
def nursery() -> Iterator[subprocess.Popen[str]]:
    """The process that the drills of this worker are forked from."""
    env = {**os.environ, "PYTHONPATH": str(CHILD.parent.parent)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, str(CHILD)], env=env, **pipes) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@dataclass(frozen=True)
class Clean:
    """A drill that nobody killed: which boundaries it passes, and how the range looks after it."""

    names: list[str]
    state: Any
    writes: dict[str, int]


@dataclass(frozen=True)
class Arena:
    """A range, and processes to run drills in it."""

    range: Range
    nursery: subprocess.Popen[str]
    database: str = ""
    name: str = FIRST

    def drill(self, home: Path, kill_at: str = "") -> int:
        """Run a drill in a process of its own; returns how it ended."""
        assert self.nursery.stdin is not None
        assert self.nursery.stdout is not None
        order = {
            "home": str(home), "range": self.range.info, "kill_at": kill_at, "database": self.database,
            "drill": self.name,
        }  # fmt: skip
        self.nursery.stdin.write(json.dumps(order) + "\n")
        self.nursery.stdin.flush()
        return int(self.nursery.stdout.readline())

    def fresh(self) -> Arena:
        """The same range with a fresh company."""
        return replace(self, range=Range(info={**self.range.info, "cast": self.range.post("/reset")["cast"]}))

    def writes(self) -> dict[str, int]:
        """Every request that can change something, counted; numbers in paths say nothing."""
        seen = [r for r in self.range.get("/requests") if r["mutating"]]
        counted = Counter(re.sub(r"\d+", "N", f"{r['server']} {r['method']} {r['route']}") for r in seen)
        again = AGAIN.get(self.name)
        return {route: 1 if again and route.endswith(again) else count for route, count in counted.items()}


@pytest.fixture(scope="session")
def arena(nursery: subprocess.Popen[str]) -> Iterator[Arena]:
    """One range for the tests of this worker."""
    with range_up() as up:
        yield Arena(up, nursery)


@pytest.fixture(scope="session")
def clean(arena: Arena, tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """The first drill."""
    return clean_of(arena, tmp_path_factory)


def clean_of(arena: Arena, tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """Run once a drill for all workers; the first one there runs it."""
    shared = of_session(tmp_path_factory) / f"clean-{arena.name}.json"
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            home, there = tmp_path_factory.mktemp("clean"), arena.fresh()
            assert there.drill(home) == 0, said(home)
            assert outcome(home)["contained"], outcome(home)["why_not"]
            names = (home / "names").read_text().splitlines()
            shared.write_text(json.dumps([names, there.range.get("/state"), there.writes()]))
        return Clean(*json.loads(shared.read_text()))


def said(home: Path) -> str:
    return (home / "out").read_text()[-3000:]


def outcome(home: Path) -> dict[str, Any]:
    return json.loads((home / "result.json").read_text())  # type: ignore[no-any-return]


def stable(state: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in state.items() if k != "volatile"}


def unlike(state: Any, clean: Any, at: str = "state") -> list[str]:
    """Where two states differ, a line each."""
    if not (isinstance(state, dict) and isinstance(clean, dict)):
        return [] if state == clean else [f"{at}: {state!r:.300} and not {clean!r:.300}"]
    return [line for key in {**clean, **state} for line in unlike(state.get(key), clean.get(key), f"{at}.{key}")]


def kill_and_resume(arena: Arena, clean: Clean, home: Path, kill_at: str) -> None:
    there = arena.fresh()
    ended = there.drill(home, kill_at)
    if ended == 0 and kill_at.split()[1].split("/")[0] in BESIDE:
        assert kill_at not in (home / "names").read_text().splitlines()
    else:
        assert ended == -signal.SIGKILL, f"it never came to {kill_at}: {said(home)}"
        assert there.drill(home) == 0, said(home)
    result = outcome(home)
    assert result["contained"], result["why_not"]
    assert there.writes() == clean.writes, "every change is made once"
    assert unlike(stable(there.range.get("/state")), stable(clean.state)) == []
    keys = [(e["step"], e["kind"], e["attempt"]) for e in result["timeline"]]
    assert len(keys) == len(set(keys))


def sample(names: list[str], when: str, kind: str) -> str:
    """One boundary of this kind, the same in every run."""
    fitting = sorted(n for n in set(names) if n.startswith(f"{when} ") and n.split("/")[-2] == kind)
    return random.Random(f"{SEED} {when} {kind}").choice(fitting)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in QUICK else (pytest.mark.slow,)) for kind in KINDS]
)
def test_killed_at_one_boundary_of_every_kind(arena: Arena, clean: Clean, tmp_path: Path, kind: str) -> None:
    """Before or after it, as the seed says; every boundary on both sides is ``test_killed_at_every_boundary``."""
    when = random.Random(f"{SEED} {kind}").choice(["before", "after"])
    kill_and_resume(arena, clean, tmp_path, sample(clean.names, when, kind))


def test_the_sample_knows_every_kind_of_boundary(clean: Clean) -> None:
    assert {name.split("/")[-2] for name in clean.names} == set(KINDS)


def on_postgresql() -> Iterator[Any]:
    """A few boundaries of every drill; one in ``make test``."""
    for name, kind, when in itertools.product(DRILLS, FEW, ("before", "after")):
        marks = () if (name, kind, when) == (OTHERS[-1], "outcome", "before") else (pytest.mark.slow,)
        yield pytest.param(name, when, kind, id=f"{name}-{when}-{kind}", marks=marks)


@pytest.mark.parametrize(("name", "when", "kind"), list(on_postgresql()))
def test_killed_at_one_boundary_on_postgresql(
    arena: Arena, tmp_path_factory: pytest.TempPathFactory, new_postgres: Make, tmp_path: Path, name: str, when: str,
    kind: str,
) -> None:  # fmt: skip
    there = replace(arena, name=name)
    clean = clean_of(there, tmp_path_factory)  # of SQLite: both databases make the same changes
    kill_and_resume(replace(there, database=new_postgres()), clean, tmp_path, sample(clean.names, when, kind))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(kind, name, marks=() if (kind, name) == ("outcome", OTHERS[0]) else (pytest.mark.slow,))
        for kind, name in itertools.product(("decided", "outcome"), OTHERS)
    ],
)
def test_killed_at_a_few_boundaries_of_the_other_drills(
    arena: Arena, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, kind: str, name: str
) -> None:
    there = replace(arena, name=name)
    clean = clean_of(there, tmp_path_factory)
    kill_and_resume(there, clean, tmp_path, sample(clean.names, "after", kind))


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(("drill", "shard"), [*itertools.product(DRILLS, range(SHARDS)), *((s, 0) for s in SHORT)])
def test_killed_at_every_boundary(
    arena: Arena, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, shard: int, drill: str
) -> None:
    arena = replace(arena, name=drill)
    clean = clean_of(arena, tmp_path_factory)
    names = sorted(set(clean.names))
    random.Random(SEED).shuffle(names)  # where time is short, what is tried is spread over all kinds
    mine = names[shard :: SHARDS if drill in DRILLS else 3 * SHARDS]
    wrong = []
    for k, name in enumerate(mine):
        if time.time() > UNTIL:
            assert not wrong, "\n".join(wrong)
            pytest.skip(f"time was up after {k} of {len(mine)} boundaries; `make test-all` by itself takes all")
        home = tmp_path / str(k)
        home.mkdir()
        try:
            kill_and_resume(arena, clean, home, name)
        except AssertionError as exc:
            wrong.append(f"killed at {name!r}: {exc}")
    assert not wrong, "\n".join(wrong)
