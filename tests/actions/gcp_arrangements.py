"""Arrangements for Google Cloud: a service-account key that leaked."""

from __future__ import annotations

import json
from typing import Any

from bot.actions.gcp import KeyIn
from bot.gcp import KIND, KeyName, key_name, own_name
from bot.model import Credential
from bot.range.gcp.server import Account
from bot.range.gcp.theft import open_quay
from tests.actions.arrangements import Arrangement
from tests.actions.conftest import Drill


def leaked(drill: Drill) -> KeyIn:
    """The company's key, held as after intake."""
    file = open_quay(drill.range)
    found = Credential(provider="gcp", kind=KIND, id=str(own_name(file)))
    drill.world.secrets.seal(f"leaked:{found.key}", json.loads(file)["private_key"], found.key)
    return KeyIn(credential=found)


def name_of(given: KeyIn) -> KeyName:
    return key_name(given.credential.id)


def account_of(drill: Drill, given: KeyIn) -> Account:
    return drill.range.gcp.accounts[name_of(given).email]


def enable_key(drill: Drill, given: Any, _out: Any) -> None:
    account_of(drill, given).keys[name_of(given).key].disabled = False


def enable_account(drill: Drill, given: Any, _out: Any) -> None:
    account_of(drill, given).disabled = False


def _key_is_gone(drill: Drill, given: Any, _out: Any) -> None:
    account_of(drill, given).keys.clear()


def _account_is_gone(drill: Drill, given: Any, _out: Any) -> None:
    del drill.range.gcp.accounts[name_of(given).email]


def _deleted(drill: Drill) -> KeyIn:
    given = leaked(drill)
    drill.facts["key"] = account_of(drill, given).keys[name_of(given).key]
    return given


def _there_again(drill: Drill, given: Any, _out: Any) -> None:
    """Google brings no key back, so the range is made to: the proof must not believe the run."""
    account_of(drill, given).keys[name_of(given).key] = drill.facts["key"]


CLOUD: tuple[Arrangement, ...] = (
    Arrangement(action="gcp.disable_key", seed=leaked, take_away=enable_key, meddle=_key_is_gone),
    Arrangement(action="gcp.disable_account", seed=leaked, take_away=enable_account, meddle=_account_is_gone),
    Arrangement(action="gcp.delete_key", seed=_deleted, take_away=_there_again),
)  # fmt: skip
