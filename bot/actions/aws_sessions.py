"""End the sessions that were minted before now: of a user (36 h at most) and of a role (12 h).

A dead access key does not end its sessions. A policy that denies everything to tokens issued before a moment does:
docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html. A long-term key has no
``aws:TokenIssueTime``, so the condition does not match it and this policy alone never stops a key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.action import Action
from bot.actions import aws_iam, aws_trust
from bot.actions.aws_iam import Holder
from bot.errors import Conflict, NotFound
from bot.model import Before, Breaks, Effect, Grade, Outcome, Proof, material
from bot.world import World

POLICY = "AWSRevokeOlderSessions"  # the name that AWS's own console gives it
SID = "BulkheadOlderSessions"
_PROTECTED = ("/aws-service-role/", "/aws-reserved/")  # IAM refuses to edit these roles
# AWS tells its time in whole seconds, so a moment read off its clock can lie this far ahead of one read off ours.
CLOCK_ERROR = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSessions:
    """``after``: a moment that the cut-off must not precede, such as the deactivation of the user's key."""

    user: str
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSessions:
    """``role``: its name, or the ARN of one of another account of the map.

    ``after``: a moment that the cut-off must not precede.
    """

    role: str
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsBefore(Before):
    """``document`` is the policy that stood under our name, '' for none."""

    holder: str
    document: str = material(default="")
    exists: bool = True
    protected: bool = material(default=False)
    looked_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsOutcome(Outcome):
    """``cutoff``: sessions issued before it are denied everything."""

    cutoff: str = ""


def deny_document(cutoff: datetime) -> str:
    """The policy, canonical."""
    condition = {"DateLessThan": {"aws:TokenIssueTime": aws_iam.iso(cutoff)}}
    statement = {"Sid": SID, "Effect": "Deny", "Action": ["*"], "Resource": ["*"], "Condition": condition}
    return aws_iam.canonical({"Version": "2012-10-17", "Statement": [statement]})


def cutoff_now(world: World) -> datetime:
    """The next whole second: an issue time has seconds only, so what was issued in this one must be before it too."""
    return (aws_iam.now(world) + timedelta(seconds=1)).replace(microsecond=0)


def _not_before(least: datetime, moment: datetime) -> datetime:
    """``moment``, or the first whole second from ``least`` on where that is later by no more than a clock's error."""
    if moment < least <= moment + CLOCK_ERROR:
        return least.replace(microsecond=0) + timedelta(seconds=bool(least.microsecond))
    return moment


def cutoff_in(document: str) -> datetime | None:
    """The cut-off of a policy that denies everything to older sessions, whoever wrote it; None for any other policy."""
    latest: datetime | None = None
    for statement in aws_trust.statements(document):
        whole = statement.get("Action") in ("*", ["*"]) and statement.get("Resource") in ("*", ["*"])
        condition = statement.get("Condition") or {}
        moment = (condition.get("DateLessThan") or {}).get("aws:TokenIssueTime")
        if statement.get("Effect") == "Deny" and whole and list(condition) == ["DateLessThan"] and moment:
            found = aws_iam.parse(moment if isinstance(moment, str) else moment[0])
            latest = max(found, latest or found)
    return latest


def deny_older(
    world: World, holder: Holder, name: str, policy: str, *, before: str, since: str, after: str = ""
) -> tuple[bool, datetime]:
    """Put the policy with a cut-off of now, unless this step has done so: a second run must not move the effect.

    This step's own is what stands there since its look (``before``, ``since``) under our Sid, and not from before
    ``after``. A cut-off only ever moves forward. Returns (changed, cut-off).
    """
    document = aws_iam.inline_policy(world, holder, name, policy)
    least = max(aws_iam.parse(since), aws_iam.parse(after or since))
    cutoff, now = cutoff_in(document), _not_before(least, cutoff_now(world))
    if cutoff is not None and (cutoff >= now or (_ours(document) and document != before and cutoff >= least)):
        return False, cutoff
    aws_iam.put_inline(world, holder, name, policy, deny_document(now))
    return True, now


def _ours(document: str) -> bool:
    return [s.get("Sid") for s in aws_trust.statements(document)] == [SID]


def restore(world: World, holder: Holder, name: str, policy: str, *, before: str, ours: str) -> bool:
    """Put back what stood there; False when it does already. Raises Conflict when it is not what we wrote."""
    document = aws_iam.inline_policy(world, holder, name, policy)
    if document == before:
        return False
    if document != ours:
        raise Conflict(f"{policy} of {name} is no longer what Bulkhead wrote", {policy: (ours, document)})
    if before:
        aws_iam.put_inline(world, holder, name, policy, before)
    else:
        aws_iam.delete_inline(world, holder, name, policy)
    return True


def look(world: World, holder: Holder, name: str, of: str = "") -> SessionsBefore:
    """What stands at a role or a user; ``of``: of which account it is, in words, where that has to be said."""
    looked_at = aws_iam.iso(aws_iam.now(world))
    try:
        found = aws_iam.iam(world, f"get_{holder}", f"read {holder} {name}", **aws_iam.named(holder, name))
    except NotFound:
        summary = f"there is no {holder} {name}{of}: AWS refuses the sessions of one that is gone"
        return SessionsBefore(needed=False, exists=False, summary=summary, holder=name + of, looked_at=looked_at)
    protected = str(found[holder.capitalize()].get("Path", "/")).startswith(_PROTECTED)
    document = aws_iam.inline_policy(world, holder, name, POLICY)
    own = _own_sessions(world, holder, name)
    said = f"every session of {holder} {name}{of} issued before the cut-off is denied everything"
    standing = cutoff_in(document)
    if standing:
        said += f"; a cut-off of {aws_iam.iso(standing)} stands and moves to now"
    if own:
        said += "; Bulkhead itself works in such a session"
    return SessionsBefore(
        holder=name + of, document=document, protected=protected, cuts_own=own, summary=said, looked_at=looked_at
    )


def _own_sessions(world: World, holder: Holder, name: str) -> bool:
    """A long-term key of ours has no issue time and is not stopped; a session of ours is."""
    lives_by_session = any(key.startswith("ASIA") for key in aws_iam.own_keys(world))
    return (holder == "role" or lives_by_session) and aws_iam.is_own(world, holder, name)


def deny(world: World, holder: Holder, name: str, after: str, before: SessionsBefore) -> SessionsOutcome:
    """Deny everything to the sessions that are open now. Raises Conflict where that must not, or cannot, be done."""
    if not before.exists:
        return SessionsOutcome(changed=False, summary=before.summary)
    if before.cuts_own:
        raise aws_iam.refuse_own(f"{holder} {name}")
    if before.protected:
        raise Conflict(
            f"role {name} belongs to AWS and IAM refuses to edit it; end its sessions in IAM Identity Center, or where"
            " the service is configured"
        )
    document = aws_iam.inline_policy(world, holder, name, POLICY)
    if document not in ("", before.document) and cutoff_in(document) is None:
        raise Conflict(f"{POLICY} of {name} was changed since the look", {POLICY: (before.document, document)})
    changed, cutoff = deny_older(
        world, holder, name, POLICY, before=before.document, since=before.looked_at, after=after
    )
    shown = aws_iam.iso(cutoff)
    return SessionsOutcome(changed=changed, cutoff=shown, summary=f"sessions of {name} from before {shown} are denied")


def prove(world: World, holder: Holder, name: str, after: str, before: SessionsBefore, out: SessionsOutcome) -> Proof:
    """The policy stands, with a cut-off that is late enough."""
    if not aws_iam.exists(world, holder, name):
        return Proof.proven(Grade.STATE, f"there is no {holder} {name}")
    cutoff = cutoff_in(aws_iam.inline_policy(world, holder, name, POLICY))
    least = max(aws_iam.parse(after or before.looked_at), aws_iam.parse(before.looked_at))
    if cutoff is not None and cutoff >= least:
        return Proof.proven(Grade.STATE, f"{POLICY} of {name} denies every session from before {aws_iam.iso(cutoff)}")
    said = f"{POLICY} of {name} " + (f"has the cut-off {aws_iam.iso(cutoff)}, too early" if cutoff else "is not there")
    return Proof.not_yet(said) if aws_iam.settling(world, out.cutoff) else Proof.refuted(said)


def undo(world: World, holder: Holder, name: str, before: SessionsBefore, out: SessionsOutcome) -> Outcome:
    """Put back what stood there."""
    if not out.cutoff:
        return Outcome(changed=False, summary=before.summary)
    ours = deny_document(aws_iam.parse(out.cutoff))
    changed = restore(world, holder, name, POLICY, before=before.document, ours=ours)
    return Outcome(changed=changed, summary=f"sessions of {name} from before the cut-off are allowed again")


def _of(world: World, given: RoleSessions) -> tuple[World, Holder, str]:
    """A role, where it is. Raises Unmapped."""
    there, name = aws_iam.where(world, given.role)
    return there, "role", name


def _look_at_role(world: World, given: RoleSessions) -> SessionsBefore:
    account = given.role.split(":")[4] if given.role.startswith("arn:") else ""
    return look(*_of(world, given), f" of account {account}" if account else "")


def _breaks(what: str) -> Callable[[SessionsBefore], Breaks]:
    return lambda before: Breaks(stops=(f"{what} {before.holder} that is open now; a new one works",) * before.needed)


def permissions(holder: str) -> tuple[str, ...]:
    """What the three above need of IAM; ``holder``: Role or User."""
    verbs = ("Get{}", "Get{}Policy", "Put{}Policy", "Delete{}Policy")
    return tuple("iam:" + verb.format(holder) for verb in verbs)


deny_older_sessions = Action(
    name="aws.deny_older_sessions",
    title="Deny everything to the sessions a user already has",
    inputs=UserSessions, before=SessionsBefore, outcome=SessionsOutcome, effect=Effect.CONTAIN,
    look=lambda world, i: look(world, "user", i.user),
    run=lambda world, i, before: deny(world, "user", i.user, i.after, before),
    prove=lambda world, i, before, out: prove(world, "user", i.user, i.after, before, out),
    undo=lambda world, i, before, out: undo(world, "user", i.user, before, out),
    breaks=_breaks("every session (GetSessionToken, GetFederationToken, console) of"),
    ends=lambda i: ("sts-session", ""),
    permissions=permissions("User"),
)  # fmt: skip

deny_older_role_sessions = Action(
    name="aws.deny_older_role_sessions",
    title="Deny everything to the sessions a role already has",
    inputs=RoleSessions, before=SessionsBefore, outcome=SessionsOutcome, effect=Effect.CONTAIN,
    look=_look_at_role,
    run=lambda world, i, before: deny(*_of(world, i), i.after, before),
    prove=lambda world, i, before, out: prove(*_of(world, i), i.after, before, out),
    undo=lambda world, i, before, out: undo(*_of(world, i), before, out),
    breaks=_breaks("every session, of everybody who assumed"),
    kills=lambda i: f"aws-role-sessions:{i.role}",  # a row of its own: nothing else in the ledger stands for them
    ends=lambda i: ("sts-session", f"aws-role:{i.role}"),
    permissions=permissions("Role"),
)  # fmt: skip
