"""The addresses of the range's Slack: the Web API, response URLs, Socket Mode, and the hands of its people."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from bot.range.slack import chat, conversations, directory, eyes, replies, views
from bot.range.slack.appconfig import METHODS as MANIFEST
from bot.range.slack.eyes import Cannot
from bot.range.slack.hand import Act
from bot.range.slack.http import Call, Method, Refusal, arguments, authorize
from bot.range.slack.nouns import Person
from bot.range.slack.sockets import Sockets
from bot.range.slack.state import State

BUSY = 200  # acts of people at once; each waits for the app, which calls back


class SlackWeb:
    """The routes. ``state`` is asked for anew each time, since a reset makes another one."""

    def __init__(self, state: Callable[[], State], sockets: Sockets, acts: dict[str, Act]) -> None:
        self._state, self._sockets, self._acts = state, sockets, acts
        self._limiter: anyio.CapacityLimiter | None = None
        opens = Method(name="apps.connections.open", handle=self._open, scopes=("connections:write",), kinds=("app",))
        rows = (*chat.METHODS, *conversations.METHODS, *directory.METHODS, *views.METHODS, *MANIFEST, opens)
        self.methods = {method.name: method for method in rows}

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/{method}", self._api, methods=["GET", "POST"]),
            Route("/respond/{team}/{token}", self._respond, methods=["POST"]),
            Route("/hand/{user}/state", self._look, methods=["GET"]),
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
            token = authorize(state, method, authorization, args)
            if token is not None:
                headers["x-oauth-scopes"] = ",".join(token.scopes)
                headers["x-accepted-oauth-scopes"] = ",".join(method.scopes)
            if seconds := state.limits.call(name, method.tier):
                raise Refusal("ratelimited", retry_after=seconds)
            chat.post_due(state)
            call = Call(state=state, method=method, args=args, token=token, headers=headers)
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


def _cannot(exc: Cannot, status: int) -> Response:
    return JSONResponse({"ok": False, "error": exc.error, "message": str(exc)}, status)
