"""Facts of registries, asked through the World: PyPI, crates.io, RubyGems.org, Docker Hub, GHCR, ECR, CodeArtifact;
and what GitHub attests of images.

Only packages that a repository makes are asked for: those that files at its root name, those that a held token tells,
the images that GitHub links to it or that its workflows name, and what is called after it in ECR and CodeArtifact.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from bot.actions.attested import attested
from bot.actions.aws_image_find import MANY, listed
from bot.actions.aws_package_find import INTERNAL
from bot.actions.aws_package_find import listed as packages_listed
from bot.actions.aws_packages import codeartifact
from bot.actions.github import repository_path
from bot.actions.signal_facts import MOST_PACKAGES, MOST_PROVENANCE, Collected
from bot.errors import NotFound
from bot.model import Secret
from bot.registries import DockerHubClient
from bot.registries.dockerhub import images_in
from bot.signals import collect
from bot.signals.facts import Fact, Origin, Version, of_kind
from bot.world import Registry, World

IMAGES = frozenset({"ghcr", "ecr", "dockerhub"})
MOST_VERSIONS = 200  # of a package in CodeArtifact: each is asked for by itself


def of_registries(
    world: World, repository: str, found: Collected, only: str = "", secret: Secret | None = None
) -> None:  # fmt: skip
    """The versions of every package of the repository beside npm; ``only``: at this registry, by its token too."""
    for name, asked in sorted(world.registries.items()):
        if only in ("", name):
            found.take(f"packages at {asked.label}", lambda a=asked: _versions(world, a, repository, found, secret))  # type: ignore[misc]


def _versions(
    world: World, asked: Registry, repository: str, found: Collected, secret: Secret | None
) -> Iterator[Fact]:  # fmt: skip
    named = _in_workflows(world, repository) if isinstance(asked, DockerHubClient) else ()
    names = [*_manifests(world, asked, repository), *named, *(asked.packages_of(secret) if secret is not None else ())]
    for package in found.most(dict.fromkeys(names), MOST_PACKAGES, f"packages at {asked.label}"):
        try:
            for where, document in asked.documents(package):
                yield from collect.told(document, Origin("", where), package)
        except NotFound:
            continue  # made here, and published nowhere


def _manifests(world: World, asked: Registry, repository: str) -> Iterator[str]:
    """The packages that files at the repository's root name."""
    base = repository_path(repository)
    try:
        rows = world.github.get(f"{base}/contents/")
    except NotFound:
        return  # an empty repository
    for row in rows:
        if row["type"] == "file" and asked.names_a_package(row["path"]):
            file = world.github.get(f"{base}/contents/{quote(row['path'])}")
            if name := asked.named_in(row["path"], base64.b64decode(file["content"]).decode(errors="replace")):
                yield name


def _in_workflows(world: World, repository: str) -> Iterator[str]:
    """The images of Docker Hub that the workflows of the default branch name."""
    base = f"{repository_path(repository)}/contents/.github/workflows"
    try:
        rows = world.github.get(base)
    except NotFound:
        return  # it has none
    for row in rows:
        if row["type"] == "file" and row["path"].endswith((".yml", ".yaml")):
            file = world.github.get(f"{repository_path(repository)}/contents/{quote(row['path'])}")
            yield from images_in(base64.b64decode(file["content"]).decode(errors="replace"))


def of_ghcr(world: World, repository: str, found: Collected) -> None:
    """The images at GitHub Packages that are linked to the repository. Only a classic token may list them."""
    organization = repository.partition("/")[0]
    base = f"/orgs/{quote(organization, safe='')}/packages"

    def rows() -> Iterator[Fact]:
        packages = world.github.pages(base, package_type="container")
        for package in found.most(packages, MOST_PACKAGES, f"images of {organization}"):
            if (package.get("repository") or {}).get("full_name") == repository:
                name = str(package["name"])
                versions = list(world.github.pages(f"{base}/container/{quote(name, safe='')}/versions"))
                if versions:
                    yield from collect.told(versions, Origin("", f"ghcr.io/{organization}/{name}"), name)

    found.take("images at ghcr.io", rows)


def of_ecr(world: World, repository: str, found: Collected) -> None:
    """The images in ECR repositories that are called after the repository: ferry, ferry-base, harbor-lights/ferry."""
    short = repository.rpartition("/")[2]

    def rows(region: str) -> Iterator[Fact]:
        repositories: list[dict[str, Any]] = listed(
            world, "describe_repositories", "repositories", "list the repositories of ECR", region
        )
        for row in found.most(repositories, MANY, "repositories of ECR"):
            name = str(row["repositoryName"])
            if name.rpartition("/")[2].startswith(short):
                what = f"list the images of {name}"
                images = listed(world, "describe_images", "imageDetails", what, region, repositoryName=name)
                for fact in collect.told({"imageDetails": images}, Origin("", f"ecr {region} {name}"), name):
                    assert isinstance(fact, Version)  # each region's is a history of its own
                    yield fact if region == world.aws.regions[0] else replace(fact, package=f"{region}/{name}")

    for region in world.aws.regions:
        found.take(f"images in ECR ({region})", lambda region=region: rows(region))  # type: ignore[misc]


def of_attestations(world: World, repository: str, since: datetime, found: Collected) -> None:
    """The provenance that GitHub holds of images, whichever registry they are in: of those that have a new one."""
    packages: dict[tuple[str, str], list[Version]] = {}
    for version in of_kind(found.facts, Version):
        if version.registry in IMAGES and version.digests[0].startswith("sha256:"):
            packages.setdefault((version.registry, version.package), []).append(version)
    fresh = [versions for versions in packages.values() if any(one.at >= since for one in versions)]

    def rows() -> Iterator[Fact]:
        home = str(world.github.get(repository_path(repository))["full_name"])  # it may have been renamed
        for versions in fresh:
            for version in sorted(versions, key=lambda one: one.at, reverse=True)[:MOST_PROVENANCE]:
                yield attested(world, home, version.digests[0])

    if fresh:
        found.take("attestations of images", rows)


def of_codeartifact(world: World, repository: str, found: Collected) -> None:
    """The versions in CodeArtifact of packages that are called after the repository, as they were published there."""
    short = repository.rpartition("/")[2]

    def rows(region: str) -> Iterator[Fact]:
        what = "list the repositories of CodeArtifact"
        for row in packages_listed(world, "list_repositories", "repositories", what, region):
            where = {"domain": row["domainName"], "domainOwner": row["domainOwner"], "repository": row["name"]}
            what = f"list the packages of {row['name']}"
            packages = packages_listed(
                world, "list_packages", "packages", what, region, packagePrefix=short, publish="ALLOW", **where
            )
            for package in found.most(packages, MOST_PACKAGES, f"packages of {row['name']}"):
                asked = where | {name: package[name] for name in ("format", "namespace", "package") if name in package}
                yield from versions(asked, region)

    def versions(asked: dict[str, str], region: str) -> Iterator[Fact]:
        what = f"list the versions of {asked['package']}"
        listed = packages_listed(world, "list_package_versions", "versions", what, region, originType=INTERNAL, **asked)
        for row in found.most(listed, MOST_VERSIONS, f"versions of {asked['package']}"):
            version = str(row["version"])
            answer = codeartifact(
                world, "describe_package_version", f"look at {asked['package']} {version}", region, **asked,
                packageVersion=version,
            )  # fmt: skip
            where = f"codeartifact {asked['domain']}/{asked['repository']}/{asked['package']} {version}"
            yield from collect.told({"packageVersion": answer["packageVersion"]}, Origin("", where), asked["package"])

    for region in world.aws.regions:
        found.take(f"packages in CodeArtifact ({region})", lambda region=region: rows(region))  # type: ignore[misc]
