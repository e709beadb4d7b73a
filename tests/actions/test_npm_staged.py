"""Versions that wait at npm: what explains one, what a person's word is worth, and what a token may not do."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bot.actions import CATALOGUE
from bot.actions.npm_versions import FindIn
from bot.errors import Forbidden
from bot.model import PackageVersion, StagedVersion, Verdict
from bot.npm import NpmClient
from bot.range.company import FERRY
from bot.range.npm_company import BAD, PACKAGE
from bot.range.npm_theft import dispatch
from bot.range.sigstore import npm_statement
from tests.actions.conftest import Drill
from tests.actions.staged_arrangements import WAITS, asked, stage, waiting

FIND, REJECT = (CATALOGUE[f"npm.{name}"] for name in ("find_staged_versions", "reject_staged_version"))


@pytest.mark.slow
def test_what_a_run_staged_and_what_waited_before_is_not_suspected(drill: Drill) -> None:
    stage(drill, "1.4.9")
    drill.range.clock.advance(60)
    since = drill.world.now().isoformat()
    dispatch(drill.range, "deploy.yml")
    drill.range.clock.advance(60)
    stage(drill, WAITS)
    given = FindIn(repository=FERRY, since=since)
    assert FIND.run(drill.world, given, FIND.look(drill.world, given)).staged == ()
    drill.range.clock.advance(7200)
    number = stage(drill, "1.5.1")
    found = FIND.run(drill.world, given, FIND.look(drill.world, given))
    assert found.staged == (StagedVersion(id=number, package=PACKAGE, version="1.5.1"),)


def test_no_token_rejects_and_a_word_that_is_not_true_is_refuted(drill: Drill) -> None:
    given = asked(drill)
    before = REJECT.look(drill.world, given)
    assert f"npm stage reject {given.staged.id}" in before.text
    assert drill.world.npm is not None
    for verb, path in (("DELETE", ""), ("POST", "/approve")):
        with pytest.raises(Forbidden) as caught:
            drill.world.npm.send(verb, f"/-/stage/{given.staged.id}{path}")
        assert caught.value.code == "EOTP"
    outcome = REJECT.outcome(changed=True, by="mara", answer="rejected", summary="")
    assert REJECT.prove(drill.world, given, before, outcome).verdict == Verdict.REFUTED
    REJECT.run(drill.world, given, before)
    assert REJECT.prove(drill.world, given, before, outcome).verdict == Verdict.PROVEN
    package = drill.range.npm.packages[PACKAGE]
    package.versions[WAITS] = package.versions["1.4.1"]
    package.times[WAITS] = drill.range.clock.now()
    proof = REJECT.prove(drill.world, given, before, outcome)
    assert (proof.verdict, "somebody has approved it" in proof.detail) == (Verdict.REFUTED, True)


def test_without_a_token_of_ours_that_may_write_nothing_is_found_and_it_is_said(drill: Drill) -> None:
    given = waiting(drill)
    nobody = NpmClient(base_url=drill.range.npm.base_url, downloads_url=drill.range.npm.base_url)
    with pytest.raises(Forbidden, match="BULKHEAD_NPM_TOKEN"):
        FIND.run(replace(drill.world, npm=nobody), given, FIND.look(drill.world, given))


def test_what_npm_does_not_let_us_unpublish_is_reported_and_its_provenance_is_evidence(drill: Drill) -> None:
    unpublish = CATALOGUE["npm.unpublish"]
    given = PackageVersion(package=PACKAGE, version="1.4.1")
    before = unpublish.look(drill.world, given)
    assert "https://www.npmjs.com/support?inquire=security" in before.summary
    assert "version=1.4.1" in before.summary
    claims = {"repository": FERRY, "workflow_ref": f"{FERRY}/x.yml@refs/heads/main", "ref": "refs/heads/main",
              "sha": "a" * 40, "run_id": "1"}  # fmt: skip
    bundle = drill.range.sigstore.sign(claims, npm_statement(claims, PACKAGE, "1.4.1", "ab"))
    drill.range.npm.packages[PACKAGE].bundles["1.4.1"] = bundle
    assert unpublish.evidence is not None
    saved = {ref.name.rpartition("/")[2]: ref for ref in unpublish.evidence(drill.world, given, before)}
    record = json.loads(drill.room.read(saved["document.json"].sha256))
    assert record["attestations"]["attestations"][0]["bundle"]["mediaType"] == bundle["mediaType"]
    assert record["keys"]["keys"] == drill.range.npm.keys.published()
    assert BAD not in record["document"]["versions"]
