"""STS of the range: who a request is, which sessions exist, and how new ones are minted.

Sources: the STS API Reference (limits, errors and "permissions" of each operation) and the IAM User Guide, "Compare
AWS STS credentials". A session remembers when it was issued and from what, to the millisecond.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import jwt

from bot.range import iam_policy
from bot.range.aws_wire import AwsError, Call
from bot.range.clock import RangeClock
from bot.range.issuer import OidcIssuer

ACCOUNT = "123456789012"
SECOND = "210987654321"  # of the same company, with roles that let the bot in
HOUR, USER_SESSION_MAX = 3600, 129600
# Claims of GitHub's token that STS knows as condition keys (since January 2026), besides aud and sub.
GITHUB_CLAIMS = (
    "actor", "actor_id", "job_workflow_ref", "repository", "repository_id", "workflow", "ref", "environment",
    "enterprise_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A user or a role as IAM knows it now. ``uid`` changes when it is deleted and made again."""

    kind: str  # user or role
    name: str
    arn: str
    uid: str
    trust: str = ""
    max_session_s: int = HOUR

    @property
    def account(self) -> str:
        return account_of(self.arn)


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTermKey:
    """An access key of a user."""

    user: str
    secret: str
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """An IAM OIDC provider."""

    arn: str
    audiences: list[str]


class Directory(Protocol):
    """What STS needs to know of IAM."""

    def user(self, name: str) -> Principal | None: ...
    def role(self, name: str) -> Principal | None: ...
    def key(self, key_id: str) -> LongTermKey | None: ...
    def provider(self, issuer: str) -> Provider | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Temporary credentials. ``kind``: user (GetSessionToken), federated, role or web."""

    key_id: str
    secret: str
    token: str
    kind: str
    owner: Principal
    name: str
    arn: str
    issued: float
    expires: float
    policy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who signed a request: an IAM user by its own key (``session`` is None) or by a session, or a role's session."""

    principal: Principal
    key_id: str
    secret: str
    session: Session | None = None

    @property
    def arn(self) -> str:
        return self.session.arn if self.session else self.principal.arn

    @property
    def account(self) -> str:
        return self.principal.account

    @property
    def user_id(self) -> str:
        if self.session is None or self.session.kind == "user":
            return self.principal.uid
        if self.session.kind == "federated":
            return f"{self.account}:{self.session.name}"
        return f"{self.principal.uid}:{self.session.name}"

    def context(self, now: float) -> dict[str, Any]:
        """The global condition keys of a request of this caller. Long-term keys have no aws:TokenIssueTime."""
        found: dict[str, Any] = {
            "aws:currenttime": iso(now), "aws:epochtime": str(int(now)), "aws:principalarn": self.principal.arn,
            "aws:principalaccount": self.account, "aws:userid": self.user_id, "aws:sourceip": "127.0.0.1",
            "aws:securetransport": "true",  # loopback stands for TLS
            "aws:principaltype": "User" if self.principal.kind == "user" else "AssumedRole",
        }  # fmt: skip
        if self.principal.kind == "user":
            found["aws:username"] = self.principal.name
        if self.session is not None:
            found["aws:tokenissuetime"] = iso(self.session.issued)
            found["aws:multifactorauthpresent"] = "false"
        return found


def account_of(arn: str) -> str:
    """The account that an ARN names."""
    return (arn.split(":") + [""] * 5)[4]


def iso(seconds: float) -> str:
    """A time as AWS writes it, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def access_key_id(prefix: str, account: str = ACCOUNT) -> str:
    """A key id that encodes the account, as those of AWS do since 2019."""
    number = ((int(account) << 7) | 1 << 47).to_bytes(6, "big")
    return prefix + base64.b32encode(number + secrets.token_bytes(4)).decode()


def account_in(key_id: str) -> str:
    """Back from a key id, as GetAccessKeyInfo tells it. Raises what AWS answers to what is no key id."""
    try:
        number = int.from_bytes(base64.b32decode(key_id[4:])[:6], "big")
    except ValueError:
        number = 0
    if not number >> 47:
        raise AwsError("ValidationError", f"{key_id[:40]} is no access key id", 400)
    return str((number & 0x7FFFFFFFFF80) >> 7).zfill(12)


def _drawn(count: int) -> str:
    """So many random bytes in the alphabet of AWS's secrets and tokens."""
    return base64.b64encode(secrets.token_bytes(count)).decode()


class Sts:
    """The sessions, and the operations that make them. The authorization by identity policies is the caller's."""

    def __init__(self, clock: RangeClock, issuer: OidcIssuer, directories: Mapping[str, Directory]) -> None:
        """``directories``: the IAM of each account."""
        self._clock, self._issuer, self._directories = clock, issuer, directories
        self._sessions: dict[str, Session] = {}

    def values(self) -> list[str]:
        """The secret and the token of every session."""
        return [value for session in self._sessions.values() for value in (session.secret, session.token)]

    def reset(self) -> None:
        self._sessions.clear()

    def identify(self, call: Call) -> Caller:
        """Who a signed request's key belongs to. Raises what AWS answers to a key that is not, or no longer, good."""
        if not call.key_id:
            raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token")
        dead = AwsError("InvalidClientTokenId", "The security token included in the request is invalid.")
        for directory in self._directories.values():
            key = directory.key(call.key_id)
            if key is None:
                continue
            user = directory.user(key.user)
            if user is None or not key.active or call.session_token:
                raise dead
            return Caller(principal=user, key_id=call.key_id, secret=key.secret)
        session = self._sessions.get(call.key_id)
        if session is None:
            raise dead
        if not hmac.compare_digest(session.token.encode(), call.session_token.encode()):
            raise AwsError("InvalidSessionToken", "The security token included in the request is invalid")
        directory = self._directories[session.owner.account]
        look = directory.user if session.owner.kind == "user" else directory.role
        owner = look(session.owner.name)
        if owner is None or owner.uid != session.owner.uid:
            raise dead
        if self._clock.time() >= session.expires:
            raise AwsError("ExpiredToken", "The security token included in the request is expired")
        return Caller(principal=owner, key_id=call.key_id, secret=session.secret, session=session)

    def mint(self, *, kind: str, owner: Principal, name: str, arn: str, seconds: int, policy: str = "") -> Session:
        """A new session of a principal."""
        now = self._clock.time()
        made = Session(
            key_id=access_key_id("ASIA", owner.account), secret=_drawn(30), token=_drawn(240),
            kind=kind, owner=owner, name=name, arn=arn, issued=now, expires=now + seconds, policy=policy,
        )  # fmt: skip
        self._sessions[made.key_id] = made
        return made

    def get_session_token(self, caller: Caller, params: dict[str, Any]) -> tuple[Session, dict[str, Any]]:
        """36 h at most for a user (API Reference, GetSessionToken)."""
        seconds = _seconds(params, 43200, USER_SESSION_MAX)
        user = caller.principal
        made = self.mint(kind="user", owner=user, name=user.name, arn=user.arn, seconds=seconds)
        return made, {"Credentials": _credentials(made)}

    def get_federation_token(self, caller: Caller, params: dict[str, Any]) -> tuple[Session, dict[str, Any]]:
        """What the user and the session policy both allow; without a session policy nothing."""
        seconds = _seconds(params, 43200, USER_SESSION_MAX)
        name = str(params.get("Name", ""))
        if not 2 <= len(name) <= 32:
            raise AwsError("ValidationError", "Value at 'name' must have a length from 2 to 32", 400)
        made = self.mint(
            kind="federated", owner=caller.principal, name=name, seconds=seconds, policy=_session_policy(params),
            arn=f"arn:aws:sts::{caller.account}:federated-user/{name}",
        )  # fmt: skip
        who = {"FederatedUserId": f"{caller.account}:{name}", "Arn": made.arn}
        return made, {"Credentials": _credentials(made), "FederatedUser": who, "PackedPolicySize": 1}

    def assume_role(
        self, caller: Caller, params: dict[str, Any], permits: Callable[[str], iam_policy.Verdict]
    ) -> tuple[Session, dict[str, Any]]:
        """The role's trust policy and the caller's own policies decide together.

        Within one account a trust policy that names the caller itself is enough; one that names the account leaves
        it to the caller's policies. From another account both must allow it. An explicit deny on either side wins (IAM
        User Guide, "Policy evaluation logic" and "Cross-account policy evaluation logic").
        """
        arn = str(params.get("RoleArn", ""))
        role = self._role(arn)
        refused = AwsError(
            "AccessDenied", f"User: {caller.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        )
        own = permits(arn)
        if role is None or own == "deny":
            raise refused
        account = {f"arn:aws:iam::{caller.account}:root", caller.account}
        names = dict.fromkeys({caller.arn, caller.principal.arn} | account, "AWS")
        seconds = _seconds(params, HOUR, role.max_session_s, chained=_is_role(caller))
        context = caller.context(self._clock.time()) | _role_context(params)
        verdict, through = iam_policy.trust(role.trust, names, "sts:AssumeRole", context)
        abroad = role.account != caller.account
        if verdict != "allow" or ((abroad or through <= account) and own != "allow"):
            raise refused
        return self._role_session("role", role, params, seconds)

    def assume_role_with_web_identity(
        self, params: dict[str, Any]
    ) -> tuple[dict[str, Any], Provider, Session, dict[str, Any]]:
        """The token's claims, its provider, the session and the answer. The token is checked before the trust."""
        arn = str(params.get("RoleArn", ""))
        role = self._role(arn)
        directory = self._directories.get(account_of(arn), self._directories[ACCOUNT])
        claims, provider = self._claims(str(params.get("WebIdentityToken", "")), directory)
        host = self._issuer.issuer.removeprefix("https://")
        keys = {name: claims[name] for name in ("sub", "aud", *GITHUB_CLAIMS) if name in claims}
        context = {f"{host}:{name}".lower(): value for name, value in keys.items()} | _role_context(params)
        context |= {"aws:currenttime": iso(self._clock.time()), "aws:securetransport": "true"}
        action = "sts:AssumeRoleWithWebIdentity"
        names = {provider.arn: "Federated"}
        if role is None or iam_policy.trust(role.trust, names, action, context)[0] != "allow":
            raise AwsError("AccessDenied", f"Not authorized to perform {action}")
        seconds = _seconds(params, HOUR, role.max_session_s)
        made, result = self._role_session("web", role, params, seconds)
        result |= {
            "SubjectFromWebIdentityToken": claims["sub"], "Audience": str(claims["aud"]), "Provider": provider.arn,
        }  # fmt: skip
        return claims, provider, made, result

    def _claims(self, token: str, directory: Directory) -> tuple[dict[str, Any], Provider]:
        provider = directory.provider(self._issuer.issuer)
        try:
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
            if provider is None or issuer != self._issuer.issuer:
                raise AwsError(
                    "InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {issuer}", 400
                )
            return self._issuer.verify(token, provider.audiences), provider
        except jwt.ExpiredSignatureError:
            raise AwsError("ExpiredTokenException", "Token expired: it must be used before its exp", 400) from None
        except jwt.InvalidAudienceError:
            raise AwsError("InvalidIdentityToken", "Incorrect token audience", 400) from None
        except jwt.InvalidTokenError as exc:
            said = f"Couldn't verify the token ({type(exc).__name__})"
        raise AwsError("InvalidIdentityToken", said, 400)

    def _role(self, arn: str) -> Principal | None:
        directory = self._directories.get(account_of(arn))
        role = directory.role(arn.rsplit("/", 1)[-1]) if directory else None
        return role if role is not None and role.arn == arn else None

    def _role_session(
        self, kind: str, role: Principal, params: dict[str, Any], seconds: int
    ) -> tuple[Session, dict[str, Any]]:
        name = str(params.get("RoleSessionName", ""))
        if not 2 <= len(name) <= 64:
            raise AwsError("ValidationError", "Value at 'roleSessionName' must have a length from 2 to 64", 400)
        made = self.mint(
            kind=kind, owner=role, name=name, seconds=seconds, policy=_session_policy(params),
            arn=f"arn:aws:sts::{role.account}:assumed-role/{role.name}/{name}",
        )  # fmt: skip
        who = {"AssumedRoleId": f"{role.uid}:{name}", "Arn": made.arn}
        return made, {"Credentials": _credentials(made), "AssumedRoleUser": who}


def _is_role(caller: Caller) -> bool:
    return caller.principal.kind == "role"


def _role_context(params: dict[str, Any]) -> dict[str, Any]:
    known = {"RoleSessionName": "sts:rolesessionname", "ExternalId": "sts:externalid"}
    found = {key: str(params[name]) for name, key in known.items() if name in params}
    return found | {"sts:durationseconds": str(params.get("DurationSeconds", HOUR))}


def _session_policy(params: dict[str, Any]) -> str:
    policy = str(params.get("Policy", ""))
    try:
        sound = not policy or "Statement" in json.loads(policy)
    except (ValueError, TypeError):
        sound = False
    if not sound:
        raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.", 400)
    return policy


def _seconds(params: dict[str, Any], default: int, longest: int, *, chained: bool = False) -> int:
    given = str(params.get("DurationSeconds", min(default, longest)))
    if not given.isdigit():
        raise AwsError("ValidationError", f"Value '{given}' at 'durationSeconds' is not a number", 400)
    seconds = int(given)
    if seconds < 900:
        raise AwsError(
            "ValidationError",
            f"1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: "
            "Member must have value greater than or equal to 900",
            400,
        )
    if chained and seconds > HOUR:
        said = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        raise AwsError("ValidationError", said, 400)
    if seconds > longest:
        said = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        if longest == USER_SESSION_MAX:
            said = f"Value '{seconds}' at 'durationSeconds' must have value less than or equal to {longest}"
        raise AwsError("ValidationError", said, 400)
    return seconds


def _credentials(session: Session) -> dict[str, Any]:
    return {
        "AccessKeyId": session.key_id, "SecretAccessKey": session.secret, "SessionToken": session.token,
        "Expiration": iso(session.expires),
    }  # fmt: skip
