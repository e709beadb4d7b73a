"""The webhook door over HTTP: POST /hooks/SOURCE, or /hooks/SOURCE/TOKEN for senders that can set no header.

The body is read with a bound on its size and on its time; the door itself is ``bot.intake.door``. An answer is JSON of
two words and never repeats what was sent. /hooks/openapi.json describes this for programs.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.doors import utc
from bot.intake.delivery import Delivery
from bot.intake.door import Answer, Door
from bot.intake.sources import TITLES
from bot.intake.wire import MAX_BODY

BODY_S = 15.0  # a sender that is slower has none: GitHub itself waits for ten seconds
STATUSES = {
    202: "landed, was here already, or declined with the reason", 400: "malformed", 401: "not signed, or wrongly",
    403: "the topic or repository is not one of ours", 404: "no such source, or it is not open", 408: "too slow",
    411: "the length of the body is no number", 413: "too large", 415: "this type or encoding is not taken",
    422: "it is no report that can be read", 503: "try again",
}  # fmt: skip


class Hooks:
    """The endpoints over a door. ``body_s``: seconds that a body may take."""

    def __init__(self, door: Door, body_s: float = BODY_S) -> None:
        self._door, self._body_s = door, body_s

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        """(source, outcome) -> deliveries since this process began."""
        return self._door.counts

    def routes(self) -> list[Route]:
        """To be put into an application."""
        return [
            Route("/hooks/openapi.json", self.described, methods=["GET"]),
            Route("/hooks/{source}", self.take, methods=["POST"]),
            Route("/hooks/{source}/{token}", self.take, methods=["POST"]),
        ]

    async def take(self, request: Request) -> Response:
        """One delivery."""
        name = request.path_params["source"]
        if not self._door.open(name):
            return _said(Answer(status=404, text="there is no such source, or it is not open"))
        try:
            async with asyncio.timeout(self._body_s):
                body = await self._body(request)
        except TimeoutError:
            self._door.count(name, "slow")
            return _said(Answer(status=408, text="the body came too slowly"))
        except ClientDisconnect:
            self._door.count(name, "gone")
            return _said(Answer(status=400, text="the body ended too soon"))
        if isinstance(body, Answer):
            self._door.count(name, "size")
            return _said(body)
        headers: dict[str, str] = {}
        for key, value in request.headers.items():
            headers[key] = f"{headers[key]},{value}" if key in headers else value  # twice: no signature fits
        delivery = Delivery(
            source=name, body=body, headers=headers, at=utc(), token=request.path_params.get("token", "")
        )
        return _said(await asyncio.to_thread(self._door.receive, delivery))

    async def _body(self, request: Request) -> bytes | Answer:
        stated = request.headers.get("content-length", "0")
        if not stated.isascii() or not stated.isdigit():
            return Answer(status=411, text="the length of the body is no number")
        too_large = Answer(status=413, text="the body is larger than 25 MB")
        if len(stated) > 12 or int(stated) > MAX_BODY:
            return too_large
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > MAX_BODY:
                return too_large
            parts.append(part)
        return b"".join(parts)

    async def described(self, _request: Request) -> Response:
        """The description of this door (OpenAPI 3.1). It does not say which sources are open here."""
        return JSONResponse(description())


def _said(answer: Answer) -> Response:
    body = {"status": answer.text} | ({"id": answer.id} if answer.id else {})
    return JSONResponse(body, answer.status, headers={"connection": "close"} if answer.status in (408, 413) else None)


def description() -> dict[str, Any]:
    """OpenAPI 3.1 of every source that we ship."""
    said = {"type": "object", "required": ["status"], "additionalProperties": False,
            "properties": {"status": {"type": "string"}, "id": {"type": "string"}}}  # fmt: skip
    answers = {
        str(status): {"description": text, "content": {"application/json": {"schema": said}}}
        for status, text in STATUSES.items()
    }
    paths = {
        f"/hooks/{name}": {"post": {
            "operationId": name, "summary": title, "responses": answers,
            "requestBody": {"required": True, "content": {"application/json": {"schema": {}}}},
        }}
        for name, title in TITLES.items()
    }  # fmt: skip
    return {"openapi": "3.1.0", "info": {"title": "Bulkhead's webhook door", "version": "1"}, "paths": paths}
