"""Google Cloud as far as a leaked service-account key reaches: OAuth's token endpoint, IAM, and one bucket of storage.

On Google's side these are several hosts; here they are one server, and no two paths meet. What is enforced, and where
it is written down:

- A key signs a JWT (RFC 7523) that buys an access token for an hour at most; or it signs one for a single API, which
  buys nothing (developers.google.com/identity/protocols/oauth2/service-account; google.aip.dev/auth/4111).
- A key that is disabled or deleted signs nothing more; the tokens that it has bought live on.
- A disabled account: "existing access tokens are rejected", and "after you re-enable the service account, its existing
  access tokens will be accepted" (IAM REST reference, serviceAccounts.disable).
- Every call of IAM needs its permission; who lacks it is not told whether the thing is there.
"""

from __future__ import annotations

import functools
import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bot.range.served import Asked, Handler, Problem, Said, Served

PROJECT, BUCKET = "harbor-lights-prod", "harbor-lights-cargo"
TOKEN_AUDIENCE, IAM_AUDIENCE = "https://oauth2.googleapis.com/token", "https://iam.googleapis.com/"
STORAGE_AUDIENCE = "https://storage.googleapis.com/"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
HOUR_S, SKEW_S = 3600, 300  # a token's life; how far clocks may differ
SCOPE = "https://www.googleapis.com/auth/"
WIDE = f"{SCOPE}cloud-platform"
SCOPES = {WIDE, f"{SCOPE}iam", f"{SCOPE}userinfo.email", f"{SCOPE}devstorage.read_only"}
_TIME = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp "
    "values in the JWT claim."
)
_WHO = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential."
)
_ACCOUNT = r"/v1/projects/(?P<project>[^/:]+)/serviceAccounts/(?P<email>[^/:]+)"
_KEY = rf"{_ACCOUNT}/keys/(?P<key>[^/:]+)"


@dataclass(slots=True, kw_only=True)
class Key:
    """A user-managed key: Google keeps its public half."""

    id: str
    public: Any = field(repr=False)
    made_at: datetime
    disabled: bool = False


@dataclass(slots=True, kw_only=True)
class Account:
    """A service account, and what its roles let it do in this project."""

    email: str
    description: str = ""
    permissions: frozenset[str] = frozenset()
    roles: tuple[str, ...] = ()
    disabled: bool = False
    keys: dict[str, Key] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"projects/{PROJECT}/serviceAccounts/{self.email}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """What a key has bought."""

    email: str
    scopes: frozenset[str]
    ends: float


def key_file(account: Account, key_id: str, pem: str) -> str:
    """The file that the console hands out once."""
    return json.dumps({
        "type": "service_account", "project_id": PROJECT, "private_key_id": key_id, "private_key": pem,
        "client_email": account.email, "client_id": "1" + "0" * 20,
        "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": TOKEN_AUDIENCE,
        "universe_domain": "googleapis.com",
    }, indent=2)  # fmt: skip


@functools.cache
def _pair(email: str) -> tuple[str, Any]:
    """A private key and its public half. Making one takes a tenth of a second, so a process makes one an account."""
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    plain = serialization.NoEncryption()
    pem = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
    return pem, made.public_key()


def _refused(status: int, word: str, message: str, reason: str = "") -> Problem:
    """An error as Google's APIs give it (google.rpc.Status; reasons: google.api.ErrorReason)."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
    details = {"details": [info]} if reason else {}
    return Problem(status, {"error": {"code": status, "message": message, "status": word, **details}})


def _no_token(error: str, why: str) -> Problem:
    """An error of the token endpoint (RFC 6749, 5.2). It changes nothing."""
    return Problem(400, {"error": error, "error_description": why}, reads=True)


class Gcp(Served):
    """Accounts, keys, tokens, and the objects of one bucket."""

    name: ClassVar[str] = "gcp"

    def reset(self) -> None:
        with self.lock:
            self.accounts: dict[str, Account] = {}
            self.tokens: dict[str, AccessToken] = {}
            self.objects: dict[str, bytes] = {}
            self._files: list[str] = []

    # what an administrator does

    def add_account(self, name: str, *, permissions: Iterable[str] = (), roles: tuple[str, ...] = ()) -> Account:
        email = f"{name}@{PROJECT}.iam.gserviceaccount.com"
        made = Account(email=email, permissions=frozenset(permissions), roles=roles)
        with self.lock:
            self.accounts[email] = made
        return made

    def add_key(self, account: Account) -> str:
        """A new key of an account; returns its file, which is handed out once."""
        pem, public = _pair(account.email)
        with self.lock:
            # Not drawn, so that the same moves in another company lead to the same address.
            name = hashlib.sha256(f"{account.email} {len(self._files)}".encode()).hexdigest()[:40]
            key = Key(id=name, public=public, made_at=self.clock.now())
            account.keys[key.id] = key
            self._files.append(pem)
        return key_file(account, key.id, pem)

    # for the range itself

    def values(self) -> list[str]:
        """Every secret that it knows."""
        with self.lock:
            return [*self._files, *self.tokens]

    def snapshot(self) -> dict[str, Any]:
        """What matters for comparing end states: no ids, no times, no secrets."""
        with self.lock:
            return {
                account.email: {
                    "disabled": account.disabled,
                    "keys": sorted("disabled" if key.disabled else "enabled" for key in account.keys.values()),
                }
                for account in self.accounts.values()
            }  # fmt: skip

    # who is it

    def _signed(self, assertion: str, audiences: set[str]) -> tuple[Account, dict[str, Any]]:
        """The account whose enabled key has signed a JWT. Raises a problem of the token endpoint."""
        try:
            head, claims = jwt.get_unverified_header(assertion), _claims(assertion)
        except jwt.InvalidTokenError:
            raise _no_token("invalid_grant", "Bad Request") from None
        account = self.accounts.get(str(claims.get("iss", "")))
        if account is None or account.disabled:
            raise _no_token("invalid_grant", "Invalid grant: account not found")
        signers = [key for key in account.keys.values() if not key.disabled and head.get("kid") in (None, key.id)]
        if head.get("alg") != "RS256" or not any(_verifies(assertion, key.public) for key in signers):
            raise _no_token("invalid_grant", "Invalid JWT Signature.")
        now, begun, ends = self.clock.time(), _seconds(claims.get("iat")), _seconds(claims.get("exp"))
        timely = begun - SKEW_S <= now < ends + SKEW_S and 0 < ends - begun <= HOUR_S
        if not timely:
            raise _no_token("invalid_grant", _TIME)
        if claims.get("aud") not in audiences:
            raise _no_token("invalid_grant", "Failed audience check.")
        return account, claims

    def _caller(self, asked: Asked, audience: str, *scopes: str) -> Account:
        """Who asks an API, by an access token or by a JWT for this API alone. Raises 401, or 403 for the scope."""
        scheme, _, value = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not value:
            raise _refused(401, "UNAUTHENTICATED", _WHO, "CREDENTIALS_MISSING")
        if value.count(".") == 2 and value.startswith("eyJ"):
            try:
                return self._signed(value, {audience})[0]
            except Problem:
                raise _refused(401, "UNAUTHENTICATED", _WHO) from None
        token = self._live(value)
        if token is None:
            raise _refused(401, "UNAUTHENTICATED", _WHO, "ACCESS_TOKEN_EXPIRED")
        account = self.accounts.get(token.email)
        if account is None or account.disabled:
            raise _refused(401, "UNAUTHENTICATED", _WHO, "ACCOUNT_STATE_INVALID")
        if not token.scopes & {WIDE, *scopes}:
            why = "Request had insufficient authentication scopes."
            raise _refused(403, "PERMISSION_DENIED", why, "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
        return account

    def _live(self, value: str) -> AccessToken | None:
        token = self.tokens.get(value)
        return token if token is not None and self.clock.time() < token.ends else None

    def _may(self, asked: Asked, permission: str) -> Account:
        """The account that a path names, for a caller who may. Raises 403, also for one that is not there."""
        caller, named = self._caller(asked, IAM_AUDIENCE, f"{SCOPE}iam"), asked.words["email"]
        account = self.accounts.get(named)
        wrong = asked.words["project"] not in ("-", PROJECT)
        if permission not in caller.permissions:
            why = f"Permission '{permission}' denied on resource (or it may not exist)."
            raise _refused(403, "PERMISSION_DENIED", why, "IAM_PERMISSION_DENIED")
        if account is None or wrong:
            raise _refused(404, "NOT_FOUND", f"Unknown service account: {named}")
        return account

    def _key(self, asked: Asked, permission: str) -> tuple[Account, Key]:
        account = self._may(asked, permission)
        key = account.keys.get(asked.words["key"])
        if key is None:
            raise _refused(404, "NOT_FOUND", f"Service account key {asked.words['key']} does not exist.")
        return account, key

    # OAuth

    def _token(self, asked: Asked) -> Any:
        form = asked.form
        if form.get("grant_type") != GRANT:
            raise _no_token("unsupported_grant_type", "Invalid grant_type")
        account, claims = self._signed(form.get("assertion", ""), {TOKEN_AUDIENCE, f"{self.base_url}/token"})
        scopes = frozenset(str(claims.get("scope", "")).split())
        if not scopes or not scopes <= SCOPES:
            raise _no_token("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        value = "ya29.c." + secrets.token_urlsafe(120)
        self.tokens[value] = AccessToken(email=account.email, scopes=scopes, ends=self.clock.time() + HOUR_S)
        return Said({"access_token": value, "expires_in": HOUR_S - 1, "token_type": "Bearer"}, reads=True)

    def _tokeninfo(self, asked: Asked) -> Any:
        token = self._live(asked.query.get("access_token", ""))
        if token is None or self.accounts[token.email].disabled:
            raise Problem(400, {"error": "invalid_token", "error_description": "Invalid Value"})
        left = str(int(token.ends - self.clock.time()))
        return {"email": token.email, "scope": " ".join(sorted(token.scopes)), "expires_in": left}

    # IAM

    def _account_get(self, asked: Asked) -> Any:
        account = self._may(asked, "iam.serviceAccounts.get")
        said = {"name": account.name, "projectId": PROJECT, "email": account.email, "oauth2ClientId": "1" + "0" * 20}
        return said | ({"disabled": True} if account.disabled else {})

    def _account_disable(self, asked: Asked) -> Any:
        self._may(asked, "iam.serviceAccounts.disable").disabled = True
        return {}

    def _account_enable(self, asked: Asked) -> Any:
        self._may(asked, "iam.serviceAccounts.enable").disabled = False
        return {}

    def _keys(self, asked: Asked) -> Any:
        account = self._may(asked, "iam.serviceAccountKeys.list")
        return {"keys": [_shown(account, key) for key in account.keys.values()]}

    def _key_get(self, asked: Asked) -> Any:
        return _shown(*self._key(asked, "iam.serviceAccountKeys.get"))

    def _key_disable(self, asked: Asked) -> Any:
        self._key(asked, "iam.serviceAccountKeys.disable")[1].disabled = True
        return {}

    def _key_enable(self, asked: Asked) -> Any:
        self._key(asked, "iam.serviceAccountKeys.enable")[1].disabled = False
        return {}

    def _key_delete(self, asked: Asked) -> Any:
        account, key = self._key(asked, "iam.serviceAccountKeys.delete")
        del account.keys[key.id]
        return {}

    def _policy(self, asked: Asked) -> Any:
        """Cloud Resource Manager's projects.getIamPolicy: a POST that reads."""
        caller = self._caller(asked, "https://cloudresourcemanager.googleapis.com/")
        if "resourcemanager.projects.getIamPolicy" not in caller.permissions or asked.words["project"] != PROJECT:
            raise _refused(403, "PERMISSION_DENIED", "The caller does not have permission", "IAM_PERMISSION_DENIED")
        members: dict[str, list[str]] = {}
        for account in self.accounts.values():
            for role in account.roles:
                members.setdefault(role, []).append(f"serviceAccount:{account.email}")
        bindings = [{"role": role, "members": names} for role, names in sorted(members.items())]
        return Said({"version": 1, "bindings": bindings}, reads=True)

    # Cloud Storage

    def _objects(self, asked: Asked) -> Any:
        caller = self._caller(asked, STORAGE_AUDIENCE, f"{SCOPE}devstorage.read_only")
        if "storage.objects.list" not in caller.permissions or asked.words["bucket"] != BUCKET:
            raise _refused(403, "PERMISSION_DENIED", f"{caller.email} does not have storage.objects.list access.")
        return {"kind": "storage#objects", "items": [{"name": name, "bucket": BUCKET} for name in sorted(self.objects)]}

    def _object(self, asked: Asked) -> Any:
        caller = self._caller(asked, STORAGE_AUDIENCE, f"{SCOPE}devstorage.read_only")
        if "storage.objects.get" not in caller.permissions or asked.words["bucket"] != BUCKET:
            raise _refused(403, "PERMISSION_DENIED", f"{caller.email} does not have storage.objects.get access.")
        data = self.objects.get(asked.words["object"])
        if data is None:
            raise _refused(404, "NOT_FOUND", "No such object")
        return data

    routes: ClassVar[tuple[tuple[str, str, Handler], ...]] = (
        ("POST", r"/token", _token),
        ("GET", r"/tokeninfo", _tokeninfo),
        ("GET", _ACCOUNT, _account_get),
        ("POST", rf"{_ACCOUNT}:disable", _account_disable),
        ("POST", rf"{_ACCOUNT}:enable", _account_enable),
        ("GET", rf"{_ACCOUNT}/keys", _keys),
        ("GET", _KEY, _key_get),
        ("POST", rf"{_KEY}:disable", _key_disable),
        ("POST", rf"{_KEY}:enable", _key_enable),
        ("DELETE", _KEY, _key_delete),
        ("POST", r"/v1/projects/(?P<project>[^/:]+):getIamPolicy", _policy),
        ("GET", r"/storage/v1/b/(?P<bucket>[^/]+)/o", _objects),
        ("GET", r"/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<object>[^/]+)", _object),
    )


def _shown(account: Account, key: Key) -> dict[str, Any]:
    said = {
        "name": f"{account.name}/keys/{key.id}", "validAfterTime": key.made_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "validBeforeTime": "9999-12-31T23:59:59Z", "keyAlgorithm": "KEY_ALG_RSA_2048", "keyOrigin": "GOOGLE_PROVIDED",
        "keyType": "USER_MANAGED",
    }  # fmt: skip
    return said | ({"disabled": True, "disableReason": "USER_INITIATED"} if key.disabled else {})


def _claims(assertion: str) -> dict[str, Any]:
    """What a JWT says, whoever signed it."""
    found: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
    return found


def _verifies(assertion: str, public: Any) -> bool:
    """Whether this key has signed it. Times and audience are judged by the range's clock, elsewhere."""
    try:
        jwt.decode(
            assertion, public, algorithms=["RS256"],
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False},
        )  # fmt: skip
    except jwt.InvalidTokenError:
        return False
    return True


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
