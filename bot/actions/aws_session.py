"""One session of AWS that leaked: whose it is and until when, that it is dead, and what else its identity opened.

A session ends by itself (15 minutes to 36 hours), so one that was minted for a job is often over when somebody reports
it: then nothing has to be cut, and its own refusal is the proof. One that lives is cut at once, with all the sessions
that its role or user has (``aws_sessions``): AWS can end none alone
(docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.action import Action
from bot.actions import aws_iam, aws_sessions, aws_trail, aws_trust
from bot.actions.aws_iam import Holder
from bot.actions.aws_sessions import SessionsBefore
from bot.clients import aws_errors
from bot.errors import Conflict, Forbidden, Refused
from bot.model import Before, Breaks, Credential, Effect, Grade, Outcome, Proof, material
from bot.world import World

LONGEST_S = 36 * 3600.0  # no session lives longer
LOOK_AGAIN_S = 15.0
OPENS = ("AssumeRole", "AssumeRoleWithWebIdentity", "AssumeRoleWithSAML", "GetSessionToken", "GetFederationToken")
_TRAIL = ("cloudtrail:LookupEvents",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionIn:
    """A session, by its key id (ASIA…)."""

    credential: Credential


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionBefore(Before):
    """Of which role or user it is, who opened it and until when it lives ('' where CloudTrail does not tell).

    ``subject``: the ``sub`` of the id-token that opened it. ``held``: what stands at its role or user, while it lives.
    """

    role: str = material(default="")
    user: str = material(default="")
    by_identity: bool = False
    subject: str = ""
    opened: str = ""
    until: str = ""
    held: SessionsBefore | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOutcome(Outcome):
    """``cutoff``: sessions from before it are denied everything; '' when it was dead already."""

    cutoff: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityIn:
    """The ``sub`` of a job's id-tokens, and the first moment at which somebody else could have asked for one."""

    subject: str
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityOutcome(Outcome):
    """``opened``: the key ids of the sessions that tokens of this identity have opened."""

    opened: tuple[str, ...] = ()


def _tried(world: World, key: str, key_id: str) -> tuple[bool | None, str]:
    """Whether AWS takes the session itself (None: it is not held whole), and what it says: a code, or its ARN."""
    secret = world.secrets.of(key)
    token = world.secrets.open(world.secrets.ref(f"session-token:{key}"))
    if secret is None or token is None:
        return None, "its secret and token are not held"
    try:
        with aws_errors(f"try {key_id}"):
            return True, str(world.aws.client_as("sts", key_id, secret, token).get_caller_identity()["Arn"])
    except Refused as exc:
        return (None if exc.code == "SignatureDoesNotMatch" else False), exc.code
    except Forbidden as exc:
        return True, exc.code


def _opened(world: World, key_id: str) -> aws_trail.Call | None:
    """The call that opened a session, as CloudTrail tells it."""
    until = aws_iam.now(world) + timedelta(seconds=1)
    since = until - timedelta(days=aws_trust.TRAIL_DAYS)
    calls = aws_trail.lookup(world, "ResourceName", key_id, since, until)
    return next((call for call in calls if call.name in OPENS and call.made_key == key_id), None)


def _holder(call: aws_trail.Call | None, arn: str) -> tuple[str, str]:
    """Role and user, one of them '': by CloudTrail, or by the ARN that a live session is answered with."""
    if call is not None:
        return (call.role, "") if call.role else ("", call.actor)
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    return rest.partition("/")[0] if kind == "assumed-role" else "", rest if kind == "user" else ""


def _look(world: World, given: SessionIn) -> SessionBefore:
    key_id = given.credential.id
    alive, said = _tried(world, given.credential.key, key_id)
    call = _opened(world, key_id)
    role, user = _holder(call, said)
    over = call is not None and aws_iam.now(world) >= call.until
    needed = alive is not False and not over
    held = None
    if needed and (role or user):
        holder: Holder = "role" if role else "user"
        held = aws_sessions.look(world, holder, role or user)
    web = call is not None and call.name == "AssumeRoleWithWebIdentity"
    until = aws_iam.iso(call.until) if call else ""
    state = said if alive is None else "AWS still takes it" if alive else f"AWS refuses it: {said}"
    whose = f"role {role}" if role else f"user {user}" if user else "nobody that CloudTrail tells of yet"
    by = f", opened with an id-token of {call.actor}" if call is not None and web else ""
    end = f"; it ends by itself at {until}" if needed and until else f"; it ended at {until}" if until and over else ""
    return SessionBefore(
        needed=needed, cuts_own=bool(held and held.cuts_own), role=role, user=user, by_identity=web,
        subject=call.actor if call is not None and web else "", opened=aws_iam.iso(call.at) if call else "",
        until=until, held=held, summary=f"{key_id} is a session of {whose}{by}: {state}{end}",
    )  # fmt: skip


def _end(world: World, given: SessionIn, before: SessionBefore) -> SessionOutcome:
    key_id = given.credential.id
    if not before.needed:
        return SessionOutcome(changed=False, summary=f"{key_id} is dead already, and nothing had to be cut")
    if before.held is None:
        raise Conflict(
            f"{key_id} may live, and nothing tells whose session it is: CloudTrail is minutes late, so retry then; or "
            "report it with its secret and token, which AWS can be asked with"
        )
    holder: Holder = "role" if before.role else "user"
    done = aws_sessions.deny(world, holder, before.role or before.user, "", before.held)
    return SessionOutcome(changed=done.changed, cutoff=done.cutoff, summary=f"{key_id} is denied: {done.summary}")


def _prove(world: World, given: SessionIn, before: SessionBefore, out: SessionOutcome) -> Proof:
    key_id = given.credential.id
    alive, said = _tried(world, given.credential.key, key_id)
    if alive is False:
        return Proof.proven(Grade.REFUSED, f"AWS refuses {key_id}: {said}")
    if before.until and aws_iam.now(world) >= aws_iam.parse(before.until):
        if alive:
            return Proof.refuted(f"{key_id} should have ended at {before.until}, and AWS still takes it")
        return Proof.proven(Grade.STATE, f"CloudTrail shows that {key_id} ended at {before.until}")
    if before.held is None or not out.cutoff:
        return Proof.not_yet(f"{key_id} may still live", retry_after=LOOK_AGAIN_S)
    holder: Holder = "role" if before.role else "user"
    done = aws_sessions.SessionsOutcome(changed=out.changed, cutoff=out.cutoff)
    return aws_sessions.prove(world, holder, before.role or before.user, "", before.held, done)


def _undo(world: World, _given: SessionIn, before: SessionBefore, out: SessionOutcome) -> Outcome:
    if before.held is None:
        return Outcome(changed=False, summary="Nothing was cut")
    holder: Holder = "role" if before.role else "user"
    done = aws_sessions.SessionsOutcome(changed=out.changed, cutoff=out.cutoff)
    return aws_sessions.undo(world, holder, before.role or before.user, before.held, done)


def _breaks(before: SessionBefore) -> Breaks:
    if not before.needed:
        return Breaks()
    who = f"role {before.role}" if before.role else f"user {before.user}"
    return Breaks(stops=(f"every session of {who} that is open now; a new one works",), unknown=before.held is None)


def _sessions(world: World, given: IdentityIn) -> list[aws_trail.Call]:
    """Every session that tokens with this subject have opened since."""
    until = aws_iam.now(world) + timedelta(seconds=1)
    since = aws_iam.parse(given.since).replace(microsecond=0)
    calls = aws_trail.lookup(world, "Username", given.subject, since, until)
    return [call for call in calls if call.name == "AssumeRoleWithWebIdentity"]


def _look_identity(_world: World, given: IdentityIn) -> Before:
    return Before(summary=f"which sessions tokens of {given.subject} have opened since {given.since}")


def _list(world: World, given: IdentityIn, _before: Before) -> IdentityOutcome:
    calls = _sessions(world, given)
    said = "; ".join(f"{c.made_key} of role {c.role}, until {aws_iam.iso(c.until)}" for c in calls) or "none"
    opened = tuple(c.made_key for c in calls)
    return IdentityOutcome(changed=False, opened=opened, summary=f"opened by tokens of {given.subject}: {said}")


def _prove_over(world: World, given: IdentityIn, _before: Before, out: IdentityOutcome) -> Proof:
    """Each is over, or denied by the policy at its role. One that came after the list is of a job that ran since."""
    now, calls = aws_iam.now(world), _sessions(world, given)
    alive = [c for c in calls if now < c.until and not _denied(world, c.role, c.at)]
    if late := [c for c in alive if c.made_key not in out.opened]:
        said = ", ".join(f"{c.made_key} of role {c.role}, at {aws_iam.iso(c.at)}" for c in late)
        return Proof.refuted(f"tokens of {given.subject} have opened more since: {said}; did that job print it too?")
    if alive:
        last = aws_iam.iso(max(c.until for c in alive))
        return Proof.not_yet(f"{len(alive)} of these sessions can act until {last}", retry_after=LOOK_AGAIN_S)
    said = f"since {given.since} tokens of {given.subject} have opened {len(calls)}, and each is over or denied"
    return Proof.proven(Grade.STATE, f"CloudTrail shows that {said}")


def _denied(world: World, role: str, at: datetime) -> bool:
    cutoff = aws_sessions.cutoff_in(aws_iam.inline_policy(world, "role", role, aws_sessions.POLICY))
    return cutoff is not None and at < cutoff


end_session = Action(
    name="aws.end_session",
    title="End a session that leaked",
    inputs=SessionIn, before=SessionBefore, outcome=SessionOutcome, effect=Effect.CONTAIN,
    look=_look, run=_end, prove=_prove, undo=_undo, breaks=_breaks,
    kills=lambda given: given.credential.key,
    proof_deadline=LONGEST_S,
    permissions=(*_TRAIL, *aws_sessions.permissions("Role"), *aws_sessions.permissions("User")),
)  # fmt: skip

confirm_identity_over = Action(
    name="aws.confirm_identity_over",
    title="Confirm that every session a job's identity opened is over",
    inputs=IdentityIn, before=Before, outcome=IdentityOutcome, effect=Effect.READ,
    look=_look_identity, run=_list, prove=_prove_over,
    ends=lambda _given: ("sts-session", ""),
    undo_none="it only reads",
    proof_deadline=LONGEST_S,
    permissions=(*_TRAIL, "iam:GetRolePolicy"),
)  # fmt: skip
