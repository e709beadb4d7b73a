"""GitHub: workflows and alerts. Runs, secrets and a repository's Actions policy have files of their own.

Paths and codes: docs.github.com/rest/actions/workflows and /rest/secret-scanning/secret-scanning.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bot import workflow
from bot.action import Action
from bot.errors import Conflict, InputError, NotFound, Rejected
from bot.model import AlertRef, Before, Breaks, Effect, Grade, Outcome, Proof, WorkflowRef, material
from bot.world import World

_REPOSITORY = re.compile(r"(?!\.{1,2}/)[\w.-]+/(?!\.{1,2}$)[\w.-]+", re.ASCII)


def repository_path(repository: str) -> str:
    """``/repos/owner/name``. Raises InputError for anything that is not one owner and one name."""
    if not _REPOSITORY.fullmatch(repository):
        raise InputError(f"{repository!r} is not a repository; write owner/name")
    return f"/repos/{repository}"


def cuts_own(world: World, repository: str, *keys: str) -> bool:
    """Whether the step takes away what the bot itself lives by: one of these keys, or the repository's own token."""
    return not {f"github-token:{repository}", *keys}.isdisjoint(world.identities)


def own_warning(before: Before) -> tuple[str, ...]:
    """For ``breaks``: the sentence about ourselves, when there is one."""
    return ("Bulkhead's own credential: this step goes last",) if before.cuts_own else ()


def differs(what: str, expected: dict[str, Any], found: dict[str, Any]) -> Conflict:
    """The refusal of an undo, with the difference."""
    diff = {k: (v, found.get(k)) for k, v in expected.items() if found.get(k) != v}
    return Conflict(f"{what} has been changed since; undo it by hand", diff)


# Workflows


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowBefore(Before):
    """A workflow as it was. ``blob`` is the SHA of its file on the default branch."""

    id: int = material()
    state: str = material()  # active, disabled_manually, disabled_inactivity, disabled_fork
    name: str = ""
    path: str = ""
    blob: str = ""
    triggers: tuple[str, ...] = ()
    last_run: str = ""


def find_workflow(world: World, ref: WorkflowRef) -> dict[str, Any]:
    """The workflow's record. Raises NotFound when the repository has none with this path."""
    base = repository_path(ref.repository)
    folder, _, file = ref.workflow.rpartition("/")
    if folder == ".github/workflows":
        found: dict[str, Any] = world.github.get(f"{base}/actions/workflows/{quote(file, safe='')}")
        return found
    for each in world.github.pages(f"{base}/actions/workflows", "workflows"):
        if each["path"] == ref.workflow:
            return each
    raise NotFound(f"{ref.repository} has no workflow {ref.workflow}", provider="github")


def last_run(run: dict[str, Any]) -> str:
    """A run in words."""
    return f"run {run['id']} by {run['event']}, {run.get('conclusion') or run['status']}, {run['created_at']}"


def _look_workflow(world: World, given: WorkflowRef, *, wanted_active: bool) -> WorkflowBefore:
    found = find_workflow(world, given)
    base = repository_path(given.repository)
    runs = world.github.get(f"{base}/actions/workflows/{found['id']}/runs", per_page=1)["workflow_runs"]
    blob = ""
    triggers: tuple[str, ...] = ("unknown",)
    try:
        content = world.github.get(f"{base}/contents/{quote(given.workflow)}")
        blob, text = content["sha"], base64.b64decode(content.get("content", "")).decode(errors="replace")
        triggers = workflow.parse(text, given.workflow).triggers
    except (NotFound, InputError):
        pass  # the file is gone or no longer a workflow; the record still answers, and breaks says unknown
    active = found["state"] == "active"
    return WorkflowBefore(
        needed=active != wanted_active, id=found["id"], state=found["state"], name=found["name"], path=found["path"],
        blob=blob, triggers=triggers, last_run=last_run(runs[0]) if runs else "",
        cuts_own=cuts_own(world, given.repository),
        summary=f"Workflow {found['name']} ({found['path']}) of {given.repository} is {found['state']}",
    )  # fmt: skip


def _look_disable(world: World, given: WorkflowRef) -> WorkflowBefore:
    return _look_workflow(world, given, wanted_active=False)


def _look_enable(world: World, given: WorkflowRef) -> WorkflowBefore:
    return _look_workflow(world, given, wanted_active=True)


def _switch(world: World, given: WorkflowRef, verb: str) -> Outcome:
    """Enable or disable. A workflow that sleeps for inactivity does not run: it counts as disabled."""
    now = find_workflow(world, given)
    if (now["state"] == "active") == (verb == "enable"):
        return Outcome(changed=False, summary=f"{now['name']} is already {now['state']}")
    world.github.send("PUT", f"{repository_path(given.repository)}/actions/workflows/{now['id']}/{verb}")
    return Outcome(changed=True, summary=f"{verb.capitalize()}d {now['name']}")


def _disable(world: World, given: WorkflowRef, _before: WorkflowBefore) -> Outcome:
    return _switch(world, given, "disable")


def _enable(world: World, given: WorkflowRef, _before: WorkflowBefore) -> Outcome:
    return _switch(world, given, "enable")


def _prove_disabled(world: World, given: WorkflowRef, _before: WorkflowBefore, _outcome: Outcome) -> Proof:
    return _proof(find_workflow(world, given), wanted_active=False)


def _prove_enabled(world: World, given: WorkflowRef, _before: WorkflowBefore, _outcome: Outcome) -> Proof:
    return _proof(find_workflow(world, given), wanted_active=True)


def _proof(now: dict[str, Any], *, wanted_active: bool) -> Proof:
    said = f"GitHub's record says {now['name']} is {now['state']}"
    return Proof.proven(Grade.STATE, said) if (now["state"] == "active") == wanted_active else Proof.refuted(said)


def _undo_disable(world: World, given: WorkflowRef, before: WorkflowBefore, _outcome: Outcome) -> Outcome:
    return _back(world, given, before, ours="disabled_manually")


def _undo_enable(world: World, given: WorkflowRef, before: WorkflowBefore, _outcome: Outcome) -> Outcome:
    return _back(world, given, before, ours="active")


def _back(world: World, given: WorkflowRef, before: WorkflowBefore, *, ours: str) -> Outcome:
    """To enabled or disabled as before. GitHub sets ``disabled_inactivity`` and ``disabled_fork`` only by itself."""
    now = find_workflow(world, given)
    if now["state"] == before.state or not before.needed:
        return Outcome(changed=False, summary=f"{before.name} is {now['state']}")
    if now["state"] != ours:
        raise differs(f"the workflow {before.path}", {"state": ours}, now)
    return _switch(world, given, "enable" if before.state == "active" else "disable")


def _breaks_workflow(before: WorkflowBefore) -> Breaks:
    if not before.needed:
        return Breaks()
    last = f"; last: {before.last_run}" if before.last_run else "; it has never run"
    stops = f"{before.name} ({before.path}) no longer starts on {', '.join(before.triggers)}{last}"
    return Breaks(stops=(stops, *own_warning(before)), unknown="unknown" in before.triggers)


disable_workflow = Action(
    name="github.disable_workflow", title="Disable a workflow", inputs=WorkflowRef, before=WorkflowBefore,
    outcome=Outcome, effect=Effect.CONTAIN, look=_look_disable, run=_disable, prove=_prove_disabled,
    breaks=_breaks_workflow, undo=_undo_disable, permissions=("actions:write", "contents:read"),
)  # fmt: skip

enable_workflow = Action(
    name="github.enable_workflow", title="Enable a workflow", inputs=WorkflowRef, before=WorkflowBefore,
    outcome=Outcome, effect=Effect.CHANGE, look=_look_enable, run=_enable, prove=_prove_enabled,
    undo=_undo_enable, permissions=("actions:write", "contents:read"),
)  # fmt: skip


# Secret-scanning alerts


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertBefore(Before):
    """The alert as it was, without the secret in it."""

    state: str = material()
    resolution: str = ""
    kind: str = ""


_COMMENT = "Revoked and contained by Bulkhead."


def _alert(world: World, given: AlertRef) -> dict[str, Any]:
    # Without hide_secret the literal secret is in the answer.
    path = f"{repository_path(given.repository)}/secret-scanning/alerts/{given.number}"
    found: dict[str, Any] = world.github.get(path, hide_secret="true")  # noqa: S106 - a switch, not a secret
    return found


def _resolved(alert: dict[str, Any]) -> bool:
    return alert["state"] == "resolved" and alert.get("resolution") == "revoked"


def _look_alert(world: World, given: AlertRef) -> AlertBefore:
    found = _alert(world, given)
    as_what = f" as {found['resolution']}" if found.get("resolution") else ""
    kind = str(found.get("secret_type_display_name") or found.get("secret_type") or "")
    return AlertBefore(
        needed=not _resolved(found), state=found["state"], resolution=found.get("resolution") or "", kind=kind,
        summary=f"Alert {given.number} of {given.repository} ({kind}) is {found['state']}{as_what}",
    )  # fmt: skip


def _change_alert(world: World, given: AlertRef, body: dict[str, Any]) -> None:
    world.github.send("PATCH", f"{repository_path(given.repository)}/secret-scanning/alerts/{given.number}", body)


def _resolve(world: World, given: AlertRef, _before: AlertBefore) -> Outcome:
    if _resolved(_alert(world, given)):
        return Outcome(changed=False, summary=f"Alert {given.number} is already resolved as revoked")
    try:
        _change_alert(world, given, {"state": "resolved", "resolution": "revoked", "resolution_comment": _COMMENT})
    except Rejected as exc:
        # 400 also means "nothing to change": somebody was faster. Fine only when the state is right.
        if exc.code != "400" or not _resolved(_alert(world, given)):
            raise
        return Outcome(changed=False, summary=f"Alert {given.number} was resolved meanwhile")
    return Outcome(changed=True, summary=f"Resolved alert {given.number} as revoked")


def _prove_resolved(world: World, given: AlertRef, _before: AlertBefore, _outcome: Outcome) -> Proof:
    now = _alert(world, given)
    said = f"GitHub's record says alert {given.number} is {now['state']} ({now.get('resolution')})"
    return Proof.proven(Grade.STATE, said) if _resolved(now) else Proof.refuted(said)


def _reopen(world: World, given: AlertRef, before: AlertBefore, _outcome: Outcome) -> Outcome:
    """State and resolution as before. GitHub keeps our comment: it cannot be edited or deleted."""
    now = _alert(world, given)
    if now["state"] == before.state and (now.get("resolution") or "") == before.resolution:
        return Outcome(changed=False, summary=f"Alert {given.number} is {now['state']}")
    if not _resolved(now):
        raise differs(f"alert {given.number}", {"state": "resolved", "resolution": "revoked"}, now)
    body: dict[str, Any] = {"state": before.state}
    if before.resolution:
        body["resolution"] = before.resolution
    _change_alert(world, given, body)
    return Outcome(changed=True, summary=f"Put alert {given.number} back to {before.state}")


resolve_alert = Action(
    name="github.resolve_alert", title="Resolve a secret-scanning alert", inputs=AlertRef, before=AlertBefore,
    outcome=Outcome, effect=Effect.CHANGE, look=_look_alert, run=_resolve, prove=_prove_resolved, undo=_reopen,
    permissions=("secret_scanning_alerts:write",),
)  # fmt: skip
