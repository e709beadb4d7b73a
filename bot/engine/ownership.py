"""The two private things of DBOS 3.4.0 that the engine leans on, in one place. A test holds both.

``owner_xid``: the token that a run writes into its workflow's row when it starts; a later run writes another, and
the first can then write nothing more. ``_recover_pending_workflows``: hands workflows of a dead process over.
"""

from __future__ import annotations

from dbos import DBOS
from dbos._context import get_local_dbos_context

from bot.errors import EngineError
from bot.store import schema_of
from bot.timeline import Fence

VERSION = "engine-1"  # a constant: DBOS would else leave old incidents pending after every change of the source


def fence_sql(url: str) -> str:
    """SQL that finds which run owns each workflow of ``:w``; it stands in the writer's own transaction.

    On PostgreSQL the rows stay as they are until that transaction ends, and are locked in one order.
    """
    where = "WHERE workflow_uuid IN :w ORDER BY workflow_uuid"
    query = f"SELECT workflow_uuid, owner_xid FROM {_table(url)} {where}"  # noqa: S608 - both parts are our own words
    return query if url.startswith("sqlite") else f"{query} FOR SHARE"


def owner_sql(url: str) -> str:
    """SQL that finds which run owns the workflow ``:w``."""
    return f"SELECT owner_xid FROM {_table(url)} WHERE workflow_uuid = :w"  # noqa: S608 - our own words


def adopt_sql(url: str) -> str:
    """SQL that makes what another version of the engine has under way ours (``:v``): DBOS recovers its own version's.

    Who still runs it goes on, and owns it; it can be handed over to us when that one ends.
    """
    stale = "application_version <> :v AND status IN ('PENDING', 'ENQUEUED')"
    return f"UPDATE {_table(url)} SET application_version = :v WHERE {stale}"  # noqa: S608 - our own words


def has_records(url: str) -> tuple[str, str | None]:
    """DBOS's table of workflows and its schema, to ask whether DBOS has ever run here."""
    return "workflow_status", None if url.startswith("sqlite") else dbos_schema(url)


def running_sql(url: str) -> str:
    """SQL that finds the executors that have workflows under way, living or dead."""
    return f"SELECT DISTINCT executor_id FROM {_table(url)} WHERE status = 'PENDING'"  # noqa: S608 - our own words


def _table(url: str) -> str:
    return "workflow_status" if url.startswith("sqlite") else f"{dbos_schema(url)}.workflow_status"


def dbos_schema(url: str) -> str:
    """Where DBOS keeps its tables on PostgreSQL."""
    return f"{schema_of(url)}_dbos".lstrip("_")


def current_fence() -> Fence:
    """The running workflow and its token. Raises EngineError outside of a workflow."""
    context = get_local_dbos_context()
    if context is None or not context.workflow_id or not context.owner_xid:
        raise EngineError("no workflow is running here")
    return Fence(context.workflow_id, context.owner_xid)


def take_over(executors: list[str]) -> int:
    """Make the pending workflows of these executors eligible again; returns how many."""
    return len(DBOS._recover_pending_workflows(executors))
