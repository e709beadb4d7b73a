"""Waking people: real clients against servers on loopback that are PagerDuty, or any pager, as far as we use them."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from bot import web
from bot.errors import SettingsError
from bot.heartbeat import Alarm
from bot.lessons.measures import Measures
from bot.paging import PAGERDUTY, WEBHOOK, Page, Pager, Webhook, pager_of, signature
from bot.paging_door import PageDoor, doors_of
from bot.posts import Posts
from bot.settings import Settings
from bot.store import Store, canonical, iso
from bot.timeline import Timeline
from bot.web import metrics
from tests.incidents import ASKING, BOOK, CLOSED, ID, REPORT, ROW, SEVERITY
from tests.slack_range import serving

KEY, SECRET = "made-up-" + "r0ut1ngkey", "made-up-" + "s3cret"


@dataclass
class Far:
    """The other side: keeps what it is sent, answers what it is told to."""

    status: int = 202
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        body = message.get("body", b"")
        while message.get("more_body"):
            message = await receive()
            body += message.get("body", b"")
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        self.got.append((scope["path"], headers, body))
        key = json.loads(body or b"{}").get("dedup_key", "")
        answer = json.dumps({"status": "success", "message": "ok", "dedup_key": key}).encode()
        kind = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": self.status, "headers": kind})
        await send({"type": "http.response.body", "body": answer})

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.got]


class Hands:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def now(self) -> datetime:
        return self.at


@dataclass
class Stage:
    """A store with a pager whose other sides are on loopback."""

    store: Store
    timeline: Timeline
    duty: Far
    other: Far
    hands: Hands
    settings: Settings

    @property
    def pager(self) -> Pager:
        """A new one, as after a restart."""
        made = pager_of(self.settings, self.store, self.timeline, lambda: "https://pages.example")
        assert made is not None
        return Pager(**{n: getattr(made, n) for n in ("store", "posts", "timeline", "senders", "least", "url")},
                     now=self.hands.now)  # fmt: skip

    def open(self, story: list[tuple[str, str, Any]], world: str = "real", incident: str = ID) -> None:
        body = {"report": REPORT, "inbox": "x", "repository": "", "playbook": BOOK | {"text": "", "drill": ""}}
        with self.store.begin() as c:
            self.store.add_incident(c, {
                "id": incident, "opened_at": iso(self.hands.at), "world": world, "status": "open",
                "title": "Leaked AWS access key", "credential_key": ROW, "body": canonical(body),
            })  # fmt: skip
        self.grow(story, incident)

    def grow(self, story: list[tuple[str, str, Any]], incident: str = ID) -> None:
        for step, kind, said in story:
            self.timeline.append(incident, step, kind, said, at=iso(self.hands.at)).result()

    def events(self, kind: str, incident: str = ID) -> list[dict[str, Any]]:
        return [e["body"] for e in self.store.events(incident) if e["kind"] == kind]

    def pass_time(self, seconds: float) -> None:
        self.hands.at += timedelta(seconds=seconds)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    duty, other = Far(), Far(status=200)
    with serving(duty) as duty_url, serving(other) as other_url:
        settings = Settings(
            home=tmp_path, pagerduty_key=SecretStr(KEY), pagerduty_url=duty_url, page_url=f"{other_url}/hook?x=1",
            page_secret=SecretStr(SECRET), pagerduty_secret=SecretStr(SECRET),
        )  # fmt: skip
        store = Store(settings.url)
        store.migrate()
        timeline = Timeline(store)
        yield Stage(store, timeline, duty, other, Hands(), settings)
        timeline.close()
        store.close()


def story(level: str) -> list[tuple[str, str, Any]]:
    return [(s, k, SEVERITY | {"level": level} if k == "severity" else b) for s, k, b in ASKING]


def test_what_is_bad_wakes_people_once_whatever_restarts(stage: Stage) -> None:
    stage.open(story("critical"))
    for _ in range(3):
        stage.pager.turn()
        stage.pass_time(60)
    (event,) = stage.duty.said()
    assert (event["event_action"], event["dedup_key"], event["routing_key"]) == ("trigger", ID, KEY)
    assert event["payload"]["severity"] == "critical"
    assert ID in event["payload"]["summary"] and "1 questions wait" in event["payload"]["summary"]
    assert event["links"] == [{"href": f"https://pages.example/incidents/{ID}", "text": "The incident"}]
    (posted,) = stage.other.said()
    assert (posted["event"], posted["incident"], posted["severity"]) == ("trigger", ID, "critical")
    assert [body["to"] for body in stage.events("paged")] == [PAGERDUTY, WEBHOOK]


def test_a_page_is_signed_as_the_other_side_checks_it(stage: Stage) -> None:
    stage.open(story("critical"))
    stage.pager.turn()
    ((path, headers, body),) = stage.other.got
    assert path == "/hook"
    stamp = headers["x-bulkhead-timestamp"]
    wanted = hmac.new(SECRET.encode(), f"v1:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    assert headers["x-bulkhead-signature"] == f"v1={wanted}"
    assert abs(int(stamp) - datetime.now(UTC).timestamp()) < 60
    assert "authorization" not in headers


def test_when_it_is_over_they_may_sleep(stage: Stage) -> None:
    stage.open(story("high"))
    stage.pager.turn()
    stage.grow(CLOSED[len(ASKING) :])
    stage.pager.turn()
    stage.pager.turn()
    assert [e["event_action"] for e in stage.duty.said()] == ["trigger", "resolve"]
    assert [e["event"] for e in stage.other.said()] == ["trigger", "resolve"]
    assert {row.state for row in Posts(stage.store).all("page")} == {"over"}


def test_what_is_not_so_bad_wakes_nobody_until_nobody_answers_in_time(stage: Stage) -> None:
    stage.open(story("medium"))
    stage.pager.turn()
    assert not stage.duty.got
    stage.grow([("deactivate", "escalated", {"groups": ["night-shift"], "what": "x"})])
    stage.pager.turn()
    assert [e["payload"]["severity"] for e in stage.duty.said()] == ["warning"]


def test_a_drill_wakes_nobody(stage: Stage) -> None:
    stage.open(story("critical"), world="range")
    assert stage.pager.turn() == 0
    assert not stage.duty.got and not stage.other.got


def test_a_page_that_fails_is_told_everywhere_and_tried_again(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.duty.status = 503
    stage.open(story("critical"))
    stage.pager.turn()
    (failed,) = stage.events("page-failed")
    assert failed == {"to": PAGERDUTY, "error": "PagerDuty answered 503 when asked to wake somebody"}
    assert "nobody was woken" in caplog.text
    counted = metrics.page(stage.store, stage.hands.at, {}, Measures(stage.store)).decode()
    assert f'bulkhead_pages{{state="failing",to="{PAGERDUTY}"}} 1.0' in counted
    tried = len(stage.duty.got)
    stage.pager.turn()
    assert len(stage.duty.got) == tried, "not before five seconds"
    stage.pass_time(6)
    stage.pager.turn()
    assert len(stage.duty.got) > tried and len(stage.events("page-failed")) == 1, "one alarm, not one a try"
    stage.duty.status = 202
    stage.pass_time(60)
    stage.pager.turn()
    assert sorted(body["to"] for body in stage.events("paged")) == [PAGERDUTY, WEBHOOK]
    assert KEY not in caplog.text and KEY not in json.dumps(stage.store.events(ID))


@pytest.mark.parametrize(("status", "words"), [(401, "answered 401"), (400, "answered 400"), (429, "answered 429")])
def test_whatever_pagerduty_says_comes_back_as_a_sentence(stage: Stage, status: int, words: str) -> None:
    stage.duty.status = status
    stage.open(story("critical"))
    stage.pager.turn()
    assert words in stage.events("page-failed")[0]["error"]


def test_a_pager_that_is_not_there(stage: Stage) -> None:
    stage.open(story("critical"))
    stage.settings = stage.settings.model_copy(
        update={"page_url": "http://127.0.0.1:9/x", "pagerduty_url": "http://127.0.0.1:9"}
    )
    stage.pager.turn()
    assert sorted(body["error"] for body in stage.events("page-failed")) == [
        "PagerDuty did not answer when asked to wake somebody", "webhook did not answer when asked to take a page",
    ]  # fmt: skip


def test_an_incident_that_ends_while_the_pager_is_away_wakes_nobody_later(stage: Stage) -> None:
    stage.duty.status = stage.other.status = 503
    stage.open(story("critical"))
    stage.pager.turn()
    stage.grow(CLOSED[len(ASKING) :])
    stage.duty.status = stage.other.status = 202
    before = len(stage.duty.got)
    stage.pass_time(60)
    stage.pager.turn()
    assert [e["event_action"] for e in stage.duty.said()[before:]] == ["resolve"]


def test_a_silent_worker_wakes_people_and_its_return_lets_them_sleep(stage: Stage) -> None:
    stage.pager.alarm(Alarm(role="worker", back=False, text="the worker has said nothing for 61 s"))
    stage.pager.alarm(Alarm(role="worker", back=True, text="the worker is back"))
    assert [(e["event_action"], e["dedup_key"]) for e in stage.duty.said()] == [
        ("trigger", "bulkhead-worker"), ("resolve", "bulkhead-worker"),
    ]  # fmt: skip
    stage.duty.status = 500
    stage.pager.alarm(Alarm(role="worker", back=False, text="again"))


def test_without_settings_there_is_no_pager_and_without_a_secret_it_is_refused(stage: Stage, tmp_path: Path) -> None:
    assert pager_of(Settings(home=tmp_path), stage.store, stage.timeline, str) is None
    with pytest.raises(SettingsError, match="BULKHEAD_PAGE_SECRET"):
        pager_of(Settings(home=tmp_path, page_url="https://pager.example/x"), stage.store, stage.timeline, str)


def test_a_redirect_is_not_followed(stage: Stage) -> None:
    stage.other.status = 307
    with pytest.raises(Exception, match="answered 307"):
        Webhook(f"{stage.settings.page_url}", SECRET).trigger(Page(key="k", summary="s", severity="low", at=""))
    assert len(stage.other.got) == 1


# what comes back -----------------------------------------------------------------------------------------------------


def acknowledged(incident: str = ID, event: str = "incident.acknowledged", told: str = "01ABC") -> bytes:
    """A webhook of PagerDuty, version 3."""
    return json.dumps({"event": {
        "id": told, "event_type": event, "resource_type": "incident", "occurred_at": "2026-03-01T12:00:00Z",
        "agent": {"id": "PU1", "type": "user_reference", "summary": "Carol: Duarte"},
        "data": {"id": "P1", "type": "incident", "incident_key": incident, "status": "acknowledged"},
    }}).encode()  # fmt: skip


def by_pagerduty(body: bytes, secret: str = SECRET) -> dict[str, str]:
    good = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-pagerduty-signature": f"v1={'0' * 64},v1={good}"}


def door(stage: Stage, path: str) -> PageDoor:
    return doors_of(stage.settings, stage.store, stage.timeline, str)[path]


def test_who_has_taken_a_page_stands_on_the_timeline_once(stage: Stage) -> None:
    stage.open(story("critical"))
    body = acknowledged()
    for _ in range(3):
        assert door(stage, "/pages/pagerduty").take(by_pagerduty(body), body) == 202
    assert stage.events("acknowledged") == [{"by": "Carol  Duarte (PagerDuty)", "to": "PagerDuty"}]


@pytest.mark.parametrize("wrong", ["", "another secret", "no header"])
def test_an_acknowledgement_that_is_not_signed_is_refused(stage: Stage, wrong: str) -> None:
    stage.open(story("critical"))
    body = acknowledged()
    headers = {} if wrong == "no header" else by_pagerduty(body, wrong)
    assert door(stage, "/pages/pagerduty").take(headers, body) == 401
    assert not stage.events("acknowledged")


def test_other_events_other_incidents_and_nonsense_change_nothing(stage: Stage) -> None:
    stage.open(story("critical"))
    for body, status in [
        (acknowledged(event="incident.triggered"), 202), (acknowledged("inc-of-somebody-else"), 202), (b"[]", 400),
        (b"not json", 400), (b"{}", 400), (b'{"event": {"event_type": "incident.acknowledged", "data": 3}}', 400),
    ]:  # fmt: skip
        assert door(stage, "/pages/pagerduty").take(by_pagerduty(body), body) == status, body
    assert not stage.events("acknowledged")


def signed(body: bytes, at: float | None = None) -> dict[str, str]:
    stamp = str(int(datetime.now(UTC).timestamp() if at is None else at))
    return {"x-bulkhead-timestamp": stamp, "x-bulkhead-signature": signature(SECRET, stamp, body)}


def test_any_other_pager_acknowledges_with_the_same_signature_and_not_for_ever(stage: Stage) -> None:
    stage.open(story("critical"))
    body = json.dumps({"event": "acknowledged", "incident": ID, "by": "slack:U0EVIL\n<!channel>"}).encode()
    headers = signed(body)
    taken = door(stage, "/pages/webhook")
    assert [taken.take(headers, body) for _ in range(2)] == [202, 202]
    assert stage.events("acknowledged") == [{"by": "slack U0EVIL <!channel> (webhook)", "to": "webhook"}]
    assert taken.take(signed(body, datetime.now(UTC).timestamp() - 301), body) == 401
    for stamp in ("", "junk", "1" * 40, "²"):
        assert taken.take(headers | {"x-bulkhead-timestamp": stamp}, body) == 401
    assert taken.take(headers, body + b" ") == 401


def test_the_doors_stand_beside_the_pages_and_only_where_there_is_a_secret(stage: Stage, tmp_path: Path) -> None:
    assert doors_of(Settings(home=tmp_path), stage.store, stage.timeline, str) == {}
    stage.open(story("critical"))
    doors = doors_of(stage.settings, stage.store, stage.timeline, str)
    body = acknowledged()
    with serving(web.application(stage.store, more=dict(doors))) as url, requests.Session() as http:
        http.trust_env = False
        assert http.post(f"{url}/pages/pagerduty", data=body, headers=by_pagerduty(body), timeout=10).status_code == 202
        assert http.post(f"{url}/pages/pagerduty", data=body, timeout=10).status_code == 401
        assert http.get(f"{url}/pages/pagerduty", timeout=10).status_code == 405
        assert http.post(f"{url}/pages/webhook", data=b"x" * 300_000, timeout=10).status_code == 401
    assert len(stage.events("acknowledged")) == 1
