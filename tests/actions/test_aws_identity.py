"""The role of a repository's jobs: what it may do, whom it lets in, and what is left to a person."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from bot.actions import CATALOGUE
from bot.actions.aws_identity import RoleIn
from bot.errors import Conflict
from bot.model import SecretStore, Verdict
from bot.oidc import trust
from bot.range.company import DEPLOY, DEPLOY_YAML, FERRY, LEDGER
from tests.actions.conftest import Drill, proof
from tests.actions.identity_arrangements import ROLE_NAME, provider, role
from tests.actions.session_arrangements import JOB, exchanged

USUAL = ["s3:GetBucketLocation", "s3:ListBuckets"]  # what ferry's key does every day, by the trail
ROLE, PROVIDER = "aws.create_identity_role", "aws.create_oidc_provider"


def granted(policy: str) -> dict[str, list[str]]:
    return {each["Resource"]: each["Action"] for each in json.loads(policy)["Statement"]}


def test_it_may_do_what_the_old_key_did_before_the_leak_and_what_the_commands_say_no_more(drill: Drill) -> None:
    given = role(drill)
    drill.leak_and_abuse()  # from now on the key is somebody else's
    before = CATALOGUE[ROLE].look(drill.world, given)
    assert granted(before.policy) == {"*": USUAL, "arn:aws:s3:::ferry-releases/*": ["s3:PutObject"]}
    after = CATALOGUE[ROLE].look(drill.world, replace(given, since=""))
    assert "iam:" not in after.policy
    assert "sts:" not in after.policy
    assert any("iam:CreateUser" in each for each in after.unsure)


def test_commands_that_do_not_tell_what_they_need_are_left_to_a_person(drill: Drill) -> None:
    more = """\
      - run: |
          aws s3 sync s3://ferry-assets dist/assets
          aws s3 rm s3://ferry-releases/old.tar.gz
          aws s3 cp dist/x s3://$BUCKET/x
          aws cloudformation deploy --stack-name ferry
"""
    drill.range.github.state.commit_files(FERRY, {DEPLOY: DEPLOY_YAML + more}, "More", "mara", runs=False)
    before = CATALOGUE[ROLE].look(drill.world, role(drill))
    assert granted(before.policy) == {
        "*": ["s3:ListBuckets"], "arn:aws:s3:::ferry-assets": ["s3:ListBucket"],
        "arn:aws:s3:::ferry-assets/*": ["s3:GetObject"],
        "arn:aws:s3:::ferry-releases/*": ["s3:DeleteObject", "s3:PutObject"],
    }  # fmt: skip
    assert [each.partition(" of ")[0] for each in before.unsure] == [
        "`aws s3 cp dist/x s3://$BUCKET/x`", "`aws cloudformation deploy`",
    ]  # fmt: skip


def test_what_iam_holds_is_asked_what_it_does_with_forged_tokens(drill: Drill) -> None:
    given = replace(role(drill), environment="production")
    before, outcome = drill.do(ROLE, given)
    said = proof(drill, ROLE, given, before, outcome)
    assert (said.verdict, "keeps 14 others out" in said.detail) == (Verdict.PROVEN, True), said.detail
    wide = json.loads(before.trust)
    wide["Statement"][0]["Condition"] = {"StringLike": {f"{trust.HOST}:sub": f"repo:{FERRY}:*"}}
    drill.iam.update_assume_role_policy(RoleName=ROLE_NAME, PolicyDocument=json.dumps(wide))
    said = proof(drill, ROLE, given, before, outcome)
    assert (said.verdict, "a pull request" in said.detail) == (Verdict.REFUTED, True)


def test_signed_tokens_get_in_or_not_as_the_table_says(drill: Drill) -> None:
    """Each claim set is signed by the issuer and handed to STS."""
    given = replace(role(drill), environment="production")
    before, _ = drill.do(ROLE, given)
    policy, job = trust.document(before.trust), JOB
    for name, claims, wanted in trust.tokens(job):
        try:
            exchanged(drill, before.role, claims)
            let_in = True
        except ClientError as exc:
            let_in = False
            assert exc.response["Error"]["Code"] in ("AccessDenied", "InvalidIdentityToken"), name
        assert (let_in, trust.rule(policy, claims).allowed) == (wanted, wanted), name


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (RoleIn(repository="", key="AKIA"), "is not known"),
        (RoleIn(repository=FERRY, key="AKIA", stores=()), "no job"),
        (RoleIn(repository=LEDGER, key="AKIA"), "no job"),
        (RoleIn(repository=FERRY, key="AKIA", stores=(SecretStore(repository=FERRY, name="OTHER"),)), "no job"),
    ],
)
def test_no_role_is_made_for_what_cannot_move(drill: Drill, given: RoleIn, why: str) -> None:
    before, outcome = drill.do(ROLE, given)
    assert (before.needed, why in before.summary, outcome.arn, outcome.changed) == (False, True, "", False)
    assert proof(drill, ROLE, given, before, outcome).verdict == Verdict.PROVEN


def test_a_subject_of_the_repositorys_own_making_is_left_to_a_person(drill: Drill) -> None:
    own = {"use_default": False, "include_claim_keys": ["repo", "actor"]}
    drill.world.github.send("PUT", f"/repos/{FERRY}/actions/oidc/customization/sub", own)
    before = CATALOGUE[ROLE].look(drill.world, role(drill))
    assert (before.needed, "a person writes the trust" in before.summary) == (False, True)


def test_a_role_of_that_name_which_is_not_ours_is_not_touched(drill: Drill) -> None:
    given = role(drill)
    other = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}  # fmt: skip
    drill.iam.create_role(RoleName=ROLE_NAME, AssumeRolePolicyDocument=json.dumps(other))
    before = CATALOGUE[ROLE].look(drill.world, given)
    with pytest.raises(Conflict, match="another trust policy"):
        CATALOGUE[ROLE].run(drill.world, given, before)
    undo = CATALOGUE[ROLE].undo
    assert undo is not None
    assert not undo(drill.world, given, before, CATALOGUE[ROLE].outcome(changed=False)).changed


def test_the_standing_provider_is_left_as_it_is(drill: Drill) -> None:
    drill.do(PROVIDER, provider(drill))
    before, outcome = drill.do(PROVIDER, provider(drill))
    assert (before.needed, before.exists, outcome.changed) == (False, True, False)


@pytest.mark.parametrize(("session", "seconds"), [("", 3600), ("1800", 3600), ("7200", 7200)])
def test_the_role_allows_the_session_that_the_workflows_ask_for(drill: Drill, session: str, seconds: int) -> None:
    _, outcome = drill.do(ROLE, replace(role(drill), session=session))
    assert outcome.arn
    assert drill.iam.get_role(RoleName=ROLE_NAME)["Role"]["MaxSessionDuration"] == seconds
