"""A campaign's own row closes when no file of any branch names the poisoned action."""

from __future__ import annotations

import pytest

from bot.actions.github_unused import UnusedIn, await_unused
from bot.errors import InputError
from bot.model import Credential, Grade, Proof, Verdict, WorkflowRef
from bot.range.company import DEPLOY, FERRY, TEST
from tests.actions.arrangements import CAMPAIGN
from tests.actions.conftest import Drill

GOOD = "1" * 40
BAD = "b" * 40


class Said:
    """What a person has answered."""

    def answer(self) -> tuple[str, str]:
        return "mara", "it is out"


def given(ref: str, *workflows: str) -> UnusedIn:
    name = f"action:actions/checkout@{ref};2026-03-14T16:00Z..2026-03-15T16:00Z;{FERRY}"
    found = Credential(provider="github", kind="campaign", id=name)
    return UnusedIn(
        who="mara", credential=found,
        workflows=tuple(WorkflowRef(repository=FERRY, workflow=each) for each in workflows or (DEPLOY,)),
    )  # fmt: skip


def rewrite(drill: Drill, old: str, new: str) -> None:
    """In every workflow file of main."""
    state = drill.range.github.state
    git = state.repos[FERRY].git
    tip = git.commits[git.refs["refs/heads/main"]]
    files: dict[str, str | bytes | None] = {}
    for path in git.files(tip):
        text = (git.read(tip, path) or b"").decode()
        if path.startswith(".github/workflows/") and old in text:
            files[path] = text.replace(old, new)
    assert {DEPLOY, TEST} <= files.keys()
    state.commit_files(FERRY, files, "Change", "mara", runs=False)


def proof(drill: Drill, asked: UnusedIn) -> Proof:
    world = drill.world.with_answers(Said())
    before = await_unused.look(world, asked)
    return await_unused.prove(world, asked, before, await_unused.run(world, asked, before))


def test_it_is_proven_once_every_branch_pins_another_commit(drill: Drill) -> None:
    drill.start_over()
    asked = given("v5")
    before = await_unused.look(drill.world, asked)
    assert before.needed
    assert f"{FERRY} main: {DEPLOY}" in before.places
    assert proof(drill, asked).verdict == Verdict.NOT_YET
    rewrite(drill, "actions/checkout@v5", f"actions/checkout@{GOOD}  # v5")
    done = proof(drill, asked)
    assert (done.verdict, done.grade) == (Verdict.PROVEN, Grade.STATE)
    assert not await_unused.look(drill.world, asked).needed
    assert await_unused.kills is not None
    assert await_unused.kills(asked) == asked.credential.key


def test_the_engine_hands_the_proof_no_answers_and_it_looks_for_itself(drill: Drill) -> None:
    drill.start_over()
    asked = given("v5")
    before = await_unused.look(drill.world, asked)
    outcome = await_unused.run(drill.world.with_answers(Said()), asked, before)
    assert await_unused.prove(drill.world, asked, before, outcome).verdict == Verdict.NOT_YET
    rewrite(drill, "actions/checkout@v5", f"actions/checkout@{GOOD}")
    assert await_unused.prove(drill.world, asked, before, outcome).verdict == Verdict.PROVEN


def test_an_old_branch_and_an_action_of_ones_own_count(drill: Drill) -> None:
    drill.start_over()
    state = drill.range.github.state
    tip = state.repos[FERRY].git.refs["refs/heads/main"]
    drill.world.github.send("POST", f"/repos/{FERRY}/git/refs", {"ref": "refs/heads/old", "sha": tip})
    rewrite(drill, "actions/checkout@v5", f"actions/checkout@{GOOD}")
    composite = "runs:\n  using: composite\n  steps:\n    - uses: actions/checkout@v5\n"
    own: dict[str, str | bytes | None] = {".github/actions/build/action.yml": composite}
    state.commit_files(FERRY, own, "Build", "mara", runs=False)
    places = await_unused.look(drill.world, given("v5")).places
    assert f"{FERRY} main: .github/actions/build/action.yml" in places
    assert f"{FERRY} old: {DEPLOY}" in places
    assert not any(place.startswith(f"{FERRY} main: .github/workflows") for place in places)


def test_of_a_poisoned_commit_a_tag_may_lead_there_and_another_commit_does_not(drill: Drill) -> None:
    drill.start_over()
    assert await_unused.look(drill.world, given(BAD)).needed, "v5 may have been moved to it"
    rewrite(drill, "actions/checkout@v5", f"actions/checkout@{BAD}")
    assert await_unused.look(drill.world, given(BAD)).needed
    rewrite(drill, f"actions/checkout@{BAD}", f"actions/checkout@{GOOD}")
    assert not await_unused.look(drill.world, given(BAD)).needed


def test_of_a_package_there_is_only_word_and_what_is_no_campaign_is_refused(drill: Drill) -> None:
    drill.start_over()
    done = proof(drill, UnusedIn(who="mara", credential=CAMPAIGN))
    assert (done.verdict, done.grade) == (Verdict.PROVEN, Grade.WORD)
    with pytest.raises(InputError, match="is no campaign"):
        await_unused.look(drill.world, UnusedIn(who="mara", credential=Credential(provider="a", kind="b", id="c")))
