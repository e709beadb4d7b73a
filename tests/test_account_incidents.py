"""Whole incidents about keys of several accounts, through inbox and engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bot.accounts import Account, AccountMap, Accounts
from bot.app import opened
from bot.clients import AwsClients
from bot.engine.decisions import Ask, open_asks
from bot.engine.ledger import Ledger
from bot.model import Grade, RowState
from bot.range.aws_sts import ACCOUNT, SECOND, access_key_id
from bot.range.company import QUAY_USER
from bot.range.server import Range
from bot.settings import Settings
from tests.actions.account_arrangements import roles
from tests.test_migration import House, site_of

STRANGER = "999988887777"

pytestmark = pytest.mark.timeout(600)  # whole incidents, on a busy machine


@contextmanager
def staffed(range_: Range, home: Path, *known: Account) -> Iterator[House]:
    """An installation in the range whose account map has these accounts beside its own."""
    site = site_of(range_)
    assert isinstance(site.aws, AwsClients)
    found = AccountMap(home=ACCOUNT, accounts={account.number: account for account in known})
    accounts = Accounts(found, site.aws, range_.clock.now, partial(AwsClients, endpoint=range_.aws_url))
    settings = Settings(home=home, responders="bob,cleo", mode="ask")
    with opened(settings, sites={"range": replace(site, accounts=accounts)}) as bulkhead:
        yield House(range_, bulkhead)


def report(house: House, text: str) -> None:
    house.bulkhead.inbox.land(source="drill", world="range", by="ann", text=text, at=house.range.clock.now())


def asked(house: House, step: str) -> list[Ask]:
    """The questions of a step that stand open."""
    return [ask for one in house.incidents() for ask in open_asks(house.events(one)) if ask.step == step]


def keys(range_: Range, number: str, user: str) -> dict[str, str]:
    return {k.access_key_id: k.status for k in range_.aws.accounts[number]._iam.users[user].access_keys}


@pytest.mark.slow
def test_a_key_of_the_second_account_is_contained_there_from_report_to_close(company: Range, tmp_path: Path) -> None:
    company.reset()
    key, secret = company.company.quay_key
    with staffed(company, tmp_path, roles()) as house:
        report(house, f"AWS_ACCESS_KEY_ID={key}\nAWS_SECRET_ACCESS_KEY={secret}\n")
        house.run(house.over)
        events = house.events()
        row = Ledger.fold(events).rows[f"aws-access-key:{key}"]
        assert (row.state, row.grade) == (RowState.CLOSED, Grade.REFUSED)
        assert {event.step for event in events if event.kind == "failed"} <= {"migrate"}, "no repository is known"
    left = keys(company, SECOND, QUAY_USER)
    assert left.pop(key) == "Inactive"
    assert list(left.values()) == ["Active"], "a new key, in the account of the old one"
    assert keys(company, ACCOUNT, "ferry-ci") == {company.company.deploy_key[0]: "Active"}


@pytest.mark.slow
def test_a_key_of_an_unknown_account_is_a_persons_step_and_waits_for_what_it_has_minted(
    company: Range, tmp_path: Path
) -> None:
    company.reset()
    key = access_key_id("AKIA", STRANGER)
    with staffed(company, tmp_path, roles()) as house:
        report(house, f"somebody posted {key}")
        house.answers["contain-by-hand"] = "wait"
        house.run(lambda: bool(asked(house, "contain-by-hand")))
        (ask,) = asked(house, "contain-by-hand")
        assert f"contain {key} in AWS account {STRANGER}, which is not in the account map" in ask.what
        assert f'"{STRANGER}": {{read: arn:aws:iam::{STRANGER}:role/bulkhead-read' in ask.what
        assert f"https://{STRANGER}.signin.aws.amazon.com/console/iam" in ask.what
        calls = [call for call in company.aws.calls if key in str(call["requestParameters"])]
        assert calls == [], "no account of ours was asked for a stranger's key"
        house.answers.clear()
        house.run(lambda: any(e.step == "restore-by-hand" and e.kind == "proof" for e in house.events()))
        row = Ledger.fold(house.events()).rows[f"aws-access-key:{key}"]
        assert row.state == RowState.ACCEPTED, "a word closes nothing: a named person signs for it"
        house.bulkhead.desk.order(
            incident=house.incidents()[0], step=row.key, kind="waive", by="bob", at=company.clock.now(),
            reason="its owner shows it deleted",
        )  # fmt: skip
        company.clock.advance(37 * 3600)  # what was minted from it has ended
        house.run(house.over)


@pytest.mark.slow
def test_a_role_that_lets_nobody_in_stops_with_the_reason_until_it_is_mended(company: Range, tmp_path: Path) -> None:
    company.reset()
    key, _ = company.company.quay_key
    with staffed(company, tmp_path, roles(external_id="wrong-one")) as house:
        report(house, f"somebody posted {key}")
        house.answers["deactivate/retry"] = "wait"
        house.run(lambda: bool(asked(house, "deactivate/retry")))
        (failed,) = [event for event in house.events() if (event.step, event.kind) == ("deactivate", "failed")]
        assert "cannot be assumed (AccessDenied): let its trust policy name" in failed.body["error"]
        accounts = house.bulkhead.sites["range"].accounts
        assert accounts is not None
        accounts.map = AccountMap(home=ACCOUNT, accounts={SECOND: roles()})
        accounts._clients.clear()  # what a restart does
        house.answers.clear()
        house.run(house.over)
    assert keys(company, SECOND, QUAY_USER)[key] == "Inactive"
