"""The state of an npm registry and its rules; ``npm_web`` puts HTTP around it.

What it holds to (docs.npmjs.com, "Unpublish policy", "About access tokens", "Revoking access tokens"):

- a name and version that was published once can never be published again;
- a version may be unpublished in its first 72 hours when no package depends on it; later only when besides it had
  fewer than 300 downloads in a week and one maintainer;
- tokens are listed, made and revoked by a person with a second factor, never by a token that goes around it
  (August 2026); the API's name of a token is the SHA-512 of its value;
- a dist-tag names one version; without one ``latest`` is what ``npm install`` gets.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import secrets
import string
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bot.range.clock import RangeClock
from bot.range.npm_keys import Keys
from bot.range.npm_staged import Stage
from bot.range.npm_trust import Publisher
from bot.range.sigstore import SLSA

YOUNG, QUIET = timedelta(hours=72), 300
MANY, HALF_WAY_S = 50_000, 2 * 3600.0  # downloads that a version has in the end while it is latest, and how soon
WEEK = timedelta(days=7)
_NAME = re.compile(r"(?:@[a-z0-9][\w.-]*/)?[a-z0-9][\w.-]*", re.ASCII)
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(-[0-9A-Za-z.-]+)?")


class NpmProblem(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}


@dataclass(slots=True, kw_only=True)
class Token:
    """A granular access token, or one of trusted publishing. ``key`` is what the API calls it."""

    value: str = field(repr=False)
    name: str
    user: str
    created_at: datetime
    writes: bool = True
    revoked: bool = False
    package: str = ""  # the only one that it may publish; '' is all that its user maintains
    ends_at: datetime | None = None

    @property
    def key(self) -> str:
        return hashlib.sha512(self.value.encode()).hexdigest()


@dataclass(slots=True, kw_only=True)
class Package:
    name: str
    maintainers: list[str]
    created_at: datetime
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    times: dict[str, datetime] = field(default_factory=dict)  # of every version there ever was: none is used twice
    tags: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)  # tarballs by their file name
    history: list[tuple[datetime, str]] = field(default_factory=list)  # what was latest from when on
    bundles: dict[str, Any] = field(default_factory=dict)  # of Sigstore, by version
    emptied_at: datetime | None = None
    changes: int = 0

    @property
    def rev(self) -> str:
        """The document's revision; a write that names another one is refused."""
        said = f"{self.name} {self.changes}".encode()
        return f"{self.changes}-{hashlib.md5(said, usedforsecurity=False).hexdigest()}"

    def file_of(self, version: str) -> str:
        return f"{self.name.split('/')[-1]}-{version}.tgz"


def order(version: str) -> tuple[int, int, int, bool]:
    """What sorts versions; one with a suffix comes before the one without."""
    found = _VERSION.fullmatch(version)
    return (int(found[1]), int(found[2]), int(found[3]), not found[4]) if found else (0, 0, 0, False)


class NpmRegistry:
    """Packages, accounts and tokens. Every method holds ``lock`` or is called by one that does."""

    def __init__(self, clock: RangeClock) -> None:
        self.clock, self.lock, self.base_url = clock, threading.RLock(), ""
        self.reset()

    def reset(self) -> None:
        """Forget everything; the base URL stays."""
        with self.lock:
            self.packages: dict[str, Package] = {}
            self.tokens: dict[str, Token] = {}
            self.users: dict[str, str] = {}  # name -> e-mail
            self.stage = Stage(self)
            self.keys = Keys()
            self.publishers: dict[str, Publisher] = {}  # package -> who may publish it without a token

    # accounts: what a person does on the web site, with a second factor --------------------------------------------

    def add_user(self, name: str) -> None:
        self.users[name] = f"{name}@harbor-lights.example"

    def add_token(self, user: str, name: str, *, writes: bool = True) -> str:
        """Make a granular token that needs no second factor to publish; returns its value, which is told once."""
        value = "npm_" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(36))
        with self.lock:
            self.tokens[value] = Token(value=value, name=name, user=user, created_at=self.clock.now(), writes=writes)
        return value

    def revoke(self, name: str) -> int:
        """Revoke every live token of that name; returns how many there were."""
        with self.lock:
            live = [token for token in self.tokens.values() if token.name == name and not token.revoked]
            for token in live:
                token.revoked = True
            return len(live)

    def accepts(self, value: str) -> bool:
        """Whether a token still works."""
        token = self.tokens.get(value)
        ended = token is not None and token.ends_at is not None and self.clock.now() >= token.ends_at
        return token is not None and not token.revoked and not ended

    def caller(self, authorization: str) -> Token | None:
        """Whose token it is; None without one. Raises NpmProblem 401 for one that is not accepted."""
        value = authorization.removeprefix("Bearer ").strip()
        if not value:
            return None
        token = self.tokens.get(value)
        if token is None or not self.accepts(value):
            raise NpmProblem(401, "Unable to authenticate, your authentication token seems to be invalid.")
        return token

    def writer(self, token: Token | None, name: str) -> Token:
        """A token that may write to this package (a new one belongs to whoever publishes it)."""
        if token is None:
            raise NpmProblem(401, "You must be logged in to publish packages.")
        package = self.packages.get(name)
        others = token.package not in ("", name) or (package is not None and token.user not in package.maintainers)
        if not token.writes or others:
            who = "Are you logged in as the correct user?"
            raise NpmProblem(403, f'You do not have permission to publish "{name}". {who}')
        return token

    # reading -------------------------------------------------------------------------------------------------------

    def package(self, name: str) -> Package:
        found = self.packages.get(name)
        if found is None or not found.versions:
            raise NpmProblem(404, "Not found" if found is None else f"{name} was unpublished")
        return found

    def packument(self, package: Package) -> dict[str, Any]:
        """The whole document of a package, as the registry gives it."""
        people = [{"name": name, "email": self.users.get(name, "")} for name in package.maintainers]
        said = package.versions.get(package.tags.get("latest", ""), {}).get("repository")
        newest = max(package.times.values(), default=package.created_at)
        times = {"created": _iso(package.created_at), "modified": _iso(newest)}
        return {
            "_id": package.name, "_rev": package.rev, "name": package.name, "dist-tags": dict(package.tags),
            "versions": {version: self._manifest(package, version) for version in package.versions},
            "time": times | {version: _iso(at) for version, at in package.times.items()}, "maintainers": people,
            "readme": "", **({"repository": said} if said else {}),
        }  # fmt: skip

    def _manifest(self, package: Package, version: str) -> dict[str, Any]:
        manifest = package.versions[version]
        url = f"{self.base_url}/{package.name}/-/{package.file_of(version)}"
        dist = manifest["dist"] | {"tarball": url}
        if version in package.bundles:
            where = f"{self.base_url}/-/npm/v1/attestations/{package.name}@{version}"
            dist["attestations"] = {"url": where, "provenance": {"predicateType": SLSA}}
        return manifest | {"dist": dist}

    def attestations(self, name: str, version: str) -> dict[str, Any]:
        """What npm gives of a version's provenance. Raises NpmProblem where it has none."""
        bundle = self.package(name).bundles.get(version)
        if bundle is None:
            raise NpmProblem(404, "Not found")
        return {"attestations": [{"predicateType": SLSA, "bundle": bundle}]}

    def downloads(self, package: Package) -> dict[str, int]:
        """Downloads of the last week by version: they climb while a version is latest, towards ``MANY``."""
        now = self.clock.now()
        ends = [at for at, _ in package.history[1:]] + [now]
        spent: dict[str, float] = dict.fromkeys(package.times, 0.0)
        for (start, version), end in zip(package.history, ends, strict=True):
            seconds = (end - max(start, now - WEEK)).total_seconds()
            spent[version] = spent.get(version, 0.0) + max(seconds, 0.0)
        return {version: int(MANY * (1 - math.exp(-s / HALF_WAY_S))) for version, s in spent.items()}

    def dependents(self, name: str) -> list[str]:
        """Packages whose newest versions depend on it."""
        found = []
        for package in self.packages.values():
            newest = package.versions.get(package.tags.get("latest", ""), {})
            if name in (newest.get("dependencies") or {}):
                found.append(package.name)
        return sorted(found)

    # writing -------------------------------------------------------------------------------------------------------

    def publish(self, document: dict[str, Any], token: Token | None, at: datetime | None = None) -> None:
        """Take a new version with its tarball, now or ``at`` a time. Raises NpmProblem by the registry's rules."""
        name, (version, manifest), data = _read_document(document)
        with self.lock:
            author = self.writer(token, name)
            now = at or self.clock.now()
            package = self.packages.get(name) or Package(name=name, maintainers=[author.user], created_at=now)
            if version in package.times:
                raise NpmProblem(403, f"You cannot publish over the previously published versions: {version}.")
            if package.emptied_at is not None and now - package.emptied_at < timedelta(hours=24):
                raise NpmProblem(403, f"{name} cannot be republished until 24 hours have passed.")
            self.packages[name] = package
            package.emptied_at = None
            who = {"name": author.user, "email": self.users.get(author.user, "")}
            dist = _dist(data, manifest.get("dist") or {})
            package.versions[version] = {
                **manifest, "_id": f"{name}@{version}", "_npmUser": who, "maintainers": [who],
                "dist": dist | {"signatures": [self.keys.sign(name, version, dist["integrity"])]},
            }  # fmt: skip
            package.times[version] = now
            if (bundle := _bundle(document, package.versions[version]["dist"]["integrity"])) is not None:
                package.bundles[version] = bundle
            package.files[package.file_of(version)] = data
            for tag, named in (document.get("dist-tags") or {"latest": version}).items():
                self._tag(package, tag, named, now)
            package.changes += 1

    def put_on_stage(self, name: str, document: dict[str, Any], token: Token | None) -> str:
        """Stage a version; returns its id. Raises NpmProblem by the registry's rules."""
        named, (version, manifest), data = _read_document(document)
        with self.lock:
            author = self.writer(token, name)
            package = self.package(name)
            taken = {one.version for one in self.stage.waiting.values() if one.package == name}
            if named != name or version in package.times or version in taken:
                raise NpmProblem(403, f"You cannot stage over a version that there is: {version}.")
            _dist(data, manifest.get("dist") or {})
            return self.stage.add(name, version, document, data, author)

    def _tag(self, package: Package, tag: str, version: str, at: datetime | None = None) -> None:
        if version not in package.versions:
            raise NpmProblem(404, f"version not found: {version}")
        if tag == "latest" and package.tags.get(tag) != version:
            package.history.append((at or self.clock.now(), version))
        package.tags[tag] = version

    def set_tag(self, name: str, tag: str, version: str, token: Token | None) -> None:
        with self.lock:
            self.writer(token, name)
            package = self.package(name)
            self._tag(package, tag, version)
            package.changes += 1

    def drop_tag(self, name: str, tag: str, token: Token | None) -> None:
        with self.lock:
            self.writer(token, name)
            package = self.package(name)
            if tag == "latest" or tag not in package.tags:
                raise NpmProblem(403 if tag == "latest" else 404, f"{tag} cannot be removed")
            del package.tags[tag]
            package.changes += 1

    def update(self, name: str, document: dict[str, Any], token: Token | None, rev: str = "") -> None:
        """Take a changed document: deprecations, and versions left out, which are unpublished."""
        with self.lock:
            author = self.writer(token, name)
            package = self.package(name)
            if (rev or document.get("_rev")) != package.rev:
                raise NpmProblem(409, "Document update conflict")
            left = document.get("versions")
            if not isinstance(left, dict):
                raise NpmProblem(400, "the document has no versions")
            for version in [v for v in package.versions if v not in left]:
                self._unpublish(package, version, author)
            for version, manifest in left.items():
                if version not in package.versions:
                    raise NpmProblem(400, f"{version} has no attachment")
                kept = {k: v for k, v in package.versions[version].items() if k != "deprecated"}
                said = manifest.get("deprecated")
                package.versions[version] = kept | ({"deprecated": said} if said else {})
            package.changes += 1

    def remove(self, name: str, rev: str, token: Token | None) -> None:
        """Unpublish all that is left of a package."""
        with self.lock:
            author = self.writer(token, name)
            package = self.package(name)
            if rev != package.rev:
                raise NpmProblem(409, "Document update conflict")
            for version in list(package.versions):
                self._unpublish(package, version, author)
            package.changes += 1

    def remove_file(self, name: str, file: str, token: Token | None) -> None:
        """The second half of unpublishing: the tarball goes too."""
        with self.lock:
            self.writer(token, name)
            package = self.packages.get(name)
            if package is None or package.files.pop(file, None) is None:
                raise NpmProblem(404, "Not found")
            package.changes += 1

    def forbidden(self, package: Package, version: str) -> str:
        """The rule that forbids to unpublish it, or ''."""
        if others := [name for name in self.dependents(package.name) if name != package.name]:
            return f"has dependent packages in the registry: {', '.join(others)}"
        if self.clock.now() - package.times[version] < YOUNG:
            return ""
        week = sum(self.downloads(package).values())
        if week >= QUIET:
            return f"had {week} downloads in the last week, {QUIET} or more"
        return "has more than one maintainer" if len(package.maintainers) > 1 else ""

    def _unpublish(self, package: Package, version: str, _author: Token) -> None:
        if why := self.forbidden(package, version):
            raise NpmProblem(405, f"You can no longer unpublish this package. Failed criteria:\n{why}")
        del package.versions[version]
        for tag in [tag for tag, named in package.tags.items() if named == version]:
            del package.tags[tag]
        if not package.versions:
            package.emptied_at = self.clock.now()
        elif "latest" not in package.tags:
            self._tag(package, "latest", max(package.versions, key=order))

    # for the range itself ------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """What matters for comparing end states."""
        with self.lock:
            return {
                "packages": {
                    name: {
                        "tags": dict(package.tags), "files": sorted(package.files),
                        "versions": {v: m.get("deprecated", "") for v, m in package.versions.items()},
                    } for name, package in self.packages.items()
                },
                "staged": sorted(f"{one.package}@{one.version}" for one in self.stage.waiting.values()),
                "tokens": sorted(f"{t.name}: {'revoked' if t.revoked else 'live'}" for t in self.tokens.values()),
            }  # fmt: skip

    def values(self) -> list[str]:
        """Every secret that it knows."""
        with self.lock:
            return list(self.tokens)


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


def _read_document(document: dict[str, Any]) -> tuple[str, tuple[str, dict[str, Any]], bytes]:
    """Name, (version, manifest) and tarball of a document that publishes."""
    try:
        name, versions, attached = document["name"], document["versions"], document["_attachments"]
        (version, manifest), data = next(iter(versions.items())), next(
            base64.b64decode(each["data"], validate=True) for file, each in attached.items() if file.endswith(".tgz")
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration):
        raise NpmProblem(400, "the document does not publish a version with its tarball") from None
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version) or len(versions) != 1:
        raise NpmProblem(400, f"{name}@{version} cannot be published")
    return name, (version, manifest), data


def _bundle(document: dict[str, Any], integrity: str) -> dict[str, Any] | None:
    """The provenance that comes with a version. Raises NpmProblem for one that speaks of another file."""
    said = next((row["data"] for file, row in document["_attachments"].items() if file.endswith(".sigstore")), None)
    if said is None:
        return None
    found: dict[str, Any] = json.loads(said)
    statement = json.loads(base64.b64decode(found["dsseEnvelope"]["payload"]))
    own = base64.b64decode(integrity.removeprefix("sha512-")).hex()
    if statement["subject"][0]["digest"].get("sha512") != own:
        raise NpmProblem(422, "Failed to validate provenance: the subject is not the published package")
    return found


def _dist(data: bytes, said: dict[str, Any]) -> dict[str, Any]:
    """Digests of the tarball. Raises NpmProblem when the client said others."""
    shasum = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    if said.get("shasum", shasum) != shasum or said.get("integrity", integrity) != integrity:
        raise NpmProblem(400, "the tarball does not have the digest that the document says")
    return {"shasum": shasum, "integrity": integrity, "fileCount": said.get("fileCount", 0)}
