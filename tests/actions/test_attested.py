"""Provenance of images as the range's releases attest it: collected, verified, and missed where a thief pushed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.actions.attested import attested
from bot.actions.github_package_find import FindHostedIn
from bot.actions.signal_facts import Collected
from bot.actions.signal_registries import of_attestations, of_ecr, of_ghcr, of_registries
from bot.actions.signals import JudgeIn
from bot.clients import GitHubClient
from bot.errors import Rejected
from bot.model import Credential
from bot.range.company import FERRY
from bot.range.ghcr_theft import EARLIER, GOOD_TAG, RELEASE, REPOSITORY, GhcrTheft, workflow
from bot.range.github.attestations import keep
from bot.range.github.http import VERSIONS
from bot.range.issuer import OidcIssuer
from bot.range.npm_theft import dispatch
from bot.range.registries import docker_theft
from bot.range.registries.theft import BAD, GOOD
from bot.range.sigstore import Sigstore, image_statement
from bot.signals import release_path
from bot.signals.baseline import Baseline
from bot.signals.facts import EPOCH, Signed, Version, of_kind
from bot.signals.given import Given
from tests.actions import dockerhub_arrangements
from tests.actions.conftest import Drill
from tests.actions.image_arrangements import opened, push
from tests.actions.token_arrangements import as_app

PAT = Credential(provider="github", kind="github-pat-classic", fingerprint="hmac:made-up")


def claims(repository: str = REPOSITORY, path: str = RELEASE) -> dict[str, Any]:
    """Of a job on the default branch."""
    ref = "refs/heads/main"
    return {"repository": repository, "ref": ref, "workflow_ref": f"{repository}/{path}@{ref}", "sha": "a" * 40,
            "run_id": "17"}  # fmt: skip


def told(drill: Drill) -> dict[str, Version]:
    """The images of the repository, their provenance verified against the trust root of the World."""
    of_ghcr(drill.world, REPOSITORY, found := Collected())
    of_attestations(drill.world, REPOSITORY, EPOCH, found)
    found.verify(drill.world.trust_root)
    assert found.unknown == []
    return {one.name: one for one in release_path.joined(of_kind(found.facts, Version))}


def signs(drill: Drill, since: str) -> dict[str, tuple[str, str]]:
    given = JudgeIn(credential=PAT, repository=REPOSITORY, since=since)
    outcome = drill.do("signals.judge", given)[1]
    return {one.what: (one.sure, one.says) for one in outcome.findings if one.what.startswith("provenance")}


def test_releases_attest_their_images_and_what_a_thief_pushes_has_nothing_of_it(drill: Drill) -> None:
    theft = GhcrTheft(drill.range)
    run = theft.leak()["run_id"]
    one = told(drill)[GOOD_TAG]
    assert (one.signed, one.built_by, one.workflow, one.run) == (Signed.VERIFIED, REPOSITORY, RELEASE, run)
    since = drill.world.now().isoformat()
    theft.abuse("")
    (bad,) = (one for one in told(drill).values() if one.name not in (*EARLIER, GOOD_TAG))
    assert (bad.signed, bad.provenance) == (Signed.UNCHECKED, "no")
    sure, said = signs(drill, since)["provenance-lost"]
    assert (sure, "the 3 versions before it had it" in said) == ("likely", True)
    found = drill.do("github.find_unexplained_packages", FindHostedIn(repository=REPOSITORY, since=since))[1]
    assert "tagged latest, without the provenance that 3 others have" in found.summary


@pytest.mark.slow
def test_a_bundle_that_a_thief_brings_along_is_found_for_what_it_is(drill: Drill) -> None:
    """Whoever may write attestations may store anything: GitHub does not verify it."""
    theft = GhcrTheft(drill.range)
    theft.leak()
    since = drill.world.now().isoformat()
    theft.abuse("")
    bad = drill.range.images.tagged(REPOSITORY, "latest")
    repo = drill.range.github.state.repos[REPOSITORY]
    thief = Sigstore(drill.range.clock, OidcIssuer(drill.range.clock))
    house, name = drill.range.sigstore, f"ghcr.io/{REPOSITORY}"
    own, of_bad = claims(), image_statement(claims(), name, bad)
    elsewhere = claims("quiet-otter/lantern")
    cases = (
        (house.sign(own, image_statement(own, name, told(drill)[GOOD_TAG].digests[0])), ""),
        (house.sign(elsewhere, image_statement(elsewhere, name, bad)), "provenance-built-by"),
        (house.sign(elsewhere, of_bad), "provenance-signature"), (thief.sign(own, of_bad), "provenance-signature"),
        (house.sign(claims(path=".github/workflows/x.yml"), of_bad), "provenance-workflow"),
    )  # fmt: skip
    for bundle, what in cases:
        drill.world.github.send("POST", f"/repos/{REPOSITORY}/attestations", {"bundle": bundle})
        found = signs(drill, since)
        assert (what or "provenance-lost") in found, (what, found)
        if what:
            repo.attestations.pop()


@pytest.mark.slow
@pytest.mark.parametrize("lacks", ["id-token: write", "attestations: write"])
def test_a_job_attests_only_with_both_permissions(drill: Drill, lacks: str) -> None:
    theft = GhcrTheft(drill.range)
    theft.leak()
    kept = len(drill.range.github.state.repos[REPOSITORY].attestations)
    text = workflow("2.5.0").replace(f"  {lacks}\n", "")
    drill.range.github.state.commit_files(REPOSITORY, {RELEASE: text}, "Less", "mara", runs=False)
    assert dispatch(drill.range, "release.yml", repository=REPOSITORY)["conclusion"] == "failure"
    assert len(drill.range.github.state.repos[REPOSITORY].attestations) == kept


@pytest.mark.slow
def test_what_github_does_not_tell_is_said_and_held_against_nobody(drill: Drill) -> None:
    theft = GhcrTheft(drill.range)
    theft.leak()
    since = drill.world.now().isoformat()
    theft.abuse("")
    route = f"/repos/{REPOSITORY}/attestations/*"
    for status, later in ((503, True), (403, False)):
        drill.range.switchboard.add([{"server": "github", "route": route, "status": status}])
        of_ghcr(drill.world, REPOSITORY, found := Collected())
        of_attestations(drill.world, REPOSITORY, EPOCH, found)
        drill.range.switchboard.clear_faults()
        (said,) = found.unknown
        assert "Attestations of images could not be read" in said
        assert found.later == later
    drill.range.switchboard.add([{"server": "github", "route": route, "status": 403}])
    assert signs(drill, since) == {}
    again = drill.do("github.find_unexplained_packages", FindHostedIn(repository=REPOSITORY, since=since))[1]
    assert "could not be read" in again.summary
    drill.range.switchboard.clear_faults()
    assert "provenance-lost" in signs(drill, since)


@pytest.mark.slow
def test_a_list_that_does_not_hold_its_bundles_is_not_taken_for_none(
    drill: Drill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the API's version 2026-03-10 on; GitHub is asked by the one before, whatever it answers by itself."""
    monkeypatch.setattr("bot.range.github.VERSIONS", VERSIONS[::-1])
    GhcrTheft(drill.range).leak()
    digest = drill.range.images.tagged(REPOSITORY, GOOD_TAG)
    assert len(attested(drill.world, REPOSITORY, digest).bundles) == 1
    assert attested(drill.world, REPOSITORY, f"sha256:{'0' * 64}").bundles == ()
    route = f"/repos/{REPOSITORY}/attestations/*"
    for status, none in ((422, True), (400, False)):
        drill.range.switchboard.add([{"server": "github", "route": route, "status": status}])
        if none:
            assert attested(drill.world, REPOSITORY, digest).bundles == ()
        else:
            with pytest.raises(Rejected):
                attested(drill.world, REPOSITORY, digest)
        drill.range.switchboard.clear_faults()
    drill.range.github.state.repos[REPOSITORY].attestations[-1]["bundle"] = None
    with pytest.raises(Rejected, match="2022-11-28"):
        attested(drill.world, REPOSITORY, digest)
    app = replace(drill.world, github=as_app(drill, contents="read"))
    assert isinstance(app.github, GitHubClient)
    assert attested(app, REPOSITORY, f"sha256:{'0' * 64}").bundles == (), "what is public needs no permission"


def attests(drill: Drill, repository: str, digest: str) -> None:
    """A release of this repository has attested an image."""
    who = claims(repository)
    bundle = drill.range.sigstore.sign(who, image_statement(who, "x", digest))
    keep(drill.range.github.state.repos[repository], 1, bundle)


@pytest.mark.slow
def test_images_in_ecr_are_asked_for_at_github_by_their_digests(drill: Drill) -> None:
    opened(drill)
    for number in range(3):
        attests(drill, FERRY, push(drill, f"release {number}", f"2.{number}.0"))
        drill.range.clock.advance(600)
    push(drill, "a backdoor", "2.3.0")
    of_ecr(drill.world, FERRY, found := Collected())
    of_attestations(drill.world, FERRY, EPOCH, found)
    found.verify(drill.world.trust_root)
    signs = list(release_path.judge(found.facts, Baseline(), Given(now=drill.world.now())))
    assert [(one.what, one.subject) for one in signs] == [("provenance-lost", "ecr ferry@2.3.0")]


@pytest.mark.slow
def test_images_at_docker_hub_are_asked_for_at_github_by_their_digests(drill: Drill) -> None:
    dockerhub_arrangements.leaked(drill)
    attests(drill, docker_theft.REPOSITORY, dockerhub_arrangements.released(drill))
    drill.range.clock.advance(600)
    dockerhub_arrangements.pushed(drill, BAD, BAD)
    of_registries(drill.world, docker_theft.REPOSITORY, found := Collected())
    of_attestations(drill.world, docker_theft.REPOSITORY, EPOCH, found)
    found.verify(drill.world.trust_root)
    versions = {one.name: one for one in of_kind(found.facts, Version)}
    assert (versions[GOOD].signed, versions[GOOD].built_by) == (Signed.VERIFIED, docker_theft.REPOSITORY)
    assert (versions[BAD].signed, versions[BAD].provenance) == (Signed.UNCHECKED, "no")
