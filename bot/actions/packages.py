"""What the actions at PyPI, crates.io and RubyGems.org have in common. ``name``: the registry in ``World.registries``.

Pulling a version goes from soft to hard: the mark that takes it from whoever asks for the newest one, then what the
registry's own rules allow. What they do not allow is named, and nobody is asked for it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass

from bot.actions.explained import Explains
from bot.actions.github import repository_path
from bot.errors import Forbidden, InputError, NotFound
from bot.model import (
    Before,
    Breaks,
    Credential,
    EvidenceRef,
    Grade,
    Liveness,
    Outcome,
    PackageVersion,
    Proof,
    Release,
    WorkflowRef,
    material,
)
from bot.registries import REGISTRY_OF
from bot.world import Registry, World

FIND_PERMISSIONS = ("contents:read", "actions:read")


def registry(world: World, name: str) -> Registry:
    """A registry. Raises InputError in a World that has none of this name."""
    found = world.registries.get(name)
    if found is None:
        raise InputError(f"this World has no registry called {name}")
    return found


def name_of(credential: Credential) -> str:
    """The registry that a token publishes to. Raises InputError for a credential that is no such token."""
    found = REGISTRY_OF.get(credential.kind)
    if found is None:
        kind, known = credential.kind or "credential", ", ".join(REGISTRY_OF)
        raise InputError(f"with a {kind} nothing is published here; the kinds are: {known}")
    return found


def tried(world: World, credential: Credential) -> tuple[Liveness, str] | None:
    """What its registry says to a held token, and in what words; None when its value is not held."""
    value = world.secrets.of(credential.key)
    if value is None:
        return None
    return registry(world, name_of(credential)).tried(value, credential.account)


# Check a token


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIn:
    """A token."""

    credential: Credential


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBefore(Before):
    """Whether it works, and which packages it may publish, as far as it or the registry tells."""

    live: str = material(default=Liveness.UNKNOWN.value)  # a Liveness
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOutcome(Outcome):
    live: str = Liveness.UNKNOWN.value
    packages: tuple[str, ...] = ()


def look_token(world: World, given: TokenIn) -> TokenBefore:
    name, said = name_of(given.credential), tried(world, given.credential)
    if said is None:
        why = f"{given.credential.key}: its value is not held, so nothing can be asked"
        return TokenBefore(summary=why)
    live, why = said
    value = world.secrets.of(given.credential.key)
    asked, account = registry(world, name), given.credential.account
    reach = asked.packages_of(value, account) if live == Liveness.LIVE and value is not None else ()
    more = f"; it may publish {', '.join(reach)}" if reach else ""
    return TokenBefore(live=live.value, packages=reach, summary=f"{given.credential.key}: {why}{more}")


def check_token(_world: World, _given: TokenIn, before: TokenBefore) -> TokenOutcome:
    return TokenOutcome(changed=False, live=before.live, packages=before.packages, summary=before.summary)


def prove_token(world: World, given: TokenIn, before: TokenBefore, _outcome: TokenOutcome) -> Proof:
    now = look_token(world, given)
    if now.live != before.live:
        return Proof.refuted(f"it was {before.live} before; now {now.summary}")
    return Proof.proven(Grade.REFUSED if now.live == Liveness.DEAD else Grade.STATE, now.summary)


# Find versions that nothing explains


@dataclass(frozen=True, slots=True, kw_only=True)
class FindIn:
    """Where the package is made, and the token that may have published it."""

    repository: str
    credential: Credential
    since: str = ""  # ISO 8601; versions from before are not suspected
    workflows: tuple[WorkflowRef, ...] = ()  # those that publish; a run of another one explains nothing
    known: tuple[PackageVersion, ...] | None = None  # when it is searched again: what was found before


@dataclass(frozen=True, slots=True, kw_only=True)
class FindBefore(Before):
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FindOutcome(Outcome):
    """What nobody released. ``digests``: "SHA-256  file name" of each file of it, as the registry tells."""

    versions: tuple[PackageVersion, ...] = ()
    digests: tuple[str, ...] = ()


def look_packages(world: World, given: FindIn) -> FindBefore:
    """The packages that the repository's root names, and those that the token itself tells of."""
    asked, value = registry(world, name_of(given.credential)), world.secrets.of(given.credential.key)
    names: list[str] = []
    base = repository_path(given.repository)
    try:
        for row in world.github.get(f"{base}/contents/"):
            if row["type"] == "file" and asked.names_a_package(row["path"]):
                file = world.github.get(f"{base}/contents/{row['path']}")
                names.append(asked.named_in(row["path"], base64.b64decode(file["content"]).decode(errors="replace")))
    except NotFound:
        pass  # an empty repository: what the token tells is what there is
    names += asked.packages_of(value, given.credential.account) if value is not None else ()
    known = tuple(dict.fromkeys(filter(None, names)))
    said = ", ".join(known) or "no package that is known"
    return FindBefore(packages=known, summary=f"The token may publish {said} on {asked.label}")


def find(world: World, given: FindIn, before: FindBefore) -> FindOutcome:
    asked = registry(world, name_of(given.credential))
    explains = Explains.of(world, given.repository, given.workflows, given.since)
    bad: list[Release] = []
    gone = []
    for package in before.packages:
        try:
            rows = asked.releases(package)
        except NotFound:
            gone.append(package)
            continue
        bad += [row for row in rows if not _explained(world, explains, row)]
    said = "; ".join(_told(row) for row in bad)
    nothing = f"Every version since {given.since or 'ever'} is explained by a tag or a run"
    more = f"; {', '.join(gone)} is not on {asked.label}" if gone else ""
    return FindOutcome(
        changed=False, versions=tuple(PackageVersion(package=row.package, version=row.version) for row in bad),
        digests=tuple(f"{file.sha256}  {file.name}" for row in bad for file in row.files),
        summary=(f"Nobody released {said}" if said else nothing) + more,
    )  # fmt: skip


def _explained(world: World, explains: Explains, row: Release) -> bool:
    """Also by the registry's own record that a workflow of this repository published it."""
    own = row.publisher.lower() == explains.repository.lower()
    return own or explains.version(world, row.package, row.version, row.at)


def _told(row: Release) -> str:
    count = "" if row.downloads is None else f", downloaded {row.downloads:,} times"
    by = f", published by {row.by}" if row.by else ""
    return f"{row.package} {row.version}{by}{count}" + (", yanked" if row.yanked else "")


def prove_find(world: World, given: FindIn, before: FindBefore, outcome: FindOutcome) -> Proof:
    again = find(world, given, before)
    before_this = outcome.versions if given.known is None else given.known
    new = [str(row) for row in again.versions if row not in before_this]
    if new:
        return Proof.refuted(f"since then nobody released {', '.join(new)} either")
    label = registry(world, name_of(given.credential)).label
    return Proof.proven(Grade.STATE, f"{label}'s record, compared with tags and runs: {outcome.summary}")


# Pull a version


@dataclass(frozen=True, slots=True, kw_only=True)
class YankBefore(Before):
    """``forbidden`` is the registry's rule that stands against it, as far as it can be known beforehand."""

    exists: bool = material(default=True)
    yanked: bool = material(default=False)
    reason: str = material(default="")
    last: bool = material(default=False)  # nobody gets any version by default then
    forbidden: str = material(default="")


def release(world: World, name: str, package: str, version: str) -> Release | None:
    """A version as the registry tells it now; None when it is not there."""
    try:
        rows = registry(world, name).releases(package)
    except NotFound:
        return None
    return next((row for row in rows if row.version == version), None)


def look_yank(world: World, name: str, package: str, version: str) -> tuple[YankBefore, Release | None]:
    """What every registry tells of it; ``forbidden`` is left to the registry's own file."""
    asked = registry(world, name)
    row = release(world, name, package, version)
    if row is None:
        said = f"{asked.label} has no {package} {version}"
        return YankBefore(needed=False, exists=False, summary=said), None
    others = [r for r in asked.releases(package) if r.version != version and not r.yanked]
    said = f"{_told(row)}; published {row.at}" if not row.yanked else f"{package} {version} is yanked: {row.reason}"
    return YankBefore(
        needed=not row.yanked, yanked=row.yanked, reason=row.reason, last=not others, summary=said
    ), row  # fmt: skip


def save_version(world: World, name: str, package: str, version: str) -> tuple[EvidenceRef, ...]:
    """Every file as it is served, and all documents of the registry, with the digests and whether they agree."""
    asked, row = registry(world, name), release(world, name, package, version)
    if row is None:
        return ()
    folder = f"{name}/{package}-{version}"
    saved, digests = [], {}
    for file in row.files:
        data = asked.download(file.url)
        digests[file.name] = {
            "sha256": hashlib.sha256(data).hexdigest(), "as_published": hashlib.sha256(data).hexdigest() == file.sha256,
        }  # fmt: skip
        saved.append(world.evidence.save(f"{folder}/{file.name}", data))
    record = {"record": asked.record(package, version), "files": digests}
    text = json.dumps(record, indent=1, sort_keys=True)
    raw = hashlib.sha256(text.encode()).hexdigest()
    return (*saved, world.evidence.save(f"{folder}/record.json", world.scrub(text).encode(), raw))


def served(world: World, name: str, row: Release) -> bool:
    """Whether a file of it can still be fetched."""
    asked = registry(world, name)
    for file in row.files:
        try:
            asked.download(file.url)
        except (NotFound, Forbidden):
            continue
        return True
    return False


def prove_yank(world: World, name: str, package: str, version: str) -> Proof:
    """By what a client reads to resolve a version, and by the registry's own record."""
    asked, row = registry(world, name), release(world, name, package, version)
    if row is not None and not row.yanked:
        return Proof.refuted(f"{asked.label} still offers {package} {version}")
    if asked.is_default(package, version):
        return Proof.not_yet(f"the index of {asked.label} still offers {package} {version}", retry_after=5.0)
    said = "is gone" if row is None else f"is yanked ({row.reason})" if row.reason else "is yanked"
    return Proof.proven(Grade.STATE, f"{asked.label}'s record and index: {package} {version} {said}")


def breaks_yank(before: YankBefore, stops: str) -> Breaks:
    if not before.needed:
        return Breaks()
    last = ["nobody gets any version of the package by default until another one is published"] if before.last else []
    return Breaks(stops=(stops, *last), unknown=True)  # who depends on it, no registry tells
