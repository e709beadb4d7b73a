"""Images in Amazon ECR: point a tag back to the last good digest, and delete a bad image.

Source: API Reference of Amazon ECR (PutImage, BatchDeleteImage, BatchCheckLayerAvailability) and its User Guide, "Image
tag mutability". A tag that is pushed elsewhere leaves its image untagged. A tag that is taken off by BatchDeleteImage
takes the image along when it was its last one; in a repository of immutable tags that is the only way to move one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from fnmatch import fnmatchcase
from typing import Any

from bot.action import Action
from bot.clients import aws_errors
from bot.errors import BulkheadError, Conflict, NotFound, Rejected
from bot.model import Before, Breaks, EcrImage, EcrTag, Effect, EvidenceRef, Grade, Outcome, Proof, material
from bot.world import World

MOST_CONFIG = 4 * 1024 * 1024  # bytes; a config is some kilobytes
_LOOK = ("ecr:DescribeRepositories", "ecr:DescribeImages", "ecr:BatchGetImage", "ecr:GetLifecyclePolicy")
_SAVE = ("ecr:DescribeImageScanFindings", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability")


Place = EcrImage | EcrTag  # what it is about has a repository and a region


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptManifest:
    """A manifest, byte for byte: all that has to be put again for an image whose layers are still there."""

    digest: str
    kind: str  # its media type
    text: str


def ecr(world: World, place: Place, operation: str, what: str, **asked: Any) -> dict[str, Any]:
    """One call, about the repository of an image or a tag. Raises bot.errors."""
    with aws_errors(what):
        called = getattr(world.aws.client("ecr", place.region), operation)
        answer: dict[str, Any] = called(repositoryName=place.repository, **asked)
    return answer


def image_of(world: World, place: Place, **wanted: str) -> dict[str, Any] | None:
    """What ECR tells of an image, by ``imageTag`` or ``imageDigest``; None when it has none such."""
    try:
        answer = ecr(world, place, "describe_images", f"look at {place.repository}", imageIds=[wanted])
    except NotFound:
        return None
    return next(iter(answer["imageDetails"]), None)


def digest_of(world: World, place: Place, tag: str) -> str:
    """The digest that a tag names now, or ''."""
    found = image_of(world, place, imageTag=tag)
    return str(found["imageDigest"]) if found else ""


def manifests(world: World, place: Place, digests: Iterable[str]) -> tuple[KeptManifest, ...]:
    """The manifests of these digests, and before each index those that it names. What is not there is left out."""
    found: dict[str, KeptManifest] = {}
    for digest in digests:
        answer = ecr(world, place, "batch_get_image", f"read {digest[:19]}", imageIds=[{"imageDigest": digest}])
        for image in answer["images"]:
            text = str(image["imageManifest"])
            kind = str(image.get("imageManifestMediaType") or json.loads(text).get("mediaType", ""))
            children = [str(each["digest"]) for each in json.loads(text).get("manifests") or ()]
            found |= {each.digest: each for each in manifests(world, place, children)}
            found[digest] = KeptManifest(digest=digest, kind=kind, text=text)
    return tuple(found.values())


def _immutable(repository: dict[str, Any], tag: str) -> bool:
    """Whether ECR refuses to push this tag again; the exclusions of a repository turn its rule around."""
    kind, _, excluded = str(repository.get("imageTagMutability", "MUTABLE")).partition("_WITH_")
    filters = [each["filter"] for each in repository.get("imageTagMutabilityExclusionFilters") or ()]
    other = bool(excluded) and any(fnmatchcase(tag, each) for each in filters)
    return (kind == "IMMUTABLE") != other


def _lifecycle(world: World, place: Place) -> str:
    """What the repository's own rules will take with them, in a sentence; '' when they take no untagged image."""
    try:
        answer = ecr(world, place, "get_lifecycle_policy", f"read the rules of {place.repository}")
    except NotFound:
        return ""
    rules = json.loads(answer["lifecyclePolicyText"])["rules"]
    takes = [rule for rule in rules if rule["selection"]["tagStatus"] in ("untagged", "any")]
    return f"a lifecycle policy of {place.repository} deletes untagged images by itself" if takes else ""


def _there(world: World, place: Place) -> dict[str, Any]:
    with aws_errors(f"look at {place.repository}"):
        answer = world.aws.client("ecr", place.region).describe_repositories(repositoryNames=[place.repository])
        return dict(answer["repositories"][0])


def _put(world: World, place: Place, kept: KeptManifest, tag: str = "") -> None:
    """Put a manifest, under a tag or none. What is there already is no error. Raises bot.errors."""
    try:
        ecr(
            world, place, "put_image", f"put {kept.digest[:19]} into {place.repository}",
            imageManifest=kept.text, imageManifestMediaType=kept.kind, imageDigest=kept.digest,
            **({"imageTag": tag} if tag else {}),
        )  # fmt: skip
    except Rejected as exc:
        if exc.code != "ImageAlreadyExistsException":
            raise


def _delete(world: World, place: Place, wanted: dict[str, str]) -> None:
    """Delete by tag or digest. The answer is 200 whatever came of it, so its failures are read. Raises bot.errors."""
    what = f"take an image out of {place.repository}"
    answer = ecr(world, place, "batch_delete_image", what, imageIds=[wanted])
    for failure in answer.get("failures") or ():
        if failure["failureCode"] != "ImageNotFound":
            said = f"ECR refused to {what}: {failure['failureReason']}"
            raise Rejected(said, provider="aws", code=failure["failureCode"])


def save(world: World, place: Place, digest: str) -> tuple[EvidenceRef, ...]:
    """Manifests, configs, scan findings, tags and digests. The layers stay with ECR: they can be gigabytes."""
    region = f"{place.region}/" if place.region else ""
    folder, saved = f"ecr/{region}{place.repository}@{digest[7:19]}", []
    record: dict[str, Any] = {"image": image_of(world, place, imageDigest=digest)}
    for kept in manifests(world, place, [digest]):
        data = kept.text.encode()
        record[kept.digest] = {
            "as_named": f"sha256:{hashlib.sha256(data).hexdigest()}" == kept.digest,
            "layers": _layers(world, place, kept), "scan": _findings(world, place, kept.digest),
        }  # fmt: skip
        saved.append(_keep(world, f"{folder}/manifest-{kept.digest[7:19]}.json", kept.text))
        if config := json.loads(kept.text).get("config"):
            text = _config(world, place, config)
            saved.append(_keep(world, f"{folder}/config-{kept.digest[7:19]}.json", text))
    record["lifecycle"] = _lifecycle(world, place)
    text = json.dumps(record, indent=1, sort_keys=True, default=str)
    return (*saved, _keep(world, f"{folder}/record.json", text)) if record["image"] else ()


def _keep(world: World, name: str, text: str) -> EvidenceRef:
    return world.evidence.save(name, world.scrub(text).encode(), hashlib.sha256(text.encode()).hexdigest())


def _config(world: World, place: Place, config: dict[str, Any]) -> str:
    """The config as ECR gives it; why not, where it does not: the rest of the evidence must not wait for it."""
    if int(config.get("size", 0)) > MOST_CONFIG:
        return f"not saved: it has {config['size']} bytes"
    try:
        link = ecr(
            world, place, "get_download_url_for_layer", "read a config",
            layerDigest=config["digest"],
        )  # fmt: skip
        return world.aws.download(str(link["downloadUrl"])).decode(errors="replace")
    except BulkheadError as exc:
        return f"not saved: {exc}"


def _findings(world: World, place: Place, digest: str) -> Any:
    """What ECR's own scan found, where it scans. That it does not is no gap of the evidence."""
    try:
        answer = ecr(
            world, place, "describe_image_scan_findings", "read what the scan found",
            imageId={"imageDigest": digest},
        )  # fmt: skip
    except NotFound:
        return "it was not scanned"
    return {name: answer.get(name) for name in ("imageScanStatus", "imageScanFindings")}


def _layers(world: World, place: Place, kept: KeptManifest) -> list[dict[str, Any]]:
    """Every blob that a manifest names, and whether ECR still has it."""
    manifest = json.loads(kept.text)
    named = [*(manifest.get("layers") or ()), *([manifest["config"]] if "config" in manifest else [])]
    if not named:
        return []
    asked = sorted({str(each["digest"]) for each in named})
    answer = ecr(
        world, place, "batch_check_layer_availability", f"look for the layers of {kept.digest[:19]}",
        layerDigests=asked,
    )  # fmt: skip
    there = {row["layerDigest"] for row in answer["layers"] if row["layerAvailability"] == "AVAILABLE"}
    return [{"digest": digest, "there": digest in there} for digest in asked]


# Point a tag back


@dataclass(frozen=True, slots=True, kw_only=True)
class TagBefore(Before):
    """``now`` is the digest that the tag names. ``immutable``: ECR refuses to push it again; it is taken off first."""

    now: str = material(default="")
    good: bool = material(default=True)  # the good image is still there
    immutable: bool = material(default=False)
    lifecycle: str = ""


def _look_tag(world: World, given: EcrTag) -> TagBefore:
    now, good = digest_of(world, given, given.tag), image_of(world, given, imageDigest=given.good)
    name = str(given)
    if now != given.bad:
        return TagBefore(needed=False, now=now, good=good is not None, summary=f"{name} is {now[:19] or 'gone'}")
    if good is None:
        said = f"{name} is the bad {now[:19]}, and ECR has no {given.good[:19]} any more"
        return TagBefore(needed=False, now=now, good=False, summary=said)
    immutable, rules = _immutable(_there(world, given), given.tag), _lifecycle(world, given)
    how = "; its tags are immutable, so it is taken off and put again" if immutable else ""
    said = f"{name} is {now[:19]} and goes back to {given.good[:19]}{how}" + (f"; {rules}" if rules else "")
    return TagBefore(now=now, immutable=immutable, lifecycle=rules, summary=said)


def _save_tag(world: World, given: EcrTag, before: TagBefore) -> tuple[EvidenceRef, ...]:
    """Untagged, the bad image may be gone before anybody comes back to it."""
    return save(world, given, before.now)


def _move(world: World, given: EcrTag, before: TagBefore) -> Outcome:
    name, now = str(given), digest_of(world, given, given.tag)
    if not before.needed or now == given.good:
        return Outcome(changed=False, summary=f"{name} is {now[:19] or 'gone'}")
    if now not in ("", before.now):
        raise Conflict(f"{name} was pointed elsewhere meanwhile", {name: (before.now, now)})
    _point(world, given, given.tag, now, given.good, immutable=before.immutable)
    return Outcome(changed=True, summary=f"{name} is {given.good[:19]} again")


def _point(world: World, place: Place, tag: str, now: str, wanted: str, *, immutable: bool) -> None:
    """Let a tag name another image that is there; the one that it names now stays. Twice is once. Raises bot.errors."""
    kept = next((each for each in manifests(world, place, [wanted]) if each.digest == wanted), None)
    if kept is None:
        raise Conflict(f"ECR has no {wanted[:19]} in {place.repository} any more", {"image": (wanted, "")})
    if immutable and now:
        found = image_of(world, place, imageDigest=now)
        if found is not None and found.get("imageTags") == [tag]:  # else the image would go with its last tag
            _put(world, place, manifests(world, place, [now])[-1], spare(now))
        _delete(world, place, {"imageTag": tag})
    _put(world, place, kept, tag)
    if spare(wanted) in (image_of(world, place, imageDigest=wanted) or {}).get("imageTags", ()):
        _delete(world, place, {"imageTag": spare(wanted)})


def spare(digest: str) -> str:
    """The tag that keeps an image while its own one is moved away."""
    return f"bulkhead-kept-{digest[7:19]}"


def _prove_tag(world: World, given: EcrTag, _before: TagBefore, _outcome: Outcome) -> Proof:
    name, now = str(given), digest_of(world, given, given.tag)
    if now != given.good:
        return Proof.refuted(f"{name} is {now[:19] or 'gone'}, not {given.good[:19]}")
    return Proof.proven(Grade.STATE, f"ECR shows {name} as {now[:19]}")


def _undo_tag(world: World, given: EcrTag, before: TagBefore, _outcome: Outcome) -> Outcome:
    name, now = str(given), digest_of(world, given, given.tag)
    if now == before.now:
        return Outcome(changed=False, summary=f"{name} is as it was")
    if now not in ("", given.good):
        raise Conflict(f"{name} was pointed elsewhere since", {name: (given.good, now)})
    _point(world, given, given.tag, now, before.now, immutable=before.immutable)
    return Outcome(changed=True, summary=f"{name} is {before.now[:19]} as before")


def _breaks_tag(before: TagBefore) -> Breaks:
    said = f"whoever asks for the tag gets another image than {before.now[:19]}"
    return Breaks(stops=(said,), unknown=True) if before.needed else Breaks()


move_image_tag_back = Action(
    name="aws.move_image_tag_back", title="Move a tag of ECR back to its last good image", inputs=EcrTag,
    before=TagBefore, outcome=Outcome, effect=Effect.CONTAIN, look=_look_tag, run=_move, prove=_prove_tag,
    breaks=_breaks_tag, evidence=_save_tag, undo=_undo_tag,
    permissions=(*_LOOK, *_SAVE, "ecr:PutImage", "ecr:BatchDeleteImage"),
)  # fmt: skip


# Delete an image


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBefore(Before):
    """``kept`` is what an undo puts back, in this order; the layers it cannot put back."""

    exists: bool = material(default=True)
    tags: tuple[str, ...] = material(default=())
    kept: tuple[KeptManifest, ...] = ()


def _look_image(world: World, given: EcrImage) -> ImageBefore:
    found = image_of(world, given, imageDigest=given.digest)
    if found is None:
        return ImageBefore(needed=False, exists=False, summary=f"ECR has no {given}")
    tags = tuple(sorted(found.get("imageTags") or ()))
    tagged = f"tagged {', '.join(tags)}" if tags else "untagged"
    said = f"{given}, pushed {found['imagePushedAt'].astimezone(UTC):%Y-%m-%d %H:%M} UTC, {tagged}"
    return ImageBefore(tags=tags, kept=manifests(world, given, [given.digest]), summary=said)


def _save_image(world: World, given: EcrImage, _before: ImageBefore) -> tuple[EvidenceRef, ...]:
    return save(world, given, given.digest)


def _delete_image(world: World, given: EcrImage, before: ImageBefore) -> Outcome:
    """An index first, or ECR would not let go of the images that it names."""
    gone = []
    for kept in reversed(before.kept):
        if image_of(world, given, imageDigest=kept.digest) is not None:
            _delete(world, given, {"imageDigest": kept.digest})
            gone.append(kept.digest[:19])
    said = f"Deleted {', '.join(gone)} from {given.repository}" if gone else f"{given} is gone"
    return Outcome(changed=bool(gone), summary=said)


def _prove_image(world: World, given: EcrImage, before: ImageBefore, _outcome: Outcome) -> Proof:
    digests = [kept.digest for kept in before.kept] or [given.digest]
    left = [d[:19] for d in digests if image_of(world, given, imageDigest=d) is not None]
    if left:
        return Proof.refuted(f"ECR still has {', '.join(left)} in {given.repository}")
    return Proof.proven(Grade.STATE, f"ECR has no {given} any more: nobody can pull it")


def _undo_image(world: World, given: EcrImage, before: ImageBefore, _outcome: Outcome) -> Outcome:
    """Put the kept manifests, while their layers are there: ECR takes these away some time after their image."""
    if not before.exists or image_of(world, given, imageDigest=given.digest) is not None:
        return Outcome(changed=False, summary=f"{given} is as it was")
    layers = [row for kept in before.kept for row in _layers(world, given, kept)]
    if gone := [row["digest"][:19] for row in layers if not row["there"]]:
        raise Conflict(f"ECR has removed layers of {given}", {"layers": ("there", f"{', '.join(gone)} gone")})
    taken = {tag: now for tag in before.tags if (now := digest_of(world, given, tag))}
    if taken:
        raise Conflict(f"tags of {given} name other images now", {t: (given.digest, now) for t, now in taken.items()})
    for kept in before.kept:
        for tag in (before.tags if kept.digest == given.digest else ()) or ("",):
            _put(world, given, kept, tag)
    return Outcome(changed=True, summary=f"{given} is there again")


def _breaks_image(before: ImageBefore) -> Breaks:
    if not before.needed:
        return Breaks()
    tags = (f"pulls of the tags {', '.join(before.tags)} fail until they are pushed again",) if before.tags else ()
    return Breaks(stops=(*tags, "whoever pulls this digest fails; what runs with it goes on running"), unknown=True)


delete_image = Action(
    name="aws.delete_image", title="Delete an image from ECR", inputs=EcrImage, before=ImageBefore, outcome=Outcome,
    effect=Effect.DESTROY, look=_look_image, run=_delete_image, prove=_prove_image, breaks=_breaks_image,
    evidence=_save_image, undo=_undo_image,
    permissions=(*_LOOK, *_SAVE, "ecr:BatchDeleteImage", "ecr:PutImage"),
)  # fmt: skip
