"""A session that leaked: dead already, still alive, of nobody that is known; and what else its identity has opened."""

from __future__ import annotations

import pytest

from bot.actions import CATALOGUE
from bot.actions.aws_iam import iso
from bot.actions.aws_session import IdentityIn, SessionIn
from bot.clients import AwsClients
from bot.errors import Conflict
from bot.model import Credential, Grade, Verdict
from tests.actions.conftest import Drill, proof
from tests.actions.session_arrangements import OIDC_ROLE, SUBJECT, by_identity, held

END, OVER = "aws.end_session", "aws.confirm_identity_over"


def test_one_that_has_expired_needs_nothing_and_is_proven_by_its_refusal(drill: Drill) -> None:
    given = SessionIn(credential=held(drill, by_identity(drill)))
    drill.range.clock.advance(901)
    before, outcome = drill.do(END, given)
    assert (before.needed, before.role, before.by_identity, before.subject) == (False, OIDC_ROLE, True, SUBJECT)
    assert "ExpiredToken" in before.summary
    assert not outcome.changed
    said = proof(drill, END, given, before, outcome)
    assert (said.verdict, said.grade) == (Verdict.PROVEN, Grade.REFUSED)
    assert not [row for row in drill.mutations() if "Policy" in row["route"]]


def test_one_whose_value_nobody_has_is_proven_by_the_trail_once_its_end_is_past(drill: Drill) -> None:
    made = by_identity(drill)
    given = SessionIn(credential=Credential(provider="aws", kind="aws-session", id=made["AccessKeyId"]))
    assert CATALOGUE[END].look(drill.world, given).needed
    drill.range.clock.advance(901)
    before, outcome = drill.do(END, given)
    said = proof(drill, END, given, before, outcome)
    assert (before.needed, said.verdict, said.grade) == (False, Verdict.PROVEN, Grade.STATE)


def test_one_that_lives_is_cut_at_its_role_and_a_later_one_works(drill: Drill) -> None:
    made = by_identity(drill)
    given = SessionIn(credential=held(drill, made))
    before, outcome = drill.do(END, given)
    assert (before.needed, outcome.changed) == (True, True)
    assert proof(drill, END, given, before, outcome).verdict == Verdict.PROVEN
    assert "every session of role" in CATALOGUE[END].breaks(before).stops[0]
    drill.range.clock.advance(2)
    later = by_identity(drill)
    assert made["AccessKeyId"] != later["AccessKeyId"]
    client = AwsClients(key_id="none", secret="none", endpoint=drill.range.aws_url)
    token = drill.world.secrets.open(drill.world.secrets.seal("later token", later["SessionToken"]))
    secret = drill.world.secrets.open(drill.world.secrets.seal("later", later["SecretAccessKey"]))
    assert secret is not None
    assert OIDC_ROLE in client.client_as("sts", later["AccessKeyId"], secret, token).get_caller_identity()["Arn"]


def test_one_of_which_nothing_is_known_is_not_called_dead(drill: Drill) -> None:
    unknown = "ASIA" + by_identity(drill)["AccessKeyId"][4:-4] + "AAAA"
    given = SessionIn(credential=Credential(provider="aws", kind="aws-session", id=unknown))
    before = CATALOGUE[END].look(drill.world, given)
    assert before.needed
    assert "nobody that CloudTrail tells of yet" in before.summary
    with pytest.raises(Conflict, match="nothing tells whose session"):
        CATALOGUE[END].run(drill.world, given, before)


def test_another_session_of_the_same_identity_keeps_it_open_until_it_is_over(drill: Drill) -> None:
    given = IdentityIn(subject=SUBJECT, since=iso(drill.world.now()))
    by_identity(drill)
    by_identity(drill, 3600)
    drill.range.clock.advance(901)
    before, outcome = drill.do(OVER, given)
    assert len(outcome.opened) == 2
    said = proof(drill, OVER, given, before, outcome)
    assert (said.verdict, "1 of these sessions can act" in said.detail) == (Verdict.NOT_YET, True)
    drill.range.clock.advance(2700)
    assert proof(drill, OVER, given, before, outcome).verdict == Verdict.PROVEN
