"""The pages: health and readiness for machines, metrics behind a token, one incident's page behind a one-time link.

Everything is read-only and rendered here; no page has a script. What is shown was scrubbed when it was written.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import jinja2
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.doors import SESSION, Doors, utc
from bot.errors import EngineError, InputError
from bot.store import Store
from bot.tables import NEWEST
from bot.web import incident, metrics

HERE = Path(__file__).parent
COOKIE = "bulkhead"
CLOSED = "This page is closed. `bulkhead incident open` prints a link that opens it once."
USED = "This link was used already or is too old. `bulkhead incident open` prints a new one."
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-robots-tag": "noindex",
}


@dataclass(frozen=True, slots=True)
class Pages:
    """The endpoints. Each is a plain function, which Starlette runs in a thread: the database may keep it waiting."""

    store: Store
    doors: Doors
    metrics_token: str
    secure: bool  # people come by https
    templates: jinja2.Environment

    def healthz(self, _request: Request) -> Response:
        """The process answers; nothing else is claimed."""
        return PlainTextResponse("ok\n")

    def readyz(self, _request: Request) -> Response:
        """Whether the database answers and has this version's form. An open door: it says no more than that."""
        try:
            said = {"database": "ok", "migrations": "ok" if self.store.version() == NEWEST else "not this version's"}
        except EngineError:
            said = {"database": "does not answer", "migrations": "unknown"}
        ready = set(said.values()) == {"ok"}
        return JSONResponse({"ready": ready, **said}, 200 if ready else 503)

    def metrics(self, request: Request) -> Response:
        """What Prometheus reads. Without a token in the settings there is no such page."""
        if not self.metrics_token:
            return PlainTextResponse("there are no metrics without BULKHEAD_METRICS_TOKEN\n", 404)
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.metrics_token}".encode()):
            return PlainTextResponse("a bearer token is needed\n", 401, {"www-authenticate": "Bearer"})
        return Response(metrics.page(self.store, utc()), media_type=metrics.CONTENT_TYPE)

    def style(self, _request: Request) -> Response:
        """The one stylesheet."""
        return Response((HERE / "templates" / "style.css").read_text(), media_type="text/css")

    def ask_to_open(self, _request: Request) -> Response:
        """A button. A link is used up by a press of it: not by a chat that fetches a preview, nor by a scanner."""
        return self._html("open.html", 200)

    def open(self, request: Request) -> Response:
        """Use the link up and go to the page that it opens."""
        entered = self.doors.enter(request.path_params["token"], utc())
        if entered is None:
            return self._html("closed.html", 403, text=USED)
        session, name = entered
        answer = RedirectResponse(f"/incidents/{name}", 303)
        answer.set_cookie(
            COOKIE, session, max_age=int(SESSION.total_seconds()), path=f"/incidents/{name}",
            httponly=True, samesite="strict", secure=self.secure,
        )  # fmt: skip
        return answer

    def incident(self, request: Request) -> Response:
        """The page of one incident. Closed looks the same whether there is such an incident or not."""
        name, now = request.path_params["incident"], utc()
        if not self.doors.inside(request.cookies.get(COOKIE, ""), name, now):
            return self._html("closed.html", 403, text=CLOSED)
        return self._html("incident.html", 200, page=incident.view(self.store, name, now))

    def _html(self, template: str, status: int, **values: object) -> Response:
        return HTMLResponse(self.templates.get_template(template).render(**values), status)


class Strict:
    """Puts the same strict headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def strictly(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
            await send(message)

        await self._app(scope, receive, strictly)


def application(store: Store, *, metrics_token: str = "", url: str = "") -> Starlette:
    """The pages over a store. ``url`` is where people reach them; without it, on this machine only."""
    loader = jinja2.FileSystemLoader(HERE / "templates")
    templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    pages = Pages(store, Doors(store), metrics_token, url.startswith("https://"), templates)
    hosts = ["127.0.0.1", "localhost", *filter(None, [urlsplit(url).hostname])]
    closed = [
        Route("/style.css", pages.style),
        Route("/open/{token}", pages.ask_to_open, methods=["GET"]),
        Route("/open/{token}", pages.open, methods=["POST"]),
        Route("/incidents/{incident}", pages.incident),
    ]
    return Starlette(
        routes=[
            Route("/healthz", pages.healthz), Route("/readyz", pages.readyz), Route("/metrics", pages.metrics),
            Mount("/", routes=closed, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)]),
        ],
        middleware=[Middleware(Strict)],
    )  # fmt: skip


class _Server(uvicorn.Server):
    """Leaves the process's signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(app: Starlette, host: str, port: int, listening: Callable[[str], object]) -> None:
    """Serve until cancelled. ``listening`` is told the address. Raises InputError when it cannot be had.

    There is no log of requests: a link that nobody has used yet would stand in it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as exc:
            where = f"{host} port {port}: {exc.strerror}"
            raise InputError(f"the pages cannot listen on {where}; set BULKHEAD_WEB_PORT (0 = any free one)") from None
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        config = uvicorn.Config(
            app, log_config=None, log_level="warning", access_log=False, server_header=False, lifespan="off",
            proxy_headers=False, timeout_graceful_shutdown=5,
        )  # fmt: skip
        server = _Server(config)
        serving = asyncio.ensure_future(server.serve([listener]))
        await asyncio.to_thread(listening, f"http://{shown}:{listener.getsockname()[1]}")
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            await serving
