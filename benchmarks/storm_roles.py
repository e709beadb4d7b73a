"""The processes of the storm: the door, the inbox's worker, and the server that only inserts."""

from __future__ import annotations

import asyncio
import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot import web
from bot.app import opened
from bot.clients import AwsClients, GitHubClient, RealClock
from bot.doorway import open_door
from bot.settings import Settings
from bot.sites import Site
from bot.store import Store
from bot.store_intake import waiting
from bot.web.hooks import Hooks

NOWHERE = "http://127.0.0.1:9"
BATCH = 50


def run(role: str, settings: Settings) -> None:
    """Be one of them until killed."""
    settings.home.mkdir(parents=True, exist_ok=True)
    {"door": _door, "worker": _worker, "bare": _bare}[role](settings)


def _told(address: str) -> None:
    print(address, flush=True)


def _door(settings: Settings) -> None:
    with opened(settings, sites={}) as bulkhead:
        bulkhead.recognizer.warm()
        app = web.application(bulkhead.store, hooks=Hooks(open_door(settings, bulkhead.inbox)))
        asyncio.run(web.run(app, "127.0.0.1", 0, _told))


def _worker(settings: Settings) -> None:
    """The inbox's part of a worker. Nothing here asks a provider: the values came along."""
    site = Site(
        name="real", aws=AwsClients(key_id="none", secret="none", endpoint=NOWHERE), clock=RealClock(),  # noqa: S106 - made up
        github=GitHubClient(token="none", base_url=NOWHERE), identities=(),  # noqa: S106 - made up
    )  # fmt: skip
    with opened(settings, sites={"real": site}) as bulkhead:
        while True:
            rows = waiting(bulkhead.store, BATCH)
            bulkhead.inbox.work_all(rows)
            if not rows:
                time.sleep(0.05)


def _bare(settings: Settings) -> None:
    store = Store(settings.url)
    store.migrate()

    def insert(body: bytes) -> None:
        with store.begin() as c:
            row = {"id": str(time.perf_counter_ns()), "source": "bare", "landed_at": "", "raw_sha256": ""}
            store.land(c, row | {"body": body.decode()})

    async def take(request: Request) -> Response:
        body = await request.body()
        await asyncio.to_thread(insert, body)
        return JSONResponse({"status": "landed"}, 202)

    asyncio.run(web.run(Starlette(routes=[Route("/", take, methods=["POST"])]), "127.0.0.1", 0, _told))
