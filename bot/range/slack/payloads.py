"""The bodies that the app is sent (docs.slack.dev/reference/interaction-payloads, /interactivity/implementing-slash
-commands, /apis/events-api).

In a Slack Connect channel an outsider's click reaches the app as everybody's does: ``team`` is the workspace where the
app is installed and only ``user.team_id`` tells the stranger. The same holds for an outsider's command here, which real
Slack may not even offer: a double that lets the adversary do more is the safer one.
"""

from __future__ import annotations

from typing import Any

from bot.range.slack import elements, shapes
from bot.range.slack.nouns import Channel, Message, Person, View
from bot.range.slack.state import State

Payload = dict[str, Any]


def common(state: State, person: Person) -> Payload:
    """What every interaction says: who, where, for which app."""
    user = {"id": person.id, "username": person.name, "name": person.name, "team_id": person.team_id}
    return {
        "team": {"id": state.team, "domain": state.team_domain}, "user": user, "api_app_id": state.app.id,
        "token": state.app.verification, "enterprise": None, "is_enterprise_install": False,
    }  # fmt: skip


def place(channel: Channel) -> Payload:
    """A channel's id and name; private ones have their names from the outside only."""
    name = {"public": channel.name, "private": "privategroup", "im": "directmessage"}[channel.kind]
    return {"id": channel.id, "name": name}


def command(state: State, person: Person, channel: Channel, word: str, text: str) -> dict[str, str]:
    """A slash command, as a form's fields."""
    domain = state.team_domain if person.team_id == state.team else state.vendor_domain
    where = place(channel)
    return {
        "token": state.app.verification, "team_id": person.team_id, "team_domain": domain,
        "channel_id": where["id"], "channel_name": where["name"], "user_id": person.id, "user_name": person.name,
        "command": word, "text": text, "api_app_id": state.app.id, "is_enterprise_install": "false",
        "response_url": state.new_hook(user=person.id, channel=channel.id, command=f"{word} {text}".strip()),
        "trigger_id": state.new_trigger(person.id),
    }  # fmt: skip


def message_click(state: State, person: Person, message: Message, actions: list[Payload], held: Payload) -> Payload:
    """block_actions from a message. ``held`` is what the message's other elements hold."""
    channel = state.channels[message.channel]
    thread = {"thread_ts": message.thread_ts} if message.thread_ts else {}
    container = {
        "type": "message", "message_ts": message.ts, "channel_id": channel.id,
        "is_ephemeral": bool(message.only_for), **thread,
    }  # fmt: skip
    hook = state.new_hook(user=person.id, channel=channel.id, ts=message.ts, only_for=message.only_for)
    shown = {} if message.only_for else {"message": shapes.message(state, message, metadata=True)}
    return common(state, person) | shown | {
        "type": "block_actions", "container": container, "channel": place(channel), "state": {"values": held},
        "trigger_id": state.new_trigger(person.id), "response_url": hook, "actions": actions,
    }  # fmt: skip


def view_click(state: State, person: Person, view: View, actions: list[Payload]) -> Payload:
    """block_actions from a modal or an App Home."""
    modal = view.id if view.body["type"] == "modal" else ""
    return common(state, person) | {
        "type": "block_actions", "container": {"type": "view", "view_id": view.id},
        "view": shapes.view(state, view), "trigger_id": state.new_trigger(person.id, modal), "actions": actions,
    }  # fmt: skip


def submission(state: State, person: Person, view: View) -> Payload:
    return common(state, person) | {
        "type": "view_submission", "trigger_id": state.new_trigger(person.id, view.id),
        "view": shapes.view(state, view), "response_urls": _response_urls(state, person, view),
    }  # fmt: skip


def _response_urls(state: State, person: Person, view: View) -> list[Payload]:
    """One for each channel that was chosen in an element with response_url_enabled."""
    made = []
    for block, element in elements.each(view.body["blocks"]):
        if element.get("response_url_enabled"):
            held = view.values[block["block_id"]][element["action_id"]]
            chosen = held.get("selected_conversation") or held.get("selected_channel")
            if chosen in state.channels:
                made.append(
                    {
                        "block_id": block["block_id"], "action_id": element["action_id"], "channel_id": chosen,
                        "response_url": state.new_hook(user=person.id, channel=chosen),
                    }
                )  # fmt: skip
    return made


def closed(state: State, person: Person, view: View, *, cleared: bool) -> Payload:
    return common(state, person) | {
        "type": "view_closed", "view": shapes.view(state, view), "is_cleared": cleared
    }  # fmt: skip


def shortcut(state: State, person: Person, callback_id: str, message: Message | None) -> Payload:
    """A global shortcut, or one on a message."""
    made = common(state, person) | {
        "callback_id": callback_id, "trigger_id": state.new_trigger(person.id), "action_ts": state.new_ts(),
    }  # fmt: skip
    if message is None:
        return made | {"type": "shortcut"}
    channel = state.channels[message.channel]
    hook = state.new_hook(user=person.id, channel=channel.id, ts=message.ts)
    return made | {
        "type": "message_action", "channel": place(channel), "message_ts": message.ts, "response_url": hook,
        "message": shapes.message(state, message, metadata=True),
    }  # fmt: skip


def suggestion(state: State, person: Person, block: Payload, element: Payload, query: str, where: Payload) -> Payload:
    """Ask for the options of an external select. ``where`` is the view, or the message's channel and container."""
    return common(state, person) | where | {
        "type": "block_suggestion", "block_id": block["block_id"], "action_id": element["action_id"], "value": query,
    }  # fmt: skip


def event(state: State, what: Payload, channel: Channel | None = None) -> Payload:
    """The envelope of an event."""
    shared = channel is not None and channel.is_ext_shared
    bot = {
        "enterprise_id": None, "team_id": state.team, "user_id": state.app.bot_user, "is_bot": True,
        "is_enterprise_install": False,
    }  # fmt: skip
    return {
        "token": state.app.verification, "team_id": state.team, "context_team_id": state.team,
        "context_enterprise_id": None, "api_app_id": state.app.id, "event": what, "type": "event_callback",
        "event_id": state.new_id("Ev"), "event_time": int(state.now()), "authorizations": [bot],
        "is_ext_shared_channel": shared, "event_context": f"4-{state.new_id('C')}",
    }  # fmt: skip
