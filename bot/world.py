"""What actions may hold: one protocol a provider, a clock, the vault and the evidence room of one incident.

A ``World`` is either real or the range's. ``range_world`` builds clients from ``RangeEndpoints`` alone, and these
cannot hold an address outside loopback: so a drill cannot build a real client, whatever its files say.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from bot.errors import InputError
from bot.images import Image, ImageFile, Manifest
from bot.model import EvidenceRef, Liveness, Release, Secret, StoredCopy

REAL = "real"


class Aws(Protocol):
    """One account of AWS as the bot's own identity, or as a credential that is being tried."""

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions whose images and packages are read, the account's own first. Raises as ``client``."""

    def client(self, service: str, region: str = "") -> Any:
        """A boto3 client of the bot's identity, in the account's own region or another.

        Its errors are the caller's to map: ``bot.clients.aws_errors``. Raises Unmapped where the account is none that
        we have a way into.
        """

    def client_as(self, service: str, key_id: str, secret: Secret, session_token: Secret | None = None) -> Any:
        """A boto3 client that signs with somebody else's key: only to see whether it is refused."""

    def download(self, url: str) -> bytes:
        """What an address that AWS has given out leads to, without a signature of ours. Raises bot.errors."""

    def now(self) -> datetime | None:
        """AWS's own time as its last answer told it, to the second; None before the first answer."""

    def identities(self) -> tuple[str, ...]:
        """The roles that we work by in this account, as ``World.identities`` names what is ours."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of a provider. ``data`` is decoded JSON, or None."""

    status: int
    headers: dict[str, str]
    data: Any


class GitHub(Protocol):
    """GitHub as the bot's own identity. All methods raise ``bot.errors`` only; no write is repeated blindly.

    A write for an owner where we are not installed raises Unmapped.
    """

    @property
    def web(self) -> str:
        """Origin of its pages: https://github.com, or an enterprise's own."""

    def get(self, path: str, **params: Any) -> Any:
        """GET a JSON document. ``path`` starts with a slash."""

    def ask(self, path: str, etag: str = "", **params: Any) -> Reply:
        """GET with the headers of the answer. When nothing differs from the answer that had this ETag: 304, no data."""

    def pages(self, path: str, items: str = "", **params: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list, page after page. ``items`` names the key when the list is wrapped."""

    def send(self, verb: str, path: str, body: Any = None) -> Reply:
        """POST, PUT, PATCH or DELETE, once."""

    def download(self, path: str) -> bytes:
        """GET what the API redirects to; our token is not sent to where it redirects."""

    def status_as(self, secret: Secret, path: str = "/rate_limit") -> int:
        """HTTP status of a GET made with somebody else's token: only to see whether it is refused."""

    def ask_as(self, secret: Secret, path: str) -> Reply:
        """GET with somebody else's token, whatever the status: only to see what it is and what it reaches."""

    def is_own(self, secret: Secret) -> bool:
        """Whether it is the very token that we sign with."""

    def left(self) -> tuple[int, int] | None:
        """Requests that are left of this hour's, and how many there are, by its last answer; None before the first."""

    def revoke(self, secrets: Sequence[Secret]) -> None:
        """Revoke tokens by value, at most a thousand, as nobody: GitHub refuses whoever signs in for this.

        An Enterprise Server takes nobody but who signs in, and has it since 3.19: before, NotFound.
        """


class Images(Protocol):
    """Public registries of container images, without an account."""

    def describe(self, ref: str) -> list[Image]:
        """The image, once for each platform. Raises InputError for a registry that is not asked, and bot.errors."""

    def files(self, image: Image) -> Iterator[ImageFile]:
        """Every file of every layer, those too that a later layer deletes."""


class Npm(Protocol):
    """The npm registry as the bot's own token. All methods raise ``bot.errors`` only; no write is repeated."""

    def get(self, path: str, *, write: bool = False) -> Any:
        """GET a JSON document; ``write`` as the bot, as a writer must read it."""

    def send(self, verb: str, path: str, body: Any = None) -> Reply:
        """PUT or DELETE, once."""

    def download(self, url: str) -> bytes:
        """A tarball of this registry."""

    def downloads(self, package: str) -> dict[str, int]:
        """Downloads of the last week, by version."""

    def user_of(self, secret: Secret) -> str:
        """Whose token it is. Raises Refused when it is not accepted."""


class Registry(Protocol):
    """A registry of packages beside npm. All methods raise ``bot.errors`` only; no write is repeated.

    ``label`` is its name in sentences. What needs an identity is done with the bot's own token, where it has one.
    """

    label: str

    def tried(self, secret: Secret, account: str = "") -> tuple[Liveness, str]:
        """Whether a token still works, in a way that changes nothing there, and what the registry said.

        ``account``: whose it is, for Docker Hub, which asks for a name beside the token.
        """

    def packages_of(self, secret: Secret, account: str = "") -> tuple[str, ...]:
        """The packages that a token may publish, as far as it or the registry tells."""

    def named_in(self, path: str, text: str) -> str:
        """The package that a file of a repository makes; '' when it makes none. Only file names are read by suffix."""

    def names_a_package(self, path: str) -> bool:
        """Whether ``named_in`` would read a file of this name."""

    def releases(self, package: str) -> tuple[Release, ...]:
        """Every version that is there, yanked ones too. Raises NotFound."""

    def owners(self, package: str) -> tuple[str, ...]:
        """The accounts that may publish it."""

    def home(self, package: str) -> str:
        """owner/name of the GitHub repository that it names; '' when it names none."""

    def documents(self, package: str) -> Iterator[tuple[str, Any]]:
        """(where, document) of all that it tells of a package's versions, as it tells it. Raises NotFound."""

    def record(self, package: str, version: str) -> dict[str, Any]:
        """All documents of the registry about a version, for evidence."""

    def download(self, url: str) -> bytes:
        """A file of this registry."""

    def send(self, verb: str, path: str, *, body: Any = None, form: dict[str, str] | None = None) -> Reply:
        """A write with the bot's own token, once."""

    def send_as(self, secret: Secret, verb: str, path: str) -> Reply:
        """A write with somebody else's token: only to have it revoke itself."""

    def is_default(self, package: str, version: str) -> bool:
        """Whether what a client reads to resolve a version still offers this one."""


class ImageTags(Protocol):
    """A registry of images as the bot: what a tag leads to. All methods raise ``bot.errors`` only."""

    def digest(self, package: str, ref: str) -> str:
        """Of the manifest under a tag or digest; '' when there is none. ``package`` is NAMESPACE/NAME."""

    def manifest(self, package: str, ref: str) -> Manifest:
        """A manifest or index by tag or digest. Raises NotFound."""

    def blob(self, package: str, digest: str) -> bytes:
        """A small blob, such as a config. Raises NotFound."""

    def put(self, package: str, tag: str, manifest: Manifest) -> None:
        """Make a tag lead to a manifest whose parts are there, once."""

    def record(self, package: str, version: str) -> dict[str, Any]:
        """What the registry tells of a tag, for evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TailRule:
    """What a library knows of a kind that is none of ours: whether it can ask its provider, and have it revoked.

    ``hosts``: where the value would be shown, as far as the rule names it; ``links``: what the rule refers to.
    """

    rule: str
    checks: bool
    revokes: bool
    hosts: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    elsewhere: bool = False  # installations of one's own have such values too: that the public one refuses says little


class LongTail(Protocol):
    """The kinds of credentials that no playbook has an action of its own for. All methods raise ``bot.errors`` only.

    ``around`` is the text that the value stood in, where its rule needs that to know it.
    """

    def knows(self, kind: str) -> TailRule | None:
        """The rule behind a kind; None when there is none of that name. Asks nobody."""

    def tried(self, kind: str, secret: Secret, around: Secret | None) -> tuple[Liveness, str]:
        """Show the value to its provider, and what it said. Raises Unavailable when it did not answer."""

    def revoke(self, kind: str, secret: Secret, around: Secret | None) -> tuple[bool, str]:
        """Have the value revoked, once: whether its provider has confirmed it, and in what words.

        Raises Unavailable when nobody can say what has become of the request.
        """


class Gcp(Protocol):
    """Google Cloud as the bot's own service account. All methods raise ``bot.errors`` only; no write is repeated.

    ``name`` is a service-account key as Google names it: projects/P/serviceAccounts/EMAIL/keys/KEY.
    """

    def get(self, path: str) -> Any:
        """GET a document of IAM; ``path`` is a resource's name."""

    def send(self, verb: str, path: str) -> Reply:
        """POST or DELETE at IAM, once."""

    def roles(self, name: str) -> tuple[str, ...]:
        """The roles that the key's account holds in its project; of folders and the organization nothing is told."""

    def tried(self, name: str, secret: Secret) -> tuple[Liveness, str]:
        """Whether a key still signs, in a way that buys nothing while it does, and what Google said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a secret outside GitHub holds: values by key, '' for one that is its secret's whole text.

    ``version`` is the store's own mark of it, ``changed_at`` ISO 8601 or '', ``locked`` why nobody may write to it.
    """

    values: Mapping[str, str] = field(repr=False)
    version: str
    changed_at: str = ""
    locked: str = ""


class ExternalStore(Protocol):
    """A store of secrets outside GitHub. All methods raise ``bot.errors`` only; no write is repeated."""

    @property
    def kind(self) -> str:
        """As the file of stores calls it."""

    def read(self, name: str) -> Held:
        """What a secret holds now. Raises NotFound, Forbidden, and InputError for a name that it cannot have."""

    def write(self, name: str, values: Mapping[str, str], held: Held) -> None:
        """Put values under their keys in one write, and leave every other key as ``held`` had it.

        Raises Conflict where the store sees that the secret is no longer what was read.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A copy outside GitHub, and which credential it is of. What is '' does not matter.

    ``kind`` of credential with ``user`` (of IAM) or ``account``; or ``secret``, OWNER/NAME SECRET, the secret of GitHub
    that holds the same.
    """

    copy: StoredCopy
    kind: str = ""
    user: str = ""
    account: str = ""
    secret: str = ""


class Secrets(Protocol):
    """The vault of one incident. References are names, never values."""

    def seal(self, label: str, value: str, credential: str = "") -> str:
        """Seal a value under a label that is unique in the incident; returns its reference. Same label: replaced."""

    def fingerprint(self, value: str) -> str:
        """The keyed fingerprint of a value, which is not kept: the same one whenever this installation sees it."""

    def open(self, ref: str) -> Secret | None:
        """The value, or None when it was never held or has been wiped."""

    def ref(self, label: str) -> str:
        """The reference sealed under this label, or ''."""

    def of(self, credential_key: str) -> Secret | None:
        """The value of a credential (``Credential.key``), or None when only its id is known."""

    def wipe(self, ref: str) -> None:
        """Forget it."""


class Evidence(Protocol):
    """The evidence room of one incident: written once, never changed."""

    def save(self, name: str, data: bytes, original_sha256: str = "") -> EvidenceRef:
        """Save bytes under a name. The same name and bytes again is the same file."""


class Clock(Protocol):
    """Now, in UTC. In the range it can be moved. It is read on the event loop: an answer must not take long."""

    def now(self) -> datetime:
        """An aware datetime."""


class Scrub(Protocol):
    """Takes every secret out of a text: those of the incident by value, others by what they look like."""

    def __call__(self, text: str) -> str:
        """The text with each secret replaced by its fingerprint."""


class Answers(Protocol):
    """What people have answered to a person's step."""

    def answer(self) -> tuple[str, str] | None:
        """(who, what) or None while nobody has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything that an action may touch. Built for one incident; ``name`` is "real" or "range"."""

    name: str
    aws: Aws  # of the account that the incident's credential is of
    github: GitHub
    clock: Clock
    secrets: Secrets
    evidence: Evidence
    scrub: Scrub
    answers: Answers | None = None
    github_app: GitHub | None = None  # GitHub as the App itself: it may only ask about and suspend its installations
    images: Images | None = None
    npm: Npm | None = None
    registries: Mapping[str, Registry] = field(default_factory=dict)  # pypi, crates, rubygems, dockerhub
    gcp: Gcp | None = None
    external: Mapping[str, ExternalStore] = field(default_factory=dict)  # by its name in the file of stores
    declared: tuple[Declared, ...] = ()  # what stands in them
    aws_everywhere: Mapping[str, Aws] = field(default_factory=dict)  # each account of the map, our own first
    ghcr: ImageTags | None = None
    trust_root: str = ""  # of Sigstore, as JSON; '': its public one
    trail: str = ""  # s3://BUCKET/…/CloudTrail, where CloudTrail's log files are; '': LookupEvents is asked
    identities: tuple[str, ...] = ()  # keys of the credentials that the bot itself lives by
    long_tail: LongTail | None = None  # it goes to whatever address a rule names, so the range's World has none

    def __post_init__(self) -> None:
        if self.long_tail is not None and self.name != REAL:
            raise InputError(f"the World {self.name!r} may not hold the long tail: its rules name real addresses")

    def now(self) -> datetime:
        """The clock's now."""
        return self.clock.now()

    def with_answers(self, answers: Answers) -> World:
        """The same World for one person's step."""
        return replace(self, answers=answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeEndpoints:
    """Where the range listens. Refuses every address that is not on loopback."""

    aws: str
    github: str
    control: str
    aws_key_id: str
    aws_secret: str
    github_token: str
    registry: str = ""  # of images; '' where the range has none
    github_app_id: int = 0
    github_app_key: str = ""
    npm: str = ""  # '' where the range has none
    npm_token: str = ""
    registries: Mapping[str, str] = field(default_factory=dict)  # addresses by name
    registry_tokens: Mapping[str, str] = field(default_factory=dict)
    gcp: str = ""  # '' where the range has none
    gcp_key_file: str = ""
    trust_root: str = ""  # of the range's Sigstore
    account_map: str = ""  # as the drill company's file has it; '' where it has one account
    stores: str = ""  # its file of stores; '' where it has none
    vault: str = ""
    vault_token: str = ""
    kubernetes: str = ""
    kubernetes_token: str = ""

    def __post_init__(self) -> None:
        optional = filter(None, (self.registry, self.npm, self.gcp, self.vault, self.kubernetes))
        for url in (self.aws, self.github, self.control, *optional, *self.registries.values()):
            parts = urlsplit(url)
            try:
                inside = parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
            except ValueError:
                inside = False
            if not inside:
                raise InputError(f"{url!r} is not a loopback address; a drill may only talk to the range")

    def __repr__(self) -> str:
        return f"RangeEndpoints(aws={self.aws!r}, github={self.github!r}, control={self.control!r})"
