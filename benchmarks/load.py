"""The load of the durability benchmark: a provider whose every call takes as long as a real one's, and a playbook.

The playbook has the shape of the shipped one: a cut; two steps that need its proof and what it found; one that needs
both. Each step is three calls: look, run, prove.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from bot.action import Action
from bot.model import Before, Effect, Grade, Outcome, Proof, material
from bot.world import World

GRAPH: dict[str, tuple[str, ...]] = {
    "cut": (), "sessions": ("cut",), "pipeline": ("cut",), "restore": ("sessions", "pipeline"),
}  # fmt: skip
EFFECTS = {"cut": Effect.CONTAIN, "sessions": Effect.CONTAIN, "pipeline": Effect.CONTAIN, "restore": Effect.CHANGE}
PHASES = ("look", "run", "prove")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """So many incidents at once, spread over so many providers."""

    incidents: int
    providers: int
    call_s: float = 0.08

    def provider(self, incident: int) -> str:
        """The provider that an incident talks to: never the same as its neighbour's, where there are several."""
        return f"cloud{incident % self.providers}"

    @property
    def calls(self) -> int:
        """Provider calls of the whole load."""
        return self.incidents * len(GRAPH) * len(PHASES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run, in seconds from the opening of the incidents."""

    last_cut_s: float
    all_done_s: float
    calls: int


@dataclass(slots=True)
class Provider:
    """All providers of one run: each call takes its time and is counted."""

    call_s: float
    calls: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self) -> None:
        """One call over the network, as far as anybody waiting for it can tell."""
        time.sleep(self.call_s)
        with self._lock:
            self.calls += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a step is done to."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen(Before):
    """What a look found."""

    owner: str = material(default="")


def catalogue(provider: Provider, load: Load) -> dict[str, Action[Any, Any, Any]]:
    """Real actions in the engine's own contract; only what they call is a pause."""

    def look(_world: World, target: Target) -> Seen:
        provider.call()
        return Seen(owner=target.key, summary=f"{target.key} is there")

    def run(_world: World, target: Target, _before: Seen) -> Outcome:
        provider.call()
        return Outcome(changed=True, summary=f"{target.key} is done")

    def prove(_world: World, target: Target, _before: Seen, _outcome: Outcome) -> Proof:
        provider.call()
        return Proof.proven(Grade.STATE, f"{target.key} is seen done")

    def undo(_world: World, target: Target, _before: Seen, _outcome: Outcome) -> Outcome:
        provider.call()
        return Outcome(changed=True, summary=f"{target.key} is put back")

    def action(name: str, step: str) -> Action[Any, Any, Any]:
        return Action(
            name=f"{name}.{step}", title=f"Do the {step}", inputs=Target, before=Seen, outcome=Outcome,
            effect=EFFECTS[step], look=look, run=run, prove=prove, undo=undo,
            kills=(lambda target: f"bench-key:{target.key}") if step == "cut" else None,
        )  # fmt: skip

    names = {load.provider(k) for k in range(load.incidents)}
    return {f"{name}.{step}": action(name, step) for name in names for step in GRAPH}


def playbook(provider: str) -> str:
    """The playbook of the incidents at one provider."""
    lines = ["id: bench", "title: A load of known size", "match: {credential: bench-key}", "steps:"]
    for step, needs in GRAPH.items():
        wanted = ", ".join(f"{{{need}: proven}}" for need in needs)
        lines += [
            f"  - id: {step}", f"    uses: {provider}.{step}", "    on_failure: ask",
            "    with: {key: " + ("$cut.before.owner}" if needs else "$credential.id}"),
            *([f"    needs: [{wanted}]"] if needs else []),
        ]  # fmt: skip
    return "\n".join(lines) + "\n"
