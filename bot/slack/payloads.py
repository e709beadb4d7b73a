"""What Slack sends, read: of which kind it is, from whom, from which workspaces, and a name that it always has.

Shapes by docs.slack.dev (interaction payloads, slash commands, Events API). Slack sends an event again, up to three
times, with the same ``event_id``; it never sends a command or a click again, but a proxy may.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from bot.errors import InputError
from bot.store import canonical

Payload = dict[str, Any]
# Whoever has one of these may open a form or answer as us for a while. The token is an old proof. None is written down.
IN_MEMORY = ("trigger_id", "response_url", "response_urls")
CAPABILITIES = (*IN_MEMORY, "token")
INTERACTIONS = ("block_actions", "view_submission", "view_closed", "shortcut", "message_action", "block_suggestion")


def read(content_type: str, raw: bytes) -> Payload:
    """The payload of a request's body. Raises InputError for what is neither of Slack's forms."""
    try:
        text = raw.decode()
        if content_type.partition(";")[0].strip() == "application/json":
            found = json.loads(text)
        else:
            found = dict(parse_qsl(text, keep_blank_values=True))
            if "payload" in found:
                found = json.loads(found["payload"])
    except ValueError:
        raise InputError("the body is not one of Slack's") from None
    if not isinstance(found, dict):
        raise InputError("the body is not one of Slack's")
    return found


def kind_of(payload: Payload) -> str:
    """command, event, url_verification, ssl_check, or an interaction's type; "" for anything else."""
    if "command" in payload:
        return "command"
    if payload.get("ssl_check"):
        return "ssl_check"
    kind = str(payload.get("type", ""))
    if kind == "event_callback":
        return "event"
    return kind if kind in (*INTERACTIONS, "url_verification") else ""


def name_of(payload: Payload) -> str:
    """The delivery's own name: sent again it is the same, and no other delivery has it."""
    kind = kind_of(payload)
    if kind == "event" and payload.get("event_id"):
        return f"event-{_digest(str(payload['event_id']))}"
    if payload.get("trigger_id"):  # one a command, click or submission
        return f"{kind}-{_digest(str(payload['trigger_id']))}"
    return f"{kind}-{_digest(canonical(without(payload)))}"


def without(payload: Payload) -> Payload:
    """The payload without what would let its holder speak: tokens and answering addresses."""
    return {name: value for name, value in payload.items() if name not in CAPABILITIES}


def answering_address(payload: Payload) -> str:
    """Where an ephemeral answer may be sent five times within half an hour, or ""."""
    if payload.get("response_url"):
        return str(payload["response_url"])
    several = payload.get("response_urls") or []
    return str(several[0].get("response_url", "")) if several and isinstance(several[0], dict) else ""


def workspaces(payload: Payload) -> set[str]:
    """Every workspace that the payload is from: where it happened, and that of whoever did it."""
    user, team = _table(payload, "user"), _table(payload, "team")
    found = {str(one) for one in (payload.get("team_id"), team.get("id"), user.get("team_id")) if one}
    event = _table(payload, "event")
    found |= {str(one) for one in (event.get("user_team"), event.get("source_team")) if one}
    enterprise = payload.get("enterprise_id") or _table(payload, "enterprise").get("id")
    return found or ({str(enterprise)} if enterprise else set())


def user_of(payload: Payload) -> str:
    """The id of whoever did it, or ""."""
    user = payload.get("user_id") or _table(payload, "user").get("id") or _table(payload, "event").get("user")
    return str(user or "")


def channel_of(payload: Payload) -> str:
    """Where it happened, or "" (a modal, the app's home)."""
    return str(payload.get("channel_id") or _table(payload, "channel").get("id") or "")


def listener_of(payload: Payload) -> tuple[str, str]:
    """What a listener is registered for: a kind and a name."""
    kind = kind_of(payload)
    if kind == "command":
        return kind, str(payload["command"])
    if kind == "event":
        return kind, str(_table(payload, "event").get("type", ""))
    if kind == "block_actions":
        actions = payload.get("actions") or [{}]
        return kind, str(actions[0].get("action_id", ""))
    if kind in ("view_submission", "view_closed"):
        return kind, str(_table(payload, "view").get("callback_id", ""))
    return kind, str(payload.get("callback_id") or payload.get("action_id") or "")


def _table(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = payload.get(name)
    return found if isinstance(found, dict) else {}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
