"""Policies against contexts: what matches, what does not, and what is not understood fails closed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.range.iam_policy import evaluate, trust

USER = "arn:aws:iam::123456789012:user/ann"


def document(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Action": "*", "Resource": "*", **statement}]})


@pytest.mark.parametrize(
    ("statement", "action", "resource", "verdict"),
    [
        ({"Effect": "Allow", "Action": "s3:Get*"}, "s3:GetObject", "*", "allow"),
        ({"Effect": "Allow", "Action": "S3:getobject"}, "s3:GetObject", "*", "allow"),
        ({"Effect": "Allow", "Action": "s3:Get?bject"}, "s3:GetObject", "*", "allow"),
        ({"Effect": "Allow", "Action": "s3:Get*"}, "s3:PutObject", "*", "none"),
        ({"Effect": "Allow", "Action": ["iam:*", "s3:PutObject"]}, "s3:PutObject", "*", "allow"),
        ({"Effect": "Allow", "Resource": "arn:aws:s3:::a/*"}, "s3:GetObject", "arn:aws:s3:::a/b", "allow"),
        ({"Effect": "Allow", "Resource": "arn:aws:s3:::a/*"}, "s3:GetObject", "arn:aws:s3:::b/b", "none"),
        ({"Effect": "Allow", "Resource": "arn:aws:s3:::A/*"}, "s3:GetObject", "arn:aws:s3:::a/b", "none"),
        ({"Effect": "Allow", "Resource": "arn:aws:s3:::${aws:username}"}, "s3:X", "arn:aws:s3:::ann", "allow"),
        ({"Effect": "Allow", "Resource": "arn:aws:s3:::${aws:username}"}, "s3:X", "arn:aws:s3:::bob", "none"),
        ({"Effect": "Allow", "Resource": "arn:aws:s3:::${aws:nothing}"}, "s3:X", "arn:aws:s3:::", "none"),
        ({"Effect": "Deny"}, "s3:GetObject", "*", "deny"),
    ],
)  # fmt: skip
def test_actions_and_resources(statement: dict[str, Any], action: str, resource: str, verdict: str) -> None:
    assert verdict == evaluate([document(**statement)], action, resource, {"aws:username": "ann"})


def test_not_action_and_not_resource() -> None:
    lines = [{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"},
             {"Effect": "Deny", "Action": "*", "NotResource": "arn:aws:s3:::a"}]  # fmt: skip
    both = json.dumps({"Statement": lines})

    assert evaluate([both], "s3:ListBucket", "arn:aws:s3:::a", {}) == "allow"
    assert evaluate([both], "iam:GetUser", "arn:aws:s3:::a", {}) == "none"
    assert evaluate([both], "s3:ListBucket", "arn:aws:s3:::b", {}) == "deny"


def test_a_deny_beats_every_allow_in_any_order() -> None:
    allow, deny = document(Effect="Allow"), document(Effect="Deny", Action="s3:*")

    assert evaluate([allow, deny], "s3:ListBucket", "*", {}) == "deny"
    assert evaluate([deny, allow], "s3:ListBucket", "*", {}) == "deny"
    assert evaluate([deny, allow], "iam:GetUser", "*", {}) == "allow"


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"k": ["a", "b"]}}, {"k": "b"}, True),
        ({"StringEquals": {"K": "a"}}, {"k": "a"}, True),
        ({"StringEquals": {"k": "a*"}}, {"k": "ab"}, False),
        ({"StringEquals": {"k": "a"}}, {}, False),
        ({"StringEqualsIfExists": {"k": "a"}}, {}, True),
        ({"StringEqualsIfExists": {"k": "a"}}, {"k": "b"}, False),
        ({"StringNotEquals": {"k": ["a", "b"]}}, {"k": "b"}, False),
        ({"StringNotEquals": {"k": "a"}}, {}, True),
        ({"StringLike": {"k": "repo:o/*:ref"}}, {"k": "repo:o/r:ref"}, True),
        ({"StringLike": {"k": "repo:[o]/*"}}, {"k": "repo:o/r"}, False),
        ({"StringEquals": {"k": "a"}, "StringLike": {"l": "b*"}}, {"k": "a", "l": "c"}, False),
        ({"NumericLessThan": {"n": "900"}}, {"n": "899"}, True),
        ({"NumericLessThanEquals": {"n": "900"}}, {"n": "901"}, False),
        ({"Bool": {"b": True}}, {"b": "true"}, True),
        ({"Bool": {"b": "false"}}, {"b": "true"}, False),
        ({"Null": {"k": "true"}}, {}, True),
        ({"Null": {"k": "true"}}, {"k": "x"}, False),
        ({"Null": {"k": "false"}}, {"k": "x"}, True),
        ({"DateLessThan": {"t": "2026-11-23T00:00:00Z"}}, {"t": "2026-11-22T23:59:59.999Z"}, True),
        ({"DateLessThan": {"t": "2026-11-23T00:00:00Z"}}, {"t": "2026-11-23T00:00:00.000Z"}, False),
        ({"DateLessThan": {"t": "2026-11-23T00:00:00Z"}}, {}, False),
        ({"DateGreaterThan": {"t": "1700000000"}}, {"t": "2026-11-23T00:00:00Z"}, True),
        ({"IpAddress": {"ip": "127.0.0.0/8"}}, {"ip": "127.0.0.1"}, True),
        ({"NotIpAddress": {"ip": "127.0.0.0/8"}}, {"ip": "127.0.0.1"}, False),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["a", "b"]}, True),
        ({"ForAllValues:StringEquals": {"k": ["a"]}}, {"k": ["a", "b"]}, False),
        ({"ForAllValues:StringEquals": {"k": ["a"]}}, {}, True),
        ({"ForAnyValue:StringEquals": {"k": ["a"]}}, {"k": ["a", "b"]}, True),
        ({"ForAnyValue:StringEquals": {"k": ["a"]}}, {}, False),
    ],
)  # fmt: skip
def test_conditions(condition: dict[str, Any], context: dict[str, Any], holds: bool) -> None:
    allow, deny = (document(Effect=effect, Condition=condition) for effect in ("Allow", "Deny"))

    assert evaluate([allow], "s3:X", "*", context) == ("allow" if holds else "none")
    assert evaluate([deny], "s3:X", "*", context) == ("deny" if holds else "none")


@pytest.mark.parametrize(
    "condition",
    [{"StringSmells": {"k": "a"}}, {"ForSome:StringEquals": {"k": "a"}}, {"NumericLessThan": {"k": "ten"}},
     {"DateLessThan": {"k": "soon"}}, {"IpAddress": {"k": "here"}}],
)  # fmt: skip
def test_what_is_not_understood_fails_closed(condition: dict[str, Any]) -> None:
    context = {"k": "a"}

    assert evaluate([document(Effect="Allow", Condition=condition)], "s3:X", "*", context) == "none"
    assert evaluate([document(Effect="Deny", Condition=condition)], "s3:X", "*", context) == "deny"


def test_trust_names_the_caller_or_a_star_of_its_kind() -> None:
    def verdict(principal: Any, **more: Any) -> str:
        statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more}
        return trust(json.dumps({"Statement": [statement]}), {USER: "AWS"}, "sts:AssumeRole", {})[0]

    assert verdict({"AWS": USER}) == "allow"
    assert verdict({"AWS": [USER, "x"]}) == "allow"
    assert verdict("*") == "allow"
    assert verdict({"AWS": "*"}) == "allow"
    assert verdict({"Federated": USER}) == "none"
    assert verdict({"AWS": USER + "2"}) == "none"
    assert verdict({"AWS": "arn:aws:iam::123456789012:user/*"}) == "none"  # no wildcards inside a principal
    assert verdict({"AWS": USER}, Action="sts:TagSession") == "none"
    assert verdict({"AWS": USER}, Condition={"StringEquals": {"sts:ExternalId": "7"}}) == "none"
