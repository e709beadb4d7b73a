"""What people do in Slack: they type, run commands and shortcuts, and open the app's home.

Each act returns what the client would show of it: ``ok``, or the ``error`` that Slack shows when the app does not
answer (operation_timeout, dispatch_failed, http_service_error). What the client would not let somebody do is Cannot.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bot.range.slack import eyes, payloads, replies, shapes
from bot.range.slack.chat import remove
from bot.range.slack.deliver import Answer, Outbox
from bot.range.slack.eyes import Cannot
from bot.range.slack.http import Refusal
from bot.range.slack.nouns import Channel, Message, Person
from bot.range.slack.state import State

Act = Callable[[Person, dict[str, Any]], dict[str, Any]]
DONE: dict[str, Any] = {"ok": True}


class Hand:
    """The acts by name. None of them holds the lock while the app works."""

    def __init__(self, state: Callable[[], State], outbox: Outbox) -> None:
        self._state, self._outbox = state, outbox
        self.acts: dict[str, Act] = {
            "command": self.command, "message": self.message, "delete": self.delete, "shortcut": self.shortcut,
            "home": self.home, "react": self.react, "join": self.join, "leave": self.leave, "invite": self.invite,
            "dm": self.dm,
        }  # fmt: skip

    @property
    def state(self) -> State:
        return self._state()

    def told(self, person: Person, answer: Answer, what: str) -> dict[str, Any]:
        """The result of an act; the person is told when the app did not answer."""
        if answer.ok:
            return dict(DONE)
        with self.state.lock:
            self.state.notice(person.id, f'{what} failed with the error "{answer.error}"')
        return {"ok": False, "error": answer.error}

    # commands ------------------------------------------------------------------------------------------------------

    def command(self, person: Person, body: dict[str, Any]) -> dict[str, Any]:
        """``{channel, text}``: run a slash command."""
        word, _, text = str(body.get("text", "")).partition(" ")
        if not re.fullmatch(r"/[^\s/]+", word):
            raise Cannot("not_a_command", f"{word!r} is no command; it would be posted as a message")
        if body.get("thread_ts"):
            raise Cannot("not_in_threads", f"{word} is not supported in threads. Sorry!")
        with self.state.lock:
            known, channel = self.state.app.commands, eyes.channel_of(self.state, person, body.get("channel"))
            if known is not None and word not in known:
                raise Cannot("unknown_command", f"{word} is not a valid command")
            if known is not None and known[word].get("should_escape"):
                text = escaped(self.state, text)
            payload = payloads.command(self.state, person, channel, word, text.strip())
            hook = self.state.hooks[payload["response_url"].rsplit("/", 1)[1]]
        answer = self._outbox.send("command", payload)
        if answer.ok and answer.body is not None:
            try:
                with self.state.lock:
                    replies.say(self.state, hook, answer.body)
            except Refusal as refusal:
                answer = Answer(error=refusal.error)
        return self.told(person, answer, word)

    # messages ------------------------------------------------------------------------------------------------------

    def message(self, person: Person, body: dict[str, Any]) -> dict[str, Any]:
        """``{channel, text, thread_ts?}``: post a message. The app is told as far as it asked to be."""
        text, thread = str(body.get("text", "")), str(body.get("thread_ts") or "")
        with self.state.lock:
            channel = eyes.channel_of(self.state, person, body.get("channel"))
            if channel.archived:
                raise Cannot("is_archived", f"#{channel.name} is archived")
            if not text:
                raise Cannot("no_text", "there is nothing to post")
            if thread and thread not in channel.messages:
                raise Cannot("thread_not_found", f"there is no message {thread} in #{channel.name}")
            text = escaped(self.state, text)
            posted = self.state.post(channel, person.id, text, thread_ts=thread)
            events = self._events(person, channel, posted)
        for each in events:
            self._outbox.event(each)
        return {**DONE, "ts": posted.ts, "channel": channel.id}

    def _events(self, person: Person, channel: Channel, posted: Message) -> list[dict[str, Any]]:
        """What the app hears of a message: only in channels that it is in, and only what it subscribed to."""
        app = self.state.app
        if app.bot_user not in channel.members:
            return []
        kinds = {"public": ("channel", "channels"), "private": ("group", "groups"), "im": ("im", "im")}
        kind, name = kinds[channel.kind]
        said = shapes.message(self.state, posted) | {"channel": channel.id, "event_ts": posted.ts}
        if channel.is_ext_shared:
            said |= {"user_team": person.team_id, "source_team": person.team_id}
        made = []
        if f"message.{name}" in app.events:
            made.append(said | {"channel_type": kind})
        if f"<@{app.bot_user}>" in posted.text and "app_mention" in app.events and kind != "im":
            made.append(said | {"type": "app_mention"})
        return [payloads.event(self.state, each, channel) for each in made]

    def delete(self, person: Person, body: dict[str, Any]) -> dict[str, Any]:
        """``{channel, ts}``: delete a message of one's own."""
        with self.state.lock:
            found = eyes.message_of(self.state, person, body)
            if found.user != person.id:
                raise Cannot("cant_delete_message", "people delete only what they wrote")
            remove(self.state, self.state.channels[found.channel], found)
        return dict(DONE)

    def react(self, person: Person, body: dict[str, Any]) -> dict[str, Any]:
        """``{channel, ts, name}``: add a reaction."""
        name = str(body.get("name", "")).strip(":")
        with self.state.lock:
            found = eyes.message_of(self.state, person, body)
            who = found.reactions.setdefault(name, [])
            if person.id in who:
                raise Cannot("already_reacted", f"{person.name} has reacted with {name}")
            who.append(person.id)
            self.state.changed()
            item = {"type": "message", "channel": found.channel, "ts": found.ts}
            said = {
                "type": "reaction_added", "user": person.id, "reaction": name, "item_user": found.user, "item": item,
                "event_ts": self.state.new_ts(),
            }  # fmt: skip
            channel = self.state.channels[found.channel]
            heard = "reaction_added" in self.state.app.events and self.state.app.bot_user in channel.members
            event = payloads.event(self.state, said, channel)
        if heard:
            self._outbox.event(event)
        return dict(DONE)

    # channels ------------------------------------------------------------------------------------------------------

    def join(self, person: Person, body: dict[str, Any]) -> dict[str, Any]:
        """``{channel}``: join a public channel."""
        with self.state.lock:
            channel = eyes.channel_of(self.state, person, body.get("channel"), member=False)
            if person.id not in channel.members:
                channel.members.append(person.id)
                self.state.changed()
        return {**DONE, "channel": channel.id}

    def leave(self, person: Person, body: dict[str, Any]) -> dict[str, Any]:
        """``{channel}``: leave a channel."""
        with self.state.lock:
            channel = eyes.channel_of(self.state, person, body.get("channel"))
            channel.members.remove(person.id)
            self.state.changed()
        return dict(DONE)

    def invite(self, person: Person, body: dict[str, Any]) -> dict[str, Any]:
        """``{channel, who}``: bring somebody of the workspace, or the app, into a channel one is in."""
        word, event = str(body.get("who", "")).removeprefix("@"), None
        with self.state.lock:
            channel = eyes.channel_of(self.state, person, body.get("channel"))
            found = next((p for p in self.state.people.values() if word in (p.id, p.name)), None)
            if found is None or found.team_id != self.state.team or channel.kind == "im":
                raise Cannot("user_not_found", f"{word!r} cannot be invited to #{channel.name}")
            if found.id in channel.members:
                raise Cannot("already_in_channel", f"{found.name} is in #{channel.name}")
            channel.members.append(found.id)
            self.state.changed()
            if "member_joined_channel" in self.state.app.events and self.state.app.bot_user in channel.members:
                kind = "C" if channel.kind == "public" else "G"
                said = {
                    "type": "member_joined_channel", "user": found.id, "channel": channel.id, "channel_type": kind,
                    "team": self.state.team, "inviter": person.id, "event_ts": self.state.new_ts(),
                }  # fmt: skip
                event = payloads.event(self.state, said, channel)
        if event is not None:
            self._outbox.event(event)
        return dict(DONE)

    def dm(self, person: Person, _body: dict[str, Any]) -> dict[str, Any]:
        """Open the direct message with the app."""
        if person.team_id != self.state.team:
            raise Cannot("user_not_visible", "the app is of another workspace")
        with self.state.lock:
            return {**DONE, "channel": self.state.dm(person.id).id}

    # shortcuts and home --------------------------------------------------------------------------------------------

    def shortcut(self, person: Person, body: dict[str, Any]) -> dict[str, Any]:
        """``{callback_id}`` for a global shortcut, with ``channel`` and ``ts`` for one on a message."""
        callback_id, on = str(body.get("callback_id", "")), bool(body.get("ts"))
        with self.state.lock:
            known = self.state.app.shortcuts
            if known is not None and known.get(callback_id) != ("message" if on else "global"):
                raise Cannot("unknown_shortcut", f"there is no such shortcut as {callback_id!r}")
            message = eyes.message_of(self.state, person, body) if on else None
            if not on and person.team_id != self.state.team:
                raise Cannot("unknown_shortcut", "the app is not installed in this person's workspace")
            payload = payloads.shortcut(self.state, person, callback_id, message)
        return self.told(person, self._outbox.send("interactive", payload), callback_id)

    def home(self, person: Person, body: dict[str, Any]) -> dict[str, Any]:
        """Open the app's Home (or, with ``tab`` messages, its messages); the app is told each time."""
        if person.team_id != self.state.team:
            raise Cannot("user_not_visible", "the app is of another workspace")
        tab = str(body.get("tab", "home"))
        with self.state.lock:
            heard = "app_home_opened" in self.state.app.events
            if tab == "home" and not self.state.app.home:
                raise Cannot("not_enabled", "the app has no Home")
            view = self.state.views.get(self.state.homes.get(person.id, ""))
            said = {
                "type": "app_home_opened", "user": person.id, "channel": self.state.dm(person.id).id, "tab": tab,
                "event_ts": self.state.new_ts(),
                **({"view": shapes.view(self.state, view)} if view and tab == "home" else {}),
            }  # fmt: skip
            event = payloads.event(self.state, said)
        if heard:
            self._outbox.event(event)
        return dict(DONE)


_MADE = re.compile(r"<[@#!][A-Z0-9a-z^|_.-]+>")  # a mention that was chosen from the list


def escaped(state: State, text: str) -> str:
    """What somebody typed, as Slack keeps and sends it: & < > as entities, <links>, @names, @groups, #channels.

    docs.slack.dev/messaging/formatting-message-text. So a secret or an address in a message is not there to the letter.
    """
    pieces, end = [], 0
    for made in _MADE.finditer(text):
        pieces += [_typed(state, text[end : made.start()]), made[0]]
        end = made.end()
    return "".join([*pieces, _typed(state, text[end:])])


def _typed(state: State, text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    def person(found: re.Match[str]) -> str:
        word = found[1]
        for each in state.people.values():
            if each.name == word:
                return f"<@{each.id}>"
        for group in state.groups.values():
            if group.handle == word:
                return f"<!subteam^{group.id}>"
        return found[0]

    def channel(found: re.Match[str]) -> str:
        for each in state.channels.values():
            if each.name == found[1] and each.kind == "public":
                return f"<#{each.id}>"
        return found[0]

    text = re.sub(r"https?://[^\s&]+(?:&amp;[^\s&]+)*", lambda found: f"<{found[0]}>", text)
    text = re.sub(r"(?<![\w<])@([a-z0-9._-]*[a-z0-9])", person, text)
    return re.sub(r"(?<![\w<&/])#([a-z0-9_-]+)", channel, text)
