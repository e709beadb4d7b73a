"""auth.test, team.info, users.* and usergroups.*: who is there."""

from __future__ import annotations

from typing import Any

from bot.range.slack import shapes
from bot.range.slack.http import Call, Method, Refusal


def auth_test(call: Call) -> dict[str, Any]:
    state, token = call.state, call.token
    assert token is not None
    if token.kind == "app":
        return {"app_name": "Bulkhead", "app_id": state.app.id}
    person = state.people[token.user]
    bot = {"bot_id": state.app.bot_id} if token.kind == "bot" else {}
    return {
        "url": f"{state.base_url}/", "team": "Harbor Lights", "user": person.name, "team_id": state.team,
        "user_id": person.id, **bot, "is_enterprise_install": False,
    }  # fmt: skip


def team_info(call: Call) -> dict[str, Any]:
    state = call.state
    return {"team": {"id": state.team, "name": "Harbor Lights", "domain": state.team_domain}}


def user_info(call: Call) -> dict[str, Any]:
    return {"user": shapes.user(call.state, call.person(), email="users:read.email" in call.held)}


def users(call: Call) -> dict[str, Any]:
    email = "users:read.email" in call.held
    rows = [p for p in call.state.people.values() if p.team_id == call.state.team]
    part, meta = call.page(rows)
    shown = [shapes.user(call.state, p, email=email) for p in part]
    return {"members": shown, "cache_ts": int(call.state.now()), **meta}


def by_email(call: Call) -> dict[str, Any]:
    wanted = call.word("email").lower()
    for person in call.state.people.values():
        if person.email == wanted and person.team_id == call.state.team and not person.deleted:
            return {"user": shapes.user(call.state, person, email=True)}
    raise Refusal("users_not_found")


def groups(call: Call) -> dict[str, Any]:
    rows = [g for g in call.state.groups.values() if call.flag("include_disabled") or not g.disabled]
    return {"usergroups": [shapes.group(call.state, g, users=call.flag("include_users")) for g in rows]}


def group_users(call: Call) -> dict[str, Any]:
    found = call.state.groups.get(call.word("usergroup"))
    if found is None or (found.disabled and not call.flag("include_disabled")):
        raise Refusal("no_such_subteam")
    return {"users": list(found.users)}


METHODS = (
    Method(name="auth.test", handle=auth_test, tier=0, kinds=("bot", "app", "user")),
    Method(name="team.info", handle=team_info, scopes=("team:read",)),
    Method(name="users.info", handle=user_info, scopes=("users:read",), tier=4),
    Method(name="users.list", handle=users, scopes=("users:read",), tier=2),
    Method(name="users.lookupByEmail", handle=by_email, scopes=("users:read.email",)),
    Method(name="usergroups.list", handle=groups, scopes=("usergroups:read",), tier=2),
    Method(name="usergroups.users.list", handle=group_users, scopes=("usergroups:read",), tier=2),
)
