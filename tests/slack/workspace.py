"""Bulkhead's room in the range's Slack: its people click, and requests of any kind are sent to its door."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import requests
from pydantic import SecretStr

from bot.app import Bulkhead, opened
from bot.clients import AwsClients, GitHubClient, RealClock
from bot.range.slack.deliver import sign
from bot.settings import Settings
from bot.sites import Site
from bot.slack.features import FEATURES
from bot.slack.manifest import manifest
from bot.slack.room import Room
from bot.store import canonical, iso
from tests.incidents import ASKED as ONE_ASKED
from tests.incidents import BOOK, KEY, LOOK, OPENED, REPORT, ROW, SEVERITY, TRIAGE
from tests.slack_range import Slack, serving, until

NOBODY = "http://127.0.0.1:9"  # nobody listens there
INCIDENT = "inc-2026-03-01-0badcafe"
PLAN, PLAN_OF_TWO = "0123456789abcdef", "2" * 16


def asked(**changed: Any) -> dict[str, Any]:
    """The body of an ``asked`` event."""
    return {**ONE_ASKED, "expires_at": "", "on_silence": "hold", **changed}


@dataclass
class Workspace:
    """A Slack with our room in it. ``door``: where the room's door listens over HTTP."""

    slack: Slack
    house: Bulkhead
    room: Room
    door: str
    settled: list[str] = field(default_factory=list)

    def send(
        self, payload: dict[str, Any], *, secret: str = "", at: float | None = None, form: bool = True,
        headers: dict[str, str] | None = None,
    ) -> requests.Response:  # fmt: skip
        """One request to the door, signed as Slack signs; ``headers`` replace what it carries."""
        return self.post(*self.signed(payload, secret=secret, at=at, form=form, headers=headers))

    def signed(
        self, payload: dict[str, Any], *, secret: str = "", at: float | None = None, form: bool = True,
        headers: dict[str, str] | None = None,
    ) -> tuple[bytes, dict[str, str]]:  # fmt: skip
        """The raw body and headers of a request."""
        if "command" in payload:
            body, kind = urlencode(payload), "application/x-www-form-urlencoded"
        elif form and payload.get("type") != "event_callback":
            body, kind = urlencode({"payload": json.dumps(payload)}), "application/x-www-form-urlencoded"
        else:
            body, kind = json.dumps(payload), "application/json"
        stamp = str(int(time.time() if at is None else at))
        signature = sign(secret or self.slack.cast["signing_secret"], stamp, body)
        made = {"x-slack-request-timestamp": stamp, "x-slack-signature": signature, "content-type": kind}
        return body.encode(), made | (headers or {})

    def post(self, body: bytes, headers: dict[str, str]) -> requests.Response:
        return self.slack.http.post(self.door, data=body, headers=headers, timeout=30)

    def idle(self) -> None:
        """Wait until everything that has landed is settled, and everybody is told."""
        until(lambda: not self.room.deliveries.waiting() and not self.room.asides)

    # what people do ------------------------------------------------------------------------------------------------

    def command(self, user: str, text: str, channel: str = "incidents") -> dict[str, Any]:
        """Run the slash command; returns what the client shows."""
        word = self.room.word
        shown = self.slack.hand(user, "command", channel=self.slack.channel(channel), text=f"{word} {text}".strip())
        self.idle()
        return shown

    def whispers(self, user: str) -> list[str]:
        """Everything that the app has told this person alone, oldest first: ephemerals and direct messages."""
        seen = self.slack.look(user)
        bot = self.slack.range.state.app.bot_user
        return [
            str(message["text"]) for channel in seen["channels"] for message in channel["messages"]
            if message.get("user") == bot and (message.get("ephemeral") or channel["kind"] == "im")
        ]  # fmt: skip

    def click(self, user: str, action: str, value: dict[str, str], channel: str = "incidents") -> requests.Response:
        """A click on a button of a message, sent to the door as Slack sends it; waits until it is worked."""
        answer = self.send(self.button(user, action, value, channel))
        self.idle()
        return answer

    def button(self, user: str, action: str, value: dict[str, str], channel: str = "incidents") -> dict[str, Any]:
        """The payload of a click on a button of a message."""
        state = self.slack.range.state
        person = state.people[self.slack.user(user)]
        place = {"id": self.slack.channel(channel), "name": channel}
        with state.lock:
            return {
                "type": "block_actions", "team": {"id": state.team, "domain": "x"}, "api_app_id": state.app.id,
                "user": {"id": person.id, "name": person.name, "team_id": person.team_id},
                "token": state.app.verification, "enterprise": None, "channel": place,
                "container": {"type": "message", "message_ts": "1.1", "channel_id": place["id"]},
                "trigger_id": state.new_trigger(person.id),
                "response_url": state.new_hook(user=person.id, channel=place["id"]),
                "actions": [{"type": "button", "action_id": action, "block_id": "b", "value": json.dumps(value),
                             "action_ts": str(time.time())}],
            }  # fmt: skip

    # incidents -----------------------------------------------------------------------------------------------------

    def incident(self, *more: tuple[str, str, Any], by: str = "jonas", incident: str = INCIDENT) -> str:
        """A made-up incident whose step ``deactivate`` was looked at; ``more`` events follow. Returns its id."""
        report = REPORT | {"by": by}
        body = {"report": report, "inbox": "cli:1", "playbook": BOOK | {"text": "id: x\n", "drill": ""}}
        at = datetime.now(UTC) - timedelta(minutes=5)
        row = {"id": incident, "opened_at": iso(at), "world": "real", "status": "open",
               "title": "Leaked AWS access key", "credential_key": ROW, "body": canonical(body)}  # fmt: skip
        with self.house.store.begin() as c:
            self.house.store.add_incident(c, row)
        first = OPENED | {"report": report}
        story = [("incident", "opened", first), ("incident", "triage", TRIAGE), ("incident", "severity", SEVERITY),
                 ("deactivate", "look", LOOK)]  # fmt: skip
        for n, (step, kind, said) in enumerate([*story, *more]):
            self.house.timeline.append(incident, step, kind, said, at=iso(at + timedelta(seconds=n))).result()
        return incident

    def events(self, kind: str, incident: str = INCIDENT) -> list[Any]:
        """The bodies of an incident's events of a kind."""
        return [event["body"] for event in self.house.store.events(incident) if event["kind"] == kind]


def settings_of(slack: Slack, home: Path, **changed: Any) -> Settings:
    """Settings with which Bulkhead works in this Slack: responders decide, approvers where two must agree."""
    cast = slack.cast
    groups = cast["groups"]
    named = f"one={groups['responders']},person={groups['responders']},lead={groups['responders']}"
    return Settings(**{
        "home": home, "mode": "ask", "slack_api": f"{slack.url}/api/",
        "slack_bot_token": SecretStr(cast["bot_token"]), "slack_signing_secret": SecretStr(cast["signing_secret"]),
        "slack_groups": f"{named},two={groups['approvers']}", **changed,
    })  # fmt: skip


def nowhere() -> Site:
    """Clients of providers that nobody answers."""
    github = GitHubClient(token="none", base_url=NOBODY)
    return Site(name="real", aws=AwsClients(endpoint=NOBODY), github=github, clock=RealClock(), identities=())


@contextmanager
def moved_in(
    slack: Slack, home: Path, *, boundary: Callable[[str], None] = lambda _name: None, **changed: Any
) -> Iterator[Workspace]:
    """Our room in this Slack, with its door on a port of its own."""
    with opened(settings_of(slack, home, **changed), sites={"real": nowhere()}, boundary=boundary) as house:
        room = Room(house, FEATURES)
        try:
            with serving(room.http) as url:
                # what its scopes do not allow is refused; Slack takes https only, so where it listens is said beside it
                made = manifest(command=room.word, url="https://bulkhead.example")
                slack.range.install({"manifest": made, "request_url": f"{url}/slack/events", "rate_limits": False})
                yield Workspace(slack, house, room, f"{url}/slack/events")
        finally:
            room.close()


__all__ = ["INCIDENT", "KEY", "PLAN", "PLAN_OF_TWO", "Workspace", "asked", "moved_in", "nowhere", "settings_of"]
