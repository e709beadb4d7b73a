"""A stolen npm token: whose it is, where it stands, and what else its job could read."""

from __future__ import annotations

from dataclasses import replace

from bot.model import Credential, Liveness, Report
from bot.range.company import DEPLOY_USER
from bot.range.npm import Token
from bot.range.npm_company import PACKAGE, RELEASE, RELEASE_YAML, SECRET
from bot.range.npm_package import release
from bot.triage import triage
from bot.triage.npm import npm_account, npm_home, npm_liveness
from bot.triage.pair import key_of_repository
from bot.triage.reach import reach_of_run
from tests.triage.conftest import FERRY, Company

TOKEN = Credential(provider="npm", kind="npm-token", fingerprint="hmac:000000000001")


def held(company: Company) -> tuple[Credential, Token]:
    """Ferry's token, sealed as the reported one."""
    (token,) = [each for each in company.range.npm.tokens.values() if each.user == "mara"]
    credential = replace(TOKEN, fingerprint=company.vault.fingerprint(token.value))
    company.world.secrets.seal("reported", token.value, credential.key)
    return credential, token


def test_it_is_live_until_it_is_revoked(company: Company) -> None:
    assert npm_liveness(company.world, TOKEN)[0] == Liveness.UNKNOWN
    credential, token = held(company)
    assert npm_liveness(company.world, credential) == (Liveness.LIVE, "npm knows it as mara")
    assert npm_account(company.world, credential) == "mara"
    token.revoked = True
    assert npm_liveness(company.world, credential)[0] == Liveness.DEAD
    assert npm_account(company.world, credential) == ""


def test_its_store_is_the_one_secret_that_is_named_after_npm_and_the_pair_beside_it_is_found(company: Company) -> None:
    reached, stores, _, unknown = reach_of_run(company.world, FERRY, company.run(RELEASE), TOKEN)
    assert [(store.name, store.part) for store in stores] == [(SECRET, "secret")]
    known = {each.name: each.credential.key for each in reached if each.credential}
    assert known[SECRET] == TOKEN.key
    assert {known["AWS_ACCESS_KEY_ID"], known["AWS_SECRET_ACCESS_KEY"]} == {company.key}
    assert not any("AWS key" in sentence for sentence in unknown)


def test_two_secrets_named_after_npm_are_a_question_and_not_a_guess(company: Company) -> None:
    company.state.set_secret(FERRY, "NPM_READ_TOKEN", "made-up")
    second = "NPM_READ_TOKEN: ${{ secrets.NPM_READ_TOKEN }}"
    company.commit({RELEASE: RELEASE_YAML.replace("AWS_REGION:", f"{second}\n      AWS_REGION:")})
    reached, stores, _, unknown = reach_of_run(company.world, FERRY, company.run(RELEASE), TOKEN)
    assert stores == ()
    assert {each.kind for each in reached if each.name.startswith("NPM")} == {"secret"}
    assert any("NPM_PUBLISH_TOKEN, NPM_READ_TOKEN" in sentence for sentence in unknown)


def test_a_key_is_only_named_when_there_is_one(company: Company) -> None:
    unknown: list[str] = []
    found = key_of_repository(company.world, FERRY, "A and B", unknown)
    assert found is not None
    assert (found.key, unknown) == (company.key, [])
    company.account.add_key(DEPLOY_USER)
    assert key_of_repository(company.world, FERRY, "A and B", unknown) is None
    assert unknown == [f"Which AWS key is in A and B is not known: IAM has 2 active ones of {FERRY}"]
    assert key_of_repository(company.as_nobody(), FERRY, "A and B", unknown) is None
    assert "could not be asked" in unknown[-1]


def test_without_a_run_the_packages_say_where_they_come_from(company: Company) -> None:
    unknown: list[str] = []
    assert npm_home(company.world, "mara", unknown) == ""
    _, token = held(company)
    manifest = {"name": PACKAGE, "version": "1.4.2", "repository": {"url": f"git+https://github.com/{FERRY}.git"}}
    company.range.npm.publish(release(manifest), token)
    assert npm_home(company.world, "mara", unknown) == FERRY
    company.fault("npm", "/-/v1/search")
    assert npm_home(company.world, "mara", unknown) == ""
    assert "could not be asked" in unknown[-1]


def test_a_log_that_does_not_hold_it_is_not_to_be_deleted(company: Company) -> None:
    credential, _ = held(company)
    run = company.run(RELEASE)
    report = Report(source="test", by="jonas", text="", url=company.url(run), credential=credential)
    found = triage(company.world, company.recognizer, report)
    assert (found.leaking_runs, [ref.workflow for ref in found.leaking_workflows]) == ((), [RELEASE])
    assert (found.live, found.credential.account, found.owners[0].name) == (Liveness.LIVE, "mara", "mara")
    assert [store.name for store in found.stores] == [SECRET]


def test_what_another_incident_led_to_has_a_ledger_of_its_own_credential_only(company: Company) -> None:
    run = company.run(RELEASE)
    key = Credential(provider="aws", kind="aws-access-key", id=company.key_id)
    report = Report(source="test", by="jonas", text="", url=company.url(run), credential=key, beside="inc-1")
    found = triage(company.world, company.recognizer, report)
    assert {each.credential.key for each in found.reach if each.credential} == {company.key}
    assert all(each.credential for each in found.reach)
    assert {tail.of for tail in found.tails} == {company.key}
    assert {store.name for store in found.stores} == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
