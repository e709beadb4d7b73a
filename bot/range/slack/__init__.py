"""The range's Slack: a real server that is as strict as Slack, with its state in memory and people who use it."""

from __future__ import annotations

import threading
from typing import Any

from starlette.applications import Starlette

from bot.errors import InputError
from bot.range.clock import RangeClock
from bot.range.slack import appconfig, cast, chat
from bot.range.slack.deliver import Outbox
from bot.range.slack.hand import Hand
from bot.range.slack.nouns import Channel
from bot.range.slack.openid import OpenId
from bot.range.slack.page import Page
from bot.range.slack.sockets import Sockets
from bot.range.slack.state import State
from bot.range.slack.touch import Touch
from bot.range.slack.web import SlackWeb
from bot.range.switchboard import AsgiApp, Switchboard

TICK_S = 0.2


class SlackRange:
    """``asgi`` is the app, ``state`` what it serves, ``reset`` begins anew. ``start`` lets its time pass.

    ``patience_s`` is how long people wait for the app and how long a trigger lives: Slack's three seconds.
    """

    def __init__(self, clock: RangeClock, switchboard: Switchboard, patience_s: float = 3.0) -> None:
        self.clock, self._patience_s = clock, patience_s
        self._base_url = ""
        self.cast: dict[str, Any] = {}
        self.sockets = Sockets(lambda: self.state)
        self.outbox = Outbox(lambda: self.state, self.sockets)
        self.reset()
        openid = OpenId(clock)
        self.hand = Hand(lambda: self.state, self.outbox)
        self.touch = Touch(lambda: self.state, self.outbox, self.hand.told)
        self.web = SlackWeb(lambda: self.state, self.sockets, self.hand.acts | self.touch.acts, openid)
        acts = self.hand.acts | self.touch.acts
        self.page = Page(lambda: self.state, acts, self.touch.keep, self.touch.suggested)
        self.asgi: AsgiApp = switchboard.asgi(Starlette(routes=[*self.web.routes(), *self.page.routes()]), "slack")
        self._over = threading.Event()
        self._ticker: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """Origin of the server, without a slash at its end."""
        return self._base_url

    @base_url.setter
    def base_url(self, url: str) -> None:
        self._base_url = self.state.base_url = url.rstrip("/")

    def reset(self) -> dict[str, Any]:
        """A new workspace with the same people, and a new app that listens nowhere yet. Returns the cast."""
        self.sockets.disconnect("link_disabled")
        self.outbox.reset()
        self.state = State(self.clock)
        self.state.base_url = self._base_url
        self.state.app.ack_s = self.state.app.trigger_s = self._patience_s
        self.cast = cast.seed(self.state)
        return self.cast

    def start(self) -> None:
        """Begin to send scheduled messages and late events by themselves."""
        self._ticker = threading.Thread(target=self._tick, daemon=True, name="range-slack")
        self._ticker.start()

    def stop(self) -> None:
        """End what ``start`` began, and the connections."""
        self._over.set()
        if self._ticker is not None:
            self._ticker.join(timeout=5)
        self.sockets.disconnect("link_disabled")

    def _tick(self) -> None:
        while not self._over.wait(TICK_S):
            state = self.state
            if state.scheduled:
                with state.lock:
                    chat.post_due(state)
            if self.outbox.waiting:
                self.outbox.retry_due()

    # for the control address ---------------------------------------------------------------------------------------

    def install(self, body: Any) -> dict[str, Any]:
        """Set how the app is installed. Raises InputError.

        With ``verify`` the request URL is asked first, as Slack asks when it is entered: it must repeat a challenge.
        """
        if isinstance(body, dict) and body.get("verify") and not self.outbox.answers(str(body.get("request_url", ""))):
            raise InputError("the request URL did not answer with the value of the challenge parameter")
        with self.state.lock:
            return appconfig.install(self.state, body)

    def installed(self) -> dict[str, Any]:
        """How it is installed, how many connections it has, and what was sent to it (without bodies)."""
        with self.state.lock:
            found = appconfig.installed(self.state)
        return found | {"connections": self.sockets.count, "sent": list(self.outbox.log)}

    def regroup(self, body: Any) -> dict[str, Any]:
        """``{group, users}``: an admin says who is in a user group. Raises InputError."""
        body = body if isinstance(body, dict) else {}
        names, wanted = body.get("users"), body.get("group")
        with self.state.lock:
            found = next((g for g in self.state.groups.values() if wanted in (g.id, g.handle)), None)
            known = {p.name: p.id for p in self.state.people.values() if p.team_id == self.state.team}
            if found is None or not isinstance(names, list) or not set(map(str, names)) <= set(known):
                raise InputError(f"a group is one of {', '.join(self.cast['groups'])}, its users are of the workspace")
            found.users = [known[name] for name in names]
            self.state.changed()
        return {"group": found.handle, "users": names}

    def disconnect(self, reason: str, *, close: bool = True) -> dict[str, Any]:
        """End (or only warn) the app's Socket Mode connections, as Slack does every few hours."""
        return {"connections": self.sockets.disconnect(reason, close=close)}

    def snapshot(self) -> dict[str, Any]:
        """What matters for comparing end states: what stands in each channel, without ids and times."""
        with self.state.lock:
            return {
                "channels": {
                    self._name_of(c): {"members": len(c.members), "messages": [m.text for m in c.messages.values()]}
                    for c in self.state.channels.values()
                },
                "modals": sum(len(stack) for stack in self.state.stacks.values()),
            }

    def _name_of(self, channel: Channel) -> str:
        """A channel's name; a direct message is called after its person."""
        if channel.name:
            return channel.name
        return "@" + next(self.state.people[m].name for m in channel.members if m != self.state.app.bot_user)

    def values(self) -> list[str]:
        """Every secret that it knows."""
        with self.state.lock:
            app = self.state.app
            return [*self.state.tokens, app.signing_secret, app.client_secret, app.verification]
