"""The record of calls, and LookupEvents over it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.range.conftest import ALL, Cloud, Keys, code, taken


def lookup(cloud: Cloud, key: str = "", value: str = "", **more: Any) -> list[dict[str, Any]]:
    """The details of what LookupEvents finds, newest first."""
    if key:
        more["LookupAttributes"] = [{"AttributeKey": key, "AttributeValue": value}]
    found = cloud.client("cloudtrail").lookup_events(**more)["Events"]
    return [json.loads(event["CloudTrailEvent"]) for event in found]


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["eventName"] for event in events]


@pytest.fixture
def ann(cloud: Cloud) -> Keys:
    """A user that listed the users, made the user ``eve`` with a key, and failed at one thing."""
    keys = cloud.user("ann", ALL)
    iam = cloud.client("iam", keys)
    iam.list_users()
    iam.create_user(UserName="eve", Tags=[{"Key": "team", "Value": "none"}])
    iam.create_access_key(UserName="eve")
    assert code(iam.create_user, UserName="eve") == "EntityAlreadyExists"
    return keys


def test_an_event_says_who_did_what_when_to_what(cloud: Cloud, ann: Keys) -> None:
    failed, key, user, listed = lookup(cloud, "AccessKeyId", ann[0])

    assert listed["readOnly"] is True
    assert listed["responseElements"] is None
    assert user["eventSource"] == "iam.amazonaws.com"
    assert user["userIdentity"]["type"] == "IAMUser"
    assert user["userIdentity"]["userName"] == "ann"
    assert user["userIdentity"]["accessKeyId"] == ann[0]
    assert user["requestParameters"] == {"userName": "eve", "tags": [{"key": "team", "value": "none"}]}
    assert user["responseElements"]["user"]["userName"] == "eve"
    created = cloud.client("iam").list_access_keys(UserName="eve")["AccessKeyMetadata"][0]["AccessKeyId"]
    assert key["responseElements"]["accessKey"]["accessKeyId"] == created
    assert failed["errorCode"] == "EntityAlreadyExists"
    assert failed["responseElements"] is None
    at = datetime.fromisoformat(user["eventTime"])
    assert abs(at - cloud.clock.now()) < timedelta(seconds=10)


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("Username", "ann", ["CreateUser", "CreateAccessKey", "CreateUser", "ListUsers"]),
        ("EventName", "CreateUser", ["CreateUser", "CreateUser"]),
        ("ResourceName", "eve", ["CreateUser", "CreateAccessKey", "CreateUser"]),
        ("ResourceType", "AWS::IAM::AccessKey", ["CreateAccessKey"]),
        ("ReadOnly", "false", ["CreateUser", "CreateAccessKey", "CreateUser"]),
        ("EventSource", "s3.amazonaws.com", []),
        ("AccessKeyId", "AK" + "IA" + "NOBODYS", []),
    ],
)
@pytest.mark.usefixtures("ann")
def test_each_attribute_finds_its_events(cloud: Cloud, key: str, value: str, found: list[str]) -> None:
    assert names(lookup(cloud, key, value)) == found


@pytest.mark.usefixtures("ann")
def test_by_event_id_and_by_the_key_that_was_created(cloud: Cloud) -> None:
    event = lookup(cloud, "EventName", "CreateAccessKey")[0]
    created = event["responseElements"]["accessKey"]["accessKeyId"]

    assert lookup(cloud, "EventId", event["eventID"])[0] == event
    assert names(lookup(cloud, "ResourceName", created)) == ["CreateAccessKey"]


def test_one_attribute_a_call(cloud: Cloud) -> None:
    two = [{"AttributeKey": "Username", "AttributeValue": name} for name in ("a", "b")]
    call = cloud.client("cloudtrail").lookup_events

    assert code(call, LookupAttributes=two) == "InvalidLookupAttributesException"


def test_pages_of_50_that_new_events_do_not_shift(cloud: Cloud) -> None:
    keys = cloud.user("ann", ALL)
    iam = cloud.client("iam", keys)
    for number in range(60):
        iam.list_groups_for_user(UserName="ann") if number % 2 else iam.list_roles()
    wanted = [{"AttributeKey": "AccessKeyId", "AttributeValue": keys[0]}]
    trail = cloud.client("cloudtrail")

    first = trail.lookup_events(LookupAttributes=wanted)
    iam.list_users()
    second = trail.lookup_events(LookupAttributes=wanted, NextToken=first["NextToken"])
    ids = [event["EventId"] for event in first["Events"] + second["Events"]]
    assert (len(first["Events"]), len(second["Events"]), len(set(ids))) == (50, 10, 60)
    assert "NextToken" not in second
    pages = trail.get_paginator("lookup_events").paginate(LookupAttributes=wanted)
    assert sum(len(page["Events"]) for page in pages) == 61
    assert code(trail.lookup_events, NextToken=first["NextToken"]) == "InvalidNextTokenException"
    assert code(trail.lookup_events, NextToken="bm90aGluZw==") == "InvalidNextTokenException"


def test_a_window_of_time_and_90_days(cloud: Cloud) -> None:
    iam = cloud.client("iam")
    began = cloud.clock.now()
    iam.create_user(UserName="one")
    cloud.clock.advance(3600)
    iam.create_user(UserName="two")
    half = began + timedelta(minutes=30)

    def made(**window: datetime) -> list[str]:
        return [each["requestParameters"]["userName"] for each in lookup(cloud, "EventName", "CreateUser", **window)]

    assert made() == ["two", "one"]
    assert made(StartTime=half) == ["two"]
    assert made(EndTime=half) == ["one"]
    assert made(StartTime=began) == ["two", "one"]  # whole seconds: the start's own second is in
    cloud.clock.advance(90 * 86400 - 1800)
    assert made(StartTime=datetime(2020, 1, 1, tzinfo=UTC)) == ["two"]


def test_events_may_lag(cloud: Cloud) -> None:
    cloud.aws.trail.lag_s = 600
    cloud.client("iam").create_user(UserName="one")
    assert lookup(cloud, "EventName", "CreateUser") == []

    cloud.clock.advance(601)
    assert names(lookup(cloud, "EventName", "CreateUser")) == ["CreateUser"]


def test_two_lookups_a_second_when_throttled(cloud: Cloud) -> None:
    cloud.aws.trail.lookups_per_second = 2
    trail = cloud.client("cloudtrail")
    codes = [code(trail.lookup_events) for _ in range(20)]

    assert codes[:2] == ["", ""]
    assert "ThrottlingException" in codes
    cloud.aws.reset()
    cloud.root = cloud.user("root", ALL)
    assert {code(cloud.client("cloudtrail").lookup_events) for _ in range(6)} == {""}


def test_sessions_are_told_apart_from_their_users(cloud: Cloud) -> None:
    keys = cloud.user("ann", ALL)
    session = taken(cloud.client("sts", keys).get_session_token())
    cloud.client("s3", session).list_buckets()
    minted, used = lookup(cloud, "ResourceName", session[0])[0], lookup(cloud, "AccessKeyId", session[0])[0]

    assert minted["eventName"] == "GetSessionToken"
    assert minted["responseElements"]["credentials"]["accessKeyId"] == session[0]
    assert used["eventName"] == "ListBuckets"
    assert used["userIdentity"]["userName"] == "ann"
    assert "creationDate" in used["userIdentity"]["sessionContext"]["attributes"]
    assert "sessionContext" not in minted["userIdentity"]


def test_a_roles_session_names_its_role_and_where_it_came_from(cloud: Cloud) -> None:
    trust = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:user/root"}, "Action": "sts:AssumeRole"}
    cloud.aws.account.add_role("deploy", trust={"Version": "2012-10-17", "Statement": [trust]}, policy=ALL)
    arn = "arn:aws:iam::123456789012:role/deploy"
    session = taken(cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="run-1"))
    cloud.client("iam", session).create_user(UserName="eve")
    assumed, used = lookup(cloud, "EventName", "AssumeRole")[0], lookup(cloud, "EventName", "CreateUser")[0]

    assert assumed["userIdentity"]["accessKeyId"] == cloud.root[0]
    assert assumed["requestParameters"]["roleArn"] == arn
    assert assumed["responseElements"]["credentials"]["accessKeyId"] == session[0]
    assert used["userIdentity"]["type"] == "AssumedRole"
    assert used["userIdentity"]["accessKeyId"] == session[0]
    assert used["userIdentity"]["sessionContext"]["sessionIssuer"]["userName"] == "deploy"


def test_data_events_and_unauthenticated_calls_are_not_found(cloud: Cloud) -> None:
    cloud.aws.account.add_bucket("releases")
    s3 = cloud.client("s3")
    s3.put_object(Bucket="releases", Key="a", Body=b"x")
    s3.list_objects_v2(Bucket="releases")
    s3.list_buckets()
    code(cloud.client("iam", (cloud.root[0], "wrong")).create_user, UserName="eve")

    assert names(lookup(cloud)) == ["ListBuckets"]
    data = [call for call in cloud.aws.calls if call["eventCategory"] == "Data"]
    assert names(data) == ["PutObject", "ListObjectsV2"]


def test_no_secret_is_in_the_record_or_the_log(cloud: Cloud) -> None:
    iam, sts = cloud.client("iam"), cloud.client("sts")
    iam.create_user(UserName="eve")
    key = iam.create_access_key(UserName="eve")["AccessKey"]["SecretAccessKey"]
    password = "made-up-" + "p4ss" * 4
    iam.create_login_profile(UserName="eve", Password=password)
    _, secret, token = taken(sts.get_session_token())
    web = cloud.issuer.mint({"sub": "s"}, "sts.amazonaws.com")
    arn = "arn:aws:iam::123456789012:role/none"
    code(sts.assume_role_with_web_identity, RoleArn=arn, RoleSessionName="run-1", WebIdentityToken=web)
    written = json.dumps([cloud.aws.calls, cloud.switchboard.requests(), cloud.aws.snapshot()])

    assert "eve" in written
    for value in (key, password, secret, token, web, cloud.root[1]):
        assert value not in written
