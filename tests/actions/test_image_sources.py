"""Facts of images that are asked of the range's servers: Docker Hub's, and ECR's in every region."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.actions import CATALOGUE
from bot.actions.aws_iam import iso
from bot.actions.aws_image_find import FindImagesIn
from bot.actions.signal_facts import Collected
from bot.actions.signal_registries import of_ecr, of_registries
from bot.clients import AwsClients
from bot.model import EcrImage, EcrTag, Verdict
from bot.range.company import FERRY
from bot.range.registries import HUB_OWNER
from bot.range.registries.docker_theft import IMAGE, REPOSITORY, hub_of
from bot.range.registries.theft import BAD, GOOD
from bot.registries import DockerHubClient
from bot.signals.facts import Version, of_kind
from bot.sites import RANGE_REGIONS
from tests.actions.conftest import Drill
from tests.actions.dockerhub_arrangements import bad_push
from tests.actions.image_arrangements import LIVE, NAME, ecr, opened, push

(NORTH,) = RANGE_REGIONS


def told(found: Collected) -> dict[str, Version]:
    return {one.name: one for one in of_kind(found.facts, Version)}


def test_images_of_docker_hub_are_those_that_a_workflow_pushes(drill: Drill) -> None:
    bad_push(drill)
    of_registries(drill.world, REPOSITORY, found := Collected())
    assert found.unknown == []
    versions = told(found)
    assert {BAD, GOOD} <= set(versions)
    assert {(one.registry, one.package) for one in versions.values()} == {("dockerhub", IMAGE)}
    assert versions[BAD].at > versions[GOOD].at
    assert versions[BAD].uploader == HUB_OWNER
    hub = drill.world.registries["dockerhub"]
    assert isinstance(hub, DockerHubClient)
    url = hub_of(drill.range).base_url
    nobody = DockerHubClient(base_url=f"{url}/hub", registry_url=url, auth_url=url)
    everybody = replace(drill.world, registries={"dockerhub": nobody})
    of_registries(everybody, REPOSITORY, public := Collected())
    assert {BAD, GOOD} <= set(told(public)), "without the log its tags tell"


def test_images_of_ecr_are_told_of_every_region(drill: Drill) -> None:
    opened(drill)
    push(drill, "good", "2.4.0")
    north = drill.world.aws.client("ecr", NORTH)
    north.create_repository(repositoryName="ferry")
    push(drill, "in the north", "2.5.0", client=north)
    of_ecr(drill.world, FERRY, found := Collected())
    assert {name: one.package for name, one in told(found).items()} == {
        "2.4.0": "ferry", "2.5.0": f"{NORTH}/ferry",
    }  # fmt: skip
    assert ecr(drill).describe_repositories()["repositories"]


@pytest.mark.slow
def test_an_image_in_another_region_is_found_and_its_tag_goes_back_there(drill: Drill) -> None:
    """The same repository is in both regions; what is good in one is no good image of the other."""
    opened(drill)
    key, secret = drill.range.company.deploy_key
    leaked = AwsClients(key_id=key, secret=secret, endpoint=drill.range.aws_url, region=NORTH).client("ecr")
    north = drill.world.aws.client("ecr", NORTH)
    north.create_repository(repositoryName=NAME)
    push(drill, "of home", LIVE)
    good = push(drill, "of the north", LIVE, client=leaked)
    drill.range.clock.advance(3600)
    since = iso(drill.world.now() - timedelta(minutes=1))
    bad = push(drill, "bad", LIVE, client=leaked)
    found = drill.do("aws.find_unexplained_images", FindImagesIn(key=drill.leaked, repository=FERRY, since=since))[1]
    assert found.tags == (EcrTag(repository=NAME, tag=LIVE, bad=bad, good=good, region=NORTH),)
    assert found.images == (EcrImage(repository=NAME, digest=bad, region=NORTH),)
    for name, given in (("move_image_tag_back", found.tags[0]), ("delete_image", found.images[0])):
        action = CATALOGUE[f"aws.{name}"]
        assert action.evidence is not None
        before = action.look(drill.world, given)
        saved = {ref.name for ref in action.evidence(drill.world, given, before)}
        assert all(each.startswith(f"ecr/{NORTH}/{NAME}@") for each in saved)
        outcome = action.run(drill.world, given, before)
        assert action.prove(drill.world, given, before, outcome).verdict == Verdict.PROVEN
    (left,) = north.describe_images(repositoryName=NAME)["imageDetails"]
    assert (left["imageDigest"], left["imageTags"]) == (good, [LIVE])
    assert ecr(drill).describe_images(repositoryName=NAME)["imageDetails"][0]["imageTags"] == [LIVE]
