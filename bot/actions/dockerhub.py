"""Docker Hub: check a token, and find tags that nobody pushed by right.

A tag of an image can be moved, so what explains it differs from a version's. A run that was under way when it was
pushed does, and leading to what a good tag leads to; a tag of git's only while the image's tag has led to one image all
the time. An organization's activity log tells where a tag led before; without it the newest good version says.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.action import Action
from bot.actions import packages
from bot.actions.explained import Explains
from bot.actions.github import repository_path
from bot.actions.packages import TokenBefore, TokenIn, TokenOutcome
from bot.errors import Forbidden, InputError, NotFound
from bot.model import (
    Before,
    Credential,
    Effect,
    Grade,
    ImageTag,
    Outcome,
    PackageVersion,
    Proof,
    Release,
    TagMove,
    WorkflowRef,
)
from bot.registries.dockerhub import OUTLIVES_S, DockerHubClient, Push, images_in
from bot.world import World

NAME = "dockerhub"
FIND_PERMISSIONS = (*packages.FIND_PERMISSIONS, "scope-activity-read")
MOST_GOOD = 20  # good tags whose digest is asked for
OUTLIVES = timedelta(seconds=OUTLIVES_S)
_NUMBERED = re.compile(r"v?\d+(?:\.\d+)+")

check_token = Action(
    name="dockerhub.check_token", title="Check a Docker Hub token", inputs=TokenIn, before=TokenBefore,
    outcome=TokenOutcome, effect=Effect.READ, look=packages.look_token, run=packages.check_token,
    prove=packages.prove_token,
)  # fmt: skip


def hub(world: World) -> DockerHubClient:
    """Docker Hub. Raises InputError in a World that has another registry of this name, or none."""
    found = packages.registry(world, NAME)
    if not isinstance(found, DockerHubClient):
        raise InputError("this World's registry called dockerhub is not Docker Hub")
    return found


# Find what nothing explains


@dataclass(frozen=True, slots=True, kw_only=True)
class FindIn:
    """Where the images are made, and the token that may have pushed. ``waits``: until what it bought is over too."""

    repository: str
    credential: Credential
    since: str = ""  # ISO 8601; tags that were pushed before are not suspected, and without it none is
    workflows: tuple[WorkflowRef, ...] = ()  # those that push; a run of another one explains nothing
    waits: bool = False
    known_tags: tuple[ImageTag, ...] = ()  # when it is searched again: what was found before
    known_moves: tuple[TagMove, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FindBefore(Before):
    packages: tuple[str, ...] = ()
    at: str = ""  # ISO 8601 UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class FindOutcome(Outcome):
    """Tags to delete, and those to move back. ``digests``: "DIGEST  NAME:TAG" of what nobody pushed by right."""

    tags: tuple[ImageTag, ...] = ()
    moves: tuple[TagMove, ...] = ()
    versions: tuple[PackageVersion, ...] = ()  # all of them, as an advisory names them
    digests: tuple[str, ...] = ()


def _look_images(world: World, given: FindIn) -> FindBefore:
    """The repositories that the workflows name, and those of the account's own name."""
    names: list[str] = []
    for ref in given.workflows:
        try:
            file = world.github.get(f"{repository_path(ref.repository)}/contents/{ref.workflow}")
        except NotFound:
            continue  # it was taken away since
        names += images_in(base64.b64decode(file["content"]).decode(errors="replace"))
    value = world.secrets.of(given.credential.key)
    names += hub(world).packages_of(value, given.credential.account) if value is not None else ()
    known = tuple(dict.fromkeys(names))
    said = ", ".join(known) or "no repository that is known"
    return FindBefore(packages=known, at=world.now().isoformat(), summary=f"The token may push to {said} on Docker Hub")


@dataclass(slots=True)
class _Image:
    """One repository: its tags, and the log of its organization, or None where that cannot be read."""

    asked: DockerHubClient
    package: str
    rows: tuple[Release, ...]
    log: tuple[Push, ...] | None
    digests: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, asked: DockerHubClient, package: str) -> _Image:
        """Raises NotFound for a repository that is not there."""
        rows = asked.releases(package)
        try:
            return cls(asked, package, rows, asked.pushes(package))
        except (Forbidden, NotFound):
            return cls(asked, package, rows, None)

    def digest(self, tag: str) -> str:
        """Where a tag leads."""
        if tag not in self.digests:
            self.digests[tag] = self.asked.digest(self.package, tag)
        return self.digests[tag]

    def moved(self, tag: str) -> bool:
        """Whether it has led to more than one image, as far as the log tells."""
        return len({push.digest for push in self.log or () if push.tag == tag}) > 1

    def led(self, world: World, explains: Explains, tag: str) -> str:
        """Where the last push of it led that is explained, if that image is still there; '' otherwise."""
        for push in self.log or ():
            if push.tag == tag and _by_right(world, explains, push.at):
                return self.asked.digest(self.package, push.digest)
        return ""


def _by_right(world: World, explains: Explains, pushed: str) -> bool:
    """Whether it was pushed before the exposure, or while a publishing workflow ran."""
    at = datetime.fromisoformat(pushed)
    return at < datetime.fromisoformat(explains.since) or explains.ran(world, at)


def _find(world: World, given: FindIn, before: FindBefore) -> FindOutcome:
    if not given.since:
        return FindOutcome(changed=False, summary="Since when it is exposed is not known, so no tag is suspected")
    explains = Explains.of(world, given.repository, given.workflows, given.since)
    tags: list[ImageTag] = []
    moves: list[TagMove] = []
    notes: list[str] = []
    for package in before.packages:
        try:
            image = _Image.of(hub(world), package)
        except NotFound:
            notes.append(f"{package} is not on Docker Hub")
            continue
        if image.log is None:
            notes.append(f"the activity log of {package} cannot be read: where its tags led before is not known")
        good, bad = _sorted(world, explains, image)
        for row in bad:
            to = _leads_back(image, row, good, image.led(world, explains, row.version))
            now = image.digest(row.version)
            if to:
                moves.append(TagMove(package=package, tag=row.version, bad=now, good=to))
            else:
                tags.append(ImageTag(package=package, tag=row.version, digest=now))
    found = sorted(_places(tuple(tags), tuple(moves)))
    said = ", ".join(f"{name}:{tag}" for name, tag, _ in found)
    summary = (
        f"Nobody pushed {said} by right" if said else f"Every tag that was pushed since {given.since} is explained"
    )
    return FindOutcome(
        changed=False, tags=tuple(tags), moves=tuple(moves), summary="; ".join([summary, *notes]),
        versions=tuple(PackageVersion(package=name, version=tag) for name, tag, _ in found),
        digests=tuple(f"{digest}  {name}:{tag}" for name, tag, digest in found),
    )  # fmt: skip


def _sorted(world: World, explains: Explains, image: _Image) -> tuple[list[Release], list[Release]]:
    """The tags that are explained, newest first, and those that are not."""
    good: list[Release] = []
    rest: list[Release] = []
    for row in sorted(image.rows, key=lambda row: row.at, reverse=True):
        (good if _explained(world, explains, image, row) else rest).append(row)
    kept = {image.digest(row.version) for row in good[:MOST_GOOD]}
    bad = [
        row for row in rest
        if (now := image.digest(row.version)) not in kept and now != image.led(world, explains, row.version)
    ]  # fmt: skip
    return good, bad


def _explained(world: World, explains: Explains, image: _Image, row: Release) -> bool:
    if not row.at or _by_right(world, explains, row.at):  # nobody says when: nothing says that it was since
        return True
    return not image.moved(row.version) and explains.version(world, image.package, row.version, row.at)


def _leads_back(image: _Image, row: Release, good: list[Release], led: str) -> str:
    """The digest that a tag is moved back to; '' when it is to go. ``led``: where its last good push led."""
    if led:
        return led
    if _NUMBERED.fullmatch(row.version) and not any(each.version.startswith(f"{row.version}.") for each in good):
        return ""  # a version of its own, which nobody released
    floats = "" if not re.match(r"v?\d", row.version) else f"{row.version}."
    named = [each for each in good if _NUMBERED.fullmatch(each.version) and each.version.startswith(floats)]
    newest = max(named, key=lambda each: [int(part) for part in re.findall(r"\d+", each.version)], default=None)
    return image.digest(newest.version) if newest else ""


def _places(tags: tuple[ImageTag, ...], moves: tuple[TagMove, ...]) -> set[tuple[str, str, str]]:
    """(repository, tag, digest of the bad image that it leads to) of each."""
    return {(e.package, e.tag, e.digest) for e in tags} | {(e.package, e.tag, e.bad) for e in moves}


def _prove_find(world: World, given: FindIn, before: FindBefore, outcome: FindOutcome) -> Proof:
    known, stands = _places(given.known_tags, given.known_moves), _places(outcome.tags, outcome.moves)
    if given.waits:  # what was known and still stood when it was searched again: people have decided so
        stands &= known
    again = _find(world, given, before)
    new = [f"{name}:{tag}" for name, tag, _ in sorted(_places(again.tags, again.moves) - stands)]
    if new:
        return Proof.refuted(f"nobody pushed {', '.join(new)} by right either")
    left = datetime.fromisoformat(before.at) + OUTLIVES - world.now()
    if given.waits and left > timedelta():
        said = f"what was bought with the token is over in {left.total_seconds():.0f} s; until then it may push"
        return Proof.not_yet(said, retry_after=min(left.total_seconds(), 5.0))
    return Proof.proven(Grade.STATE, f"Docker Hub's tags, compared with its log, tags and runs: {outcome.summary}")


find_unexplained_tags = Action(
    name="dockerhub.find_unexplained_tags", title="Find tags on Docker Hub that no run or tag explains", inputs=FindIn,
    before=FindBefore, outcome=FindOutcome, effect=Effect.READ, look=_look_images, run=_find, prove=_prove_find,
    permissions=FIND_PERMISSIONS, proof_deadline=1800.0,
)  # fmt: skip
