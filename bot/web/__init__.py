"""The pages: health and readiness for machines, metrics behind a token, incidents behind a one-time link or a sign-in.

Everything is read-only and rendered here, and works without a script; the page of an incident has one that keeps it
fresh, by a nonce of that answer. What is shown was scrubbed when it was written.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import logging
import re
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import jinja2
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot import heartbeat
from bot.doors import SESSION, STATUS, Doors, SignIn, utc
from bot.engine.freeze import Switch
from bot.errors import DecisionRefused, EngineError, InputError, ProviderError
from bot.health.lights import Health, parts
from bot.learn import document as writing
from bot.learn.document import Document
from bot.learn.metrics import TOTAL
from bot.lessons.measures import Measures
from bot.replay.gather import gather, played
from bot.replay.page import document
from bot.replay.strip import of_incident
from bot.scenario import Drill
from bot.store import Store
from bot.tables import NEWEST
from bot.timeline import load
from bot.web import incident, learnt, metrics
from bot.web.hooks import Hooks
from bot.web.signin import ATTEMPT_S, Attempt

HERE = Path(__file__).parent
COOKIE, VISIT, ATTEMPT = "bulkhead", "bulkhead-visit", "bulkhead-attempt"
CLOSED = "This page is closed. `bulkhead incident open` prints a link that opens it once."
CLOSED_STATUS = "This page is closed. `bulkhead status --link` prints a link that opens it once."
USED = "This link was used already or is too old. `bulkhead incident open` prints a new one."
STALE = "That was not begun in this browser, or too long ago. Sign in again."
POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-robots-tag": "noindex",
}


_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")  # in the name of a file that is downloaded
log = logging.getLogger("bulkhead.web")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """The endpoints. Each is a plain function, which Starlette runs in a thread: the database may keep it waiting."""

    store: Store
    doors: Doors
    metrics_token: str
    url: str  # where people reach the pages; "" = this machine
    templates: jinja2.Environment
    evidence: Callable[[str], bytes] | None  # the bytes of a file by its SHA-256
    sign_in: SignIn | None
    hooks: Hooks | None
    drills: Mapping[str, Drill]
    written: Callable[[str], Document] | None  # the post-mortem of an incident
    measures: Measures
    switch: Switch | None
    status: Callable[[], Health] | None  # how Bulkhead itself is

    @property
    def secure(self) -> bool:
        """Whether people come by https."""
        return self.url.startswith("https://")

    def healthz(self, _request: Request) -> Response:
        """The process answers; nothing else is claimed."""
        return PlainTextResponse("ok\n")

    def readyz(self, _request: Request) -> Response:
        """Whether the database answers and has this version's form, and who else is alive. It says no more than that.

        Pages are ready without a worker, which is why a silent one is told and does not count.
        """
        try:
            said = {"database": "ok", "migrations": "ok" if self.store.version() == NEWEST else "not this version's"}
        except EngineError:
            said = {"database": "does not answer", "migrations": "unknown"}
        ready = set(said.values()) == {"ok"}
        if ready:
            said |= {role: heartbeat.words(age) for role, age in heartbeat.ages(self.store, utc()).items()}
        return JSONResponse({"ready": ready, **said}, 200 if ready else 503)

    def metrics(self, request: Request) -> Response:
        """What Prometheus reads. Without a token in the settings there is no such page."""
        if not self.metrics_token:
            return PlainTextResponse("there are no metrics without BULKHEAD_METRICS_TOKEN\n", 404)
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.metrics_token}".encode()):
            return PlainTextResponse("a bearer token is needed\n", 401, {"www-authenticate": "Bearer"})
        return Response(
            self._measured(),
            media_type=metrics.CONTENT_TYPE,
        )

    def _measured(self) -> bytes:
        counts = self.hooks.counts if self.hooks else {}
        frozen = self.switch is not None and self.switch.standing() is not None
        return metrics.page(self.store, utc(), counts, self.measures, frozen=frozen)

    def style(self, _request: Request) -> Response:
        """The one stylesheet."""
        return Response((HERE / "templates" / "style.css").read_text(), media_type="text/css")

    def script(self, _request: Request) -> Response:
        """The one script: it asks whether the incident has moved on."""
        return Response((HERE / "templates" / "live.js").read_text(), media_type="text/javascript")

    # doors -----------------------------------------------------------------------------------------------------

    def ask_to_open(self, request: Request) -> Response:
        """A button. A link is used up by a press of it: not by a chat that fetches a preview, nor by a scanner."""
        return self._html("open.html", 200, own=self.doors.leads(request.path_params["token"], utc()) == STATUS)

    def open(self, request: Request) -> Response:
        """Use the link up and go to the page that it opens."""
        entered = self.doors.enter(request.path_params["token"], utc())
        if entered is None:
            return self._html("closed.html", 403, text=USED, sign_in=None)
        session, name = entered
        path = f"/{STATUS}" if name == STATUS else f"/incidents/{name}"
        answer = RedirectResponse(path, 303)
        answer.set_cookie(
            COOKIE, session, max_age=int(SESSION.total_seconds()), path=path,
            httponly=True, samesite="strict", secure=self.secure,
        )  # fmt: skip
        return answer

    def go_and_sign_in(self, request: Request) -> Response:
        """Send the browser to the account house. Nothing is stored for it here."""
        if self.sign_in is None:
            return self._closed("/incidents")
        attempt = Attempt.begin(request.query_params.get("then", ""))
        answer = RedirectResponse(
            self.sign_in.address(state=attempt.state, nonce=attempt.nonce, back=self._back(request)), 303
        )
        # "lax": it must come back with the browser, which another site sends here
        answer.set_cookie(
            ATTEMPT, attempt.cookie, max_age=ATTEMPT_S, path="/signed-in", httponly=True, samesite="lax",
            secure=self.secure,
        )  # fmt: skip
        return answer

    def signed_in(self, request: Request) -> Response:
        """The browser is back, with a code for who has signed in; or without, when they would not."""
        attempt = Attempt.of(request.cookies.get(ATTEMPT, ""))
        if self.sign_in is None:
            return self._closed("/incidents")
        if not attempt.matches(request.query_params.get("state", "")):
            return self._closed("/incidents", STALE)
        try:
            code = request.query_params.get("code", "")
            if not code:
                raise DecisionRefused(f"{self.sign_in.title} did not sign you in.")
            visitor = self.sign_in.visitor(code=code, nonce=attempt.nonce, back=self._back(request))
        except (DecisionRefused, ProviderError) as exc:
            log.warning("a sign-in was refused: %s", exc)
            return self._closed(attempt.then, str(exc), 403 if isinstance(exc, DecisionRefused) else 503)
        log.info("%s has signed in to the pages", visitor.id, extra={"event": "signed-in"})
        answer = RedirectResponse(attempt.then, 303)
        answer.delete_cookie(ATTEMPT, path="/signed-in")
        # "lax": the browser still is on its way from another site, and nothing can be changed by a GET here
        answer.set_cookie(
            VISIT, self.doors.admit(visitor.id, utc()), max_age=int(SESSION.total_seconds()), path="/", httponly=True,
            samesite="lax", secure=self.secure,
        )  # fmt: skip
        return answer

    def leave(self, request: Request) -> Response:
        """End the session of who has signed in."""
        self.doors.leave(request.cookies.get(VISIT, ""))
        answer = RedirectResponse("/incidents", 303)
        answer.delete_cookie(VISIT, path="/")
        return answer

    def _visitor(self, request: Request) -> str:
        """Who has signed in and is admitted still, "" for nobody."""
        who = self.doors.visitor(request.cookies.get(VISIT, ""), utc()) if self.sign_in else ""
        return who if who and self.sign_in and self.sign_in.admitted(who) else ""

    def _may_see(self, request: Request, name: str) -> bool:
        """Whether the page of this incident is open to this browser."""
        return self.doors.inside(request.cookies.get(COOKIE, ""), name, utc()) or (
            bool(self._visitor(request)) and self.store.has_incident(name)
        )

    def _back(self, request: Request) -> str:
        return f"{self.url or str(request.base_url).rstrip('/')}/signed-in"

    # what is behind them ---------------------------------------------------------------------------------------

    def incidents(self, request: Request) -> Response:
        """The list, for who has signed in."""
        visitor = self._visitor(request)
        if not visitor:
            return self._closed("/incidents")
        return self._html("incidents.html", 200, rows=incident.listed(self.store), visitor=visitor)

    def health(self, request: Request) -> Response:
        """How Bulkhead itself is, for who has signed in or has a link: a thief would like to know when nobody looks."""
        visitor = self._visitor(request)
        if not (visitor or self.doors.inside(request.cookies.get(COOKIE, ""), STATUS, utc())) or self.status is None:
            return self._closed(f"/{STATUS}", CLOSED_STATUS)
        found = self.status()
        return self._html("status.html", 200, found=found, parts=parts(found.lights), visitor=visitor)

    def incident(self, request: Request) -> Response:
        """The page of one incident. Closed looks the same whether there is such an incident or not."""
        name = request.path_params["incident"]
        if not self._may_see(request, name):
            return self._closed(f"/incidents/{name}")
        nonce = secrets.token_urlsafe(16)
        page, head = incident.view(self.store, name, utc()), f"/incidents/{name}/head"
        answer = self._html(
            "incident.html", 200, page=page, nonce=nonce, head=head, visitor=self._visitor(request),
            files=self.evidence is not None, written=self.written is not None and page.row.status == "closed",
        )  # fmt: skip
        answer.headers["content-security-policy"] = f"{POLICY}; script-src 'nonce-{nonce}'; connect-src 'self'"
        return answer

    def replay(self, request: Request) -> Response:
        """The incident moment by moment; press play. Its style and script go by the nonce of this answer."""
        name = request.path_params["incident"]
        if not self._may_see(request, name):
            return self._closed(f"/incidents/{name}/replay")
        found = gather(self.store, name, self.drills, lambda other: self._may_see(request, other))
        drill, nonce = self.drills.get(found.told.get("id", "")), secrets.token_urlsafe(16)
        contrast = None
        if drill and drill.contrast:
            contrast = played(self.store, drill.contrast, self.drills, lambda other: self._may_see(request, other))
        answer = HTMLResponse(document(found, nonce=nonce, back=f"/incidents/{name}", contrast=contrast))
        policy = POLICY.replace("style-src 'self'", f"style-src 'nonce-{nonce}'")
        answer.headers["content-security-policy"] = f"{policy}; script-src 'nonce-{nonce}'"
        return answer

    def postmortem(self, request: Request) -> Response:
        """What was learnt from an incident, as a page; with ``?file`` as one file that needs nothing else."""
        name = request.path_params["incident"]
        if not self._may_see(request, name) or self.written is None:
            return self._closed(f"/incidents/{name}/postmortem")
        made = self.written(name)
        if "file" not in request.query_params:
            return self._html("postmortem.html", 200, name=name, body=writing.body(made, self._timeline(name)))
        held = f'attachment; filename="{_UNSAFE.sub("_", name)}-postmortem.html"'
        return HTMLResponse(writing.page(made, self._timeline(name)), headers={"content-disposition": held})

    def _timeline(self, name: str) -> str:
        return of_incident(self.store.incident(name), load(self.store, name))

    def learnt(self, request: Request) -> Response:
        """Times over incidents and drills, open follow-ups, what is still static; for who has signed in."""
        visitor = self._visitor(request)
        if not visitor:
            return self._closed("/measures")
        by = request.query_params.get("by", TOTAL)
        found = learnt.groups_of(self.measures, by if by in learnt.BY else TOTAL, utc())
        more = {"team": learnt.team(self.store), "trends": learnt.trends(self.measures)}
        return self._html("measures.html", 200, groups=found, by=by, visitor=visitor, **more)

    def head(self, request: Request) -> Response:
        """What changes whenever the page does."""
        name = request.path_params["incident"]
        if not self._may_see(request, name):
            return PlainTextResponse("closed\n", 403)
        return JSONResponse({"seen": incident.seen(self.store, name)})

    def file(self, request: Request) -> Response:
        """One file of the incident's evidence, as it was saved; never shown, always downloaded."""
        name, sha256 = request.path_params["incident"], request.path_params["sha256"]
        if not self._may_see(request, name):
            return self._closed(f"/incidents/{name}")
        row = next((row for row in self.store.evidence(name) if row["sha256"] == sha256), None)
        if row is None or self.evidence is None:
            return self._closed(f"/incidents/{name}", "There is no such file.", 404)
        try:
            data = self.evidence(sha256)
        except (OSError, ProviderError):
            return self._closed(f"/incidents/{name}", "This file is gone, or cannot be reached.", 404)
        digest = hashlib.sha256(data)
        if digest.hexdigest() != sha256:
            return self._closed(f"/incidents/{name}", "This file was changed since it was saved; nobody gets it.", 409)
        said = {"event": "downloaded", "incident": name}
        log.info(
            "evidence %s of %s was downloaded by %s", sha256[:12], name, self._visitor(request) or "a link", extra=said
        )
        plain = _UNSAFE.sub("_", row["name"].rsplit("/", 1)[-1])
        return Response(
            data, media_type="application/octet-stream",
            headers={
                "content-disposition": f'attachment; filename="{plain or "evidence"}"',
                "repr-digest": f"sha-256=:{base64.b64encode(digest.digest()).decode()}:",
            },
        )  # fmt: skip

    def _closed(self, then: str, text: str = CLOSED, status: int = 403) -> Response:
        """The same page whatever is behind it."""
        way = {"title": self.sign_in.title, "address": f"/sign-in?then={quote(then)}"} if self.sign_in else None
        return self._html("closed.html", status, text=text, sign_in=way)

    def _html(self, template: str, status: int, **values: object) -> Response:
        return HTMLResponse(self.templates.get_template(template).render(**values), status)


class Strict:
    """Puts the same strict headers on every answer. One with a policy of its own, with a nonce in it, keeps that."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def strictly(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                named = {name.lower() for name, _ in own}
                message = {**message, "headers": [*own, *(pair for pair in self._headers if pair[0] not in named)]}
            await send(message)

        await self._app(scope, receive, strictly)


def application(
    store: Store, *, metrics_token: str = "", url: str = "", evidence: Callable[[str], bytes] | None = None,
    sign_in: SignIn | None = None, more: Mapping[str, ASGIApp] | None = None,
    hooks: Hooks | None = None, drills: Mapping[str, Drill] | None = None,
    written: Callable[[str], Document] | None = None, measures: Measures | None = None,
    switch: Switch | None = None, status: Callable[[], Health] | None = None,
) -> Starlette:  # fmt: skip
    """The pages over a store. ``url`` is where people reach them; without it, on this machine only.

    ``evidence`` reads a file by its SHA-256, ``sign_in`` is an account house, ``more``: path -> a self-guarded door,
    ``hooks`` is the door of scanners, ``drills`` are those that an incident may have come of, ``written`` the
    post-mortem of an incident, ``measures`` the times over many, ``switch`` says whether all of it is frozen,
    ``status`` how it is.
    """
    loader = jinja2.FileSystemLoader(HERE / "templates")
    templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    pages = Pages(
        store=store, doors=Doors(store), metrics_token=metrics_token, url=url, templates=templates, evidence=evidence,
        sign_in=sign_in, hooks=hooks, drills=drills or {}, written=written, measures=measures or Measures(store),
        switch=switch, status=status,
    )  # fmt: skip
    hosts = ["127.0.0.1", "localhost", *filter(None, [urlsplit(url).hostname])]
    closed = [
        Route("/style.css", pages.style),
        Route("/live.js", pages.script),
        Route("/open/{token}", pages.ask_to_open, methods=["GET"]),
        Route("/open/{token}", pages.open, methods=["POST"]),
        Route("/sign-in", pages.go_and_sign_in),
        Route("/signed-in", pages.signed_in),
        Route("/leave", pages.leave, methods=["POST"]),
        Route("/incidents", pages.incidents),
        Route("/incidents/{incident}", pages.incident),
        Route("/incidents/{incident}/replay", pages.replay),
        Route("/incidents/{incident}/head", pages.head),
        Route("/incidents/{incident}/postmortem", pages.postmortem),
        Route("/measures", pages.learnt),
        Route(f"/{STATUS}", pages.health),
        Route("/incidents/{incident}/evidence/{sha256}", pages.file),
    ]
    return Starlette(
        routes=[
            Route("/healthz", pages.healthz), Route("/readyz", pages.readyz), Route("/metrics", pages.metrics),
            *(hooks.routes() if hooks else ()), *(Route(path, door) for path, door in (more or {}).items()),
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
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it, an answer waits 40 ms for its body.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        if port:  # a restart need not wait; for any free port it would allow one that another process is about to use
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()
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
