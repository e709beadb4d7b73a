"""How Slack's Web API answers: whose token it is, scopes, arguments, rate limits, errors.

Every answer but a rate limit is HTTP 200 with ``ok``; the errors are those of docs.slack.dev/reference/methods.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from bot.range.slack.nouns import Channel, Message, Person, Token, TokenKind
from bot.range.slack.state import State

MAX_PAGE = 1000
# Scope that a method needs for each kind of channel
_CHANNEL_SCOPES = {
    "read": {"public": "channels:read", "private": "groups:read", "im": "im:read"},
    "history": {"public": "channels:history", "private": "groups:history", "im": "im:history"},
    "manage": {"public": "channels:manage", "private": "groups:write", "im": "im:write"},
}


class Refusal(Exception):
    """An answer that is not ok. ``more`` stands beside the error in the body."""

    def __init__(self, error: str, *, retry_after: int = 0, **more: Any) -> None:
        super().__init__(error)
        self.error, self.retry_after, self.more = error, retry_after, more

    def body(self) -> dict[str, Any]:
        return {"ok": False, "error": self.error, **self.more}


def invalid_arguments(*messages: str) -> Refusal:
    """What Slack says of arguments that break its schema."""
    return Refusal("invalid_arguments", response_metadata={"messages": [f"[ERROR] {m}" for m in messages]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of the Web API. ``scopes``: one of them is needed (none: every token of these kinds may)."""

    name: str
    handle: Callable[[Call], dict[str, Any] | None]
    scopes: tuple[str, ...] = ()
    tier: int = 3
    kinds: tuple[TokenKind, ...] = ("bot",)  # () for methods without a token


@dataclass(slots=True, kw_only=True)
class Call:
    """One call: its arguments, who makes it, and the state to answer from."""

    state: State
    method: Method
    args: dict[str, Any]
    token: Token | None = None
    authorization: str = ""  # the header as it came

    # arguments -----------------------------------------------------------------------------------------------------

    def word(self, name: str, default: str | None = None) -> str:
        """A string argument. Without a default it must be there: ``invalid_arguments`` otherwise."""
        value = self.args.get(name)
        if value is None or value == "":
            if default is None:
                raise invalid_arguments(f"missing required field: {name}")
            return default
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise invalid_arguments(f"must be a string [json-pointer:/{name}]")
        return str(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.args.get(name, default)
        if value in (True, "true", "1", 1):
            return True
        if value in (False, None, "", "false", "0", 0):
            return False
        raise invalid_arguments(f"must be a boolean [json-pointer:/{name}]")

    def number(self, name: str, default: int) -> int:
        try:
            return int(self.word(name, str(default)))
        except ValueError:
            raise invalid_arguments(f"must be an integer [json-pointer:/{name}]") from None

    def json(self, name: str, error: str = "invalid_arguments") -> Any:
        """A structured argument, as JSON or as the text of it in a form; None when it is not there."""
        value = self.args.get(name)
        if not isinstance(value, str):
            return value
        if not value:
            return None
        try:
            return json.loads(value)
        except ValueError:
            raise Refusal(error) from None

    def words(self, name: str) -> list[str]:
        """A list of ids, as a list or with commas between."""
        value = self.args.get(name)
        if isinstance(value, list):
            return [str(each) for each in value]
        return [each.strip() for each in self.word(name).split(",") if each.strip()]

    # who may what --------------------------------------------------------------------------------------------------

    @property
    def held(self) -> tuple[str, ...]:
        return self.token.scopes if self.token else ()

    def need(self, *scopes: str) -> None:
        """One of these scopes is needed."""
        if scopes and not set(scopes) & set(self.held):
            raise Refusal("missing_scope", needed=",".join(scopes), provided=",".join(self.held))

    def channel(self, name: str = "channel", *, what: str = "", member: bool = False) -> Channel:
        """The channel of an argument, by id. ``what`` (read, history, manage) asks for that kind's scope.

        A private channel that the bot is not in does not exist for it. ``member`` refuses outside others too.
        """
        found = self.state.channels.get(self.word(name))
        bot = self.state.app.bot_user
        if found is None or not self.state.sees(bot, found):
            raise Refusal("channel_not_found")
        if what:
            self.need(_CHANNEL_SCOPES[what][found.kind])
        if member and bot not in found.members:
            raise Refusal("not_in_channel")
        return found

    def message(self, channel: Channel, name: str = "ts") -> Message:
        found = channel.messages.get(self.word(name))
        if found is None:
            raise Refusal("message_not_found")
        return found

    def person(self, name: str = "user") -> Person:
        """The person of an argument. Strangers of another workspace are known by their channels only."""
        found = self.state.people.get(self.word(name))
        if found is None:
            raise Refusal("user_not_found")
        if found.team_id != self.state.team and not _meets(self.state, found):
            raise Refusal("user_not_visible")
        return found

    def page(self, rows: list[Any], default: int = 100) -> tuple[list[Any], dict[str, Any]]:
        """One page of rows and the ``response_metadata`` that leads to the next."""
        limit, cursor = self.number("limit", default), self.word("cursor", "")
        if not 1 <= limit <= MAX_PAGE:
            raise Refusal("invalid_limit")
        start = _offset(cursor) if cursor else 0
        end = start + limit
        onward = base64.b64encode(f"next:{end}".encode()).decode() if end < len(rows) else ""
        return rows[start:end], {"response_metadata": {"next_cursor": onward}}


def _meets(state: State, person: Person) -> bool:
    bot = state.app.bot_user
    return any(bot in c.members and person.id in c.members for c in state.channels.values())


def _offset(cursor: str) -> int:
    try:
        return int(base64.b64decode(cursor, validate=True).decode().removeprefix("next:"))
    except (ValueError, binascii.Error):
        raise Refusal("invalid_cursor") from None


def arguments(query: str, content_type: str, body: bytes) -> dict[str, Any]:
    """What was asked: the query's words, and those of a form or of a JSON object. Raises Refusal."""
    found: dict[str, Any] = {k: v[-1] for k, v in parse_qs(query, keep_blank_values=True).items()}
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        return found
    if kind == "application/json":
        try:
            said = json.loads(body)
        except ValueError:
            raise Refusal("invalid_json") from None
        if not isinstance(said, dict):
            raise Refusal("json_not_object")
        return found | said
    if kind == "application/x-www-form-urlencoded":
        try:
            return found | {k: v[-1] for k, v in parse_qs(body.decode(), keep_blank_values=True).items()}
        except UnicodeDecodeError:
            raise Refusal("invalid_form_data") from None
    raise Refusal("invalid_post_type")


def identify(state: State, method: Method, authorization: str, args: dict[str, Any]) -> Token | None:
    """The token of a call, of a kind that this method takes. Raises Refusal with Slack's word for what is wrong."""
    said = str(args.pop("token", "") or "")
    value = authorization.removeprefix("Bearer ").strip() if authorization.startswith("Bearer ") else said
    if not method.kinds:
        return state.tokens.get(value)
    if not value:
        raise Refusal("not_authed")
    token = state.tokens.get(value)
    if token is None:
        raise Refusal("invalid_auth")
    if token.revoked:
        raise Refusal("token_revoked")
    if token.kind not in method.kinds:
        raise Refusal("not_allowed_token_type")
    return token
