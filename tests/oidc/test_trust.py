"""Trust policies against claims: a table by hand from AWS's documentation, and the range's STS, must both agree."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.errors import InputError
from bot.oidc.trust import ACTION, HOST, KNOWN, Job, audit, document, rule, subject, table, tokens, written
from bot.range import iam_policy

ACCOUNT = "123456789012"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{HOST}"
BRANCH = Job(repository="acme/shop", repository_id="7001", owner_id="70")
BOUND = Job(repository="acme/shop", repository_id="7001", owner_id="70", environment="production")


def policy(*conditions: dict[str, Any], effect: str = "Allow", principal: Any = None) -> dict[str, Any]:
    federated = {"Federated": PROVIDER} if principal is None else principal
    return {"Version": "2012-10-17", "Statement": [
        {"Effect": effect, "Principal": federated, "Action": ACTION, "Condition": condition} for condition in conditions
    ]}  # fmt: skip


def equals(**claims: Any) -> dict[str, Any]:
    return {"StringEquals": {f"{HOST}:{name}": value for name, value in claims.items()}}


def like(**claims: Any) -> dict[str, Any]:
    return {"StringLike": {f"{HOST}:{name}": value for name, value in claims.items()}}


def both(*policies: dict[str, Any]) -> dict[str, Any]:
    return {"Statement": [statement for each in policies for statement in each["Statement"]]}


AUD = {"aud": "sts.amazonaws.com"}
MAIN = "repo:acme/shop:ref:refs/heads/main"
# IAM User Guide, "Condition operators" and "Policy evaluation logic"; what a token of acme/shop on main gets.
BY_HAND = [
    ("an equal subject", policy(equals(sub=MAIN, **AUD)), True),
    ("letters count", policy(equals(sub=MAIN.replace("acme", "Acme"), **AUD)), False),
    ("unless told otherwise", policy({"StringEqualsIgnoreCase": {f"{HOST}:sub": MAIN.upper()}}), True),
    ("values are any of", policy(equals(sub=["x", MAIN])), True),
    ("keys are all of", policy(equals(sub=MAIN, aud="x")), False),
    ("a star in equals is a letter", policy(equals(sub="repo:acme/shop:*")), False),
    ("a star in like is any text", policy(like(sub="repo:acme/shop:*")), True),
    ("a question mark is one letter", policy(like(sub="repo:acme/sho?:ref:refs/heads/mai?")), True),
    ("brackets are letters", policy(like(sub="repo:acme/[s]hop:*")), False),
    ("a claim that is not there", policy(equals(environment="production")), False),
    ("if it exists", policy({"StringEqualsIfExists": {f"{HOST}:environment": "production"}}), True),
    ("for all values of nothing", policy({"ForAllValues:StringEquals": {f"{HOST}:environment": "production"}}), True),
    ("for any value of nothing", policy({"ForAnyValue:StringEquals": {f"{HOST}:environment": "production"}}), False),
    ("not equal to nothing", policy({"StringNotEquals": {f"{HOST}:environment": "production"}}), True),
    ("null", policy({"Null": {f"{HOST}:environment": "true"}}), True),
    ("not null", policy({"Null": {f"{HOST}:environment": False}}), False),
    ("a claim that STS does not know", policy(equals(repository_owner="acme")), False),
    ("an operator that nobody knows", policy({"StringSounds": {f"{HOST}:sub": MAIN}}), False),
    ("keys without regard to case", policy({"StringEquals": {f"{HOST.upper()}:SUB": MAIN}}), True),
    ("no condition at all", policy({}), True),
    ("a provider of another account", policy({}, principal={"Federated": PROVIDER.replace("1234", "9999")}), False),
    ("a role is no provider", policy({}, principal={"AWS": "*"}), False),
    ("a deny beats an allow", both(policy({}), policy(like(sub="*"), effect="Deny")), False),
    ("a deny that does not match", both(policy({}), policy(equals(sub="x"), effect="Deny")), True),
    ("two statements are any of", policy(equals(sub="x"), equals(sub=MAIN)), True),
]  # fmt: skip
WIDE = [policy(equals(sub=MAIN, **AUD)), policy(like(sub="repo:acme/*", **AUD)), policy(like(sub="repo:acme/shop:*")),
        policy(like(sub="repo:acme*")),
        policy(equals(**AUD)), policy({}), policy({"ForAllValues:StringEquals": {f"{HOST}:environment": "production"}}),
        policy(equals(sub="repo:acme/shop:environment:production", **AUD)), policy(equals(repository_id="7001")),
        policy(equals(job_workflow_ref="acme/shop/.github/workflows/deploy.yml@refs/heads/main"))]  # fmt: skip


def in_the_range(found: dict[str, Any], claims: dict[str, str]) -> bool:
    """What the range's STS decides, as bot/range/aws_sts.py asks it."""
    context = {f"{HOST}:{name}".lower(): value for name, value in claims.items() if name in KNOWN}
    return iam_policy.trust(json.dumps(found), {PROVIDER: "Federated"}, ACTION, context)[0] == "allow"


@pytest.mark.parametrize(("found", "allowed"), [(f, a) for _, f, a in BY_HAND], ids=[name for name, _, _ in BY_HAND])
def test_the_table_written_by_hand(found: dict[str, Any], allowed: bool) -> None:
    claims = BRANCH.claims()
    assert rule(found, claims, provider=PROVIDER).allowed is allowed
    assert in_the_range(found, claims) is allowed


@pytest.mark.parametrize("job", [BRANCH, BOUND], ids=["branch", "environment"])
def test_prove_and_the_range_say_the_same_of_every_forged_token(job: Job) -> None:
    for found in [written(job, ACCOUNT), *WIDE, *(each for _, each, _ in BY_HAND)]:
        for name, claims, _ in tokens(job):
            assert rule(found, claims, provider=PROVIDER).allowed is in_the_range(found, claims), name


@pytest.mark.parametrize("job", [BRANCH, BOUND], ids=["branch", "environment"])
def test_the_written_policy_lets_in_the_job_and_nobody_else(job: Job) -> None:
    rows = table(written(job, ACCOUNT), job, provider=PROVIDER)
    assert [row.name for row in rows if not row.right] == []
    assert sum(row.ruling.allowed for row in rows) == 2
    assert len({row.name for row in rows}) == len(rows) >= 14


def test_a_policy_that_reaches_too_far_is_shown_row_by_row() -> None:
    wrong = {row.name for row in table(policy(like(sub="repo:acme/*", **AUD)), BRANCH) if not row.right}
    assert {"a pull request", "another branch", "another repository of the owner"} <= wrong
    assert "a repository of the same name elsewhere" not in wrong
    assert "another audience" not in wrong


def test_why_a_token_is_kept_out_is_said() -> None:
    kept = rule(written(BOUND, ACCOUNT), BOUND.claims(environment=""))
    assert kept.why == f"statement 1: StringEquals sub is {MAIN}"
    assert rule(policy(equals(environment="x")), BRANCH.claims()).why.endswith("environment is not in the token")


@pytest.mark.parametrize(
    ("found", "codes"),
    [
        (written(BRANCH, ACCOUNT), set()),
        (written(BOUND, ACCOUNT), set()),
        (policy(equals(sub=MAIN, **AUD)), {"name-only"}),
        (policy(equals(**AUD)), {"any-repository"}),
        (policy(like(sub="repo:acme*", **AUD)), {"owner-prefix"}),
        (policy(like(sub="repo:acme/*", **AUD)),
         {"any-name", "name-prefix", "pull-requests", "any-branch", "any-environment"}),
        (policy(like(sub="repo:acme/shop*", **AUD)), {"name-prefix", "pull-requests", "any-branch", "any-environment"}),
        (policy(like(sub="repo:acme/shop:*", **AUD)), {"pull-requests", "any-branch", "any-environment"}),
        (policy(like(sub="repo:acme/shop:ref:refs/heads/*", **AUD)), {"any-branch"}),
        (policy(equals(sub="repo:acme/shop:pull_request", **AUD)), {"pull-requests", "name-only"}),
        (policy(equals(sub="repo:acme/shop:*", **AUD)), {"wildcard-in-equals"}),
        (policy(equals(sub=MAIN, repository_id="7001")), {"any-audience"}),
        (policy(equals(sub="repo:acme/shop:environment:prod", repository_id="7001", **AUD)),
         {"environment-any-branch"}),
        (policy(equals(sub=MAIN, repository_owner="acme", repository_id="7001", **AUD)), {"unknown-claim"}),
        (policy(equals(sub=MAIN, repository_id="7001", **AUD) | {"ForAllValues:StringEquals": {f"{HOST}:ref": "x"}}),
         {"for-all-values"}),
    ],
)  # fmt: skip
def test_an_audit_names_what_is_open(found: dict[str, Any], codes: set[str]) -> None:
    assert {opening.code for opening in audit(found)} == codes


def test_subjects_are_those_that_github_sends() -> None:
    assert subject(BRANCH.claims()) == MAIN
    assert subject(BRANCH.claims(), immutable=True) == "repo:acme@70/shop@7001:ref:refs/heads/main"
    assert subject(BOUND.claims()) == "repo:acme/shop:environment:production"
    assert BRANCH.claims(event_name="pull_request", ref="refs/pull/1/merge")["sub"] == "repo:acme/shop:pull_request"
    assert BRANCH.claims(environment="a:b")["sub"] == "repo:acme/shop:environment:a%3Ab"


def test_what_get_role_prints_is_read_and_what_is_no_policy_is_not() -> None:
    assert document(json.dumps({"Role": {"AssumeRolePolicyDocument": policy({})}})) == policy({})
    for text in ("no", "[]", '{"Statement": ["x"]}'):
        with pytest.raises(InputError):
            document(text)
