"""What the actions at Google Cloud do beside the catalogue's own rules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.actions import CATALOGUE
from bot.actions.gcp import KeyIn
from bot.errors import Forbidden, InputError
from bot.gcp import KIND, TOKEN_TAIL
from bot.model import Credential, Grade, Verdict
from bot.range.gcp import BOT
from bot.sites import range_gcp
from tests.actions.conftest import Drill, proof
from tests.actions.gcp_arrangements import account_of, leaked, name_of

ACTIONS = ("gcp.disable_key", "gcp.disable_account", "gcp.delete_key")


def bot_account(drill: Drill) -> str:
    return next(email for email in drill.range.gcp.accounts if email.startswith(f"{BOT}@"))


def test_a_held_key_is_proven_by_googles_refusal_an_id_by_its_record(drill: Drill) -> None:
    given = leaked(drill)
    before, outcome = drill.do("gcp.disable_key", given)
    assert proof(drill, "gcp.disable_key", given, before, outcome).grade == Grade.REFUSED
    drill.world.secrets.wipe(drill.world.secrets.ref(f"leaked:{given.credential.key}"))
    said = proof(drill, "gcp.disable_key", given, before, outcome)
    assert (said.verdict, said.grade) == (Verdict.PROVEN, Grade.STATE)


def test_the_other_keys_of_the_account_are_named(drill: Drill) -> None:
    given = leaked(drill)
    drill.range.gcp.add_key(account_of(drill, given))
    before = CATALOGUE["gcp.disable_key"].look(drill.world, given)
    assert len(before.others) == 1
    assert "1 other key: " in before.summary


def test_disabling_the_account_ends_what_the_key_has_bought(drill: Drill) -> None:
    given = leaked(drill)
    ends = CATALOGUE["gcp.disable_account"].ends
    assert ends is not None
    assert ends(given) == (TOKEN_TAIL, given.credential.key)
    before = CATALOGUE["gcp.disable_account"].look(drill.world, given)
    assert CATALOGUE["gcp.disable_account"].breaks(before).unknown


@pytest.mark.parametrize("name", ACTIONS)
def test_declared_permissions_are_enough_and_each_is_needed(drill: Drill, name: str) -> None:
    """With these alone everything is done, undone and proven; with one less, something is refused by its name."""
    action, given = CATALOGUE[name], leaked(drill)
    bot = drill.range.gcp.accounts[bot_account(drill)]

    def everything() -> None:
        before = action.look(drill.world, given)
        assert action.evidence is not None
        action.evidence(drill.world, given, before)
        outcome = action.run(drill.world, given, before)
        action.prove(drill.world, given, before, outcome)
        if action.undo:
            action.undo(drill.world, given, before, outcome)

    for missing in action.permissions:
        if missing == "resourcemanager.projects.getIamPolicy":
            continue  # evidence says that it could not be read, and the cut goes on
        bot.permissions = frozenset(action.permissions) - {missing}
        with pytest.raises(Forbidden) as caught:
            everything()
        assert caught.value.permission == missing
        account_of(drill, given).disabled = False
        for key in account_of(drill, given).keys.values():
            key.disabled = False
    bot.permissions = frozenset(action.permissions)
    everything()


def test_without_an_identity_the_setting_is_named(drill: Drill) -> None:
    given = leaked(drill)
    drill.world = replace(drill.world, gcp=range_gcp(drill.range.gcp.base_url, "", drill.range.clock))
    with pytest.raises(Forbidden, match="BULKHEAD_GCP_KEY_FILE"):
        CATALOGUE["gcp.disable_key"].look(drill.world, given)


def test_the_bots_own_key_is_cut_last(drill: Drill) -> None:
    given = leaked(drill)
    drill.world = replace(drill.world, identities=(given.credential.key,))
    assert CATALOGUE["gcp.disable_key"].look(drill.world, given).cuts_own
    assert CATALOGUE["gcp.disable_account"].look(drill.world, given).cuts_own
    assert name_of(given).email in CATALOGUE["gcp.disable_account"].look(drill.world, given).summary


@pytest.mark.parametrize("id_", ["", "a key", "projects/p/serviceAccounts/e@x.example/keys/../../q"])
def test_what_names_no_key_is_refused_before_anything_is_asked(drill: Drill, id_: str) -> None:
    asked = len(drill.range.switchboard.requests())
    given = KeyIn(credential=Credential(provider="gcp", kind=KIND, id=id_))
    with pytest.raises(InputError, match="does not name a service-account key"):
        CATALOGUE["gcp.disable_key"].look(drill.world, given)
    assert len(drill.range.switchboard.requests()) == asked
