"""What the signals judge: typed facts, each with its origin, in the order of time.

A fact says what a source recorded, and nothing that we conclude from it. Times are aware UTC. Calls of AWS come in
millions, so one fact (``Use``) stands for all calls of a kind that one log file holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

EPOCH = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a fact was read: a file and the place in it, or the address that was asked."""

    source: str  # github, cloudtrail, npm, pypi, rubygems, crates, ghcr, ecr, dockerhub, codeartifact, run-log
    where: str

    def __str__(self) -> str:
        return f"{self.source}: {self.where}"


NOWHERE = Origin("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that happened. ``at`` is when, by the clock of who recorded it."""

    at: datetime
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Fact):
    """One attempt of a workflow run; ``at`` is when it was made, ``until`` when it was last heard of."""

    repository: str
    id: int
    attempt: int
    workflow: str  # path of the file
    event: str
    branch: str  # head branch, or the tag's name
    sha: str
    head_repository: str  # another one than ``repository``: a fork
    actor: str
    triggering_actor: str
    status: str
    conclusion: str
    until: datetime

    @property
    def fork(self) -> bool:
        """Whether its code came from another repository. A fork that was deleted has no name."""
        return self.head_repository != self.repository

    @property
    def key(self) -> str:
        """OWNER/NAME run 17, with the attempt when it is not the first."""
        return f"{self.repository} run {self.id}" + (f" attempt {self.attempt}" if self.attempt > 1 else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Fact):
    """One job of a run, ``at`` its start; ``until`` is None while it goes on."""

    repository: str
    run: int
    attempt: int
    id: int
    name: str
    until: datetime | None
    runner: str = ""
    labels: tuple[str, ...] = ()
    conclusion: str = ""
    workflow: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment(Fact):
    """A deployment as GitHub's API lists it; who made it and from what. ``run`` is 0 when that was not told."""

    repository: str
    id: int
    environment: str
    ref: str
    sha: str
    creator: str
    run: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Push(Fact):
    """A change of a ref: push, force_push, branch_creation, branch_deletion, pr_merge, merge_queue_merge."""

    repository: str
    ref: str
    before: str
    after: str
    kind: str
    actor: str

    @property
    def tag(self) -> str:
        """The tag's name, or ''."""
        return self.ref.removeprefix("refs/tags/") if self.ref.startswith("refs/tags/") else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag(Fact):
    """A tag as it stood when it was looked at."""

    repository: str
    name: str
    sha: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Fact):
    """A release that is not a draft."""

    repository: str
    tag: str
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFile(Fact):
    """A workflow file on a branch. ``new``: it was not there before; ``actor`` is who pushed it, '' when not told."""

    repository: str
    branch: str
    path: str
    new: bool = False
    actor: str = ""
    sha: str = ""  # the commit that brought it
    secrets: tuple[str, ...] = ()  # that it names


class Signed(StrEnum):
    """What became of the signature of a version's provenance, the worst last."""

    UNCHECKED = ""
    VERIFIED = "verified"
    UNREAD = "in a form that cannot be read"
    UNKNOWN = "of no authority that the trust root knows"
    OTHER = "of another identity than the one it names"
    FORGED = "not of what it signs, though its certificate is good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestations(Fact):
    """What a repository at GitHub has of a digest: Sigstore bundles of provenance, or none."""

    repository: str  # OWNER/NAME; '' when that was not told
    digest: str  # sha256:HEXADECIMAL
    bundles: tuple[str, ...] = field(default=(), repr=False)  # as JSON, not verified yet


class RegistrySigned(StrEnum):
    """What became of a registry's own signatures: its word that it took this version in, with this content. Of several
    the worst counts, which is the last here.
    """

    UNCHECKED = ""
    VERIFIED = "verified"
    UNREAD = "in a form that cannot be read"
    MISSING = "missing"
    EXPIRED = "by a key that had ended before"
    UNKNOWN = "by a key that the registry does not publish"
    FORGED = "not of this version and its digest"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryKey(Fact):
    """A key by which a registry signs what it takes in. ``until`` is its end, None when it has none."""

    registry: str
    id: str
    key: str  # base64 of the public key (SubjectPublicKeyInfo)
    scheme: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version(Fact):
    """A version of a package as its registry tells it; ``at`` is when it was published.

    ``means``: trusted (by an identity of the pipeline), token (with somebody's credential), or '' when the registry
    does not tell. ``provenance``: yes, no, or '' when it does not tell. What provenance says itself (repository,
    workflow, ref, run) is as the attestation claims it, until ``bot.signals.provenance`` has verified its signature:
    then it is what the certificate says. ``attested`` and ``digests`` are of files, in hexadecimal where they can be.
    """

    registry: str
    package: str
    name: str
    uploader: str = ""
    means: str = ""
    provenance: str = ""
    built_by: str = ""  # OWNER/NAME
    workflow: str = ""
    built_from: str = ""  # the ref
    run: int = 0
    commit: str = ""
    digests: tuple[str, ...] = ()
    yanked: bool = False
    bundle: str = field(default="", repr=False)  # a Sigstore bundle as JSON, not verified yet
    attested: tuple[str, ...] = ()  # the digests that provenance speaks of
    home: str = ""  # OWNER/NAME: the repository whose attestations an image's digest was looked for in
    tagged: bool = False  # an image that people pull by a name, and no part or signature of one
    signed: Signed = Signed.UNCHECKED
    signed_why: str = ""
    issuer: str = ""  # who vouches for the identity in a certificate that holds
    integrity: str = ""  # as the registry writes it, and signs it
    signatures: tuple[tuple[str, str], ...] = ()  # the registry's own: id of the key, base64
    registry_signed: RegistrySigned = RegistrySigned.UNCHECKED
    registry_key: str = ""  # the one that this is about, with its end where that matters

    @property
    def key(self) -> str:
        """As people write it: npm @scope/name@1.2.3."""
        return f"{self.registry} {self.package}@{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access(Fact):
    """A use of a GitHub token, as an audit log tells it. ``token`` is the log's own hash of it."""

    actor: str
    action: str
    address: str
    repository: str = ""
    token: str = ""
    program: str = ""


# CloudTrail -----------------------------------------------------------------------------------------------------------


class _Attributes(msgspec.Struct, frozen=True):
    creationDate: str = ""


class _Issuer(msgspec.Struct, frozen=True):
    arn: str = ""


class _WebIdentity(msgspec.Struct, frozen=True):
    federatedProvider: str = ""


class _Context(msgspec.Struct, frozen=True):
    attributes: _Attributes = _Attributes()
    sessionIssuer: _Issuer = _Issuer()
    webIdFederationData: _WebIdentity = _WebIdentity()


class Who(msgspec.Struct, frozen=True):
    """``userIdentity`` of a record (AWS CloudTrail User Guide, "userIdentity element"); names are the record's own."""

    type: str = ""
    arn: str = ""
    accessKeyId: str = ""
    userName: str = ""
    identityProvider: str = ""
    invokedBy: str = ""
    sessionContext: _Context = _Context()
    identity: str = ""  # who acts, the same over all sessions: the ARN of the user, or of the role behind a session

    def named(self) -> Who:
        """The same with its identity."""
        arn = self.sessionContext.sessionIssuer.arn or self.arn or self.userName
        return msgspec.structs.replace(self, identity=arn)

    @property
    def session_from(self) -> str:
        """When its session was made, ISO 8601, or ''."""
        return self.sessionContext.attributes.creationDate

    @property
    def by_github(self) -> bool:
        """Whether it is a session, or asks for one, that a job of GitHub Actions gets by OIDC."""
        provider = self.sessionContext.webIdFederationData.federatedProvider or self.identityProvider
        return provider.endswith("/token.actions.githubusercontent.com")


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one kind that one identity made from one address: from ``at`` to ``until``, as one file has them."""

    at: datetime
    origin: Origin = NOWHERE
    who: Who
    service: str
    action: str
    region: str
    account: str
    address: str  # an IP address, or the name of an AWS service
    until: datetime
    event: str  # id of the last
    refused: str = ""  # the code, when AWS refused it


class Mint(msgspec.Struct, frozen=True, kw_only=True):
    """A session that a web identity got. ``subject`` is the token's ``sub``: repo:OWNER/NAME:ref:refs/heads/main."""

    at: datetime
    origin: Origin = NOWHERE
    subject: str
    session: str  # id of its access key
    role: str
    address: str
    provider: str

    @property
    def repository(self) -> str:
        """OWNER/NAME of the job that asked, without the numbers of the immutable form; '' for other issuers."""
        if not self.subject.startswith("repo:"):
            return ""
        return "/".join(part.split("@")[0] for part in self.subject.split(":")[1].split("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A log, read piece by piece: who wrote it, and a function that gives its text. It is kept nowhere."""

    origin: Origin
    repository: str = ""
    run: int = 0
    attempt: int = 1
    name: str = ""
    at: datetime = EPOCH
    pieces: Any = field(repr=False, default=tuple)  # () -> Iterator[str], cut at line ends


def utc(text: str) -> datetime:
    """An ISO 8601 time. Without a zone it is UTC: PyPI's and RubyGems' older answers leave it out."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


AnyFact = Fact | Use | Mint


def ordered(facts: Iterable[AnyFact]) -> list[AnyFact]:
    """By time; at one time in the order in which they came, each fact once."""
    return sorted(dict.fromkeys(facts), key=lambda fact: fact.at)


def of_kind(facts: Iterable[AnyFact], *kinds: type[Any]) -> Iterator[Any]:
    """Only facts of these kinds."""
    return (fact for fact in facts if isinstance(fact, kinds))
