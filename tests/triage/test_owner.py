"""Who may own a credential: every source, the ranking, and sources that cannot be asked."""

from __future__ import annotations

import json

import pytest

from bot.model import Credential, Owner, SecretStore
from bot.triage.owner import ADMIN, AGREES, TAG, codeowners, owners
from tests.triage.conftest import DEPLOY, FERRY, Company


def ask(company: Company, run_id: int = 0, key_id: str = "") -> tuple[dict[str, Owner], tuple[str, ...]]:
    one = Credential(provider="aws", kind="aws-access-key", id=key_id or company.key_id)
    store = SecretStore(repository=FERRY, name="AWS_SECRET_ACCESS_KEY")
    named, unknown = owners(company.world, one, FERRY, run_id, (store,))
    assert [owner.score for owner in named] == sorted((owner.score for owner in named), reverse=True)
    return {owner.name: owner for owner in named}, unknown


def test_every_source_is_asked_and_named_in_the_reason(company: Company) -> None:
    run = company.run(by="jonas")
    writes = company.mutations()
    named, unknown = ask(company, run)
    assert next(iter(named)) == "mara"
    for reason in ("tag owner of IAM user ferry-ci", "CODEOWNERS names mara", f"last changed {DEPLOY}", "administ"):
        assert reason in named["mara"].reason
    assert "started the run that leaked, which reads AWS_SECRET_ACCESS_KEY" in named["jonas"].reason
    assert "the IAM user" in named["ferry-ci"].reason
    assert [sentence for sentence in unknown if "CloudTrail" in sentence]
    assert company.mutations() == writes


def test_who_is_named_by_several_sources_stands_higher(company: Company) -> None:
    alone, _ = ask(company)
    assert alone["mara"].score == TAG + AGREES  # tag and administrator
    assert alone["jonas"].score == ADMIN
    assert ask(company, company.run(by="jonas"))[0]["mara"].score == 100


def test_the_bot_is_not_an_owner(company: Company) -> None:
    assert "bulkhead-bot" not in ask(company, company.run())[0]


def test_creator_stands_in_the_trail(company: Company) -> None:
    company.account.add_user("ops-lead", policy=json.loads(
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"*"}]}'
    ))  # fmt: skip
    key_id, secret = company.account.add_key("ops-lead")
    iam = company.world.aws.client_as("iam", key_id, company.vault.fingerprinter.secret(secret))
    made = iam.create_access_key(UserName="ferry-ci")["AccessKey"]["AccessKeyId"]
    named, unknown = ask(company, key_id=made)
    assert "created the key on" in named["ops-lead"].reason
    assert not [sentence for sentence in unknown if "CloudTrail" in sentence]


def test_source_that_fails_is_a_sentence_and_hides_no_other(company: Company) -> None:
    run = company.run()
    company.fault("aws", "iam:*")
    company.fault("github", "*/commits")
    company.fault("aws", "cloudtrail:*", 400)
    named, unknown = ask(company, run)
    assert "CODEOWNERS names mara" in named["mara"].reason
    assert "ferry-ci" not in named
    for what in ("the IAM user's tags", "who created the key", f"who last changed {DEPLOY}"):
        assert [sentence for sentence in unknown if what in sentence]


def test_when_nothing_can_be_asked_it_says_so(company: Company) -> None:
    company.fault("aws", "*")
    company.fault("github", "*")
    named, unknown = ask(company, 1)
    assert named == {}
    assert len(unknown) == 4


def test_first_codeowners_file_is_the_one_that_counts(company: Company) -> None:
    run = company.run()
    company.commit({".github/CODEOWNERS": "* @jonas\n"})
    named, _ = ask(company, run)
    assert ".github/CODEOWNERS names jonas" in named["jonas"].reason
    assert "CODEOWNERS" not in named["mara"].reason


def test_codeowners_file_that_names_nobody(company: Company) -> None:
    run = company.run()
    company.commit({"CODEOWNERS": "# nobody\n"})
    named, _ = ask(company, run)
    assert "CODEOWNERS" not in named["mara"].reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* @a", ("a",)),
        ("* @a\n/.github/ @b @c", ("b", "c")),
        ("/.github/ @b\n* @a", ("a",)),  # the last line that fits wins
        ("*.yml @a", ("a",)),
        ("*.yaml @a", ()),
        ("/.github/workflows/*.yml @a", ("a",)),
        ("/.github/*.yml @a", ()),  # * stops at a slash
        (".github/workflows/ @harbor-lights/platform", ("harbor-lights/platform",)),
        ("workflows/ @a", ("a",)),  # a folder anywhere
        ("/workflows/ @a", ()),
        ("/.github/workflows @a", ("a",)),
        ("/.github/* @a", ()),
        ("/.github/** @a", ("a",)),
        ("**/deploy.yml @a", ("a",)),
        ("deploy.yml ops@example.org # by mail", ("ops@example.org",)),
        ("* @a\n/.github/workflows/", ()),  # named without owners: nobody
        ("# * @a", ()),
        ("deploy?yml @a", ("a",)),
        ("", ()),
    ],
)
def test_codeowners(text: str, expected: tuple[str, ...]) -> None:
    assert codeowners(text, DEPLOY) == expected
