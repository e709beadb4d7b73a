"""The range's GitHub: a real server that speaks as GitHub's OpenAPI description says, with its state in memory."""

from __future__ import annotations

import hashlib
import json
import secrets
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bot.range.clock import RangeClock
from bot.range.github import (
    accounts,
    actions,
    advisories,
    alerts,
    attestations,
    caches,
    deployments,
    hooks,
    members,
    packages,
    pulls,
    repos,
    rulesets,
    secret_stores,
    settings,
)
from bot.range.github.http import VERSIONS, Answer, Call, Caller, Op, Problem, give_back, identify, not_found, spend
from bot.range.github.snapshot import snapshot
from bot.range.github.state import State
from bot.range.issuer import OidcIssuer
from bot.range.runner import Runner
from bot.range.switchboard import AsgiApp, Switchboard

OPS: tuple[Op, ...] = (
    *accounts.OPS, *secret_stores.OPS, *settings.OPS, *hooks.OPS, *alerts.OPS, *repos.OPS, *pulls.OPS,
    *advisories.OPS, *packages.OPS, *rulesets.OPS, *members.OPS, *caches.OPS, *actions.OPS, *deployments.OPS,
    *attestations.OPS,
)  # fmt: skip
API = "/api/v3"  # where an Enterprise Server has its API (docs.github.com/enterprise-server, "Getting started")
REVOKES_SINCE = (3, 19)
_OWN = ("/_logs/", "/_idtoken/")  # not the API: no rate limit, no token of a user


class GitHubRange:
    """``asgi`` is the app, ``state`` what it serves (seed it by its methods), ``reset`` begins anew, empty."""

    def __init__(self, clock: RangeClock, switchboard: Switchboard, issuer: OidcIssuer, runner: Runner) -> None:
        self.clock, self.issuer, self.runner = clock, issuer, runner
        self._base_url = ""
        self.reset()
        app = Starlette(routes=[*self._routes(), Route("/{rest:path}", _Endpoint(self, {}))])
        app.router.redirect_slashes = False
        self.asgi: AsgiApp = switchboard.asgi(_Prefixed(app), "github")

    def reset(self) -> None:
        """Forget everything: accounts, repositories, runs, tokens. The base URL stays."""
        self.state = State(self.clock, self.runner)
        self.state.base_url = self._base_url
        self.state.alerted = partial(hooks.told_alert, self.state)
        self.runner.attach(self.state)

    @property
    def base_url(self) -> str:
        """Origin of the API and of the web pages, without a slash at its end."""
        return self.state.base_url

    @base_url.setter
    def base_url(self, url: str) -> None:
        self._base_url = self.state.base_url = url.rstrip("/")

    def snapshot(self) -> dict[str, Any]:
        """What matters for comparing end states; ids and times stand under ``volatile``."""
        self.runner.advance()
        return snapshot(self.state)

    def values(self) -> list[str]:
        """Every secret that it knows: tokens, and what its stores hold."""
        with self.state.lock:
            stored = [secret.value for held in self.state.secrets.values() for secret in held.values()]
            return [*self.state.tokens, *stored]

    def _routes(self) -> list[Route]:
        by_path: dict[str, dict[str, Op]] = {}
        for op in OPS:
            by_path.setdefault(op.path, {})[op.method] = op
        return [Route(path, _Endpoint(self, ops)) for path, ops in by_path.items()]

    def respond(self, request: Request, body: bytes, op: Op | None) -> Response:
        state = self.state
        headers = {
            "server": "github.com", "x-github-request-id": ":".join(secrets.token_hex(2).upper() for _ in range(5)),
            "x-github-media-type": "github.v3; format=json", "cache-control": "private, max-age=60, s-maxage=60",
        }  # fmt: skip
        try:
            with state.lock:
                answer = self._handle(state, request, body, op, headers)
        except Problem as problem:
            headers |= problem.headers
            answer = Answer(problem.status, problem.body())
        response = _encode(answer, headers)
        if request.scope["root_path"] == API and isinstance(answer.body, (dict, list)):
            pages = f'"html_url":"{state.base_url}'.encode()  # pages are not below the API
            response = Response(bytes(response.body).replace(pages + API.encode(), pages), answer.status,
                                {k: v for k, v in response.headers.items() if k != "content-length"})  # fmt: skip
        plain = request.method == "GET" and answer.status == 200 and not request.url.path.startswith(_OWN)
        return self._unchanged(request, response) if plain else response

    def _unchanged(self, request: Request, response: Response) -> Response:
        """Every answer has an ETag; who shows it again gets a 304, which is not counted against the limit."""
        tag = f'W/"{hashlib.sha256(bytes(response.body)).hexdigest()}"'
        response.headers["etag"] = tag
        if request.headers.get("if-none-match", "") != tag:
            return response
        kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        if request.url.path == "/rate_limit":
            return Response(status_code=304, headers=kept)  # it was not counted
        with self.state.lock:
            kept |= give_back(self.state, identify(self.state, request.headers.get("authorization", "")))
        return Response(status_code=304, headers=kept)

    def _handle(self, state: State, request: Request, body: bytes, op: Op | None, headers: dict[str, str]) -> Answer:
        if not state.base_url:
            self.base_url = str(request.base_url)
        state.runner.advance()
        caller = identify(state, request.headers.get("authorization", ""))
        version = request.headers.get("x-github-api-version", VERSIONS[0])
        if not request.url.path.startswith(_OWN):
            if version not in VERSIONS:
                raise Problem(400, f"The API version {version!r} is not supported")
            headers["x-github-api-version-selected"] = version
            headers |= spend(state, caller, free=request.url.path == "/rate_limit")
        headers |= _about(caller)
        if state.enterprise:
            headers["x-github-enterprise-version"] = state.enterprise
        if op is None or self._lacks(request, op):
            raise not_found()
        call = Call(
            state=state, caller=caller, op=op, method=request.method, path=request.url.path,
            query=dict(request.query_params), accept=request.headers.get("accept", ""),
            params={k: str(v) for k, v in request.path_params.items()}, body=_json(body),
            base=str(request.base_url).rstrip("/"), version=version, headers=headers,
        )  # fmt: skip
        call.authorize()
        result = op.handle(call)
        return result if isinstance(result, Answer) else Answer(200, result)


    def _lacks(self, request: Request, op: Op) -> bool:
        """Whether this is an Enterprise Server without such an address: its API is below /api/v3, some of it newer."""
        if not self.state.enterprise or request.url.path.startswith(_OWN):
            return False
        version = tuple(int(part) for part in self.state.enterprise.split(".")[:2])
        cloud_only = any(f"/{store}/" in op.path for store in ("codespaces", "agents"))
        revokes = op.path == "/credentials/revoke" and version < REVOKES_SINCE
        return request.scope["root_path"] != API or cloud_only or revokes


class _Prefixed:
    """The app, below ``/api/v3`` too: there links name the addresses that were asked for."""

    def __init__(self, app: Starlette) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(f"{API}/"):
            scope["path"], scope["root_path"] = scope["path"].removeprefix(API), API
        await self.app(scope, receive, send)


class _Endpoint:
    """An ASGI app for one path: to a plain function Starlette adds a HEAD and a 405 that are not GitHub's."""

    def __init__(self, outer: GitHubRange, ops: dict[str, Op]) -> None:
        self.outer, self.ops = outer, ops

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        op = self.ops.get("GET" if request.method == "HEAD" else request.method)
        response = await run_in_threadpool(self.outer.respond, request, body, op)
        await response(scope, receive, send)


def _json(body: bytes) -> Any:
    if not body.strip():
        return {}
    try:
        return json.loads(body)
    except ValueError:
        raise Problem(400, "Problems parsing JSON") from None


def _about(caller: Caller) -> dict[str, str]:
    """What GitHub says of the token in every answer."""
    token = caller.token
    if token is None:
        return {}
    said = {"x-oauth-scopes": ", ".join(sorted(token.scopes))} if token.kind == "classic" else {}
    if token.expires_at is not None and token.kind in ("classic", "fine"):
        said["github-authentication-token-expiration"] = f"{token.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    return said


def _encode(answer: Answer, headers: dict[str, str]) -> Response:
    headers = {**headers, **answer.headers}
    if answer.body is None:
        return Response(status_code=answer.status, headers=headers)
    if isinstance(answer.body, bytes):
        return Response(answer.body, status_code=answer.status, headers=headers)
    text = json.dumps(answer.body, separators=(",", ":"))
    headers["content-type"] = "application/json; charset=utf-8"
    return Response(text, status_code=answer.status, headers=headers)
