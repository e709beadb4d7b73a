"""What a server of the range that is a table of routes has in common: one request, one answer, HTTP around them."""

from __future__ import annotations

import json
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
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


class Problem(Exception):
    """An answer that is an error. ``body`` is JSON, or a text. ``reads``: what was asked could not change a thing."""

    def __init__(self, status: int, body: Any, *, reads: bool = False, headers: dict[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.status, self.body, self.reads, self.headers = status, body, reads, headers or {}


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
            raise Problem(400, {"errors": [{"detail": "the body is not a JSON object"}]})
        return found


@dataclass(frozen=True, slots=True)
class Said:
    """An answer that is neither plain JSON, text nor bytes with status 200. ``reads``: it has changed nothing."""

    body: Any
    status: int = 200
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    reads: bool = False


Handler = Callable[[Any, Asked], Any]


class Served(ABC):
    """A table of routes. ``asgi`` is the app."""

    name: ClassVar[str]
    routes: ClassVar[tuple[tuple[str, str, Handler], ...]]  # (method, regular expression of the path, handler)

    def __init__(self, clock: RangeClock, switchboard: Switchboard) -> None:
        self.clock, self.lock, self.base_url = clock, threading.RLock(), ""
        self._table = tuple((method, re.compile(path), handle) for method, path, handle in self.routes)
        app = Starlette(routes=[Route("/{rest:path}", _Endpoint(self))])
        app.router.redirect_slashes = False
        self.asgi: AsgiApp = switchboard.asgi(app, self.name)
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Forget everything; the base URL stays."""

    def respond(self, request: Request, body: bytes) -> Response:
        path = request.url.path
        try:
            handle, words = self._route(request.method, path)
            asked = Asked(words, request.headers, dict(request.query_params), body)
            with self.lock:
                answer = handle(self, asked)
        except Problem as problem:
            answer = Said(problem.body, problem.status, headers=problem.headers, reads=problem.reads)
        said = answer if isinstance(answer, Said) else Said(answer)
        if said.reads:
            request.scope["range.mutating"] = False
        if isinstance(said.body, bytes):
            return Response(said.body, said.status, said.headers, said.content_type or "application/octet-stream")
        if isinstance(said.body, str):
            return Response(said.body, said.status, said.headers, said.content_type or "text/plain")
        return Response(json.dumps(said.body), said.status, said.headers, said.content_type or "application/json")

    def _route(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        for wanted, pattern, handle in self._table:
            if wanted == method and (found := pattern.fullmatch(path)):
                return handle, {k: unquote(v) for k, v in found.groupdict().items() if v is not None}
        raise Problem(404, "Not Found")


class _Endpoint:
    """An ASGI endpoint for every method."""

    def __init__(self, server: Served) -> None:
        self._server = server

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        body = await request.body()
        response = await run_in_threadpool(self._server.respond, request, body)
        await response(scope, receive, send)
