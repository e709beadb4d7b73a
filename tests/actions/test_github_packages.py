"""Versions of GitHub Packages: which token it takes, what GitHub forbids, and how long a deletion can be taken back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.actions import CATALOGUE
from bot.clients import GitHubClient
from bot.errors import Conflict, Forbidden, InputError, Rejected
from tests.actions.conftest import Drill
from tests.actions.registry_arrangements import packaged
from tests.actions.token_arrangements import as_app

NAME = "github.delete_package_version"
ACTION = CATALOGUE[NAME]


def test_an_app_or_a_token_without_the_scope_is_refused(drill: Drill) -> None:
    given = packaged(drill)
    before = ACTION.look(drill.world, given)
    token = drill.range.github.state.add_token("bulkhead-bot", scopes=("repo", "read:packages"))
    for client in (as_app(drill, packages="write"), GitHubClient(token=token, base_url=drill.range.github_url)):
        with pytest.raises(Forbidden):
            ACTION.run(replace(drill.world, github=client), given, before)
    assert ACTION.run(drill.world, given, before).changed


def test_the_last_version_is_not_asked_for_and_the_rule_is_named(drill: Drill) -> None:
    given = packaged(drill, count=1)
    before = ACTION.look(drill.world, given)
    assert (before.needed, "last version" in before.forbidden) == (False, True)
    with pytest.raises(Rejected, match="last version"):
        ACTION.run(drill.world, given, before)


def test_what_only_github_knows_it_says_when_it_refuses(drill: Drill) -> None:
    given = packaged(drill)
    drill.range.github.state.packages["harbor-lights", "container", "ferry"].versions[given.version].downloads = 5001
    with pytest.raises(Rejected, match="400"):
        drill.do(NAME, given)


def test_a_deletion_can_be_taken_back_for_thirty_days(drill: Drill) -> None:
    given = packaged(drill)
    before, outcome = drill.do(NAME, given)
    undo = ACTION.undo
    assert undo is not None
    assert "it can be restored" in ACTION.prove(drill.world, given, before, outcome).detail
    assert any("latest, 1.4.3" in stop for stop in ACTION.breaks(before).stops)
    drill.range.clock.advance(timedelta(days=29).total_seconds())
    assert undo(drill.world, given, before, outcome).changed
    assert ACTION.look(drill.world, given).tags == ("latest", "1.4.3")
    drill.do(NAME, given)
    drill.range.clock.advance(timedelta(days=31).total_seconds())
    with pytest.raises(Conflict, match="no longer"):
        undo(drill.world, given, before, outcome)


def test_a_version_that_is_not_there_and_a_type_that_is_none(drill: Drill) -> None:
    given = packaged(drill)
    assert ACTION.look(drill.world, replace(given, version=7)).exists is False
    with pytest.raises(InputError, match="no type of package"):
        ACTION.look(drill.world, replace(given, type="wheel"))
