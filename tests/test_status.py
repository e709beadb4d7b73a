"""How Bulkhead itself is: what wakes somebody is a light that says what to do, on the page and in the terminal."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from bot import heartbeat, web
from bot.__main__ import app
from bot.app import PAGES_AT, opened
from bot.doors import STATUS, Doors, utc
from bot.engine.freeze import Frozen
from bot.health import lights
from bot.health.lights import GREEN, RED, YELLOW, Health
from bot.intake import missed
from bot.settings import Settings
from bot.store import Store, iso
from tests.conftest import ORG, Ferry
from tests.databases import Make
from tests.engine.lamps import House as Lamps
from tests.states import HOUR, NOW, STATES, House, each, says, well
from tests.test_logs import PLAYBOOK
from tests.test_processes import child
from tests.test_web import Serving

SET = Settings.model_construct(
    **dict(Settings()) | {
        "mode": "act", "responders": "ann,bo", "slack_bot_token": SecretStr("made-up-bot-token"),
        "hooks": SecretStr('{"github": "made-up-hook-secret"}'), "vault_key": SecretStr("made-up-vault-key"),
        "metrics_token": SecretStr("made-up-metrics-token"),
    },
)  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with well(tmp_path) as made:
        with made.store.begin() as c:
            at = iso(NOW - timedelta(minutes=1))
            row = {"id": "github:1", "source": "github", "landed_at": at, "body": {}, "raw_sha256": ""}
            made.store.land(c, row)
            made.store.set_inbox(c, "github:1", "worked", "")
        yield made


def health(house: House, settings: Settings = SET) -> Health:
    frozen = Frozen(by="ann", at="", reason="a wrong policy", seq=1) if house.frozen else None
    return lights.of(house.store, settings, NOW, policy="ab" * 32, frozen=frozen)


def shining(house: House, settings: Settings = SET) -> dict[str, lights.Light]:
    """The lights that are not green, by name."""
    return {one.name: one for one in health(house, settings).lights if one.state != GREEN}


def test_where_all_is_well_every_light_is_green_and_says_when(house: House) -> None:
    found = health(house)
    assert (found.worst, shining(house)) == (GREEN, {})
    said = {one.name: one.says for one in found.lights}
    assert said["GitHub webhooks"] == "last delivery 1 min 0 s ago, 1 in all"
    assert said["GitHub"] == "has not answered yet; 80% of this hour's requests are left"
    assert said["AWS"] == "answered 0.0 s ago"
    assert said["Kill switch"] == "off"
    assert house.store.process in said["Workers"]


@pytest.mark.parametrize("name", each(name for name in STATES if name != "BulkheadGone"))
def test_what_wakes_somebody_is_a_light_that_says_what_to_do(house: House, name: str) -> None:
    """BulkheadGone is the page's own death."""
    for _ in STATES[name](house):
        wrong = shining(house)
        assert wrong
        assert all(one.do and one.says for one in wrong.values()), wrong
    assert shining(house) == {}


def test_what_is_different_between_processes_is_seen(house: House) -> None:
    other = Store(house.store.url)
    heartbeat.beat(house.store, "worker", NOW, version="1", mode="act", policy="aa")
    heartbeat.beat(other, "worker", NOW, version="2", mode="ask", policy="aa")
    other.close()
    assert {"One of all versions", "One of all modes"} <= set(shining(house))
    assert "1, 2" in shining(house)["One of all versions"].says


def test_a_door_that_nothing_has_ever_come_by_and_a_missing_responder_are_seen(house: House) -> None:
    open_ = SET.model_copy(update={"hooks": SecretStr('{"gitguardian": "made-up-hook-secret"}'), "responders": ""})
    wrong = shining(house, open_)
    assert wrong["GitGuardian"].state == YELLOW
    assert wrong["Responders"].state == RED
    assert shining(house, SET.model_copy(update={"mode": "observe"}))["Mode"].state == YELLOW


def test_a_process_that_says_goodbye_is_not_missed_and_one_that_was_forgotten_neither(house: House) -> None:
    other = Store(house.store.url)
    heartbeat.beat(other, "worker", NOW - timedelta(minutes=2))
    house.beats("worker")
    assert "Workers" in shining(house)
    heartbeat.goodbye(other, "worker")
    assert shining(house) == {}
    heartbeat.beat(other, "worker", NOW - 2 * HOUR)
    house.beats("worker")
    assert shining(house) == {}
    heartbeat.forget(house.store, NOW)
    assert len(house.store.settings(heartbeat.PROCESS)) == 3
    other.close()


@pytest.fixture
def url(house: House) -> Iterator[str]:
    for _ in says(left={"github": [1, 5000]})(house):
        with Serving(web.application(house.store, status=lambda: health(house))) as address:
            yield address


def test_the_page_is_closed_until_a_link_opens_it_once(house: House, url: str) -> None:
    with httpx.Client(base_url=url, trust_env=False, follow_redirects=True) as browser:
        closed = browser.get("/status")
        assert (closed.status_code, "bulkhead status --link" in closed.text) == (403, True)
        assert "GitHub" not in closed.text
        link = f"/open/{Doors(house.store).link(STATUS, utc())}"
        assert "Open the page" in browser.get(link).text
        page = browser.post(link)
        assert (page.status_code, page.url.path) == (200, "/status")
        assert browser.get("/status").status_code == 200
        assert browser.get("/incidents/inc-2026-03-01-0badcafe").status_code == 403, "it opens nothing else"
    with httpx.Client(base_url=url, trust_env=False) as other:
        assert other.post(link).status_code == 403
    text = html.unescape(re.sub(r"<[^>]+>", " ", page.text))
    assert re.search(r"look\s+GitHub.*0% of this hour's requests are left", text, re.DOTALL)
    assert "Do: it goes on by itself" in re.sub(r"\s+", " ", text)
    assert 'name="viewport"' in page.text
    assert "<script" not in page.text
    assert not any(value in page.text for value in secrets_of(SET))


def secrets_of(settings: Settings) -> list[str]:
    return [text for _, value in settings if isinstance(value, SecretStr) and (text := value.get_secret_value())]


def typed(home: Path, *more: str, **env: str) -> Any:
    given = {"BULKHEAD_HOME": str(home), "BULKHEAD_RESPONDERS": "ann,bo", "BULKHEAD_MODE": "act"} | env
    return CliRunner().invoke(app, ["status", *more], env=given)


@pytest.mark.slow
def test_the_command_says_the_same_and_its_status_says_whether_something_is_bad(tmp_path: Path) -> None:
    with opened(Settings(home=tmp_path), sites={}) as bulkhead:
        nobody = typed(tmp_path)
        assert nobody.exit_code == 1
        assert "BAD       Workers: none lives." in nobody.stdout
        assert "Do: start `bulkhead worker`" in nobody.stdout
        for role in ("worker", "clock", "pages"):
            heartbeat.beat(bulkhead.store, role, utc(), **bulkhead._how_it_is())
        well_ = typed(tmp_path, "--json")
        assert well_.exit_code == 0, well_.stdout
        found = json.loads(well_.stdout)
        assert found["worst"] == GREEN
        assert {one["part"] for one in found["lights"]} == {"Processes", "Work", "Doors", "Rules"}
        assert typed(tmp_path, "--link").exit_code == 2, "nobody serves the page"
        bulkhead.store.set_setting(PAGES_AT, "http://127.0.0.1:1")
        link = json.loads(typed(tmp_path, "--link", "--json").stdout)["link"]
        assert link.startswith("http://127.0.0.1:1/open/")
        assert Doors(bulkhead.store).leads(link.rsplit("/", 1)[1], utc()) == STATUS


def test_what_a_worker_heard_of_a_provider_goes_through_the_scrubber(tmp_path: Path) -> None:
    value = "made+up/" + "Zq7" * 9
    with opened(Settings(home=tmp_path), sites={}) as bulkhead:
        bulkhead.vault.scrubber.add(bulkhead.vault.fingerprinter.secret(value))
        engine = bulkhead.engine()
        engine._pace["aws"].heard(f"AWS did not answer {value}")

        async def told() -> dict[str, Any]:
            return bulkhead._how_it_is(engine)

        said = asyncio.run(told())
    assert "[secret hmac:" in said["providers"]["aws"]["why"]
    assert value not in json.dumps(said)


@pytest.mark.slow
def test_the_engine_notes_whether_a_provider_has_answered(tmp_path: Path) -> None:
    lamps = Lamps.build(tmp_path)
    lamps.room.light("a")
    lamps.room.trouble["a"] = 1
    lamps.land(PLAYBOOK)
    engine = lamps.engine()
    seen: list[dict[str, Any]] = []

    async def run() -> None:
        await engine.start()
        while lamps.store.incident("inc-1").status == "open":
            await asyncio.sleep(0.02)
        seen.append(engine.providers())
        await engine.stop()

    asyncio.run(run())
    lamps.close()
    said = seen[-1]["lamp"]
    assert said["why"] == "the switch does not answer"
    assert said["answered"] > said["failed"] > ""
    assert (said["needs"], said["places"]) == (0, 16)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_clock_by_itself_asks_for_what_webhooks_missed(new_postgres: Make, ferry: Ferry, tmp_path: Path) -> None:
    """On PostgreSQL the clock is a process of its own, and nobody else asks."""
    given = {
        "BULKHEAD_DATABASE_URL": new_postgres(), "BULKHEAD_EVIDENCE": str(tmp_path / "shared"),
        "BULKHEAD_VAULT_KEY": base64.b64encode(bytes(range(32))).decode(), "BULKHEAD_CATCH_UP": ORG,
        "BULKHEAD_GITHUB_API": ferry.url, "BULKHEAD_GITHUB_TOKEN": ferry.tokens["bulkhead-bot"],
    }  # fmt: skip
    here = {name.removeprefix("BULKHEAD_").lower(): value for name, value in given.items()}
    with opened(Settings(home=tmp_path / "home", **here), sites={}, release=True) as bulkhead:
        with subprocess.Popen(**child("clock", home=tmp_path, settings=given)) as clock:
            give_up = time.monotonic() + 120
            while not any(state.succeeded for state in missed.states(bulkhead.store).values()):
                assert clock.poll() is None
                assert time.monotonic() < give_up, missed.states(bulkhead.store)
                time.sleep(0.1)
            (alive,) = [one for one in heartbeat.processes(bulkhead.store, utc()) if one.role == "clock"]
            assert alive.said["mode"] == "observe"
            clock.send_signal(signal.SIGTERM)
            assert clock.wait(timeout=60) == 0
        assert heartbeat.processes(bulkhead.store, utc()) == [], "it has said goodbye"
