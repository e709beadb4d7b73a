"""Packages in AWS CodeArtifact: take a version from whoever asks for it, and dispose of it.

Source: API Reference of CodeArtifact (UpdatePackageVersionsStatus, DisposePackageVersions) and its User Guide, "Package
version status". Unlisted: no list names it, and whoever asks for it by its number still gets it. Archived: nobody gets
it, and it can be published again. Disposed: its files are gone for good, its number stays taken; a version that is
deleted leaves its number free for the next thief, so nothing is deleted here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from bot.action import Action
from bot.clients import aws_errors
from bot.errors import BulkheadError, Conflict, InputError, NotFound, Rejected
from bot.model import ArtifactVersion, Before, Breaks, Effect, EvidenceRef, Grade, Outcome, Proof, material
from bot.world import World

ARCHIVED, UNLISTED, DISPOSED, UNFINISHED = "Archived", "Unlisted", "Disposed", "Unfinished"
SOFT = (UNLISTED, ARCHIVED)
MOST_ASSET = 64 * 1024 * 1024  # bytes of a file that is saved; the digest of every one is
_LOOK = ("codeartifact:DescribePackageVersion", "codeartifact:ListPackageVersionAssets")
_SAVE = ("codeartifact:GetPackageVersionAsset",)


def codeartifact(world: World, operation: str, what: str, region: str = "", **asked: Any) -> dict[str, Any]:
    """One call. Raises bot.errors."""
    with aws_errors(what):
        answer: dict[str, Any] = getattr(world.aws.client("codeartifact", region), operation)(**asked)
    return answer


def named(given: ArtifactVersion) -> dict[str, str]:
    """The package of a version, as every operation asks for it."""
    found = {"domain": given.domain, "domainOwner": given.owner, "repository": given.repository,
             "format": given.format, "package": given.package}  # fmt: skip
    return found | ({"namespace": given.namespace} if given.namespace else {})


def described(world: World, given: ArtifactVersion) -> dict[str, Any] | None:
    """What CodeArtifact tells of a version; None when it has none such."""
    try:
        answer = codeartifact(
            world, "describe_package_version", f"look at {given}", given.region, **named(given),
            packageVersion=given.version,
        )  # fmt: skip
    except NotFound:
        return None
    return dict(answer["packageVersion"])


def assets(world: World, given: ArtifactVersion) -> list[dict[str, Any]]:
    """Its files: name, size and digests. Raises bot.errors."""
    with aws_errors(f"list the files of {given}"):
        pages = world.aws.client("codeartifact", given.region).get_paginator("list_package_version_assets")
        return [
            dict(row) for page in pages.paginate(**named(given), packageVersion=given.version) for row in page["assets"]
        ]


def file_of(world: World, given: ArtifactVersion, name: str) -> bytes:
    """A file of it. Raises NotFound where nobody gets it."""
    what = f"get {name} of {given}"
    with aws_errors(what):
        answer = world.aws.client("codeartifact", given.region).get_package_version_asset(
            **named(given), packageVersion=given.version, asset=name
        )
        return bytes(answer["asset"].read())


def _status(world: World, given: ArtifactVersion) -> str:
    found = described(world, given)
    return str(found["status"]) if found else ""


def save(world: World, given: ArtifactVersion) -> tuple[EvidenceRef, ...]:
    """Its record, every file that can be had, and whether that file is the one that CodeArtifact names."""
    found = described(world, given)
    if found is None:
        return ()
    folder = f"codeartifact/{given.domain}/{given.repository}/{given.package}-{given.version}"
    saved, files = [], {}
    for row in assets(world, given):
        name, digest = str(row["name"]), (row.get("hashes") or {}).get("SHA-256", "")
        files[name] = {"size": row.get("size"), "sha256": digest, "saved": "no: it is too large"}
        if int(row.get("size") or 0) > MOST_ASSET:
            continue
        try:
            data = file_of(world, given, name)
        except BulkheadError as exc:
            files[name]["saved"] = f"no: {exc}"
            continue
        files[name]["saved"] = "as it is named" if hashlib.sha256(data).hexdigest() == digest else "not as it is named"
        saved.append(world.evidence.save(f"{folder}/{name.replace('/', '_')}", data))
    text = json.dumps({"version": found, "files": files}, indent=1, sort_keys=True, default=str)
    raw = hashlib.sha256(text.encode()).hexdigest()
    return (*saved, world.evidence.save(f"{folder}/record.json", world.scrub(text).encode(), raw))


def _change(world: World, operation: str, given: ArtifactVersion, expected: str, **asked: Any) -> None:
    """Change one version. The answer is good whatever came of it, so its failures are read. Raises bot.errors."""
    answer = codeartifact(
        world, operation, f"change {given}", given.region, **named(given), versions=[given.version],
        expectedStatus=expected, **asked,
    )  # fmt: skip
    failed = (answer.get("failedVersions") or {}).get(given.version)
    if failed is None:
        return
    said = f"CodeArtifact refused to change {given}: {failed.get('errorMessage') or failed['errorCode']}"
    if failed["errorCode"] in ("MISMATCHED_STATUS", "NOT_FOUND"):
        raise Conflict(said, {"status": (expected, _status(world, given) or "gone")})
    raise Rejected(said, provider="aws", code=str(failed["errorCode"]))


def _shown(given: ArtifactVersion, found: dict[str, Any]) -> str:
    at = found.get("publishedTime")
    when = f", published {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at else ""
    return f"{given} is {found['status']}{when}"


# Take a version from whoever asks for it


@dataclass(frozen=True, slots=True, kw_only=True)
class YankIn:
    """``status``: Archived (nobody gets it) or Unlisted (no list names it)."""

    version: ArtifactVersion
    status: str = ARCHIVED


@dataclass(frozen=True, slots=True, kw_only=True)
class YankBefore(Before):
    """``status`` is what an undo restores."""

    exists: bool = material(default=True)
    status: str = material(default="")


def _look_yank(world: World, given: YankIn) -> YankBefore:
    if given.status not in SOFT:
        raise InputError(f"{given.status!r} is no status that a version is yanked by; there are {' and '.join(SOFT)}")
    found = described(world, given.version)
    if found is None:
        return YankBefore(needed=False, exists=False, summary=f"CodeArtifact has no {given.version}")
    status, rank = str(found["status"]), (UNLISTED, ARCHIVED, DISPOSED)
    done = status in rank and rank.index(status) >= rank.index(given.status)
    return YankBefore(needed=not done, status=status, summary=_shown(given.version, found))


def _save_yank(world: World, given: YankIn, _before: YankBefore) -> tuple[EvidenceRef, ...]:
    return save(world, given.version)


def _yank(world: World, given: YankIn, before: YankBefore) -> Outcome:
    now = _status(world, given.version)
    if not before.needed or now in ("", given.status):
        return Outcome(changed=False, summary=f"{given.version} is {now or 'gone'}")
    _change(world, "update_package_versions_status", given.version, before.status, targetStatus=given.status)
    return Outcome(changed=True, summary=f"{given.version} is {given.status}")


def _prove_yank(world: World, given: YankIn, before: YankBefore, _outcome: Outcome) -> Proof:
    """By its record; of an archived one also by asking for a file."""
    now = _status(world, given.version)
    wanted = given.status if before.needed else before.status
    if now not in ("", wanted, DISPOSED):
        return Proof.refuted(f"CodeArtifact says that {given.version} is {now}")
    if now and given.status == ARCHIVED and (got := _had(world, given.version)):
        return Proof.refuted(f"{got} of {given.version} can still be had")
    said = {"": "is gone", UNLISTED: "is Unlisted: no list names it, and by its number it can be had"}
    return Proof.proven(Grade.STATE, f"{given.version} {said.get(now, f'is {now}: no file of it can be had')}")


def _had(world: World, given: ArtifactVersion) -> str:
    """The name of a file that can be had, or ''."""
    for row in assets(world, given):
        try:
            file_of(world, given, str(row["name"]))
        except (NotFound, Rejected):
            continue
        return str(row["name"])
    return ""


def _undo_yank(world: World, given: YankIn, before: YankBefore, _outcome: Outcome) -> Outcome:
    now = _status(world, given.version)
    if not before.exists or now == before.status:
        return Outcome(changed=False, summary=f"{given.version} is {now or 'gone'}, as before")
    if now != given.status:
        said = f"{given.version} is {now or 'gone'} now, which is not what we left"
        raise Conflict(said, {"status": (given.status, now or "gone")})
    if before.status == UNFINISHED:
        raise Conflict("CodeArtifact makes no version unfinished again", {"status": (now, before.status)})
    _change(world, "update_package_versions_status", given.version, now, targetStatus=before.status)
    return Outcome(changed=True, summary=f"{given.version} is {before.status} again")


def _breaks_yank(before: YankBefore) -> Breaks:
    return Breaks(stops=("whoever installs this version fails",), unknown=True) if before.needed else Breaks()


yank = Action(
    name="aws.yank_package_version", title="Yank a version from CodeArtifact", inputs=YankIn, before=YankBefore,
    outcome=Outcome, effect=Effect.CONTAIN, look=_look_yank, run=_yank, prove=_prove_yank, breaks=_breaks_yank,
    evidence=_save_yank, undo=_undo_yank,
    permissions=(*_LOOK, *_SAVE, "codeartifact:UpdatePackageVersionsStatus"),
)  # fmt: skip


# Dispose of a version


@dataclass(frozen=True, slots=True, kw_only=True)
class DisposeBefore(Before):
    exists: bool = material(default=True)
    status: str = material(default="")


def _look_dispose(world: World, given: ArtifactVersion) -> DisposeBefore:
    found = described(world, given)
    if found is None:
        return DisposeBefore(needed=False, exists=False, summary=f"CodeArtifact has no {given}")
    status = str(found["status"])
    return DisposeBefore(needed=status != DISPOSED, status=status, summary=_shown(given, found))


def _save_dispose(world: World, given: ArtifactVersion, _before: DisposeBefore) -> tuple[EvidenceRef, ...]:
    return save(world, given)


def _dispose(world: World, given: ArtifactVersion, before: DisposeBefore) -> Outcome:
    now = _status(world, given)
    if not before.needed or now in ("", DISPOSED):
        return Outcome(changed=False, summary=f"{given} is {now or 'gone'}")
    _change(world, "dispose_package_versions", given, before.status)
    return Outcome(changed=True, summary=f"{given} is disposed of: its files are gone")


def _prove_dispose(world: World, given: ArtifactVersion, _before: DisposeBefore, _outcome: Outcome) -> Proof:
    now = _status(world, given)
    if now not in ("", DISPOSED) or (now and assets(world, given)):
        return Proof.refuted(f"CodeArtifact still has {given}: it is {now}")
    return Proof.proven(Grade.STATE, f"CodeArtifact has no file of {given} any more")


def _breaks_dispose(before: DisposeBefore) -> Breaks:
    said = "whoever installs this version fails, and it cannot be brought back"
    return Breaks(stops=(said,), unknown=True) if before.needed else Breaks()


dispose = Action(
    name="aws.dispose_package_version", title="Delete the files of a version in CodeArtifact", inputs=ArtifactVersion,
    before=DisposeBefore, outcome=Outcome, effect=Effect.DESTROY, look=_look_dispose, run=_dispose,
    prove=_prove_dispose, breaks=_breaks_dispose, evidence=_save_dispose,
    undo_none="CodeArtifact deletes the files for good; evidence has what could be saved of them",
    permissions=(*_LOOK, *_SAVE, "codeartifact:DisposePackageVersions"),
)  # fmt: skip
