"""Versions of GitHub Packages that nobody pushed: what explains one, and who may read it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.actions import CATALOGUE
from bot.actions.github_package_find import FindHostedIn, FoundHosted
from bot.clients import GitHubClient
from bot.errors import RateLimited
from bot.model import HostedVersion
from bot.range.company import FERRY, ORG
from bot.range.github.packages import Package, Version
from tests.actions.conftest import Drill
from tests.actions.registry_arrangements import packaged
from tests.actions.token_arrangements import as_app

FIND = CATALOGUE["github.find_unexplained_packages"]


def search(drill: Drill, given: FindHostedIn, **world: Any) -> FoundHosted:
    held = replace(drill.world, **world)
    found = FIND.run(held, given, FIND.look(held, given))
    assert isinstance(found, FoundHosted)
    return found


def since(drill: Drill) -> FindHostedIn:
    given = FindHostedIn(repository=FERRY, since=drill.range.clock.now().isoformat())
    drill.range.clock.advance(60)
    return given


def test_what_was_there_before_the_token_could_be_seen_is_not_suspected(drill: Drill) -> None:
    packaged(drill)
    drill.range.clock.advance(1)
    assert search(drill, since(drill)).versions == ()


def test_a_run_that_was_under_way_explains_an_image_and_a_tag_does_not(drill: Drill) -> None:
    """A thief's image takes the tag that everybody pulls; git's tag of that name is old and explains nothing."""
    given = since(drill)
    packaged(drill)
    git = drill.range.github.state.repos[FERRY].git
    git.refs["refs/tags/v1.4.3"] = git.refs["refs/heads/main"]
    assert len(search(drill, given).versions) == 2
    drill.start_over()
    given = since(drill)
    drill.world.github.send("POST", f"/repos/{FERRY}/actions/workflows/deploy.yml/dispatches", {"ref": "main"})
    drill.world.github.get(f"/repos/{FERRY}/actions/runs")
    drill.range.clock.advance(600)
    packaged(drill)
    assert search(drill, given).versions == ()


def test_of_other_types_a_tag_of_its_name_explains_a_version(drill: Drill) -> None:
    given, at = since(drill), drill.range.clock.now()
    package = Package(id=5, name="tides", repository=FERRY)
    package.versions = {n: Version(id=n, name=f"1.0.{n}", tags=[], created_at=at) for n in (1, 2)}
    drill.range.github.state.packages[ORG, "npm", "tides"] = package
    git = drill.range.github.state.repos[FERRY].git
    git.refs["refs/tags/v1.0.1"] = git.refs["refs/heads/main"]
    assert search(drill, given).versions == (HostedVersion(organization=ORG, package="tides", version=2, type="npm"),)


@pytest.mark.parametrize("who", ["an App", "a token without the scope", "an account of nobody's"])
def test_who_may_not_read_packages_finds_nothing_and_says_so(drill: Drill, who: str) -> None:
    packaged(drill)
    given, client, words = since(drill), drill.world.github, "classic token"
    if who == "an App":
        client = as_app(drill, packages="read")
    elif who == "a token without the scope":
        token = drill.range.github.state.add_token("bulkhead-bot", scopes=("repo",))
        client = GitHubClient(token=token, base_url=drill.range.github_url)
    else:
        given, words = FindHostedIn(repository="quiet-otter/x"), "no organization that we see"
    found = search(drill, given, github=client)
    assert found.versions == ()
    assert words in found.summary


def test_when_github_is_slow_down_the_search_waits_its_turn(drill: Drill) -> None:
    """A limit of rates is not a refusal: the step fails, and the engine comes back to it."""
    given = since(drill)
    drill.range.switchboard.add([{
        "server": "github", "method": "GET", "route": f"/orgs/{ORG}/packages", "status": 429, "times": 9,
        "headers": {"retry-after": "0"},
    }])  # fmt: skip
    with pytest.raises(RateLimited):
        search(drill, given)
