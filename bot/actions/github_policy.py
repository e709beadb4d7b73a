"""GitHub: what Actions may do in a repository, or in an organization, at all.

Paths and codes: docs.github.com/rest/actions/permissions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bot.action import Action
from bot.actions.github import cuts_own, differs, own_warning, repository_path
from bot.errors import InputError, NotFound, Rejected
from bot.model import Before, Breaks, Effect, Grade, Outcome, Proof, material
from bot.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryIn:
    """One repository."""

    repository: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionsBefore(Before):
    """All four documents of the policy, as GitHub gave them; one that does not apply is empty."""

    permissions: dict[str, Any] = material()  # noqa: RUF009 - a field with metadata
    selected: dict[str, Any] = field(default_factory=dict)
    workflow: dict[str, Any] = field(default_factory=dict)
    fork_approval: dict[str, Any] = field(default_factory=dict)
    workflows: tuple[str, ...] = ()  # the active ones


_POLICY = {"selected": "/selected-actions", "workflow": "/workflow", "fork_approval": "/fork-pr-contributor-approval"}


def _part(world: World, path: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = world.github.get(path)
    except (NotFound, Rejected):  # 409: not while all actions are allowed, or not in this kind of repository
        return {}
    return found


def _policy(world: World, repository: str) -> dict[str, dict[str, Any]]:
    base = f"{repository_path(repository)}/actions/permissions"
    whole = world.github.get(base)  # its errors count: a policy that cannot be read is not an empty one
    permissions = {k: v for k, v in whole.items() if k != "selected_actions_url"}  # in the GET, not in the PUT
    return {"permissions": permissions, **{name: _part(world, base + path) for name, path in _POLICY.items()}}


def _look_stop(world: World, given: RepositoryIn) -> ActionsBefore:
    policy = _policy(world, given.repository)
    on = bool(policy["permissions"]["enabled"])
    listed = world.github.pages(f"{repository_path(given.repository)}/actions/workflows", "workflows")
    return ActionsBefore(
        needed=on, permissions=policy["permissions"], selected=policy["selected"], workflow=policy["workflow"],
        fork_approval=policy["fork_approval"], cuts_own=cuts_own(world, given.repository),
        workflows=tuple(f"{w['name']} ({w['path']})" for w in listed if w["state"] == "active"),
        summary=f"Actions are {'on' if on else 'already off'} in {given.repository}",
    )  # fmt: skip


def _stop(world: World, given: RepositoryIn, _before: ActionsBefore) -> Outcome:
    path = f"{repository_path(given.repository)}/actions/permissions"
    if not world.github.get(path)["enabled"]:
        return Outcome(changed=False, summary=f"Actions are already off in {given.repository}")
    world.github.send("PUT", path, {"enabled": False})
    return Outcome(changed=True, summary=f"Switched Actions off in {given.repository}")


def _prove_stop(world: World, given: RepositoryIn, _before: ActionsBefore, _outcome: Outcome) -> Proof:
    if world.github.get(f"{repository_path(given.repository)}/actions/permissions")["enabled"]:
        return Proof.refuted(f"GitHub's record says that Actions are on in {given.repository}")
    return Proof.proven(Grade.STATE, f"GitHub's record says that Actions are off in {given.repository}")


def _undo_stop(world: World, given: RepositoryIn, before: ActionsBefore, _outcome: Outcome) -> Outcome:
    """Put all four documents back. Refused when one that can be read now says neither what was nor what we did."""
    saved: dict[str, dict[str, Any]] = {"permissions": before.permissions, **{k: getattr(before, k) for k in _POLICY}}
    now = _policy(world, given.repository)
    strange = {k for k in _POLICY if now[k] and now[k] != saved[k]}
    if now["permissions"]["enabled"] and now["permissions"] != saved["permissions"]:
        strange.add("permissions")
    if strange:
        raise differs(f"the Actions policy of {given.repository}", {k: saved[k] for k in strange}, now)
    if now == saved:
        return Outcome(changed=False, summary=f"The Actions policy of {given.repository} is as it was")
    base = f"{repository_path(given.repository)}/actions/permissions"
    world.github.send("PUT", base, saved["permissions"])
    for name, path in _POLICY.items():  # what can be read only while Actions are on, or was reset with them
        if saved[name] and _part(world, base + path) != saved[name]:
            world.github.send("PUT", base + path, saved[name])
    return Outcome(changed=True, summary=f"Put the Actions policy of {given.repository} back")


def _breaks_stop(before: ActionsBefore) -> Breaks:
    if not before.needed:
        return Breaks()
    stops = tuple(f"{each} no longer starts" for each in before.workflows)
    return Breaks(stops=(*stops, *own_warning(before)))


stop_actions = Action(
    name="github.stop_actions", title="Stop all Actions of a repository", inputs=RepositoryIn, before=ActionsBefore,
    outcome=Outcome, effect=Effect.CONTAIN, look=_look_stop, run=_stop, prove=_prove_stop, breaks=_breaks_stop,
    undo=_undo_stop, permissions=("administration:write", "actions:read"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPermissionsIn:
    """What the GITHUB_TOKEN may do where a workflow does not say."""

    repository: str
    default: str = "read"  # read or write
    may_approve: bool = False  # approve pull requests


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPermissionsBefore(Before):
    """The document as it was."""

    saved: dict[str, Any] = material()  # noqa: RUF009 - a field with metadata


def _wanted(given: TokenPermissionsIn) -> dict[str, Any]:
    if given.default not in {"read", "write"}:
        raise InputError(f"default token permissions are read or write, not {given.default!r}")
    return {"default_workflow_permissions": given.default, "can_approve_pull_request_reviews": given.may_approve}


def _token_permissions(world: World, given: TokenPermissionsIn) -> dict[str, Any]:
    found: dict[str, Any] = world.github.get(f"{repository_path(given.repository)}/actions/permissions/workflow")
    return {name: found[name] for name in _wanted(given)}


def _look_permissions(world: World, given: TokenPermissionsIn) -> TokenPermissionsBefore:
    saved = _token_permissions(world, given)
    return TokenPermissionsBefore(
        needed=saved != _wanted(given), saved=saved, cuts_own=cuts_own(world, given.repository),
        summary=f"A GITHUB_TOKEN of {given.repository} may {saved['default_workflow_permissions']} by default",
    )  # fmt: skip


def _set_permissions(world: World, given: TokenPermissionsIn, _before: TokenPermissionsBefore) -> Outcome:
    """Raises Rejected (409) when the organization allows only something narrower."""
    if _token_permissions(world, given) == _wanted(given):
        return Outcome(changed=False, summary="The default is already so")
    world.github.send("PUT", f"{repository_path(given.repository)}/actions/permissions/workflow", _wanted(given))
    return Outcome(changed=True, summary=f"A GITHUB_TOKEN of {given.repository} may now {given.default} by default")


def _prove_permissions(
    world: World, given: TokenPermissionsIn, _before: TokenPermissionsBefore, _outcome: Outcome
) -> Proof:
    now = _token_permissions(world, given)
    said = f"GitHub's record says {now}"
    return Proof.proven(Grade.STATE, said) if now == _wanted(given) else Proof.refuted(said)


def _undo_permissions(world: World, given: TokenPermissionsIn, before: TokenPermissionsBefore, _o: Outcome) -> Outcome:
    now = _token_permissions(world, given)
    if now == before.saved:
        return Outcome(changed=False, summary="The default is as it was")
    if now != _wanted(given):
        raise differs(f"the default token permission of {given.repository}", _wanted(given), now)
    world.github.send("PUT", f"{repository_path(given.repository)}/actions/permissions/workflow", before.saved)
    return Outcome(changed=True, summary="Put the default back")


def _breaks_permissions(before: TokenPermissionsBefore) -> Breaks:
    if not before.needed or before.saved["default_workflow_permissions"] == "read":
        return Breaks()
    stops = "Writes by jobs that do not state their permissions"
    return Breaks(stops=(stops, *own_warning(before)), unknown=True)


set_default_token_permissions = Action(
    name="github.set_default_token_permissions", title="Set what a GITHUB_TOKEN may do by default",
    inputs=TokenPermissionsIn, before=TokenPermissionsBefore, outcome=Outcome, effect=Effect.CHANGE,
    look=_look_permissions, run=_set_permissions, prove=_prove_permissions, breaks=_breaks_permissions,
    undo=_undo_permissions, permissions=("administration:write",),
)  # fmt: skip


# Fork pull requests that a maintainer has to let run


STRICTEST = "all_external_contributors"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalBefore(Before):
    """The policy as it was."""

    policy: str = material()


def _approval(world: World, given: RepositoryIn) -> str:
    path = f"{repository_path(given.repository)}/actions/permissions{_POLICY['fork_approval']}"
    return str(world.github.get(path)["approval_policy"])


def _approve_only(world: World, given: RepositoryIn, policy: str) -> None:
    path = f"{repository_path(given.repository)}/actions/permissions{_POLICY['fork_approval']}"
    world.github.send("PUT", path, {"approval_policy": policy})


def _look_approval(world: World, given: RepositoryIn) -> ApprovalBefore:
    policy = _approval(world, given)
    return ApprovalBefore(
        needed=policy != STRICTEST, policy=policy,
        summary=f"In {given.repository} a maintainer lets the runs of {policy.replace('_', ' ')} start",
    )  # fmt: skip


def _require_approval(world: World, given: RepositoryIn, _before: ApprovalBefore) -> Outcome:
    if _approval(world, given) == STRICTEST:
        return Outcome(changed=False, summary="It is so already")
    _approve_only(world, given, STRICTEST)
    return Outcome(changed=True, summary=f"No stranger's pull request runs in {given.repository} without approval")


def _prove_approval(world: World, given: RepositoryIn, _before: ApprovalBefore, _outcome: Outcome) -> Proof:
    said = f"GitHub's record says {(now := _approval(world, given))}"
    return Proof.proven(Grade.STATE, said) if now == STRICTEST else Proof.refuted(said)


def _undo_approval(world: World, given: RepositoryIn, before: ApprovalBefore, _outcome: Outcome) -> Outcome:
    now = _approval(world, given)
    if now == before.policy:
        return Outcome(changed=False, summary="It is as it was")
    if now != STRICTEST:
        raise differs(f"the fork policy of {given.repository}", {"policy": STRICTEST}, {"policy": now})
    _approve_only(world, given, before.policy)
    return Outcome(changed=True, summary=f"Put the fork policy of {given.repository} back")


def _breaks_approval(before: ApprovalBefore) -> Breaks:
    said = "Pull requests of outside contributors wait for a maintainer; those of pull_request_target never wait"
    return Breaks(stops=(said,) if before.needed else ())


require_fork_approval = Action(
    name="github.require_fork_approval", title="Have every run of a stranger's pull request wait for a maintainer",
    inputs=RepositoryIn, before=ApprovalBefore, outcome=Outcome, effect=Effect.CHANGE, look=_look_approval,
    run=_require_approval, prove=_prove_approval, breaks=_breaks_approval, undo=_undo_approval,
    permissions=("administration:write",),
)  # fmt: skip
