"""CodeArtifact: what the actions find and do where something stands against them, and the facts that signals get."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from bot.actions import CATALOGUE
from bot.actions.aws_iam import iso
from bot.actions.aws_package_find import FindPackagesIn, FoundPackages
from bot.actions.aws_packages import YankIn
from bot.actions.signal_facts import Collected
from bot.actions.signal_registries import of_codeartifact
from bot.errors import Conflict, Forbidden, InputError, Rejected
from bot.model import Verdict
from bot.range.company import FERRY
from bot.signals.facts import Version, of_kind
from tests.actions.conftest import USER, Drill
from tests.actions.package_arrangements import (
    BAD,
    DOMAIN,
    GOOD,
    HOME,
    NAME,
    NORTH,
    SHELF,
    WHERE,
    one,
    opened,
    publish,
    published,
    set_status,
    shelf,
    window,
)

FIND, YANK, DISPOSE = (
    CATALOGUE[f"aws.{name}"]
    for name in ("find_unexplained_packages", "yank_package_version", "dispose_package_version")
)


def found(drill: Drill, given: FindPackagesIn) -> FoundPackages:
    outcome = FIND.run(drill.world, given, FIND.look(drill.world, given))
    assert isinstance(outcome, FoundPackages)
    return outcome


def deny(drill: Drill, action: str) -> None:
    """From now on the bot may not do this."""
    statement = {"Effect": "Deny", "Action": action, "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    drill.iam.put_user_policy(UserName="bulkhead-responder", PolicyName="no", PolicyDocument=document)


@pytest.mark.slow
def test_what_a_run_or_somebody_of_the_house_published_is_explained(drill: Drill) -> None:
    opened(drill)
    publish(drill, "2026.9.1", client=shelf(drill))  # the bot's identity stands for a colleague who always did so
    drill.range.clock.advance(3600)
    since = iso(drill.world.now() - timedelta(minutes=1))
    drill.world.github.send("POST", f"/repos/{FERRY}/actions/workflows/deploy.yml/dispatches", {"ref": "main"})
    drill.world.github.get(f"/repos/{FERRY}/actions/runs")  # the range's runner works when somebody asks
    publish(drill, GOOD)
    drill.range.clock.advance(7200)
    publish(drill, "2026.10.2", b"y", client=shelf(drill))
    given = FindPackagesIn(user=USER, repository=FERRY, since=since)
    assert found(drill, given).versions == ()
    for newest_first in (True, False):
        drill.range.aws.packages.newest_first = newest_first
        publish(drill, BAD, b"a backdoor")
        assert found(drill, given).versions == (one(BAD),), newest_first
    alone = found(drill, FindPackagesIn(user=USER, since=since))
    assert alone.versions == ()
    assert "No repository is known" in alone.summary


def test_it_is_found_before_cloudtrail_tells_of_it_and_in_the_other_region(drill: Drill) -> None:
    given = window(drill)
    drill.range.aws.trail.lag_s = 900.0
    opened(drill, NORTH)
    publish(drill, "3", client=shelf(drill, NORTH))
    assert found(drill, given).versions == (one(BAD), one("3", NORTH))


@pytest.mark.slow
def test_a_number_that_is_published_anew_is_found_and_what_it_did_besides_is_said(drill: Drill) -> None:
    opened(drill)
    for number in (GOOD, "2026.10.2"):
        publish(drill, number)
    drill.range.github.state.repos[FERRY].git.refs[f"refs/tags/{GOOD}"] = drill.range.github.state.repos[
        FERRY
    ].git.refs["refs/heads/main"]
    drill.range.clock.advance(3600)
    since = iso(drill.world.now() - timedelta(minutes=1))
    thief = drill.as_leaked("codeartifact")
    thief.delete_package_versions(**WHERE, versions=[GOOD])
    publish(drill, GOOD, b"another 2026.10.1")
    publish(drill, "2026.10.2", b"one file more", file="setup.sh")
    thief.get_authorization_token(domain=DOMAIN)
    told = found(drill, FindPackagesIn(user=USER, repository=FERRY, since=since))
    assert told.versions == (one(GOOD),), "its tag is that of the version before"
    assert any(said.startswith(f"it did DeletePackageVersions to {NAME} {GOOD}") for said in told.others), told.others
    assert any("added setup.sh to" in said and "2026.10.2" in said for said in told.others), told.others
    assert any("asked for a token of CodeArtifact" in said and "denies" in said for said in told.unknown)


def test_what_was_taken_in_from_a_public_registry_is_nobodys_publication(drill: Drill) -> None:
    given = window(drill)
    drill.range.aws.packages.take_in(HOME, DOMAIN, SHELF, ("npm", "", "left-pad"), "1.3.0", connection="public:npmjs")
    drill.range.aws.packages.take_in(HOME, DOMAIN, SHELF, ("npm", "harbor", "ferry-ui"), "4.0.0")
    told = found(drill, given).versions
    assert [str(each).split(" in ")[0] for each in told] == [f"ferry:{NAME} {BAD}", "@harbor/ferry-ui 4.0.0"]


def test_unlisted_is_softer_than_archived_and_goes_back_too(drill: Drill) -> None:
    given = YankIn(version=published(drill), status="Unlisted")
    before = YANK.look(drill.world, given)
    outcome = YANK.run(drill.world, given, before)
    proof = YANK.prove(drill.world, given, before, outcome)
    assert proof.verdict == Verdict.PROVEN
    assert "by its number it can be had" in proof.detail
    assert YANK.look(drill.world, YankIn(version=given.version)).needed
    assert YANK.undo is not None
    assert YANK.undo(drill.world, given, before, outcome).changed
    set_status(drill, "Archived")
    assert not YANK.look(drill.world, given).needed, "harder than asked for is enough"
    with pytest.raises(InputError, match="Unlisted and Archived"):
        YANK.look(drill.world, YankIn(version=given.version, status="Deleted"))
    assert not YANK.look(drill.world, YankIn(version=one("9"))).needed


def test_what_others_did_meanwhile_is_a_conflict_and_what_is_not_allowed_is_said(drill: Drill) -> None:
    given = YankIn(version=published(drill))
    before = YANK.look(drill.world, given)
    set_status(drill, "Unlisted")
    with pytest.raises(Conflict) as caught:
        YANK.run(drill.world, given, before)
    assert caught.value.diff == {"status": ("Published", "Unlisted")}
    set_status(drill, "Disposed")
    with pytest.raises(Rejected, match="disposed of"):
        YANK.run(drill.world, given, type(before)(status="Disposed", summary=""))
    set_status(drill, "Published")
    deny(drill, "codeartifact:Update*")
    with pytest.raises(Forbidden, match="UpdatePackageVersionsStatus"):
        YANK.run(drill.world, given, before)


def test_evidence_has_the_files_and_says_which_it_has_not(drill: Drill) -> None:
    given = published(drill)
    assert DISPOSE.evidence is not None
    before = DISPOSE.look(drill.world, given)
    refs = DISPOSE.evidence(drill.world, given, before)
    saved = {ref.name.rpartition("/")[2]: drill.room.read(ref.sha256) for ref in refs}
    assert saved["table.txt"] == b"a backdoor"
    assert b'"saved": "as it is named"' in saved["record.json"]
    set_status(drill, "Archived")
    (ref,) = DISPOSE.evidence(drill.world, given, before)
    assert b'"saved": "no: ' in drill.room.read(ref.sha256)


def test_signals_get_the_versions_that_were_published_here(drill: Drill) -> None:
    published(drill)
    drill.range.aws.packages.take_in(HOME, DOMAIN, SHELF, ("npm", "", "ferry-left"), "1.3.0", connection="public:npmjs")
    of_codeartifact(drill.world, FERRY, told := Collected())
    facts = list(of_kind(told.facts, Version))
    assert [(f.registry, f.package, f.name, f.yanked) for f in sorted(facts, key=lambda f: f.at)] == [
        ("codeartifact", f"{SHELF}/{NAME}", number, False) for number in (GOOD, BAD)
    ]
    assert facts[0].at != facts[1].at
    assert told.unknown == []
    deny(drill, "codeartifact:*")
    of_codeartifact(drill.world, FERRY, refused := Collected())
    assert [said.split(" could")[0] for said in refused.unknown] == [
        "Packages in CodeArtifact (us-east-1)", "Packages in CodeArtifact (eu-north-1)",
    ]  # fmt: skip
