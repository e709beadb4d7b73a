"""What ``bulkhead doctor`` finds out about Slack: does each setting work, and what is to be done when it does not."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from slack_sdk import WebClient

from bot.errors import BulkheadError, Forbidden, NotFound, Refused
from bot.settings import POSTURES, Settings
from bot.slack.client import slack_errors, web_client
from bot.slack.manifest import SCOPES, missing

OK, MISSING, WARNING, BROKEN = "ok", "missing", "warning", "broken"
SKEW_S, SIGNATURE_S = 30, 300  # a clock that is off by more than the second refuses everything that Slack sends
MANIFEST = "`bulkhead manifest` prints what the app needs: paste it at api.slack.com/apps, then install the app again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that is set, missing or wrong."""

    name: str
    state: str
    detail: str
    disables: str = ""
    suggestion: str = ""


def checks(settings: Settings, now: datetime | None = None) -> list[Check]:
    """All of Slack. Without a bot token that is one line. Raises nothing: what does not answer is said."""
    token = settings.slack_bot_token.get_secret_value()
    if not token:
        text = "No commands, cards or buttons; the command line and the pages do what they do."
        return [Check(name="Slack", state=MISSING, detail="no bot token", disables=text, suggestion=MANIFEST)]
    client = web_client(token, settings.slack_api)
    try:
        with slack_errors("say whose token this is"):
            said: Any = client.auth_test()
    except BulkheadError as exc:
        hint = "Copy the bot token (xoxb-…) from OAuth & Permissions." if isinstance(exc, Refused) else (
            "Check the network, and BULKHEAD_SLACK_API."
        )
        return [Check(name="Slack token", state=BROKEN, detail=str(exc), disables="All of Slack.", suggestion=hint)]
    headers = {str(name).lower(): value for name, value in dict(said.headers).items()}
    detail = f"{said.get('user')} in {said.get('team')}"
    return [
        Check(name="Slack token", state=OK, detail=detail), _scopes(headers), _skew(headers, now or datetime.now(UTC)),
        _secret(settings), *_app_token(settings), *_groups(settings, client), _command(settings),
    ]  # fmt: skip


def _scopes(headers: dict[str, Any]) -> Check:
    """Slack names a token's scopes in the header x-oauth-scopes of every answer."""
    granted = {one.strip() for one in _first(headers.get("x-oauth-scopes")).split(",") if one.strip()}
    if lacking := missing(granted):
        text = f"it lacks {'; '.join(lacking)}"
        return Check(name="Slack scopes", state=BROKEN, detail=text, disables="What they are for.", suggestion=MANIFEST)
    if spare := sorted(granted - set(SCOPES)):
        text = f"more than it needs: {', '.join(spare)}"
        return Check(name="Slack scopes", state=WARNING, detail=text, suggestion="Take them away from the app.")
    return Check(name="Slack scopes", state=OK, detail=f"{len(granted)}, and no more than it needs")


def _skew(headers: dict[str, Any], now: datetime) -> Check:
    """Our clock against the Date of Slack's answer."""
    date = _first(headers.get("date"))
    try:
        theirs = email.utils.parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return Check(name="Slack clock", state=WARNING, detail="Slack's answer had no date to compare with")
    off = int(abs((now - theirs).total_seconds()))
    if off > SKEW_S:
        text = "Everything that Slack sends is refused as too old." if off > SIGNATURE_S else (
            "Over five minutes, everything that Slack sends would be refused as too old."
        )
        state = BROKEN if off > SIGNATURE_S else WARNING
        hint = "Set this machine's clock; run an NTP client (chrony, systemd-timesyncd)."
        return Check(name="Slack clock", state=state, detail=f"off by {off} s", disables=text, suggestion=hint)
    return Check(name="Slack clock", state=OK, detail=f"within {max(off, 1)} s of Slack's")


def _secret(settings: Settings) -> Check:
    """Slack tells nobody whether a signing secret is the right one; only its form can be seen."""
    secret, name = settings.slack_signing_secret.get_secret_value(), "Slack signing secret"
    socket = bool(settings.slack_app_token.get_secret_value())
    if not secret:
        if socket:
            return Check(name=name, state=OK, detail="none: Socket Mode needs none")
        text = "Nothing that Slack sends is let in."
        hint = "Copy it from Basic Information, or set BULKHEAD_SLACK_APP_TOKEN to use Socket Mode."
        return Check(name=name, state=BROKEN, detail="not set, and no app token either", disables=text, suggestion=hint)
    if not re.fullmatch(r"[0-9a-f]{32}", secret):
        hint = "Copy it from Basic Information, Signing Secret: 32 characters of 0-9 and a-f."
        return Check(name=name, state=BROKEN, detail="this is none", disables="All requests.", suggestion=hint)
    return Check(name=name, state=OK, detail="set; whether it is this app's shows with the first request")


def _app_token(settings: Settings) -> Iterator[Check]:
    """Whether Socket Mode can be opened with it. Opening gives an address, which is not used."""
    token = settings.slack_app_token.get_secret_value()
    if not token:
        return
    hint = "Make one under Basic Information, App-Level Tokens, with connections:write, and switch Socket Mode on."
    try:
        with slack_errors("open a Socket Mode connection"):
            web_client("", settings.slack_api).apps_connections_open(app_token=token)
    except BulkheadError as exc:
        text = "No commands, clicks or events arrive."
        yield Check(name="Slack app token", state=BROKEN, detail=str(exc), disables=text, suggestion=hint)
    else:
        yield Check(name="Slack app token", state=OK, detail="opens Socket Mode connections")


def _groups(settings: Settings, client: WebClient) -> Iterator[Check]:
    """Whether each user group is there and has people in it; where two must agree it needs two."""
    if not settings.groups:
        named = [name for name in settings.people if name.startswith("slack:")]
        if named:
            yield Check(name="Slack groups", state=OK, detail=f"none; BULKHEAD_RESPONDERS names {len(named)} by id")
            return
        hint = "Set BULKHEAD_SLACK_GROUPS to the id of a user group (S…)."
        text = "Nobody can decide in Slack."
        yield Check(name="Slack groups", state=MISSING, detail="none", disables=text, suggestion=hint)
        return
    for group in sorted(frozenset().union(*settings.groups.values())):
        yield _group(settings, client, group)


def _group(settings: Settings, client: WebClient, group: str) -> Check:
    postures = [posture for posture in POSTURES if group in settings.groups.get(posture, ())]
    name = f"Slack group {group}"
    try:
        with slack_errors(f"say who is in the user group {group}"):
            answer: Any = client.usergroups_users_list(usergroup=group)
            members = list(answer["users"])
    except (NotFound, Forbidden) as exc:
        hint = "Copy the group's id from its page in Slack. User groups need a paid plan."
        return Check(name=name, state=BROKEN, detail=str(exc), disables="Nobody in it can decide.", suggestion=hint)
    except BulkheadError as exc:
        gone = "no_such_subteam" in str(exc)
        hint = "Copy the group's id from its page in Slack." if gone else "Try again later."
        return Check(name=name, state=BROKEN, detail=str(exc), disables="Nobody in it can decide.", suggestion=hint)
    shown = f"{len(members)} people, for {', '.join(postures)}"
    alone = settings.groups.get("two") == frozenset({group}) and len(members) < 2
    if not members or alone:
        text = "What needs two people can never be agreed to." if members else "Nobody in it can decide."
        return Check(name=name, state=WARNING, detail=shown, disables=text, suggestion="Add people to the group.")
    return Check(name=name, state=OK, detail=shown)


def _command(settings: Settings) -> Check:
    """Slack tells no app which other apps have its command, so this can only be said."""
    text = f"{settings.slack_command}; of two apps with one name, the one that was installed later gets it"
    hint = "Type it with `help`: if anybody but Bulkhead answers, set BULKHEAD_SLACK_COMMAND to another name."
    return Check(name="Slack command", state=OK, detail=text, suggestion=hint)


def _first(value: Any) -> str:
    """A header as text; the SDK gives some as lists."""
    if isinstance(value, list | tuple):
        value = value[0] if value else ""
    return str(value or "")
