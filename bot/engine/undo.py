"""Undoing a step: a run of its own, with its own approvals, refused when the state is no longer ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.action import Action
from bot.engine.steps import Deps, Ruling, StepRun, to_json
from bot.errors import BulkheadError, EngineError
from bot.model import Effect
from bot.reference import adapter
from bot.store import DecisionRow
from bot.timeline import Event


def undo_id(row: DecisionRow) -> str:
    """The workflow's id: one an order."""
    return f"undo:{row.incident}:{row.step}:{row.seq}"


class UndoRun:
    """One ordered undo. ``count`` is the number of the order's row."""

    def __init__(self, deps: Deps, catalogue: Mapping[str, Action[Any, Any, Any]], step: str, count: int) -> None:
        self.deps, self.catalogue, self.step, self.count = deps, catalogue, step, count
        self.name = f"{step}/undo"

    async def run(self) -> str:
        """undone, denied or refused; which one and why stands on the timeline."""
        try:
            return await self._run()
        except EngineError:
            raise
        except BulkheadError as exc:
            return await self._refused(str(exc))

    async def _run(self) -> str:
        journal = self.deps.journal
        look, outcome = journal.find(self.step, "look"), journal.last(self.step, "outcome")
        if look is None or outcome is None:
            return await self._refused(f"{self.step} has not been done in this incident; nothing to undo")
        action = self.catalogue[look.body["uses"]]
        if action.undo is None:
            return await self._refused(f"{self.step} cannot be undone: {action.undo_none or 'it changes nothing'}")
        inputs = adapter(action.inputs).validate_python(look.body["inputs"])
        before = adapter(action.before).validate_python(look.body["before"])
        step = StepRun(self.deps, self.name, action, inputs, "stop")
        step.attempt = self.count
        decided = await step.ask("undo", before, self._ruling(action), 2 if action.effect == Effect.CONTAIN else 1)
        if not decided["go"]:
            return await self._refused(f"{', '.join(decided['by'])} said no")
        return await self._undo(step, look, outcome, decided["by"])

    async def _undo(self, step: StepRun, look: Event, outcome: Event, by: list[str]) -> str:
        action, journal = step.action, self.deps.journal
        undo = action.undo
        assert undo is not None
        before = adapter(action.before).validate_python(look.body["before"])
        done = adapter(action.outcome).validate_python(outcome.body["outcome"])

        async def make() -> dict[str, Any]:
            result = await step.call(undo, self.deps.world, step.inputs, before, done, changes=True)
            return {"outcome": to_json(result), "by": by, "kills": look.body["kills"]}

        await journal.once(self.name, "undone", make, self.count)
        return "undone"

    async def _refused(self, why: str) -> str:
        await self.deps.journal.write(self.name, "undo-refused", {"why": why}, self.count)
        return "refused"

    @staticmethod
    def _ruling(action: Action[Any, Any, Any]) -> Ruling:
        two = action.effect == Effect.CONTAIN
        reason = "undoing a cut makes a leaked credential live again" if two else "undoing changes the world again"
        return Ruling(posture="two" if two else "one", on_silence="hold", after_s=0, rule="undo", reason=reason)
