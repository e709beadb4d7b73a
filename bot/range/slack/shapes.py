"""Slack's JSON of the things that it keeps."""

from __future__ import annotations

from typing import Any

from bot.range.slack.nouns import Channel, File, Group, Message, Person, View
from bot.range.slack.state import State


def user(state: State, person: Person, *, email: bool = False) -> dict[str, Any]:
    """A user object. ``email`` when the token has users:read.email."""
    stranger = person.team_id != state.team
    profile = {
        "real_name": person.real_name, "display_name": person.name, "team": person.team_id,
        **({"email": person.email} if email and person.email and not stranger else {}),
    }  # fmt: skip
    return {
        "id": person.id, "team_id": person.team_id, "name": person.name, "real_name": person.real_name,
        "deleted": person.deleted, "is_bot": person.is_bot, "is_app_user": False, "is_admin": False,
        "is_owner": False, "is_restricted": person.is_restricted, "is_ultra_restricted": False, "tz": person.tz,
        "tz_label": person.tz, "tz_offset": 0, "updated": 0, "profile": profile,
        **({"is_stranger": True} if stranger else {}),
    }  # fmt: skip


def group(state: State, found: Group, *, users: bool = False) -> dict[str, Any]:
    return {
        "id": found.id, "team_id": state.team, "is_usergroup": True, "is_subteam": True, "name": found.name,
        "handle": found.handle, "description": "", "is_external": False, "date_create": 0, "date_update": 0,
        "date_delete": 1 if found.disabled else 0, "user_count": len(found.users),
        **({"users": list(found.users)} if users else {}),
    }  # fmt: skip


def channel(state: State, found: Channel, *, members: bool = False) -> dict[str, Any]:
    """A conversation object, as the app's bot sees it."""
    common = {
        "id": found.id, "created": found.created, "is_archived": found.archived, "is_im": found.kind == "im",
        "is_org_shared": False, "context_team_id": state.team, "updated": found.created * 1000,
    }  # fmt: skip
    if found.kind == "im":
        other = next(m for m in found.members if m != state.app.bot_user)
        return common | {"user": other, "is_user_deleted": False, "is_open": True}
    teams = sorted({state.people[m].team_id for m in found.members} | {state.team})
    return common | {
        "name": found.name, "name_normalized": found.name, "creator": found.creator, "is_mpim": False,
        "is_channel": found.kind == "public", "is_group": found.kind == "private",
        "is_private": found.kind == "private", "is_general": found.is_general,
        "is_shared": found.is_ext_shared, "is_ext_shared": found.is_ext_shared, "is_pending_ext_shared": False,
        "is_member": state.app.bot_user in found.members, "shared_team_ids": teams if found.is_ext_shared else [],
        "topic": {"value": found.topic, "creator": "", "last_set": 0},
        "purpose": {"value": "", "creator": "", "last_set": 0}, "previous_names": [],
        **({"num_members": len(found.members)} if members else {}),
    }  # fmt: skip


def message(state: State, found: Message, *, metadata: bool = False) -> dict[str, Any]:
    """A message. ``metadata`` includes its app's metadata, which history leaves out unless it is asked for."""
    made: dict[str, Any] = {
        "type": "message", "ts": found.ts, "user": found.user, "text": found.text,
        "team": state.people[found.user].team_id,
    }  # fmt: skip
    if found.by_app:
        made |= {"bot_id": state.app.bot_id, "app_id": state.app.id}
    if found.blocks:
        made["blocks"] = found.blocks
    if found.subtype:
        made["subtype"] = found.subtype
    if found.thread_ts:
        made["thread_ts"] = found.thread_ts
    if found.edited:
        made["edited"] = {"user": found.user, "ts": found.edited}
    if found.metadata is not None and metadata:
        made["metadata"] = found.metadata
    if found.files:
        made["files"] = [file(state, state.files[each]) for each in found.files]
    if found.reactions:
        made["reactions"] = [{"name": k, "users": v, "count": len(v)} for k, v in found.reactions.items()]
    return made | _thread(state, found)


def _thread(state: State, found: Message) -> dict[str, Any]:
    """What the first message of a thread says of its replies."""
    place = state.channels.get(found.channel)
    replies = state.replies(place, found.ts) if place and not found.only_for else []
    if not replies:
        return {}
    who = list(dict.fromkeys(m.user for m in replies))
    return {
        "thread_ts": found.ts, "reply_count": len(replies), "reply_users": who, "reply_users_count": len(who),
        "latest_reply": replies[-1].ts,
    }  # fmt: skip


def view(state: State, found: View) -> dict[str, Any]:
    body = found.body
    made = {
        "id": found.id, "team_id": state.team, "type": body["type"], "blocks": body["blocks"],
        "private_metadata": body.get("private_metadata", ""), "callback_id": body.get("callback_id", ""),
        "external_id": body.get("external_id", ""), "hash": found.hash, "app_id": state.app.id,
        "state": {"values": found.values}, "clear_on_close": bool(body.get("clear_on_close")),
        "notify_on_close": bool(body.get("notify_on_close")), "root_view_id": found.root,
        "previous_view_id": found.previous or None, "app_installed_team_id": state.team, "bot_id": state.app.bot_id,
    }  # fmt: skip
    if body["type"] == "modal":
        made |= {"title": body["title"], "submit": body.get("submit"), "close": body.get("close")}
        made["submit_disabled"] = bool(body.get("submit_disabled"))
    return made


def file(state: State, found: File) -> dict[str, Any]:
    if found.deleted:
        return {"id": found.id, "mode": "tombstone"}
    url = f"{state.base_url}/files-pri/{state.team}-{found.id}/{found.name}"
    return {
        "id": found.id, "created": found.created, "timestamp": found.created, "name": found.name,
        "title": found.title, "user": found.user, "size": found.length, "mode": "hosted", "is_external": False,
        "url_private": url, "url_private_download": url, "channels": [found.channel] if found.channel else [],
    }  # fmt: skip
