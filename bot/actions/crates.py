"""crates.io: have a token revoke itself, find versions that nobody released, yank one.

A yanked version stays where it is: cargo passes over it when it resolves, and a lock file that names it still gets it
(doc.rust-lang.org/cargo, "cargo yank"). crates.io deletes nothing of an owner's wish that others could depend on.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from bot.action import Action
from bot.actions import packages
from bot.actions.packages import FindBefore, FindIn, FindOutcome, YankBefore
from bot.errors import Conflict, Forbidden, NotFound
from bot.model import Before, Breaks, Credential, Effect, EvidenceRef, Grade, Liveness, Outcome, Proof, material
from bot.registries.crates import SHORT_LIVED, is_dead
from bot.world import World

NAME = "crates"
PERMISSIONS = ("yank",)


# Have a token revoke itself


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeIn:
    """A token whose value is held."""

    credential: Credential


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeBefore(Before):
    live: str = material(default=Liveness.UNKNOWN.value)  # a Liveness
    held: bool = material(default=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeOutcome(Outcome):
    """``left_to_owner``: crates.io lets this token not revoke itself."""

    left_to_owner: bool = False


def _look_revoke(world: World, given: RevokeIn) -> RevokeBefore:
    said = packages.tried(world, given.credential)
    if said is None:
        why = f"{given.credential.key}: its value is not held; only its owner can revoke it"
        return RevokeBefore(held=False, summary=why)
    live, why = said
    return RevokeBefore(needed=live != Liveness.DEAD, live=live.value, summary=f"{given.credential.key}: {why}")


def _revoke(world: World, given: RevokeIn, before: RevokeBefore) -> RevokeOutcome:
    """With the token itself. One that is limited to scopes is refused: it is left to its owner, which is no error."""
    key = given.credential.key
    value = world.secrets.of(key)
    if value is None:
        return RevokeOutcome(changed=False, left_to_owner=True, summary=f"The value of {key} is not held")
    if not before.needed:
        return RevokeOutcome(changed=False, summary=f"crates.io refuses {key} already")
    short = value.reveal().startswith(SHORT_LIVED)
    path = "/api/v1/trusted_publishing/tokens" if short else "/api/v1/tokens/current"
    try:
        packages.registry(world, NAME).send_as(value, "DELETE", path)
    except Forbidden as exc:
        if is_dead(exc):
            return RevokeOutcome(changed=False, summary=f"crates.io refuses {key} already")
        why = "crates.io lets a token that is limited to scopes not revoke itself; its owner does it"
        return RevokeOutcome(changed=False, left_to_owner=True, summary=why)
    return RevokeOutcome(changed=True, summary=f"{key} has revoked itself")


def _prove_revoke(world: World, given: RevokeIn, _before: RevokeBefore, outcome: RevokeOutcome) -> Proof:
    """A token of a trusted publisher cannot be looked at: there crates.io's answer is all there is."""
    said = packages.tried(world, given.credential)
    if outcome.left_to_owner or said is None:
        return Proof.proven(Grade.WORD, outcome.summary)
    live, why = said
    if live == Liveness.DEAD:
        return Proof.proven(Grade.REFUSED, why)
    return Proof.refuted(why) if live == Liveness.LIVE else Proof.proven(Grade.WORD, f"{outcome.summary}; {why}")


def _breaks_revoke(before: RevokeBefore) -> Breaks:
    return Breaks(stops=("every workflow and machine that publishes with this token",)) if before.needed else Breaks()


revoke_token = Action(
    name="crates.revoke_token", title="Have a crates.io token revoke itself", inputs=RevokeIn, before=RevokeBefore,
    outcome=RevokeOutcome, effect=Effect.CONTAIN, look=_look_revoke, run=_revoke, prove=_prove_revoke,
    breaks=_breaks_revoke, kills=lambda given: given.credential.key, undo_none="crates.io takes no token back",
    permissions=("none: the token itself is shown",),
)  # fmt: skip


find_unexplained_versions = Action(
    name="crates.find_unexplained_versions", title="Find versions on crates.io that no tag or run explains",
    inputs=FindIn, before=FindBefore, outcome=FindOutcome, effect=Effect.READ, look=packages.look_packages,
    run=packages.find, prove=packages.prove_find, permissions=packages.FIND_PERMISSIONS,
)  # fmt: skip


# Yank


@dataclass(frozen=True, slots=True, kw_only=True)
class YankIn:
    """A version, and the message that crates.io shows beside it."""

    package: str
    version: str
    message: str = ""


def _mark(world: World, given: YankIn, yanked: bool, message: str) -> None:
    said = {"yanked": yanked} | ({"yank_message": message} if yanked and message else {})
    path = f"/api/v1/crates/{quote(given.package)}/{quote(given.version)}"
    packages.registry(world, NAME).send("PATCH", path, body={"version": said})


def _look_yank(world: World, given: YankIn) -> YankBefore:
    return packages.look_yank(world, NAME, given.package, given.version)[0]


def _save(world: World, given: YankIn, _before: YankBefore) -> tuple[EvidenceRef, ...]:
    return packages.save_version(world, NAME, given.package, given.version)


def _yank(world: World, given: YankIn, before: YankBefore) -> Outcome:
    now = packages.release(world, NAME, given.package, given.version)
    if not before.needed or now is None or now.yanked:
        return Outcome(changed=False, summary=f"{given.package} {given.version} is yanked, or gone")
    _mark(world, given, True, given.message)
    return Outcome(changed=True, summary=f"Yanked {given.package} {given.version}")


def _prove_yank(world: World, given: YankIn, _before: YankBefore, _outcome: Outcome) -> Proof:
    return packages.prove_yank(world, NAME, given.package, given.version)


def _undo_yank(world: World, given: YankIn, before: YankBefore, _outcome: Outcome) -> Outcome:
    now = packages.release(world, NAME, given.package, given.version)
    if now is None:
        raise NotFound(f"crates.io has no {given.package} {given.version}", provider="crates")
    if now.yanked == before.yanked:
        return Outcome(changed=False, summary=f"{given.package} {given.version} is as it was")
    if now.reason != given.message:
        raise Conflict(f"{given.package} {given.version} was changed since", {"message": (given.message, now.reason)})
    _mark(world, given, before.yanked, before.reason)
    return Outcome(changed=True, summary=f"{given.package} {given.version} is not yanked any more")


def _breaks_yank(before: YankBefore) -> Breaks:
    return packages.breaks_yank(before, "builds without a lock file that ask for exactly this version")


yank = Action(
    name="crates.yank", title="Yank a version on crates.io", inputs=YankIn, before=YankBefore, outcome=Outcome,
    effect=Effect.CONTAIN, look=_look_yank, run=_yank, prove=_prove_yank, breaks=_breaks_yank, evidence=_save,
    undo=_undo_yank, permissions=PERMISSIONS, proof_deadline=900.0,
)  # fmt: skip
