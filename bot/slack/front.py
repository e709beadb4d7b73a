"""Where Slack reaches the door: requests over HTTP (an ASGI app), envelopes over a Socket Mode connection.

Socket Mode is Slack's own client with a handler of ours in place of Bolt's, so that both ways lead through one door.
An envelope that could not be landed is not acknowledged, and Slack sends it again if it is an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from slack_sdk.socket_mode.builtin import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from bot.errors import BulkheadError
from bot.slack.client import quiet_logger, slack_errors, web_client
from bot.slack.door import MOST, Answer, Door

THREADS = 8
ENVELOPES = ("slash_commands", "interactive", "events_api")
RECONNECT_S = 10.0
log = logging.getLogger("bulkhead.slack")

Message = MutableMapping[str, Any]


class Http:
    """The door as an ASGI app. Its threads are its own: a page that waits for the database keeps no click waiting."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="slack-door")

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Answer one request. What is not a POST is none of Slack's."""
        answer = Answer(405)
        if scope["type"] == "http" and scope["method"] == "POST":
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            raw = await _body(receive)
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._door.http, headers, raw)
        kind = b"application/json" if answer.body else b"text/plain"
        await send({"type": "http.response.start", "status": answer.status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": answer.body.encode()})

    def close(self) -> None:
        """Let what is under way end."""
        self._threads.shutdown(wait=True)


async def _body(receive: Callable[[], Awaitable[Message]]) -> bytes:
    """The body, or a little more than the most that is read of one."""
    parts, size = [], 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if not message.get("more_body") or size > MOST:
            return b"".join(parts)


class Socket:
    """A Socket Mode connection, kept up by Slack's own client."""

    def __init__(self, door: Door, app_token: str, api: str) -> None:
        self._door = door
        self._client = SocketModeClient(
            app_token=app_token, web_client=web_client("", api), logger=quiet_logger(), concurrency=THREADS,
        )  # fmt: skip
        if self._client.web_client.proxy is None:
            self._client.proxy = None
        self._client.socket_mode_request_listeners.append(self._heard)  # type: ignore[arg-type]

    async def run(self) -> None:
        """Connect, and stay connected until cancelled. Slack being away is said, and tried again."""
        try:
            while not await asyncio.to_thread(self._connect):
                await asyncio.sleep(RECONNECT_S)
            await asyncio.Event().wait()
        finally:
            self._client.close()  # here and now: who is cancelled a second time must not leave it half closed

    def _connect(self) -> bool:
        try:
            with slack_errors("open a Socket Mode connection"):
                self._client.connect()
        except BulkheadError as exc:
            log.warning("%s", exc)
            return False
        return True

    def _heard(self, client: SocketModeClient, request: SocketModeRequest) -> None:
        """One envelope: through the door, then acknowledged with what the door answers."""
        payload = request.payload if isinstance(request.payload, dict) else {}
        answer = self._door.socket(payload) if request.type in ENVELOPES else Answer()
        if answer.status == 200:
            response = SocketModeResponse(envelope_id=request.envelope_id, payload=answer.payload)
            client.send_socket_mode_response(response)
