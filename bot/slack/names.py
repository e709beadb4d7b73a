"""How people are called: ``slack:U123`` in decisions and on the timeline, ``<@U123>`` where Slack shows it."""

from __future__ import annotations

import re

from bot.signing import PLAYED, SLACK
from bot.slack.kit import clip, escape

PREFIX = SLACK
_NAMED = re.compile(rf"\b{PREFIX}([UW][A-Z0-9]{{1,40}})\b")
_USER = re.compile(r"[UW][A-Z0-9]{1,40}")


def user_of(name: str) -> str:
    """The Slack user of a name, or "" when it is a name of another kind."""
    user = name.removeprefix(PREFIX)
    return user if name.startswith(PREFIX) and _USER.fullmatch(user) else ""


def display(name: str) -> str:
    """A person in mrkdwn: a mention for Slack's, plain text for others."""
    user = user_of(name)
    return f"<@{user}>" if user else clip(escape(name.removeprefix(PLAYED)), 100) or "nobody"


def mentions(text: str) -> str:
    """Escaped text, with Slack's people in it as mentions."""
    return _NAMED.sub(r"<@\1>", text)
