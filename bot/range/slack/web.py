"""The addresses of the range's Slack: the Web API, response URLs, Socket Mode, and the hands of its people."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from bot.range.slack import chat, conversations, directory, eyes, files, marks, openid, replies, views
from bot.range.slack.appconfig import METHODS as MANIFEST
from bot.range.slack.eyes import Cannot
from bot.range.slack.hand import Act
from bot.range.slack.http import Call, Method, Refusal, arguments, identify
from bot.range.slack.nouns import File, Person
from bot.range.slack.openid import OpenId
from bot.range.slack.sockets import Sockets
from bot.range.slack.state import State

_CLOSED = {"content-security-policy": "default-src 'none'; frame-ancestors 'none'", "cache-control": "no-store"}
BUSY = 200  # acts of people at once; each waits for the app, which calls back


class SlackWeb:
    """The routes. ``state`` is asked for anew each time, since a reset makes another one."""

    def __init__(
        self, state: Callable[[], State], sockets: Sockets, acts: dict[str, Act], openid: OpenId
    ) -> None:  # fmt: skip
        self._state, self._sockets, self._acts, self._openid = state, sockets, acts, openid
        self._limiter: anyio.CapacityLimiter | None = None
        opens = Method(name="apps.connections.open", handle=self._open, scopes=("connections:write",), kinds=("app",))
        rows = (
            *chat.METHODS, *conversations.METHODS, *directory.METHODS, *views.METHODS, *files.METHODS,
            *marks.METHODS, *MANIFEST, *self._openid.methods, opens,
        )  # fmt: skip
        self.methods = {method.name: method for method in rows}

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/{method}", self._api, methods=["GET", "POST"]),
            Route("/respond/{team}/{token}", self._respond, methods=["POST"]),
            Route("/upload/v1/{token}", self._upload, methods=["POST"]),
            Route("/files-pri/{id}/{name}", self._download, methods=["GET"]),
            Route("/openid/connect/authorize", self._authorize, methods=["GET", "POST"]),
            Route("/openid/connect/keys", self._document, methods=["GET"]),
            Route("/.well-known/openid-configuration", self._document, methods=["GET"]),
            Route("/hand/{user}/state", self._look, methods=["GET"]),
            Route("/hand/{user}/file/{id}", self._read_file, methods=["GET"]),
            Route("/hand/{user}/{act}", self._act, methods=["POST"]),
            WebSocketRoute("/link/", self._sockets.serve),
        ]

    async def _in_thread(self, work: Callable[[], Response]) -> Response:
        """Acts have threads of their own, so that people who wait never keep the Web API from answering."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(BUSY)
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    # the Web API ---------------------------------------------------------------------------------------------------

    async def _api(self, request: Request) -> Response:
        body = await request.body()
        return await anyio.to_thread.run_sync(partial(self._call, request, body))

    def _call(self, request: Request, body: bytes) -> Response:
        headers = {"x-slack-req-id": secrets.token_hex(16), "cache-control": "private, no-cache"}
        try:
            said = self.call(
                request.path_params["method"], request.headers.get("authorization", ""),
                arguments(request.url.query, request.headers.get("content-type", ""), body), headers,
            )  # fmt: skip
        except Refusal as refusal:
            said = refusal.body()
            request.scope["range.detail"] = refusal.error
            if refusal.retry_after:
                headers["retry-after"] = str(refusal.retry_after)
                return JSONResponse(said, 429, headers)
        return JSONResponse(said, 200, headers)

    def call(self, name: str, authorization: str, args: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        """Answer one call. Raises Refusal. ``headers`` of the answer are filled in."""
        method = self.methods.get(name)
        if method is None:
            raise Refusal("unknown_method", req_method=name)
        state = self._state()
        with state.lock:
            token = identify(state, method, authorization, args)
            call = Call(state=state, method=method, args=args, token=token, authorization=authorization)
            if token is not None:  # told of a refused call too: a doctor reads them there
                headers["x-oauth-scopes"] = ",".join(token.scopes)
                headers["x-accepted-oauth-scopes"] = ",".join(method.scopes)
            call.need(*method.scopes)
            if seconds := state.limits.call(name, method.tier):
                raise Refusal("ratelimited", retry_after=seconds)
            chat.post_due(state)
            return {"ok": True, **(method.handle(call) or {})}

    def _open(self, _call: Call) -> dict[str, Any]:
        return {"url": self._sockets.ticket()}

    # response URLs -------------------------------------------------------------------------------------------------

    async def _respond(self, request: Request) -> Response:
        raw = await request.body()
        try:
            said = json.loads(raw)
        except ValueError:
            return PlainTextResponse("invalid_payload", 400)
        state = self._state()
        try:
            with state.lock:
                replies.use(state, request.path_params["token"], said)
        except Refusal as refusal:
            gone = refusal.error in ("no_active_hooks", "expired_url", "used_url")
            return JSONResponse(refusal.body(), 404 if gone else 400)
        return PlainTextResponse("ok")

    # files ---------------------------------------------------------------------------------------------------------

    async def _upload(self, request: Request) -> Response:
        content, state = await request.body(), self._state()
        try:
            with state.lock:
                return PlainTextResponse(files.upload(state, request.path_params["token"], content))
        except Refusal as refusal:
            return PlainTextResponse(refusal.error, 400)

    async def _download(self, request: Request) -> Response:
        """A file's content for a token with files:read; without one Slack sends a page to sign in."""
        state = self._state()
        with state.lock:
            token = state.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
            if token is None or token.revoked or "files:read" not in token.scopes:
                return RedirectResponse(f"{state.base_url}/", 302)
            return _content(state.files.get(request.path_params["id"].partition("-")[2]))

    async def _read_file(self, request: Request) -> Response:
        """A file as a person opens it who sees its channel."""
        state = self._state()
        with state.lock:
            found = state.files.get(request.path_params["id"])
            try:
                person = _person(state, request.path_params["user"])
            except Cannot as exc:
                return _cannot(exc, 400)
            channel = state.channels.get(found.channel) if found else None
            if channel is None or not state.sees(person.id, channel):
                return _cannot(Cannot("file_not_found", f"{person.name} sees no such file"), 404)
            return _content(found)

    # Sign in with Slack --------------------------------------------------------------------------------------------

    async def _authorize(self, request: Request) -> Response:
        """The page, and what its button does."""
        state = self._state()
        said = openid.form(await request.body()) if request.method == "POST" else dict(request.query_params)
        try:
            with state.lock:
                query = openid.asked(state, said)
                if request.method == "GET":
                    return HTMLResponse(openid.page(state, query), headers=_CLOSED)
                return RedirectResponse(openid.allow(state, query, _person(state, said.get("user", ""))), 302)
        except Refusal as refusal:
            return PlainTextResponse(f"Oops: {refusal.error}", 400)
        except Cannot as exc:
            return _cannot(exc, 400)

    async def _document(self, request: Request) -> Response:
        return JSONResponse(self._openid.documents(self._state())[request.url.path])

    # people --------------------------------------------------------------------------------------------------------

    async def _look(self, request: Request) -> Response:
        return await self._in_thread(partial(self._as_person, request, None, b""))

    async def _act(self, request: Request) -> Response:
        body = await request.body()
        act = self._acts.get(request.path_params["act"])
        if act is None:
            known = ", ".join(sorted(self._acts))
            return _cannot(Cannot("unknown_act", f"people do {known}"), 404)
        return await self._in_thread(partial(self._as_person, request, act, body))

    def _as_person(self, request: Request, act: Act | None, body: bytes) -> Response:
        """What one person does (or, without an act, sees)."""
        state = self._state()
        try:
            person = _person(state, request.path_params["user"])
            if act is None:
                with state.lock:
                    chat.post_due(state)
                    return JSONResponse({"ok": True, **eyes.look(state, person)})
            said = json.loads(body or b"{}")
            return JSONResponse(act(person, said if isinstance(said, dict) else {}))
        except ValueError:
            return _cannot(Cannot("invalid_json", "the body is not JSON"), 400)
        except Cannot as exc:
            return _cannot(exc, 400)


def _person(state: State, word: str) -> Person:
    """Somebody by handle or id; bots have no hands."""
    for person in state.people.values():
        if word in (person.id, person.name) and not person.is_bot:
            return person
    raise Cannot("user_not_found", f"nobody here is called {word!r}")


def _content(found: File | None) -> Response:
    if found is None or found.content is None:
        return PlainTextResponse("file_not_found", 404)
    headers = {"x-content-type-options": "nosniff"}
    return Response(found.content, media_type="text/plain; charset=utf-8", headers=headers)


def _cannot(exc: Cannot, status: int) -> Response:
    return JSONResponse({"ok": False, "error": exc.error, "message": str(exc)}, status)
