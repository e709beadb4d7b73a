"""GitHub: which actions the workflows of a repository, or of an organization, may use at all.

While an action is poisoned, this keeps every workflow from fetching it, whatever branch its file lies on. Paths:
docs.github.com/rest/actions/permissions. Where the organization allows less already, its repositories cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bot.action import Action
from bot.actions.github import differs, repository_path
from bot.errors import InputError, NotFound, Rejected
from bot.model import Before, Breaks, Effect, Grade, Outcome, Proof, material
from bot.world import World

_POLICY = ("allowed_actions", "sha_pinning_required")
_SELECTED = ("github_owned_allowed", "verified_allowed", "patterns_allowed")


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedIn:
    """``where``: OWNER/NAME, or an organization. ``patterns``: actions allowed beside those of the owner itself.

    ``github``: whether GitHub's own may be used; ``pinned``: whether each must be named by a full commit.
    """

    where: str
    patterns: tuple[str, ...] = ()
    github: bool = True
    pinned: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedBefore(Before):
    """Both documents, as GitHub gave them; ``selected`` is empty where no selection was made."""

    policy: dict[str, Any] = material()  # noqa: RUF009 - a field with metadata
    selected: dict[str, Any] = field(default_factory=dict)


def _path(given: AllowedIn) -> str:
    if "/" in given.where:
        return f"{repository_path(given.where)}/actions/permissions"
    if not given.where.replace("-", "").isalnum():
        raise InputError(f"{given.where!r} is neither a repository (OWNER/NAME) nor an organization")
    return f"/orgs/{given.where}/actions/permissions"


def _wanted(given: AllowedIn) -> tuple[dict[str, Any], dict[str, Any]]:
    selected = {
        "github_owned_allowed": given.github, "verified_allowed": False, "patterns_allowed": sorted(given.patterns),
    }  # fmt: skip
    return {"allowed_actions": "selected", "sha_pinning_required": given.pinned}, selected


def _now(world: World, given: AllowedIn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Policy and selection. Actions that are off have neither."""
    path = _path(given)
    found = world.github.get(path)
    policy = {name: found[name] for name in (*_POLICY, *_on(given)) if name in found}
    try:
        chosen = world.github.get(f"{path}/selected-actions")
    except (NotFound, Rejected):  # 409: nothing was selected
        return policy, {}
    selected = {name: chosen[name] for name in _SELECTED}
    return policy, selected | {"patterns_allowed": sorted(selected["patterns_allowed"])}


def _on(given: AllowedIn) -> tuple[str, ...]:
    """The field that says for what the policy is on; it is put back with the others."""
    return ("enabled",) if "/" in given.where else ("enabled_repositories",)


def _fits(given: AllowedIn, policy: dict[str, Any], selected: dict[str, Any]) -> bool:
    wanted, chosen = _wanted(given)
    return wanted.items() <= policy.items() and selected == chosen


def _off(policy: dict[str, Any]) -> bool:
    return policy.get("enabled") is False or policy.get("enabled_repositories") == "none"


def _look(world: World, given: AllowedIn) -> AllowedBefore:
    policy, selected = _now(world, given)
    said = "no action, they are off" if _off(policy) else f"{policy.get('allowed_actions', 'all')} actions"
    return AllowedBefore(
        needed=not _off(policy) and not _fits(given, policy, selected), policy=policy, selected=selected,
        summary=f"{given.where} lets its workflows use {said}",
    )  # fmt: skip


def _limit(world: World, given: AllowedIn, before: AllowedBefore) -> Outcome:
    """Raises Rejected (409) where the organization's policy forbids it."""
    policy, selected = _now(world, given)
    if _off(policy) or _fits(given, policy, selected):
        return Outcome(changed=False, summary=f"{given.where} is limited so already")
    wanted, chosen = _wanted(given)
    on = {name: before.policy[name] for name in _on(given) if name in before.policy}
    if not wanted.items() <= policy.items():
        world.github.send("PUT", _path(given), on | wanted)
    world.github.send("PUT", f"{_path(given)}/selected-actions", chosen)
    return Outcome(changed=True, summary=f"{given.where} may use no other actions any more")


def _prove(world: World, given: AllowedIn, before: AllowedBefore, _outcome: Outcome) -> Proof:
    policy, selected = _now(world, given)
    if _off(policy):
        return Proof.proven(Grade.STATE, f"GitHub's record says that Actions are off in {given.where}")
    said = f"GitHub's record says {policy} and {selected or 'no selection'}"
    return Proof.proven(Grade.STATE, said) if _fits(given, policy, selected) else Proof.refuted(said)


def _undo(world: World, given: AllowedIn, before: AllowedBefore, _outcome: Outcome) -> Outcome:
    policy, selected = _now(world, given)
    if (policy, selected) == (before.policy, before.selected) or not before.needed:
        return Outcome(changed=False, summary=f"The policy of {given.where} is as it was")
    if not _fits(given, policy, selected):
        wanted, chosen = _wanted(given)
        raise differs(f"the Actions policy of {given.where}", wanted | chosen, policy | selected)
    if before.selected:
        world.github.send("PUT", f"{_path(given)}/selected-actions", before.selected)
    world.github.send("PUT", _path(given), before.policy)
    return Outcome(changed=True, summary=f"Put the policy of {given.where} back")


def _breaks(before: AllowedBefore) -> Breaks:
    said = "Jobs that use another action, or one that is not pinned to a commit, fail when they are set up"
    return Breaks(stops=(said,) if before.needed else (), unknown=before.needed)


limit_actions = Action(
    name="github.limit_actions", title="Stop workflows from using any but these actions", inputs=AllowedIn,
    before=AllowedBefore, outcome=Outcome, effect=Effect.CONTAIN, look=_look, run=_limit, prove=_prove, undo=_undo,
    breaks=_breaks, permissions=("administration:write", "organization_administration:write"),
)  # fmt: skip
