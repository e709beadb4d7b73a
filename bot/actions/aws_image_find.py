"""Find images in Amazon ECR that nobody of the house pushed, and the tags that they took.

Two records are joined, as in ``aws_planted``: CloudTrail tells which key put an image, and under which tag; ECR tells
what is there now and since when, at once, where CloudTrail is minutes late. A push is explained by a run that was under
way in a repository that has the key; the good digest of a tag is the last other one that was put under it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
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
    """An image that was put, as CloudTrail tells it."""

    at: datetime
    key: str
    repository: str
    tag: str
    digest: str


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
    earliest = until - timedelta(days=aws_trust.TRAIL_DAYS)
    for call in aws_trail.lookup(world, "EventName", "PutImage", earliest, until):
        image = call.response.get("image") or {}
        named = image.get("imageId") or {}
        found.puts.append(_Put(
            call.at, call.key, call.asked("repositoryName"), str(named.get("imageTag") or call.asked("imageTag")),
            str(named.get("imageDigest", "")),
        ))  # fmt: skip
    found.others = [
        f"it did {call.name} to {call.asked('repositoryName') or 'the registry'} at {aws_iam.iso(call.at)}"
        for call in deeds.images if call.name not in _PUSHES
    ]  # fmt: skip
    return found


def listed(world: World, operation: str, items: str, what: str, **asked: Any) -> list[dict[str, Any]]:
    """Every row of a paged list of ECR. Raises bot.errors."""
    with aws_errors(what):
        pages = world.aws.client("ecr").get_paginator(operation).paginate(**asked)
        return [row for page in pages for row in page.get(items, [])]


def _bad(world: World, given: FindImagesIn, search: _Search, since: datetime) -> Iterator[tuple[str, dict[str, Any]]]:
    """(repository, image) of what was pushed in the window, is still there, and is explained by nobody."""
    houses = [Explains.of(world, each, (), given.since) for each in given.repositories]
    named = {put.repository for put in search.puts if put.key in search.keys and put.at >= since}
    repositories = [str(row["repositoryName"]) for row in listed(
        world, "describe_repositories", "repositories", "list the repositories of ECR")]  # fmt: skip
    if len(repositories) > MANY:
        search.unknown.append(f"{len(repositories)} repositories: ECR was asked only about those that CloudTrail names")
        repositories = [name for name in repositories if name in named]
    for repository in repositories:
        images = listed(
            world, "describe_images", "imageDetails", f"list the images of {repository}", repositoryName=repository
        )
        for image in images:
            puts = [p for p in search.puts if (p.repository, p.digest) == (repository, image["imageDigest"])]
            times = [p.at for p in puts if p.key in search.keys and p.at >= since]
            if not puts and image["imagePushedAt"] >= since:
                times = [image["imagePushedAt"]]  # CloudTrail has not told of it yet
            if times and not any(p.at < since or p.key not in search.keys for p in puts) and not any(
                house.ran(world, at) for house in houses for at in times
            ):  # fmt: skip
                yield repository, image


def _find(world: World, given: FindImagesIn, before: FindImagesBefore) -> FoundImages:
    since = aws_iam.parse(before.since).replace(microsecond=0)
    search = _trail(world, given, since)
    bad: list[tuple[str, dict[str, Any]]] = []
    if given.repositories:
        bad = list(_bad(world, given, search, since))
    else:
        search.unknown.append("No repository is known whose runs could explain a push, so none was judged")
    digests = {(repository, str(image["imageDigest"])) for repository, image in bad}
    tags = [
        tag for repository, image in bad for name in sorted(image.get("imageTags") or ())
        if (tag := _back(world, search, digests, repository, name, str(image["imageDigest"]))) is not None
    ]  # fmt: skip
    inside = {  # an image that an index names goes with it
        (repository, kept.digest) for repository, image in bad
        for kept in manifests(world, repository, [str(image["imageDigest"])]) if kept.digest != image["imageDigest"]
    }  # fmt: skip
    images = tuple(EcrImage(repository=r, digest=d) for r, d in sorted(digests - inside))
    return FoundImages(
        changed=False, images=images, tags=tuple(tags), others=tuple(search.others), unknown=tuple(search.unknown),
        summary=_said(images, tags, search),
    )  # fmt: skip


def _back(
    world: World, search: _Search, bad: set[tuple[str, str]], repository: str, tag: str, now: str
) -> EcrTag | None:  # fmt: skip
    """The tag with the last digest before that is still there; None when it had none."""
    for put in sorted(search.puts, key=lambda p: p.at, reverse=True):
        fits = (put.repository, put.tag) == (repository, tag) and (repository, put.digest) not in bad
        if fits and image_of(world, repository, imageDigest=put.digest) is not None:
            return EcrTag(repository=repository, tag=tag, bad=now, good=put.digest)
    search.unknown.append(f"{repository}:{tag} had no good image that is still there and that CloudTrail knows")
    return None


def _said(images: tuple[EcrImage, ...], tags: list[EcrTag], search: _Search) -> str:
    if not images:
        said = "No image is there that a run does not explain"
    else:
        said = f"Nobody of the house pushed {', '.join(map(str, images))}"
        said += f"; it took the tags {', '.join(f'{t.repository}:{t.tag}' for t in tags)}" if tags else ""
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
