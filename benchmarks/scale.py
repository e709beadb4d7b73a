"""``python -m benchmarks.scale``: one leak of 500 credentials, beside a script at its best under the same limits.

One report, whose triage finds 299 more GitHub tokens, 150 AWS keys and 50 npm tokens in reach. Each has an incident of
its own, opened by the inbox as ever, under the playbook that its drill proves; the first one closes last. The script
makes the same calls in the same order with threads and queues, cuts first, and keeps nothing.

Limits, the same for both: so many calls at once at each provider as the engine grants (``bot.engine.pace``; GitHub
allows 100), each of which takes its time; GitHub tokens are revoked by one request at a time, 1,000 in each at most,
and 60 such requests an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dbos import DBOS

from benchmarks import bare, record
from benchmarks.__main__ import PLACES, POSTGRESQL, SCRIPT, SQLITE, Database, postgres
from benchmarks.engine import Marks, engine_of, house, land, rows_of
from benchmarks.load import Measured, Provider, Shape, catalogue, playbook
from bot.app import Bulkhead
from bot.clients import REVOCATIONS_AN_HOUR
from bot.engine.run import Engine
from bot.model import Credential, Exposure, Liveness, Machine, Reached, Report, Triage
from bot.playbook import load as load_playbook
from bot.settings import read
from bot.world import World

FLEET = {"github-pat": 300, "aws-access-key": 150, "npm-token": 50}
AIMS = {SQLITE: (1.5, 1.3), POSTGRESQL: (1.7, 1.3)}  # last cut, all done
PATIENCE_S = 1800.0
_ROW = "{:<38}{:>10}{:>8}{:>10}{:>8}{:>12}{:>8}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What has leaked: a shape for each credential, the reported one first."""

    shapes: list[Shape]
    call_s: float

    @property
    def calls(self) -> int:
        """Over the network, in all; each of a gathered request counts."""
        return sum(shape.calls for shape in self.shapes)

    @property
    def evidence(self) -> int:
        """The most calls that the evidence of one step makes."""
        steps = [dict(step.phases).get("evidence", 0) for shape in self.shapes for step in shape.steps]
        return max(steps)

    def credential(self, number: int) -> Credential:
        """The one of this number."""
        kind = self.shapes[number].kind
        return Credential(provider="bench", kind=kind, id=f"key-{number}", fingerprint="hmac:bench")


def fleet(shapes: list[Shape], counts: dict[str, int], call_s: float) -> Fleet:
    """So many of each recorded shape. GitHub's revocations go together."""
    known = {shape.name: replace(shape, kind=shape.name) for shape in shapes}
    pat = known["github-pat"]
    known["github-pat"] = replace(pat, steps=tuple(replace(step, gathers=step.cuts) for step in pat.steps))
    return Fleet(shapes=[known[name] for name, count in counts.items() for _ in range(count)], call_s=call_s)


def measure(given: Fleet, folder: Path, database: str = "") -> tuple[Measured, int]:
    """The engine's run, and how many requests took several revocations along. Raises TimeoutError."""
    with house(folder, database) as bulkhead:
        return asyncio.run(_measure(bulkhead, given))


async def _measure(bulkhead: Bulkhead, given: Fleet) -> tuple[Measured, int]:
    provider, kinds = Provider(given.call_s), {shape.kind: shape for shape in given.shapes}
    actions = catalogue(provider, *kinds.values())
    books = {kind: load_playbook(playbook(shape), f"{kind}.yaml", actions) for kind, shape in kinds.items()}
    others = tuple(
        Reached(kind=one.kind, name=one.id, scope="repository", how="the job could read it", credential=one)
        for one in map(given.credential, range(1, len(given.shapes)))
    )

    def triage(_world: World, report: Report) -> Triage:
        assert report.credential is not None
        provider.call(kinds[report.credential.kind].triage)
        return Triage(
            credential=report.credential, live=Liveness.LIVE, exposure=Exposure.PUBLIC, machine=Machine.UNKNOWN,
            reach=() if report.beside else others,
        )  # fmt: skip

    usual = engine_of(bulkhead, actions, triage).parts
    inbox = replace(bulkhead.inbox, playbooks=books, catalogue=actions)
    engine = Engine(replace(usual, beside=inbox.beside))
    cuts = {step.id for shape in kinds.values() for step in shape.steps if step.cuts}
    marks = Marks(len(given.shapes), cuts)
    bulkhead.timeline.listen(marks.take)
    await engine.start()
    try:
        marks.start, cpu = time.perf_counter(), time.process_time()
        (first,) = rows_of(bulkhead, playbook(given.shapes[0]), actions, 1)
        land(bulkhead, [first])
        await engine.open(first["id"])
        if not await asyncio.to_thread(marks.over.wait, PATIENCE_S):
            raise TimeoutError(f"{marks.left} incidents were still open after {PATIENCE_S:.0f} s: {engine.broken}")
        for row in bulkhead.store.incidents():
            await (await DBOS.retrieve_workflow_async(row.id)).get_result(polling_interval_sec=0.02)
        cpu = time.process_time() - cpu
    finally:
        await engine.stop()
    measured = Measured(
        last_cut_s=marks.last_cut, all_done_s=marks.all_done, cpu_s=cpu, calls=provider.calls, events=marks.events,
        gaps=marks.gaps,
    )  # fmt: skip
    return measured, provider.gathered


def main() -> None:
    """Print the table. Exit status 1 where an aim was missed."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    options.add_argument("--part", type=float, default=1.0, help="this part of the 500 credentials (1)")
    options.add_argument("--call-ms", type=float, default=80.0, help="how long a provider's call takes (80)")
    given = options.parse_args()
    home = read().home
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scale-", dir=home) as place:
        folder = Path(place)
        counts = {name: max(1, round(count * given.part)) for name, count in FLEET.items()}
        leak = fleet(record.shapes(folder / "drills"), counts, given.call_ms / 1000)
        named = ", ".join(f"{count} {name}" for name, count in counts.items())
        print(
            f"One incident of {len(leak.shapes)} credentials ({named}), {leak.calls} calls of {given.call_ms:g} ms; "
            f"at most {PLACES} at once at each provider.\n"
            f"{os.cpu_count()} cores; load of the machine beforehand: {os.getloadavg()[0]:.1f}."
        )
        with postgres(folder) as new:
            missed = table(leak, folder, new)
    raise SystemExit(missed)


def runs(leak: Fleet, folder: Path, new: Database) -> Iterator[tuple[str, Measured, int]]:
    """The script and the engine on both databases, one after the other."""
    yield SCRIPT, *bare.measure_fleet(leak.shapes, leak.call_s, PLACES)
    yield SQLITE, *measure(leak, folder / "sqlite")
    yield POSTGRESQL, *measure(leak, folder / "postgresql", new())


def table(leak: Fleet, folder: Path, new: Database) -> bool:
    """Print it; returns whether an aim was missed. Raises SystemExit when the runs would not compare."""
    floor: Measured | None = None
    missed = False
    for name, one, requests in runs(leak, folder, new):
        least = leak.calls - one.gaps * leak.evidence
        if not least <= one.calls <= leak.calls:
            raise SystemExit(f"{name} made {one.calls} calls where {leak.calls} were due: they would not compare")
        if floor is None:
            floor = one
            print(_ROW.format("", "last cut", "", "all done", "", "revocation", "CPU s"))
            print(_ROW.format("", "", "", "", "", "requests", ""))
        by_cut, by_done = one.last_cut_s / floor.last_cut_s, one.all_done_s / floor.all_done_s
        said = ("", "") if one is floor else (f"{by_cut:.2f}x", f"{by_done:.2f}x")
        row = (name, f"{one.last_cut_s:.1f}", said[0], f"{one.all_done_s:.1f}", said[1], requests, f"{one.cpu_s:.0f}")
        gaps = f"   {one.gaps} times a cut did not wait for its evidence" if one.gaps else ""
        print(_ROW.format(*row) + gaps, flush=True)
        most_cut, most_done = AIMS.get(name, (1.0, 1.0))
        missed |= by_cut > most_cut or by_done > most_done or requests > REVOCATIONS_AN_HOUR
    return missed


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        main()
