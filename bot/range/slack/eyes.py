"""What a person sees: their channels, what was said there, what is open in front of them."""

from __future__ import annotations

from typing import Any

from bot.range.slack import shapes
from bot.range.slack.nouns import Channel, Message, Person, View
from bot.range.slack.state import State


class Cannot(Exception):
    """What this person cannot do in the client: ``error`` for programs, the message for people."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


def look(state: State, person: Person) -> dict[str, Any]:
    """All of it. ``version`` grows with every change anywhere."""
    channels = [_channel(state, person, c) for c in state.channels.values() if state.sees(person.id, c)]
    home = state.views.get(state.homes.get(person.id, ""))
    return {
        "version": state.version, "team": {"id": state.team, "domain": state.team_domain},
        "user": _user(person), "people": {p.id: _user(p) for p in state.people.values()},
        "groups": {g.id: {"handle": g.handle, "name": g.name, "users": g.users} for g in state.groups.values()},
        "app": {
            "bot_user": state.app.bot_user, "commands": sorted(state.app.commands or ()),
            "shortcuts": state.app.shortcuts or {},
        },
        "channels": channels, "modals": [_view(state, state.views[v]) for v in state.stacks.get(person.id, [])],
        "home": _view(state, home) if home else None, "notices": list(state.notices.get(person.id, [])),
    }  # fmt: skip


def _user(person: Person) -> dict[str, Any]:
    return {
        "id": person.id, "name": person.name, "real_name": person.real_name, "team_id": person.team_id,
        "is_bot": person.is_bot, "is_restricted": person.is_restricted,
    }  # fmt: skip


def _channel(state: State, person: Person, channel: Channel) -> dict[str, Any]:
    whispers = [m for m in channel.whispers if m.only_for == person.id]
    rows = sorted([*channel.messages.values(), *whispers], key=lambda m: m.ts)
    return {
        "id": channel.id, "name": channel.name, "kind": channel.kind, "topic": channel.topic,
        "is_ext_shared": channel.is_ext_shared, "archived": channel.archived,
        "is_member": person.id in channel.members, "members": list(channel.members), "pins": list(channel.pins),
        "bookmarks": list(channel.bookmarks), "messages": [_message(state, m) for m in rows],
    }  # fmt: skip


def _message(state: State, message: Message) -> dict[str, Any]:
    shown = shapes.message(state, message, metadata=True)
    return shown | {"ephemeral": bool(message.only_for), "broadcast": message.broadcast}


def _view(state: State, view: View) -> dict[str, Any]:
    return shapes.view(state, view) | {"errors": dict(view.errors)}


# finding what somebody points at -----------------------------------------------------------------------------------


def channel_of(state: State, person: Person, word: Any, *, member: bool = True) -> Channel:
    """A channel by id, or by name with or without #. Raises Cannot when it is not for this person's eyes."""
    name = str(word or "").removeprefix("#")
    for found in state.channels.values():
        if name and name in (found.id, found.name) and state.sees(person.id, found):
            if member and person.id not in found.members:
                raise Cannot("not_in_channel", f"{person.name} is not in #{found.name}")
            return found
    raise Cannot("channel_not_found", f"{person.name} sees no channel {name!r}")


def message_of(state: State, person: Person, body: dict[str, Any]) -> Message:
    """A message by ``channel`` and ``ts``, ephemeral ones too."""
    channel, ts = channel_of(state, person, body.get("channel")), str(body.get("ts", ""))
    whispers = {m.ts: m for m in channel.whispers if m.only_for == person.id}
    found = channel.messages.get(ts) or whispers.get(ts)
    if found is None:
        raise Cannot("message_not_found", f"{person.name} sees no message {ts!r} in #{channel.name}")
    return found


def view_of(state: State, person: Person, body: dict[str, Any]) -> View:
    """The modal on top of a person's stack, or their App Home when ``home`` is said."""
    if body.get("home"):
        found = state.views.get(state.homes.get(person.id, ""))
        if found is None:
            raise Cannot("no_home", f"the app has published no home for {person.name}")
        return found
    stack = state.stacks.get(person.id, [])
    said = body.get("view_id")
    if not stack:
        raise Cannot("no_modal", f"{person.name} has no modal open")
    if said and said != stack[-1]:
        raise Cannot("view_not_found", f"the modal on top of {person.name}'s stack is {stack[-1]}")
    return state.views[stack[-1]]
