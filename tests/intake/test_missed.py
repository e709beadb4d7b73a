"""What webhooks missed is asked for: once, without gaps, paced, and a provider that fails is seen and stops nothing.

Against the range's GitHub, which sends, keeps and tells its deliveries as GitHub does.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot import web
from bot.app import opened
from bot.clients import AwsClients, GitHubClient
from bot.doctor import own
from bot.doorway import polls
from bot.errors import RateLimited
from bot.intake.inbox import Inbox
from bot.intake.missed import LATE, CatchUp, Cursor, State, aws, gitguardian, github, newest, states
from bot.range.github import hooks
from bot.settings import Settings
from bot.store import iso
from bot.web.hooks import Hooks
from tests.conftest import FERRY, ORG, Ferry
from tests.intake.office import HOOK, KEY_ID, TOKEN, Office
from tests.range.conftest import Cloud, aws_server, cloud
from tests.test_web import Serving

__all__ = ["aws_server", "cloud"]  # fixtures
DOOR = "/hooks/github"


@pytest.fixture
def database(tmp_path: Path) -> str:
    """SQLite alone: nothing here differs by database but what test_inbox holds for both."""
    return f"sqlite:///{tmp_path / 'b.db'}"


def asking(ferry: Ferry) -> github.Asking:
    """The bot with what it needs for this, and no pause."""
    token = ferry.state.add_token("bulkhead-bot", scopes=("repo", "admin:org_hook"))
    return github.Asking(GitHubClient(token=token, base_url=ferry.url), pause_s=0)


def alerts(office: Office, ferry: Ferry, of: str = ORG) -> github.Alerts:
    return github.Alerts(office.inbox, asking(ferry), of)


def add(ferry: Ferry, value: str = TOKEN) -> int:
    return int(ferry.state.add_alert(FERRY, secret_type="npm_access_token", display_name="npm", secret=value))


@pytest.fixture
def served(office: Office) -> Iterator[str]:
    with Serving(web.application(office.store, metrics_token="made-up-metrics", hooks=Hooks(office.door))) as url:
        yield url


def hook(ferry: Ferry, url: str, *, org: bool = True, secret: str = HOOK) -> dict[str, Any]:
    row = hooks.new(ferry.state, url, ["secret_scanning_alert", "push"], secret)
    home = ferry.state.orgs[ORG] if org else ferry.state.repos[FERRY]
    home.hooks[row["id"]] = row
    return row


def deliveries(office: Office, ferry: Ferry, of: str = ORG) -> github.Deliveries:
    return github.Deliveries(office.inbox, asking(ferry), of, (HOOK,), DOOR)


# alerts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", [ORG, FERRY])
def test_an_alert_that_no_webhook_told_opens_its_incident_once(office: Office, ferry: Ferry, of: str) -> None:
    poll = alerts(office, ferry, of)
    add(ferry)
    cursor = poll.turn(Cursor())
    assert len(office.work()) == 1
    (incident,) = office.store.incidents()
    assert incident.credential_key.startswith("npm-token:github:")
    assert incident.body["report"]["trust"] == "signed"
    assert TOKEN.encode() not in office.bytes(), "the list was asked for without values"
    assert poll.turn(cursor) == cursor
    assert poll.turn(Cursor()).at == cursor.at
    assert office.work() == []


def test_what_came_by_webhook_and_by_poll_is_one_incident_without_a_second_sighting(
    office: Office, ferry: Ferry, served: str
) -> None:
    hook(ferry, served + DOOR)
    number = add(ferry)
    (first,) = office.work()
    poll = alerts(office, ferry)
    cursor = poll.turn(Cursor())
    assert office.work() == [first]
    assert office.events(first, "sighting") == []
    ferry.pass_time(30)
    ferry.client("bulkhead-bot").send(
        "PATCH", f"/repos/{FERRY}/secret-scanning/alerts/{number}", {"state": "resolved", "resolution": "wont_fix"}
    )
    office.work()
    cursor = poll.turn(cursor)
    office.work()
    (over,) = office.events(first, "scanner-closed")
    assert over.body is not None
    assert over.body["signal"], "resolved and not revoked, told once"
    office.close(first)
    poll.turn(Cursor())
    office.work()
    assert len(office.store.incidents()) == 1, "asked again after the close it is no news"


def test_pages_are_read_back_to_the_cursor_and_no_further(office: Office, ferry: Ferry) -> None:
    poll = alerts(office, ferry)
    for k in range(130):
        add(ferry, f"{TOKEN[:-3]}{k:03}")
    cursor = poll.turn(Cursor())
    assert len(office.store.inbox()) == 130
    for k in range(2):
        cursor = poll.turn(cursor)
        ferry.pass_time(3600)
        add(ferry, f"{TOKEN[:-3]}99{k}")
    asked = len(ferry.switchboard.requests())
    cursor = poll.turn(cursor)
    assert len(ferry.switchboard.requests()) - asked == 1, "the second page is older than the cursor"
    assert len(office.store.inbox()) == 132
    assert datetime.fromisoformat(cursor.at) > datetime.now(UTC), "it is GitHub's time that counts, not ours"


def test_nothing_new_costs_a_304_and_nothing_of_the_limit(office: Office, ferry: Ferry) -> None:
    poll = alerts(office, ferry)
    add(ferry)
    cursor = poll.turn(Cursor())
    used = ferry.state.used["user:bulkhead-bot"][1]
    assert poll.turn(cursor) == cursor
    assert ferry.state.used["user:bulkhead-bot"][1] == used
    assert ferry.switchboard.requests()[-1]["status"] == 304
    add(ferry, TOKEN[:-1] + "Z")
    assert poll.turn(cursor) != cursor


def test_a_crash_between_a_page_and_the_cursor_repeats_the_page_and_opens_nothing_twice(
    office: Office, ferry: Ferry
) -> None:
    for k in range(5):
        add(ferry, f"{TOKEN[:-1]}{k}")
    landed: list[str] = []

    def dies(name: str) -> None:
        landed.append(name)
        if landed.count("after inbox/landed/1") == 3:
            raise KeyboardInterrupt

    dying = CatchUp(office.store, [replace(alerts(office, ferry), inbox=replace(office.inbox, boundary=dies))])
    with pytest.raises(KeyboardInterrupt):
        dying.round()
    assert len(office.store.inbox()) == 3
    assert states(office.store) == {}
    office.work()
    CatchUp(office.store, [alerts(office, ferry)]).round()
    office.work()
    assert len(office.store.inbox()) == len(office.store.incidents()) == 5
    assert all(office.events(row.id, "sighting") == [] for row in office.store.incidents())


def test_what_becomes_visible_late_lies_within_the_overlap(office: Office, ferry: Ferry) -> None:
    poll = alerts(office, ferry)
    add(ferry)
    ferry.pass_time(120)
    cursor = poll.turn(Cursor())
    late = add(ferry, TOKEN[:-1] + "Z")
    row = ferry.state.repos[FERRY].alerts[late]
    row["updated_at"] = row["created_at"] = ferry.clock.now() - timedelta(seconds=150)  # written late
    poll.turn(Cursor(at=cursor.at))
    assert len(office.store.inbox()) == 2


# deliveries -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("org", [True, False])
def test_a_failed_delivery_is_read_and_lands_under_the_key_of_its_body(
    office: Office, ferry: Ferry, served: str, org: bool
) -> None:
    row = hook(ferry, "http://127.0.0.1:9/hooks/github", org=org)
    add(ferry)
    hooks.tell(ferry.state, ferry.state.repos[FERRY], "push", {"ref": "refs/heads/main", "pusher": {"name": "mära"}})
    assert [one["status_code"] for one in row["deliveries"]] == [502, 502]
    poll = deliveries(office, ferry, ORG if org else FERRY)
    cursor = poll.turn(Cursor())
    assert len(office.work()) == 1
    ids = sorted(one["id"] for one in office.store.inbox())
    row["url"] = served + DOOR  # the door is open again, and somebody presses Redeliver
    client = GitHubClient(token=ferry.state.add_token("bulkhead-bot", scopes=("repo", "admin:org_hook")),
                          base_url=ferry.url)  # fmt: skip
    home = f"/orgs/{ORG}" if org else f"/repos/{FERRY}"
    for one in list(row["deliveries"]):
        client.send("POST", f"{home}/hooks/{row['id']}/deliveries/{one['id']}/attempts")
    assert [one["status_code"] for one in row["deliveries"]] == [502, 502, 202, 202]
    assert "was here already" in row["deliveries"][-1]["answer"]
    assert sorted(one["id"] for one in office.store.inbox()) == ids
    poll.turn(cursor)
    assert sorted(one["id"] for one in office.store.inbox()) == ids


def test_what_went_through_later_is_not_read(office: Office, ferry: Ferry, served: str) -> None:
    row = hook(ferry, "http://127.0.0.1:9/hooks/github")
    add(ferry)
    row["url"] = served + DOOR
    hooks._send(ferry.state, row, "secret_scanning_alert", row["deliveries"][0]["body"],
                {"action": "created", "repository_id": 1}, guid=row["deliveries"][0]["guid"])  # fmt: skip
    asked = len(ferry.switchboard.requests())
    deliveries(office, ferry).turn(Cursor())
    assert len(ferry.switchboard.requests()) - asked == 2, "hooks and deliveries, and no payload"


def test_deliveries_are_paged_by_cursors_and_kept_three_days(office: Office, ferry: Ferry) -> None:
    hook(ferry, "http://127.0.0.1:9/hooks/github")
    add(ferry)
    ferry.pass_time(3 * 86400 + 60)
    for k in range(120):
        hooks.tell(ferry.state, ferry.state.repos[FERRY], "push", {"ref": f"refs/heads/{k}"})
    deliveries(office, ferry).turn(Cursor())
    assert len(office.store.inbox()) == 120, "what GitHub has forgotten is found by its alert, not here"


def test_a_webhook_with_another_secret_still_lands_once(office: Office, ferry: Ferry) -> None:
    hook(ferry, "http://127.0.0.1:9/hooks/github", secret="another-secret-that-we-do-not-know")
    add(ferry)
    poll = deliveries(office, ferry)
    poll.turn(Cursor())
    poll.turn(Cursor())
    assert len(office.store.inbox()) == 1


def test_an_organization_without_our_webhook_is_said(office: Office, ferry: Ferry) -> None:
    hook(ferry, "http://127.0.0.1:9/elsewhere")
    CatchUp(office.store, [deliveries(office, ferry)]).round()
    (state,) = states(office.store).values()
    assert "no webhook whose address ends with /hooks/github" in state.why


# rounds ---------------------------------------------------------------------------------------------------------------


class Ticking:
    """A clock that does not jump."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_retry_after_is_honoured_and_the_others_go_on(
    office: Office, ferry: Ferry, caplog: pytest.LogCaptureFixture
) -> None:
    add(ferry)
    hook(ferry, "http://127.0.0.1:9/hooks/github")
    tick = Ticking()
    fault = {"server": "github", "route": "*/secret-scanning/alerts", "status": 429, "headers": {"retry-after": "900"}}
    ferry.switchboard.add([fault])
    house = CatchUp(office.store, [alerts(office, ferry), deliveries(office, ferry)], clock=tick)
    with caplog.at_level(logging.WARNING):
        house.round()
    assert "github-alerts" in caplog.text
    told = states(office.store)
    assert told[f"github-alerts:{ORG}"].why
    assert told[f"github-deliveries:{ORG}"].why == ""
    ferry.switchboard.clear_faults()
    for at, asked in ((301.0, False), (899.0, False), (901.0, True)):
        tick.at = 100.0 + at
        house.round()
        assert (len(office.store.inbox()) == 1) is asked
    assert states(office.store)[f"github-alerts:{ORG}"].why == ""


def test_a_fifth_of_the_hour_is_left_to_containment(office: Office, ferry: Ferry) -> None:
    poll = alerts(office, ferry)
    ferry.client("bulkhead-bot").get("/user")
    ferry.state.used["user:bulkhead-bot"][1] = 4100
    with pytest.raises(RateLimited, match="containment may need them") as caught:
        poll.turn(Cursor())
    assert 60 <= caught.value.retry_after <= 3600


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(days=400)])
def test_a_clock_that_jumps_makes_neither_a_gap_nor_a_stop(office: Office, ferry: Ferry, jump: timedelta) -> None:
    tick = Ticking()
    house = CatchUp(office.store, [alerts(office, ferry)], clock=tick, now=lambda: datetime.now(UTC) + jump)
    add(ferry)
    house.round()
    ferry.pass_time(40)
    add(ferry, TOKEN[:-1] + "Z")
    tick.at += 301
    house.round()
    assert len(office.store.inbox()) == 2


def test_failing_is_seen_in_metrics_and_the_clock_goes_on(office: Office, ferry: Ferry, served: str) -> None:
    nowhere = github.Asking(GitHubClient(token="none", base_url="http://127.0.0.1:9"), pause_s=0)
    broken = github.Alerts(office.inbox, nowhere, "gone")
    house = CatchUp(office.store, [broken, alerts(office, ferry)])
    house.round()
    page = httpx.get(f"{served}/metrics", headers={"authorization": "Bearer made-up-metrics"}, trust_env=False).text
    assert 'bulkhead_catch_up_failing{poll="github-alerts:gone"} 1.0' in page
    assert f'bulkhead_catch_up_failing{{poll="github-alerts:{ORG}"}} 0.0' in page
    assert f'bulkhead_catch_up_age_seconds{{poll="github-alerts:{ORG}"}}' in page
    state = states(office.store)["github-alerts:gone"]
    assert not state.late(datetime.now(UTC))
    assert state.late(datetime.now(UTC) + LATE + timedelta(seconds=1))
    assert not State(succeeded=iso(datetime.now(UTC))).late(datetime.now(UTC) + LATE * 2), "it has not failed"


def test_doctor_says_what_is_missed(office: Office, tmp_path: Path) -> None:
    home = tmp_path / "house"
    hooked: Any = json.dumps({"github": HOOK})

    def said(**more: Any) -> tuple[str, str]:
        found = [one for one in own.state(Settings(home=home, **more)) if one.name == "Catch-up"]
        return (found[0].state, found[0].detail) if found else ("", "")

    assert said() == ("", "")
    assert said(hooks=hooked) == ("missing", "not set")
    assert said(catch_up=ORG)[0] == "ok"
    nowhere = github.Asking(GitHubClient(token="none", base_url="http://127.0.0.1:9"), pause_s=0)
    with opened(Settings(home=home), sites={}) as bulkhead:
        house = CatchUp(bulkhead.store, [github.Alerts(office.inbox, nowhere, ORG)])
        assert said(catch_up=ORG) == ("warning", "nothing was ever asked")
        house.round()
    state, detail = said(catch_up=ORG)
    assert state == "warning"
    assert detail.startswith(f"github-alerts:{ORG}: GitHub did not answer: GET /orgs/{ORG}/secret-scanning/alerts")


def test_what_is_set_is_asked_for_and_never_in_a_drill(office: Office) -> None:
    hooked: Any = json.dumps({"github": HOOK})
    token: Any = "made-up-token"
    given = Settings(home=office.folder, hooks=hooked, catch_up=f"{ORG}, {FERRY}", gitguardian_token=token,
                     catch_up_aws=True)  # fmt: skip
    names = [poll.name for poll in polls(given, office.inbox)]
    assert names == [f"github-alerts:{ORG}", f"github-deliveries:{ORG}", f"github-alerts:{FERRY}",
                     f"github-deliveries:{FERRY}", "gitguardian", "aws-quarantine"]  # fmt: skip
    assert polls(given, replace(office.inbox, worlds={"range": office.inbox.worlds["real"]})) == []
    with pytest.raises(ValueError, match="neither OWNER nor OWNER/REPOSITORY"):
        Settings(home=office.folder, catch_up="https://github.com/x")


def test_times_of_providers_are_compared_as_times() -> None:
    assert newest(["2026-01-02T03:04:05Z", "2026-01-02T05:04:05+02:00", "no time", ""], "") == iso(
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    )
    assert newest([], "2026-01-02T03:04:05.000000Z") == "2026-01-02T03:04:05.000000Z"


# GitGuardian ----------------------------------------------------------------------------------------------------------


class Guardian:
    """GitGuardian's API, as its documents describe the parts that are asked: filters, order, pages by links."""

    def __init__(self) -> None:
        self.incidents: list[dict[str, Any]] = []
        self.occurrences: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.elsewhere, self.limited = "", 0
        routes = [("/v1/incidents/secrets", self._incidents), ("/v1/occurrences/secrets", self._occurrences),
                  ("/v1/incidents/secrets/{id:int}", self._one)]  # fmt: skip
        self.app = Starlette(routes=[Route(path, do) for path, do in routes])

    def _page(self, request: Request, rows: list[dict[str, Any]]) -> Response:
        self.asked.append(str(request.url))
        if request.headers.get("authorization") != "Token made-up-token":
            return JSONResponse({"detail": "Invalid API key."}, 401)
        if self.limited:
            return JSONResponse({}, 429, headers={"retry-after": str(self.limited)})
        q = request.query_params
        order = q.get("ordering", "date")
        rows = [row for row in rows if q.get("status") in (None, row.get("status"))]
        rows = [row for row in rows if row[order.strip("-")] and row["date"] > q.get("date_after", "")]
        rows.sort(key=lambda row: row[order.strip("-")], reverse=order.startswith("-"))
        at, size = int(q.get("cursor", 0)), 2
        links = {}
        if at + size < len(rows):
            more = self.elsewhere or str(request.url.include_query_params(cursor=at + size))
            links = {"link": f'<{more}>; rel="next"'}
        return JSONResponse(rows[at : at + size], headers=links)

    async def _incidents(self, request: Request) -> Response:
        return self._page(request, self.incidents)

    async def _occurrences(self, request: Request) -> Response:
        return self._page(request, self.occurrences)

    async def _one(self, request: Request) -> Response:
        found = [row for row in self.incidents if row["id"] == request.path_params["id"]]
        return JSONResponse(found[0])


def told(number: int, date: str, **more: Any) -> dict[str, Any]:
    """An incident as the API lists it."""
    return {
        "id": number, "date": date, "detector": {"name": "npm_token", "display_name": "npm Token"},
        "status": "TRIGGERED", "secret_hash": f"{number:064x}", "validity": "valid", "severity": "high",
        "secret_revoked": False,
        "gitguardian_url": "https://dashboard.gitguardian.com/1", "resolved_at": None, "ignored_at": None,
        "ignore_reason": None, "share_url": "https://dashboard.gitguardian.com/share/" + TOKEN,
    } | more  # fmt: skip


@pytest.fixture
def guardian() -> Iterator[tuple[Guardian, str]]:
    made = Guardian()
    with Serving(made.app) as url:
        yield made, url


def watched(inbox: Inbox, url: str, token: str = "made-up-token") -> gitguardian.Incidents:
    return gitguardian.Incidents(inbox, gitguardian.Client(url, token))


def at(days: float) -> str:
    return iso(datetime.now(UTC) - timedelta(days=days))


def test_gitguardians_incidents_occurrences_and_ends_are_asked_for(
    office: Office, guardian: tuple[Guardian, str]
) -> None:
    api, url = guardian
    api.incidents = [told(k, at(0.5 - k / 100)) for k in range(1, 6)] + [told(9, at(40))]
    source = {"url": "https://github.com/a/b", "visibility": "public"}
    api.occurrences = [{"id": 71, "incident_id": 9, "date": at(0.1), "filepath": "x.env", "sha": "c" * 40,
                        "url": "https://github.com/a/b/commit/c", "source": source}]  # fmt: skip
    poll = watched(office.inbox, url)
    cursor = poll.turn(Cursor())
    office.work()
    rows = {row.credential_key: row for row in office.store.incidents()}
    assert len(rows) == 6, "five of the last day, and an old one that was seen again"
    assert rows["npm-token:gitguardian:9"].body["report"]["exposure"] == "public"
    assert TOKEN.encode() not in office.bytes(), "a share link lets its holder see the secret"
    # by its webhook as well: nothing new
    office.deliver("gitguardian", {"action": "incident_triggered", "incident": api.incidents[0]})
    office.work()
    assert len(office.store.incidents()) == 6
    api.incidents[0] |= {"status": "RESOLVED", "resolved_at": at(0)}
    poll.turn(poll.turn(cursor))
    office.work()
    (over,) = office.events(rows["npm-token:gitguardian:1"].id, "scanner-closed")
    assert over.body is not None
    assert over.body["signal"]


def test_gitguardians_token_is_shown_to_it_alone(office: Office, guardian: tuple[Guardian, str]) -> None:
    api, url = guardian
    api.incidents = [told(k, at(0.5)) for k in range(1, 6)]
    asked: list[str] = []

    async def elsewhere(request: Request) -> Response:
        asked.append(request.headers.get("authorization", ""))
        return JSONResponse([])

    with Serving(Starlette(routes=[Route("/{rest:path}", elsewhere)])) as other:
        api.elsewhere = f"{other}/v1/incidents/secrets?cursor=2"
        CatchUp(office.store, [watched(office.inbox, url)]).round()
    assert asked == []
    assert "not its own" in states(office.store)["gitguardian"].why


@pytest.mark.parametrize(("token", "why"), [("another", "answered 401"), ("made-up-token", "asked again in 600 s")])
def test_gitguardians_refusals_are_told(office: Office, guardian: tuple[Guardian, str], token: str, why: str) -> None:
    api, url = guardian
    api.limited = 600 if token == "made-up-token" else 0
    CatchUp(office.store, [watched(office.inbox, url, token)]).round()
    assert why in states(office.store)["gitguardian"].why


# AWS ------------------------------------------------------------------------------------------------------------------


def test_a_user_under_quarantine_is_reported_by_its_active_keys(office: Office, cloud: Cloud) -> None:
    iam = cloud.client("iam")
    for name in ("ferry-ci", "nobody"):
        iam.create_user(UserName=name)
    key = iam.create_access_key(UserName="ferry-ci")["AccessKey"]["AccessKeyId"]
    old = iam.create_access_key(UserName="ferry-ci")["AccessKey"]["AccessKeyId"]
    iam.update_access_key(UserName="ferry-ci", AccessKeyId=old, Status="Inactive")
    for name, policy in (("ferry-ci", "AWSCompromisedKeyQuarantineV3"), ("nobody", "AWSCompromisedKeyQuarantineV2"),
                         ("nobody", "ReadOnlyAccess")):  # fmt: skip
        iam.attach_user_policy(UserName=name, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    world = replace(office.inbox.worlds["real"]("x"), aws=AwsClients(
        key_id=cloud.root[0], secret=cloud.root[1], endpoint=cloud.url
    ))  # fmt: skip
    poll = aws.Quarantined(office.inbox, world)
    cursor = poll.turn(Cursor())
    poll.turn(cursor)
    poll.turn(Cursor())
    (row,) = office.store.inbox()
    assert (row["source"], row["rank"]) == ("aws", 0)
    office.work()
    (incident,) = office.store.incidents()
    assert incident.credential_key == f"aws-access-key:{key}"
    assert incident.body["report"]["exposure"] == "public"
    assert old.encode() not in json.dumps(incident.body).encode()
    assert key != KEY_ID


def test_cloudtrail_that_refuses_is_told(office: Office) -> None:
    CatchUp(office.store, [aws.Quarantined(office.inbox, office.inbox.worlds["real"]("x"))]).round()
    assert "AWS did not answer" in states(office.store)["aws-quarantine"].why
