"""Live, dead or unknown: asked of the range's AWS and GitHub, changing nothing there."""

from __future__ import annotations

from typing import Any

import pytest

from bot.model import Credential, Liveness
from bot.triage.liveness import liveness, session_token_label
from bot.triage.rules import github_checksum
from tests.triage.conftest import Company


def aws_key(company: Company, secret: str = "", key_id: str = "", **more: Any) -> Credential:
    """The deploy key, its secret sealed when one is given."""
    one = Credential(provider="aws", kind="aws-access-key", id=key_id or company.key_id, account="123456789012", **more)
    if secret:
        company.world.secrets.seal("leaked", secret, credential=one.key)
    return one


def token(company: Company, value: str, kind: str = "github-pat-classic") -> Credential:
    one = Credential(provider="github", kind=kind, fingerprint=company.vault.fingerprint(value))
    company.world.secrets.seal("leaked", value, credential=one.key)
    return one


def set_key(company: Company, status: str) -> None:
    iam = company.world.aws.client("iam")
    if status == "Deleted":
        iam.delete_access_key(UserName="ferry-ci", AccessKeyId=company.key_id)
    else:
        iam.update_access_key(UserName="ferry-ci", AccessKeyId=company.key_id, Status=status)


@pytest.mark.parametrize("held", [True, False], ids=["value", "id-only"])
@pytest.mark.parametrize(
    ("status", "expected"), [("Active", "live"), ("Inactive", "dead"), ("Deleted", "dead")]
)  # fmt: skip
def test_aws_key(company: Company, held: bool, status: str, expected: str) -> None:
    set_key(company, status)
    writes = company.mutations()
    state, why = liveness(company.world, aws_key(company, company.secret if held else ""))
    assert (state.value, bool(why)) == (expected, True)
    assert ("AWS refuses it: InvalidClientTokenId" in why) == (held and expected == "dead")
    assert company.mutations() == writes
    assert company.secret not in why


def test_live_key_under_a_deny_is_live(company: Company) -> None:
    deny = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}'
    company.world.aws.client("iam").put_user_policy(UserName="ferry-ci", PolicyName="stop", PolicyDocument=deny)
    state, why = liveness(company.world, aws_key(company, company.secret))
    assert state == Liveness.LIVE
    assert "user/ferry-ci" in why


def test_secret_of_another_key_says_nothing_of_this_one(company: Company) -> None:
    wrong = company.secret[:-1] + ("a" if company.secret[-1] != "a" else "b")
    state, why = liveness(company.world, aws_key(company, wrong))
    assert state == Liveness.LIVE
    assert "not its own" in why
    set_key(company, "Inactive")
    assert liveness(company.world, aws_key(company))[0] == Liveness.DEAD


def test_key_of_another_account_is_unknown(company: Company) -> None:
    foreign = Credential(provider="aws", kind="aws-access-key", id="AK" + "IA" + "A" * 16, account="999988887777")
    state, why = liveness(company.world, foreign)
    assert state == Liveness.UNKNOWN
    assert "999988887777" in why
    assert "123456789012" in why


def test_without_the_permission_it_is_unknown_and_says_which(company: Company) -> None:
    state, why = liveness(company.as_nobody(), aws_key(company))
    assert state == Liveness.UNKNOWN
    assert "GetAccessKeyLastUsed" in why


@pytest.mark.parametrize("held", [True, False], ids=["value", "id-only"])
def test_provider_that_does_not_answer_makes_it_unknown(company: Company, held: bool) -> None:
    company.fault("aws", "sts:*")
    company.fault("aws", "iam:*")
    state, why = liveness(company.world, aws_key(company, company.secret if held else ""))
    assert (state, bool(why)) == (Liveness.UNKNOWN, True)


def test_secret_half_alone_is_unknown(company: Company) -> None:
    one = Credential(provider="aws", kind="aws-access-key", fingerprint=company.vault.fingerprint(company.secret))
    company.world.secrets.seal("leaked", company.secret, credential=one.key)
    assert liveness(company.world, one)[0] == Liveness.UNKNOWN


def test_aws_session_is_tried_with_its_token_until_it_has_expired(company: Company) -> None:
    sts = company.world.aws.client_as("sts", company.key_id, company.vault.fingerprinter.secret(company.secret))
    session = sts.get_session_token(DurationSeconds=900)["Credentials"]
    one = Credential(provider="aws", kind="aws-session", id=session["AccessKeyId"], account="123456789012")
    company.world.secrets.seal("leaked", session["SecretAccessKey"], credential=one.key)
    assert liveness(company.world, one)[0] == Liveness.UNKNOWN
    company.world.secrets.seal(session_token_label(one), session["SessionToken"])
    assert liveness(company.world, one)[0] == Liveness.LIVE
    company.range.clock.advance(1000)
    state, why = liveness(company.world, one)
    assert (state, "ExpiredToken" in why) == (Liveness.DEAD, True)


def test_github_token_until_it_is_revoked(company: Company) -> None:
    value = company.range.company.cast["github"]["jonas"]
    assert github_checksum(value) == "good"
    one = token(company, value)
    assert liveness(company.world, one)[0] == Liveness.LIVE
    company.state.tokens[value].revoked = True
    state, why = liveness(company.world, one)
    assert (state, "401" in why, value in why) == (Liveness.DEAD, True, False)


def test_installation_token_is_live_though_it_has_no_user(company: Company) -> None:
    app = company.range.company.cast["app"]["app_id"]
    account = company.state.apps[app].bot
    minted = company.state.mint_server_token(app, account, {"metadata": "read"}, None, kind="installation")
    one = token(company, minted.value, "github-installation")
    assert liveness(company.world, one)[0] == Liveness.LIVE
    company.range.clock.advance(3 * 3600)
    assert liveness(company.world, one)[0] == Liveness.DEAD


@pytest.mark.parametrize("status", [403, 500])
def test_github_that_answers_neither_yes_nor_no_is_unknown(company: Company, status: int) -> None:
    one = token(company, company.range.company.cast["github"]["jonas"])
    company.fault("github", "/rate_limit", status)
    state, why = liveness(company.world, one)
    assert (state, str(status) in why) == (Liveness.UNKNOWN, True)


def test_github_token_that_is_not_held_is_unknown(company: Company) -> None:
    one = Credential(provider="github", kind="github-pat-classic", fingerprint="hmac:000000000000")
    assert liveness(company.world, one)[0] == Liveness.UNKNOWN


def test_kind_without_a_look_is_unknown_and_nothing_is_asked(company: Company) -> None:
    asked = len(company.range.switchboard.requests())
    state, why = liveness(company.world, Credential(provider="vault", kind="vault-token", id="1"))
    assert (state, "vault-token" in why) == (Liveness.UNKNOWN, True)
    assert len(company.range.switchboard.requests()) == asked
