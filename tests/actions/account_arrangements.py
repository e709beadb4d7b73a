"""An account of AWS that is not in the map: a key of it, and how the account comes into the map behind our back."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from bot.accounts import Account, AccountMap, Accounts
from bot.actions.aws_accounts import AccountIn
from bot.clients import AwsClients
from bot.model import Credential, Owner
from bot.range.aws_sts import ACCOUNT, SECOND, access_key_id
from bot.range.company import ACTS, EXTERNAL_ID, READS
from tests.actions.arrangements import Arrangement
from tests.actions.conftest import Drill


def roles(number: str = SECOND, **more: str) -> Account:
    """An account of the map, with the roles that the range's second one has."""
    arn = f"arn:aws:iam::{number}:role/"
    return Account(number=number, **{"read": arn + READS, "act": arn + ACTS, "external_id": EXTERNAL_ID} | more)


def accounts(drill: Drill, *known: Account) -> Accounts:
    """The bot's own account, and these."""
    cast = drill.range.company.cast["aws"]["bulkhead-responder"]
    home = AwsClients(key_id=cast["key_id"], secret=cast["secret"], endpoint=drill.range.aws_url)
    found = AccountMap(home=ACCOUNT, accounts={account.number: account for account in known})
    return Accounts(found, home, drill.range.clock.now, partial(AwsClients, endpoint=drill.range.aws_url))


def _stranger(drill: Drill) -> AccountIn:
    key = Credential(provider="aws", kind="aws-access-key", id=access_key_id("AKIA", "999988887777"))
    drill.world = replace(drill.world, aws=accounts(drill).for_credential(key.key))
    return AccountIn(credential=key, owners=(Owner(name="jonas", score=50, reason="started the run"),))


def _mapped(drill: Drill, given: AccountIn, _out: object) -> None:
    known = accounts(drill, roles("999988887777"))
    drill.world = replace(drill.world, aws=known.for_credential(given.credential.key))


ACCOUNTS = (Arrangement(action="aws.find_account", seed=_stranger, take_away=_mapped),)
