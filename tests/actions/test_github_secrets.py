"""Secrets of every store and scope, against the range's GitHub."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.actions.github_secrets import PutSecretIn, delete_secret, places_of, put_secret
from bot.errors import InputError, ProviderError, Unavailable, VaultError
from bot.model import Grade, SecretStore, Verdict
from tests.conftest import DEPLOY, FERRY, ORG, Ferry, done

PLACES = {
    "repository": SecretStore(repository=FERRY, name="AWS_SECRET_ACCESS_KEY"),
    "environment": SecretStore(repository=FERRY, name="AWS_KEY", scope="environment", environment="a b&c"),
    "organization": SecretStore(repository=FERRY, name="SHARED", scope="organization"),
    "dependabot": SecretStore(repository=FERRY, name="AWS_SECRET_ACCESS_KEY", store="dependabot"),
    "dependabot-organization": SecretStore(repository=FERRY, name="SHARED", scope="organization", store="dependabot"),
    "codespaces": SecretStore(repository=FERRY, name="AWS_SECRET_ACCESS_KEY", store="codespaces"),
    "agents": SecretStore(repository=FERRY, name="AWS_SECRET_ACCESS_KEY", store="agents"),
}


def held(ferry: Ferry, place: SecretStore) -> Any:
    """The range's own record of a secret."""
    from bot.range.github.state import secret_place

    where = ORG if place.scope == "organization" else FERRY
    return ferry.state.secrets.get(secret_place(where, place.store, place.environment), {}).get(place.name)


def stored(ferry: Ferry, place: SecretStore) -> PutSecretIn:
    """The secret with an old value, and a new one in the vault."""
    if place.environment:
        ferry.state.add_environment(FERRY, place.environment)
    ferry.state.set_secret(
        ORG if place.scope == "organization" else FERRY, place.name, "made-up-old-value", store=place.store,
        environment=place.environment, visibility="selected", selected=(FERRY,),
    )  # fmt: skip
    ferry.pass_time(60)
    ref = ferry.world.secrets.seal("rotated", "made-up-new-value", "")
    return PutSecretIn(store=place, sealed={"secret": ref})


def test_a_name_is_found_wherever_a_secret_of_actions_has_it(ferry: Ferry) -> None:
    named = [replace(PLACES[place], name="TWICE") for place in ("environment", "repository", "organization")]
    for place in named:
        stored(ferry, place)
    stored(ferry, replace(PLACES["dependabot"], name="TWICE"))
    assert places_of(ferry.world, FERRY, ["TWICE", "NOWHERE"]) == {"TWICE": named, "NOWHERE": []}


@pytest.mark.parametrize("name", PLACES)
def test_a_secret_is_put_in_every_store(ferry: Ferry, name: str) -> None:
    given = stored(ferry, PLACES[name])
    before = put_secret.look(ferry.world, given)
    assert ferry.mutations() == []
    outcome = put_secret.run(ferry.world, given, before)
    secret = held(ferry, given.store)
    assert (outcome.changed, secret.value) == (True, "made-up-new-value")
    if given.store.scope == "organization":
        assert (secret.visibility, secret.selected) == ("selected", {FERRY})
    proof = put_secret.prove(ferry.world, given, before, outcome)
    assert (proof.verdict, proof.grade) == (Verdict.PROVEN, Grade.STATE)
    count = len(ferry.mutations())
    assert not put_secret.run(ferry.world, given, before).changed
    assert (held(ferry, given.store).value, len(ferry.mutations())) == ("made-up-new-value", count)


@pytest.mark.parametrize("landed", [True, False])
def test_a_write_whose_answer_was_lost_is_known_again(ferry: Ferry, landed: bool) -> None:
    given = stored(ferry, PLACES["repository"])
    before = put_secret.look(ferry.world, given)
    ferry.switchboard.add([{"server": "github", "method": "PUT", "reset": True, "after_commit": landed, "times": 1}])
    with pytest.raises(Unavailable):
        put_secret.run(ferry.world, given, before)
    assert (held(ferry, given.store).value == "made-up-new-value") is landed
    outcome = put_secret.run(ferry.world, given, before)
    assert outcome.changed is not landed
    assert held(ferry, given.store).value == "made-up-new-value"
    assert put_secret.prove(ferry.world, given, before, outcome).verdict == Verdict.PROVEN


def test_what_somebody_wrote_after_a_lost_answer_is_not_taken_for_ours(ferry: Ferry) -> None:
    given = stored(ferry, PLACES["repository"])
    before = put_secret.look(ferry.world, given)
    put_secret.run(ferry.world, given, before)
    ferry.pass_time(120)
    ferry.state.set_secret(FERRY, given.store.name, "made-up-value-of-mara")
    assert put_secret.run(ferry.world, given, before).changed
    assert held(ferry, given.store).value == "made-up-new-value"


def test_a_new_organization_secret_is_for_this_repository_only(ferry: Ferry) -> None:
    ref = ferry.world.secrets.seal("rotated", "made-up-new-value", "")
    given = PutSecretIn(store=PLACES["organization"], sealed={"secret": ref})
    before, _, proof = done(ferry, put_secret, given)
    assert (before.exists, proof.verdict) == (False, Verdict.PROVEN)
    assert held(ferry, given.store).selected == {FERRY}


def test_put_is_refuted_when_nothing_changed_or_others_may_read_it(ferry: Ferry) -> None:
    given = stored(ferry, PLACES["organization"])
    before = put_secret.look(ferry.world, given)
    never = put_secret.outcome(changed=True)
    assert put_secret.prove(ferry.world, given, before, never).verdict == Verdict.REFUTED
    outcome = put_secret.run(ferry.world, given, before)
    held(ferry, given.store).visibility = "all"
    assert put_secret.prove(ferry.world, given, before, outcome).verdict == Verdict.REFUTED


def test_put_in_the_second_of_the_last_change_still_shows(ferry: Ferry) -> None:
    given = stored(ferry, PLACES["repository"])
    ferry.state.set_secret(FERRY, given.store.name, "made-up-old-value")
    before, _, proof = done(ferry, put_secret, given)
    assert proof.verdict == Verdict.PROVEN, before


def test_put_overwrites_what_somebody_wrote_meanwhile(ferry: Ferry) -> None:
    given = stored(ferry, PLACES["repository"])
    before = put_secret.look(ferry.world, given)
    ferry.state.set_secret(FERRY, given.store.name, "made-up-value-of-mara")
    put_secret.run(ferry.world, given, before)
    assert held(ferry, given.store).value == "made-up-new-value"


def test_put_without_a_new_value_says_what_to_do(ferry: Ferry) -> None:
    given = replace(stored(ferry, PLACES["repository"]), sealed={"id": "vault:incident-1:rotated"})
    before = put_secret.look(ferry.world, given)
    with pytest.raises(VaultError, match="rotate the credential first"):
        put_secret.run(ferry.world, given, before)
    assert ferry.mutations() == []


def test_each_half_of_a_pair_goes_to_its_own_secret(ferry: Ferry) -> None:
    sealed = {part: ferry.world.secrets.seal(part, f"made-up-new-{part}", "") for part in ("id", "secret")}
    names = {"id": "AWS_ACCESS_KEY_ID", "secret": "AWS_SECRET_ACCESS_KEY"}
    for part, name in names.items():
        given = PutSecretIn(store=SecretStore(repository=FERRY, name=name, part=part), sealed=sealed)
        done(ferry, put_secret, given)
        assert held(ferry, given.store).value == f"made-up-new-{part}"


@pytest.mark.parametrize(
    "change",
    [{"store": "variables"}, {"scope": "galaxy"}, {"scope": "environment"}, {"name": "../../x"}, {"name": ""},
     {"store": "agents", "scope": "environment", "environment": "e"}],
)  # fmt: skip
def test_a_place_that_github_does_not_have_is_refused(ferry: Ferry, change: dict[str, str]) -> None:
    with pytest.raises(InputError):
        delete_secret.look(ferry.world, replace(PLACES["repository"], **change))


@pytest.mark.parametrize("name", PLACES)
def test_a_secret_is_deleted_in_every_store(ferry: Ferry, name: str) -> None:
    place = stored(ferry, PLACES[name]).store
    before = delete_secret.look(ferry.world, place)
    if place.store == "actions" and place.scope == "repository":
        assert delete_secret.breaks(before).stops == (f"{DEPLOY} finds it empty from its next run on",)
    assert delete_secret.breaks(before).unknown is (place.scope == "organization")
    assert delete_secret.evidence is not None
    (saved,) = delete_secret.evidence(ferry.world, place, before)
    assert before.updated_at.encode() in ferry.room.read(saved.sha256)
    refuted = delete_secret.prove(ferry.world, place, before, delete_secret.outcome(changed=True))
    assert refuted.verdict == Verdict.REFUTED
    outcome = delete_secret.run(ferry.world, place, before)
    assert outcome.changed
    assert held(ferry, place) is None
    assert delete_secret.prove(ferry.world, place, before, outcome).verdict == Verdict.PROVEN
    assert not delete_secret.run(ferry.world, place, before).changed
    assert not delete_secret.look(ferry.world, place).needed


def test_absence_is_not_believed_of_a_place_that_may_not_be_seen(ferry: Ferry) -> None:
    place = PLACES["repository"]
    before = delete_secret.look(ferry.world, place)
    outsider = replace(ferry.world, github=ferry.client("quiet-otter"))
    with pytest.raises(ProviderError):
        delete_secret.prove(outsider, place, before, delete_secret.outcome(changed=True))
