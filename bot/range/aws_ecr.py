"""ECR of the range: moto's repositories, and everything about images done here, where moto is wrong.

Tried with moto 5.2.5: a digest is made of the layers' names and not of the manifest; a manifest may name layers that
nobody has uploaded; a tag that moves takes the image that had it along, where ECR leaves that untagged; an immutable
tag is refused under another error's name; BatchDeleteImage by tag and digest deletes the whole image; images are dated
by the machine's clock; layers cannot be downloaded, and outlive their images; lifecycle policies expire nothing.

Source: the API Reference of Amazon ECR (2015-09-21) and its User Guide, "Image tag mutability", "Lifecycle policies".
How long the layers of a deleted image stay ECR tells nobody; here it is an hour.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

import moto.ecr.models as ecr_models
from moto.ecr.models import Image, Repository

from bot.range.aws_sts import ACCOUNT
from bot.range.aws_wire import AwsError, Call, Reply
from bot.range.clock import RangeClock

LAYERS = "/range-ecr-layers/"  # where a layer's bytes are had; at AWS it is a signed address of S3
LAYERS_STAY = timedelta(hours=1)
LINK_S = 3600.0


class Ecr:
    """The images of account 123456789012, in every region that is asked."""

    def __init__(self, clock: RangeClock) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """No repository."""
        for region in list(ecr_models.ecr_backends[ACCOUNT]):
            ecr_models.ecr_backends[ACCOUNT][region].reset()
        self._blobs: dict[str, bytes] = {}
        self._orphans: dict[tuple[str, str, str], float] = {}  # (region, repository, layer) -> since when
        self._links: dict[str, tuple[str, float]] = {}  # of downloads: what, and until when

    def snapshot(self) -> dict[str, Any]:
        """Repository -> tags and digests, for comparing end states."""
        self._pass_time()
        return {
            repository.name: {
                "tags": {tag: image.image_digest for image in repository.images for tag in sorted(image.image_tags)},
                "digests": sorted(image.image_digest for image in repository.images),
            }
            for region in sorted(ecr_models.ecr_backends[ACCOUNT])
            for repository in ecr_models.ecr_backends[ACCOUNT][region].repositories.values()
        }  # fmt: skip

    def answer(self, call: Call) -> dict[str, Any] | None:
        """The answer to what is done here; None for what moto may answer. Raises AwsError."""
        self._pass_time()
        done: dict[str, Callable[[Call], dict[str, Any]]] = {
            "PutImage": self._put, "BatchDeleteImage": self._delete, "BatchGetImage": self._get,
            "GetDownloadUrlForLayer": self._link, "CompleteLayerUpload": self._complete,
        }  # fmt: skip
        return done[call.operation](call) if call.operation in done else None

    def layer(self, call: Call) -> Reply:
        """What a download's address leads to; it needs no signature, and is good for an hour."""
        digest, until = self._links.get(call.raw_path.removeprefix(LAYERS), ("", 0.0))
        if not digest or self._clock.time() > until or digest not in self._blobs:
            return Reply(403, [("Content-Type", "application/xml")], b"<Error><Code>AccessDenied</Code></Error>")
        return Reply(200, [("Content-Type", "application/octet-stream")], self._blobs[digest])

    # images ---------------------------------------------------------------------------------------------------------

    def _put(self, call: Call) -> dict[str, Any]:
        repository, text, tag = self._repository(call), str(call.params["imageManifest"]), call.params.get("imageTag")
        digest = digest_of(text)
        if call.params.get("imageDigest", digest) != digest:
            raise AwsError("ImageDigestDoesNotMatchException", "The digest does not match the manifest", 400)
        manifest = _manifest(text)
        kind = str(call.params.get("imageManifestMediaType") or manifest.get("mediaType") or "")
        if not kind:
            raise AwsError("InvalidParameterException", "image manifest mediatype not provided", 400)
        if missing := sorted(_layers(text) - set(repository.layers)):
            raise AwsError("LayersNotFoundException", f"Layers with digests '{', '.join(missing)}' not found", 400)
        known = _image(repository, digest)
        for child in manifest.get("manifests") or ():
            if _image(repository, child["digest"]) is None:
                raise AwsError("ReferencedImagesNotFoundException", f"{child['digest']} is not found", 400)
        if known is not None and (tag is None or tag in known.image_tags):
            raise AwsError("ImageAlreadyExistsException", f"Image with digest '{digest}' already exists", 400)
        holder = next((image for image in repository.images if tag and tag in image.image_tags), None)
        if holder is not None:
            if not _may_move(repository, str(tag)):
                said = f"The image tag '{tag}' already exists in '{repository.name}' and is immutable."
                raise AwsError("ImageTagAlreadyExistsException", said, 400)
            _take(holder, str(tag))
        if known is None:
            known = Image(ACCOUNT, "", text, repository.name, kind, digest)
            known.image_tags, known.image_tag = [], None  # type: ignore[assignment]  # moto keeps None for no tag
            known.image_pushed_at = int(self._clock.time())
            repository.images.append(known)
        if tag:
            known.update_tag(str(tag))
        for layer in _layers(text):
            self._orphans.pop((call.region, repository.name, layer), None)
        return {"image": _told(repository, known, tag)}

    def _get(self, call: Call) -> dict[str, Any]:
        repository = self._repository(call)
        images, failures = [], []
        for wanted in call.params.get("imageIds") or ():
            found = _wanted(repository, wanted)
            if found is None:
                failures.append(_failed(wanted, "ImageNotFound", "Requested image not found"))
            else:
                images.append(_told(repository, found, wanted.get("imageTag")))
        return {"images": images, "failures": failures}

    def _delete(self, call: Call) -> dict[str, Any]:
        """By a tag: it is taken off, and with its last tag the image goes. By a digest: the image goes, tags too."""
        repository = self._repository(call)
        done, failures = [], []
        for wanted in call.params.get("imageIds") or ():
            found, tag = _wanted(repository, wanted), wanted.get("imageTag")
            if found is None:
                failures.append(_failed(wanted, "ImageNotFound", "Requested image not found"))
                continue
            whole = not tag or found.image_tags == [tag]
            if whole and (holder := _refers(repository, found.image_digest)):
                said = f"Requested image referenced by manifest list: [{holder}]"
                failures.append(_failed(wanted, "ImageReferencedByManifestList", said))
                continue
            tags = [tag] if tag else found.image_tags or [""]
            done += [{"imageDigest": found.image_digest} | ({"imageTag": each} if each else {}) for each in tags]
            if tag:
                _take(found, tag)
            if whole:
                self._remove(call.region, repository, found)
        return {"imageIds": done, "failures": failures}

    def _remove(self, region: str, repository: Repository, image: Image) -> None:
        repository.images.remove(image)
        kept = {layer for each in repository.images for layer in _layers(each.image_manifest)}
        for layer in _layers(image.image_manifest) - kept:
            self._orphans[region, repository.name, layer] = self._clock.time()

    # layers ---------------------------------------------------------------------------------------------------------

    def _complete(self, call: Call) -> dict[str, Any]:
        repository = self._repository(call)
        upload = repository.uploads.get(str(call.params["uploadId"]))
        data = bytes(upload.layer_parts) if upload else b""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if upload is not None and call.params["layerDigests"] != [digest]:
            raise AwsError("InvalidLayerException", "The layer digest does not match", 400)
        if upload is not None and digest in repository.layers:
            raise AwsError("LayerAlreadyExistsException", f"Layer with digest '{digest}' already exists", 400)
        backend = ecr_models.ecr_backends[ACCOUNT][call.region]
        answer = backend.complete_layer_upload(repository.name, str(call.params["uploadId"]), [digest])
        self._blobs[digest] = data
        return answer

    def _link(self, call: Call) -> dict[str, Any]:
        repository, digest = self._repository(call), str(call.params["layerDigest"])
        if digest not in repository.layers:
            raise AwsError("LayersNotFoundException", f"Layer '{digest}' is not found", 400)
        name = secrets.token_hex(16)
        self._links[name] = (digest, self._clock.time() + LINK_S)
        return {"downloadUrl": f"http://{call.headers['host']}{LAYERS}{name}", "layerDigest": digest}

    # time -----------------------------------------------------------------------------------------------------------

    def _pass_time(self) -> None:
        """What has expired by now is gone."""
        now = self._clock.time()
        for region in list(ecr_models.ecr_backends[ACCOUNT]):
            for repository in ecr_models.ecr_backends[ACCOUNT][region].repositories.values():
                for image in list(_expired(repository, now)):
                    self._remove(region, repository, image)
        for (region, name, layer), since in list(self._orphans.items()):
            if now - since >= LAYERS_STAY.total_seconds():
                del self._orphans[region, name, layer]
                there = self.repository(region, name)
                if there is not None:
                    there.layers.pop(layer, None)

    def repository(self, region: str, name: str) -> Repository | None:
        """A repository with its images."""
        return ecr_models.ecr_backends[ACCOUNT][region].repositories.get(name)

    def _repository(self, call: Call) -> Repository:
        name = str(call.params.get("repositoryName", ""))
        found = self.repository(call.region, name)
        if found is None:
            said = f"The repository with name '{name}' does not exist in the registry with id '{ACCOUNT}'"
            raise AwsError("RepositoryNotFoundException", said, 400)
        return found


def digest_of(manifest: str) -> str:
    return f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"


def _manifest(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise AwsError("InvalidParameterException", "Invalid parameter at 'ImageManifest'", 400)
    return found


def _layers(text: str) -> set[str]:
    """The blobs that a manifest names: its layers and its config. An index names none."""
    manifest = _manifest(text)
    named = [*(manifest.get("layers") or ()), *([manifest["config"]] if "config" in manifest else [])]
    return {str(each["digest"]) for each in named}


def _image(repository: Repository, digest: str) -> Image | None:
    return next((image for image in repository.images if image.image_digest == digest), None)


def _wanted(repository: Repository, wanted: dict[str, str]) -> Image | None:
    digest, tag = wanted.get("imageDigest"), wanted.get("imageTag")
    return next((
        image for image in repository.images
        if (digest or tag) and digest in (None, image.image_digest) and (tag is None or tag in image.image_tags)
    ), None)  # fmt: skip


def _refers(repository: Repository, digest: str) -> str:
    """The digest of an index that names this image, or ''."""
    for image in repository.images:
        if any(each["digest"] == digest for each in _manifest(image.image_manifest).get("manifests") or ()):
            return str(image.image_digest)
    return ""


def _may_move(repository: Repository, tag: str) -> bool:
    """Whether a tag may be pushed again: the repository's rule, and the exclusions that turn it around."""
    kind, _, excluded = ecr_models.RepoTagMutability(repository.image_tag_mutability).value.partition("_WITH_")
    filters = repository.image_tag_mutability_exclusion_filters or ()
    other = bool(excluded) and any(fnmatchcase(tag, each["filter"]) for each in filters)
    return (kind == "MUTABLE") != other


def _take(image: Image, tag: str) -> None:
    image.image_tags.remove(tag)
    image.image_tag = image.image_tags[-1] if image.image_tags else None  # type: ignore[assignment]


def _told(repository: Repository, image: Image, tag: str | None) -> dict[str, Any]:
    return {
        "registryId": ACCOUNT, "repositoryName": repository.name, "imageManifest": image.image_manifest,
        "imageManifestMediaType": image.image_manifest_media_type,
        "imageId": {"imageDigest": image.image_digest} | ({"imageTag": tag} if tag else {}),
    }  # fmt: skip


def _failed(wanted: dict[str, str], code: str, why: str) -> dict[str, Any]:
    return {"imageId": dict(wanted), "failureCode": code, "failureReason": why}


def _expired(repository: Repository, now: float) -> Iterator[Image]:
    """What the rules by age of its lifecycle policy take; rules by count and by tag are not played here."""
    for rule in json.loads(repository.lifecycle_policy or "{}").get("rules", ()):
        chosen = rule["selection"]
        if chosen["countType"] != "sinceImagePushed" or chosen["tagStatus"] not in ("untagged", "any"):
            continue
        for image in repository.images:
            old = now - image.image_pushed_at > chosen["countNumber"] * 86400
            if old and (chosen["tagStatus"] == "any" or not image.image_tags):
                yield image
