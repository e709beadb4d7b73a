"""What the range's Slack knows, in memory, and the few acts that more than one room needs."""

from __future__ import annotations

import secrets
import string
import threading
import time
from typing import Any

from bot.range.clock import RangeClock
from bot.range.slack.limits import Limits
from bot.range.slack.nouns import (
    Blocks,
    Channel,
    Code,
    File,
    Group,
    Hook,
    Installed,
    Message,
    Person,
    Scheduled,
    Token,
    Trigger,
    View,
)  # fmt: skip

_ALPHABET = string.ascii_uppercase + string.digits
MAX_STACK = 3  # one modal opened, two pushed
HOOK_S, HOOK_USES = 1800.0, 5  # of a response_url
MAX_KEPT = 20_000  # triggers and response URLs


class State:
    """Every method holds ``lock`` or is called by one that does."""

    def __init__(self, clock: RangeClock) -> None:
        self.clock, self.lock, self.limits = clock, threading.RLock(), Limits()
        self.base_url = ""
        self.team, self.team_domain = self.new_id("T"), "harbor-lights"
        self.vendor, self.vendor_domain = self.new_id("T"), "dock-supplies"
        self.people: dict[str, Person] = {}
        self.groups: dict[str, Group] = {}
        self.channels: dict[str, Channel] = {}
        self.tokens: dict[str, Token] = {}
        self.views: dict[str, View] = {}  # every view that is open, modals and homes
        self.stacks: dict[str, list[str]] = {}  # user -> ids of its modals, the top one last
        self.homes: dict[str, str] = {}  # user -> id of its App Home
        self.triggers: dict[str, Trigger] = {}
        self.hooks: dict[str, Hook] = {}
        self.files: dict[str, File] = {}
        self.scheduled: dict[str, Scheduled] = {}
        self.codes: dict[str, Code] = {}
        self.notices: dict[str, list[str]] = {}  # user -> what Slack itself told it
        self.version = 0  # grows with every change, so that a page can ask whether there is one
        self._last_ts = 0
        self.app = self._app()

    def _app(self) -> Installed:
        bot = self.add_person("bulkhead", "Bulkhead", is_bot=True)
        numbers = "-".join(str(secrets.randbelow(9 * 10**11) + 10**11) for _ in range(2))
        app = Installed(
            id=self.new_id("A"), bot_user=bot.id, bot_id=self.new_id("B"), signing_secret=secrets.token_hex(16),
            verification=secrets.token_urlsafe(18), client_id=numbers.replace("-", "."),
            client_secret=secrets.token_hex(16), bot_token=f"xoxb-{numbers}-{secrets.token_urlsafe(18)}",
            app_token=f"xapp-1-{self.new_id('A')}-{numbers}-{secrets.token_hex(32)}",
        )  # fmt: skip
        self.tokens[app.bot_token] = Token(value=app.bot_token, kind="bot", user=bot.id, scopes=BOT_SCOPES)
        self.tokens[app.app_token] = Token(
            value=app.app_token, kind="app", user=bot.id, scopes=("connections:write",)
        )  # fmt: skip
        return app

    # names and numbers ---------------------------------------------------------------------------------------------

    def new_id(self, prefix: str) -> str:
        return prefix + "0" + "".join(secrets.choice(_ALPHABET) for _ in range(9))

    def now(self) -> float:
        """Seconds since the epoch by the range's clock."""
        return self.clock.time()

    def new_ts(self) -> str:
        """A message's ts: the range's time, and never the same or an earlier one twice."""
        self._last_ts = max(int(self.now() * 1_000_000), self._last_ts + 1)
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06}"

    def changed(self) -> None:
        self.version += 1

    # people and channels -------------------------------------------------------------------------------------------

    def add_person(
        self, name: str, real_name: str, *, team_id: str = "", is_bot: bool = False, is_restricted: bool = False
    ) -> Person:
        """Somebody new of this workspace, or of ``team_id``. Bots have no e-mail address."""
        team = team_id or self.team
        domain = self.team_domain if team == self.team else self.vendor_domain
        person = Person(
            id=self.new_id("U"), name=name, real_name=real_name, team_id=team, is_bot=is_bot,
            is_restricted=is_restricted, email="" if is_bot else f"{name}@{domain}.example",
        )  # fmt: skip
        self.people[person.id] = person
        return person

    def add_group(self, handle: str, name: str, users: list[str]) -> Group:
        group = Group(id=self.new_id("S"), handle=handle, name=name, users=list(users))
        self.groups[group.id] = group
        return group

    def add_channel(self, name: str, members: list[str], **more: Any) -> Channel:
        channel = Channel(
            id=self.new_id("C"), name=name, members=list(members), created=int(self.now()), **more
        )  # fmt: skip
        self.channels[channel.id] = channel
        self.changed()
        return channel

    def dm(self, user: str) -> Channel:
        """The direct message between the app and a person; opened when there is none."""
        for channel in self.channels.values():
            if channel.kind == "im" and user in channel.members:
                return channel
        channel = Channel(
            id=self.new_id("D"), name="", kind="im", members=[user, self.app.bot_user], created=int(self.now())
        )  # fmt: skip
        self.channels[channel.id] = channel
        return channel

    def sees(self, user: str, channel: Channel) -> bool:
        """Whether a person may read a channel: its members, and for a public one everybody of the workspace."""
        person = self.people[user]
        if user in channel.members:
            return True
        return channel.kind == "public" and person.team_id == self.team and not person.is_restricted

    # messages ------------------------------------------------------------------------------------------------------

    def post(self, channel: Channel, user: str, text: str, blocks: Blocks | None = None, **more: Any) -> Message:
        """Append a message. Blocks get the block_ids and action_ids that they lack."""
        message = Message(
            ts=self.new_ts(), channel=channel.id, user=user, text=text, blocks=self.named(blocks or []), **more
        )  # fmt: skip
        if message.only_for:
            channel.whispers.append(message)
        else:
            channel.messages[message.ts] = message
            if message.thread_ts:
                channel.threads.setdefault(message.thread_ts, []).append(message.ts)
        self.changed()
        return message

    def named(self, blocks: Blocks) -> Blocks:
        """The blocks with an id for each block and each element that can be clicked."""
        return [self._named_block(block) for block in blocks]

    def _named_block(self, block: dict[str, Any]) -> dict[str, Any]:
        made = {**block, "block_id": block.get("block_id") or secrets.token_urlsafe(4)}
        for key in ("accessory", "element"):
            if isinstance(made.get(key), dict):
                made[key] = _named_element(made[key])
        if made["type"] in ("actions", "context_actions"):
            made["elements"] = [_named_element(each) for each in made["elements"]]
        return made

    def replies(self, channel: Channel, ts: str) -> list[Message]:
        """The replies under a message, oldest first."""
        return [channel.messages[each] for each in channel.threads.get(ts, ())]

    def notice(self, user: str, text: str) -> None:
        """Something that Slack itself tells a person, as the grey line under the composer."""
        self.notices.setdefault(user, []).append(text)
        del self.notices[user][:-20]
        self.changed()

    # triggers and response URLs ------------------------------------------------------------------------------------

    def new_trigger(self, user: str, view: str = "") -> str:
        value = f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**11)}.{secrets.token_hex(16)}"
        _keep_newest(self.triggers)
        self.triggers[value] = Trigger(user=user, made=time.monotonic(), view=view)
        return value

    def new_hook(self, **what: Any) -> str:
        """A response_url for a command, or for a click on a message."""
        token = secrets.token_urlsafe(24)
        _keep_newest(self.hooks)
        self.hooks[token] = Hook(made=self.now(), **what)
        return f"{self.base_url}/respond/{self.team}/{token}"


def _keep_newest(rows: dict[str, Any]) -> None:
    """Forget the oldest, so that a range which runs for days does not grow: they have expired long ago."""
    while len(rows) >= MAX_KEPT:
        del rows[next(iter(rows))]


def _named_element(element: dict[str, Any]) -> dict[str, Any]:
    if element.get("type") == "image" or element.get("action_id"):
        return element
    return {**element, "action_id": secrets.token_urlsafe(4)}


BOT_SCOPES = (
    "app_mentions:read", "bookmarks:write", "channels:history", "channels:join", "channels:manage", "channels:read",
    "chat:write", "commands", "files:write", "groups:history", "groups:read", "groups:write", "im:history", "im:read",
    "im:write", "pins:write", "reactions:write", "usergroups:read", "users:read", "users:read.email",
)  # fmt: skip
