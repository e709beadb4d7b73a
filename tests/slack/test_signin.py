"""Sign in with Slack, whole: the pages, the range's Slack, a person who agrees there, and the user group."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot import web
from bot.errors import DecisionRefused
from bot.slack import signin
from bot.slack.client import web_client
from bot.slack.signin import SlackSignIn
from bot.store import Store
from tests.incidents import ASKING, ID, house
from tests.slack_range import Slack, slack_served
from tests.test_web import Serving


@dataclass
class Time:
    """A clock that is moved by hand."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class House:
    """The pages with Slack behind their door."""

    slack: Slack
    url: str
    door: SlackSignIn

    def agree(self, browser: httpx.Client, who: str, then: str = f"/incidents/{ID}") -> httpx.Response:
        """Go to Slack, be ``who`` there, come back."""
        there = browser.get(f"{self.url}/sign-in", params={"then": then}).headers["location"]
        asked = browser.get(there)
        assert (asked.status_code, "Sign in with Slack" in asked.text) == (200, True), asked.text
        query = dict(httpx.URL(there).params)
        back = browser.post(there.partition("?")[0], data=query | {"user": who})
        return browser.get(back.headers["location"])


@pytest.fixture(scope="module")
def running() -> Iterator[Slack]:
    with slack_served() as found:
        yield found


@pytest.fixture
def place(running: Slack, tmp_path: Path) -> Iterator[House]:
    running.range.reset()
    house(tmp_path, ASKING)
    store = Store(f"sqlite:///{tmp_path / 'bulkhead.db'}")
    door = door_of(running)
    with Serving(web.application(store, sign_in=door)) as url:
        running.range.install({"redirect_urls": [f"{url}/signed-in"], "rate_limits": False})
        yield House(running, url, door)
    store.close()


def door_of(slack: Slack, **more: Any) -> SlackSignIn:
    cast, api = slack.cast, f"{slack.url}/api/"
    return SlackSignIn(**{
        "client_id": cast["client_id"], "client_secret": cast["client_secret"], "api": api,
        "bot": web_client(cast["bot_token"], api), "group": cast["groups"]["responders"],
        "teams": lambda: frozenset({cast["team_id"]}),
    } | more)  # fmt: skip


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False) as client:
        yield client


def test_a_responder_signs_in_and_sees_the_incident(place: House, browser: httpx.Client) -> None:
    back = place.agree(browser, "alice")
    assert (back.status_code, back.headers["location"]) == (303, f"/incidents/{ID}")
    page = browser.get(f"{place.url}/incidents/{ID}")
    assert page.status_code == 200
    assert f"slack:{place.slack.user('alice')}" in page.text


@pytest.mark.parametrize(("who", "why"), [("jonas", "not in the user group"), ("mallory", "another workspace")])
def test_outsiders_are_refused_and_told_why(place: House, browser: httpx.Client, who: str, why: str) -> None:
    back = place.agree(browser, who)
    assert (back.status_code, why in back.text) == (403, True)
    assert browser.get(f"{place.url}/incidents/{ID}").status_code == 403


def test_who_is_taken_out_of_the_group_is_out(place: House, browser: httpx.Client) -> None:
    time = Time()
    place.door._now = time
    time.now = 1e9  # long before the token ends
    place.agree(browser, "alice")
    page = f"{place.url}/incidents/{ID}"
    assert browser.get(page).status_code == 200
    group = place.slack.range.state.groups[place.slack.cast["groups"]["responders"]]
    group.users.remove(place.slack.user("alice"))
    assert browser.get(page).status_code == 200, "what Slack said a moment ago is believed"
    time.now += signin.FRESH_S + 1
    assert browser.get(page).status_code == 403


def test_while_slack_is_away_who_was_in_stays_in_for_an_hour(place: House, browser: httpx.Client) -> None:
    time = Time(1e9)
    place.door._now = time
    place.agree(browser, "alice")
    page = f"{place.url}/incidents/{ID}"
    place.slack.switchboard.add([{"server": "slack", "status": 503}])
    try:
        time.now += signin.AWAY_S - 1
        assert browser.get(page).status_code == 200
        time.now += 2
        assert browser.get(page).status_code == 403
    finally:
        place.slack.switchboard.clear_faults()


def test_a_code_is_good_once_and_only_for_this_app(place: House, browser: httpx.Client) -> None:
    there = browser.get(f"{place.url}/sign-in").headers["location"]
    query = dict(httpx.URL(there).params)
    back = browser.post(there.partition("?")[0], data=query | {"user": "alice"}).headers["location"]
    code, way = httpx.URL(back).params["code"], f"{place.url}/signed-in"
    other = door_of(place.slack, client_secret="made-up-" + "other")
    with pytest.raises(DecisionRefused, match="bad_client_secret"):
        other.visitor(code=code, nonce=query["nonce"], back=way)
    with pytest.raises(DecisionRefused, match="not for this sign-in"):
        place.door.visitor(code=code, nonce="another", back=way)
    with pytest.raises(DecisionRefused, match="invalid_code"):
        place.door.visitor(code=code, nonce=query["nonce"], back=way)


@pytest.mark.parametrize("wrong", [
    {"iss": "https://evil.example"}, {"aud": "another"}, {"exp": 1}, {"exp": None}, {"nonce": "x"}, {"nonce": None},
    {signin.TEAM: "T0"}, {signin.TEAM: None},
])  # fmt: skip
def test_claims_that_do_not_fit_are_refused(place: House, wrong: dict[str, Any]) -> None:
    good = {
        "iss": signin.ISSUER, "aud": place.slack.cast["client_id"], "exp": 4e9, "nonce": "n",
        signin.TEAM: place.slack.cast["team_id"],
    }  # fmt: skip
    place.door._check(good, "n")
    with pytest.raises(DecisionRefused):
        place.door._check(good | wrong, "n")


@pytest.mark.parametrize(
    "token", ["", "a", "a.b.c", "a.%.c", f"a.{base64.b64encode(json.dumps([1]).encode()).decode()}.c"]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(DecisionRefused, match="cannot be read"):
        signin._claims(token)
