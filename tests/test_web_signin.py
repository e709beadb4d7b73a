"""Signing in: only the browser that began it, only whom the account house knows and admits, only as long as it does."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from bot import web
from bot.doors import SESSION, Doors, Visitor, utc
from bot.errors import DecisionRefused, Unavailable
from bot.evidence import EvidenceRoom
from bot.store import Store
from tests.incidents import ASKING, ID, house
from tests.test_web import Serving

FILE = b'{"key": "scrubbed"}'
SHA = hashlib.sha256(FILE).hexdigest()


@dataclass
class House:
    """An account house: a code is good once, for the nonce and the way back that it was made for."""

    title: str = "Made-up"
    members: set[str] = field(default_factory=lambda: {"made:ann"})
    codes: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    away: bool = False

    def address(self, *, state: str, nonce: str, back: str) -> str:
        return f"https://accounts.example/authorize?state={state}&nonce={nonce}&back={back}"

    def agree(self, address: str, who: str) -> str:
        """What the house does when somebody agrees there: sends their browser back with a code."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        code = f"code-{len(self.codes)}"
        self.codes[code] = (who, asked["nonce"], asked["back"])
        return f"{asked['back']}?code={code}&state={asked['state']}"

    def visitor(self, *, code: str, nonce: str, back: str) -> Visitor:
        if self.away:
            raise Unavailable("nobody answers", provider="made-up")
        who, wanted, place = self.codes.pop(code, ("", "", ""))
        if not who or (wanted, place) != (nonce, back):
            raise DecisionRefused("this code is worth nothing here")
        if who not in self.members:
            raise DecisionRefused(f"{who} is not one of those who may look")
        return Visitor(id=who, name=who)

    def admitted(self, visitor: str) -> bool:
        return visitor in self.members


@dataclass
class Site:
    """Pages with a sign-in."""

    url: str
    store: Store
    accounts: House
    room: EvidenceRoom
    clients: list[httpx.Client] = field(default_factory=list)

    def browser(self) -> httpx.Client:
        """A browser of its own, with its own cookies."""
        self.clients.append(httpx.Client(base_url=self.url, trust_env=False))
        return self.clients[-1]

    def sign_in(self, browser: httpx.Client, who: str = "made:ann", then: str = f"/incidents/{ID}") -> httpx.Response:
        """The whole way there and back."""
        away = browser.get("/sign-in", params={"then": then})
        assert away.status_code == 303
        return browser.get(self.accounts.agree(away.headers["location"], who))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    house(tmp_path, ASKING, evidence=FILE)
    store = Store(f"sqlite:///{tmp_path / 'bulkhead.db'}")
    room, accounts = EvidenceRoom(store, tmp_path / "evidence"), House()
    with Serving(web.application(store, evidence=room.read, sign_in=accounts)) as url:
        made = Site(url, store, accounts, room)
        yield made
        for client in made.clients:
            client.close()
    store.close()


def test_who_has_signed_in_sees_the_page_they_wanted_and_the_list(site: Site) -> None:
    browser = site.browser()
    closed = browser.get(f"/incidents/{ID}")
    assert closed.status_code == 403
    assert f'href="/sign-in?then=/incidents/{ID}"' in closed.text
    back = site.sign_in(browser)
    assert (back.status_code, back.headers["location"]) == (303, f"/incidents/{ID}")
    cookie = next(one for one in back.headers.get_list("set-cookie") if one.startswith(web.VISIT))
    assert ("HttpOnly" in cookie, "SameSite=lax" in cookie) == (True, True)
    page = browser.get(f"/incidents/{ID}")
    assert (page.status_code, "made:ann" in page.text) == (200, True)
    listed = browser.get("/incidents")
    assert (listed.status_code, f'href="/incidents/{ID}"' in listed.text) == (200, True)
    assert browser.get("/incidents/inc-none").status_code == 403


def test_nothing_is_open_to_who_is_not_admitted_or_no_longer(site: Site) -> None:
    outsider, ann = site.browser(), site.browser()
    refused = site.sign_in(outsider, "made:mallory")
    assert (refused.status_code, "not one of those who may look" in refused.text) == (403, True)
    assert outsider.get("/incidents").status_code == 403
    site.sign_in(ann)
    assert ann.get("/incidents").status_code == 200
    site.accounts.members.clear()
    for path in ("/incidents", f"/incidents/{ID}", f"/incidents/{ID}/head", f"/incidents/{ID}/evidence/{SHA}"):
        assert ann.get(path).status_code == 403


def test_a_code_opens_nothing_in_a_browser_that_did_not_ask_for_it(site: Site) -> None:
    """Neither somebody else's way back (login forgery) nor one that was used, or has another state."""
    thief, victim = site.browser(), site.browser()
    way_back = site.accounts.agree(thief.get("/sign-in").headers["location"], "made:ann")
    assert victim.get(way_back).status_code == 403
    assert victim.get("/incidents").status_code == 403
    victim.get("/sign-in")
    assert victim.get(way_back).status_code == 403, "an attempt of its own has another state"
    assert site.accounts.codes, "the code was not even shown to the house"
    assert thief.get(way_back).status_code == 303
    again = thief.get(way_back)
    assert again.status_code == 403
    for query in ("", "?state=", "?code=x", "?state=x&code=y"):
        assert site.browser().get(f"/signed-in{query}").status_code == 403


def test_a_token_of_another_attempt_is_refused(site: Site) -> None:
    """A code with another nonce: somebody has swapped it on the way."""
    browser, other = site.browser(), site.browser()
    mine = site.accounts.agree(browser.get("/sign-in").headers["location"], "made:ann")
    swapped = site.accounts.agree(other.get("/sign-in").headers["location"], "made:ann")
    code = parse_qs(urlsplit(swapped).query)["code"][0]
    state = parse_qs(urlsplit(mine).query)["state"][0]
    assert browser.get("/signed-in", params={"code": code, "state": state}).status_code == 403


def test_who_does_not_agree_and_a_house_that_is_away_are_told(site: Site) -> None:
    browser = site.browser()
    state = parse_qs(urlsplit(browser.get("/sign-in").headers["location"]).query)["state"][0]
    no = browser.get("/signed-in", params={"error": "access_denied", "state": state})
    assert (no.status_code, "did not sign you in" in no.text) == (403, True)
    site.accounts.away = True
    away = site.sign_in(browser)
    assert (away.status_code, "nobody answers" in away.text) == (503, True)


@pytest.mark.parametrize(
    "then", ["https://evil.example/", "//evil.example", "/leave", "/incidents/../x", "javascript:x"]
)
def test_one_is_sent_on_to_pages_of_incidents_only(site: Site, then: str) -> None:
    assert site.sign_in(site.browser(), then=then).headers["location"] == "/incidents"


def test_signing_out_and_time_end_a_session(site: Site) -> None:
    browser = site.browser()
    site.sign_in(browser)
    kept = browser.cookies[web.VISIT]
    assert browser.post("/leave").headers["location"] == "/incidents"
    assert browser.get("/incidents", headers={"cookie": f"{web.VISIT}={kept}"}).status_code == 403
    doors = Doors(site.store)
    session = doors.admit("made:ann", utc())
    assert doors.visitor(session, utc()) == "made:ann"
    assert doors.visitor(session, utc() + SESSION) == ""
    assert doors.sweep(utc() + SESSION + timedelta(seconds=1)) == 1
    assert session not in str(site.store.settings(""))


def test_sign_in_stores_nothing_for_who_never_comes_back(site: Site) -> None:
    before = site.store.settings("")
    for _ in range(5):
        site.browser().get("/sign-in")
    assert site.store.settings("") == before


def test_without_a_house_there_is_no_sign_in(site: Site) -> None:
    with Serving(web.application(site.store)) as url, httpx.Client(base_url=url, trust_env=False) as browser:
        session = Doors(site.store).admit("made:ann", utc())
        for path in ("/sign-in", "/signed-in", "/incidents"):
            answer = browser.get(path, headers={"cookie": f"{web.VISIT}={session}"})
            assert (answer.status_code, "Sign in" in answer.text) == (403, False)


def test_evidence_is_downloaded_with_its_digest_and_never_shown(site: Site) -> None:
    browser = site.browser()
    path = f"/incidents/{ID}/evidence/{SHA}"
    assert browser.get(path).status_code == 403
    site.sign_in(browser)
    assert f'href="{path}"' in browser.get(f"/incidents/{ID}").text
    got = browser.get(path)
    assert (got.status_code, got.content) == (200, FILE)
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["content-disposition"] == 'attachment; filename="key.json"'
    digest = base64.b64encode(hashlib.sha256(FILE).digest()).decode()
    assert got.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert browser.get(f"/incidents/{ID}/evidence/{'0' * 64}").status_code == 404
    assert browser.get(f"/incidents/{ID}/evidence/..%2f..%2fvault.key").status_code == 404


def test_a_one_time_link_opens_the_evidence_of_its_incident_too(site: Site) -> None:
    browser = site.browser()
    browser.post(f"/open/{Doors(site.store).link(ID, utc())}")
    assert browser.get(f"/incidents/{ID}/evidence/{SHA}").content == FILE
    assert browser.get("/incidents").status_code == 403


def test_evidence_that_was_changed_is_not_given_out(site: Site) -> None:
    browser = site.browser()
    site.sign_in(browser)
    file = site.room.shelf.path(SHA)
    file.chmod(0o600)
    file.write_bytes(b"something else")
    assert browser.get(f"/incidents/{ID}/evidence/{SHA}").status_code == 409
    file.unlink()
    assert browser.get(f"/incidents/{ID}/evidence/{SHA}").status_code == 404


def test_what_the_script_asks_for_changes_when_the_incident_does(site: Site) -> None:
    browser = site.browser()
    assert browser.get(f"/incidents/{ID}/head").status_code == 403
    site.sign_in(browser)
    first = browser.get(f"/incidents/{ID}/head").json()["seen"]
    assert f'data-seen="{first}"' in browser.get(f"/incidents/{ID}").text
    with sqlite3.connect(site.store.path) as database:
        database.execute("UPDATE incident SET head_n = head_n + 1")
    assert browser.get(f"/incidents/{ID}/head").json()["seen"] != first
    assert "innerHTML" not in browser.get("/live.js").text, "what comes is parsed, and never written into the page"
