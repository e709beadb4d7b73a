"""ECR of the range, seen by boto3: what AWS does with images and moto by itself does not."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from bot.range.aws_ecr import LAYERS_STAY
from bot.range.images import Layer, built, push_to_ecr
from tests.range.conftest import ALL, Cloud, code

NAME = "ferry"


@pytest.fixture
def ecr(cloud: Cloud) -> Any:
    client = cloud.client("ecr", cloud.user("pusher", ALL))
    client.create_repository(repositoryName=NAME)
    return client


def push(ecr: Any, what: bytes, tag: str) -> str:
    files = {"app": what}
    return push_to_ecr(
        ecr, NAME, tag, *built([Layer(made_by="x", files=files)], created=datetime(2026, 1, 1, tzinfo=UTC))
    )


def held(cloud: Cloud) -> dict[str, Any]:
    return dict(cloud.aws.snapshot()["images"][NAME])


def test_a_digest_is_that_of_the_manifest_and_a_moved_tag_leaves_its_image_untagged(cloud: Cloud, ecr: Any) -> None:
    old, new = push(ecr, b"1", "live"), push(ecr, b"2", "live")
    assert held(cloud) == {"tags": {"live": new}, "digests": sorted([old, new])}
    (image,) = ecr.batch_get_image(repositoryName=NAME, imageIds=[{"imageDigest": old}])["images"]
    assert f"sha256:{hashlib.sha256(image['imageManifest'].encode()).hexdigest()}" == old
    (row,) = ecr.describe_images(repositoryName=NAME, imageIds=[{"imageDigest": old}])["imageDetails"]
    assert "imageTags" not in row
    assert abs(row["imagePushedAt"].timestamp() - cloud.clock.time()) < 60


def test_a_manifest_whose_layers_nobody_uploaded_is_refused(ecr: Any) -> None:
    _blobs, manifest = built([Layer(made_by="x")], created=datetime(2026, 1, 1, tzinfo=UTC))
    refused = code(lambda: ecr.put_image(repositoryName=NAME, imageTag="x", imageManifest=manifest.decode()))
    assert refused == "LayersNotFoundException"


@pytest.mark.parametrize(
    ("rule", "tag", "refused"),
    [
        ("IMMUTABLE", "live", "ImageTagAlreadyExistsException"),
        ("IMMUTABLE_WITH_EXCLUSION", "live", "ImageTagAlreadyExistsException"),
        ("IMMUTABLE_WITH_EXCLUSION", "dev-1", ""),
        ("MUTABLE_WITH_EXCLUSION", "live", ""),
        ("MUTABLE_WITH_EXCLUSION", "dev-1", "ImageTagAlreadyExistsException"),
    ],
)
def test_an_immutable_tag_is_pushed_once(ecr: Any, rule: str, tag: str, refused: str) -> None:
    filters = [{"filterType": "WILDCARD", "filter": "dev-*"}]
    more = {"imageTagMutabilityExclusionFilters": filters} if rule.endswith("EXCLUSION") else {}
    ecr.put_image_tag_mutability(repositoryName=NAME, imageTagMutability=rule, **more)
    push(ecr, b"1", tag)
    assert code(lambda: push(ecr, b"2", tag)) == refused


def test_by_a_tag_only_the_tag_goes_while_there_is_another_one(cloud: Cloud, ecr: Any) -> None:
    digest = push(ecr, b"1", "a")
    push(ecr, b"1", "b")
    ecr.batch_delete_image(repositoryName=NAME, imageIds=[{"imageDigest": digest, "imageTag": "a"}])
    assert held(cloud) == {"tags": {"b": digest}, "digests": [digest]}
    ecr.batch_delete_image(repositoryName=NAME, imageIds=[{"imageTag": "b"}])
    assert held(cloud)["digests"] == []
    answer = ecr.batch_delete_image(repositoryName=NAME, imageIds=[{"imageDigest": digest}])
    assert [each["failureCode"] for each in answer["failures"]] == ["ImageNotFound"]


def test_layers_outlive_their_image_for_a_while_and_are_had_by_a_link(cloud: Cloud, ecr: Any) -> None:
    digest = push(ecr, b"1", "a")
    (image,) = ecr.batch_get_image(repositoryName=NAME, imageIds=[{"imageDigest": digest}])["images"]
    manifest = image["imageManifest"]
    blobs, _ = built([Layer(made_by="x", files={"app": b"1"})], created=datetime(2026, 1, 1, tzinfo=UTC))
    layer = next(iter(blobs))
    url = ecr.get_download_url_for_layer(repositoryName=NAME, layerDigest=layer)["downloadUrl"]
    assert requests.get(url, timeout=10).content == blobs[layer]
    ecr.batch_delete_image(repositoryName=NAME, imageIds=[{"imageDigest": digest}])
    ecr.put_image(repositoryName=NAME, imageTag="a", imageManifest=manifest)
    cloud.clock.advance(LAYERS_STAY.total_seconds() + 1)
    ecr.batch_delete_image(repositoryName=NAME, imageIds=[{"imageDigest": digest}])
    cloud.clock.advance(LAYERS_STAY.total_seconds() + 1)
    refused = code(lambda: ecr.put_image(repositoryName=NAME, imageTag="a", imageManifest=manifest))
    assert refused == "LayersNotFoundException"
    assert requests.get(url, timeout=10).status_code == 403


def test_the_trail_tells_which_key_put_which_digest_under_which_tag(cloud: Cloud, ecr: Any) -> None:
    digest = push(ecr, b"1", "a")
    (call,) = [call for call in cloud.aws.calls if call["eventName"] == "PutImage"]
    assert call["userIdentity"]["userName"] == "pusher"
    assert call["requestParameters"]["imageTag"] == "a"
    assert call["responseElements"]["image"]["imageId"]["imageDigest"] == digest
    assert not any("layerPartBlob" in (call["requestParameters"] or {}) for call in cloud.aws.calls)


def test_who_may_not_push_does_not(cloud: Cloud, ecr: Any) -> None:
    reads = {"Effect": "Allow", "Action": ["ecr:Describe*", "ecr:BatchCheck*"], "Resource": "*"}
    reader = cloud.client("ecr", cloud.user("reader", {"Version": "2012-10-17", "Statement": [reads]}))
    assert code(lambda: push(reader, b"1", "a")) == "AccessDeniedException"
    assert reader.describe_images(repositoryName=NAME)["imageDetails"] == []
