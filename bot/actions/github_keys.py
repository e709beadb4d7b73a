"""GitHub: take a planted deploy key away. Path: docs.github.com/rest/deploy-keys."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from bot.action import Action
from bot.actions.github import differs, repository_path
from bot.errors import InputError, NotFound
from bot.model import Before, Breaks, Effect, EvidenceRef, Grade, Outcome, Planted, Proof, material
from bot.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBefore(Before):
    """The key as it was: all that is needed to add it again."""

    title: str = ""
    key: str = material(default="")
    read_only: bool = material(default=True)
    added_by: str = ""
    created_at: str = ""
    last_used: str = ""


def _keys(given: Planted) -> str:
    if given.kind != "github-deploy-key" or not given.id.isdecimal():
        raise InputError(f"{given.key} is not a deploy key")
    return f"{repository_path(given.name)}/keys"


def _key(world: World, given: Planted) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = world.github.get(f"{_keys(given)}/{given.id}")
    except NotFound:
        next(iter(world.github.pages(_keys(given))), None)  # its error: we may not look there
        return None
    return found


def _look_key(world: World, given: Planted) -> KeyBefore:
    found = _key(world, given)
    if found is None:
        return KeyBefore(needed=False, summary=f"{given.name} has no deploy key {given.id} any more")
    may = "read" if found["read_only"] else "read and push"
    return KeyBefore(
        title=found["title"], key=found["key"], read_only=found["read_only"], added_by=found.get("added_by") or "",
        created_at=found["created_at"], last_used=found.get("last_used") or "",
        summary=f"Deploy key {found['title']!r} of {given.name} may {may}; added by {found.get('added_by')}",
    )  # fmt: skip


def _save_key(world: World, given: Planted, before: KeyBefore) -> tuple[EvidenceRef, ...]:
    record = {n: getattr(before, n) for n in KeyBefore.__dataclass_fields__} | {"key": given.key, "public": before.key}
    text = world.scrub(json.dumps(record, indent=1, sort_keys=True)).encode()
    return (world.evidence.save(f"keys/{given.id}.json", text, hashlib.sha256(text).hexdigest()),)


def _delete_key(world: World, given: Planted, _before: KeyBefore) -> Outcome:
    if _key(world, given) is None:
        return Outcome(changed=False, summary="The deploy key is already gone")
    try:
        world.github.send("DELETE", f"{_keys(given)}/{given.id}")
    except NotFound:
        return Outcome(changed=False, summary="The deploy key went meanwhile")
    return Outcome(changed=True, summary=f"Deleted deploy key {given.id} of {given.name}")


def _same(world: World, given: Planted, before: KeyBefore) -> dict[str, Any] | None:
    """A deploy key of the repository with the same public key, under whatever number."""
    return next((row for row in world.github.pages(_keys(given)) if before.key and row["key"] == before.key), None)


def _prove_key(world: World, given: Planted, before: KeyBefore, _outcome: Outcome) -> Proof:
    """By its number and by the key itself: added again it has another number."""
    if _key(world, given) is not None or _same(world, given, before) is not None:
        return Proof.refuted(f"{given.name} still lists the deploy key {before.title!r}")
    return Proof.proven(Grade.STATE, f"GitHub lists no such deploy key of {given.name} any more")


def _add_again(world: World, given: Planted, before: KeyBefore, _outcome: Outcome) -> Outcome:
    now = _same(world, given, before)
    wanted = {"title": before.title, "key": before.key, "read_only": before.read_only}
    if now is not None:
        found = {name: now[name] for name in wanted}
        if found != wanted:
            raise differs(f"the deploy key {before.title!r}", wanted, found)
        return Outcome(changed=False, summary="The deploy key is there")
    if not before.needed:
        return Outcome(changed=False, summary="It was not there")
    world.github.send("POST", _keys(given), wanted)
    return Outcome(changed=True, summary=f"Added the deploy key {before.title!r} again, under a new number")


def _breaks_key(before: KeyBefore) -> Breaks:
    used = f"; last used {before.last_used}" if before.last_used else "; GitHub knows of no use"
    if not before.needed:
        return Breaks()
    return Breaks(stops=(f"Whoever fetches or pushes with the deploy key {before.title!r}{used}",))


delete_deploy_key = Action(
    name="github.delete_deploy_key", title="Delete a deploy key", inputs=Planted, before=KeyBefore, outcome=Outcome,
    effect=Effect.CONTAIN, look=_look_key, run=_delete_key, prove=_prove_key, breaks=_breaks_key, undo=_add_again,
    evidence=_save_key, kills=lambda given: given.key, permissions=("administration:write",),
)  # fmt: skip
