"""HTTP of the range's npm registry, as the npm client speaks it (npm CLI source; github.com/npm/registry, docs).

Beside the registry's own paths it answers for api.npmjs.org: ``/downloads/point/last-week/NAME`` and
``/versions/NAME/last-week``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bot.range.issuer import OidcIssuer
from bot.range.npm import NpmProblem, NpmRegistry, Token
from bot.range.npm_trust import exchanged
from bot.range.switchboard import AsgiApp, Switchboard

_NAME = r"(?P<name>(?:@[^/]+/)?[^/@-][^/]*)"
_SHORT = (
    "name", "version", "dependencies", "optionalDependencies", "bin", "engines", "dist", "deprecated", "os", "cpu",
    "hasInstallScript", "peerDependencies",
)  # fmt: skip
_INSTALLS = ("preinstall", "install", "postinstall")
Handler = Callable[["NpmWeb", "_Asked"], Any]


class _Asked:
    """One request: its words, who asks, and its body."""

    def __init__(self, request: Request, found: re.Match[str], body: bytes, registry: NpmRegistry) -> None:
        self.words = {k: unquote(v) for k, v in found.groupdict().items() if v is not None}
        self.query, self.raw = request.query_params, body
        self._authorization, self._registry = request.headers.get("authorization", ""), registry
        self.short = "vnd.npm.install-v1" in request.headers.get("accept", "")

    @property
    def token(self) -> Token | None:
        return self._registry.caller(self._authorization)

    @property
    def bearer(self) -> str:
        return self._authorization.removeprefix("Bearer ").strip()

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.raw or b"null")
        except ValueError:
            raise NpmProblem(400, "the body is not JSON") from None

    @property
    def document(self) -> dict[str, Any]:
        if not isinstance(found := self.json, dict):
            raise NpmProblem(400, "the body is not a document")
        return found


class NpmWeb:
    """``asgi`` is the app."""

    def __init__(self, registry: NpmRegistry, switchboard: Switchboard, issuer: OidcIssuer | None = None) -> None:
        """``issuer``: whose id-tokens are taken for trusted publishing."""
        self.registry, self.issuer = registry, issuer
        app = Starlette(routes=[Route("/{rest:path}", _Endpoint(self))])
        app.router.redirect_slashes = False
        self.asgi: AsgiApp = switchboard.asgi(app, "npm")

    def respond(self, request: Request, body: bytes) -> Response:
        path = request.url.path.replace("%2f", "/").replace("%2F", "/")
        headers: dict[str, str] = {}
        try:
            handle, found = _route(request.method, path)
            with self.registry.lock:
                answer, status = handle(self, _Asked(request, found, body, self.registry)), 200
        except NpmProblem as problem:
            answer, status, headers = {"error": str(problem)}, problem.status, problem.headers
        if isinstance(answer, bytes):
            return Response(answer, status, headers, "application/octet-stream")
        return Response(json.dumps(answer), status, headers, "application/json")

    # accounts

    def ping(self, _asked: _Asked) -> Any:
        return {}

    def whoami(self, asked: _Asked) -> Any:
        token = asked.token
        if token is None:
            raise NpmProblem(401, "You must be logged in.")
        return {"username": token.user}

    def tokens(self, asked: _Asked) -> Any:
        """Only a person may manage tokens: a second factor is asked whatever the token may do."""
        self.whoami(asked)
        raise NpmProblem(401, "You must provide a one-time pass.", {"www-authenticate": "OTP"})

    def exchange(self, asked: _Asked) -> Any:
        found = exchanged(self.registry, self.issuer, asked.words["name"], asked.bearer)
        if found is None:
            raise NpmProblem(404, "OIDC token exchange error - package not found")
        return found

    def nothing_known(self, _asked: _Asked) -> Any:
        return {}  # no advisories

    # packages

    def packument(self, asked: _Asked) -> Any:
        if asked.query.get("write"):
            self.registry.writer(asked.token, asked.words["name"])
        found = self.registry.packument(self.registry.package(asked.words["name"]))
        if not asked.short:
            return found
        found["versions"] = {
            version: {k: m[k] for k in _SHORT if k in m}
            | ({"hasInstallScript": True} if any(s in (m.get("scripts") or {}) for s in _INSTALLS) else {})
            for version, m in found["versions"].items()
        }
        return {k: found[k] for k in ("name", "dist-tags", "versions")} | {"modified": found["time"]["modified"]}

    def manifest(self, asked: _Asked) -> Any:
        found = self.registry.packument(self.registry.package(asked.words["name"]))
        version = found["dist-tags"].get(asked.words["version"], asked.words["version"])
        if version not in found["versions"]:
            raise NpmProblem(404, f"version not found: {version}")
        return found["versions"][version]

    def attestations(self, asked: _Asked) -> Any:
        return self.registry.attestations(asked.words["name"], asked.words["version"])

    def keys(self, _asked: _Asked) -> Any:
        return {"keys": self.registry.keys.published()}

    # staged publishing

    def put_on_stage(self, asked: _Asked) -> Any:
        return {"stageId": self.registry.put_on_stage(asked.words["name"], asked.document, asked.token)}

    def staged(self, asked: _Asked) -> Any:
        rows = [one.row() for one in self.registry.stage.seen(asked.token, asked.query.get("package", ""))]
        page, size = int(asked.query.get("page", "0")), int(asked.query.get("perPage", "100"))
        return {"items": rows[page * size : (page + 1) * size], "total": len(rows), "page": page, "perPage": size}

    def one_staged(self, asked: _Asked) -> Any:
        found = next((one for one in self.registry.stage.seen(asked.token) if one.id == asked.words["id"]), None)
        if found is None:
            raise NpmProblem(404, "Not found")
        return found.row()

    def judge_staged(self, asked: _Asked) -> Any:
        """Approve or reject: for a person, whose second factor no token has."""
        self.one_staged(asked)
        raise NpmProblem(401, "This operation requires a one-time password.", {"www-authenticate": "OTP"})

    def tarball(self, asked: _Asked) -> Any:
        package = self.registry.packages.get(asked.words["name"])
        data = package.files.get(asked.words["file"]) if package else None
        if data is None:
            raise NpmProblem(404, "Not found")
        return data

    def put(self, asked: _Asked) -> Any:
        document = asked.document
        if document.get("_attachments"):
            self.registry.publish(document, asked.token)
        else:
            self.registry.update(asked.words["name"], document, asked.token, asked.words.get("rev", ""))
        return {"ok": True, "success": True}

    def delete(self, asked: _Asked) -> Any:
        self.registry.remove(asked.words["name"], asked.words["rev"], asked.token)
        return {"ok": True}

    def delete_file(self, asked: _Asked) -> Any:
        self.registry.remove_file(asked.words["name"], asked.words["file"], asked.token)
        return {"ok": True}

    def tags(self, asked: _Asked) -> Any:
        return dict(self.registry.package(asked.words["name"]).tags)

    def set_tag(self, asked: _Asked) -> Any:
        if not isinstance(version := asked.json, str):
            raise NpmProblem(400, "a dist-tag names a version")
        self.registry.set_tag(asked.words["name"], asked.words["tag"], version, asked.token)
        return self.tags(asked)

    def drop_tag(self, asked: _Asked) -> Any:
        self.registry.drop_tag(asked.words["name"], asked.words["tag"], asked.token)
        return {"ok": True}

    def search(self, asked: _Asked) -> Any:
        """What a maintainer has, or packages by a word of their name."""
        text = asked.query.get("text", "")
        who = text.removeprefix("maintainer:") if text.startswith("maintainer:") else ""
        found = [
            package for package in self.registry.packages.values()
            if package.versions and (who in package.maintainers if who else text in package.name)
        ]  # fmt: skip
        start, size = int(asked.query.get("from", "0")), int(asked.query.get("size", "20"))
        rows = [{"package": {"name": p.name, "version": p.tags.get("latest", "")}} for p in found]
        return {"objects": rows[start : start + size], "total": len(rows)}

    # api.npmjs.org

    def point(self, asked: _Asked) -> Any:
        package = self.registry.package(asked.words["name"])
        return {"downloads": sum(self.registry.downloads(package).values()), "package": package.name}

    def by_version(self, asked: _Asked) -> Any:
        package = self.registry.package(asked.words["name"])
        return {"package": package.name, "downloads": self.registry.downloads(package)}


class _Endpoint:
    """An ASGI endpoint for every method."""

    def __init__(self, web: NpmWeb) -> None:
        self._web = web

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        body = await request.body()
        response = await run_in_threadpool(self._web.respond, request, body)
        await response(scope, receive, send)


def _route(method: str, path: str) -> tuple[Handler, re.Match[str]]:
    for wanted, pattern, handle in _ROUTES:
        if wanted == method and (found := pattern.fullmatch(path)):
            return handle, found
    raise NpmProblem(404, "Not found")


_ROUTES: tuple[tuple[str, re.Pattern[str], Handler], ...] = tuple(
    (method, re.compile(path), handle)
    for method, path, handle in (
        ("GET", "/-/ping", NpmWeb.ping),
        ("GET", "/-/whoami", NpmWeb.whoami),
        ("GET", "/-/npm/v1/tokens", NpmWeb.tokens),
        ("POST", "/-/npm/v1/tokens", NpmWeb.tokens),
        ("DELETE", "/-/npm/v1/tokens/token/[^/]+", NpmWeb.tokens),
        ("DELETE", "/-/user/token/[^/]+", NpmWeb.tokens),
        ("POST", f"/-/npm/v1/oidc/token/exchange/package/{_NAME}", NpmWeb.exchange),
        ("POST", "/-/npm/v1/security/advisories/bulk", NpmWeb.nothing_known),
        ("GET", f"/-/npm/v1/attestations/{_NAME}@(?P<version>[^/@]+)", NpmWeb.attestations),
        ("GET", "/-/npm/v1/keys", NpmWeb.keys),
        ("GET", "/-/stage", NpmWeb.staged),
        ("POST", f"/-/stage/package/{_NAME}", NpmWeb.put_on_stage),
        ("GET", "/-/stage/(?P<id>[0-9a-f-]{36})", NpmWeb.one_staged),
        ("DELETE", "/-/stage/(?P<id>[0-9a-f-]{36})", NpmWeb.judge_staged),
        ("POST", "/-/stage/(?P<id>[0-9a-f-]{36})/approve", NpmWeb.judge_staged),
        ("GET", "/-/v1/search", NpmWeb.search),
        ("GET", f"/downloads/point/last-week/{_NAME}", NpmWeb.point),
        ("GET", f"/versions/{_NAME}/last-week", NpmWeb.by_version),
        ("GET", f"/-/package/{_NAME}/dist-tags", NpmWeb.tags),
        ("PUT", f"/-/package/{_NAME}/dist-tags/(?P<tag>[^/]+)", NpmWeb.set_tag),
        ("DELETE", f"/-/package/{_NAME}/dist-tags/(?P<tag>[^/]+)", NpmWeb.drop_tag),
        ("GET", f"/{_NAME}/-/(?P<file>[^/]+\\.tgz)", NpmWeb.tarball),
        ("DELETE", f"/{_NAME}/-/(?P<file>[^/]+\\.tgz)/-rev/(?P<rev>[^/]+)", NpmWeb.delete_file),
        ("PUT", f"/{_NAME}/-rev/(?P<rev>[^/]+)", NpmWeb.put),
        ("DELETE", f"/{_NAME}/-rev/(?P<rev>[^/]+)", NpmWeb.delete),
        ("GET", f"/{_NAME}", NpmWeb.packument),
        ("PUT", f"/{_NAME}", NpmWeb.put),
        ("GET", f"/{_NAME}/(?P<version>[^/]+)", NpmWeb.manifest),
    )
)
