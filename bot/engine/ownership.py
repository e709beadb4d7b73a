"""The two private things of DBOS 3.4.0 that the engine leans on, in one place. A test holds both.

``owner_xid``: the token that a run writes into its workflow's row when it starts; a later run writes another, and
the first can then write nothing more. ``_recover_pending_workflows``: hands workflows of a dead process over.
"""

from __future__ import annotations

from dbos import DBOS
from dbos._context import get_local_dbos_context

from bot.errors import EngineError
from bot.timeline import Fence


def fence_sql(url: str) -> str:
    """SQL that finds a row while run ``:o`` owns workflow ``:w``; it stands in the writer's own transaction."""
    if url.startswith("sqlite"):
        return "SELECT 1 FROM workflow_status WHERE workflow_uuid = :w AND owner_xid = :o"
    return "SELECT 1 FROM dbos.workflow_status WHERE workflow_uuid = :w AND owner_xid = :o FOR SHARE"


def current_fence() -> Fence:
    """The running workflow and its token. Raises EngineError outside of a workflow."""
    context = get_local_dbos_context()
    if context is None or not context.workflow_id or not context.owner_xid:
        raise EngineError("no workflow is running here")
    return Fence(context.workflow_id, context.owner_xid)


def take_over(executors: list[str]) -> int:
    """Make the pending workflows of these executors eligible again; returns how many."""
    return len(DBOS._recover_pending_workflows(executors))  # noqa: SLF001
