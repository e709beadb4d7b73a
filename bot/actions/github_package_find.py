"""GitHub Packages and GHCR: find versions that no run explains, in all packages of the organization.

GitHub tells when a version was made and not by whom, so what explains it is a run that was under way in the repository
that the package is linked to, or, for all but images, a tag of its name. Where an image's tag led before it does not
tell either, so the last good version is found by its own tags and its age (``last_good``). A token with
``write:packages`` reaches every package that its owner may write, hence the whole organization. Only a classic token
may read this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any
from urllib.parse import quote

from bot.action import Action
from bot.actions import attested
from bot.actions.explained import Explains
from bot.actions.github_packages import TYPES
from bot.errors import Forbidden, InputError, NotFound, ProviderError
from bot.model import Before, Effect, Grade, HostedVersion, Outcome, Proof, TagMove
from bot.signals.collect import images
from bot.signals.facts import Origin, Version, of_kind
from bot.world import World

MOST_PACKAGES = 200  # of one type
_NUMBER = re.compile(r"v?\d+(\.\d+){2,}([-+._][\w.-]+)?")
_LINE = re.compile(r"v?(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FindHostedIn:
    """A repository of the organization, and since when the token was exposed: what is older is not suspected."""

    repository: str
    since: str = ""  # ISO 8601
    known: tuple[HostedVersion, ...] | None = None  # when it is searched again: what was found before


@dataclass(frozen=True, slots=True, kw_only=True)
class FindHostedBefore(Before):
    organization: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundHosted(Outcome):
    """``unknown`` says in sentences what could not be seen."""

    versions: tuple[HostedVersion, ...] = ()
    tags: tuple[TagMove, ...] = ()  # those that bad images took and that have a good one to go back to
    unknown: tuple[str, ...] = ()


@dataclass(slots=True)
class _Search:
    """One search: what each repository has to say is read once."""

    world: World
    given: FindHostedIn
    unknown: list[str] = field(default_factory=list)
    houses: dict[str, Explains] = field(default_factory=dict)
    tags: list[TagMove] = field(default_factory=list)

    def house(self, repository: str) -> Explains:
        """What a repository says of versions."""
        if repository not in self.houses:
            self.houses[repository] = Explains.of(self.world, repository, (), self.given.since)
        return self.houses[repository]

    def packages(self, organization: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(type, package) of the organization. What GitHub does not tell becomes a sentence."""
        for kind in TYPES:
            rows = self.world.github.pages(f"/orgs/{quote(organization, safe='')}/packages", package_type=kind)
            try:
                found = list(islice(rows, MOST_PACKAGES + 1))
            except NotFound:
                self.unknown.append(f"{organization} is no organization that we see, so its packages were not read")
                return
            except Forbidden as exc:
                said = "GitHub lists packages to nothing but a classic token with read:packages"
                self.unknown.append(f"The packages of {organization} could not be read ({exc.code}): {said}")
                return
            if len(found) > MOST_PACKAGES:
                self.unknown.append(f"Only {MOST_PACKAGES} packages of the type {kind} were read")
            yield from ((kind, row) for row in found[:MOST_PACKAGES])

    def bad(self, organization: str) -> Iterator[tuple[HostedVersion, str]]:
        """Versions that nothing explains, and what they are called."""
        for kind, package in self.packages(organization):
            house = self.house(str((package.get("repository") or {}).get("full_name") or self.given.repository))
            name = str(package["name"])
            path = f"/orgs/{quote(organization, safe='')}/packages/{kind}/{quote(name, safe='')}/versions"
            rows = list(self.world.github.pages(path))
            bad = [row for row in rows if not self._explained(house, kind, name, row)]
            good = [Good(str(row["name"]), _tags(row), str(row["created_at"])) for row in rows if row not in bad]
            said = self._attested(f"{organization}/{name}", house, rows, bad) if kind == "container" and bad else {}
            for row in bad:
                version = HostedVersion(organization=organization, package=name, version=int(row["id"]), type=kind)
                tags = _tags(row)
                named = [f"tagged {', '.join(tags)}"] if tags else []
                words = said.get(str(row["name"]), "")
                yield version, ", ".join([f"{name} {row['name'][:19]}", *named, *([words] if words else [])])
                for tag in tags if kind == "container" else ():
                    self._back(f"{organization}/{name}", tag, str(row["name"]), good)

    def _attested(
        self, package: str, house: Explains, rows: list[dict[str, Any]], bad: list[dict[str, Any]]
    ) -> dict[str, str]:  # fmt: skip
        """What the provenance of bad images says that people pull by a name, by their digests."""
        tagged = [one for one in of_kind(images.ghcr(rows, Origin("", package), package), Version) if one.tagged]
        names = {str(row["name"]) for row in bad}
        doubted, good = ([one for one in tagged if (one.digests[0] in names) == is_bad] for is_bad in (True, False))
        try:
            return attested.told(self.world, house.repository, doubted, good) if doubted else {}
        except (ProviderError, InputError) as exc:
            self.unknown.append(f"What {house.repository} attests of {package} could not be read: {exc}")
            return {}

    def _back(self, package: str, tag: str, bad: str, good: list[Good]) -> None:
        if to := last_good(tag, good):
            self.tags.append(TagMove(package=package, tag=tag, bad=bad, good=to))
        else:
            self.unknown.append(f"Where {package}:{tag} led before, GitHub tells nobody: push it again by a release")

    def _explained(self, house: Explains, kind: str, name: str, row: dict[str, Any]) -> bool:
        made = datetime.fromisoformat(row["created_at"])
        if self.given.since and made <= datetime.fromisoformat(self.given.since):
            return True  # the image that leaked the token is not one that it pushed
        if kind == "container":  # a thief's image takes a tag that has long been explained
            return house.ran(self.world, made)
        return house.version(self.world, name, str(row["name"]), str(row["created_at"]))


@dataclass(frozen=True, slots=True)
class Good:
    """A version of an image that is explained: its digest, its tags, and when it was made (ISO 8601)."""

    digest: str
    tags: tuple[str, ...]
    at: str


def _tags(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple((row.get("metadata") or {}).get("container", {}).get("tags") or ())


def last_good(tag: str, versions: Iterable[Good]) -> str:
    """The digest that a tag most likely led to before a bad image took it; '' where there is no saying.

    A full number is of one image, which has lost its only tag if it is the one without any. 1 and 1.4 lead to the
    newest of their line, ``latest`` and ``stable`` to the newest number, any other to the newest that has lost its tag.
    """
    newest = sorted(versions, key=lambda each: each.at, reverse=True)
    bare = [each for each in newest if not each.tags]
    numbered = [each for each in newest if any(_NUMBER.fullmatch(name) for name in each.tags)]
    if _NUMBER.fullmatch(tag):
        found = bare if len(bare) == 1 else []
    elif line := _LINE.fullmatch(tag):
        start = f"{line[1]}."
        found = [each for each in numbered if any(name.removeprefix("v").startswith(start) for name in each.tags)]
    elif tag in ("latest", "stable"):
        found = numbered or newest
    else:
        found = bare or (newest if len(newest) == 1 else [])
    return found[0].digest if found else ""


def _look(_world: World, given: FindHostedIn) -> FindHostedBefore:
    organization = given.repository.partition("/")[0]
    said = f"versions of {organization}'s packages since {given.since or 'ever'}"
    return FindHostedBefore(organization=organization, summary=said)


def _find(world: World, given: FindHostedIn, before: FindHostedBefore) -> FoundHosted:
    search = _Search(world, given)
    bad = list(search.bad(before.organization))
    said = f"No run pushed {'; '.join(name for _, name in bad)}" if bad else "No version was found that no run explains"
    return FoundHosted(
        changed=False, versions=tuple(version for version, _ in bad), tags=tuple(search.tags),
        unknown=tuple(search.unknown), summary="; ".join([said, *search.unknown]),
    )  # fmt: skip


def _prove(world: World, given: FindHostedIn, before: FindHostedBefore, outcome: FoundHosted) -> Proof:
    again = _find(world, given, before)
    known = outcome.versions if given.known is None else given.known
    if new := [str(version) for version in again.versions if version not in known]:
        return Proof.refuted(f"since then nobody pushed {', '.join(new)} either")
    return Proof.proven(Grade.STATE, f"GitHub's record, compared with runs and tags: {again.summary}")


find_unexplained_packages = Action(
    name="github.find_unexplained_packages", title="Find packages and images that no run explains",
    inputs=FindHostedIn, before=FindHostedBefore, outcome=FoundHosted, effect=Effect.READ, look=_look, run=_find,
    prove=_prove,
    permissions=(
        "a classic token with `read:packages`, of an administrator of the organization", "actions:read",
        "attestations:read",
    ),
)  # fmt: skip
