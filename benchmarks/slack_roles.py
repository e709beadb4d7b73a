"""The processes of the Slack benchmark: the workspace, Bulkhead under 500 incidents, a server that only inserts."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.engine import NOWHERE, engine_of, land, rows_of
from benchmarks.load import Provider, Shape, Step, catalogue, playbook
from bot.app import SLACK_DOOR, Bulkhead, opened
from bot.clients import AwsClients, GitHubClient, RealClock
from bot.engine.run import Engine
from bot.engine.steps import Ruling
from bot.model import Effect, Exposure, Liveness, Report, Triage
from bot.settings import Settings
from bot.sites import Site
from bot.slack.features import FEATURES
from bot.slack.manifest import manifest
from bot.slack.room import Room
from bot.world import World
from tests.slack_range import serving, slack_served

CALL_S = 0.08
PEOPLE, ADDRESSES = ("alice", "bob", "carol"), 5000  # who sends, and how many answering addresses each has
PHASES = (("look", 4), ("run", 4), ("prove", 8))


def _step(name: str, *needs: str) -> Step:
    return Step(id=name, provider="cloud", effect=Effect.CONTAIN if name == "cut" else Effect.CHANGE,
                needs=dict.fromkeys(needs, "proven"), phases=PHASES, cuts=name == "cut")  # fmt: skip


# Calls that keep 500 incidents busy for as long as is measured; the last step asks two people.
SHAPE = Shape(name="busy", triage=2, steps=(_step("cut"), _step("sessions", "cut"), _step("restore", "sessions")))


def run(role: str, home: Path) -> None:
    """Be one of them until killed."""
    {"slack": _slack, "house": _house, "bare": _bare}[role](home)


def _slack(_home: Path) -> None:
    with slack_served() as slack:
        made = manifest(command="/bulkhead", url="https://bulkhead.example")
        slack.range.install({"manifest": made, "request_url": f"{NOWHERE}{SLACK_DOOR}"})
        state, channel = slack.range.state, slack.channel("incidents")
        answering = {
            user: [state.new_hook(user=slack.user(user), channel=channel) for _ in range(ADDRESSES)] for user in PEOPLE
        }
        print(json.dumps({"url": slack.url, "cast": slack.cast | {"answering": answering}}), flush=True)
        threading.Event().wait()


def _settings(home: Path, role: str) -> Settings:
    told = json.loads((home / "slack.json").read_text(encoding="utf-8"))
    cast = told["cast"]
    groups = cast["groups"]
    return Settings(
        home=home / role, mode="act", slack_api=f"{told['url']}/api/", slack_bot_token=SecretStr(cast["bot_token"]),
        slack_signing_secret=SecretStr(cast["signing_secret"]), slack_channel=cast["channels"]["incidents"],
        slack_groups=f"one={groups['responders']},lead={groups['responders']},person={groups['responders']},"
        f"two={groups['approvers']}",
    )  # fmt: skip


def _site() -> Site:
    return Site(
        name="range", aws=AwsClients(key_id="none", secret="none", endpoint=NOWHERE),  # noqa: S106 - made up
        github=GitHubClient(token="none", base_url=NOWHERE), clock=RealClock(), identities=(),  # noqa: S106 - made up
    )  # fmt: skip


def _house(home: Path) -> None:
    with opened(_settings(home, "house"), sites={"range": _site()}) as bulkhead:
        room = Room(bulkhead, FEATURES)
        bulkhead.recognizer.warm()
        asyncio.run(_run(bulkhead, room.http, room))


async def _run(bulkhead: Bulkhead, app: Any, room: Room | None) -> None:
    """The incidents, the door and the board in one process, as ``bulkhead serve`` has them."""
    told = json.loads((bulkhead.settings.home.parent / "slack.json").read_text(encoding="utf-8"))
    engine, rows = _engine(bulkhead, told["incidents"])
    await engine.start()
    await asyncio.to_thread(land, bulkhead, rows)
    with serving(app) as url:
        begun = asyncio.gather(*(engine.open(row["id"]) for row in rows))
        print(url.rpartition(":")[2], flush=True)
        await asyncio.gather(begun, *([room.run()] if room else [asyncio.Event().wait()]))


def _engine(bulkhead: Bulkhead, incidents: int) -> tuple[Engine, list[dict[str, Any]]]:
    def triage(_world: World, report: Report) -> Triage:
        assert report.credential is not None
        return Triage(credential=report.credential, live=Liveness.LIVE, exposure=Exposure.PUBLIC)

    actions = catalogue(Provider(CALL_S), SHAPE)
    usual = engine_of(bulkhead, actions, triage).parts

    def rules(row: Any, found: Any, action: Any, before: Any) -> Ruling:
        said = usual.rules(row, found, action, before)
        return replace(said, posture="two", on_silence="hold", after_s=0) if action.name.endswith("restore") else said

    return Engine(replace(usual, rules=rules)), rows_of(bulkhead, playbook(SHAPE), actions, incidents)


def _bare(home: Path) -> None:
    """The same incidents beside a server that does nothing but one insert a request."""
    with opened(_settings(home, "bare"), sites={"range": _site()}) as bulkhead:
        with bulkhead.store.begin() as c:
            c.execute(text("CREATE TABLE bare (body TEXT)"))

        def insert(body: str) -> None:
            with bulkhead.store.begin() as c:
                c.execute(text("INSERT INTO bare VALUES (:body)"), {"body": body})

        async def take(request: Request) -> Response:
            body = (await request.body()).decode()
            await asyncio.to_thread(insert, body)
            return Response()

        asyncio.run(_run(bulkhead, Starlette(routes=[Route(SLACK_DOOR, take, methods=["POST"])]), None))

