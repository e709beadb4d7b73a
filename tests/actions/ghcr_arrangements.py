"""Arrangements for ghcr.io: a released image, and another one that took its tag."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bot.model import TagMove
from bot.range.company import FERRY
from bot.range.images import Layer, built, push_to_ghcr
from tests.actions.arrangements import Arrangement
from tests.actions.conftest import Drill

LATEST, NUMBER = "latest", "2.4.0"
BUILT = datetime(2026, 1, 1, tzinfo=UTC)


def push(drill: Drill, what: str, *tags: str) -> str:
    """Push an image that holds this under these tags, with a token of the company's; returns its digest."""
    labels = {"org.opencontainers.image.source": f"https://github.com/{FERRY}"}
    blobs, manifest = built(
        [Layer(made_by="COPY . /", files={"app/ferry": what.encode()})], created=BUILT, labels=labels
    )
    token = drill.range.company.cast["github"]["bulkhead-bot"]
    return [push_to_ghcr(drill.range.registry_url, token, FERRY, tag, blobs, manifest) for tag in tags][-1]


def moved(drill: Drill) -> TagMove:
    """2.4.0 is released and is ``latest``; then somebody pushes another image as ``latest``."""
    good = push(drill, "good", NUMBER, LATEST)
    return TagMove(package=FERRY, tag=LATEST, bad=push(drill, "bad", LATEST), good=good)


def _again(drill: Drill, _inputs: Any, _out: Any) -> None:
    push(drill, "bad", LATEST)


def _third(drill: Drill, _inputs: Any, _out: Any) -> None:
    push(drill, "a hotfix of jonas'", LATEST)


GHCR: tuple[Arrangement, ...] = (
    Arrangement(action="github.move_image_tag_back", seed=moved, take_away=_again, meddle=_third),
)  # fmt: skip
