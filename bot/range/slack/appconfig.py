"""How the app is installed: its manifest, where it listens, what it may; told over the range's control address.

``apps.manifest.validate`` asks the same of a manifest as installing it does.
"""

from __future__ import annotations

from typing import Any

from bot.errors import InputError
from bot.range.slack.http import Call, Method, Refusal
from bot.range.slack.state import State

_KNOWN = {
    "request_url", "socket_mode", "manifest", "scopes", "events", "redirect_urls", "home", "ack_s", "trigger_s",
    "rate_limits", "verify",
}  # fmt: skip
_NAME, _COMMAND, _DESCRIPTION, _HINT = 35, 32, 140, 1000


def install(state: State, body: Any) -> dict[str, Any]:
    """Set what is said and leave the rest. Raises InputError for what is unknown or wrong; then nothing is set."""
    if not isinstance(body, dict) or set(body) - _KNOWN:
        raise InputError(f"the app has only {', '.join(sorted(_KNOWN))}")
    app, manifest = state.app, body.get("manifest")
    if manifest is not None:
        if wrong := problems(manifest):
            raise InputError("; ".join(f"{row['pointer']}: {row['message']}" for row in wrong))
        _from_manifest(state, manifest)
    if "scopes" in body:
        state.tokens[app.bot_token].scopes = tuple(sorted(map(str, body["scopes"])))
    if "events" in body:
        app.events = tuple(map(str, body["events"]))
    if "redirect_urls" in body:
        app.redirect_urls = tuple(map(str, body["redirect_urls"]))
    if "rate_limits" in body:
        state.limits.on = bool(body["rate_limits"])
    app.request_url = str(body.get("request_url", app.request_url) or "")
    app.socket_mode = bool(body.get("socket_mode", app.socket_mode))
    app.home = bool(body.get("home", app.home))
    app.ack_s = float(body.get("ack_s", app.ack_s))
    app.trigger_s = float(body.get("trigger_s", app.trigger_s))
    return installed(state)


def installed(state: State) -> dict[str, Any]:
    app = state.app
    return {
        "request_url": app.request_url, "socket_mode": app.socket_mode, "events": list(app.events),
        "scopes": list(state.tokens[app.bot_token].scopes), "redirect_urls": list(app.redirect_urls),
        "commands": None if app.commands is None else sorted(app.commands), "home": app.home, "ack_s": app.ack_s,
        "trigger_s": app.trigger_s, "rate_limits": state.limits.on,
    }  # fmt: skip


def _from_manifest(state: State, manifest: dict[str, Any]) -> None:
    app, features = state.app, manifest.get("features", {})
    oauth, settings = manifest.get("oauth_config", {}), manifest.get("settings", {})
    app.commands = {row["command"]: row for row in features.get("slash_commands", [])}
    app.shortcuts = {row["callback_id"]: row["type"] for row in features.get("shortcuts", [])}
    app.shortcut_names = {row["callback_id"]: row["name"] for row in features.get("shortcuts", [])}
    app.home = bool(features.get("app_home", {}).get("home_tab_enabled"))
    app.events = tuple(settings.get("event_subscriptions", {}).get("bot_events", []))
    app.socket_mode = bool(settings.get("socket_mode_enabled"))
    app.redirect_urls = tuple(oauth.get("redirect_urls", []))
    app.user_scopes = tuple(oauth.get("scopes", {}).get("user", []))
    state.tokens[app.bot_token].scopes = tuple(sorted(oauth.get("scopes", {}).get("bot", [])))


def problems(manifest: Any) -> list[dict[str, str]]:
    """What Slack would refuse in a manifest, with where it stands. It is not the whole of Slack's schema."""
    out: list[dict[str, str]] = []

    def wrong(message: str, pointer: str) -> None:
        out.append({"message": message, "pointer": pointer})

    if not isinstance(manifest, dict):
        return [{"message": "Must be an object", "pointer": "/"}]
    for key in sorted(set(manifest) - {"_metadata", "display_information", "features", "oauth_config", "settings"}):
        wrong("Unknown property", f"/{key}")
    shown = manifest.get("display_information") or {}
    if not 1 <= len(str(shown.get("name", ""))) <= _NAME:
        wrong(f"Must be 1 to {_NAME} characters", "/display_information/name")
    if len(str(shown.get("description", ""))) > _DESCRIPTION:
        wrong(f"Must be at most {_DESCRIPTION} characters", "/display_information/description")
    features = manifest.get("features") or {}
    oauth = manifest.get("oauth_config") or {}
    scopes = (oauth.get("scopes") or {}).get("bot") or []
    for name in sorted(set(scopes) - BOT_SCOPES):
        wrong(f"Invalid scope: {name}", "/oauth_config/scopes/bot")
    _commands(features.get("slash_commands") or [], scopes, wrong)
    _shortcuts(features.get("shortcuts") or [], wrong)
    settings = manifest.get("settings") or {}
    _addresses(features, settings, wrong)
    if (features.get("slash_commands") or features.get("shortcuts")) and "bot_user" not in features:
        wrong("A bot user is required", "/features/bot_user")
    for event in (settings.get("event_subscriptions") or {}).get("bot_events") or []:
        need = _EVENT_SCOPES.get(event)
        if event not in _EVENT_SCOPES:
            wrong(f"Unknown event: {event}", "/settings/event_subscriptions/bot_events")
        elif need and need not in scopes:
            wrong(f"{event} needs the scope {need}", "/settings/event_subscriptions/bot_events")
    return out


_EVENT_SCOPES = {
    "app_home_opened": "", "app_mention": "app_mentions:read", "message.channels": "channels:history",
    "message.groups": "groups:history", "message.im": "im:history", "reaction_added": "reactions:read",
    "member_joined_channel": "channels:read", "app_uninstalled": "", "tokens_revoked": "", "app_rate_limited": "",
}  # fmt: skip


# Of a bot's token (docs.slack.dev/reference/scopes)
BOT_SCOPES = {
    "app_mentions:read", "assistant:write", "bookmarks:read", "bookmarks:write", "calls:read", "calls:write",
    "canvases:read", "canvases:write", "channels:history", "channels:join", "channels:manage", "channels:read",
    "channels:write.invites", "channels:write.topic", "chat:write", "chat:write.customize", "chat:write.public",
    "commands", "conversations.connect:manage", "conversations.connect:read", "conversations.connect:write",
    "dnd:read", "emoji:read", "files:read", "files:write", "groups:history", "groups:read", "groups:write",
    "groups:write.invites", "groups:write.topic", "im:history", "im:read", "im:write", "im:write.topic",
    "incoming-webhook", "links:read", "links:write", "lists:read", "lists:write", "metadata.message:read",
    "mpim:history", "mpim:read", "mpim:write", "mpim:write.topic", "pins:read", "pins:write", "reactions:read",
    "reactions:write", "reminders:read", "reminders:write", "remote_files:read", "remote_files:share",
    "remote_files:write", "search:read.files", "search:read.public", "team.billing:read", "team.preferences:read",
    "team:read", "usergroups:read", "usergroups:write", "users.profile:read", "users:read", "users:read.email",
    "users:write", "workflow.steps:execute",
}  # fmt: skip


def _commands(rows: list[Any], scopes: list[str], wrong: Any) -> None:
    if rows and "commands" not in scopes:
        wrong("Slash commands need the scope commands", "/oauth_config/scopes/bot")
    for index, row in enumerate(rows):
        at, name = f"/features/slash_commands/{index}", str(row.get("command", ""))
        if not name.startswith("/") or not 2 <= len(name) <= _COMMAND or name != name.lower() or " " in name:
            wrong("Must start with / and be lowercase, without spaces", f"{at}/command")
        if not row.get("description"):
            wrong("Is required", f"{at}/description")
        if len(str(row.get("usage_hint", ""))) > _HINT:
            wrong(f"Must be at most {_HINT} characters", f"{at}/usage_hint")


def _shortcuts(rows: list[Any], wrong: Any) -> None:
    for index, row in enumerate(rows):
        at = f"/features/shortcuts/{index}"
        if row.get("type") not in ("global", "message"):
            wrong("Must be global or message", f"{at}/type")
        for key, most in (("name", 24), ("callback_id", 255), ("description", 150)):
            if not 1 <= len(str(row.get(key, ""))) <= most:
                wrong(f"Must be 1 to {most} characters", f"{at}/{key}")


def _addresses(features: dict[str, Any], settings: dict[str, Any], wrong: Any) -> None:
    """Without Socket Mode every way in needs its URL, and Slack sends to https only."""
    interactivity, events = settings.get("interactivity") or {}, settings.get("event_subscriptions") or {}
    rows: list[tuple[str, Any, Any]] = [
        (f"/features/slash_commands/{index}/url", True, row.get("url"))
        for index, row in enumerate(features.get("slash_commands") or [])
    ]
    rows += [
        ("/settings/interactivity/request_url", interactivity.get("is_enabled"), interactivity.get("request_url")),
        ("/settings/event_subscriptions/request_url", events.get("bot_events"), events.get("request_url")),
    ]
    for at, needed, url in rows:
        if url and not str(url).startswith("https://"):
            wrong("Must be an https address", at)
        elif needed and not url and not settings.get("socket_mode_enabled"):
            wrong("Is required without Socket Mode", at)


def validate(call: Call) -> None:
    """apps.manifest.validate; the range takes the app-level token for what is a configuration token at Slack."""
    if wrong := problems(call.json("manifest", "invalid_manifest")):
        raise Refusal("invalid_manifest", errors=wrong)


METHODS = (Method(name="apps.manifest.validate", handle=validate, kinds=("app",)),)
