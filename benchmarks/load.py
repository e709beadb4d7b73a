"""The load of the durability benchmark: a provider whose every call takes as long as a real one's, and a playbook.

What a shipped playbook does is recorded in its drill (``benchmarks.record``): which steps, what waits for what, and
how many calls over the network each look, evidence, run and proof makes. Here these become a playbook of the same
shape over actions that only take that time, so that nothing but the engine differs between runs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.action import Action
from bot.batches import Batches
from bot.clients import REVOCATIONS_AN_HOUR, REVOKED_AT_ONCE
from bot.errors import Rejected
from bot.model import Before, Effect, EvidenceRef, Grade, Outcome, Proof, material
from bot.world import World

REACHES = {"look": ("look",), "evidence": (), "run": ("outcome",), "prove": ("proven", "tried", "ended")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step as it ran: ``phases`` are (look, evidence, run, prove; calls over the network), none when skipped."""

    id: str
    provider: str
    effect: Effect
    needs: dict[str, str]
    phases: tuple[tuple[str, int], ...]
    cuts: bool = False  # it cuts the credential that was reported
    gathers: bool = False  # the last call of its run takes along what others bring meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What one playbook did."""

    name: str
    triage: int  # calls before the first step
    steps: tuple[Step, ...]
    kind: str = "bench-key"  # of the credentials that it is for

    @property
    def calls(self) -> int:
        """Calls over the network of one incident."""
        return self.triage + sum(calls for step in self.steps for _, calls in step.phases)

    def longest(self) -> int:
        """Calls one after the other on the longest way through: what one incident cannot be faster than."""
        ends: dict[tuple[str, str], int] = {}
        for step in self.steps:
            at = max((ends[need, level] for need, level in step.needs.items()), default=self.triage)
            ends |= {(step.id, level): at for level in ("look", "outcome", "proven", "tried", "ended")}
            for phase, calls in step.phases:
                at += calls
                ends |= {(step.id, level): at for level in REACHES[phase]}
        return max(ends.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """So many incidents at once of one shape."""

    shape: Shape
    incidents: int
    call_s: float = 0.08

    @property
    def calls(self) -> int:
        """Calls over the network of the whole load."""
        return self.incidents * self.shape.calls

    def floor(self, places: int) -> float:
        """Seconds that it takes at least: the longest way of one incident, and ``places`` calls at once a provider."""
        busy: dict[str, int] = {}
        for step in self.shape.steps:
            busy[step.provider] = busy.get(step.provider, 0) + sum(calls for _, calls in step.phases)
        widest = max(busy.values()) * self.incidents / places
        return max(float(self.shape.longest()), widest) * self.call_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run: seconds from the opening of the incidents, seconds of CPU, calls made, events written."""

    last_cut_s: float
    all_done_s: float
    cpu_s: float
    calls: int
    events: int = 0
    gaps: int = 0  # evidence that was not waited for: its calls were not made


@dataclass(slots=True)
class Provider:
    """All providers of one run: each call takes its time and is counted."""

    call_s: float
    calls: int = 0
    gathered: int = 0  # requests that took several along
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _batches: Batches[int] = field(init=False)

    def __post_init__(self) -> None:
        self._batches = Batches(self._together, REVOKED_AT_ONCE, Rejected, REVOCATIONS_AN_HOUR)

    def call(self, times: int) -> None:
        """So many calls over the network, as far as anybody waiting for them can tell."""
        for _ in range(times):
            time.sleep(self.call_s)
        with self._lock:
            self.calls += times

    def gather(self) -> None:
        """One call that goes with those of all who call meanwhile, as ``GitHubClient.revoke`` does it."""
        self._batches.add([1])

    def _together(self, items: Sequence[int]) -> None:
        time.sleep(self.call_s)
        with self._lock:
            self.calls += len(items)  # counted as what they replace, so that both sides are held to the same number
            self.gathered += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a step is done to."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen(Before):
    """What a look found."""

    owner: str = material(default="")


def catalogue(provider: Provider, *shapes: Shape) -> dict[str, Action[Any, Any, Any]]:
    """Real actions in the engine's own contract; only what they call is a pause."""
    actions = (_action(provider, shape, step) for shape in shapes for step in shape.steps)
    return {action.name: action for action in actions}


def _name(shape: Shape, step: Step) -> str:
    return f"{step.provider}.{shape.kind}.{step.id}"


def _action(provider: Provider, shape: Shape, step: Step) -> Action[Any, Any, Any]:
    times = dict(step.phases)

    def look(_world: World, target: Target) -> Seen:
        provider.call(times.get("look", 0))
        return Seen(owner=target.key, summary=f"{target.key} is there")

    def evidence(_world: World, _target: Target, _before: Seen) -> tuple[EvidenceRef, ...]:
        provider.call(times["evidence"])
        return ()

    def run(_world: World, target: Target, _before: Seen) -> Outcome:
        provider.call(times.get("run", 0) - step.gathers)
        if step.gathers:
            provider.gather()
        return Outcome(changed=True, summary=f"{target.key} is done")

    def prove(_world: World, target: Target, _before: Seen, _outcome: Outcome) -> Proof:
        provider.call(times.get("prove", 0))
        return Proof.proven(Grade.STATE, f"{target.key} is seen done")

    return Action(
        name=_name(shape, step), title=f"Do {step.id}", inputs=Target, before=Seen, outcome=Outcome,
        effect=step.effect, look=look, run=run, prove=prove, evidence=evidence if "evidence" in times else None,
        undo_none="" if step.effect is Effect.READ else "nothing was done",
        kills=(lambda target: f"{shape.kind}:{target.key}") if step.cuts else None,
    )  # fmt: skip


def playbook(shape: Shape) -> str:
    """The playbook of this shape, as text."""
    head = [f"id: {shape.kind}", "title: A load of known size", f"match: {{credential: {shape.kind}}}", "steps:"]
    return "\n".join([*head, *(line for step in shape.steps for line in _lines(shape, step))]) + "\n"


def _lines(shape: Shape, step: Step) -> Iterator[str]:
    known = next(iter(step.needs), "")
    yield f"  - id: {step.id}"
    yield f"    uses: {_name(shape, step)}"
    if step.effect is not Effect.READ:
        yield "    on_failure: ask"
    yield "    with: {key: " + (f"${known}.before.owner" if known else "$credential.id") + "}"
    if step.needs:
        yield "    needs: [" + ", ".join(f"{{{name}: {level}}}" for name, level in step.needs.items()) + "]"
    if not step.phases:
        yield "    when: {triage.machine: exists}"
