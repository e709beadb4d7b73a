"""Arrangements for Amazon ECR: an image that nobody released, under a tag that is deployed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from bot.actions.aws_iam import iso
from bot.actions.aws_image_find import FindImagesIn
from bot.model import EcrImage, EcrTag
from bot.range.aws_ecr import LAYERS_STAY
from bot.range.company import FERRY
from bot.range.images import Layer, built, push_to_ecr
from tests.actions.arrangements import Arrangement
from tests.actions.conftest import Drill

NAME, LIVE = "ferry", "live"
BUILT = datetime(2026, 1, 1, tzinfo=UTC)


def ecr(drill: Drill) -> Any:
    """ECR as the bot."""
    return drill.world.aws.client("ecr")


def push(drill: Drill, what: str, tag: str, *, client: Any = None) -> str:
    """Push an image that holds this, as the leaked key unless somebody else is named; returns its digest."""
    blobs, manifest = built([Layer(made_by="COPY . /", files={"app/ferry": what.encode()})], created=BUILT)
    return push_to_ecr(client or drill.as_leaked("ecr"), NAME, tag, blobs, manifest)


def opened(drill: Drill, **more: Any) -> None:
    """The repository, and what the key of its jobs may do there."""
    ecr(drill).create_repository(repositoryName=NAME, **more)
    drill.range.aws.account.allow("ferry-ci", "images", "ecr:*")


def replaced(drill: Drill, *, immutable: bool = False) -> EcrTag:
    """``live`` and ``2.4.0`` were good; then somebody with the key pushed another image as ``live``."""
    opened(drill)
    good = push(drill, "good", LIVE)
    push(drill, "good", "2.4.0")
    drill.range.clock.advance(60)
    bad = push(drill, "bad", LIVE)
    if immutable:
        ecr(drill).put_image_tag_mutability(repositoryName=NAME, imageTagMutability="IMMUTABLE")
    return EcrTag(repository=NAME, tag=LIVE, bad=bad, good=good)


def point(drill: Drill, digest: str) -> None:
    """Somebody lets the tag name this image, whatever it named."""
    repository = drill.range.aws.ecr.repository("us-east-1", NAME)
    for image in repository.images:
        image.image_tags = [tag for tag in image.image_tags if tag != LIVE]
        if image.image_digest == digest:
            image.image_tags.append(LIVE)


def _third(drill: Drill, _inputs: Any, _out: Any) -> None:
    ecr(drill).put_image_tag_mutability(repositoryName=NAME, imageTagMutability="MUTABLE")
    push(drill, "a hotfix of jonas'", LIVE)


def bad_image(drill: Drill) -> EcrImage:
    """The tag is back where it was; the bad image has one of its own."""
    tag = replaced(drill)
    point(drill, tag.good)
    push(drill, "bad", "2.4.1")
    return EcrImage(repository=NAME, digest=push(drill, "bad", "2.4.1"))


def _put_again(drill: Drill, _inputs: Any, _out: Any) -> None:
    push(drill, "bad", "2.4.1")


def _an_hour(drill: Drill, _inputs: Any, _out: Any) -> None:
    drill.range.clock.advance(LAYERS_STAY.total_seconds() + 1)


def window(drill: Drill) -> FindImagesIn:
    """The key leaks, and somebody pushes with it."""
    opened(drill)
    push(drill, "good", LIVE)
    drill.range.clock.advance(3600)
    since = iso(drill.world.now() - timedelta(minutes=1))
    push(drill, "bad", LIVE)
    return FindImagesIn(key=drill.leaked, repository=FERRY, since=since)


IMAGES: tuple[Arrangement, ...] = (
    Arrangement(
        action="aws.find_unexplained_images", seed=window, take_away=lambda d, i, o: push(d, "more", "2.4.2") and None
    ),
    *(
        Arrangement(
            action="aws.move_image_tag_back", variant="immutable" if immutable else "", meddle=_third,
            seed=lambda d, immutable=immutable: replaced(d, immutable=immutable),
            take_away=lambda d, i, o: point(d, i.bad),
        )
        for immutable in (False, True)
    ),
    Arrangement(action="aws.delete_image", seed=bad_image, take_away=_put_again, meddle=_an_hour),
)  # fmt: skip
