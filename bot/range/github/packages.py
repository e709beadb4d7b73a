"""Packages of an organization (docs.github.com/rest/packages/packages).

Only a classic token is taken, and an administrator of the organization. A deleted version can be restored for thirty
days; the last version of a package, and a public one with more than 5,000 downloads, cannot be deleted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bot.range.github import shapes
from bot.range.github.http import Answer, Call, Op, Problem, not_found

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
    versions: dict[int, Version] = field(default_factory=dict)

    @property
    def active(self) -> list[Version]:
        return [version for version in self.versions.values() if version.deleted_at is None]


def _package(call: Call, *scopes: str) -> Package:
    """The package of the path, for a classic token with these scopes of an administrator. Raises 403, 404."""
    token, kind = call.caller.token, call.params["type"]
    if token is None or token.kind != "classic":
        raise Problem(403, "Resource not accessible by integration")
    if missing := [scope for scope in scopes if scope not in token.scopes]:
        said = f"You need at least {', '.join(missing)} scope to do this."
        raise Problem(403, said, headers={"x-accepted-oauth-scopes": ", ".join(scopes)})
    if call.org.members.get(token.account.login) != "admin":
        raise Problem(403, "Must have admin rights to the package.")
    found: Package | None = call.state.packages.get((call.params["org"], kind, call.params["package"]))
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
    Op(method="GET", path=R, handle=versions, needs="token"),
    Op(method="GET", path=R + "/{id}", handle=version, needs="token"),
    Op(method="DELETE", path=R + "/{id}", handle=delete, needs="token"),
    Op(method="POST", path=R + "/{id}/restore", handle=restore, needs="token"),
)
