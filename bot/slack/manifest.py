"""The app's manifest: what Slack is asked for, and why. Nothing is asked for that no line of this package needs.

``METHODS`` is what the code calls; a test reads the code and holds that the two agree. Scopes of a method as at
docs.slack.dev (reference/methods); of those that would do, the one that lets in the least.
"""

from __future__ import annotations

from typing import Any

import yaml

Manifest = dict[str, Any]

SCOPES = {
    "chat:write": "post cards and edit them, answer people alone; only where the bot was invited",
    "channels:read": "see whether a public channel is shared with another company, before a card goes there",
    "channels:history": "find its own card in a public channel after a crash, so that there are never two",
    "commands": "the slash command and the shortcuts",
    "files:write": "put the timeline and the manifest of the evidence into the thread at the end",
    "groups:history": "the same in private channels that it is in",
    "groups:read": "find the private channels that it has made",
    "groups:write": "make a private channel for a bad incident, and invite those who respond",
    "im:history": "find its own question in a direct message after a crash, so that nobody is asked twice",
    "im:write": "open a direct message: the likely owner is asked whether it was them",
    "usergroups:read": "who may decide is who is in a user group, asked at each click",
    "users:read": "the time zone of whoever wants questions, so that none comes at night",
}
# A method of the SDK, and the scopes that it needs (with groups:… it works for private channels).
METHODS: dict[str, tuple[str, ...]] = {
    "apps_connections_open": (),  # by the app token, which has connections:write
    "auth_test": (),
    "chat_getPermalink": (),
    "chat_postEphemeral": ("chat:write",),
    "chat_postMessage": ("chat:write",),
    "chat_update": ("chat:write",),
    "conversations_create": ("groups:write",),
    "conversations_history": ("channels:history", "groups:history", "im:history"),
    "conversations_info": ("channels:read", "groups:read"),
    "conversations_invite": ("groups:write",),
    "conversations_list": ("groups:read",),
    "conversations_open": ("im:write",),
    "conversations_replies": ("channels:history", "groups:history", "im:history"),
    "files_upload_v2": ("files:write",),
    "usergroups_users_list": ("usergroups:read",),
    "users_info": ("users:read",),
    "views_open": (),
    "views_publish": (),
    "views_push": (),
    "views_update": (),
}
USER_SCOPES = {  # of Sign in with Slack; asked of each person by Slack itself, and only where pages are signed in to
    "openid": "who opens a page of an incident",
    "profile": "by which name they are shown there",
}
EVENTS = {"app_home_opened": "show the person their own open incidents, and what waits for them"}
SHORTCUTS = {
    "report_leak": ("Report a leak", "global", "Report a credential that may be out"),
    "report_message": ("This contains a secret", "message", "Report what this message holds"),
}


def manifest(*, command: str, url: str = "", socket: bool = False, sign_in: bool = False) -> Manifest:
    """The manifest. ``url``: where the pages are reached (https://HOST), and Slack's door unless ``socket``.

    ``sign_in``: people sign in to the pages with Slack.
    """
    way: Manifest = {} if socket else {"url": f"{url}/slack/events"}
    asked: Manifest = {"bot": sorted(SCOPES)}
    oauth: Manifest = {"scopes": asked}
    if sign_in:
        asked["user"] = sorted(USER_SCOPES)
        oauth["redirect_urls"] = [f"{url}/signed-in"]
    return {
        "display_information": {
            "name": "Bulkhead", "description": "Contains leaked CI credentials, and proves it",
            "background_color": "#1d3c4f",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": True, "messages_tab_enabled": True, "messages_tab_read_only_enabled": True,
            },
            "bot_user": {"display_name": "bulkhead", "always_online": True},
            "shortcuts": [
                {"name": name, "type": kind, "callback_id": callback, "description": text}
                for callback, (name, kind, text) in SHORTCUTS.items()
            ],
            "slash_commands": [{
                "command": command, **way, "description": "Report and run a leaked CI credential",
                "usage_hint": "report | status | note | update | drill | quiz | help", "should_escape": True,
            }],
        },
        "oauth_config": oauth,
        "settings": {
            "event_subscriptions": {**_request(way), "bot_events": sorted(EVENTS)},
            "interactivity": {"is_enabled": True, **_request(way)},
            "org_deploy_enabled": False, "socket_mode_enabled": socket, "token_rotation_enabled": False,
        },
    }  # fmt: skip


def _request(way: Manifest) -> Manifest:
    return {"request_url": way["url"]} if way else {}


def as_yaml(made: Manifest) -> str:
    """The manifest as YAML, with the reason beside each scope and each event."""
    lines = []
    for line in yaml.safe_dump(made, sort_keys=False, width=200, allow_unicode=True).splitlines():
        item = line.strip().removeprefix("- ")
        why = {**SCOPES, **USER_SCOPES, **EVENTS}.get(item, "") if line.strip().startswith("- ") else ""
        lines.append(f"{line:<32} # {why}" if why else line)
    return "\n".join(["# Slack: api.slack.com/apps, Create New App, From a manifest.", *lines]) + "\n"


def missing(granted: set[str]) -> list[str]:
    """The scopes that a token lacks, each with what it is for."""
    return [f"{scope} ({why})" for scope, why in SCOPES.items() if scope not in granted]
