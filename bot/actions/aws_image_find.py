"""Find images in Amazon ECR that nobody of the house pushed, and the tags that they took.

Two records are joined, as in ``aws_planted``: CloudTrail tells which key put an image, and under which tag; ECR tells
what is there now and since when, at once, where CloudTrail is minutes late. A push is explained by a run that was under
way in a repository that has the key; the good digest of a tag is the last other one that was put under it. Both records
are a region's: each of the bot's regions is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from bot.action import Action
from bot.actions import aws_iam, aws_trail, aws_trust
from bot.actions.aws_images import image_of, manifests
from bot.actions.explained import Explains, holders
from bot.clients import aws_errors
from bot.model import Before, EcrImage, EcrTag, Effect, Grade, Outcome, Proof, SecretStore
from bot.world import World

MANY = 200  # repositories; above it ECR is asked only about those that CloudTrail names
_PUSHES = ("PutImage", "InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload")


@dataclass(frozen=True, slots=True, kw_only=True)
class FindImagesIn:
    """A leaked key, the repositories whose jobs have it (``repository`` and ``stores``), and since when it was seen."""

    key: str
    repository: str = ""
    since: str = ""  # ISO 8601; '': as far back as CloudTrail goes
    stores: tuple[SecretStore, ...] = ()

    @property
    def repositories(self) -> tuple[str, ...]:
        """Each once."""
        return holders(self.repository, self.stores)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindImagesBefore(Before):
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImages(Outcome):
    """``tags`` have a good image to go back to; ``others`` and ``unknown`` are sentences for people."""

    images: tuple[EcrImage, ...] = ()
    tags: tuple[EcrTag, ...] = ()
    others: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(slots=True)
class _Put:
    """An image that was put, as CloudTrail tells it. ``region`` as in ``EcrImage``."""

    at: datetime
    key: str
    repository: str
    tag: str
    digest: str
    region: str

    @property
    def image(self) -> EcrImage:
        return EcrImage(repository=self.repository, digest=self.digest, region=self.region)


@dataclass(slots=True)
class _Search:
    """What was put when by whom, and what could not be seen."""

    puts: list[_Put] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    others: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def _look(world: World, given: FindImagesIn) -> FindImagesBefore:
    earliest = aws_iam.now(world) - timedelta(days=aws_trust.TRAIL_DAYS)
    since = max(aws_iam.parse(given.since), earliest) if given.since else earliest
    said = f"images that {given.key} pushed since {aws_iam.iso(since)}"
    return FindImagesBefore(since=aws_iam.iso(since), summary=said)


def _trail(world: World, given: FindImagesIn, since: datetime) -> _Search:
    """Every image that was put in ninety days, the keys that are the thief's, and what else these did at ECR."""
    until, found = aws_iam.now(world) + timedelta(seconds=1), _Search()
    deeds = aws_trail.Deeds(leaked=given.key)
    aws_trail.follow(world, deeds, since, until)
    found.keys, found.unknown = deeds.keys, deeds.unknown
    earliest, changes = until - timedelta(days=aws_trust.TRAIL_DAYS), list(deeds.images)
    for number, region in enumerate(world.aws.regions):
        for call in aws_trail.lookup(world, "EventName", "PutImage", earliest, until, region=region):
            image = call.response.get("image") or {}
            named = image.get("imageId") or {}
            found.puts.append(_Put(
                call.at, call.key, call.asked("repositoryName"), str(named.get("imageTag") or call.asked("imageTag")),
                str(named.get("imageDigest", "")), region if number else "",
            ))  # fmt: skip
        for key in sorted(found.keys) if number else ():  # in the bot's own region they were followed
            calls = aws_trail.lookup(world, "AccessKeyId", key, since, until, region=region)
            changes += [call for call in calls if call.source == "ecr.amazonaws.com" and not call.reads]
    found.others = [
        f"it did {call.name} to {call.asked('repositoryName') or 'the registry'} at {aws_iam.iso(call.at)}"
        for call in changes if call.name not in _PUSHES
    ]  # fmt: skip
    return found


def listed(
    world: World, operation: str, items: str, what: str, region: str = "", **asked: Any
) -> list[dict[str, Any]]:  # fmt: skip
    """Every row of a paged list of ECR. Raises bot.errors."""
    with aws_errors(what):
        pages = world.aws.client("ecr", region).get_paginator(operation).paginate(**asked)
        return [row for page in pages for row in page.get(items, [])]


def _bad(
    world: World, given: FindImagesIn, search: _Search, since: datetime
) -> Iterator[tuple[EcrImage, dict[str, Any]]]:  # fmt: skip
    """(image, what ECR tells of it) of what was pushed in the window, is still there, and is explained by nobody."""
    houses = [Explains.of(world, each, (), given.since) for each in given.repositories]
    for number, name in enumerate(world.aws.regions):
        region = name if number else ""
        for repository in _repositories(world, search, since, region):
            what = f"list the images of {repository}"
            images = listed(world, "describe_images", "imageDetails", what, region, repositoryName=repository)
            for image in images:
                one = EcrImage(repository=repository, digest=str(image["imageDigest"]), region=region)
                puts = [p for p in search.puts if p.image == one]
                times = [p.at for p in puts if p.key in search.keys and p.at >= since]
                if not puts and image["imagePushedAt"] >= since:
                    times = [image["imagePushedAt"]]  # CloudTrail has not told of it yet
                if times and not any(p.at < since or p.key not in search.keys for p in puts) and not any(
                    house.ran(world, at) for house in houses for at in times
                ):  # fmt: skip
                    yield one, image


def _repositories(world: World, search: _Search, since: datetime, region: str) -> list[str]:
    """The repositories of a region; of very many only those that the thief's keys pushed to."""
    rows = listed(world, "describe_repositories", "repositories", "list the repositories of ECR", region)
    names = [str(row["repositoryName"]) for row in rows]
    if len(names) <= MANY:
        return names
    search.unknown.append(f"{len(names)} repositories: ECR was asked only about those that CloudTrail names")
    pushed = {p.repository for p in search.puts if p.key in search.keys and p.at >= since and p.region == region}
    return [name for name in names if name in pushed]


def _find(world: World, given: FindImagesIn, before: FindImagesBefore) -> FoundImages:
    since = aws_iam.parse(before.since).replace(microsecond=0)
    search = _trail(world, given, since)
    bad: list[tuple[EcrImage, dict[str, Any]]] = []
    if given.repositories:
        bad = list(_bad(world, given, search, since))
    else:
        search.unknown.append("No repository is known whose runs could explain a push, so none was judged")
    found = {one for one, _ in bad}
    tags = [
        tag for one, image in bad for name in sorted(image.get("imageTags") or ())
        if (tag := _back(world, search, found, one, name)) is not None
    ]  # fmt: skip
    inside = {  # an image that an index names goes with it
        replace(one, digest=kept.digest) for one in found
        for kept in manifests(world, one, [one.digest]) if kept.digest != one.digest
    }  # fmt: skip
    images = tuple(sorted(found - inside, key=lambda one: (one.region, one.repository, one.digest)))
    return FoundImages(
        changed=False, images=images, tags=tuple(tags), others=tuple(search.others), unknown=tuple(search.unknown),
        summary=_said(images, tags, search),
    )  # fmt: skip


def _back(world: World, search: _Search, bad: set[EcrImage], now: EcrImage, tag: str) -> EcrTag | None:
    """The tag with the last digest before that is still there; None when it had none."""
    for put in sorted(search.puts, key=lambda p: p.at, reverse=True):
        fits = put.tag == tag and put.image == replace(now, digest=put.digest) and put.image not in bad
        if fits and image_of(world, now, imageDigest=put.digest):
            return EcrTag(repository=now.repository, tag=tag, bad=now.digest, good=put.digest, region=now.region)
    search.unknown.append(f"{now.repository}:{tag} had no good image that is still there and that CloudTrail knows")
    return None


def _said(images: tuple[EcrImage, ...], tags: list[EcrTag], search: _Search) -> str:
    if not images:
        said = "No image is there that a run does not explain"
    else:
        said = f"Nobody of the house pushed {', '.join(map(str, images))}"
        said += f"; it took the tags {', '.join(map(str, tags))}" if tags else ""
    return "; ".join([said, *search.others, *search.unknown])


def _prove(world: World, given: FindImagesIn, before: FindImagesBefore, outcome: FoundImages) -> Proof:
    again = _find(world, given, before)
    new = [str(image) for image in again.images if image not in outcome.images]
    if new:
        return Proof.refuted(f"a second search found more: {', '.join(new)}")
    return Proof.proven(Grade.STATE, f"ECR's record and CloudTrail, searched again: {outcome.summary}")


find_unexplained_images = Action(
    name="aws.find_unexplained_images", title="Find images in ECR that no run explains", inputs=FindImagesIn,
    before=FindImagesBefore, outcome=FoundImages, effect=Effect.READ, look=_look, run=_find, prove=_prove,
    permissions=(
        "cloudtrail:LookupEvents", "ecr:DescribeRepositories", "ecr:DescribeImages", "ecr:BatchGetImage",
    ),
)  # fmt: skip
