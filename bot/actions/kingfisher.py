"""The long tail: a credential of a kind without an action of its own, checked and revoked by Kingfisher's library.

Nothing is asked before a person has agreed, so ``look`` says only what the library knows: a rule can be mistaken, and
then the value would go to a stranger. ``run`` looks first. What the library cannot do is left to the owner. No drill
proves any of it: the addresses are the providers' own.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.action import Action
from bot.errors import InputError
from bot.model import OTHER, Before, Breaks, Credential, Effect, Grade, Liveness, Outcome, Proof, material
from bot.world import TailRule, World


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeIn:
    """A credential of the long tail."""

    credential: Credential


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeBefore(Before):
    """What the library knows of its kind. ``hosts``: where its value will be shown."""

    rule: str = material(default="")
    hosts: tuple[str, ...] = material(default=())
    checks: bool = material(default=False)
    revokes: bool = material(default=False)
    held: bool = material(default=False)
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeOutcome(Outcome):
    """``live``: what the check said before anything was done; ``left_to_owner``: the library could not do it."""

    live: str = Liveness.UNKNOWN.value
    left_to_owner: bool = False
    task: str = ""
    link: str = ""


def known(world: World, kind: str) -> TailRule | None:
    """What the library knows of a kind; None for a kind of ours, and in a World that has no library."""
    return world.long_tail.knows(kind) if world.long_tail is not None and kind.startswith(OTHER) else None


def tried(world: World, key: str) -> tuple[Liveness, str]:
    """What its provider says to a value that is held, and in what words. It is shown to whom its rule names."""
    kind, secret = key.partition(":")[0], world.secrets.of(key)
    if world.long_tail is None or secret is None or known(world, kind) is None:
        return Liveness.UNKNOWN, f"{key}: nothing can be asked"
    return world.long_tail.tried(kind, secret, world.secrets.open(world.secrets.ref(f"around:{key}")))


def proof_of_death(world: World, key: str, seen_alive: bool = False) -> Proof | None:
    """Refused, as a proof; None when the provider accepts it, or nothing can be asked.

    Where people run such a service themselves, the public one refuses every value that is not its own: that says
    something only of a value that it has accepted before.
    """
    rule = known(world, key.partition(":")[0])
    live, why = tried(world, key)
    if rule is None or live != Liveness.DEAD:
        return None
    if rule.elsewhere and not seen_alive:
        return Proof.proven(Grade.WORD, f"{why}; it may be of an installation that is run by others")
    return Proof.proven(Grade.REFUSED, why)


def _look(world: World, given: RevokeIn) -> RevokeBefore:
    key, kind = given.credential.key, given.credential.kind
    if not kind.startswith(OTHER):
        raise InputError(f"{kind or 'a credential'} is not of the long tail: its kind begins with {OTHER}")
    rule, held = known(world, kind), world.secrets.of(key) is not None
    if rule is None:
        return RevokeBefore(held=held, summary=f"{key}: nobody is asked about it here; its owner revokes it")
    can = [word for word, able in (("check", rule.checks), ("revoke", rule.revokes)) if able]
    to = " or ".join(rule.hosts) or "its provider"
    does = f"Kingfisher's rule {rule.rule} can {' and '.join(can)} it: its value is shown to {to}"
    nothing = f"Kingfisher's rule {rule.rule} knows it, and can neither check nor revoke it"
    summary = (does if can else nothing) if held else f"its value is not held, so nothing can be asked of {rule.rule}"
    return RevokeBefore(
        rule=rule.rule, hosts=rule.hosts, checks=rule.checks, revokes=rule.revokes, held=held,
        link=next(iter(rule.links), ""), summary=f"{key}: {summary}",
    )  # fmt: skip


def _revoke(world: World, given: RevokeIn, before: RevokeBefore) -> RevokeOutcome:
    """Check, then revoke what works. What cannot be checked or revoked is left to its owner, which is no error.

    Raises Unavailable when the provider did not answer.
    """
    key, secret = given.credential.key, world.secrets.of(given.credential.key)
    if world.long_tail is None or secret is None or not before.rule:
        return _left(given, before, Liveness.UNKNOWN, "nothing can be asked about it")
    live, why = Liveness.UNKNOWN, "there is no check for it"
    if before.checks:
        live, why = tried(world, key)
        if live == Liveness.DEAD and (proof := proof_of_death(world, key)) is not None:
            if proof.grade == Grade.REFUSED:
                return RevokeOutcome(changed=False, live=live.value, summary=f"{key} is dead already: {why}")
            return _left(given, before, live, proof.detail)
    if not before.revokes or (before.checks and live != Liveness.LIVE):
        return _left(given, before, live, why)
    around = world.secrets.open(world.secrets.ref(f"around:{key}"))
    done, said = world.long_tail.revoke(given.credential.kind, secret, around)
    if not done:
        return _left(given, before, live, said)
    return RevokeOutcome(changed=True, live=live.value, summary=f"Revoked {key}: {said}")


def _left(given: RevokeIn, before: RevokeBefore, live: Liveness, why: str) -> RevokeOutcome:
    name = given.credential.kind.removeprefix(OTHER)
    task = f"revoke the leaked {name} where it was made" + (f" ({', '.join(before.hosts)})" if before.hosts else "")
    return RevokeOutcome(
        changed=False, live=live.value, left_to_owner=True, task=task, link=before.link,
        summary=f"{given.credential.key} is left to its owner: {why}",
    )  # fmt: skip


def _prove(world: World, given: RevokeIn, before: RevokeBefore, outcome: RevokeOutcome) -> Proof:
    if outcome.left_to_owner or not before.checks:
        return Proof.proven(Grade.WORD, outcome.summary)
    dead = proof_of_death(world, given.credential.key, seen_alive=outcome.live == Liveness.LIVE)
    if dead is not None:
        return dead
    live, why = tried(world, given.credential.key)
    if live == Liveness.LIVE:
        return Proof.not_yet(why, retry_after=10.0)
    return Proof.proven(Grade.WORD, f"{outcome.summary}; {why}")


def _breaks(before: RevokeBefore) -> Breaks:
    if not before.revokes:
        return Breaks()
    return Breaks(stops=("everything that signs in with it",), unknown=True)  # who does, no library tells


revoke = Action(
    name="kingfisher.revoke", title="Have Kingfisher's library check and revoke a credential", inputs=RevokeIn,
    before=RevokeBefore, outcome=RevokeOutcome, effect=Effect.CONTAIN, look=_look, run=_revoke, prove=_prove,
    breaks=_breaks, kills=lambda given: given.credential.key, undo_none="A revoked credential does not come back",
    asks="its value is shown to whom a rule of others names, and no drill proves what happens then",
    permissions=("none: the value itself is shown to its provider",),
)  # fmt: skip
