"""What an action is: a description and plain functions. State lives in the engine, never here.

The order of a step, kept by the engine: ``look`` -> Before is committed and never overwritten -> decision if
policy asks -> ``evidence`` -> ``run`` -> Outcome is committed -> ``prove`` until proven or its deadline -> ledger.
All functions are synchronous, are called in a thread, and raise errors of ``bot.errors`` only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from bot.model import Before, Breaks, Effect, EvidenceRef, Outcome, Planted, Proof
from bot.world import World

In = TypeVar("In")
B = TypeVar("B", bound=Before)
O = TypeVar("O", bound=Outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action(Generic[In, B, O]):
    """One thing that Bulkhead can do at one provider.

    Every type is a frozen dataclass of JSON-able fields (nested dataclasses of ``bot.model`` are fine).
    """

    name: str  # "aws.deactivate_access_key"
    title: str  # a verb first: "Deactivate an IAM access key"
    inputs: type[In]
    before: type[B]
    outcome: type[O]
    effect: Effect
    look: Callable[[World, In], B]  # reads only
    run: Callable[[World, In, B], O]  # the change; safe to call twice, looks first
    prove: Callable[[World, In, B, O], Proof]  # independent of run's own answer
    breaks: Callable[[B], Breaks] = lambda _before: Breaks()
    undo: Callable[[World, In, B, O], Outcome] | None = None  # driven by Before; Conflict when no longer ours
    undo_none: str = ""  # why there is no undo; said on the card
    evidence: Callable[[World, In, B], tuple[EvidenceRef, ...]] | None = None  # what must be on file first
    kills: Callable[[In], str] | None = None  # key of the credential whose ledger row this step cuts
    fulfils: Callable[[In], str] | None = None  # key of the ledger row of an order that its proof closes; cuts nothing
    ends: Callable[[In], tuple[str, str]] | None = None  # (kind of tail, key of its credential; "" = of the user)
    plants: Callable[[O], tuple[Planted, ...]] | None = None  # what it found that joins the ledger
    asks: str = ""  # why one person has to agree to it, where policy would ask nobody; '' leaves it to policy
    person: bool = False  # only a person can do it; run waits for an answer
    proof_deadline: float = 300.0  # seconds after the Outcome
    permissions: tuple[str, ...] = ()  # least permissions, in the provider's words

    @property
    def provider(self) -> str:
        """The first word of the name."""
        return self.name.split(".", 1)[0]


def material_fields(before: Before) -> dict[str, Any]:
    """The fields of a Before whose change voids an approval."""
    return {f.name: getattr(before, f.name) for f in fields(before) if f.metadata.get("material")}
