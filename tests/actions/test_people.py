"""What only a person can know or do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from bot.actions.people import AskIn, DoIn, ask, do
from bot.errors import Conflict, InputError
from bot.model import Grade, Verdict
from bot.world import World
from tests.conftest import Ferry

ASK = AskIn(who="mara", question="May the old bucket go?", choices=("yes", "no"))
DO = DoIn(who="mara", task="delete the token", link="https://pypi.org/manage/account/#api-tokens")


@dataclass
class Said:
    """What stands on record."""

    said: tuple[str, str] | None = None

    def answer(self) -> tuple[str, str] | None:
        return self.said


def answered(ferry: Ferry, *said: str) -> World:
    return ferry.world.with_answers(Said((said[0], said[1]) if said else None))


def test_an_answer_is_a_word(ferry: Ferry) -> None:
    world = answered(ferry, "alice (simulated)", "yes")
    before = ask.look(ferry.world, ASK)
    outcome = ask.run(world, ASK, before)
    assert (outcome.by, outcome.answer, outcome.changed) == ("alice (simulated)", "yes", False)
    for prover in (world, ferry.world):
        proof = ask.prove(prover, ASK, before, outcome)
        assert (proof.verdict, proof.grade) == (Verdict.PROVEN, Grade.WORD)
    assert ask.prove(answered(ferry), ASK, before, outcome).verdict == Verdict.REFUTED


def test_nobody_answered_yet(ferry: Ferry) -> None:
    for world in (ferry.world, answered(ferry)):
        with pytest.raises(Conflict, match="mara has not answered yet"):
            ask.run(world, ASK, ask.look(world, ASK))


def test_an_answer_that_is_no_choice_is_refused(ferry: Ferry) -> None:
    world = answered(ferry, "mara", "perhaps")
    with pytest.raises(InputError, match="choose one of yes, no"):
        ask.run(world, ASK, ask.look(world, ASK))


def test_a_secret_in_an_answer_is_taken_out(ferry: Ferry) -> None:
    ferry.scrubber.add(ferry.fingerprinter.secret(ferry.aws[1]))
    given = replace(ASK, choices=())
    world = answered(ferry, "mara", f"it is {ferry.aws[1]} I think")
    assert ferry.aws[1] not in repr(ask.run(world, given, ask.look(world, given)))


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "http://example.org/x", "//example.org", "https://", "file:///etc/passwd", "x"]
)
def test_a_link_that_nobody_may_be_sent_to_is_refused(ferry: Ferry, link: str) -> None:
    with pytest.raises(InputError, match="https"):
        ask.look(ferry.world, replace(ASK, link=link))
    with pytest.raises(InputError, match="https"):
        do.look(ferry.world, replace(DO, link=link))


@pytest.mark.parametrize("link", ["", "https://github.com/settings/tokens", "http://127.0.0.1:8080/x"])
def test_a_link_that_is_fine(ferry: Ferry, link: str) -> None:
    assert ask.look(ferry.world, replace(ASK, link=link)).link == link


@pytest.mark.parametrize("given", [AskIn(who="", question="what?"), AskIn(who="mara", question="")])
def test_an_empty_question_is_refused(ferry: Ferry, given: AskIn) -> None:
    with pytest.raises(InputError, match="needs"):
        ask.look(ferry.world, given)


@pytest.mark.parametrize("check", ["refused", "refused:", "refused:aws-access-key", "gone:x"])
def test_a_check_that_nobody_can_make_is_refused(ferry: Ferry, check: str) -> None:
    with pytest.raises(InputError, match="is not a check"):
        do.look(ferry.world, replace(DO, check=check))


def test_done_without_a_check_is_a_word(ferry: Ferry) -> None:
    world = answered(ferry, "mara", "done")
    before = do.look(world, DO)
    outcome = do.run(world, DO, before)
    proof = do.prove(world, DO, before, outcome)
    assert (outcome.changed, proof.verdict, proof.grade) == (True, Verdict.PROVEN, Grade.WORD)


def token_task(ferry: Ferry) -> DoIn:
    ferry.world.secrets.seal("leaked", ferry.tokens["jonas"], "github-pat-classic:jonas")
    return replace(DO, check="refused:github-pat-classic:jonas")


def test_done_is_believed_when_github_refuses_the_token(ferry: Ferry) -> None:
    given = token_task(ferry)
    world: Any = answered(ferry, "jonas", "I deleted it")
    before = do.look(world, given)
    outcome = do.run(world, given, before)
    assert before.needed
    assert do.prove(world, given, before, outcome).verdict == Verdict.NOT_YET
    ferry.state.tokens[ferry.tokens["jonas"]].revoked = True
    proof = do.prove(world, given, before, outcome)
    assert (proof.verdict, proof.grade) == (Verdict.PROVEN, Grade.REFUSED)
    assert ferry.tokens["jonas"] not in repr(proof)


def test_what_is_already_done_asks_nothing(ferry: Ferry) -> None:
    given = token_task(ferry)
    ferry.state.tokens[ferry.tokens["jonas"]].revoked = True
    before = do.look(ferry.world, given)
    assert not before.needed
    assert not do.run(ferry.world, given, before).changed


def test_a_check_without_the_value_is_only_a_word(ferry: Ferry) -> None:
    given = replace(DO, check="refused:github-pat-classic:unknown")
    world = answered(ferry, "jonas", "done")
    before = do.look(world, given)
    proof = do.prove(world, given, before, do.run(world, given, before))
    assert (proof.verdict, proof.grade) == (Verdict.PROVEN, Grade.WORD)
    assert "not held" in proof.detail
