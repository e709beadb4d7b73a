"""What npm's rules allow, what explains a version, and a person's word that the registry has to bear out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.actions import CATALOGUE, npm, people
from bot.actions.npm_versions import FindIn
from bot.errors import Forbidden, InputError, RateLimited, Rejected, Unavailable
from bot.model import Grade, NpmTag, PackageVersion, Verdict, WorkflowRef
from bot.npm import NpmClient
from bot.range.company import DEPLOY, FERRY
from bot.range.npm_company import BAD, GOOD, PACKAGE, RELEASE
from bot.range.npm_package import release
from bot.range.npm_theft import dispatch
from tests.actions.arrangements import TOKEN, _Said
from tests.actions.conftest import Drill, proof

VERSION = PackageVersion(package=PACKAGE, version=BAD)


def stolen(drill: Drill) -> Any:
    """Ferry's token, whose value the vault knows."""
    (token,) = [each for each in drill.range.npm.tokens.values() if each.user == "mara"]
    drill.world.secrets.seal("stolen", token.value, TOKEN.credential.key)
    return token


def publish(drill: Drill, version: str, name: str = PACKAGE, **more: Any) -> None:
    drill.range.npm.publish(release({"name": name, "version": version, **more}), stolen(drill))


def found(drill: Drill, **more: Any) -> list[str]:
    _, outcome = drill.do("npm.find_unexplained_versions", FindIn(repository=FERRY, maintainer="mara", **more))
    return [each.version for each in outcome.versions]


# Versions


def test_a_tag_explains_a_version(drill: Drill) -> None:
    publish(drill, BAD)
    assert found(drill) == [BAD]
    drill.range.github.state.repos[FERRY].git.refs[f"refs/tags/v{BAD}"] = "0" * 40
    assert found(drill) == []


def test_a_run_that_was_under_way_explains_a_version_when_its_workflow_publishes(drill: Drill) -> None:
    dispatch(drill.range, "deploy.yml")
    drill.range.clock.advance(60)
    publish(drill, BAD)
    drill.range.clock.advance(1800)
    assert found(drill, workflows=(WorkflowRef(repository=FERRY, workflow=DEPLOY),)) == []
    assert found(drill, workflows=(WorkflowRef(repository=FERRY, workflow=RELEASE),)) == [BAD]


def test_a_version_from_before_the_exposure_is_not_suspected(drill: Drill) -> None:
    publish(drill, BAD)
    drill.range.clock.advance(60)
    assert found(drill, since=drill.world.now().isoformat()) == []


def test_whatever_else_the_account_maintains_is_looked_into(drill: Drill) -> None:
    publish(drill, "3.0.0", name="@harbor-lights/tickets")
    _, outcome = drill.do("npm.find_unexplained_versions", FindIn(repository=FERRY, maintainer="mara"))
    assert PackageVersion(package="@harbor-lights/tickets", version="3.0.0") in outcome.versions
    assert outcome.tags == (), "it has no good version to go back to"


def test_searched_again_a_version_that_was_not_known_is_refuted(drill: Drill) -> None:
    publish(drill, BAD)
    again = FindIn(repository=FERRY, maintainer="mara", known=(VERSION,))
    before, outcome = drill.do("npm.find_unexplained_versions", again)
    assert proof(drill, "npm.find_unexplained_versions", again, before, outcome).verdict == Verdict.PROVEN
    publish(drill, "1.4.4")
    before, outcome = drill.do("npm.find_unexplained_versions", again)
    red = proof(drill, "npm.find_unexplained_versions", again, before, outcome)
    assert (red.verdict, "1.4.4" in red.detail) == (Verdict.REFUTED, True)


# Tags and unpublishing


def test_a_tag_that_the_maintainers_have_moved_on_is_left(drill: Drill) -> None:
    for version in (GOOD, BAD, "1.4.4"):
        publish(drill, version)
    tag = NpmTag(package=PACKAGE, tag="latest", bad=BAD, good=GOOD)
    before, outcome = drill.do("npm.move_dist_tag_back", tag)
    assert (before.needed, outcome.changed) == (False, False)
    assert drill.range.npm.packages[PACKAGE].tags["latest"] == "1.4.4"


def test_an_old_version_with_downloads_may_not_go_and_the_rule_is_named(drill: Drill) -> None:
    for version in (GOOD, BAD):
        publish(drill, version)
    drill.range.clock.advance(timedelta(hours=73).total_seconds())
    action = CATALOGUE["npm.unpublish"]
    before = action.look(drill.world, VERSION)
    assert not before.needed, "nobody is asked about what npm forbids"
    assert "older than 72 hours" in before.forbidden
    written = len(drill.mutations())
    with pytest.raises(Rejected, match=r"npm's rules forbid .* downloads this week"):
        action.run(drill.world, VERSION, before)
    assert len(drill.mutations()) == written


def test_what_only_npm_knows_it_says_when_it_refuses(drill: Drill) -> None:
    for version in (GOOD, BAD):
        publish(drill, version)
    publish(drill, "1.0.0", name="@harbor-lights/tickets", dependencies={PACKAGE: "^1.4.0"})
    action = CATALOGUE["npm.unpublish"]
    before = action.look(drill.world, VERSION)
    assert before.needed
    assert action.breaks(before).unknown
    with pytest.raises(Rejected, match="has dependent packages in the registry: @harbor-lights/tickets"):
        action.run(drill.world, VERSION, before)
    assert BAD in drill.range.npm.packages[PACKAGE].versions


# A person's steps


def test_a_revocation_is_proven_by_the_registry_and_not_by_the_word(drill: Drill) -> None:
    token = stolen(drill)
    do = CATALOGUE["people.do"]
    given = people.DoIn(who="mara", task="revoke it", credential=TOKEN.credential)
    assert do.kills is not None
    assert do.kills(given) == TOKEN.credential.key
    before = do.look(drill.world, given)
    outcome = do.run(drill.world.with_answers(_Said(("mara", "done"))), given, before)
    assert do.prove(drill.world, given, before, outcome).verdict == Verdict.NOT_YET
    token.revoked = True
    done = do.prove(drill.world, given, before, outcome)
    assert (done.verdict, done.grade) == (Verdict.PROVEN, Grade.REFUSED)
    assert not do.look(drill.world, given).needed


def test_a_check_of_a_token_says_which_it_is(drill: Drill) -> None:
    unheld, _ = drill.do("npm.check_token", TOKEN)
    assert (unheld.held, unheld.user) == (False, "")
    token = stolen(drill)
    assert drill.do("npm.check_token", TOKEN)[1].user == "mara"
    token.revoked = True
    before, outcome = drill.do("npm.check_token", TOKEN)
    assert proof(drill, "npm.check_token", TOKEN, before, outcome).grade == Grade.REFUSED


@pytest.mark.parametrize("handed", ["words", "old", "dead"])
def test_a_new_value_that_is_none_is_not_taken(drill: Drill, handed: str) -> None:
    old = stolen(drill)
    values = {"old": old.value, "dead": "npm" + "_" + "M4de" * 9}
    ref = "it is in my mail" if handed == "words" else drill.world.secrets.seal("answer:rotate", values[handed])
    given = people.RotateIn(who="mara", task="make one", credential=TOKEN.credential)
    rotate = CATALOGUE["people.rotate_by_hand"]
    with pytest.raises(InputError, match=r"no new value|the old value|does not accept"):
        rotate.run(drill.world.with_answers(_Said(("mara", ref))), given, rotate.look(drill.world, given))


# The client


@pytest.mark.parametrize("fault, error", [
    ({"status": 503}, Unavailable), ({"status": 409}, Unavailable), ({"reset": True}, Unavailable),
    ({"status": 429, "headers": {"retry-after": "7"}}, RateLimited), ({"status": 403}, Forbidden),
    ({"status": 418}, Rejected),
])  # fmt: skip
def test_what_the_registry_answers_becomes_one_of_our_errors(drill: Drill, fault: dict[str, Any], error: type) -> None:
    drill.range.switchboard.add([{"server": "npm", "route": "/-/package/*", "times": 0, **fault}])
    with pytest.raises(error) as caught:
        npm.registry(drill.world).get(f"/-/package/{npm.escaped(PACKAGE)}/dist-tags")
    assert getattr(caught.value, "retry_after", 7.0) == 7.0


def test_a_write_without_a_token_of_ours_names_the_setting(drill: Drill) -> None:
    bare = NpmClient(base_url=drill.range.npm.base_url, downloads_url=drill.range.npm.base_url)
    with pytest.raises(Forbidden, match="BULKHEAD_NPM_TOKEN"):
        bare.send("PUT", "/-/package/x/dist-tags/latest", "1.0.0")
    with pytest.raises(Rejected, match="does not lie at the registry"):
        bare.download("http://127.0.0.1:9/x.tgz")
    with pytest.raises(InputError, match="no npm registry"):
        npm.registry(replace(drill.world, npm=None))
