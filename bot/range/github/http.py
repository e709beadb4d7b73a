"""How GitHub's API answers: who calls, what they may do, rate limits, pages, errors."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import jwt

from bot.range.github.nouns import ROLES, Account, App, Org, Repo, Token
from bot.range.github.state import State

DOCS = "https://docs.github.com/rest"
VERSIONS = ("2022-11-28", "2026-03-10")

# Role that a user needs for an App permission on a repository (docs.github.com/rest, each endpoint's own words)
_ROLE_FOR = {
    "metadata:read": "read", "contents:read": "read", "actions:read": "read", "pull_requests:read": "read",
    "attestations:read": "read",
    "issues:read": "read", "issues:write": "read", "pull_requests:write": "read",
    "secret_scanning_alerts:read": "admin", "secret_scanning_alerts:write": "admin",
    "repository_advisories:read": "admin", "repository_advisories:write": "admin",
    "administration:read": "admin", "administration:write": "admin", "environments:write": "admin",
    "webhooks:read": "admin", "webhooks:write": "admin",
}  # fmt: skip
_PUBLIC_READS = {
    "metadata:read", "contents:read", "actions:read", "pull_requests:read", "issues:read", "attestations:read",
}  # fmt: skip
# Scopes by which a classic token may use a permission on an organization, where it is not admin:org
_ORG_SCOPES = {
    "organization_hooks": ("admin:org_hook",), "secret_scanning_alerts": ("repo", "security_events"),
}  # fmt: skip
_LIMITS = {"anonymous": 60, "job": 1000}


class Problem(Exception):
    """An answer that is an error."""

    def __init__(
        self, status: int, message: str, *, errors: Sequence[Any] | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.errors, self.headers = status, message, errors, headers or {}

    def body(self) -> dict[str, Any]:
        errors = {} if self.errors is None else {"errors": list(self.errors)}
        return {"message": self.message, **errors, "documentation_url": DOCS, "status": str(self.status)}


def not_found() -> Problem:
    return Problem(404, "Not Found")


def invalid(resource: str, name: str, code: str = "invalid", message: str = "") -> Problem:
    """422 in GitHub's usual form."""
    row = {"resource": resource, "field": name, "code": code, **({"message": message} if message else {})}
    return Problem(422, "Validation Failed", errors=[row])


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer other than 200 with JSON. ``body`` is encoded as JSON unless it is bytes or None."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. ``token`` is None for nobody and for an App that shows its JWT."""

    kind: str  # anonymous, classic, fine, installation, job, app
    account: Account | None = None
    token: Token | None = None
    app: App | None = None

    @property
    def bucket(self) -> str:
        """Whose rate limit this is: a user's, an installation's, a job's repository's, nobody's."""
        if self.token and self.token.installation:
            return f"installation:{self.token.installation.id}"
        if self.kind == "job" and self.token:
            return f"job:{','.join(sorted(self.token.repositories or ()))}"
        return f"user:{self.account.login}" if self.account else self.kind

    @property
    def limit(self) -> int:
        return _LIMITS.get(self.kind, 5000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operation. ``needs`` is an App permission ("actions:write"), "" for everybody, "user", "app" or "token"."""

    method: str
    path: str
    handle: Callable[[Call], Any]
    needs: str = "metadata:read"


@dataclass(slots=True, kw_only=True)
class Call:
    """One request: what was asked, by whom, and the state to answer from."""

    state: State
    caller: Caller
    op: Op
    method: str
    path: str
    params: dict[str, str]
    query: dict[str, str]
    accept: str
    body: Any
    base: str
    version: str
    headers: dict[str, str] = field(default_factory=dict)  # of the answer

    @property
    def repo(self) -> Repo:
        """The repository of the path. Raises 404 as well when the caller may not know of it."""
        found = self.state.repos.get(f"{self.params['owner']}/{self.params['repo']}")
        if found is None or not self.can_see(found):
            raise not_found()
        return found

    @property
    def org(self) -> Org:
        try:
            return self.state.orgs[self.params["org"]]
        except KeyError:
            raise not_found() from None

    def can_see(self, repo: Repo) -> bool:
        """GitHub hides a private repository behind a 404 from whoever may not read it."""
        if not repo.private:
            return True
        token = self.caller.token
        if token is None or not _selected(token, repo):
            return False
        if token.kind in ("installation", "job"):
            return True
        if token.kind == "classic" and "repo" not in token.scopes:
            return False
        return self.state.role(self.caller.account, repo) != "none"

    def authorize(self) -> None:
        """Raise 401, 403 or 404 unless the caller may use this operation."""
        needs = self.op.needs
        if needs == "app":
            if self.caller.app is None:
                raise Problem(401, "A JSON web token could not be decoded")
            return
        if self.caller.app is not None:
            raise Problem(401, "Bad credentials")
        if not needs:
            return
        if needs in ("user", "token"):
            if self.caller.token is None:
                raise Problem(401, "Requires authentication")
            if needs == "user" and self.caller.kind in ("installation", "job"):
                raise Problem(403, "Resource not accessible by integration")
        elif "repo" in self.params:
            self.require(needs)
        elif "org" in self.params:
            self._require_org(needs)

    def require(self, needs: str) -> None:
        """The caller must hold this permission on the path's repository."""
        if needs == "logs:read":  # logs of a public repository are for everybody who is signed in
            if self.caller.token is None:
                self.repo  # noqa: B018 hides what is private first
                raise Problem(403, "Must have admin rights to Repository.")
            needs = "actions:read"
        repo, token, public = self.repo, self.caller.token, needs in _PUBLIC_READS
        if token is None:
            if public:
                return
            raise Problem(401, "Requires authentication")
        org = self.state.orgs.get(repo.owner.login)
        if org and token.value in org.shut_out and not (public and not repo.private):
            said = "Resource protected by organization SAML enforcement. You must grant your Personal Access token "
            headers = {"x-github-sso": f"required; url={self.base}/orgs/{repo.owner.login}/sso"}
            raise Problem(403, said + "access to this organization.", headers=headers)
        if token.kind == "classic":
            wanted = "workflow" if needs.startswith("workflows:") else "repo"
            held = token.scopes | ({"repo"} if "public_repo" in token.scopes and not repo.private else set())
            if not public and wanted not in held:
                raise Problem(403, "Must have admin rights to Repository.", headers={"x-accepted-oauth-scopes": wanted})
        elif not (public and not repo.private) and not (_selected(token, repo) and _covers(token.permissions, needs)):
            self._lacking(needs)
        if token.kind in ("classic", "fine"):
            role = _ROLE_FOR.get(needs, "write")
            if ROLES.index(self.state.role(self.caller.account, repo)) < ROLES.index(role):
                raise Problem(403, "Must have admin rights to Repository.")

    def _require_org(self, needs: str) -> None:
        org, token = self.org, self.caller.token
        if needs == "metadata:read":
            return
        if token is None:
            raise Problem(401, "Requires authentication")
        wanted = _ORG_SCOPES.get(needs.partition(":")[0], ("admin:org",))
        if token.kind == "classic" and not token.scopes & set(wanted):
            said = {"x-accepted-oauth-scopes": ", ".join(wanted)}
            raise Problem(403, "Must be an organization owner.", headers=said)
        if token.kind != "classic" and not _covers(token.permissions, needs):
            self._lacking(needs)
        login = self.caller.account.login if self.caller.account else ""
        if token.kind in ("classic", "fine") and org.members.get(login) != "admin":
            raise not_found()

    def _lacking(self, needs: str) -> None:
        kind = "personal access token" if self.caller.kind == "fine" else "integration"
        raise Problem(
            403, f"Resource not accessible by {kind}",
            headers={"x-accepted-github-permissions": needs.replace(":", "=")},
        )  # fmt: skip

    def field(self, name: str, kind: type = str) -> Any:
        """A required member of the body. Raises 422 without it."""
        value = self.body.get(name) if isinstance(self.body, dict) else None
        if not isinstance(value, kind):
            raise Problem(422, f"Invalid request.\n\n{name!r} wasn't supplied.", errors=[{"field": name}])
        return value

    def number(self, name: str) -> int:
        """A number of the path. Raises 404 for anything else."""
        try:
            return int(self.params[name])
        except ValueError:
            raise not_found() from None

    def page(self, rows: Iterable[Any]) -> list[Any]:
        """The page that was asked for (per_page up to 100, page from 1), with GitHub's Link header."""
        everything = list(rows)
        try:
            size = min(max(int(self.query.get("per_page", 30)), 1), 100)
            page = max(int(self.query.get("page", 1)), 1)
        except ValueError:
            raise Problem(422, "per_page and page must be numbers") from None
        last = max(math.ceil(len(everything) / size), 1)
        links = {"prev": page - 1 if page > 1 else 0, "next": page + 1 if page < last else 0}
        links |= {"last": last if page < last else 0, "first": 1 if page > 1 else 0}
        shown = [
            f'<{self.base}{self.path}?{urlencode({**self.query, "page": number})}>; rel="{rel}"'
            for rel, number in links.items() if number
        ]  # fmt: skip
        if shown:
            self.headers["link"] = ", ".join(shown)
        return everything[(page - 1) * size : page * size]

    def listing(self, name: str, rows: Iterable[Any], show: Callable[[Any], Any]) -> dict[str, Any]:
        """A page in GitHub's wrapped form: total_count and the rows."""
        everything = list(rows)
        return {"total_count": len(everything), name: [show(row) for row in self.page(everything)]}


def _selected(token: Token, repo: Repo) -> bool:
    if token.kind == "installation" and token.installation and token.installation.account is not repo.owner:
        return False
    return token.repositories is None or repo.full_name in token.repositories


def _covers(held: dict[str, str], needs: str) -> bool:
    name, level = needs.split(":")
    return held.get(name) in (("read", "write", "admin") if level == "read" else ("write", "admin"))


def identify(state: State, authorization: str) -> Caller:
    """Whose credential this is. Raises 401 for one that is unknown, revoked, expired or forged."""
    if not authorization:
        return Caller("anonymous")
    scheme, _space, value = authorization.partition(" ")
    value = value.strip()
    if scheme.lower() == "basic":
        try:
            value = base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            raise Problem(401, "Bad credentials") from None
    token = state.tokens.get(value)
    if token is None:
        if scheme.lower() == "bearer" and value.count(".") == 2 and value.startswith("eyJ"):
            return Caller("app", app=_app_of(state, value))
        raise Problem(401, "Bad credentials")
    if token.revoked or (token.expires_at is not None and state.clock.now() >= token.expires_at):
        raise Problem(401, "Bad credentials")
    if token.installation and token.installation.suspended_at:
        raise Problem(403, "This installation has been suspended")
    return Caller(token.kind, token.account, token)


def _app_of(state: State, assertion: str) -> App:
    """The App whose key signed a JWT (RS256, at most ten minutes; docs.github.com/apps, "Generating a JWT")."""
    try:
        claims = jwt.decode(assertion, options={"verify_signature": False})
        app = next(a for a in state.apps.values() if str(claims.get("iss")) in (str(a.id), a.client_id))
        jwt.decode(
            assertion, app.public_key, algorithms=["RS256"],
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )  # fmt: skip
        issued, ends = float(claims["iat"]), float(claims["exp"])
    except (jwt.InvalidTokenError, StopIteration, KeyError, TypeError, ValueError):
        raise Problem(401, "A JSON web token could not be decoded") from None
    now = state.clock.time()
    if ends <= now:
        raise Problem(401, "'Expiration time' claim ('exp') is too far in the past")
    if ends > now + 660 or issued > now + 60:
        raise Problem(401, "'Expiration time' claim ('exp') is too far in the future")
    return app


def spend(state: State, caller: Caller, *, free: bool) -> dict[str, str]:
    """Count a request against the caller's hour; the headers that say how much is left. Raises 403 over the limit."""
    now = state.clock.time()
    window = state.used.setdefault(caller.bucket, [now, 0])
    if now >= window[0] + 3600:
        window[:] = [now, 0]
    over = window[1] >= caller.limit
    if not free and not over:
        window[1] += 1
    used = int(window[1])
    headers = {
        "x-ratelimit-limit": str(caller.limit), "x-ratelimit-remaining": str(max(caller.limit - used, 0)),
        "x-ratelimit-used": str(used), "x-ratelimit-reset": str(int(window[0]) + 3600), "x-ratelimit-resource": "core",
    }  # fmt: skip
    if over and not free:
        who = f"user ID {caller.account.id}" if caller.account else "127.0.0.1"
        raise Problem(403, f"API rate limit exceeded for {who}.", headers=headers)
    return headers


def give_back(state: State, caller: Caller) -> dict[str, str]:
    """Take one request out of the count again; the headers that say so."""
    window = state.used[caller.bucket]
    window[1] -= 1
    used = int(window[1])
    return {"x-ratelimit-remaining": str(caller.limit - used), "x-ratelimit-used": str(used)}
