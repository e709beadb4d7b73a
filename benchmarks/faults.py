"""``python -m benchmarks.faults``: every route that a drill uses fails in turn, in every way; a table of the ends.

A cell is a whole drill on the range. Its fault begins when the report has landed, so that company and attacker are
spared, and is over when the incident is. The simulated responders say "try again" whenever they are asked. Waits of
ours are a tenth of what they are (the engine between tries) or two seconds (a client for an answer).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.faulty import KINDS, Clean, Fault, drawn, every, play, routes, verdict
from bot import clients, npm
from bot.drill import Range, range_up
from bot.engine import graph, steps
from bot.registries import http

DRILLS = ("aws-key-in-public-log", "npm-token-stolen-by-dependency", "github-pat-in-image")
HANGS_S = 240  # a cell that takes longer is killed, and is wrong
SEED = 20261126
MEANS = {
    "contained": "contained, and nobody was asked more than without the fault",
    "asked": "a step failed and said why; contained after a person said: try again",
    "told": "contained; a step that holds nothing back failed and said why",
    "stopped": "not contained; the step says why, and a person is told what is left to do",
    "WRONG": "none of these: doubled, green without proof, or stopped without a word",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One drill under some faults, and what came of it."""

    drill: str
    faults: list[Fault]
    seed: int = 0
    said: str = ""  # a word of MEANS
    why: tuple[str, ...] = ()


def hasten() -> None:
    """Shorten the waits of ours, in a process that does nothing else."""
    steps.BACKOFF_S = tuple(wait / 10 for wait in steps.BACKOFF_S)
    graph.TRIAGE_PAUSES_S = tuple(wait / 10 for wait in graph.TRIAGE_PAUSES_S)
    clients.READ_S = npm.READ_S = http.READ_S = 2.0


def main() -> None:
    """Print the matrix. Exit status 1 where a cell is wrong."""
    given = _options()
    done = _kept(given.keep) if given.keep else []
    with tempfile.TemporaryDirectory(prefix="faults-") as place, ExitStack() as stack:
        arenas = [stack.enter_context(range_up()) for _ in range(given.jobs)]
        clean = {name: _clean(name, arenas[0], Path(place)) for name in given.drill}
        known = set(map(_name, done))
        cells = [cell for cell in _cells(given, clean) if _name(cell) not in known]
        sys.stderr.write(f"{len(cells)} cells, {given.jobs} at once; {len(done)} are known\n")
        for cell in _all(cells, clean, arenas, Path(place), given.until):
            done.append(cell)
            if given.keep:
                with given.keep.open("a") as kept:
                    kept.write(json.dumps(asdict(cell)) + "\n")
    left = len(cells) + len(known) - len(done)
    text = json.dumps([asdict(cell) for cell in done]) if given.json else report(done, left)
    if given.out:
        given.out.write_text(text + "\n")
    print(text)
    raise SystemExit(any(cell.said == "WRONG" for cell in done))


def _kept(file: Path) -> list[Cell]:
    """What an earlier run has done; what was wrong is to be done again."""
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    cells = [Cell(**row | {"faults": [Fault(**fault) for fault in row["faults"]]}) for row in rows]
    return [cell for cell in {_name(cell): cell for cell in cells}.values() if cell.said != "WRONG"]


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    options.add_argument("--drill", action="append", choices=DRILLS, help="only this drill; can be given again")
    options.add_argument("--kind", action="append", choices=KINDS, help="only this kind of fault; can be given again")
    options.add_argument("--route", default="", help="only routes that hold this text")
    options.add_argument("--once", action="store_true", help="each fault in the first drill alone that uses its route")
    options.add_argument("--sample", type=int, default=0, help="only so many cells, drawn by --seed")
    options.add_argument("--drawn", type=int, default=0, help="instead: so many drills under faults drawn by seeds")
    options.add_argument("--seed", type=int, default=SEED, help=f"the first seed ({SEED})")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="drills at once")
    options.add_argument("--minutes", type=float, default=float("inf"), help="begin no cell later than that")
    options.add_argument("--json", action="store_true", help="for a program")
    options.add_argument("--keep", type=Path, help="a file that what is done is added to, and not done again")
    options.add_argument("--out", type=Path, help="write what is printed to a file too")
    given = options.parse_args()
    given.drill, given.kind = given.drill or list(DRILLS), given.kind or list(KINDS)
    given.until = time.monotonic() + 60 * given.minutes
    return given


def _cells(given: argparse.Namespace, clean: dict[str, Clean]) -> Iterator[Cell]:
    if given.drawn:
        for seed, name in zip(itertools.count(given.seed), itertools.islice(itertools.cycle(given.drill), given.drawn)):
            yield Cell(drill=name, faults=drawn(clean[name].routes, seed), seed=seed)
        return
    cells = [
        Cell(drill=name, faults=[fault])
        for name in given.drill
        for fault in every(clean[name].routes)
        if fault.kind in given.kind and given.route in str(fault)
    ]
    if given.once:
        cells = list({str(cell.faults[0]): cell for cell in reversed(cells)}.values())
    random.Random(given.seed).shuffle(cells)  # noqa: S311 - where time is short, what is tried is spread
    yield from cells[: given.sample or None]


def _clean(name: str, arena: Range, place: Path) -> Clean:
    """The drill without faults, in a process of its own."""
    cell = Cell(drill=name, faults=[])
    pid = _begin(cell, None, arena, place / "clean.json", place / f"clean-{name}")
    os.waitpid(pid, 0)
    out = place / "clean.json"
    if not out.exists():
        raise SystemExit(f"{name} without faults: {(place / f'clean-{name}' / 'said').read_text()[-2000:]}")
    return Clean(**json.loads(out.read_text()))


def _begin(cell: Cell, clean: Clean | None, arena: Range, out: Path, home: Path) -> int:
    """Fork a process that plays one cell; returns its id."""
    home.mkdir()
    pid = os.fork()
    if pid:
        return pid
    try:
        said = os.open(home / "said", os.O_WRONLY | os.O_CREAT)
        os.dup2(said, 1)
        os.dup2(said, 2)
        hasten()
        ended, asked = play(arena, home, cell.drill, cell.faults)
        if clean is None:
            made: Any = asdict(Clean.of(ended, routes(asked)))
        else:
            made = verdict(clean, ended)
        out.write_text(json.dumps(made))
        os._exit(0)
    except BaseException:  # noqa: BLE001 - a child that must not go on as its parent
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _all(
    cells: list[Cell], clean: dict[str, Clean], arenas: list[Range], place: Path, until: float
) -> Iterator[Cell]:
    """Play them, as many at once as there are ranges, until time is up."""
    waiting, free = list(reversed(cells)), list(arenas)
    running: dict[int, tuple[Cell, Range, Path, Path, float]] = {}
    number, shown = itertools.count(), Counter[str]()
    while running or (waiting and time.monotonic() < until):
        while waiting and free and time.monotonic() < until:
            cell, arena, k = waiting.pop(), free.pop(), next(number)
            out, home = place / f"{k}.json", place / str(k)
            pid = _begin(cell, clean[cell.drill], arena, out, home)
            running[pid] = (cell, arena, out, home, time.monotonic() + HANGS_S)
        for pid in list(running):
            cell, arena, out, home, late = running[pid]
            if time.monotonic() > late:
                os.kill(pid, signal.SIGKILL)
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                continue
            del running[pid]
            free.append(arena)
            if not out.exists():
                arena.get("/clock")  # where the range itself is gone, nothing was tried: raises Unavailable
            said, why = json.loads(out.read_text()) if out.exists() else ("WRONG", [_last(home, late)])
            shown[said] += 1
            made = Cell(drill=cell.drill, faults=cell.faults, seed=cell.seed, said=said, why=tuple(why))
            if said == "WRONG":
                sys.stderr.write(f"WRONG {_name(made)}: {'; '.join(why)}\n")
            sys.stderr.write(f"{sum(shown.values())} of {len(cells)}: {dict(shown)}\n")
            yield made
        time.sleep(0.05)


def _last(home: Path, late: float) -> str:
    hung = f"it hung for {HANGS_S} s; " if time.monotonic() > late else ""
    return f"{hung}its process ended: {(home / 'said').read_text()[-600:]}"


def _name(cell: Cell) -> str:
    seed = f" (seed {cell.seed})" if cell.seed else ""
    return f"{cell.drill}{seed}: {', '.join(map(str, cell.faults))}"


# the table ------------------------------------------------------------------------------------------------------------


def report(cells: list[Cell], left: int) -> str:
    """Markdown: how often what came of each kind, then each route, then what is wrong."""
    lines = [f"{len(cells)} drills under faults" + (f"; {left} were left out, for want of time" if left else ""), ""]
    lines += [f"- **{word}**: {means}" for word, means in MEANS.items()]
    single = [cell for cell in cells if len(cell.faults) == 1 and not cell.seed]
    if single:
        lines += ["", *_by_kind(single), "", *_by_route(single)]
    many = [cell for cell in cells if cell.seed]
    if many:
        counted = Counter(cell.said for cell in many)
        seeds = f"{min(c.seed for c in many)} to {max(c.seed for c in many)}"
        lines += ["", f"Two to five faults at once, seeds {seeds}: {_counted(counted)}."]
    wrong = [cell for cell in cells if cell.said == "WRONG"]
    lines += ["", *([f"- {_name(cell)}: {'; '.join(cell.why)}" for cell in wrong] or ["Nothing is wrong."])]
    return "\n".join(lines)


def _by_kind(cells: list[Cell]) -> Iterator[str]:
    yield "| fault | " + " | ".join(MEANS) + " |"
    yield "|---|" + "---|" * len(MEANS)
    for kind, rule in KINDS.items():
        counted = Counter(cell.said for cell in cells if cell.faults[0].kind == kind)
        if counted:
            yield f"| {rule.what} | " + " | ".join(str(counted[word] or "") for word in MEANS) + " |"


def _by_route(cells: list[Cell]) -> Iterator[str]:
    """Each route once, what came of each kind there by its first letter; of several drills the worst."""
    worst = {word: k for k, word in enumerate(MEANS)}
    found: dict[tuple[str, str], str] = {}
    for cell in cells:
        key = (cell.faults[0].where, cell.faults[0].kind)
        found[key] = max(found.get(key, cell.said), cell.said, key=worst.__getitem__)
    kinds = [kind for kind in KINDS if any(key[1] == kind for key in found)]
    yield "| route | " + " | ".join(kinds) + " |"
    yield "|---|" + "---|" * len(kinds)
    for where in sorted({key[0] for key in found}):
        yield f"| `{where}` | " + " | ".join(found.get((where, kind), "") for kind in kinds) + " |"


def _counted(counted: Counter[str]) -> str:
    return ", ".join(f"{counted[word]} {word}" for word in MEANS if counted[word])


if __name__ == "__main__":
    main()
