"""Find versions in CodeArtifact that nobody of the house published.

CodeArtifact tells which versions were published to it (origin INTERNAL) and when, CloudTrail by whom, minutes later. A
version is explained by a run that was under way, or by somebody other than the leaked key's user who published here
before the leak; its number and its tag explain nothing, since whoever may delete a version may publish it anew. Files
can be added to a version that stands, which changes no date: that is a sentence for people.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from bot.action import Action
from bot.actions import aws_iam, aws_trail, aws_trust
from bot.actions.aws_packages import described
from bot.actions.explained import Explains, holders
from bot.clients import aws_errors
from bot.model import ArtifactVersion, Before, Effect, Grade, Outcome, Proof, SecretStore
from bot.world import World

MOST_PACKAGES, MOST_CALLS = 500, 3000  # of one repository; of one region's trail, the newest
TOKEN_LIVES = timedelta(hours=12)  # at most (API Reference, GetAuthorizationToken)
SOURCE, INTERNAL = "codeartifact.amazonaws.com", "INTERNAL"
_GONE = ("Archived", "Disposed")  # nobody gets it
# The key of a version: domain, repository, format, namespace, package, version.
Key = tuple[str, str, str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindPackagesIn:
    """The user of a leaked key, the repositories whose jobs have it, and since when it was seen."""

    user: str
    repository: str = ""
    since: str = ""  # ISO 8601; '': as far back as CloudTrail goes
    stores: tuple[SecretStore, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FindPackagesBefore(Before):
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPackages(Outcome):
    """``others`` and ``unknown`` are sentences for people."""

    versions: tuple[ArtifactVersion, ...] = ()
    others: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(slots=True)
class _Search:
    """One search: what the house explains is read once; ``published`` is of one region at a time."""

    world: World
    given: FindPackagesIn
    since: datetime
    houses: list[Explains] = field(default_factory=list)
    known: set[str] = field(default_factory=set)  # who published before the leak, the leaked key's user left out
    published: dict[Key, list[aws_trail.Call]] = field(default_factory=dict)
    bad: list[ArtifactVersion] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def region(self, region: str) -> None:
        """Search one region."""
        repositories = listed(self.world, "list_repositories", "repositories", "list repositories", region)
        if not repositories:
            return
        self._trail(region)
        for row in repositories:
            where = {"domain": row["domainName"], "domainOwner": row["domainOwner"], "repository": row["name"]}
            for package in self._packages(where, region):
                self._package(where | package, region)

    def _trail(self, region: str) -> None:
        """Who published what in ninety days, and what else the leaked key's user did here."""
        until = aws_iam.now(self.world) + timedelta(seconds=1)
        earliest = until - timedelta(days=aws_trust.TRAIL_DAYS)
        calls = aws_trail.lookup(
            self.world, "EventName", "PublishPackageVersion", earliest, until, most=MOST_CALLS, region=region
        )
        self.known = {c.actor for c in calls if c.at < self.since} - {self.given.user}
        self.published = {}
        for call in calls:
            self.published.setdefault(key_of(call), []).append(call)
        deeds = aws_trail.lookup(
            self.world, "Username", self.given.user, self.since, until, most=MOST_CALLS, region=region
        ) if self.given.user else []  # fmt: skip
        for call in (c for c in deeds if c.source == SOURCE):
            if call.name == "GetAuthorizationToken":
                self.unknown.append(
                    f"{self.given.user} asked for a token of CodeArtifact at {aws_iam.iso(call.at)}: it works until "
                    f"{aws_iam.iso(call.at + TOKEN_LIVES)} at the latest, also when the key is dead, unless a policy "
                    f"denies codeartifact:* to {self.given.user}"
                )
            elif not call.reads and call.name != "PublishPackageVersion":
                what = " ".join(filter(None, (call.asked("packageName"), *call.request.get("versions", ()))))
                self.others.append(
                    f"it did {call.name} to {what or call.asked('repositoryName')} at {aws_iam.iso(call.at)}"
                )

    def _packages(self, where: dict[str, str], region: str) -> Iterator[dict[str, str]]:
        """The packages that may be published here, and those that CloudTrail names."""
        name = f"{where['domain']}/{where['repository']}"
        rows = listed(self.world, "list_packages", "packages", f"list {name}", region, publish="ALLOW", **where)
        if len(rows) > MOST_PACKAGES:
            self.unknown.append(f"Only {MOST_PACKAGES} of {len(rows)} packages of {name} were read")
        found = {(row["format"], row.get("namespace", ""), row["package"]) for row in rows[:MOST_PACKAGES]}
        found |= {key[2:5] for key in self.published if key[:2] == (where["domain"], where["repository"])}
        for kind, namespace, package in sorted(found):
            yield {"format": kind, "package": package} | ({"namespace": namespace} if namespace else {})

    def _package(self, asked: dict[str, str], region: str) -> None:
        for version in self._since(asked, region):
            calls, at = self.published.get(_key(version[0]), []), version[1]
            own = [c for c in calls if c.at >= self.since]
            if at >= self.since:
                if not self._explained(own, at):
                    self.bad.append(version[0])
            elif own and not self._explained(own, own[0].at):
                files = ", ".join(sorted({c.asked("assetName") or "a file" for c in own}))
                self.others.append(f"it added {files} to {version[0]}, which was there before: look at its files")

    def _explained(self, calls: list[aws_trail.Call], at: datetime) -> bool:
        """Each publication has to be explained: one good file does not explain another."""
        times = [c.at for c in calls if c.actor not in self.known] if calls else [at]
        return all(any(house.ran(self.world, each) for house in self.houses) for each in times)

    def _since(self, asked: dict[str, str], region: str) -> Iterator[tuple[ArtifactVersion, datetime]]:
        """(version, when published) of what is published here and can be had: the window's, and what CloudTrail names.

        The list is by time, and whether its first or its last is the newest is not documented: both are looked at.
        """
        what = f"list the versions of {asked['package']}"
        rows = listed(
            self.world, "list_package_versions", "versions", what, region, sortBy="PUBLISHED_TIME",
            originType=INTERNAL, **asked,
        )  # fmt: skip
        names = [str(row["version"]) for row in rows if row["status"] not in _GONE]
        ends = [seen for name in dict.fromkeys(names[:1] + names[-1:]) if (seen := self._one(asked, name, region))]
        if len(ends) == 2 and ends[0][1] < ends[1][1]:
            names.reverse()
        told: set[str] = set()
        for name in names:
            seen = next((each for each in ends if each[0].version == name), None) or self._one(asked, name, region)
            if seen is None:
                continue
            if seen[1] < self.since:
                break
            told.add(name)
            yield seen
        place = (asked["domain"], asked["repository"], asked["format"], asked.get("namespace", ""), asked["package"])
        late = (k[5] for k, calls in self.published.items() if k[:5] == place and calls[-1].at >= self.since)
        for name in sorted(set(late) & set(names) - told):
            if (seen := self._one(asked, name, region)) is not None:
                yield seen

    def _one(self, asked: dict[str, str], version: str, region: str) -> tuple[ArtifactVersion, datetime] | None:
        one = ArtifactVersion(
            domain=asked["domain"], owner=asked["domainOwner"], repository=asked["repository"],
            format=asked["format"], package=asked["package"], namespace=asked.get("namespace", ""), version=version,
            region="" if region == self.world.aws.regions[0] else region,
        )  # fmt: skip
        row = described(self.world, one)
        return (one, row["publishedTime"]) if row and row.get("publishedTime") else None


def listed(
    world: World, operation: str, items: str, what: str, region: str, **asked: Any
) -> list[dict[str, Any]]:  # fmt: skip
    """Every row of a paged list of CodeArtifact. Raises bot.errors."""
    with aws_errors(what):
        pages = world.aws.client("codeartifact", region).get_paginator(operation).paginate(**asked)
        return list(islice((dict(row) for page in pages for row in page.get(items, [])), 100_000))


def key_of(call: aws_trail.Call) -> Key:
    """What a call published. CloudTrail's names differ from those of the API."""

    def one(*names: str) -> str:
        return next(filter(None, map(call.asked, names)), "")

    return (one("domainName", "domain"), one("repositoryName", "repository"), one("packageFormat", "format"),
            one("packageNamespace", "namespace"), one("packageName", "package"), one("packageVersion"))  # fmt: skip


def _key(one: ArtifactVersion) -> Key:
    return one.domain, one.repository, one.format, one.namespace, one.package, one.version


def _look(world: World, given: FindPackagesIn) -> FindPackagesBefore:
    earliest = aws_iam.now(world) - timedelta(days=aws_trust.TRAIL_DAYS)
    since = max(aws_iam.parse(given.since), earliest) if given.since else earliest
    said = f"versions in CodeArtifact since {aws_iam.iso(since)} ({', '.join(world.aws.regions)})"
    return FindPackagesBefore(since=aws_iam.iso(since), summary=said)


def _find(world: World, given: FindPackagesIn, before: FindPackagesBefore) -> FoundPackages:
    search = _Search(world, given, aws_iam.parse(before.since).replace(microsecond=0))
    repositories = holders(given.repository, given.stores)
    if not repositories:
        search.unknown.append("No repository is known whose runs could explain a version, so none was judged")
    search.houses = [Explains.of(world, each, (), given.since) for each in repositories]
    for region in world.aws.regions if repositories else ():
        search.region(region)
    said = f"Nobody of the house published {', '.join(map(str, search.bad))}" if search.bad else (
        "No version is in CodeArtifact that the house does not explain"
    )  # fmt: skip
    return FoundPackages(
        changed=False, versions=tuple(search.bad), others=tuple(search.others), unknown=tuple(search.unknown),
        summary="; ".join([said, *search.others, *search.unknown]),
    )  # fmt: skip


def _prove(world: World, given: FindPackagesIn, before: FindPackagesBefore, outcome: FoundPackages) -> Proof:
    again = _find(world, given, before)
    if new := [str(one) for one in again.versions if one not in outcome.versions]:
        return Proof.refuted(f"a second search found more: {', '.join(new)}")
    return Proof.proven(Grade.STATE, f"CodeArtifact's record and CloudTrail, searched again: {outcome.summary}")


find_unexplained_packages = Action(
    name="aws.find_unexplained_packages", title="Find versions in CodeArtifact that nobody of the house published",
    inputs=FindPackagesIn, before=FindPackagesBefore, outcome=FoundPackages, effect=Effect.READ, look=_look, run=_find,
    prove=_prove,
    permissions=(
        "cloudtrail:LookupEvents", "codeartifact:ListRepositories", "codeartifact:ListPackages",
        "codeartifact:ListPackageVersions", "codeartifact:DescribePackageVersion",
    ),
)  # fmt: skip
