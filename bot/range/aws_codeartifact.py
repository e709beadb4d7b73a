"""CodeArtifact of the range, which moto has not: domains, repositories, packages and the states of their versions.

Source: the API Reference of CodeArtifact (2018-09-22) and its User Guide, "Packages overview" (package version status,
overwriting package assets), "Update package version status", "Delete or dispose of package versions", "Logging
CodeArtifact API calls with AWS CloudTrail". Of a call for several versions the failures are in a list of a good answer.

Left out: the endpoints of package managers (a generic package is published by the API itself), upstream repositories,
external connections but as where a version came from, and policies of domains and repositories.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bot.range import aws_rest
from bot.range.aws_sts import ACCOUNT
from bot.range.aws_wire import AwsError, Call
from bot.range.clock import RangeClock

SERVICE = "codeartifact"
TOKEN_S = 43200  # how long a token lives at most, and unless told otherwise
PUBLISHED, UNFINISHED, UNLISTED, ARCHIVED, DISPOSED = "Published", "Unfinished", "Unlisted", "Archived", "Disposed"
_MAY_BE = {PUBLISHED, UNLISTED, ARCHIVED}  # what UpdatePackageVersionsStatus may make of a version
_HIDDEN = {ARCHIVED, DISPOSED}  # their assets cannot be had
_DOMAIN = re.compile(r"[a-z][a-z0-9-]{0,48}[a-z0-9]")
_FORMATS = {"npm", "pypi", "maven", "nuget", "generic", "ruby", "swift", "cargo"}
_NAMED = {  # how CloudTrail calls the parameters
    "domain": "domainName", "repository": "repositoryName", "format": "packageFormat", "package": "packageName",
    "namespace": "packageNamespace", "asset": "assetName",
}  # fmt: skip

Package = tuple[str, str, str]  # format, namespace ('' for none), name


@dataclass(slots=True)
class _Version:
    """A version; ``origin`` is INTERNAL where somebody published it here, EXTERNAL where it was taken in."""

    status: str
    at: float
    origin: str
    entry: dict[str, str]
    assets: dict[str, bytes] = field(default_factory=dict)
    source: str = ""

    @property
    def revision(self) -> str:
        """Changes with its assets and with nothing else."""
        named = "".join(f"{name} {hashlib.sha256(data).hexdigest()}\n" for name, data in sorted(self.assets.items()))
        return base64.b64encode(hashlib.sha256(named.encode()).digest()).decode()


@dataclass(slots=True)
class _Repository:
    domain: str
    name: str
    region: str
    made: float
    packages: dict[Package, dict[str, _Version]] = field(default_factory=dict)

    def publish(self, package: Package) -> str:
        """The origin control of a package: what was first taken in from outside may not be published here."""
        first = min(self.packages[package].values(), key=lambda row: row.at)
        return "ALLOW" if first.origin == "INTERNAL" else "BLOCK"


class CodeArtifact:
    """The domains of account 123456789012, in every region that is asked."""

    def __init__(self, clock: RangeClock) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """No domain."""
        self._domains: dict[tuple[str, str], float] = {}
        self._repositories: dict[tuple[str, str, str], _Repository] = {}
        self._tokens: list[str] = []
        self.newest_first = True  # of a list by time; AWS documents neither

    def snapshot(self) -> dict[str, Any]:
        """Domain/repository -> package -> version -> its status and its assets, for comparing end states."""
        return {
            f"{region} {domain}/{name}": {
                ":".join(package): {
                    version: {"status": row.status, "assets": sorted(row.assets)} for version, row in rows.items()
                }
                for package, rows in sorted(held.packages.items())
            }
            for (region, domain, name), held in sorted(self._repositories.items())
        }

    # what seeds it ----------------------------------------------------------------------------------------------------

    def take_in(
        self, region: str, domain: str, repository: str, package: Package, version: str, *, connection: str = ""
    ) -> None:  # fmt: skip
        """A version that a package manager brought: published here, or by ``connection`` (``public:npmjs``)."""
        held = self._repositories[region, domain, repository]
        entry = {"externalConnectionName": connection} if connection else {"repositoryName": repository}
        row = _Version(PUBLISHED, self._clock.time(), "EXTERNAL" if connection else "INTERNAL", entry)
        row.assets[f"{package[2]}-{version}.tgz"] = version.encode()
        held.packages.setdefault(package, {})[version] = row

    def put_status(
        self, region: str, domain: str, repository: str, package: Package, version: str, status: str
    ) -> None:
        """Somebody with other rights than ours sets a status."""
        self._repositories[region, domain, repository].packages[package][version].status = status

    # calls ------------------------------------------------------------------------------------------------------------

    def answer(self, call: Call) -> dict[str, Any]:
        """The answer to a call. Raises AwsError."""
        done: dict[str, Callable[[Call], dict[str, Any]]] = {
            "CreateDomain": self._create_domain, "CreateRepository": self._create_repository,
            "ListRepositories": self._list_repositories, "ListPackages": self._list_packages,
            "ListPackageVersions": self._list_versions, "DescribePackageVersion": self._describe,
            "ListPackageVersionAssets": self._list_assets, "GetPackageVersionAsset": self._asset,
            "PublishPackageVersion": self._publish, "UpdatePackageVersionsStatus": self._update,
            "GetAuthorizationToken": self._token, "DisposePackageVersions": self._dispose,
            "DeletePackageVersions": self._delete,
        }  # fmt: skip
        if call.operation not in done:
            raise AwsError("ValidationException", f"The range has no {call.route}", 400)
        if lacking := aws_rest.missing(SERVICE, call.operation, call.params):
            raise AwsError("ValidationException", f"{lacking[0]} must not be null", 400)
        return done[call.operation](call)

    def values(self) -> list[str]:
        """Every secret that was given out."""
        return list(self._tokens)

    def _token(self, call: Call) -> dict[str, Any]:
        """What package managers sign in with; how it may be used is left out here."""
        self._domain(call)
        seconds = int(call.params.get("durationSeconds", TOKEN_S))
        if seconds and not 900 <= seconds <= TOKEN_S:
            raise AwsError("ValidationException", "durationSeconds must be 0, or from 900 to 43200", 400)
        self._tokens.append(f"made-up-codeartifact-{secrets.token_hex(24)}")
        until = datetime.fromtimestamp(self._clock.time() + (seconds or TOKEN_S), UTC)
        return {"authorizationToken": self._tokens[-1], "expiration": until}

    def _create_domain(self, call: Call) -> dict[str, Any]:
        name = str(call.params["domain"])
        if not _DOMAIN.fullmatch(name):
            raise AwsError("ValidationException", f"{name} is no name of a domain", 400)
        if (call.region, name) in self._domains:
            raise AwsError("ConflictException", f"Domain already exists: {name}", 409)
        self._domains[call.region, name] = self._clock.time()
        return {"domain": {"name": name, "owner": ACCOUNT, "status": "Active"}}

    def _create_repository(self, call: Call) -> dict[str, Any]:
        domain, name = self._domain(call), str(call.params["repository"])
        key = (call.region, domain, name)
        if key in self._repositories:
            raise AwsError("ConflictException", f"Repository already exists: {name}", 409)
        self._repositories[key] = _Repository(domain, name, call.region, self._clock.time())
        return {"repository": self._repository_row(self._repositories[key])}

    def _repository_row(self, held: _Repository) -> dict[str, Any]:
        return {
            "name": held.name, "administratorAccount": ACCOUNT, "domainName": held.domain, "domainOwner": ACCOUNT,
            "arn": f"arn:aws:codeartifact:{held.region}:{ACCOUNT}:repository/{held.domain}/{held.name}",
            "createdTime": datetime.fromtimestamp(held.made, UTC),
        }  # fmt: skip

    def _list_repositories(self, call: Call) -> dict[str, Any]:
        prefix = str(call.params.get("repositoryPrefix", ""))
        rows = [
            self._repository_row(held) for (region, _, name), held in sorted(self._repositories.items())
            if region == call.region and name.startswith(prefix)
        ]  # fmt: skip
        return _page(call, "repositories", rows)

    def _list_packages(self, call: Call) -> dict[str, Any]:
        held = self._repository(call)
        rows = [
            {"format": kind, "package": name} | ({"namespace": namespace} if namespace else {})
            for kind, namespace, name in sorted(held.packages)
            if call.params.get("format", kind) == kind and call.params.get("namespace", namespace) == namespace
            and name.startswith(str(call.params.get("packagePrefix", "")))
            and call.params.get("publish", publish := held.publish((kind, namespace, name))) == publish
        ]  # fmt: skip
        return _page(call, "packages", rows)

    def _list_versions(self, call: Call) -> dict[str, Any]:
        """Of every status, says ListPackageVersions; archived ones do not show, says DeletePackageVersions.

        Here they do not, unless they are asked for.
        """
        wanted, origin = call.params.get("status"), call.params.get("originType")

        def by_time(item: tuple[str, _Version]) -> float:
            return -item[1].at if self.newest_first else item[1].at

        rows = [
            {"version": name, "revision": row.revision, "status": row.status, "origin": _origin(row)}
            for name, row in sorted(self._package(call).items(), key=by_time if "sortBy" in call.params else None)
            if (row.status == wanted if wanted else row.status not in _HIDDEN) and origin in (None, row.origin)
        ]  # fmt: skip
        return _named(call) | _page(call, "versions", rows)

    def _describe(self, call: Call) -> dict[str, Any]:
        row, kept = self._version(call), _named(call)
        name, namespace = kept.pop("package"), kept.get("namespace", "")
        shown = f"@{namespace}/{name}" if call.params["format"] == "npm" and namespace else name
        return {"packageVersion": kept | {
            "packageName": name, "displayName": shown, "version": call.params["packageVersion"],
            "publishedTime": datetime.fromtimestamp(row.at, UTC), "revision": row.revision, "status": row.status,
            "origin": _origin(row),
        } | ({"sourceCodeRepository": row.source} if row.source else {})}  # fmt: skip

    def _list_assets(self, call: Call) -> dict[str, Any]:
        row = self._version(call)
        rows = [
            {"name": name, "size": len(data), "hashes": {"SHA-256": hashlib.sha256(data).hexdigest()}}
            for name, data in sorted(row.assets.items())
        ]  # fmt: skip
        named = _named(call) | {"version": call.params["packageVersion"], "versionRevision": row.revision}
        return named | _page(call, "assets", rows)

    def _asset(self, call: Call) -> dict[str, Any]:
        row, name = self._version(call), str(call.params["asset"])
        if row.status in _HIDDEN or name not in row.assets:
            raise AwsError("ResourceNotFoundException", f"Asset not found: {name}", 404)
        version = call.params["packageVersion"]
        return {"asset": row.assets[name], "assetName": name, "packageVersion": version,
                "packageVersionRevision": row.revision}  # fmt: skip

    def _publish(self, call: Call) -> dict[str, Any]:
        """The same asset again changes nothing; another one of that name is refused; one more may always be added."""
        held, package = self._repository(call), _package(call)
        name, data, version = str(call.params["assetName"]), call.body, str(call.params["packageVersion"])
        if package[0] != "generic":
            raise AwsError("ValidationException", "Only generic packages can be published by this operation", 400)
        if hashlib.sha256(data).hexdigest() != call.params["assetSHA256"]:
            raise AwsError("ValidationException", "The SHA-256 is not that of the asset", 400)
        row = held.packages.get(package, {}).get(version)
        if row is not None and row.status not in (PUBLISHED, UNFINISHED) and row.assets.get(name) != data:
            raise AwsError("ConflictException", f"{version} is {row.status}", 409)
        if row is not None and row.assets.get(name, data) != data:
            raise AwsError("ConflictException", f"Asset already exists with other content: {name}", 409)
        if row is None:
            status = UNFINISHED if call.params.get("unfinished") else PUBLISHED
            row = _Version(status, self._clock.time(), "INTERNAL", {"repositoryName": held.name})
            held.packages.setdefault(package, {})[version] = row
        elif row.status == UNFINISHED and not call.params.get("unfinished"):
            row.status, row.at = PUBLISHED, self._clock.time()
        row.assets[name] = data
        asset = {"name": name, "size": len(data), "hashes": {"SHA-256": hashlib.sha256(data).hexdigest()}}
        told = {"version": version, "versionRevision": row.revision, "status": row.status, "asset": asset}
        return _named(call) | told

    def _update(self, call: Call) -> dict[str, Any]:
        wanted = str(call.params["targetStatus"])
        if wanted not in _MAY_BE:
            raise AwsError("ValidationException", f"A version cannot be made {wanted}", 400)

        def change(row: _Version) -> None:
            row.status = wanted

        return self._each(call, change, lambda row: "" if row.status != DISPOSED else "it has been disposed of")

    def _dispose(self, call: Call) -> dict[str, Any]:
        def change(row: _Version) -> None:
            row.status = DISPOSED
            row.assets.clear()

        return self._each(call, change, lambda _row: "")

    def _delete(self, call: Call) -> dict[str, Any]:
        held, package = self._repository(call), _package(call)

        def change(row: _Version) -> None:
            rows = held.packages[package]
            rows.pop(next(name for name, each in rows.items() if each is row))
            row.status = "Deleted"

        told = self._each(call, change, lambda _row: "")
        if not held.packages.get(package, True):
            del held.packages[package]
        return told

    def _each(
        self, call: Call, change: Callable[[_Version], None], forbidden: Callable[[_Version], str]
    ) -> dict[str, Any]:  # fmt: skip
        """What becomes of each version; where one is not as expected, none is changed and the others are skipped."""
        rows, expected = self._package(call), call.params.get("expectedStatus")
        revisions = call.params.get("versionRevisions") or {}
        failed: dict[str, Any] = {}
        names = list(call.params["versions"])
        for name in names:
            row = rows.get(name)
            if row is None:
                failed[name] = _failure("NOT_FOUND", f"{name} is not there")
            elif expected and row.status != expected:
                failed[name] = _failure("MISMATCHED_STATUS", f"it is {row.status}, not {expected}")
            elif name in revisions and revisions[name] != row.revision:
                failed[name] = _failure("MISMATCHED_REVISION", f"its revision is {row.revision}")
            elif why := forbidden(row):
                failed[name] = _failure("NOT_ALLOWED", why)
        good: dict[str, Any] = {}
        for name in names:
            if failed and name not in failed:
                failed[name] = _failure("SKIPPED", "another version failed")
            elif not failed:
                change(row := rows[name])
                good[name] = {"revision": row.revision, "status": row.status}
        return {"successfulVersions": good, "failedVersions": failed}

    # what is there ----------------------------------------------------------------------------------------------------

    def _domain(self, call: Call) -> str:
        name = str(call.params["domain"])
        if (call.region, name) not in self._domains or call.params.get("domainOwner", ACCOUNT) != ACCOUNT:
            raise AwsError("ResourceNotFoundException", f"Domain not found: {name}", 404)
        return name

    def _repository(self, call: Call) -> _Repository:
        found = self._repositories.get((call.region, self._domain(call), str(call.params["repository"])))
        if found is None:
            said = f"Repository not found: {call.params['repository']}"
            raise AwsError("ResourceNotFoundException", said, 404)
        return found

    def _package(self, call: Call) -> dict[str, _Version]:
        held, package = self._repository(call), _package(call)
        if package not in held.packages:
            raise AwsError("ResourceNotFoundException", f"Package not found: {package[2]}", 404)
        return held.packages[package]

    def _version(self, call: Call) -> _Version:
        found = self._package(call).get(str(call.params["packageVersion"]))
        if found is None:
            said = f"Package version not found: {call.params['packageVersion']}"
            raise AwsError("ResourceNotFoundException", said, 404)
        return found


def recorded(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters as CloudTrail names them."""
    return {_NAMED.get(name, name): value for name, value in params.items()}


def resource(call: Call) -> str:
    """The ARN that a call works on (Service Authorization Reference, "AWS CodeArtifact")."""
    given, base = call.params, f"arn:aws:codeartifact:{call.region}:{ACCOUNT}"
    if "package" in given:
        where = f"{given.get('domain')}/{given.get('repository')}/{given.get('format')}"
        return f"{base}:package/{where}/{given.get('namespace', '')}/{given['package']}"
    if "repository" in given:
        return f"{base}:repository/{given.get('domain')}/{given['repository']}"
    return f"{base}:domain/{given['domain']}" if "domain" in given else "*"


def _package(call: Call) -> Package:
    kind = str(call.params["format"])
    if kind not in _FORMATS:
        raise AwsError("ValidationException", f"{kind} is no format", 400)
    return kind, str(call.params.get("namespace", "")), str(call.params["package"])


def _named(call: Call) -> dict[str, Any]:
    return {name: call.params[name] for name in ("format", "namespace", "package") if name in call.params}


def _origin(row: _Version) -> dict[str, Any]:
    return {"domainEntryPoint": row.entry, "originType": row.origin}


def _failure(code: str, why: str) -> dict[str, str]:
    return {"errorCode": code, "errorMessage": why}


def _page(call: Call, items: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """So many at a time; the token is where the next page begins."""
    most, start = int(call.params.get("maxResults", 1000)), str(call.params.get("nextToken") or "0")
    if not 1 <= most <= 1000 or not start.isdigit():
        raise AwsError("ValidationException", "maxResults or nextToken is not valid", 400)
    end = int(start) + most
    return {items: rows[int(start) : end]} | ({"nextToken": str(end)} if end < len(rows) else {})
