"""npm: check a token, move a dist-tag back, deprecate a version.

Paths as the npm client uses them (npm CLI 11, libnpmpublish). What was published cannot be replaced: a dist-tag decides
what ``npm install`` gets by default, a deprecation only warns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bot.action import Action
from bot.errors import Conflict, InputError, NotFound, Refused
from bot.model import Before, Credential, Effect, Grade, NpmTag, Outcome, Proof, material
from bot.world import Npm, World

PERMISSIONS = ("package:write",)


def registry(world: World) -> Npm:
    """The registry. Raises InputError in a World that has none."""
    if world.npm is None:
        raise InputError("this World has no npm registry")
    return world.npm


def escaped(package: str) -> str:
    """A package's name as a part of a path: @scope%2fname."""
    return quote(package, safe="@")


def document(world: World, package: str, *, write: bool = False) -> dict[str, Any]:
    """The whole document of a package. Raises NotFound when there is none, or nothing is left of it."""
    path = f"/{escaped(package)}"
    found = registry(world).get(f"{path}?write=true", write=True) if write else registry(world).get(path)
    return dict(found)


def user_of(world: World, credential: str) -> str | None:
    """The account that npm answers a held token with; '' when it refuses it, None when its value is not held."""
    value = world.secrets.of(credential)
    if value is None:
        return None
    try:
        return registry(world).user_of(value)
    except Refused:
        return ""


# Check a token


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIn:
    """A token."""

    credential: Credential


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBefore(Before):
    """Whose token npm says it is; '' when it refuses it."""

    user: str = material(default="")
    held: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOutcome(Outcome):
    user: str = ""


def _look_token(world: World, given: TokenIn) -> TokenBefore:
    user = user_of(world, given.credential.key)
    said = "its value is not held" if user is None else f"npm knows it as {user}" if user else "npm refuses it"
    return TokenBefore(user=user or "", held=user is not None, summary=f"{given.credential.key}: {said}")


def _check_token(_world: World, _given: TokenIn, before: TokenBefore) -> TokenOutcome:
    return TokenOutcome(changed=False, user=before.user, summary=before.summary)


def _prove_token(world: World, given: TokenIn, before: TokenBefore, _outcome: TokenOutcome) -> Proof:
    now = _look_token(world, given)
    if (now.user, now.held) != (before.user, before.held):
        return Proof.refuted(f"it was different before; now {now.summary}")
    return Proof.proven(Grade.REFUSED if now.held and not now.user else Grade.STATE, now.summary)


check_token = Action(
    name="npm.check_token", title="Check an npm token", inputs=TokenIn, before=TokenBefore, outcome=TokenOutcome,
    effect=Effect.READ, look=_look_token, run=_check_token, prove=_prove_token,
)  # fmt: skip


# Move a dist-tag back


@dataclass(frozen=True, slots=True, kw_only=True)
class TagBefore(Before):
    current: str = material(default="")


def _tags(world: World, package: str) -> dict[str, str]:
    return dict(registry(world).get(f"/-/package/{escaped(package)}/dist-tags"))


def _look_tag(world: World, given: NpmTag) -> TagBefore:
    current = _tags(world, given.package).get(given.tag, "")
    said = f"{given.tag} of {given.package} is {current or 'nothing'}"
    return TagBefore(needed=current == given.bad, current=current, summary=said)


def _set_tag(world: World, package: str, tag: str, version: str) -> None:
    registry(world).send("PUT", f"/-/package/{escaped(package)}/dist-tags/{quote(tag, safe='')}", version)


def _move_tag(world: World, given: NpmTag, before: TagBefore) -> Outcome:
    """Only while it still names the bad version: what the maintainers have set meanwhile stands."""
    if not before.needed or _tags(world, given.package).get(given.tag, "") != given.bad:
        return Outcome(changed=False, summary=f"{given.tag} of {given.package} does not name {given.bad}")
    _set_tag(world, given.package, given.tag, given.good)
    return Outcome(changed=True, summary=f"{given.tag} of {given.package} is {given.good} again")


def _prove_tag(world: World, given: NpmTag, _before: TagBefore, _outcome: Outcome) -> Proof:
    current = _tags(world, given.package).get(given.tag, "")
    if current == given.bad:
        return Proof.refuted(f"{given.tag} of {given.package} still names {given.bad}")
    return Proof.proven(Grade.STATE, f"npm's record: {given.tag} of {given.package} is {current or 'gone'}")


def _undo_tag(world: World, given: NpmTag, before: TagBefore, _outcome: Outcome) -> Outcome:
    current = _tags(world, given.package).get(given.tag, "")
    if current == before.current:
        return Outcome(changed=False, summary=f"{given.tag} of {given.package} names {current}")
    if current != given.good:
        raise Conflict(f"{given.tag} of {given.package} was moved since", {given.tag: (given.good, current)})
    _set_tag(world, given.package, given.tag, before.current)
    return Outcome(changed=True, summary=f"{given.tag} of {given.package} names {before.current} again")


move_dist_tag_back = Action(
    name="npm.move_dist_tag_back", title="Move a dist-tag back to the last good version", inputs=NpmTag,
    before=TagBefore, outcome=Outcome, effect=Effect.CONTAIN, look=_look_tag, run=_move_tag, prove=_prove_tag,
    undo=_undo_tag, permissions=PERMISSIONS,
)  # fmt: skip


# Deprecate


@dataclass(frozen=True, slots=True, kw_only=True)
class DeprecateIn:
    """A version, and what everybody is told who installs it."""

    package: str
    version: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeprecateBefore(Before):
    exists: bool = material(default=True)
    message: str = material(default="")


def _message(world: World, given: DeprecateIn) -> str | None:
    """What is said of it now; None when it is gone."""
    try:
        manifest = document(world, given.package)["versions"].get(given.version)
    except NotFound:
        return None
    return None if manifest is None else str(manifest.get("deprecated") or "")


def _look_deprecate(world: World, given: DeprecateIn) -> DeprecateBefore:
    if not given.message:
        raise InputError("a deprecation needs its message")
    now, name = _message(world, given), f"{given.package}@{given.version}"
    said = "does not exist" if now is None else f"says {now!r}" if now else "is not deprecated"
    return DeprecateBefore(
        needed=now is not None and now != given.message, exists=now is not None, message=now or "",
        summary=f"{name} {said}",
    )  # fmt: skip


def _say(world: World, given: DeprecateIn, message: str) -> None:
    whole = document(world, given.package, write=True)
    whole["versions"][given.version]["deprecated"] = message
    registry(world).send("PUT", f"/{escaped(given.package)}", whole)


def _deprecate(world: World, given: DeprecateIn, before: DeprecateBefore) -> Outcome:
    if not before.needed or _message(world, given) in (None, given.message):
        return Outcome(changed=False, summary="It is deprecated already, or gone")
    _say(world, given, given.message)
    return Outcome(changed=True, summary=f"Deprecated {given.package}@{given.version}")


def _prove_deprecate(world: World, given: DeprecateIn, _before: DeprecateBefore, _outcome: Outcome) -> Proof:
    now = _message(world, given)
    if now not in (None, given.message):
        return Proof.refuted(f"{given.package}@{given.version} does not say so")
    said = "is gone" if now is None else "tells whoever installs it"
    return Proof.proven(Grade.STATE, f"npm's record: {given.package}@{given.version} {said}")


def _undo_deprecate(world: World, given: DeprecateIn, before: DeprecateBefore, _outcome: Outcome) -> Outcome:
    now = _message(world, given)
    if now == before.message:
        return Outcome(changed=False, summary="It says what it said before")
    if now != given.message:
        raise Conflict(f"{given.package}@{given.version} was changed since", {"deprecated": (given.message, now)})
    _say(world, given, before.message)
    return Outcome(changed=True, summary=f"{given.package}@{given.version} says what it said before")


deprecate = Action(
    name="npm.deprecate", title="Deprecate a version", inputs=DeprecateIn, before=DeprecateBefore, outcome=Outcome,
    effect=Effect.CHANGE, look=_look_deprecate, run=_deprecate, prove=_prove_deprecate, undo=_undo_deprecate,
    permissions=PERMISSIONS,
)  # fmt: skip
