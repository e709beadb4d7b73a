"""Packages of an organization (docs.github.com/rest/packages/packages).

Only a classic token is taken, and an administrator of the organization. A deleted version can be restored for thirty
days; the last version of a package, and a public one with more than 5,000 downloads, cannot be deleted.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from bot.range.github import shapes
from bot.range.github.http import Answer, Call, Op, Problem, not_found

if TYPE_CHECKING:
    from bot.range.github.state import State

R = "/orgs/{org}/packages/{type}/{package}/versions"
RESTORABLE, WIDESPREAD = timedelta(days=30), 5_000


@dataclass(slots=True, kw_only=True)
class Version:
    id: int
    name: str  # a container's digest
    tags: list[str]
    created_at: datetime
    deleted_at: datetime | None = None
    downloads: int = 0


@dataclass(slots=True, kw_only=True)
class Package:
    id: int
    name: str
    repository: str = ""  # owner/name that it is linked to
    versions: dict[int, Version] = field(default_factory=dict)

    @property
    def active(self) -> list[Version]:
        return [version for version in self.versions.values() if version.deleted_at is None]


class Ghcr:
    """What ghcr.io asks GitHub: it keeps the layers, GitHub keeps who may push and which versions there are.

    It takes no lock of GitHub's: a job that pushes runs inside a request to GitHub, which holds it.
    """

    def __init__(self, state: State) -> None:
        self._state, self._lock = state, threading.Lock()

    def known(self, token: str) -> bool:
        """A classic token that lives."""
        held = self._state.tokens.get(token)
        return held is not None and held.kind == "classic" and not held.revoked

    def may_push(self, token: str, name: str) -> bool:
        """A classic token of a member, with ``write:packages``."""
        held = self._state.tokens.get(token)
        organization = self._state.orgs.get(name.partition("/")[0])
        return (
            held is not None and held.kind == "classic" and not held.revoked and organization is not None
            and "write:packages" in held.scopes and held.account.login in organization.members
        )  # fmt: skip

    def pushed(self, name: str, digest: str, tag: str, source: str) -> None:
        """A version more, or an older one that gets a tag; a deleted one is there again."""
        organization, _, package = name.partition("/")
        with self._lock:
            place = (organization, "container", package)
            held = self._state.packages.get(place)
            if held is None:
                held = self._state.packages[place] = Package(
                    id=self._state.next_id(), name=package, repository=source if source in self._state.repos else ""
                )
            for version in held.versions.values():
                version.tags = [each for each in version.tags if each != tag]
            row = next((version for version in held.versions.values() if version.name == digest), None)
            if row is None:
                number = self._state.next_id()
                row = held.versions[number] = Version(id=number, name=digest, tags=[], created_at=self._state.now())
            row.deleted_at = None
            row.tags += [tag] if tag else []

    def gone(self, name: str, digest: str) -> bool:
        """Whether GitHub has deleted this version."""
        organization, _, package = name.partition("/")
        held = self._state.packages.get((organization, "container", package))
        rows = held.versions.values() if held else ()
        return any(row.name == digest and row.deleted_at is not None for row in rows)


def _admin(call: Call, *scopes: str) -> None:
    """Raises 403 for whatever is no classic token with these scopes, or of no administrator."""
    token = call.caller.token
    if token is None or token.kind != "classic":
        raise Problem(403, "Resource not accessible by integration")
    if missing := [scope for scope in scopes if scope not in token.scopes]:
        said = f"You need at least {', '.join(missing)} scope to do this."
        raise Problem(403, said, headers={"x-accepted-oauth-scopes": ", ".join(scopes)})
    if call.org.members.get(token.account.login) != "admin":
        raise Problem(403, "Must have admin rights to the package.")


def _package(call: Call, *scopes: str) -> Package:
    """The package of the path, for whoever may. Raises 403, 404."""
    _admin(call, *scopes)
    place = (call.params["org"], call.params["type"], call.params["package"])
    found: Package | None = call.state.packages.get(place)
    if found is None:
        raise not_found()
    return found


def _json(call: Call, package: Package, row: Version) -> dict[str, Any]:
    url = f"{call.base}/orgs/{call.params['org']}/packages/{call.params['type']}/{package.name}/versions/{row.id}"
    page = f"https://github.com/orgs/{call.params['org']}/packages/{call.params['type']}/package/{package.name}"
    return {
        "id": row.id, "name": row.name, "url": url, "package_html_url": page, "html_url": f"{page}/{row.id}",
        "created_at": shapes.when(row.created_at), "updated_at": shapes.when(row.created_at),
        "metadata": {"package_type": call.params["type"], "container": {"tags": row.tags}},
        **({"deleted_at": shapes.when(row.deleted_at)} if row.deleted_at else {}),
    }  # fmt: skip


def packages(call: Call) -> Any:
    """The packages of one type; without a type GitHub lists none."""
    _admin(call, "read:packages")
    kind = call.query.get("package_type", "")
    if not kind:
        raise Problem(400, "Invalid argument: package_type is required")
    rows = [
        package for (organization, held, _), package in sorted(call.state.packages.items())
        if organization == call.params["org"] and held == kind and package.active
    ]  # fmt: skip
    return [
        {
            "id": row.id, "name": row.name, "package_type": kind, "visibility": "public",
            "version_count": len(row.active), "owner": {"login": call.params["org"]},
            **({"repository": {"full_name": row.repository}} if row.repository else {}),
        }
        for row in call.page(rows)
    ]  # fmt: skip


def versions(call: Call) -> Any:
    package = _package(call, "read:packages")
    deleted = call.query.get("state", "active") == "deleted"
    kept = [v for v in package.versions.values() if v.deleted_at and call.state.now() - v.deleted_at <= RESTORABLE]
    rows = kept if deleted else package.active
    return [_json(call, package, row) for row in call.page(sorted(rows, key=lambda row: -row.id))]


def version(call: Call) -> Any:
    package = _package(call, "read:packages")
    row = package.versions.get(call.number("id"))
    if row is None or row.deleted_at is not None:
        raise not_found()
    return _json(call, package, row)


def delete(call: Call) -> Any:
    package = _package(call, "read:packages", "delete:packages")
    row = package.versions.get(call.number("id"))
    if row is None or row.deleted_at is not None:
        raise not_found()
    if len(package.active) == 1:
        raise Problem(400, "You cannot delete the last version of a package. You must delete the package instead.")
    if row.downloads > WIDESPREAD:
        raise Problem(400, "Publicly visible package versions with more than 5000 downloads cannot be deleted.")
    row.deleted_at = call.state.now()
    return Answer(204)


def restore(call: Call) -> Any:
    package = _package(call, "read:packages", "write:packages")
    row = package.versions.get(call.number("id"))
    if row is None or row.deleted_at is None or call.state.now() - row.deleted_at > RESTORABLE:
        raise not_found()
    row.deleted_at = None
    return Answer(204)


OPS = (
    Op(method="GET", path="/orgs/{org}/packages", handle=packages, needs="token"),
    Op(method="GET", path=R, handle=versions, needs="token"),
    Op(method="GET", path=R + "/{id}", handle=version, needs="token"),
    Op(method="DELETE", path=R + "/{id}", handle=delete, needs="token"),
    Op(method="POST", path=R + "/{id}/restore", handle=restore, needs="token"),
)
