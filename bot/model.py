"""The nouns, frozen. A change is ``dataclasses.replace``. No value here is ever a secret but ``Secret``."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Secret:
    """A secret value, in memory. It prints, formats and pickles as its fingerprint, never as itself."""

    __slots__ = ("_value", "fingerprint")

    def __init__(self, value: str, fingerprint: str) -> None:
        self._value = value
        self.fingerprint = fingerprint

    def reveal(self) -> str:
        """The value. Call it only where it leaves for the provider that issued it."""
        return self._value

    def __repr__(self) -> str:
        return f"<secret {self.fingerprint}>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> Any:
        raise TypeError("a secret is never pickled")


class Effect(StrEnum):
    """What an action does to the world; policy decides on it."""

    READ = "read"
    CONTAIN = "contain"
    CHANGE = "change"
    DESTROY = "destroy"
    PUBLISH = "publish"


class Grade(StrEnum):
    """How strong a proof is, best first."""

    REFUSED = "refused"  # the old value was tried and refused
    STATE = "state"  # the provider's own record says so
    WORD = "word"  # a person says so; closes a row only as waived


class Verdict(StrEnum):
    """What a proof says."""

    PROVEN = "proven"
    NOT_YET = "not_yet"
    REFUTED = "refuted"


class RowState(StrEnum):
    """A ledger row, from left to right; failed, reopened and waived stand beside."""

    SUSPECTED = "suspected"
    CUT_REQUESTED = "cut_requested"  # a cut's Before is committed and the cut is about to run
    ACCEPTED = "accepted"  # the provider took the request: not a proof
    PROVEN_DEAD = "proven_dead"
    TAIL_OPEN = "tail_open"  # dead itself, while something minted from it may live
    CLOSED = "closed"
    FAILED = "failed"
    REOPENED = "reopened"
    WAIVED = "waived"  # by a named person


class Liveness(StrEnum):
    """What a look without side effects found."""

    LIVE = "live"
    DEAD = "dead"
    UNKNOWN = "unknown"


class Exposure(StrEnum):
    """Who could have seen the secret."""

    PUBLIC = "public"
    INTERNAL = "internal"
    UNKNOWN = "unknown"


class Machine(StrEnum):
    """Whether malware has run on a machine that is still there: it may do harm when the token that it stole dies."""

    NONE = "none"  # none, or it is gone: a hosted runner, a wiped laptop
    EXISTS = "exists"
    UNKNOWN = "unknown"  # nobody said


class Trust(StrEnum):
    """What a report's word is worth, least first."""

    UNSIGNED = "unsigned"  # a sender that cannot sign: a shared token at most
    SIGNED = "signed"  # by the sender's key, over the very body
    OPERATOR = "operator"  # a person of ours, at the command line or in Slack


# How the name of a kind begins that we know from Kingfisher's rules alone; what follows is the rule's own name.
OTHER = "other-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What we know of a secret, never the value. ``id`` is the provider's own name for it."""

    provider: str
    kind: str
    id: str = ""
    fingerprint: str = ""
    account: str = ""

    @property
    def key(self) -> str:
        """The one name under which ledger, vault and inbox know it."""
        return f"{self.kind}:{self.id or self.fingerprint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One place where a credential was seen. ``encoding`` is how it stood there: raw, base64, base64x2, hex, url."""

    where: str
    line: int = 0
    encoding: str = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRef:
    """One run of a workflow, all of its attempts."""

    repository: str
    run_id: int
    workflow: str = ""  # path of the workflow file
    commit: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRef:
    """A workflow file of a repository."""

    repository: str
    workflow: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretStore:
    """Where a copy of the secret stands. ``store``: actions, dependabot, codespaces or agents.

    ``scope``: repository, environment or organization. ``part`` says which half of a pair stands there:
    ``secret``, or ``id`` for an AWS access key's identifier.
    """

    repository: str  # "owner/name"; for an organization secret only the owner counts
    name: str
    scope: str = "repository"
    environment: str = ""
    store: str = "actions"
    part: str = "secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCopy:
    """A secret outside GitHub that holds a credential too, as somebody has declared it.

    ``store`` is the store's name in that file, ``kind`` what it is, ``name`` the secret in it. ``keys``: which of the
    secret's keys holds which part of the credential (part -> key); the key '' is the whole secret, and so is {}.
    """

    store: str
    kind: str  # secretsmanager, ssm, vault or kubernetes
    name: str
    keys: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} in {self.store} ({self.kind})"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRef:
    """A secret-scanning alert."""

    repository: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Something a credential created: kind is access-key, user, role, login-profile, user-policy, role-policy or trust.

    ``name`` is the user or role that it belongs to; ``id`` the key id or policy name where there is one. At GitHub:
    github-deploy-key and github-runner (``id``: its number), github-workflow-file (``id``: its path) and
    github-collaborator (``id``: the account) of the repository ``name``, and github-stolen-secret (``id``: its name),
    which a planted workflow that ran could read.
    """

    kind: str
    name: str
    id: str = ""
    at: str = ""  # ISO 8601 UTC
    event: str = ""  # the provider's id of the event that shows it

    @property
    def key(self) -> str:
        """The key of its ledger row: aws-access-key:AKIA…, aws-user:NAME, github-deploy-key:OWNER/NAME/ID."""
        if self.kind == "access-key":
            return f"aws-access-key:{self.id}"
        kind = self.kind if self.kind.startswith("github-") else f"aws-{self.kind}"
        return f"{kind}:{self.name}" + (f"/{self.id}" if self.id else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageVersion:
    """One version of a package of a registry."""

    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedVersion:
    """A version at npm that waits until somebody approves it. ``id`` is npm's."""

    id: str
    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.package}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFile:
    """A file of a release, with the digest that the registry tells of it."""

    name: str
    url: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A published version as its registry tells it. ``by`` and ``downloads`` are '' and None where it does not."""

    package: str
    version: str
    at: str  # ISO 8601 UTC
    by: str = ""  # the account that published it
    publisher: str = ""  # owner/name of the repository whose workflow published it, as a trusted publisher
    yanked: bool = False
    reason: str = ""
    downloads: int | None = None
    files: tuple[PackageFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EcrImage:
    """An image in a private repository of Amazon ECR, by its digest. ``region`` '': that of the bot."""

    repository: str
    digest: str
    region: str = ""

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest[:19]}" + (f" in {self.region}" if self.region else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class EcrTag:
    """A tag of such a repository that names a bad image, and the digest of the good one that it should name."""

    repository: str
    tag: str
    bad: str
    good: str
    region: str = ""

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}" + (f" in {self.region}" if self.region else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactVersion:
    """A version of a package in a repository of CodeArtifact. ``region`` '': that of the bot.

    ``format``: npm, pypi, maven, nuget, generic, ruby, swift or cargo; ``namespace`` is an npm scope without its @.
    """

    domain: str
    owner: str  # the account of the domain
    repository: str
    format: str
    package: str
    version: str
    namespace: str = ""
    region: str = ""

    def __str__(self) -> str:
        scope = f"@{self.namespace}/" if self.format == "npm" and self.namespace else ""
        scope = f"{self.namespace}:" if self.namespace and not scope else scope
        return f"{scope}{self.package} {self.version} in {self.domain}/{self.repository}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedVersion:
    """A version of an organization's package, by GitHub's number of it. An image of ghcr.io is a ``container``."""

    organization: str
    package: str
    version: int
    type: str = "container"

    def __str__(self) -> str:
        return f"{self.organization}/{self.package} version {self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NpmTag:
    """A dist-tag that names a bad version, and the good one that it should name."""

    package: str
    tag: str
    bad: str
    good: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTag:
    """A tag of an image repository, and the digest that it led to when it was found."""

    package: str  # NAMESPACE/NAME
    tag: str
    digest: str

    def __str__(self) -> str:
        return f"{self.package}:{self.tag}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TagMove:
    """A tag that leads to a bad image, and the digest of the good one that it should lead to."""

    package: str
    tag: str
    bad: str
    good: str

    def __str__(self) -> str:
        return f"{self.package}:{self.tag}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who may own a credential; higher ``score`` (0 to 100) first."""

    name: str
    score: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """One credential that the leak could have exposed. ``known`` is False when only its name is known."""

    kind: str  # aws-access-key, github-token, oidc-role, id-token, secret, repository, reachable-secret
    name: str
    scope: str  # repository, environment:NAME, organization, dependabot, job, cloud, github, or a repository's name
    how: str  # why the job could read, mint or assume it
    credential: Credential | None = None
    known: bool = True
    url: str = ""  # of the run that shows it, where many runs were looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """Something minted from a credential that outlives it until ``until``, unless it is ended sooner."""

    kind: str  # sts-session, id-token, github-token, app-token
    of: str  # key of the credential it was minted from
    until: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationOrder:
    """A repository that somebody wants to move to OIDC, without a leak. What is '' nobody has said.

    ``trust``, by triage: ours (AWS answers us, so we make provider and role), given (a role was named) or person.
    ``key``: the AWS key that stands in the repository's secrets, where IAM's tags tell.
    """

    repository: str = ""
    secret: str = ""
    role: str = ""
    region: str = ""
    environment: str = ""
    session: str = ""  # seconds that a session of AWS lives
    trust: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Triage:
    """What is known before the plan is made. Playbooks refer to these fields as ``$triage.<field>``."""

    credential: Credential
    live: Liveness = Liveness.UNKNOWN
    exposure: Exposure = Exposure.UNKNOWN
    exposed_from: str = ""  # ISO 8601 UTC; first moment the secret could be seen
    repository: str = ""
    sightings: tuple[Sighting, ...] = ()
    owners: tuple[Owner, ...] = ()
    reach: tuple[Reached, ...] = ()
    leaking_runs: tuple[RunRef, ...] = ()
    leaking_workflows: tuple[WorkflowRef, ...] = ()
    stores: tuple[SecretStore, ...] = ()
    copies: tuple[StoredCopy, ...] = ()  # outside GitHub, as declared
    alerts: tuple[AlertRef, ...] = ()
    # that let it out, whether it stands in their logs or not; of a campaign, that used what is looked for
    runs: tuple[RunRef, ...] = ()
    order: MigrationOrder = field(default_factory=MigrationOrder)  # of a migration: what was ordered
    created_by_credential: tuple[Planted, ...] = ()
    tails: tuple[Tail, ...] = ()
    machine: Machine = Machine.UNKNOWN
    machine_name: str = ""  # as the report calls it
    unknown: tuple[str, ...] = ()  # what could not be found out, in sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Somebody or something says that a credential may be compromised. Already scrubbed."""

    source: str  # cli, drill, slack, or the name of a scanner's door: github, gitguardian, ...
    by: str
    text: str  # what was said, scrubbed
    url: str = ""
    credential: Credential | None = None
    exposure: Exposure = Exposure.UNKNOWN
    machine: Machine = Machine.UNKNOWN
    machine_name: str = ""
    trust: Trust = Trust.OPERATOR
    authority: str = ""  # the rule of policy that says what this report may start
    why: str = ""  # the reason that the rule gives
    asks: bool = False  # that rule lets it open an incident, and every change asks a person
    place: str = ""  # the scanner's own id of the place: seen there again, it is not another sighting
    instead: str = ""  # the incident that goes into this one, which was worth less
    again: str = ""  # the closed incident of the same credential
    beside: str = ""  # the incident in whose reach the credential stands: its ledger holds the rest of that reach


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What a look found. Subclasses add fields; those that matter to an approval are ``material()``.

    ``needed`` is False when the state already is what the step wants: run then changes nothing.
    ``cuts_own`` is True when the step would cut a credential that Bulkhead itself lives by: the engine runs it last.
    """

    needed: bool = True
    cuts_own: bool = False
    summary: str = ""


def material(**kw: Any) -> Any:
    """A field of Before whose change voids an approval."""
    return field(metadata={"material": True}, **kw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run did. ``changed`` says whether this call found the change still to be made."""

    changed: bool
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """An independent look that shows the effect, or does not."""

    verdict: Verdict
    grade: Grade = Grade.STATE
    detail: str = ""
    retry_after: float = 2.0  # seconds, when not_yet

    @classmethod
    def proven(cls, grade: Grade, detail: str) -> Proof:
        return cls(verdict=Verdict.PROVEN, grade=grade, detail=detail)

    @classmethod
    def not_yet(cls, detail: str, retry_after: float = 2.0) -> Proof:
        return cls(verdict=Verdict.NOT_YET, detail=detail, retry_after=retry_after)

    @classmethod
    def refuted(cls, detail: str) -> Proof:
        return cls(verdict=Verdict.REFUTED, detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRef:
    """One saved file. ``original_sha256`` is of the bytes before scrubbing, when they were scrubbed."""

    name: str
    sha256: str
    size: int
    original_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaks:
    """What stops working when the step runs. ``unknown`` is True when that could not be found out."""

    stops: tuple[str, ...] = ()
    unknown: bool = False
