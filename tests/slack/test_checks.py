"""What doctor says of Slack: each thing that can be wrong, on a Slack where it is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.settings import Settings
from bot.slack.checks import Check, checks
from bot.slack.manifest import SCOPES
from tests.slack.workspace import settings_of
from tests.slack_range import Slack


@pytest.fixture
def found(slack: Slack, tmp_path: Path) -> Any:
    slack.range.install({"scopes": list(SCOPES)})

    def look(now: datetime | None = None, **changed: Any) -> dict[str, Check]:
        return {one.name: one for one in checks(settings_of(slack, tmp_path, **changed), now)}

    return look


def test_all_is_well(found: Any, slack: Slack) -> None:
    said = found(slack_app_token=SecretStr(slack.cast["app_token"]))
    assert {name: one.state for name, one in said.items() if one.state != "ok"} == {}
    groups = slack.cast["groups"]
    assert said[f"Slack group {groups['responders']}"].detail == "3 people, for one, person, lead"
    assert said[f"Slack group {groups['approvers']}"].detail == "2 people, for two"


def test_without_a_token_there_is_one_line(tmp_path: Path) -> None:
    (one,) = checks(Settings(home=tmp_path))
    assert (one.state, "bulkhead manifest" in one.suggestion) == ("missing", True)


def test_a_token_that_is_not_accepted_and_a_slack_that_is_away(found: Any) -> None:
    said = found(slack_bot_token=SecretStr("xoxb-" + "nobody"))
    assert (list(said), said["Slack token"].state) == (["Slack token"], "broken")
    assert "Copy the bot token" in said["Slack token"].suggestion
    said = found(slack_api="http://127.0.0.1:9/api/")
    assert "does not answer" in said["Slack token"].detail
    assert "Check the network" in said["Slack token"].suggestion


def test_scopes_that_are_missing_are_broken_and_those_too_many_a_warning(found: Any, slack: Slack) -> None:
    slack.range.install({"scopes": sorted(set(SCOPES) - {"files:write"})})
    assert f"files:write ({SCOPES['files:write']})" in found()["Slack scopes"].detail
    assert found()["Slack scopes"].state == "broken"
    slack.range.install({"scopes": [*SCOPES, "users:read.email"]})
    assert found()["Slack scopes"].detail == "more than it needs: users:read.email"
    assert found()["Slack scopes"].state == "warning"


@pytest.mark.parametrize(("off", "state"), [(0, "ok"), (60, "warning"), (-60, "warning"), (600, "broken")])
def test_the_clocks_are_compared(found: Any, off: int, state: str) -> None:
    one = found(datetime.now(UTC) + timedelta(seconds=off))["Slack clock"]
    assert one.state == state
    assert (one.suggestion == "") == (state == "ok")


def test_the_signing_secret_has_its_form(found: Any, slack: Slack) -> None:
    assert found(slack_signing_secret=SecretStr("xoxb-what"))["Slack signing secret"].state == "broken"
    assert found(slack_signing_secret=SecretStr(""))["Slack signing secret"].state == "broken"
    token = SecretStr(slack.cast["app_token"])
    said = found(slack_signing_secret=SecretStr(""), slack_app_token=token)
    assert said["Slack signing secret"].state == "ok"


def test_an_app_token_that_opens_nothing(found: Any) -> None:
    said = found(slack_app_token=SecretStr("xapp-" + "1-nobody"))["Slack app token"]
    assert (said.state, "connections:write" in said.suggestion) == ("broken", True)


def test_groups_that_are_not_there_have_nobody_or_one_where_two_must_agree(found: Any, slack: Slack) -> None:
    assert found(slack_groups="S0GONE")["Slack group S0GONE"].state == "broken"
    state, oncall = slack.range.state, slack.cast["groups"]["oncall"]
    lone = found(slack_groups=f"two={oncall},one={slack.cast['groups']['responders']}")
    assert lone[f"Slack group {oncall}"].disables == "What needs two people can never be agreed to."
    with state.lock:
        state.groups[oncall].users.clear()
    assert found(slack_groups=oncall)[f"Slack group {oncall}"].disables == "Nobody in it can decide."
    assert found(slack_groups="")["Slack groups"].state == "missing"
    assert found(slack_groups="", responders="slack:U1")["Slack groups"].state == "ok"
