"""Arrangements for AWS CodeArtifact: a version that nobody released, and one that is disposed of."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from bot.actions.aws_iam import iso
from bot.actions.aws_package_find import FindPackagesIn
from bot.actions.aws_packages import YankIn
from bot.model import ArtifactVersion
from bot.range.aws_sts import ACCOUNT
from bot.range.company import FERRY
from tests.actions.arrangements import Arrangement
from tests.actions.conftest import USER, Drill

HOME, NORTH = "us-east-1", "eu-north-1"
DOMAIN, SHELF, NAMESPACE, NAME = "harbor-lights", "shared", "ferry", "ferry-timetable"
GOOD, BAD = "2026.10.1", "2026.11.1"
WHERE: dict[str, Any] = {
    "domain": DOMAIN, "repository": SHELF, "format": "generic", "namespace": NAMESPACE, "package": NAME,
}  # fmt: skip


def shelf(drill: Drill, region: str = "") -> Any:
    """CodeArtifact as the bot."""
    return drill.world.aws.client("codeartifact", region)


def opened(drill: Drill, region: str = "") -> None:
    """The domain and its repository, and what the key of the jobs may do there."""
    shelf(drill, region).create_domain(domain=DOMAIN)
    shelf(drill, region).create_repository(domain=DOMAIN, repository=SHELF)
    drill.range.aws.account.allow(USER, "packages", "codeartifact:*")


def publish(drill: Drill, version: str, data: bytes = b"x", *, client: Any = None, file: str = "table.txt") -> None:
    """Publish a version, as the leaked key unless somebody else is named."""
    (client or drill.as_leaked("codeartifact")).publish_package_version(
        **WHERE, packageVersion=version, assetName=file, assetContent=data,
        assetSHA256=hashlib.sha256(data).hexdigest(),
    )  # fmt: skip


def one(version: str, region: str = "") -> ArtifactVersion:
    return ArtifactVersion(
        domain=DOMAIN, owner=ACCOUNT, repository=SHELF, format="generic", namespace=NAMESPACE, package=NAME,
        version=version, region=region,
    )  # fmt: skip


def set_status(drill: Drill, status: str, version: str = BAD) -> None:
    """Somebody who may do more than we sets the status."""
    drill.range.aws.packages.put_status(HOME, DOMAIN, SHELF, ("generic", NAMESPACE, NAME), version, status)


def published(drill: Drill) -> ArtifactVersion:
    """A good version, and a bad one since a minute ago."""
    opened(drill)
    publish(drill, GOOD)
    drill.range.clock.advance(60)
    publish(drill, BAD, b"a backdoor")
    return one(BAD)


def window(drill: Drill) -> FindPackagesIn:
    """The key leaks, and somebody publishes with it."""
    opened(drill)
    publish(drill, GOOD)
    drill.range.clock.advance(3600)
    since = iso(drill.world.now() - timedelta(minutes=1))
    publish(drill, BAD, b"a backdoor")
    return FindPackagesIn(user=USER, repository=FERRY, since=since)


PACKAGES: tuple[Arrangement, ...] = (
    Arrangement(
        action="aws.find_unexplained_packages", seed=window, take_away=lambda d, i, o: publish(d, "2026.11.2")
    ),
    Arrangement(
        action="aws.yank_package_version", seed=lambda d: YankIn(version=published(d)),
        take_away=lambda d, i, o: set_status(d, "Published"), meddle=lambda d, i, o: set_status(d, "Disposed"),
    ),
    Arrangement(
        action="aws.dispose_package_version", seed=published, take_away=lambda d, i, o: set_status(d, "Published")
    ),
)  # fmt: skip
