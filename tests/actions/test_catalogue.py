"""What holds for every action of the catalogue. An action without an arrangement fails here."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from pydantic import TypeAdapter

from bot.action import Action, material_fields
from bot.actions import CATALOGUE
from bot.actions.aws_iam import SETTLE_S
from bot.errors import Conflict, ProviderError
from bot.model import Before, Effect, Outcome, Planted, Verdict
from tests.actions import (
    access_arrangements,
    account_arrangements,
    arrangements,
    dockerhub_arrangements,
    external_arrangements,
    gcp_arrangements,
    ghcr_arrangements,
    identity_arrangements,
    image_arrangements,
    package_arrangements,
    registry_arrangements,
    session_arrangements,
    staged_arrangements,
    token_arrangements,
)
from tests.actions.arrangements import Arrangement
from tests.actions.conftest import USER, Drill

ARRANGEMENTS = (
    *arrangements.ARRANGEMENTS, *token_arrangements.TOKENS, *registry_arrangements.REGISTRIES,
    *session_arrangements.SESSIONS, *identity_arrangements.IDENTITIES, *gcp_arrangements.CLOUD,
    *image_arrangements.IMAGES,
    *package_arrangements.PACKAGES,
    *ghcr_arrangements.GHCR,
    *staged_arrangements.STAGED,
    *dockerhub_arrangements.HUB,
    *access_arrangements.ACCESS,
    *account_arrangements.ACCOUNTS,
    *external_arrangements.STORES,
)  # fmt: skip
VERBS = {
    "Ask", "Cancel", "Check", "Confirm", "Cut", "Deactivate", "Delete", "Deny", "Deprecate", "Describe", "Disable",
    "Enable", "End", "Find", "Have", "Let", "Make", "Move", "Narrow", "Open", "Put", "Reject", "Remove", "Resolve",
    "Revoke", "Set", "Stop", "Suspend", "Unpublish", "Wait", "Write", "Yank",
}  # fmt: skip
ACTIONS = pytest.mark.parametrize("action", CATALOGUE.values(), ids=lambda a: a.name)
ARRANGED = pytest.mark.parametrize("arranged", ARRANGEMENTS, ids=lambda a: a.name)
MUTATING = pytest.mark.parametrize(
    "arranged",
    [a for a in ARRANGEMENTS if CATALOGUE[a.action].effect != Effect.READ and not CATALOGUE[a.action].person],
    ids=lambda a: a.name,
)
UNDOABLE = pytest.mark.parametrize(
    "arranged", [a for a in ARRANGEMENTS if CATALOGUE[a.action].undo], ids=lambda a: a.name
)
REAL_ONLY = {"kingfisher.revoke"}  # no World of the range holds what it needs: tests/actions/test_kingfisher.py
FREE = {"sts:GetCallerIdentity"}  # needs no permission (API Reference, GetCallerIdentity)


def test_every_action_is_arranged() -> None:
    assert {arranged.action for arranged in ARRANGEMENTS} | REAL_ONLY == set(CATALOGUE)


def test_every_kind_of_planted_thing_is_arranged() -> None:
    from bot.actions.aws_disable import _HOLDERS

    variants = {a.variant for a in ARRANGEMENTS if a.action == "aws.disable_planted"}
    assert all(any(variant.startswith(kind) for variant in variants) for kind in _HOLDERS)


# What an action says about itself


@ACTIONS
def test_title_is_a_sentence_that_begins_with_a_verb(action: Action[Any, Any, Any]) -> None:
    assert action.title.split()[0] in VERBS
    assert not action.title.endswith(".")


@ACTIONS
def test_types_are_frozen_and_kept_apart(action: Action[Any, Any, Any]) -> None:
    for kind in (action.inputs, action.before, action.outcome):
        assert is_dataclass(kind)
        assert kind.__dataclass_params__.frozen, kind  # type: ignore[attr-defined]
    assert issubclass(action.before, Before)
    assert issubclass(action.outcome, Outcome)


@ACTIONS
def test_what_changes_something_says_with_which_permissions_and_how_it_is_undone(action: Action[Any, Any, Any]) -> None:
    if action.effect == Effect.READ:
        assert action.kills is None
        return
    assert action.permissions or action.person
    assert (action.undo is None) == bool(action.undo_none)
    assert action.effect != Effect.DESTROY or action.evidence is not None


# What an action does


def _ran(drill: Drill, arranged: Arrangement) -> tuple[Action[Any, Any, Any], Any, Any, Any]:
    action = CATALOGUE[arranged.action]
    inputs = arranged.seed(drill)
    before = action.look(drill.world, inputs)
    return action, inputs, before, action.run(drill.world, inputs, before)


def _fixed(outcome: Outcome) -> dict[str, Any]:
    """An outcome without what a second run may say otherwise."""
    return {f.name: getattr(outcome, f.name) for f in fields(outcome) if f.name not in ("changed", "summary", "at")}


@ARRANGED
def test_look_and_proof_write_nothing(drill: Drill, arranged: Arrangement) -> None:
    action = CATALOGUE[arranged.action]
    inputs = arranged.seed(drill)
    state, written = drill.range.state(), len(drill.mutations())
    before = action.look(drill.world, inputs)
    assert action.look(drill.world, inputs).needed == before.needed
    action.breaks(before)
    assert len(drill.mutations()) == written
    assert drill.range.state() == state
    outcome = action.run(drill.world, inputs, before)
    written = len(drill.mutations())
    action.prove(drill.world, inputs, before, outcome)
    assert len(drill.mutations()) == written
    assert before.needed
    if action.effect == Effect.READ:
        assert drill.range.state() == state


@ARRANGED
def test_a_second_run_changes_nothing(drill: Drill, arranged: Arrangement) -> None:
    action, inputs, before, outcome = _ran(drill, arranged)
    assert outcome.changed == (action.effect != Effect.READ)
    state = drill.range.state()
    drill.range.clock.advance(2)  # what is stamped anew shows
    again = action.run(drill.world, inputs, before)
    if not action.person:
        assert not again.changed
    assert drill.range.state() == state
    if action.effect != Effect.DESTROY and not arranged.action.startswith("github."):
        assert _fixed(again) == _fixed(outcome)


@MUTATING
@pytest.mark.parametrize(
    "after_commit",
    [pytest.param(True, id="answer-lost"), pytest.param(False, id="never-arrived", marks=pytest.mark.slow)],
)
def test_a_lost_answer_leaves_one_effect(drill: Drill, arranged: Arrangement, after_commit: bool) -> None:
    """For each kind of write that the run makes: it fails there, and the next run with the same Before ends it."""
    action, inputs = CATALOGUE[arranged.action], arranged.seed(drill)
    since = len(drill.mutations())
    action.run(drill.world, inputs, action.look(drill.world, inputs))
    routes = list(dict.fromkeys((row["server"], row["method"], row["route"]) for row in drill.mutations()[since:]))
    wanted = drill.state()
    assert routes
    for server, method, route in routes:
        drill.start_over()
        inputs = arranged.seed(drill)
        before = action.look(drill.world, inputs)
        where = {"server": server, "method": method, "route": drill.same_route(server, route)}
        drill.range.switchboard.add([where | {"reset": True, "after_commit": after_commit, "times": 1}])
        with pytest.raises(ProviderError) as caught:
            action.run(drill.world, inputs, before)
        assert caught.value.reason == "unavailable"
        assert any(row["fault"] for row in drill.mutations())
        outcome = action.run(drill.world, inputs, before)
        assert action.prove(drill.world, inputs, before, outcome).verdict == Verdict.PROVEN
        assert drill.state() == wanted, (server, method, route)


@ARRANGED
def test_the_proof_goes_red_when_the_effect_is_taken_away(drill: Drill, arranged: Arrangement) -> None:
    action, inputs, before, outcome = _ran(drill, arranged)
    proof = action.prove(drill.world, inputs, before, outcome)
    assert proof.verdict == Verdict.PROVEN, proof.detail
    arranged.take_away(drill, inputs, outcome)
    drill.range.clock.advance(SETTLE_S + 5)
    red = action.prove(drill.world, inputs, before, outcome)
    assert red.verdict == Verdict.REFUTED, red.detail
    assert red.detail


@UNDOABLE
def test_undo_restores_every_field(drill: Drill, arranged: Arrangement) -> None:
    action = CATALOGUE[arranged.action]
    assert action.undo is not None
    inputs = arranged.seed(drill)
    was = _without(drill.state(), arranged.lost)
    before = action.look(drill.world, inputs)
    outcome = action.run(drill.world, inputs, before)
    assert _without(drill.state(), arranged.lost) != was or arranged.lost
    assert action.undo(drill.world, inputs, before, outcome).changed
    assert _without(drill.state(), arranged.lost) == was
    assert not action.undo(drill.world, inputs, before, outcome).changed
    assert _without(drill.state(), arranged.lost) == was


def _without(state: Any, lost: tuple[str, ...]) -> Any:
    if isinstance(state, dict):
        return {k: _without(v, lost) for k, v in state.items() if k not in lost}
    return state


@pytest.mark.parametrize("arranged", [a for a in ARRANGEMENTS if a.meddle], ids=lambda a: a.name)
def test_undo_is_refused_when_the_state_is_no_longer_ours(drill: Drill, arranged: Arrangement) -> None:
    action, inputs, before, outcome = _ran(drill, arranged)
    assert action.undo is not None
    assert arranged.meddle is not None
    arranged.meddle(drill, inputs, outcome)
    state = drill.state()
    with pytest.raises(Conflict) as caught:
        action.undo(drill.world, inputs, before, outcome)
    assert caught.value.diff
    assert drill.state() == state


@pytest.mark.parametrize("arranged", [a for a in ARRANGEMENTS if CATALOGUE[a.action].evidence], ids=lambda a: a.name)
def test_evidence_is_saved_without_a_secret_and_without_a_write(drill: Drill, arranged: Arrangement) -> None:
    action = CATALOGUE[arranged.action]
    assert action.evidence is not None
    inputs = arranged.seed(drill)
    drill.hold_leaked()
    before = action.look(drill.world, inputs)
    written = len(drill.mutations())
    refs = action.evidence(drill.world, inputs, before)
    assert refs
    assert len(drill.mutations()) == written
    secret = drill.range.company.deploy_key[1]
    for ref in refs:
        data = drill.room.read(ref.sha256)
        assert hashlib.sha256(data).hexdigest() == ref.sha256
        assert secret.encode() not in data
    assert [r.sha256 for r in action.evidence(drill.world, inputs, before)] == [r.sha256 for r in refs]


@ARRANGED
def test_everything_survives_the_journal(drill: Drill, arranged: Arrangement) -> None:
    """Inputs, Before and Outcome come back from JSON as they went in, and hold no secret."""
    action, inputs, before, outcome = _ran(drill, arranged)
    secret = drill.range.company.deploy_key[1]
    for kind, value in ((action.inputs, inputs), (action.before, before), (action.outcome, outcome)):
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        text = adapter.dump_json(value)
        assert adapter.validate_json(text) == value
        assert secret.encode() not in text
    assert material_fields(action.look(drill.world, inputs)).keys() == material_fields(before).keys()


@pytest.mark.parametrize("arranged", [a for a in ARRANGEMENTS if a.action.startswith("aws.")], ids=lambda a: a.name)
def test_declared_permissions_are_enough(drill: Drill, arranged: Arrangement) -> None:
    """What the bot calls at AWS is what the action says that it needs: a person grants by that list.

    A call at GitHub does not name the permission that it takes.
    """
    action = CATALOGUE[arranged.action]
    inputs = arranged.seed(drill)
    began = len(drill.range.switchboard.requests())
    before = action.look(drill.world, inputs)
    if action.evidence:
        action.evidence(drill.world, inputs, before)
    outcome = action.run(drill.world, inputs, before)
    action.prove(drill.world, inputs, before, outcome)
    if action.undo:
        action.undo(drill.world, inputs, before, outcome)
    rows = drill.range.switchboard.requests()[began:]
    called = {row["route"] for row in rows if row["server"] == "aws"} - FREE
    assert called <= set(action.permissions)


def test_a_planted_thing_is_killed_under_the_key_that_finding_it_gave_its_row() -> None:
    planted = Planted(kind="access-key", name=USER, id="AK" + "IA" + "MADEUP")
    kills = CATALOGUE["aws.disable_planted"].kills
    plants = CATALOGUE["aws.find_planted"].plants
    assert kills is not None
    assert plants is not None
    found = CATALOGUE["aws.find_planted"].outcome(changed=False, planted=(planted,))
    assert [kills(each) for each in plants(found)] == [f"aws-access-key:{planted.id}"]
