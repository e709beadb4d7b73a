"""The manifest agrees with what the code calls, listens to and is registered for; Slack would take it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import yaml
from slack_sdk import WebClient
from typer.testing import CliRunner

import bot.slack
from bot.cli.slack import app
from bot.range.slack.appconfig import problems
from bot.slack.manifest import EVENTS, METHODS, SCOPES, SHORTCUTS, USER_SCOPES, as_yaml, manifest, missing
from tests.slack.test_door import listeners

HERE = Path(bot.slack.__file__).parent
# docs.slack.dev/reference/methods, 2026-05: the bot scopes of which one is needed, for the kind of channel it is about.
DOCUMENTED = {
    "chat_postEphemeral": {"chat:write"}, "chat_postMessage": {"chat:write"}, "chat_update": {"chat:write"},
    "conversations_create": {"channels:manage", "groups:write", "im:write", "mpim:write"},
    "conversations_history": {"channels:history", "groups:history", "im:history", "mpim:history"},
    "conversations_info": {"channels:read", "groups:read", "im:read", "mpim:read"},
    "conversations_invite": {"channels:manage", "channels:write.invites", "groups:write", "groups:write.invites"},
    "conversations_list": {"channels:read", "groups:read", "im:read", "mpim:read"},
    "conversations_open": {"channels:manage", "groups:write", "im:write", "mpim:write"},
    "conversations_replies": {"channels:history", "groups:history", "im:history", "mpim:history"},
    "files_upload_v2": {"files:write"}, "usergroups_users_list": {"usergroups:read"},
    "users_info": {"users:read"},
}  # fmt: skip


def called() -> set[str]:
    """Every method of the SDK's client that a line of the package names."""
    known = {name for name in dir(WebClient) if "_" in name.strip("_") and not name.startswith("_")} - {"api_call"}
    nodes = [node for path in HERE.glob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    assert not [node for node in nodes if isinstance(node, ast.Attribute) and node.attr == "api_call"]
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and node.attr in known} - OTHERS


# Attributes that the client has and that are no methods of Slack, and those of Sign in with Slack, for users' tokens.
OTHERS = {"retry_handlers", "base_url", "openid_connect_token", "openid_connect_userInfo"}


def test_the_table_of_methods_is_what_the_code_calls() -> None:
    assert called() == set(METHODS)


def test_the_scopes_are_those_of_the_methods_and_no_more() -> None:
    needed = {scope for scopes in METHODS.values() for scope in scopes}
    assert needed | {"commands"} == set(SCOPES)
    for method, scopes in METHODS.items():
        assert set(scopes) <= DOCUMENTED.get(method, set())
        assert bool(scopes) == (method in DOCUMENTED), method


def test_events_and_shortcuts_are_those_that_are_listened_to() -> None:
    heard = set(listeners())
    assert {name for kind, name in heard if kind == "event"} <= set(EVENTS)
    kinds = {"global": "shortcut", "message": "message_action"}
    assert {(kinds[kind], callback) for callback, (_, kind, _) in SHORTCUTS.items()} == {
        (kind, name) for kind, name in heard if kind in kinds.values()
    }


@pytest.mark.parametrize("url", ["", "https://bulkhead.example"])
def test_slack_would_take_it(url: str) -> None:
    made = manifest(command="/bulkhead", url=url, socket=not url, sign_in=bool(url))
    assert problems(made) == []
    assert made["settings"]["socket_mode_enabled"] == (not url)
    addresses = json.dumps(made).count("https://bulkhead.example/slack/events")
    assert addresses == (3 if url else 0)
    assert made["oauth_config"].get("redirect_urls") == (["https://bulkhead.example/signed-in"] if url else None)


def test_each_scope_and_event_is_explained_where_it_stands() -> None:
    made = manifest(command="/leak", url="https://h.example", sign_in=True)
    text = as_yaml(made)
    assert yaml.safe_load(text) == made
    for name, why in {**SCOPES, **USER_SCOPES, **EVENTS}.items():
        (line,) = [line for line in text.splitlines() if line.strip().startswith(f"- {name} ")]
        assert line.endswith(f"# {why}")


def test_the_command_prints_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_SLACK_COMMAND", "/leak")
    said = CliRunner().invoke(app, ["manifest", "--json", "--url", "https://h.example/"])
    made = json.loads(said.output)
    assert made == manifest(command="/leak", url="https://h.example")
    said = CliRunner().invoke(app, ["manifest"])
    assert yaml.safe_load(said.output) == manifest(command="/leak", socket=True), "no address, so Socket Mode"
    assert CliRunner().invoke(app, ["manifest", "--sign-in"]).exit_code != 0


def test_what_a_token_lacks_is_named_with_what_it_is_for() -> None:
    assert missing(set(SCOPES)) == []
    (one,) = missing(set(SCOPES) - {"commands"})
    assert one == f"commands ({SCOPES['commands']})"
