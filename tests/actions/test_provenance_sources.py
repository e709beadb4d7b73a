"""Provenance as the range's npm and PyPI publish it, and npm's own signatures: collected, verified in an incident."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.actions import CATALOGUE
from bot.actions.signal_facts import Collected, of_npm
from bot.actions.signal_registries import of_registries
from bot.actions.signals import JudgeIn
from bot.cli.signals import app
from bot.model import Credential
from bot.range.company import FERRY
from bot.range.issuer import OidcIssuer
from bot.range.npm_company import GOOD, PACKAGE, RELEASE
from bot.range.npm_keys import Keys
from bot.range.npm_theft import dispatch
from bot.range.provenance import ATTESTED
from bot.range.registries.packages import wheel
from bot.range.registries.pypi import Pypi
from bot.range.registries.theft import SHOPS
from bot.range.sigstore import Sigstore, npm_statement
from bot.signals import release_path
from bot.signals.facts import RegistrySigned, Signed, Version, of_kind
from tests.actions.conftest import Drill
from tests.actions.registry_arrangements import leaked

TRUSTED = {"kind": "GitHub", "repository": SHOPS["pypi"].repository, "workflow": "release.yml", "environment": None}


def released(drill: Drill) -> int:
    """Mara releases with ``npm publish --provenance``; the number of the run."""
    drill.range.github.state.commit_files(FERRY, {RELEASE: ATTESTED}, "Publish with provenance", "mara", runs=False)
    return int(dispatch(drill.range, "release.yml")["id"])


def told(drill: Drill) -> dict[str, Version]:
    """The versions of npm, verified against the trust root of the World."""
    of_npm(drill.world, FERRY, "", found := Collected())
    found.verify(drill.world.trust_root)
    assert found.unknown == []
    return {one.name: one for one in release_path.joined(of_kind(found.facts, Version))}


@pytest.mark.slow
def test_a_release_of_the_job_is_verified_and_names_its_run(drill: Drill) -> None:
    run = released(drill)
    one = told(drill)[GOOD]
    assert (one.signed, one.built_by, one.workflow, one.run) == (Signed.VERIFIED, FERRY, RELEASE, run)
    assert set(one.attested) <= set(one.digests)


@pytest.mark.slow
def test_in_an_incident_a_forged_bundle_at_the_registry_is_a_sign(drill: Drill, tmp_path: Path) -> None:
    run = released(drill)
    package = drill.range.npm.packages[PACKAGE]
    claims = {"repository": FERRY, "workflow_ref": f"{FERRY}/{RELEASE}@refs/heads/main", "ref": "refs/heads/main",
              "sha": "a" * 40, "run_id": str(run)}  # fmt: skip
    thief = Sigstore(drill.range.clock, OidcIssuer(drill.range.clock))
    statement = npm_statement(claims, PACKAGE, GOOD, told(drill)[GOOD].attested[0])
    package.bundles[GOOD] = thief.sign(claims, statement)
    given = JudgeIn(credential=Credential(provider="npm", kind="npm-token", id="x"), repository=FERRY)
    judge = CATALOGUE["signals.judge"]
    outcome = judge.run(drill.world, given, judge.look(drill.world, given))
    assert [one.what for one in outcome.findings if one.what.startswith("provenance")] == ["provenance-signature"]
    other = replace(drill.world, trust_root="{}")
    blind = judge.run(other, given, judge.look(other, given))
    assert any("No provenance was verified" in said for said in blind.unknown)

    # the same without a bot, from files
    root, documents = tmp_path / "trusted_root.json", tmp_path / "ferry.json"
    root.write_text(drill.range.sigstore.trusted_root)
    answers = [drill.range.npm.packument(package), drill.range.npm.attestations(PACKAGE, GOOD)]
    documents.write_text("\n".join(map(json.dumps, answers)))
    asked = ["run", "--package", str(documents), "--trust-root", str(root), "--json"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 4, done.output
    assert "provenance-signature" in {one["what"] for one in json.loads(done.stdout)["findings"]}


@pytest.mark.slow
def test_what_a_trusted_publisher_uploads_to_pypi_is_verified(drill: Drill) -> None:
    leaked(drill, "pypi")
    held, shop = drill.range.registries["pypi"], SHOPS["pypi"]
    assert isinstance(held, Pypi)
    held.publish("mara", shop.package, "2.5.0", *wheel(shop.package, "2.5.0", {}), publisher=TRUSTED)
    of_registries(drill.world, shop.repository, found := Collected())
    found.verify(drill.world.trust_root)
    one = {one.name: one for one in release_path.joined(of_kind(found.facts, Version))}["2.5.0"]
    assert (one.signed, one.built_by, one.means) == (Signed.VERIFIED, shop.repository, "trusted")
    assert set(one.attested) <= set(one.digests)


# npm's own signatures ------------------------------------------------------------------------------------------------


def test_npm_has_signed_what_it_took_in_and_keys_that_do_not_come_are_said(drill: Drill) -> None:
    assert {one.registry_signed for one in told(drill).values()} == {RegistrySigned.VERIFIED}
    for status, said, later in ((503, "could not be read", True), (404, "There is no record of the keys", False)):
        drill.range.switchboard.add([{"server": "npm", "route": "/-/npm/v1/keys", "status": status}])
        of_npm(drill.world, FERRY, "", found := Collected())
        found.verify(drill.world.trust_root)
        drill.range.switchboard.clear_faults()
        (unknown,) = found.unknown
        assert said in unknown, unknown
        assert found.later == later, "the watch waits for a registry that is away"
        assert {one.registry_signed for one in of_kind(found.facts, Version)} == {RegistrySigned.UNCHECKED}


@pytest.mark.slow
def test_in_an_incident_a_version_that_npm_did_not_take_in_so_is_a_sign(drill: Drill, tmp_path: Path) -> None:
    released(drill)
    package = drill.range.npm.packages[PACKAGE]
    dist = package.versions[GOOD]["dist"]
    good, other = dist["signatures"], Keys().sign(PACKAGE, GOOD, dist["integrity"])
    judge = CATALOGUE["signals.judge"]
    given = JudgeIn(credential=Credential(provider="npm", kind="npm-token", id="x"), repository=FERRY)
    under = [{**other, "keyid": good[0]["keyid"]}]
    for signatures, value in (([], "missing"), ([other], "unknown"), (under, "forged"), (good, "")):
        dist["signatures"] = signatures
        outcome = judge.run(drill.world, given, judge.look(drill.world, given))
        signs = [one.says for one in outcome.findings if one.what == "registry-signature"]
        assert len(signs) == bool(value), (value, signs)
        assert outcome.versions == (), "nobody pulls what npm's own document says wrongly"

        answers = [drill.range.npm.packument(package), {"keys": drill.range.npm.keys.published()}]
        (documents := tmp_path / "ferry.json").write_text("\n".join(map(json.dumps, answers)))
        done = CliRunner().invoke(app, ["run", "--package", str(documents), "--json"])
        found = {one["what"]: one["value"] for one in json.loads(done.stdout)["findings"]}
        assert found.get("registry-signature", "") == value, done.output
