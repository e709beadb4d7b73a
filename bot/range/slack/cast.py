"""The workspace of harbor-lights: its people, groups and channels, as they are before the leak.

mara and jonas are the same people as at the range's GitHub. mallory works for another company and is in one channel
by Slack Connect; ines is a guest.
"""

from __future__ import annotations

from typing import Any

from bot.range.slack.state import State

ROLES: dict[str, tuple[str, ...]] = {
    "alice": ("responder", "approver", "lead"), "bob": ("responder", "approver"), "carol": ("responder", "oncall"),
    "mara": ("owner",), "jonas": ("requester",), "ines": ("guest",), "mallory": ("outsider",),
}  # fmt: skip
_NAMES = {
    "alice": "Alice Okafor", "bob": "Bob Sandberg", "carol": "Carol Duarte", "mara": "Mara Lindqvist",
    "jonas": "Jonas Weber", "ines": "Ines Faro",
}  # fmt: skip
_GROUPS = {
    "responders": ("Incident responders", "responder"), "approvers": ("Those who approve", "approver"),
    "leads": ("Incident leads", "lead"), "oncall": ("On call this week", "oncall"),
}  # fmt: skip


def seed(state: State) -> dict[str, Any]:
    """All of it, in an empty workspace. Returns the cast: what an app and its people are told."""
    ids = {name: state.add_person(name, real).id for name, real in _NAMES.items()}
    state.people[ids["ines"]].is_restricted = True
    ids["mallory"] = state.add_person("mallory", "Mallory Quist", team_id=state.vendor).id
    groups = {
        name: state.add_group(name, title, [ids[who] for who, roles in ROLES.items() if role in roles]).id
        for name, (title, role) in _GROUPS.items()
    }
    bot, own = state.app.bot_user, [ids[name] for name in ("alice", "bob", "carol", "mara", "jonas")]
    channels = {
        "general": state.add_channel("general", own, is_general=True, creator=ids["alice"]),
        "incidents": state.add_channel("incidents", [*own, bot], creator=ids["alice"]),
        "deploys": state.add_channel("deploys", [ids["mara"], ids["jonas"], ids["ines"]], creator=ids["mara"]),
        "leads-only": state.add_channel("leads-only", [ids["alice"]], kind="private", creator=ids["alice"]),
        "shared-with-vendor": state.add_channel(
            "shared-with-vendor", [ids["alice"], ids["jonas"], ids["mallory"], bot], is_ext_shared=True,
            creator=ids["alice"],
        ),
    }  # fmt: skip
    return cast_of(state, ids, groups, {name: found.id for name, found in channels.items()})


def cast_of(state: State, ids: dict[str, str], groups: dict[str, str], channels: dict[str, str]) -> dict[str, Any]:
    app = state.app
    users = {
        name: {
            "id": found, "name": name, "real_name": state.people[found].real_name, "email": state.people[found].email,
            "team_id": state.people[found].team_id, "roles": list(ROLES[name]),
        } for name, found in ids.items()
    }  # fmt: skip
    return {
        "bot_token": app.bot_token, "app_token": app.app_token, "signing_secret": app.signing_secret,
        "client_id": app.client_id, "client_secret": app.client_secret, "app_id": app.id, "team_id": state.team,
        "team_domain": state.team_domain, "vendor_team_id": state.vendor, "bot_user": app.bot_user,
        "users": users, "groups": groups, "channels": channels,
    }  # fmt: skip
