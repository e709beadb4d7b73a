"""Users, Apps, tokens, rate limit: /user, /app, /installation, /orgs/{org}, /credentials/revoke."""

from __future__ import annotations

import re
from typing import Any

from bot.range.github import shapes
from bot.range.github.http import Answer, Call, Op, Problem, invalid, not_found
from bot.range.github.nouns import Installation, Repo, Token

_REVOCABLE = re.compile(r"(?:gh[pour]_|github_pat_)\w+")
_RANK = {"read": 1, "write": 2, "admin": 3}


def me(call: Call) -> Any:
    assert call.caller.account is not None
    return shapes.private_profile(call.state, call.caller.account, call.base)


def user(call: Call) -> Any:
    found = call.state.accounts.get(call.params["username"])
    if found is None:
        raise not_found()
    return shapes.profile(call.state, found, call.base)


def org(call: Call) -> Any:
    return shapes.organization(call.state, call.org, call.base)


def org_repos(call: Call) -> Any:
    rows = [r for r in call.state.repos.values() if r.owner is call.org.account and call.can_see(r)]
    return [shapes.repo_small(r, call.base) for r in call.page(rows)]


def members(call: Call) -> Any:
    role = call.query.get("role", "all")
    rows = [login for login, held in sorted(call.org.members.items()) if role in ("all", held)]
    return [shapes.account(call.state.accounts[login], call.base) for login in call.page(rows)]


def audit_log(_call: Call) -> Any:
    """The audit log by API is Enterprise Cloud's alone; this organization has none."""
    raise not_found()


def rate_limit(call: Call) -> Any:
    window = call.state.used.get(call.caller.bucket, [call.state.clock.time(), 0])
    core = {
        "limit": call.caller.limit, "used": int(window[1]), "remaining": max(call.caller.limit - int(window[1]), 0),
        "reset": int(window[0]) + 3600,
    }  # fmt: skip
    search = {"limit": 30, "used": 0, "remaining": 30, "reset": int(call.state.clock.time()) + 60}
    return {"resources": {"core": core, "search": search}, "rate": core}


def meta(call: Call) -> Any:
    actions = [call.base.removeprefix("http://")]
    return {"verifiable_password_authentication": False, "domains": {"actions": actions}, "actions": [], "web": []}


def _app(call: Call) -> Any:
    assert call.caller.app is not None
    return shapes.app(call.caller.app, call.base)


def _installation(call: Call) -> Installation:
    found = call.state.installations.get(call.number("installation_id"))
    if found is None or found.app is not call.caller.app:
        raise not_found()
    return found


def installations(call: Call) -> Any:
    rows = [i for i in call.state.installations.values() if i.app is call.caller.app]
    return [shapes.installation(i, call.base) for i in call.page(rows)]


def installation(call: Call) -> Any:
    return shapes.installation(_installation(call), call.base)


def _of_account(call: Call, login: str, repo: Repo | None = None) -> Any:
    for found in call.state.installations.values():
        covers = repo is None or found.repositories is None or repo.full_name in found.repositories
        if found.app is call.caller.app and found.account.login == login and covers:
            return shapes.installation(found, call.base)
    raise not_found()


def org_installation(call: Call) -> Any:
    return _of_account(call, call.params["org"])


def repo_installation(call: Call) -> Any:
    repo = call.state.repos.get(f"{call.params['owner']}/{call.params['repo']}")
    if repo is None:
        raise not_found()
    return _of_account(call, repo.owner.login, repo)


def access_token(call: Call) -> Any:
    """A token of an installation: at most what was installed, fewer permissions and repositories when asked."""
    held = _installation(call)
    if held.suspended_at:
        raise Problem(403, "This installation has been suspended")
    body = call.body if isinstance(call.body, dict) else {}
    wanted = body.get("permissions") or held.permissions
    for name, level in wanted.items():
        if _RANK.get(level, 9) > _RANK.get(held.permissions.get(name, ""), 0):
            raise Problem(422, "The permissions requested are not granted to this installation.")
    repositories = held.repositories
    if body.get("repositories") or body.get("repository_ids"):
        names, ids = body.get("repositories", []), body.get("repository_ids", [])
        own = [r for r in call.state.repos.values() if r.owner is held.account]
        asked = {r.full_name for r in own if r.name in names or r.id in ids}
        if not asked or (repositories is not None and not asked <= repositories):
            raise Problem(422, "There is at least one repository that does not exist or is not accessible to the "
                               "parent installation.")  # fmt: skip
        repositories = frozenset(asked)
    token = call.state.mint_server_token(
        held.app.id, held.app.bot, {"metadata": "read", **wanted}, repositories, kind="installation", installation=held
    )
    return Answer(201, {
        "token": token.value, "expires_at": shapes.when(token.expires_at), "permissions": token.permissions,
        "repository_selection": "all" if repositories is None else "selected",
    })  # fmt: skip


def suspend(call: Call) -> Any:
    _installation(call).suspended_at = call.state.now() if call.method == "PUT" else None
    return Answer(204)


def installation_repositories(call: Call) -> Any:
    token = call.caller.token
    assert token is not None
    if token.kind not in ("installation", "job"):
        raise Problem(403, "You must authenticate with an installation access token in order to list repositories for "
                           "an installation.")  # fmt: skip
    owner = token.installation.account if token.installation else None
    rows = [
        r for r in call.state.repos.values()
        if (owner is None or r.owner is owner) and (token.repositories is None or r.full_name in token.repositories)
    ]  # fmt: skip
    shown = call.listing("repositories", rows, lambda r: shapes.repository(call.state, r, call.base))
    return {**shown, "repository_selection": "all" if token.repositories is None else "selected"}


def my_repos(call: Call) -> Any:
    """What the token's owner may push to or read as a member or collaborator, as far as the token reaches."""
    account, token = call.caller.account, call.caller.token
    assert account is not None
    assert token is not None
    rows = []
    for found in call.state.repos.values():
        org = call.state.orgs.get(found.owner.login)
        part = found.owner is account or account.login in found.collaborators or (org and account.login in org.members)
        if part and call.can_see(found) and (token.repositories is None or found.full_name in token.repositories):
            rows.append(found)
    return [shapes.repository(call.state, found, call.base, account) for found in call.page(rows)]


def _granted(call: Call) -> list[Token]:
    """Fine-grained tokens that live and reach something of the organization."""
    if call.caller.kind != "installation":
        raise Problem(403, "Resource not accessible by personal access token")
    own = {r.full_name for r in call.state.repos.values() if r.owner is call.org.account}
    return [
        t for t in call.state.tokens.values()
        if t.kind == "fine" and not t.revoked and (t.repositories is None or t.repositories & own)
    ]  # fmt: skip


def grants(call: Call) -> Any:
    """docs.github.com/rest/orgs/personal-access-tokens: for GitHub Apps only."""
    return [
        {"id": t.grant, "token_id": t.grant, "token_name": f"token {t.grant}", "token_expired": False,
         "owner": shapes.account(t.account, call.base),
         "repositories_url": f"{call.base}{call.path}/{t.grant}/repositories",
         "repository_selection": "all" if t.repositories is None else "subset", "token_last_used_at": None,
         "permissions": {"repository": dict(t.permissions)}, "access_granted_at": shapes.when(t.created_at),
         "token_expires_at": shapes.when(t.expires_at)}
        for t in call.page(_granted(call))
    ]  # fmt: skip


def revoke_grant(call: Call) -> Any:
    """The organization no longer lets the token in; the token itself lives on."""
    found = next((t for t in _granted(call) if t.grant == call.number("pat_id")), None)
    if found is None:
        raise not_found()
    if call.field("action") != "revoke":
        raise invalid("PersonalAccessToken", "action")
    own = {r.full_name for r in call.state.repos.values() if r.owner is call.org.account}
    held = set(call.state.repos) if found.repositories is None else set(found.repositories)
    found.repositories = frozenset(held - own)
    return Answer(204)


def drop_token(call: Call) -> Any:
    token = call.caller.token
    assert token is not None
    if token.kind != "installation":
        raise Problem(403, "Resource not accessible by personal access token")
    token.revoked = True
    return Answer(204)


def revoke(call: Call) -> Any:
    """Revoke tokens by value. 202 says nothing of the outcome; whoever is signed in is refused.

    An Enterprise Server takes nobody but who is signed in (docs.github.com/enterprise-server@3.19/rest/credentials).
    """
    if call.state.enterprise and call.caller.kind == "anonymous":
        raise Problem(401, "Requires authentication")
    if call.caller.kind != "anonymous" and not call.state.enterprise:
        raise Problem(403, "This endpoint does not accept authenticated requests.")
    values = call.field("credentials", list)
    if not 1 <= len(values) <= 1000 or not all(isinstance(v, str) for v in values):
        raise invalid("Credentials", "credentials")
    for value in values:
        token = call.state.tokens.get(value)
        if token is not None and _REVOCABLE.fullmatch(value):
            token.revoked = True
    return Answer(202, {})


OPS = (
    Op(method="GET", path="/user", handle=me, needs="user"),
    Op(method="GET", path="/user/repos", handle=my_repos, needs="user"),
    Op(method="GET", path="/orgs/{org}/personal-access-tokens", handle=grants,
       needs="organization_personal_access_tokens:read"),
    Op(method="POST", path="/orgs/{org}/personal-access-tokens/{pat_id}", handle=revoke_grant,
       needs="organization_personal_access_tokens:write"),
    Op(method="GET", path="/users/{username}", handle=user, needs=""),
    Op(method="GET", path="/orgs/{org}", handle=org),
    Op(method="GET", path="/orgs/{org}/repos", handle=org_repos),
    Op(method="GET", path="/orgs/{org}/members", handle=members),
    Op(method="GET", path="/orgs/{org}/audit-log", handle=audit_log, needs="token"),
    Op(method="GET", path="/orgs/{org}/installation", handle=org_installation, needs="app"),
    Op(method="GET", path="/repos/{owner}/{repo}/installation", handle=repo_installation, needs="app"),
    Op(method="GET", path="/rate_limit", handle=rate_limit, needs=""),
    Op(method="GET", path="/meta", handle=meta, needs=""),
    Op(method="GET", path="/app", handle=_app, needs="app"),
    Op(method="GET", path="/app/installations", handle=installations, needs="app"),
    Op(method="GET", path="/app/installations/{installation_id}", handle=installation, needs="app"),
    Op(method="POST", path="/app/installations/{installation_id}/access_tokens", handle=access_token, needs="app"),
    Op(method="PUT", path="/app/installations/{installation_id}/suspended", handle=suspend, needs="app"),
    Op(method="DELETE", path="/app/installations/{installation_id}/suspended", handle=suspend, needs="app"),
    Op(method="GET", path="/installation/repositories", handle=installation_repositories, needs="token"),
    Op(method="DELETE", path="/installation/token", handle=drop_token, needs="token"),
    Op(method="POST", path="/credentials/revoke", handle=revoke, needs=""),
)  # fmt: skip
