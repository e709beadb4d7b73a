"""What is done after an incident because a person ordered it: its follow-ups. A run of its own, like an undo.

The order is a decision with the steps in its body: it is signed or attested as every other, and counted only when its
person may decide. Only the actions of ``MAY`` can be ordered so; whatever cuts, destroys or publishes is a playbook's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bot.action import Action
from bot.engine.steps import Deps, Ruling, StepFailed, StepRun
from bot.errors import BulkheadError, EngineError
from bot.reference import adapter
from bot.store import DecisionRow

ORDER = "follow-up"  # the kind of the decision
MAY = ("github.open_issue", "github.open_migration")


def afterwards_id(row: DecisionRow) -> str:
    """The workflow's id: one an order."""
    return f"afterwards:{row.incident}:{row.seq}"


class Afterwards:
    """The steps of one order, one after the other. One that fails keeps none of the others back."""

    def __init__(self, deps: Deps, catalogue: Mapping[str, Action[Any, Any, Any]], row: DecisionRow, mode: str) -> None:
        """``mode``: an installation that only observes says what it would do."""
        self.deps, self.catalogue, self.row, self.mode = deps, catalogue, row, mode

    async def run(self) -> str:
        """done, or what failed; each step's own story stands on the timeline."""
        failed = []
        for one in self.row.body.get("steps", ()):
            try:
                await self._step(one)
            except EngineError:
                raise
            except (BulkheadError, StepFailed) as exc:
                await self._failed(one, str(exc))
                failed.append(str(one.get("id", "")))
        return f"failed: {', '.join(failed)}" if failed else "done"

    async def _step(self, one: Mapping[str, Any]) -> None:
        action = self.catalogue.get(str(one["uses"]))
        if action is None or action.name not in MAY:
            raise StepFailed(f"{one['uses']} cannot be ordered after an incident; it belongs into a playbook")
        try:
            inputs = adapter(action.inputs).validate_python(one["with"])
        except ValidationError:
            raise StepFailed(f"{one['id']} does not fit {action.name}") from None
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
        names = {name: getattr(self.deps, name) for name in type(self.deps).__slots__}
        return Deps(**(names | {"rule": lambda _action, _before: said, "aborted": str}))

    async def _failed(self, one: Mapping[str, Any], why: str) -> None:
        """Said once; ``StepRun`` has said it already where the step had begun."""
        step = str(one.get("id", ORDER))
        if self.deps.journal.last(step, "failed") is None:
            await self.deps.journal.write(step, "failed", {"error": why, "on_failure": "continue", "denied": False})
