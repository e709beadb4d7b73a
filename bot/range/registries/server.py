"""What a package registry of the range is: accounts, tokens, a table of routes, and HTTP around them."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bot.range.clock import RangeClock
from bot.range.switchboard import AsgiApp, Switchboard

MANY, HALF_WAY_S = 20_000, 2 * 3600.0  # downloads that a version has in the end while it is the newest, and how soon


class RegistryProblem(Exception):
    """An answer that is an error. ``body`` is JSON, or a text. ``reads``: what was asked could not change a thing."""

    def __init__(self, status: int, body: Any, *, reads: bool = False) -> None:
        super().__init__(str(body))
        self.status, self.body, self.reads = status, body, reads


@dataclass(slots=True, kw_only=True)
class Token:
    """A token of an account. ``scopes`` and ``packages`` limit it; none of either is no limit."""

    value: str = field(repr=False)
    name: str
    user: str
    created_at: datetime
    scopes: frozenset[str] = frozenset()
    packages: tuple[str, ...] = ()
    revoked: bool = False
    otp: bool = False  # its account asks for a second factor at the API too


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    words: dict[str, str]
    headers: Headers
    query: dict[str, str]
    raw: bytes

    @property
    def form(self) -> dict[str, str]:
        """The body or the query, as the gem command sends its words."""
        return self.query | {k: v[-1] for k, v in parse_qs(self.raw.decode(errors="replace")).items()}

    @property
    def json(self) -> dict[str, Any]:
        try:
            found = json.loads(self.raw or b"{}")
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise RegistryProblem(400, {"errors": [{"detail": "the body is not a JSON object"}]})
        return found


@dataclass(frozen=True, slots=True)
class Said:
    """An answer that is neither plain JSON, text nor bytes with status 200."""

    body: Any
    status: int = 200
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Any, Asked], Any]


class RegistryServer:
    """Accounts, tokens and HTTP of one registry. Subclasses hold its packages and its rules. ``asgi`` is the app."""

    name: ClassVar[str]
    routes: ClassVar[tuple[tuple[str, str, Handler], ...]]  # (method, regular expression of the path, handler)

    def __init__(self, clock: RangeClock, switchboard: Switchboard) -> None:
        self.clock, self.lock, self.base_url = clock, threading.RLock(), ""
        self._table = tuple((method, re.compile(path), handle) for method, path, handle in self.routes)
        app = Starlette(routes=[Route("/{rest:path}", _Endpoint(self))])
        app.router.redirect_slashes = False
        self.asgi: AsgiApp = switchboard.asgi(app, self.name)
        self.reset()

    def reset(self) -> None:
        """Forget everything; the base URL stays."""
        with self.lock:
            self.tokens: dict[str, Token] = {}
            self.users: set[str] = set()
            self.empty()

    def empty(self) -> None:
        """Forget the packages."""
        raise NotImplementedError

    def make_value(self, user: str, packages: tuple[str, ...]) -> str:
        """A new token's value, in the registry's form."""
        raise NotImplementedError

    # accounts: what a person does on the web site, with a second factor

    def add_user(self, name: str) -> None:
        self.users.add(name)

    def add_token(self, user: str, name: str, *, scopes: Iterable[str] = (), packages: Iterable[str] = ()) -> str:
        """Make a token; returns its value, which is told once."""
        limited = tuple(packages)
        value = self.make_value(user, limited)
        with self.lock:
            self.tokens[value] = Token(
                value=value, name=name, user=user, created_at=self.clock.now(), scopes=frozenset(scopes),
                packages=limited,
            )  # fmt: skip
        return value

    def revoke(self, name: str) -> int:
        """Revoke every live token of that name; returns how many there were."""
        with self.lock:
            live = [token for token in self.tokens.values() if token.name == name and not token.revoked]
            for token in live:
                token.revoked = True
            return len(live)

    def live(self, value: str) -> Token | None:
        """A token that still works."""
        token = self.tokens.get(value)
        return None if token is None or token.revoked else token

    def values(self) -> list[str]:
        """Every secret that it knows."""
        with self.lock:
            return list(self.tokens)

    # for the range itself

    def delivered(self, package: str) -> str:
        """The version that somebody gets who asks for the newest; '' when there is none."""
        raise NotImplementedError

    def packages_state(self) -> dict[str, Any]:
        """The packages, for comparing end states: no times, no secrets."""
        raise NotImplementedError

    def snapshot(self) -> dict[str, Any]:
        """What matters for comparing end states."""
        with self.lock:
            live = sorted(f"{t.name}: {'revoked' if t.revoked else 'live'}" for t in self.tokens.values())
            return {"packages": self.packages_state(), "tokens": live}

    def climbed(self, since: datetime, until: datetime | None = None) -> int:
        """Downloads of a version that was the newest from then on: they climb towards ``MANY``."""
        seconds = max(((until or self.clock.now()) - since).total_seconds(), 0.0)
        return int(MANY * (1 - math.exp(-seconds / HALF_WAY_S)))

    # HTTP

    def respond(self, request: Request, body: bytes) -> Response:
        path = request.url.path
        try:
            handle, words = self._route(request.method, path)
            asked = Asked(words, request.headers, dict(request.query_params), body)
            with self.lock:
                answer = handle(self, asked)
        except RegistryProblem as problem:
            answer = Said(problem.body, problem.status)
            if problem.reads:
                request.scope["range.mutating"] = False
        said = answer if isinstance(answer, Said) else Said(answer)
        if isinstance(said.body, bytes):
            return Response(said.body, said.status, said.headers, said.content_type or "application/octet-stream")
        if isinstance(said.body, str):
            return Response(said.body, said.status, said.headers, said.content_type or "text/plain")
        return Response(json.dumps(said.body), said.status, said.headers, said.content_type or "application/json")

    def _route(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        for wanted, pattern, handle in self._table:
            if wanted == method and (found := pattern.fullmatch(path)):
                return handle, {k: unquote(v) for k, v in found.groupdict().items() if v is not None}
        raise RegistryProblem(404, "Not Found")


class _Endpoint:
    """An ASGI endpoint for every method."""

    def __init__(self, server: RegistryServer) -> None:
        self._server = server

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        body = await request.body()
        response = await run_in_threadpool(self._server.respond, request, body)
        await response(scope, receive, send)


def order(version: str) -> tuple[int, ...]:
    """What sorts the versions of the range: numbers with dots."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
