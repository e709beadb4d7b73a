"""What is done after an incident, outside its plan: follow-ups that a person ordered, a migration's last steps.

A run of its own, like an undo. An order is a decision with the steps in its body: it is signed or attested as every
other, and counted only when its person may decide. Only the actions of ``MAY`` can be ordered so.

An offer is the house's, and nobody signs for it: so it does nothing but ask. Each of its steps is looked at, put to
people under the policy of its incident, at least one of them and never decided by silence, then done and proven. Only
the actions of ``MAY_OFFER`` can be offered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from bot.action import Action
from bot.engine.steps import Deps, Rule, Ruling, StepFailed, StepRun
from bot.errors import BulkheadError, EngineError
from bot.model import Before
from bot.reference import adapter
from bot.store import DecisionRow

ORDER = "follow-up"  # the kind of the decision
OFFER = "last-steps"  # the kind of the house's row
MAY = ("github.open_issue", "github.open_migration")
MAY_OFFER = ("github.delete_secret", "aws.deactivate_access_key", "aws.delete_access_key", "people.do")


def afterwards_id(row: DecisionRow) -> str:
    """The workflow's id: one an order."""
    return f"afterwards:{row.incident}:{row.seq}"


class Afterwards:
    """The steps of one order or offer, one after the other. One that fails keeps none of the others back.

    ``needs`` of a step names one before it, without which it is not done: a key is deleted after it was deactivated.
    """

    def __init__(self, deps: Deps, catalogue: Mapping[str, Action[Any, Any, Any]], row: DecisionRow, mode: str) -> None:
        """``mode``: an installation that only observes says what it would do."""
        self.deps, self.catalogue, self.row, self.mode = deps, catalogue, row, mode

    async def run(self) -> str:
        """done, or what failed; each step's own story stands on the timeline."""
        failed: list[str] = []
        for one in self.row.body.get("steps", ()):
            try:
                if one.get("needs") in failed:
                    raise StepFailed(f"it needs {one['needs']}, which did not succeed")
                await self._step(one)
            except EngineError:
                raise
            except (BulkheadError, StepFailed) as exc:
                await self._failed(one, str(exc))
                failed.append(str(one.get("id", "")))
        return f"failed: {', '.join(failed)}" if failed else "done"

    async def _step(self, one: Mapping[str, Any]) -> None:
        offered = self.row.kind == OFFER
        action = self.catalogue.get(str(one["uses"]))
        if action is None or action.name not in (MAY_OFFER if offered else MAY):
            raise StepFailed(f"{one['uses']} cannot be ordered after an incident; it belongs into a playbook")
        try:
            inputs = adapter(action.inputs).validate_python(one["with"])
        except ValidationError:
            raise StepFailed(f"{one['id']} does not fit {action.name}") from None
        if offered:  # a ledger that was closed on proof gets no new row: what dies here never leaked
            step = StepRun(self._asking(), str(one["id"]), replace(action, kills=None), inputs, "ask")
        else:
            step = StepRun(self._ruled(), str(one["id"]), action, inputs, "continue")
        if self.mode == "observe":
            await step.plan()
            return
        before = await step.look()
        await step.do(before, lambda: None)

    def _ruled(self) -> Deps:
        """The same parts, under the ruling that whoever ordered it has decided it."""
        said = Ruling(
            posture="act", on_silence="hold", after_s=0, rule=ORDER,
            reason=f"{self.row.by} ordered it with the post-mortem",
        )  # fmt: skip
        return self._under(lambda _action, _before: said)

    def _asking(self) -> Deps:
        """The same parts, under the incident's policy with one person at least."""

        def rule(action: Action[Any, Any, Any], before: Before) -> Ruling:
            said = self.deps.rule(action, before)
            if said.needs:
                return replace(said, on_silence="hold", after_s=0, tells=())
            why = "It is outside the plan that was agreed to, and nothing is in a hurry."
            return Ruling(posture="one", on_silence="hold", after_s=0, rule=OFFER, reason=why)

        return self._under(rule)

    def _under(self, rule: Rule) -> Deps:
        """An abort of the incident ends its plan, which this is no part of."""
        names = {name: getattr(self.deps, name) for name in type(self.deps).__slots__}
        return Deps(**(names | {"rule": rule, "aborted": str}))

    async def _failed(self, one: Mapping[str, Any], why: str) -> None:
        """Said once; ``StepRun`` has said it already where the step had begun."""
        step = str(one.get("id", ORDER))
        if self.deps.journal.last(step, "failed") is None:
            await self.deps.journal.write(step, "failed", {"error": why, "on_failure": "continue", "denied": False})
