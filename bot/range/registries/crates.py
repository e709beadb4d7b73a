"""The range's crates.io, its web API and its sparse index, as cargo speaks them.

What it holds to (doc.rust-lang.org/cargo, "Registry Web API" and "Registry Index"; rust-lang/crates.io):

- who sends no user agent is refused; a dead token, and a live one that may not, are both answered 403;
- a version is never taken twice; a yanked one stays, and a lock file that names it still gets it;
- a token without scopes may do everything and revoke itself; one with scopes may do what they say, and that is not
  among them;
- a trusted publisher's token is revoked by whoever holds it, and the answer is always 204.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import string
import struct
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from bot.range.registries.server import RegistryServer, Token, iso, order
from bot.range.served import Asked, Handler, Problem, Said


@dataclass(slots=True, kw_only=True)
class Version:
    num: str
    data: bytes = field(repr=False)
    at: datetime
    by: str
    deps: list[dict[str, Any]] = field(default_factory=list)
    yanked: bool = False
    message: str = ""
    publisher: dict[str, Any] | None = None  # of a trusted publisher

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(slots=True, kw_only=True)
class Crate:
    name: str
    owners: list[str]
    repository: str = ""
    versions: dict[str, Version] = field(default_factory=dict)


def _refused(detail: str, status: int = 403) -> Problem:
    return Problem(status, {"errors": [{"detail": detail}]})


class Crates(RegistryServer):
    name = "crates"

    def empty(self) -> None:
        self.crates: dict[str, Crate] = {}

    def make_value(self, user: str, packages: tuple[str, ...]) -> str:
        return "cio" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))

    def crate(self, name: str) -> Crate:
        found = self.crates.get(name)
        if found is None:
            raise _refused(f"crate `{name}` does not exist", 404)
        return found

    def version(self, asked: Asked) -> tuple[Crate, Version]:
        crate = self.crate(asked.words["name"])
        found = crate.versions.get(asked.words["version"])
        if found is None:
            raise _refused(f"crate `{crate.name}` does not have a version `{asked.words['version']}`", 404)
        return crate, found

    def known(self, asked: Asked) -> Token:
        """Whose token it is. Raises 403 without a user agent, and for a dead one."""
        if not asked.headers.get("user-agent"):
            raise _refused("We require that all requests include a `User-Agent` header.")
        token = self.live(asked.headers.get("authorization", ""))
        if token is None:
            raise _refused("authentication failed")
        return token

    def caller(self, asked: Asked, scope: str) -> Token:
        """The same, and 403 where its scopes say no."""
        token = self.known(asked)
        if token.scopes and scope not in token.scopes:
            raise _refused("this token does not have the required permissions to perform this action")
        return token

    # accounts

    def me(self, asked: Asked) -> Any:
        self.known(asked)
        raise _refused("this action can only be performed on the crates.io website")

    def revoke_current(self, asked: Asked) -> Any:
        self.caller(asked, "no scope allows it").revoked = True
        return Said("", 204)

    def revoke_trusted(self, asked: Asked) -> Any:
        token = self.live(asked.headers.get("authorization", "").removeprefix("Bearer "))
        if token is not None:
            token.revoked = True
        return Said("", 204)

    # publishing

    def publish_new(self, asked: Asked) -> Any:
        """``cargo publish``: lengths and bytes of the metadata and of the crate, one after the other."""
        try:
            (size,) = struct.unpack_from("<I", asked.raw)
            said = json.loads(asked.raw[4 : 4 + size])
            (length,) = struct.unpack_from("<I", asked.raw, 4 + size)
            data = asked.raw[8 + size : 8 + size + length]
            name, num = str(said["name"]), str(said["vers"])
        except (struct.error, ValueError, KeyError):
            raise _refused("invalid upload request", 400) from None
        token = self.caller(asked, "publish-update" if name in self.crates else "publish-new")
        deps = [each for each in said.get("deps") or () if isinstance(each, dict)]
        self.publish(token.user, name, num, data, deps=deps, repository=str(said.get("repository") or ""))
        return {"warnings": {"invalid_categories": [], "invalid_badges": [], "other": []}}

    def publish(
        self, user: str, name: str, num: str, data: bytes, *, at: datetime | None = None, repository: str = "",
        deps: list[dict[str, Any]] | None = None, publisher: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Take a version, now or ``at`` a time. Raises Problem by the registry's rules."""
        with self.lock:
            crate = self.crates.setdefault(name, Crate(name=name, owners=[user], repository=repository))
            if user not in crate.owners:
                raise _refused("this crate exists but you don't seem to be an owner")
            if num in crate.versions:
                raise _refused(f"crate version `{num}` is already uploaded", 400)
            crate.versions[num] = Version(
                num=num, data=data, at=at or self.clock.now(), by=user, deps=deps or [], publisher=publisher
            )

    def _mark(self, asked: Asked, yanked: bool, message: str | None = None) -> None:
        token = self.caller(asked, "yank")
        crate, version = self.version(asked)
        if token.user not in crate.owners:
            raise _refused("must already be an owner to yank or unyank")
        version.yanked = yanked
        version.message = "" if not yanked else version.message if message is None else message

    def yank(self, asked: Asked) -> Any:
        self._mark(asked, True)
        return {"ok": True}

    def unyank(self, asked: Asked) -> Any:
        self._mark(asked, False)
        return {"ok": True}

    def change(self, asked: Asked) -> Any:
        said = asked.json.get("version")
        if not isinstance(said, dict) or not isinstance(said.get("yanked"), bool):
            raise _refused("invalid request body", 400)
        if said.get("yank_message") and not said["yanked"]:
            raise _refused("Cannot set yank message when unyanking", 400)
        self._mark(asked, said["yanked"], str(said.get("yank_message") or ""))
        return self.one(asked)

    # reading

    def _row(self, crate: Crate, version: Version) -> dict[str, Any]:
        return {
            "crate": crate.name, "num": version.num, "created_at": iso(version.at), "checksum": version.checksum,
            "dl_path": f"/api/v1/crates/{crate.name}/{version.num}/download", "yanked": version.yanked,
            "yank_message": version.message or None, "downloads": self.climbed(version.at),
            "published_by": None if version.publisher else {"login": version.by, "name": version.by},
            "trustpub_data": version.publisher,
        }  # fmt: skip

    def whole(self, asked: Asked) -> Any:
        crate = self.crate(asked.words["name"])
        rows = sorted(crate.versions.values(), key=lambda v: order(v.num), reverse=True)
        return {
            "crate": {
                "id": crate.name, "name": crate.name, "repository": crate.repository or None, "homepage": None,
                "newest_version": rows[0].num, "default_version": self.delivered(crate.name) or rows[0].num,
            },
            "versions": [self._row(crate, version) for version in rows],
        }  # fmt: skip

    def one(self, asked: Asked) -> Any:
        return {"version": self._row(*self.version(asked))}

    def owners(self, asked: Asked) -> Any:
        names = self.crate(asked.words["name"]).owners
        return {"users": [{"id": k, "login": name, "kind": "user"} for k, name in enumerate(names, 1)]}

    def file(self, asked: Asked) -> Any:
        return self.version(asked)[1].data

    def config(self, _asked: Asked) -> Any:
        return {"dl": f"{self.base_url}/api/v1/crates", "api": self.base_url}

    def index(self, asked: Asked) -> Any:
        crate = self.crate(asked.words["name"])
        lines = [
            json.dumps({
                "name": crate.name, "vers": v.num, "deps": [_dependency(each) for each in v.deps],
                "cksum": v.checksum, "features": {}, "yanked": v.yanked,
            })
            for v in crate.versions.values()
        ]  # fmt: skip
        return Said("\n".join(lines) + "\n", headers={"cache-control": "no-cache"})

    # for the range itself

    def delivered(self, package: str) -> str:
        return max((v.num for v in self.crate(package).versions.values() if not v.yanked), key=order, default="")

    def packages_state(self) -> dict[str, Any]:
        return {
            name: {v.num: f"yanked: {v.message}" if v.yanked else "" for v in crate.versions.values()}
            for name, crate in self.crates.items()
        }

    _CRATE = "/api/v1/crates/(?P<name>[^/]+)"
    _VERSION = f"{_CRATE}/(?P<version>[^/]+)"
    routes: ClassVar[tuple[tuple[str, str, Handler], ...]] = (
        ("GET", "/api/v1/me", me),
        ("DELETE", "/api/v1/tokens/current", revoke_current),
        ("DELETE", "/api/v1/trusted_publishing/tokens", revoke_trusted),
        ("PUT", "/api/v1/crates/new", publish_new),
        ("GET", _CRATE, whole),
        ("GET", f"{_CRATE}/owners", owners),
        ("GET", f"{_VERSION}/download", file),
        ("DELETE", f"{_VERSION}/yank", yank),
        ("PUT", f"{_VERSION}/unyank", unyank),
        ("GET", _VERSION, one),
        ("PATCH", _VERSION, change),
        ("GET", "/index/config.json", config),
        ("GET", "/index/.+/(?P<name>[^/]+)", index),
    )


def _dependency(said: dict[str, Any]) -> dict[str, Any]:
    """A dependency as the index has it, from what ``cargo publish`` sends."""
    names = ("name", "features", "optional", "default_features", "target", "kind", "registry")
    return {name: said.get(name) for name in names} | {"req": said.get("version_req")}
