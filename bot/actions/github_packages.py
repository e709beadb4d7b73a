"""GitHub Packages and GHCR: delete a version, which can be restored for thirty days; move an image's tag back.

GitHub takes a classic token here and no App (docs.github.com/rest/packages/packages). A public version with more than
5,000 downloads it refuses to delete; how many there were it tells nobody beforehand. A tag is moved at the registry
itself, by its own protocol, with the same token.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bot.action import Action
from bot.actions.image_tags import moves_back
from bot.errors import Conflict, InputError, NotFound, Rejected
from bot.model import Before, Breaks, Effect, EvidenceRef, Grade, HostedVersion, Outcome, Proof, material
from bot.world import ImageTags, World

TYPES = ("container", "npm", "maven", "rubygems", "nuget", "docker")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteBefore(Before):
    """``name`` is an image's digest. ``forbidden``: GitHub's rule against it, as far as it can be known beforehand."""

    exists: bool = material(default=True)
    name: str = material(default="")
    tags: tuple[str, ...] = material(default=())
    forbidden: str = material(default="")


def _versions(given: HostedVersion) -> str:
    if given.type not in TYPES:
        raise InputError(f"{given.type!r} is no type of package; there are: {', '.join(TYPES)}")
    owner, package = quote(given.organization, safe=""), quote(given.package, safe="")
    return f"/orgs/{owner}/packages/{given.type}/{package}/versions"


def _version(world: World, given: HostedVersion) -> dict[str, Any] | None:
    try:
        return dict(world.github.get(f"{_versions(given)}/{given.version}"))
    except NotFound:
        return None


def _deleted(world: World, given: HostedVersion) -> bool:
    try:
        return any(row["id"] == given.version for row in world.github.pages(_versions(given), state="deleted"))
    except NotFound:
        return False


def _look(world: World, given: HostedVersion) -> DeleteBefore:
    row, what = _version(world, given), f"version {given.version} of {given.organization}/{given.package}"
    if row is None:
        return DeleteBefore(needed=False, exists=False, summary=f"GitHub has no {what}")
    tags = tuple((row.get("metadata") or {}).get("container", {}).get("tags") or ())
    last = sum(1 for _ in world.github.pages(_versions(given))) == 1
    rule = "it is the last version: GitHub deletes the whole package then, and nothing less" if last else ""
    shown = f"{what} is {row['name']}" + (f", tagged {', '.join(tags)}" if tags else "")
    return DeleteBefore(
        needed=not rule, name=str(row["name"]), tags=tags, forbidden=rule,
        summary=f"{shown}; GitHub's rules forbid to delete it: {rule}" if rule else shown,
    )  # fmt: skip


def _save(world: World, given: HostedVersion, _before: DeleteBefore) -> tuple[EvidenceRef, ...]:
    """All that GitHub tells of it. Its bytes stay with GitHub, restorable for thirty days."""
    text = json.dumps(_version(world, given), indent=1, sort_keys=True)
    name = f"packages/{given.organization}-{given.package.replace('/', '-')}-{given.version}.json"
    return (world.evidence.save(name, world.scrub(text).encode(), hashlib.sha256(text.encode()).hexdigest()),)


def _delete(world: World, given: HostedVersion, before: DeleteBefore) -> Outcome:
    if before.forbidden:
        raise Rejected(f"GitHub's rules forbid it: {before.forbidden}", provider="github", code="400")
    if not before.needed or _version(world, given) is None:
        return Outcome(changed=False, summary=f"Version {given.version} of {given.package} is gone")
    world.github.send("DELETE", f"{_versions(given)}/{given.version}")
    return Outcome(changed=True, summary=f"Deleted version {given.version} of {given.package}; GitHub keeps it 30 days")


def _prove(world: World, given: HostedVersion, _before: DeleteBefore, _outcome: Outcome) -> Proof:
    if _version(world, given) is not None:
        return Proof.refuted(f"GitHub still has version {given.version} of {given.package}")
    kept = "; it can be restored" if _deleted(world, given) else ""
    return Proof.proven(Grade.STATE, f"GitHub has no version {given.version} of {given.package} any more{kept}")


def _undo(world: World, given: HostedVersion, before: DeleteBefore, _outcome: Outcome) -> Outcome:
    if _version(world, given) is not None or not before.exists:
        return Outcome(changed=False, summary=f"Version {given.version} of {given.package} is as it was")
    if not _deleted(world, given):
        said = f"GitHub keeps version {given.version} of {given.package} no longer"
        raise Conflict(said, {"version": ("deleted, restorable", "gone")})
    world.github.send("POST", f"{_versions(given)}/{given.version}/restore")
    return Outcome(changed=True, summary=f"Restored version {given.version} of {given.package}")


def _breaks(before: DeleteBefore) -> Breaks:
    if not before.needed:
        return Breaks()
    tags = (f"pulls of the tags {', '.join(before.tags)} fail until they are pushed again",) if before.tags else ()
    return Breaks(stops=(*tags, f"whoever pulls {before.name} fails"), unknown=True)


delete_package_version = Action(
    name="github.delete_package_version", title="Delete a version of a package or image", inputs=HostedVersion,
    before=DeleteBefore, outcome=Outcome, effect=Effect.CONTAIN, look=_look, run=_delete, prove=_prove, undo=_undo,
    breaks=_breaks, evidence=_save,
    permissions=("a classic token: `read:packages`, `delete:packages`, and `write:packages` to restore",),
)  # fmt: skip


def _ghcr(world: World) -> ImageTags:
    """ghcr.io. Raises InputError in a World that has none."""
    if world.ghcr is None:
        raise InputError("this World has no ghcr.io")
    return world.ghcr


move_image_tag_back = moves_back(
    "github.move_image_tag_back", "Move a tag at ghcr.io back to the last good image", _ghcr, "ghcr",
    ("a classic token: `read:packages` and `write:packages`",),
)  # fmt: skip
