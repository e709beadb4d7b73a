"""The range's Slack alone, served on loopback, and what tests do with it: as the app, and as its people."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import requests
import uvicorn
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from bot.range.clock import RangeClock
from bot.range.port import listen
from bot.range.slack import SlackRange
from bot.range.switchboard import Switchboard

PATIENCE_S = 30.0  # instead of three: a busy machine is no reason to fail; what is late is tested by what is set


@dataclass
class Slack:
    """A running Slack. ``cast`` is what the app and its people are told; people have the names of the cast."""

    range: SlackRange
    clock: RangeClock
    switchboard: Switchboard
    url: str
    http: requests.Session

    @property
    def cast(self) -> dict[str, Any]:
        return self.range.cast

    def channel(self, name: str) -> str:
        return str(self.cast["channels"][name])

    def user(self, name: str) -> str:
        return str(self.cast["users"][name]["id"])

    def client(self, token: str | None = None) -> WebClient:
        return WebClient(token=self.cast["bot_token"] if token is None else token, base_url=f"{self.url}/api/")

    def hand(self, user: str, act: str, *, status: int = 200, **body: Any) -> dict[str, Any]:
        """What somebody does; ``status`` 400 is what the client would not let them do."""
        answer = self.http.post(f"{self.url}/hand/{user}/{act}", json=body, timeout=30)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    def look(self, user: str) -> dict[str, Any]:
        """All that somebody sees."""
        answer = self.http.get(f"{self.url}/hand/{user}/state", timeout=30)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def messages(self, user: str, channel: str) -> list[dict[str, Any]]:
        """What somebody sees in a channel, by its name; oldest first."""
        return [dict(m) for c in self.look(user)["channels"] if c["name"] == channel for m in c["messages"]]


def error(call: Callable[..., Any], **params: Any) -> str:
    """What Slack says of a call: its error, or '' when it is ok."""
    refused = refusal(call, **params)
    return "" if refused is None else str(refused["error"])


def refusal(call: Callable[..., Any], **params: Any) -> SlackResponse | None:
    try:
        call(**params)
    except SlackApiError as exc:
        found: SlackResponse = exc.response
        return found
    return None


@contextmanager
def slack_served() -> Iterator[Slack]:
    """A Slack on a port of its own, with rate limits; ``reset`` of ``Slack.range`` gives a new workspace."""
    clock = RangeClock()
    switchboard = Switchboard(clock)
    slack = SlackRange(clock, switchboard, PATIENCE_S)
    with serving(slack.asgi) as url, requests.Session() as http:
        http.trust_env = False
        slack.base_url = url
        slack.start()
        yield Slack(slack, clock, switchboard, url, http)
        slack.stop()


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Any ASGI app on a port of loopback; the block gets its origin."""
    listener = listen()
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def until(holds: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait until something holds, and return it."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.02)
    return found


@dataclass
class App:
    """An app that keeps what it is sent, and answers as it is told to."""

    url: str = ""
    got: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    raw: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], Any] = lambda _: None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        raw = await request.body()
        headers = dict(request.headers)
        self.raw.append((headers, raw))
        self.got.append((headers, _decoded(headers["content-type"], raw)))
        said = await run_in_threadpool(self.answer, self.got[-1][1])
        response = said if isinstance(said, Response) else _response(said)
        await response(scope, receive, send)

    @property
    def last(self) -> dict[str, Any]:
        return self.got[-1][1]


def _decoded(content_type: str, raw: bytes) -> dict[str, Any]:
    if content_type == "application/json":
        return dict(json.loads(raw))
    form = {key: values[0] for key, values in parse_qs(raw.decode(), keep_blank_values=True).items()}
    return dict(json.loads(form["payload"])) if "payload" in form else form


def _response(said: Any) -> Response:
    return JSONResponse(said) if isinstance(said, dict) else PlainTextResponse(said or "")


# blocks ------------------------------------------------------------------------------------------------------------


def button(action_id: str, **more: Any) -> dict[str, Any]:
    return {"type": "button", "action_id": action_id, "text": plain(action_id), **more}


def plain(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}


def actions(*found: dict[str, Any]) -> dict[str, Any]:
    return {"type": "actions", "block_id": "b", "elements": list(found)}


def manifest() -> dict[str, Any]:
    return {
        "display_information": {"name": "Bulkhead"},
        "features": {
            "bot_user": {"display_name": "bulkhead"},
            "app_home": {"home_tab_enabled": True},
            "slash_commands": [
                {"command": "/bulkhead", "description": "x", "url": "https://b.example", "should_escape": True}
            ],
            "shortcuts": [{"name": "Report", "type": "global", "callback_id": "report_leak", "description": "x"}],
        },
        "oauth_config": {"scopes": {"bot": ["commands", "chat:write", "app_mentions:read"]}},
        "settings": {
            "event_subscriptions": {"bot_events": ["app_mention"], "request_url": "https://b.example"},
            "interactivity": {"is_enabled": True, "request_url": "https://b.example"},
        },
    }  # fmt: skip
