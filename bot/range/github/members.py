"""Who gets in: collaborators and their invitations, what members have authorized by SAML, self-hosted runners.

docs.github.com/rest/collaborators, /rest/orgs/orgs ("List SAML SSO authorizations"), /rest/actions/self-hosted-runners.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from bot.range.github import shapes
from bot.range.github.http import Answer, Call, Op, Problem, not_found
from bot.range.github.nouns import Repo, Token
from bot.range.github.state import State

R = "/repos/{owner}/{repo}"
TOKEN_S = 3600  # life of a registration token


# Collaborators


def _invitation(call: Call, repo: Repo, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"], "node_id": shapes.node("RI", row["id"]), "repository": shapes.repo_small(repo, call.base),
        "invitee": shapes.account(row["invitee"], call.base), "inviter": shapes.account(row["inviter"], call.base),
        "permissions": row["role"], "created_at": shapes.when(row["at"]), "expired": False,
        "url": f"{call.base}/user/repository_invitations/{row['id']}", "html_url": f"{call.base}/invitations",
    }  # fmt: skip


def invitations(call: Call) -> Any:
    """Collaborators who have not answered yet."""
    return [_invitation(call, call.repo, row) for row in call.page(call.repo.invitations.values())]


def my_invitations(call: Call) -> Any:
    """What the caller could accept."""
    rows = [(repo, row) for repo in call.state.repos.values() for row in repo.invitations.values()]
    return [_invitation(call, repo, row) for repo, row in call.page(rows) if row["invitee"] is call.caller.account]


def invite(call: Call) -> Any:
    """Who is there already, or a member of the organization, needs no invitation (204)."""
    account, inviter = call.state.accounts.get(call.params["username"]), call.caller.account
    if account is None or inviter is None:
        raise not_found()
    asked = call.body.get("permission", "push")
    role = {"push": "write", "pull": "read"}.get(asked, asked)
    org = call.state.orgs.get(call.repo.owner.login)
    if account.login in call.repo.collaborators or (org and account.login in org.members):
        call.repo.collaborators[account.login] = role
        return Answer(204)
    if any(row["invitee"] is account for row in call.repo.invitations.values()):
        return Answer(204)
    number = call.state.next_id()
    call.repo.invitations[number] = {
        "id": number, "invitee": account, "inviter": inviter, "at": call.state.now(), "role": role,
    }  # fmt: skip
    return Answer(201, {"id": number})


def uninvite(call: Call) -> Any:
    if call.repo.invitations.pop(call.number("invitation_id"), None) is None:
        raise not_found()
    return Answer(204)


def remove(call: Call) -> Any:
    """Takes a pending invitation with it; a member of the organization keeps what membership gives."""
    login = call.params["username"]
    if login not in call.state.accounts:
        raise not_found()
    call.repo.collaborators.pop(login, None)
    for number in [n for n, row in call.repo.invitations.items() if row["invitee"].login == login]:
        del call.repo.invitations[number]
    return Answer(204)


def accept(call: Call) -> Any:
    """The invited one says yes."""
    number = call.number("invitation_id")
    for repo in call.state.repos.values():
        row = repo.invitations.get(number)
        me = call.caller.account
        if row is not None and me is not None and row["invitee"] is me:
            repo.collaborators[me.login] = row["role"]
            del repo.invitations[number]
            return Answer(204)
    raise not_found()


# What members have authorized for an organization with SAML


def _authorized(call: Call) -> list[Token]:
    """Classic tokens of members that get in. An organization without SAML has no such list."""
    org = call.org
    if not org.saml:
        raise not_found()
    return [
        t for t in call.state.tokens.values()
        if t.kind == "classic" and not t.revoked and t.account.login in org.members and t.value not in org.shut_out
    ]  # fmt: skip


def authorizations(call: Call) -> Any:
    rows = [t for t in _authorized(call) if call.query.get("login") in (None, t.account.login)]
    return [
        {"login": t.account.login, "credential_id": t.grant or _number(call, t), "scopes": sorted(t.scopes),
         "credential_type": "personal access token", "token_last_eight": t.value[-8:],
         "credential_authorized_at": shapes.when(t.created_at), "credential_accessed_at": None,
         "authorized_credential_id": t.grant or _number(call, t), "authorized_credential_note": None,
         "authorized_credential_expires_at": shapes.when(t.expires_at)}
        for t in call.page(rows)
    ]  # fmt: skip


def _number(call: Call, token: Token) -> int:
    token.grant = call.state.next_id()
    return token.grant


def unauthorize(call: Call) -> Any:
    """The organization no longer lets it in; elsewhere it lives on."""
    found = next((t for t in _authorized(call) if t.grant == call.number("credential_id")), None)
    if found is None:
        raise not_found()
    call.org.shut_out.add(found.value)
    return Answer(204)


# Self-hosted runners


def _runner(row: dict[str, Any]) -> dict[str, Any]:
    labels = [{"id": k, "name": name, "type": "read-only" if name == "self-hosted" else "custom"}
              for k, name in enumerate(row["labels"], 1)]  # fmt: skip
    return {"id": row["id"], "name": row["name"], "os": "linux", "status": "online", "busy": row["busy"],
            "ephemeral": False, "labels": labels, "runner_group_id": 1}  # fmt: skip


def runners(call: Call) -> Any:
    return call.listing("runners", call.repo.runners.values(), _runner)


def runner(call: Call) -> Any:
    row = call.repo.runners.get(call.number("runner_id"))
    if row is None:
        raise not_found()
    if call.method == "GET":
        return _runner(row)
    if row["busy"]:
        raise Problem(422, f"Runner \"{row['name']}\" is still running a job")
    del call.repo.runners[row["id"]]
    return Answer(204)


def registration(call: Call) -> Any:
    token, ends = secrets.token_hex(15).upper(), call.state.now() + timedelta(seconds=TOKEN_S)
    call.repo.registrations[token] = ends
    return Answer(201, {"token": token, "expires_at": shapes.when(ends)})


def register(state: State, repo: Repo, token: str, name: str, labels: tuple[str, ...] = ("self-hosted",)) -> int:
    """What ``config.sh --token`` does on somebody's machine: 0 when the token is none of the repository's."""
    with state.lock:
        ends = repo.registrations.get(token)
        if ends is None or state.now() >= ends:
            return 0
        number = state.next_id()
        repo.runners[number] = {"id": number, "name": name, "labels": list(labels), "busy": False}
        return number


ADMIN_R, ADMIN_W, RUNNERS = "administration:read", "administration:write", R + "/actions/runners"
OPS = (
    Op(method="GET", path=R + "/invitations", handle=invitations, needs=ADMIN_R),
    Op(method="DELETE", path=R + "/invitations/{invitation_id}", handle=uninvite, needs=ADMIN_W),
    Op(method="PUT", path=R + "/collaborators/{username}", handle=invite, needs=ADMIN_W),
    Op(method="DELETE", path=R + "/collaborators/{username}", handle=remove, needs=ADMIN_W),
    Op(method="GET", path="/user/repository_invitations", handle=my_invitations, needs="user"),
    Op(method="PATCH", path="/user/repository_invitations/{invitation_id}", handle=accept, needs="user"),
    Op(method="GET", path="/orgs/{org}/credential-authorizations", handle=authorizations,
       needs="organization_administration:read"),
    Op(method="DELETE", path="/orgs/{org}/credential-authorizations/{credential_id}", handle=unauthorize,
       needs="organization_administration:write"),
    Op(method="GET", path=RUNNERS, handle=runners, needs=ADMIN_R),
    Op(method="POST", path=RUNNERS + "/registration-token", handle=registration, needs=ADMIN_W),
    Op(method="GET", path=RUNNERS + "/{runner_id}", handle=runner, needs=ADMIN_R),
    Op(method="DELETE", path=RUNNERS + "/{runner_id}", handle=runner, needs=ADMIN_W),
)  # fmt: skip
