"""Doctor on the accounts of the map: which role is missing, which lacks something, which is too strong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from bot.accounts import AccountMap, Accounts
from bot.clients import AwsClients
from bot.doctor.accounts import look
from bot.doctor.found import BROKEN, OK, WARNING, Finding
from bot.range.aws import AwsRange, serve
from bot.range.aws_sts import ACCOUNT, SECOND
from bot.range.clock import RangeClock
from bot.range.company import ACTS, READS, RESPONDER, Company, seed_aws
from bot.range.issuer import OidcIssuer
from bot.range.switchboard import Switchboard
from bot.sites import Site
from tests.actions.account_arrangements import roles


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[AwsRange, str]]:
    clock = RangeClock()
    aws = AwsRange(clock, Switchboard(clock), OidcIssuer(clock))
    url, server = serve(aws)
    yield aws, url
    server.shutdown()
    server.server_close()


@pytest.fixture
def site(served: tuple[AwsRange, str]) -> Site:
    aws, url = served
    aws.reset()
    company = Company()
    seed_aws(aws, company)
    own = company.cast["aws"][RESPONDER]
    home = AwsClients(key_id=own["key_id"], secret=own["secret"], endpoint=url)
    found = AccountMap(home=ACCOUNT, accounts={SECOND: roles(name="quay")})
    accounts = Accounts(found, home, aws.clock.now, partial(AwsClients, endpoint=url))
    return Site(name="real", aws=home, github=None, clock=aws.clock, identities=(), accounts=accounts)  # type: ignore[arg-type]


def states(findings: list[Finding]) -> dict[str, str]:
    return {finding.detail: finding.state for finding in findings}


def test_both_roles_let_us_in_and_what_a_thief_of_the_one_that_acts_could_do_is_told(site: Site) -> None:
    findings, (power,) = look(site)
    (good, *rest) = findings
    assert (good.name, good.state) == (f"AWS account {SECOND} (quay)", OK)
    assert all(finding.state == WARNING and " ecr:" in finding.detail for finding in rest), states(rest)
    assert power.identity.endswith(f"role/{ACTS}")
    assert "make keys for any user, and so become them" in power.could


def test_a_role_that_does_not_let_us_in_is_broken_and_says_which(site: Site) -> None:
    assert site.accounts is not None
    site.accounts.map = AccountMap(home=ACCOUNT, accounts={SECOND: roles(act=f"arn:aws:iam::{SECOND}:role/gone")})
    findings, powers = look(site)
    assert [(f.state, f.disables) for f in findings] == [(BROKEN, "What is found in this account cannot be cut.")]
    assert "role/gone" in findings[0].detail
    assert powers == []


def test_a_role_that_reads_and_may_change_things_is_too_strong(site: Site, served: tuple[AwsRange, str]) -> None:
    more = {"Effect": "Allow", "Action": ["iam:*", "s3:Get*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [more]})
    served[0].accounts[SECOND]._iam.put_role_policy(READS, "more", document)
    said = next(finding for finding in look(site)[0] if "too strong" in finding.detail)
    assert (said.state, said.detail) == (WARNING, "the role that reads is too strong: iam:*")
    assert said.suggestion


def test_without_a_map_there_is_nothing_to_say(site: Site) -> None:
    assert look(replace(site, accounts=None)) == ([], [])
