"""CodeArtifact of the range, seen by boto3: what its documents say of versions, their files and their states."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.range.conftest import ALL, DENY_ALL, Cloud, code

WHERE: dict[str, Any] = {"domain": "harbor", "repository": "shared", "format": "generic", "namespace": "ferry",
                         "package": "table"}  # fmt: skip


@pytest.fixture
def shelf(cloud: Cloud) -> Any:
    client = cloud.client("codeartifact", cloud.user("publisher", ALL))
    client.create_domain(domain="harbor")
    client.create_repository(domain="harbor", repository="shared")
    return client


def publish(shelf: Any, version: str, data: bytes = b"x", file: str = "a", **more: Any) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    return dict(shelf.publish_package_version(
        **WHERE | more, packageVersion=version, assetName=file, assetContent=data, assetSHA256=digest
    ))  # fmt: skip


def told(shelf: Any, version: str) -> dict[str, Any]:
    return dict(shelf.describe_package_version(**WHERE, packageVersion=version)["packageVersion"])


def get(shelf: Any, version: str, file: str = "a") -> str:
    return code(shelf.get_package_version_asset, **WHERE, packageVersion=version, asset=file)


def test_a_file_never_changes_and_another_one_may_come_later_without_a_new_date(cloud: Cloud, shelf: Any) -> None:
    publish(shelf, "1.0.0")
    was = told(shelf, "1.0.0")
    cloud.clock.advance(60)
    publish(shelf, "1.0.0")
    assert told(shelf, "1.0.0") == was
    assert code(lambda: publish(shelf, "1.0.0", b"other")) == "ConflictException"
    publish(shelf, "1.0.0", b"more", "b")
    now = told(shelf, "1.0.0")
    assert now["publishedTime"] == was["publishedTime"]
    assert now["revision"] != was["revision"]
    assert code(lambda: publish(shelf, "1.0.0", format="npm")) == "ValidationException"
    assert now["origin"] == {"domainEntryPoint": {"repositoryName": "shared"}, "originType": "INTERNAL"}


def test_each_state_gives_what_its_name_says(shelf: Any) -> None:
    for number in ("1.0.0", "1.0.1"):
        publish(shelf, number)

    def put(status: str) -> dict[str, Any]:
        return dict(shelf.update_package_versions_status(**WHERE, versions=["1.0.1"], targetStatus=status))

    for status, got in (("Unlisted", ""), ("Archived", "ResourceNotFoundException"), ("Published", "")):
        assert put(status)["successfulVersions"]["1.0.1"]["status"] == status
        assert (told(shelf, "1.0.1")["status"], get(shelf, "1.0.1")) == (status, got)
    assert code(lambda: put("Deleted")) == "ValidationException"
    shelf.dispose_package_versions(**WHERE, versions=["1.0.1"])
    assert get(shelf, "1.0.1") == "ResourceNotFoundException"
    assert put("Published")["failedVersions"]["1.0.1"]["errorCode"] == "NOT_ALLOWED"
    assert code(lambda: publish(shelf, "1.0.1")) == "ConflictException", "its number stays taken"
    assert [row["version"] for row in shelf.list_package_versions(**WHERE)["versions"]] == ["1.0.0"]
    shelf.delete_package_versions(**WHERE, versions=["1.0.0", "1.0.1"])
    publish(shelf, "1.0.1", b"anything")
    assert told(shelf, "1.0.1")["status"] == "Published", "the number of what was deleted is free"


def test_what_is_not_as_expected_is_a_failure_in_a_good_answer_and_changes_nothing(shelf: Any) -> None:
    publish(shelf, "1.0.0")
    publish(shelf, "1.0.1")
    asked = {"versions": ["1.0.0", "1.0.1", "9"], "targetStatus": "Archived", "expectedStatus": "Published"}
    failed = shelf.update_package_versions_status(**WHERE, **asked)["failedVersions"]
    assert {name: row["errorCode"] for name, row in failed.items()} == {
        "1.0.0": "SKIPPED", "1.0.1": "SKIPPED", "9": "NOT_FOUND",
    }  # fmt: skip
    assert told(shelf, "1.0.0")["status"] == "Published"
    wrong = asked | {"versions": ["1.0.0"], "expectedStatus": "Unlisted"}
    assert shelf.update_package_versions_status(**WHERE, **wrong)["failedVersions"]["1.0.0"]["errorCode"] == (
        "MISMATCHED_STATUS"
    )


def test_refusals_a_second_region_and_pages(cloud: Cloud, shelf: Any) -> None:
    for number in range(3):
        publish(shelf, f"1.0.{number}")
    stranger = cloud.client("codeartifact", cloud.user("stranger", DENY_ALL))
    assert code(lambda: publish(stranger, "9")) == "AccessDeniedException"
    assert code(cloud.client("codeartifact", ("AKIANOBODY", "x")).list_repositories) == "UnrecognizedClientException"
    assert get(shelf, "9") == "ResourceNotFoundException"
    pages = shelf.get_paginator("list_package_versions").paginate(**WHERE, PaginationConfig={"PageSize": 2})
    assert [len(page["versions"]) for page in pages] == [2, 1]
    north = cloud.session.client(
        "codeartifact", region_name="eu-north-1", endpoint_url=cloud.url, aws_access_key_id=cloud.root[0],
        aws_secret_access_key=cloud.root[1],
    )  # fmt: skip
    assert north.list_repositories()["repositories"] == []
    trail = cloud.client("cloudtrail").lookup_events(
        LookupAttributes=[{"AttributeKey": "EventSource", "AttributeValue": "codeartifact.amazonaws.com"}]
    )
    assert {event["EventName"] for event in trail["Events"]} >= {"PublishPackageVersion", "CreateDomain"}
    assert sum(event["EventName"] == "ListRepositories" for event in trail["Events"]) == 0, "that was in the north"


def test_what_was_taken_in_from_outside_may_not_be_published_and_a_token_is_no_cloudtrails(
    cloud: Cloud, shelf: Any
) -> None:
    publish(shelf, "1.0.0")
    cloud.aws.packages.take_in(
        "us-east-1", "harbor", "shared", ("npm", "", "left-pad"), "1.3.0", connection="public:npmjs"
    )
    names = [row["package"] for row in shelf.list_packages(domain="harbor", repository="shared")["packages"]]
    mine = shelf.list_packages(domain="harbor", repository="shared", publish="ALLOW")["packages"]
    assert (names, [row["package"] for row in mine]) == (["table", "left-pad"], ["table"])
    token = shelf.get_authorization_token(domain="harbor", durationSeconds=900)["authorizationToken"]
    assert token in cloud.aws.values()
    assert not any(token in str(event) for event in cloud.aws.calls)
