"""The things of the range's Slack: people, channels, messages, views, the installed app and what it was handed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Blocks = list[dict[str, Any]]
TokenKind = Literal["bot", "app", "user"]


@dataclass(slots=True, kw_only=True)
class Person:
    """A member of a workspace; the app's bot is one too."""

    id: str
    name: str  # the handle, as in @alice
    real_name: str
    team_id: str
    email: str = ""
    is_bot: bool = False
    is_restricted: bool = False  # a guest: sees only the channels it is in
    deleted: bool = False
    tz: str = "Etc/UTC"  # as the person's own client has set it; "" = it never has


@dataclass(slots=True, kw_only=True)
class Group:
    """A user group (Slack's "usergroup" or "subteam")."""

    id: str
    handle: str
    name: str
    users: list[str] = field(default_factory=list)
    disabled: bool = False


@dataclass(slots=True, kw_only=True)
class Message:
    """A message, or one that only ``only_for`` sees (ephemeral)."""

    ts: str
    channel: str
    user: str
    text: str = ""
    blocks: Blocks = field(default_factory=list)
    thread_ts: str = ""
    by_app: bool = False
    broadcast: bool = False
    metadata: dict[str, Any] | None = None
    edited: str = ""  # ts of the last edit
    only_for: str = ""
    subtype: str = ""
    files: list[str] = field(default_factory=list)
    reactions: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Channel:
    """A channel, a private channel or a direct message (``kind`` im)."""

    id: str
    name: str
    kind: Literal["public", "private", "im"] = "public"
    is_general: bool = False
    is_ext_shared: bool = False  # Slack Connect
    archived: bool = False
    topic: str = ""
    creator: str = ""
    created: int = 0
    members: list[str] = field(default_factory=list)
    messages: dict[str, Message] = field(default_factory=dict)  # by ts, oldest first
    threads: dict[str, list[str]] = field(default_factory=dict)  # ts -> those of its replies, oldest first
    whispers: list[Message] = field(default_factory=list)  # ephemeral ones; no API reads them back
    pins: list[str] = field(default_factory=list)
    bookmarks: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class View:
    """A modal or an App Home. ``body`` is what the app sent, with every block_id and action_id filled in."""

    id: str
    user: str
    body: dict[str, Any]
    hash: str
    root: str = ""
    previous: str = ""
    values: dict[str, dict[str, Any]] = field(default_factory=dict)  # block_id -> action_id -> state
    errors: dict[str, str] = field(default_factory=dict)  # of the last submission, by block_id


@dataclass(slots=True, kw_only=True)
class Trigger:
    """A trigger_id. ``made`` is of the machine's monotonic clock."""

    user: str
    made: float
    view: str = ""  # the modal that it came from
    used: bool = False


@dataclass(slots=True, kw_only=True)
class Hook:
    """A response_url. ``made`` is of the range's clock."""

    user: str
    channel: str
    made: float
    ts: str = ""  # the message whose button it was
    only_for: str = ""  # that message was ephemeral, for this person
    command: str = ""  # the command, which in_channel would show to everybody
    uses: int = 0


@dataclass(slots=True, kw_only=True)
class Token:
    """A bot's, an app-level or a user's token."""

    value: str
    kind: TokenKind
    user: str
    scopes: tuple[str, ...]
    revoked: bool = False


@dataclass(slots=True, kw_only=True)
class File:
    """An uploaded file. It has no content until it is uploaded and no place until the upload is completed."""

    id: str
    name: str
    title: str
    length: int
    user: str
    created: int
    upload: str  # the token of the upload URL; '' once used
    content: bytes | None = None
    channel: str = ""
    deleted: bool = False


@dataclass(slots=True, kw_only=True)
class Scheduled:
    """A message to be posted at ``post_at`` (seconds since the epoch, by the range's clock)."""

    id: str
    channel: str
    post_at: int
    created: int
    message: dict[str, Any]  # text, blocks, thread_ts, metadata


@dataclass(slots=True, kw_only=True)
class Code:
    """A code of Sign in with Slack, on its way to be exchanged."""

    user: str
    redirect_uri: str
    nonce: str
    scopes: tuple[str, ...]
    made: float
    used: bool = False


@dataclass(slots=True, kw_only=True)
class Installed:
    """The app: what it is told once, where it listens, and what its manifest asks for."""

    id: str
    bot_user: str
    bot_id: str
    signing_secret: str
    verification: str
    client_id: str
    client_secret: str
    bot_token: str
    app_token: str
    request_url: str = ""
    socket_mode: bool = False
    events: tuple[str, ...] = ("app_home_opened", "app_mention")
    commands: dict[str, dict[str, Any]] | None = None  # None: no manifest, every command is the app's
    shortcuts: dict[str, str] | None = None  # callback_id -> global or message; None: no manifest
    shortcut_names: dict[str, str] = field(default_factory=dict)  # callback_id -> how the client calls it
    redirect_urls: tuple[str, ...] = ()
    user_scopes: tuple[str, ...] | None = None  # that people may be asked for; None: no manifest
    home: bool = True
    ack_s: float = 3.0  # how long a person waits for the app
    trigger_s: float = 3.0
