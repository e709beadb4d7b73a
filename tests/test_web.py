"""The pages over a real server: open doors say little, closed ones open once or to who has signed in."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from bot import web
from bot.doors import LINK, SESSION, Doors, utc
from bot.errors import InputError
from bot.heartbeat import beat
from bot.store import Store
from tests.incidents import ASKING, ID, KEY, house

READY = {"ready": True, "database": "ok", "migrations": "ok"}
TOKEN = "made-up-" + "metrics-token"


@dataclass
class Site:
    """Pages on a port, over a store."""

    store: Store
    url: str
    doors: Doors
    clients: list[httpx.Client] = field(default_factory=list)

    def browser(self) -> httpx.Client:
        """A browser of its own, with its own cookies."""
        self.clients.append(httpx.Client(base_url=self.url, trust_env=False))
        return self.clients[-1]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    house(tmp_path, ASKING, evidence=b"{}")
    store = Store(f"sqlite:///{tmp_path / 'bulkhead.db'}")
    with Serving(web.application(store, metrics_token=TOKEN)) as url:
        made = Site(store, url, Doors(store))
        yield made
        for client in made.clients:
            client.close()
    store.close()


class Serving:
    """Serve pages from a thread while the block runs; gives their address."""

    def __init__(self, app: Starlette) -> None:
        self._app, self._url, self._up = app, "", threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(web.run(self._app, "127.0.0.1", 0, self._listening))
        self._loop.run_until_complete(asyncio.wait([self._task]))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _listening(self, url: str) -> None:
        self._url = url
        self._up.set()

    def __enter__(self) -> str:
        self._thread.start()
        assert self._up.wait(20)
        return self._url

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(20)


def open_door(site: Site, browser: httpx.Client) -> httpx.Response:
    return browser.post(f"/open/{site.doors.link(ID, utc())}")


def test_health_and_readiness_are_open_and_say_no_more_than_that(site: Site) -> None:
    browser = site.browser()
    beat(site.store, "clock", utc() - timedelta(seconds=75))
    assert browser.get("/healthz").text == "ok\n"
    ready = browser.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {**READY, "worker": "never seen", "clock": "silent for 75 s"})


def test_without_its_tables_or_its_database_it_is_not_ready(tmp_path: Path) -> None:
    empty, away = Store(f"sqlite:///{tmp_path / 'empty.db'}"), Store(f"sqlite:///{tmp_path / 'no' / 'such.db'}")
    for store, said in ((empty, "ok"), (away, "does not answer")):
        with Serving(web.application(store)) as url, httpx.Client(base_url=url, trust_env=False) as browser:
            ready = browser.get("/readyz")
            assert (ready.status_code, ready.json()["ready"], ready.json()["database"]) == (503, False, said)
            assert browser.get("/healthz").status_code == 200
        store.close()


def test_metrics_stand_behind_their_token(site: Site) -> None:
    browser = site.browser()
    assert browser.get("/metrics").status_code == 401
    assert browser.get("/metrics", headers={"authorization": "Bearer wrong"}).status_code == 401
    page = browser.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert page.status_code == 200
    assert 'bulkhead_incidents{status="open",world="real"} 1.0' in page.text
    assert 'bulkhead_asks{group="one",world="real"} 1.0' in page.text
    assert KEY not in page.text


def test_without_a_token_in_the_settings_there_are_no_metrics(site: Site) -> None:
    with Serving(web.application(site.store)) as url, httpx.Client(base_url=url, trust_env=False) as browser:
        for value in ("Bearer", "Bearer x"):
            assert browser.get("/metrics", headers={"authorization": value}).status_code == 404


def test_a_page_is_closed_until_a_link_opens_it_and_closed_says_nothing(site: Site) -> None:
    browser = site.browser()
    there, not_there = browser.get(f"/incidents/{ID}"), browser.get("/incidents/inc-none")
    assert (there.status_code, there.text) == (not_there.status_code, not_there.text)
    assert there.status_code == 403
    opened = open_door(site, browser)
    assert (opened.status_code, opened.headers["location"]) == (303, f"/incidents/{ID}")
    cookie = opened.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert f"Path=/incidents/{ID}" in cookie
    assert browser.get(f"/incidents/{ID}").status_code == 200


def test_the_replay_stands_behind_the_same_door_and_brings_its_own_nonce(site: Site) -> None:
    browser = site.browser()
    there, not_there = browser.get(f"/incidents/{ID}/replay"), browser.get("/incidents/inc-none/replay")
    assert (there.status_code, there.text) == (not_there.status_code, not_there.text)
    assert there.status_code == 403
    open_door(site, browser)
    assert f'href="/incidents/{ID}/replay"' in browser.get(f"/incidents/{ID}").text
    page, again = browser.get(f"/incidents/{ID}/replay"), browser.get(f"/incidents/{ID}/replay")
    assert page.status_code == 200
    (nonce,) = set(re.findall(r'nonce="([^"]+)"', page.text))
    policy = page.headers["content-security-policy"]
    assert f"style-src 'nonce-{nonce}'; " in policy
    assert policy.endswith(f"script-src 'nonce-{nonce}'")
    assert policy.startswith("default-src 'none'; ")
    assert nonce not in again.text, "a nonce is of one answer"
    assert f'href="/incidents/{ID}"' in page.text


def test_a_link_opens_once_and_looking_at_it_does_not_use_it_up(site: Site) -> None:
    token = site.doors.link(ID, utc())
    preview, first, second = site.browser(), site.browser(), site.browser()
    for _ in range(3):
        looked = preview.get(f"/open/{token}")
        assert looked.status_code == 200
        assert "set-cookie" not in looked.headers
    assert first.post(f"/open/{token}").status_code == 303
    assert second.post(f"/open/{token}").status_code == 403
    assert second.get(f"/incidents/{ID}").status_code == 403
    assert first.get(f"/incidents/{ID}").status_code == 200


def test_old_links_old_sessions_and_sessions_of_another_incident_open_nothing(site: Site) -> None:
    now = utc()
    assert site.doors.enter(site.doors.link(ID, now - LINK), now) is None
    entered = site.doors.enter(site.doors.link("inc-other", now), now)
    assert entered is not None
    session, _ = entered
    assert site.doors.inside(session, "inc-other", now)
    assert not site.doors.inside(session, ID, now)
    assert not site.doors.inside(session, "inc-other", now + SESSION)
    assert not site.doors.inside("", "", now)
    browser = site.browser()
    assert browser.get(f"/incidents/{ID}", headers={"cookie": f"bulkhead={session}"}).status_code == 403
    site.doors.link(ID, now)
    assert site.doors.sweep(now + timedelta(minutes=30)) == 1, "the link is too old, the session is not"
    assert site.doors.sweep(now + SESSION) == 1


def test_no_token_stands_in_the_database(site: Site) -> None:
    token = site.doors.link(ID, utc())
    entered = site.doors.enter(token, utc())
    assert entered is not None
    kept = str(site.store.settings(""))
    assert token not in kept
    assert entered[0] not in kept
    assert "session:" in kept


def test_the_page_says_what_leaked_what_is_asked_and_what_stands(site: Site) -> None:
    browser = site.browser()
    open_door(site, browser)
    page = browser.get(f"/incidents/{ID}")
    text = page.text
    words = ["Leaked AWS access key", KEY, "critical", "Everybody could see it", "jonas", "People are asked"]
    words += ["Deactivate an IAM access key", "The ledger", "suspected", "Timeline", "Decisions", "Evidence"]
    assert [said for said in words if said not in text] == []
    assert 'name="viewport"' in text
    nonce = re.search(r"script-src 'nonce-([\w-]{20,})'", page.headers["content-security-policy"])
    assert nonce is not None
    assert re.findall(r"<script[^>]*>.*?</script>", text) == [
        f'<script nonce="{nonce[1]}" src="/live.js" defer></script>'
    ]
    assert nonce[1] not in browser.get(f"/incidents/{ID}").text, "a nonce is of one answer"
    assert not re.search(r"javascript:|\son\w+=|style=", text)


def test_what_a_reporter_writes_is_text_and_never_markup(tmp_path: Path) -> None:
    markup = "<img src=x onerror=alert(1)>"
    worse = {"severity": {"reason": markup}}
    house(tmp_path, [(step, kind, body | worse.get(kind, {})) for step, kind, body in ASKING])
    store = Store(f"sqlite:///{tmp_path / 'bulkhead.db'}")
    with Serving(web.application(store)) as url, httpx.Client(base_url=url, trust_env=False) as browser:
        browser.post(f"/open/{Doors(store).link(ID, utc())}")
        text = browser.get(f"/incidents/{ID}").text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<img" not in text
    store.close()


def test_a_timeline_that_was_changed_is_said_on_the_page(site: Site) -> None:
    with sqlite3.connect(site.store.url.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE timeline SET at = '2026-03-01T12:34:56.000000Z' WHERE n = 2")
    browser = site.browser()
    open_door(site, browser)
    assert "The timeline does not hold" in browser.get(f"/incidents/{ID}").text


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/style.css", f"/incidents/{ID}", "/open/x", "/nothing"]
)
def test_every_answer_has_the_strict_headers(site: Site, path: str) -> None:
    answer = site.browser().get(path)
    for name, value in web.HEADERS.items():
        assert answer.headers.get_list(name) == [value], name
    assert "server" not in answer.headers


@pytest.mark.parametrize("path", [f"/incidents/{ID}", "/open/x"])
def test_pages_answer_to_their_own_names_only(site: Site, path: str) -> None:
    """A name of somebody else's that leads here (DNS rebinding) gets nothing."""
    browser = site.browser()
    assert browser.get(path, headers={"host": "attacker.example"}).status_code == 400
    assert browser.get("/healthz", headers={"host": "10.0.0.7:80"}).status_code == 200
    pages, mine = web.application(site.store, url="https://bulkhead.example"), {"host": "bulkhead.example"}
    with Serving(pages) as url, httpx.Client(base_url=url, trust_env=False) as named:
        assert named.get(path, headers=mine).status_code in (200, 403)
        opened = named.post(f"/open/{site.doors.link(ID, utc())}", headers=mine)
        assert "Secure" in opened.headers["set-cookie"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_here_can_be_changed(site: Site, method: str) -> None:
    browser = site.browser()
    for path in ("/healthz", "/readyz", "/metrics", f"/incidents/{ID}", "/style.css"):
        assert browser.request(method, path).status_code in (404, 405)


def test_an_answer_does_not_wait_for_an_acknowledgement(site: Site) -> None:
    """Nagle's algorithm is off on every connection: with it, each answer on one that is kept waits some 40 ms."""
    with Serving(web.application(site.store)) as url, httpx.Client(base_url=url, trust_env=False) as browser:
        assert browser.get("/healthz").status_code == 200
        ends = [one for one in gc.get_objects() if isinstance(one, socket.socket) and one.fileno() != -1]
        ours = [one for one in ends if one.family == socket.AF_INET and one.getsockname()[1] == httpx.URL(url).port]
        (taken,) = [one for one in ours if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)]
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_is_taken_is_one_sentence(site: Site) -> None:
    port = int(site.url.rsplit(":", 1)[1])
    with pytest.raises(InputError, match="BULKHEAD_WEB_PORT"):
        asyncio.run(web.run(web.application(site.store), "127.0.0.1", port, lambda _url: None))
