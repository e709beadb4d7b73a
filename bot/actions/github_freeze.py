"""GitHub: freeze the branches and tags of a repository by rulesets of ours, and lift the freeze again.

Where a token must not be revoked yet (malware watches it on a machine that is still there), this takes away most of
what it is good for: nobody creates, moves or deletes a ref, an administrator neither. Only the bot is let past, which
has to take planted files away. Two incidents of one repository share a freeze. docs.github.com/rest/repos/rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bot.action import Action
from bot.actions.github import differs, repository_path
from bot.actions.github_policy import RepositoryIn
from bot.errors import Forbidden, NotFound
from bot.model import Before, Breaks, Effect, Grade, Outcome, Proof, material
from bot.world import World

NAMES = {"branch": "Bulkhead freeze: branches", "tag": "Bulkhead freeze: tags"}
RULES = ("creation", "update", "deletion", "non_fast_forward")
_KEPT = ("name", "target", "enforcement", "bypass_actors", "conditions", "rules")


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeBefore(Before):
    """The rulesets of ours that stood there, as GitHub gave them; and the identity that is let past the new ones."""

    standing: tuple[dict[str, Any], ...] = material(default=())
    passes: dict[str, Any] = material(default_factory=dict)  # noqa: RUF009 - a field with metadata


def _path(given: RepositoryIn) -> str:
    return f"{repository_path(given.repository)}/rulesets"


def _standing(world: World, given: RepositoryIn) -> list[dict[str, Any]]:
    """Our rulesets, whole, each with its number."""
    found = [row["id"] for row in world.github.pages(_path(given)) if row["name"] in NAMES.values()]
    whole = [world.github.get(f"{_path(given)}/{number}") for number in found]
    return [{name: row[name] for name in ("id", *_KEPT)} for row in whole]


def _ourselves(world: World) -> dict[str, Any]:
    """The actor that the bot is. Raises Forbidden when it cannot tell: the freeze would lock it out too."""
    try:
        kind, number = "User", int(world.github.get("/user")["id"])
    except (Forbidden, NotFound):  # an App's installation is no user
        if world.github_app is None:
            raise Forbidden(
                "the freeze must let the bot past, and GitHub does not say who it is", provider="github",
                permission="the App's private key (BULKHEAD_GITHUB_APP_ID, BULKHEAD_GITHUB_APP_KEY)",
            ) from None  # fmt: skip
        kind, number = "Integration", int(world.github_app.get("/app")["id"])
    return {"actor_id": number, "actor_type": kind, "bypass_mode": "always"}


def _wanted(target: str, passes: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": NAMES[target], "target": target, "enforcement": "active", "bypass_actors": [passes],
        "conditions": {"ref_name": {"include": ["~ALL"], "exclude": []}}, "rules": [{"type": rule} for rule in RULES],
    }  # fmt: skip


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _KEPT}


def _missing(standing: list[dict[str, Any]], passes: dict[str, Any]) -> list[str]:
    """The targets that are not frozen as they should be."""
    have = [_plain(row) for row in standing]
    return [target for target in NAMES if _wanted(target, passes) not in have]


def _look(world: World, given: RepositoryIn) -> FreezeBefore:
    standing, passes = _standing(world, given), _ourselves(world)
    missing = _missing(standing, passes)
    said = f"Branches and tags of {given.repository} {'can be moved' if missing else 'are frozen already'}"
    return FreezeBefore(needed=bool(missing), standing=tuple(standing), passes=passes, summary=said)


def _freeze(world: World, given: RepositoryIn, before: FreezeBefore) -> Outcome:
    standing = _standing(world, given)
    missing = _missing(standing, before.passes)
    for target in missing:
        old = next((row["id"] for row in standing if row["name"] == NAMES[target]), None)
        way = ("PUT", f"{_path(given)}/{old}") if old else ("POST", _path(given))
        world.github.send(*way, _wanted(target, before.passes))
    said = f"Froze {given.repository}" if missing else f"{given.repository} is frozen already"
    return Outcome(changed=bool(missing), summary=said)


def _prove_frozen(world: World, given: RepositoryIn, before: FreezeBefore, _outcome: Outcome) -> Proof:
    missing = _missing(_standing(world, given), before.passes)
    if missing:
        return Proof.refuted(f"GitHub's record shows no active freeze of each {' and '.join(missing)}")
    return Proof.proven(Grade.STATE, f"GitHub's record shows that {given.repository} is frozen for all but the bot")


def _undo_freeze(world: World, given: RepositoryIn, before: FreezeBefore, _outcome: Outcome) -> Outcome:
    """As it was before. Refused when somebody has changed our rulesets since."""
    standing = _standing(world, given)
    was = {row["name"]: row for row in before.standing}
    for row in standing:
        ours = [_wanted(target, before.passes) for target in NAMES if NAMES[target] == row["name"]]
        if _plain(row) not in [*ours, *(_plain(old) for old in before.standing)]:
            raise differs(f"the ruleset {row['name']!r} of {given.repository}", ours[0], row)
    changed = False
    for row in standing:
        old = was.get(row["name"])
        if old is None:
            world.github.send("DELETE", f"{_path(given)}/{row['id']}")
        elif _plain(old) != _plain(row):
            world.github.send("PUT", f"{_path(given)}/{row['id']}", _plain(old))
        changed |= old is None or _plain(old) != _plain(row)
    return Outcome(changed=changed, summary=f"{given.repository} is as it was")


def _breaks_freeze(before: FreezeBefore) -> Breaks:
    said = "Nobody but the bot creates, moves or deletes a branch or a tag, until the freeze is lifted"
    return Breaks(stops=(said,) if before.needed else ())


freeze_refs = Action(
    name="github.freeze_refs", title="Stop everybody from moving branches and tags", inputs=RepositoryIn,
    before=FreezeBefore, outcome=Outcome, effect=Effect.CONTAIN, look=_look, run=_freeze, prove=_prove_frozen,
    breaks=_breaks_freeze, undo=_undo_freeze, permissions=("administration:write", "metadata:read"),
)  # fmt: skip


# Lift it


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftBefore(Before):
    """Our rulesets, as GitHub gave them."""

    standing: tuple[dict[str, Any], ...] = material(default=())


def _look_lift(world: World, given: RepositoryIn) -> LiftBefore:
    standing = _standing(world, given)
    said = f"{given.repository} is {'frozen' if standing else 'not frozen by us'}"
    return LiftBefore(needed=bool(standing), standing=tuple(standing), summary=said)


def _lift(world: World, given: RepositoryIn, _before: LiftBefore) -> Outcome:
    standing = _standing(world, given)
    for row in standing:
        world.github.send("DELETE", f"{_path(given)}/{row['id']}")
    said = f"Lifted the freeze of {given.repository}" if standing else f"{given.repository} is not frozen by us"
    return Outcome(changed=bool(standing), summary=said)


def _prove_lifted(world: World, given: RepositoryIn, _before: LiftBefore, _outcome: Outcome) -> Proof:
    if standing := _standing(world, given):
        return Proof.refuted(f"GitHub's record still shows {', '.join(row['name'] for row in standing)}")
    return Proof.proven(Grade.STATE, f"GitHub's record shows no freeze of ours in {given.repository}")


def _undo_lift(world: World, given: RepositoryIn, before: LiftBefore, _outcome: Outcome) -> Outcome:
    """Frozen as it was. Refused when rulesets of our names are there that are not the old ones."""
    now = {row["name"]: row for row in _standing(world, given)}
    back = [row for row in before.standing if row["name"] not in now]
    for row in before.standing:
        if row["name"] in now and _plain(now[row["name"]]) != _plain(row):
            raise differs(f"the ruleset {row['name']!r} of {given.repository}", _plain(row), now[row["name"]])
    for row in back:
        world.github.send("POST", _path(given), _plain(row))
    return Outcome(changed=bool(back), summary=f"{given.repository} is as it was")


lift_freeze = Action(
    name="github.lift_freeze", title="Let branches and tags be moved again", inputs=RepositoryIn, before=LiftBefore,
    outcome=Outcome, effect=Effect.CHANGE, look=_look_lift, run=_lift, prove=_prove_lifted, undo=_undo_lift,
    permissions=("administration:write", "metadata:read"),
)  # fmt: skip
