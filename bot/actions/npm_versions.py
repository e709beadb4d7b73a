"""npm: versions that nobody released, and unpublishing them where npm's rules allow it.

Rules: docs.npmjs.com, "Unpublish policy". The number of a version is never free again. Whether another package depends
on one, only npm knows: it says so when it refuses.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from bot.action import Action
from bot.actions.explained import Explains
from bot.actions.github import repository_path
from bot.actions.npm import PERMISSIONS, document, escaped, registry
from bot.errors import NotFound, Rejected
from bot.model import (
    Before,
    Breaks,
    Effect,
    EvidenceRef,
    Grade,
    NpmTag,
    Outcome,
    PackageVersion,
    Proof,
    WorkflowRef,
    material,
)
from bot.world import World

YOUNG, QUIET = timedelta(hours=72), 300  # npm's unpublish policy
MOST_PACKAGES = 250
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")  # a release; one with a suffix is never what people should get


# Find versions that nothing explains


@dataclass(frozen=True, slots=True, kw_only=True)
class FindIn:
    """Where the package is made. ``maintainer`` is the token's npm account: it may publish whatever that maintains."""

    repository: str
    maintainer: str = ""
    since: str = ""  # ISO 8601; versions from before are not suspected
    workflows: tuple[WorkflowRef, ...] = ()  # those that publish; a run of another one explains nothing
    known: tuple[PackageVersion, ...] | None = None  # when it is searched again: what was found before


@dataclass(frozen=True, slots=True, kw_only=True)
class FindBefore(Before):
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FindOutcome(Outcome):
    """What nobody released, and which dist-tags lead to it."""

    versions: tuple[PackageVersion, ...] = ()
    tags: tuple[NpmTag, ...] = ()


def look_packages(world: World, given: FindIn) -> FindBefore:
    """The repository's own package, and all that the token's account maintains."""
    names: list[str] = []
    try:
        file = world.github.get(f"{repository_path(given.repository)}/contents/package.json")
        manifest = json.loads(base64.b64decode(file["content"]))
        names += [manifest["name"]] if isinstance(manifest, dict) and not manifest.get("private") else []
    except (NotFound, ValueError, KeyError):
        pass  # no package at the root: the account's list is what there is
    if given.maintainer:
        text = quote(f"maintainer:{given.maintainer}")
        found = registry(world).get(f"/-/v1/search?text={text}&size={MOST_PACKAGES}")
        names += [row["package"]["name"] for row in found["objects"]]
    known = tuple(dict.fromkeys(names))
    return FindBefore(packages=known, summary=f"The token may publish {', '.join(known) or 'no package that is known'}")


def _find(world: World, given: FindIn, before: FindBefore) -> FindOutcome:
    explains = Explains.of(world, given.repository, given.workflows, given.since)
    versions: list[PackageVersion] = []
    moves: list[NpmTag] = []
    downloads = 0
    for package in before.packages:
        try:
            found = document(world, package)
        except NotFound:
            continue
        bad = [v for v in found["versions"] if not explains.version(world, package, v, str(found["time"][v]))]
        versions += [PackageVersion(package=package, version=v) for v in bad]
        good = max((v for v in found["versions"] if v not in bad and _VERSION.fullmatch(v)), key=_order, default="")
        moves += [
            NpmTag(package=package, tag=tag, bad=v, good=good)
            for tag, v in found["dist-tags"].items()
            if v in bad and good
        ]
        downloads += sum(n for v, n in registry(world).downloads(package).items() if v in bad) if bad else 0
    said = ", ".join(f"{v.package}@{v.version}" for v in versions)
    return FindOutcome(
        changed=False, versions=tuple(versions), tags=tuple(moves),
        summary=f"Nobody released {said}; downloaded {downloads:,} times this week" if said
        else f"Every version since {given.since or 'ever'} is explained by a tag or a run",
    )  # fmt: skip


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _prove_find(world: World, given: FindIn, before: FindBefore, outcome: FindOutcome) -> Proof:
    again = _find(world, given, before)
    before_this = outcome.versions if given.known is None else given.known
    new = [f"{v.package}@{v.version}" for v in again.versions if v not in before_this]
    if new:
        return Proof.refuted(f"since then nobody released {', '.join(new)} either")
    return Proof.proven(Grade.STATE, f"npm's documents, compared with tags and runs: {outcome.summary}")


find_unexplained_versions = Action(
    name="npm.find_unexplained_versions", title="Find versions that no tag, release or run explains", inputs=FindIn,
    before=FindBefore, outcome=FindOutcome, effect=Effect.READ, look=look_packages, run=_find, prove=_prove_find,
    permissions=("contents:read", "actions:read"),
)  # fmt: skip


# Unpublish


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpublishBefore(Before):
    """``forbidden`` is the rule of npm's that stands against it, as far as it can be known beforehand."""

    exists: bool = material(default=True)
    last: bool = material(default=False)  # nothing of the package is left then
    forbidden: str = material(default="")
    tarball: str = ""


def _look_unpublish(world: World, given: PackageVersion) -> UnpublishBefore:
    name = f"{given.package}@{given.version}"
    try:
        found = document(world, given.package)
    except NotFound:
        return UnpublishBefore(needed=False, exists=False, summary=f"{given.package} does not exist")
    manifest = found["versions"].get(given.version)
    if manifest is None:
        return UnpublishBefore(needed=False, exists=False, summary=f"{name} does not exist")
    rule = _forbidden(world, found, given.version)
    published = f"{name} was published {found['time'][given.version]}"
    return UnpublishBefore(
        needed=not rule, last=len(found["versions"]) == 1, forbidden=rule, tarball=manifest["dist"]["tarball"],
        summary=f"npm's rules forbid to unpublish {name}: {rule}; {_reported(given)}" if rule else published,
    )  # fmt: skip


def _reported(given: PackageVersion) -> str:
    """What is left then: npm takes malware down itself (docs.npmjs.com, "Reporting malware in an npm package")."""
    asked = urlencode({"inquire": "security", "security-inquire": "malware", "package": given.package,
                       "version": given.version})  # fmt: skip
    return f"report it as malware, and npm takes it down: https://www.npmjs.com/support?{asked}"


def _forbidden(world: World, found: dict[str, Any], version: str) -> str:
    age = world.now() - datetime.fromisoformat(found["time"][version])
    if age < YOUNG:
        return ""
    count = sum(registry(world).downloads(found["name"]).values())
    if count >= QUIET:
        return f"it is older than 72 hours and the package had {count:,} downloads this week, {QUIET} or more"
    people = len(found.get("maintainers") or ())
    return f"it is older than 72 hours and the package has {people} maintainers, more than one" if people > 1 else ""


def _save_version(world: World, given: PackageVersion, before: UnpublishBefore) -> tuple[EvidenceRef, ...]:
    """The tarball as it is, the package's whole document with every digest and time, its attestations, and the keys by
    which the registry's signatures in it can be verified.
    """
    found = document(world, given.package)
    data = registry(world).download(before.tarball)
    digest = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    said = found["versions"][given.version]["dist"].get("integrity")
    record = {
        "document": found, "tarball_integrity": digest, "as_published": digest == said,
        "attestations": _answer(world, f"/-/npm/v1/attestations/{escaped(given.package)}@{quote(given.version)}"),
        "keys": _answer(world, "/-/npm/v1/keys"),
    }  # fmt: skip
    text = json.dumps(record, indent=1, sort_keys=True)
    folder = f"npm/{given.package}@{given.version}"
    raw = hashlib.sha256(text.encode()).hexdigest()
    return (
        world.evidence.save(f"{folder}/package.tgz", data),
        world.evidence.save(f"{folder}/document.json", world.scrub(text).encode(), raw),
    )


def _answer(world: World, path: str) -> Any:
    """What npm tells; None where it has nothing."""
    try:
        return registry(world).get(path)
    except NotFound:
        return None


def _unpublish(world: World, given: PackageVersion, before: UnpublishBefore) -> Outcome:
    """Take the version out of the document, then its tarball away. Raises Rejected with npm's rule against it."""
    name = f"{given.package}@{given.version}"
    if before.forbidden:
        said = f"npm's rules forbid to unpublish {name}: {before.forbidden}; {_reported(given)}"
        raise Rejected(said, provider="npm", code="405")
    if not before.needed:
        return Outcome(changed=False, summary=f"{name} is gone")
    taken = _take_out(world, given)
    removed = _take_file(world, given, before)
    return Outcome(changed=taken or removed, summary=f"Unpublished {name}" if taken or removed else f"{name} is gone")


def _take_out(world: World, given: PackageVersion) -> bool:
    try:
        whole = document(world, given.package, write=True)
    except NotFound:
        return False
    if given.version not in whole["versions"]:
        return False
    path = f"/{escaped(given.package)}/-rev/{whole['_rev']}"
    del whole["versions"][given.version]
    if not whole["versions"]:
        registry(world).send("DELETE", path)
        return True
    tags = {tag: version for tag, version in whole["dist-tags"].items() if version != given.version}
    left = whole["versions"]
    newest = max((v for v in left if _VERSION.fullmatch(v)), key=_order, default=next(iter(left)))
    whole["dist-tags"] = {"latest": newest, **tags}
    registry(world).send("PUT", path, {k: v for k, v in whole.items() if k not in ("_revisions", "_attachments")})
    return True


def _take_file(world: World, given: PackageVersion, before: UnpublishBefore) -> bool:
    if not _served(world, before.tarball):
        return False
    rev = document(world, given.package, write=True)["_rev"]
    file = before.tarball.rsplit("/", 1)[-1]
    registry(world).send("DELETE", f"/{escaped(given.package)}/-/{quote(file)}/-rev/{rev}")
    return True


def _served(world: World, tarball: str) -> bool:
    try:
        return bool(registry(world).download(tarball))
    except NotFound:
        return False


def _prove_unpublish(world: World, given: PackageVersion, before: UnpublishBefore, _outcome: Outcome) -> Proof:
    name = f"{given.package}@{given.version}"
    try:
        versions = document(world, given.package)["versions"]
    except NotFound:
        versions = {}
    if given.version in versions:
        return Proof.refuted(f"npm still has {name}")
    if before.tarball and _served(world, before.tarball):
        return Proof.not_yet(f"the tarball of {name} is still served", retry_after=5.0)
    return Proof.proven(Grade.STATE, f"npm has neither {name} nor its tarball")


def _breaks_unpublish(before: UnpublishBefore) -> Breaks:
    if not before.needed:
        return Breaks()
    stops = ["installs whose lock file names it fail with 404"]
    stops += ["nothing of the package is left, and its name cannot be published for 24 hours"] if before.last else []
    return Breaks(stops=tuple(stops), unknown=True)  # who depends on it, npm does not tell


unpublish = Action(
    name="npm.unpublish", title="Unpublish a version", inputs=PackageVersion, before=UnpublishBefore, outcome=Outcome,
    effect=Effect.DESTROY, look=_look_unpublish, run=_unpublish, prove=_prove_unpublish, breaks=_breaks_unpublish,
    evidence=_save_version, undo_none="npm never takes the same name and version again", permissions=PERMISSIONS,
    proof_deadline=900.0,
)  # fmt: skip
