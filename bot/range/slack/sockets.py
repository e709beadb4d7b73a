"""Socket Mode: the app opens a WebSocket and is sent envelopes, which it acknowledges by their id.

docs.slack.dev/apis/events-api/using-socket-mode: at most ten connections for an app, a URL that works once, a hello,
a disconnect message before Slack closes. An envelope goes to one of the connections.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from bot.range.slack.deliver import Answer
from bot.range.slack.state import State

MAX_CONNECTIONS = 10
TICKET_S = 30.0
REASONS = ("warning", "refresh_requested", "link_disabled")


@dataclass(slots=True, eq=False)
class _Link:
    """One open connection, and the loop that serves it."""

    socket: WebSocket
    loop: asyncio.AbstractEventLoop
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


class Sockets:
    """The connections, and the envelopes that wait for their acknowledgement."""

    def __init__(self, state: Callable[[], State]) -> None:
        self._state = state
        self._tickets: dict[str, float] = {}
        self._links: list[_Link] = []
        self._waiting: dict[str, tuple[Future[Any], _Link]] = {}
        self._turn = 0
        self._lock = threading.Lock()

    @property
    def open(self) -> list[str]:
        """The connections that are open, each by an id of its own."""
        with self._lock:
            return [link.id for link in self._links]

    @property
    def count(self) -> int:
        """How many connections are open."""
        return len(self._links)

    def ticket(self) -> str:
        """The URL of a new connection, good for one and for half a minute."""
        made = secrets.token_urlsafe(24)
        with self._lock:
            self._tickets[made] = time.monotonic()
        state = self._state()
        return f"{state.base_url.replace('http', 'ws', 1)}/link/?ticket={made}&app_id={state.app.id}"

    async def serve(self, socket: WebSocket) -> None:
        """One connection, from its hello to its end."""
        with self._lock:
            made = self._tickets.pop(socket.query_params.get("ticket", ""), None)
            full = len(self._links) >= MAX_CONNECTIONS
        if made is None or full or time.monotonic() - made > TICKET_S:
            await socket.close(code=4000)  # before accept: the client gets a 403
            return
        await socket.accept()
        link = _Link(socket, asyncio.get_running_loop())
        await socket.send_text(json.dumps(self._hello()))
        with self._lock:
            self._links.append(link)
        try:
            while True:
                self._heard(await socket.receive_text())
        except WebSocketDisconnect:
            pass
        finally:
            self._drop(link)

    def _hello(self) -> dict[str, Any]:
        return {
            "type": "hello", "num_connections": len(self._links) + 1,
            "connection_info": {"app_id": self._state().app.id},
            "debug_info": {"host": "range", "build_number": 1, "approximate_connection_time": 18060},
        }  # fmt: skip

    def _heard(self, text: str) -> None:
        try:
            said = json.loads(text)
        except ValueError:
            return
        if not isinstance(said, dict):
            return
        with self._lock:
            waiting = self._waiting.pop(str(said.get("envelope_id")), None)
        if waiting is not None:
            waiting[0].set_result(said.get("payload"))

    def _drop(self, link: _Link) -> None:
        """Forget a connection; what was sent over it and not acknowledged is lost."""
        with self._lock:
            self._links = [each for each in self._links if each is not link]
            lost = [key for key, (_, over) in self._waiting.items() if over is link]
            futures = [self._waiting.pop(key)[0] for key in lost]
        for future in futures:
            future.set_exception(ConnectionError())

    def send(
        self, kind: str, payload: dict[str, Any], *, timeout_s: float, accepts: bool, number: int, reason: str
    ) -> Answer:
        """Send an envelope over one of the connections and wait until it is acknowledged."""
        envelope: dict[str, Any] = {
            "envelope_id": str(uuid.uuid4()), "type": kind, "payload": payload, "accepts_response_payload": accepts,
        }  # fmt: skip
        if kind == "events_api":
            envelope |= {"retry_attempt": number, "retry_reason": reason}
        future: Future[Any] = Future()
        with self._lock:
            if not self._links:
                return Answer(error="dispatch_failed", reason="connection_failed")
            self._turn += 1
            link = self._links[self._turn % len(self._links)]
            self._waiting[envelope["envelope_id"]] = (future, link)
        asyncio.run_coroutine_threadsafe(link.socket.send_text(json.dumps(envelope)), link.loop)
        try:
            return Answer(body=future.result(timeout_s) or None)
        except TooLate:
            with self._lock:
                self._waiting.pop(envelope["envelope_id"], None)
            return Answer(error="operation_timeout", reason="timeout")
        except ConnectionError:
            return Answer(error="dispatch_failed", reason="connection_failed")

    def disconnect(self, reason: str = "refresh_requested", *, close: bool = True) -> int:
        """Tell every connection that it ends, and close it unless it is only warned. Returns how many there were."""
        with self._lock:
            links = list(self._links)
        for link in links:
            asyncio.run_coroutine_threadsafe(self._farewell(link, reason, close), link.loop)
        return len(links)

    async def _farewell(self, link: _Link, reason: str, close: bool) -> None:
        said = {"type": "disconnect", "reason": reason, "debug_info": {"host": "range"}}
        try:
            await link.socket.send_text(json.dumps(said))
            if close:
                await link.socket.close()
        except (RuntimeError, WebSocketDisconnect):
            return  # it was gone already
        finally:
            if close:
                self._drop(link)
