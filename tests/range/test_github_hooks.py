"""Webhooks of the range's GitHub: what is sent, what is told of it, and to whom; and answers that have not changed."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bot.range.github import hooks
from tests.range.test_github import town
from tests.range.town import FERRY, LEDGER, ORG, Town
from tests.test_web import Serving

__all__ = ["town"]  # a fixture
SECRET = "made-up-webhook-" + "secret"


@pytest.fixture
def owner(town: Town) -> str:
    """A token of mara's that may see the organization's webhooks."""
    return str(town.state.add_token("mara", scopes=("repo", "admin:org_hook")))


def add(town: Town, url: str, owner: str, path: str = f"/orgs/{ORG}") -> int:
    body = {"name": "web", "config": {"url": url, "secret": SECRET}, "events": ["secret_scanning_alert"]}
    answer = town.call("POST", f"{path}/hooks", owner, body)
    assert answer.status_code == 201
    assert answer.json()["config"]["secret"] == "********"
    return int(answer.json()["id"])


def alert(town: Town, where: str = FERRY) -> int:
    return int(town.state.add_alert(where, secret_type="npm_access_token", display_name="npm", secret="made-up-value"))


def test_an_alert_is_sent_signed_to_whoever_asked_and_never_with_its_value(town: Town, owner: str) -> None:
    got: list[tuple[dict[str, str], bytes]] = []

    async def take(request: Request) -> Response:
        got.append((dict(request.headers), await request.body()))
        return Response("taken", 202)

    with Serving(Starlette(routes=[Route("/in", take, methods=["POST"])])) as url:
        hook = add(town, f"{url}/in", owner)
        alert(town)
        (headers, body), rows = got[0], town.call("GET", f"/orgs/{ORG}/hooks/{hook}/deliveries", owner).json()
        digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert headers["x-hub-signature-256"] == f"sha256={digest}"
        assert headers["x-github-event"] == "secret_scanning_alert"
        assert b"made-up-value" not in body
        assert [(row["status"], row["status_code"], row["redelivery"]) for row in rows] == [("OK", 202, False)]
        where = f"/orgs/{ORG}/hooks/{hook}/deliveries/{rows[0]['id']}"
        assert town.call("POST", f"{where}/attempts", owner).status_code == 202
        assert got[1][1] == body
        assert got[1][0]["x-github-delivery"] == headers["x-github-delivery"]
        again = town.call("GET", f"/orgs/{ORG}/hooks/{hook}/deliveries", owner).json()
    assert [row["redelivery"] for row in again] == [True, False]
    assert len({row["guid"] for row in again}) == 1
    one = town.call("GET", where, owner).json()
    assert one["request"]["payload"]["alert"]["number"] == 1
    assert one["response"]["payload"] == "taken"


def test_githubkits_models_parse_webhooks_deliveries_and_alerts(town: Town, owner: str) -> None:
    hook = add(town, "http://127.0.0.1:9/in", owner)
    alert(town)
    kit = town.kit(owner)
    rest = kit.rest
    assert rest.orgs.list_webhooks(org=ORG).parsed_data[0].id == hook
    (row,) = rest.orgs.list_webhook_deliveries(org=ORG, hook_id=hook).parsed_data
    assert (row.status, row.status_code) == ("failed to connect", 502)
    one = rest.orgs.get_webhook_delivery(org=ORG, hook_id=hook, delivery_id=row.id).parsed_data
    assert one.event == "secret_scanning_alert"
    (found,) = rest.secret_scanning.list_alerts_for_org(org=ORG, hide_secret=True).parsed_data
    assert found.repository.full_name == FERRY


def test_nobody_is_sent_to_who_is_not_on_loopback(town: Town, owner: str) -> None:
    add(town, "http://192.0.2.1/in", owner)
    add(town, "http://localhost.example/in", owner)
    alert(town)
    rows = [row for hook in town.state.orgs[ORG].hooks.values() for row in hook["deliveries"]]
    assert [row["status_code"] for row in rows] == [502, 502]


@pytest.mark.parametrize("path", [f"/orgs/{ORG}/hooks", f"/orgs/{ORG}/secret-scanning/alerts"])
def test_who_may_not_see_them_is_refused(town: Town, path: str) -> None:
    scopes = ("admin:org",) if "alerts" in path else ("repo", "admin:org")
    answer = town.call("GET", path, town.state.add_token("mara", scopes=scopes))
    assert answer.status_code == 403
    assert answer.headers["x-accepted-oauth-scopes"]
    scopes = ("repo", "admin:org_hook")
    assert town.call("GET", path, town.state.add_token("jonas", scopes=scopes)).status_code == 404
    assert town.call("GET", path, town.state.add_token("mara", scopes=scopes)).status_code == 200


def test_alerts_are_sorted_as_asked_over_all_repositories(town: Town, owner: str) -> None:
    for where in (FERRY, LEDGER, FERRY):
        alert(town, where)
        town.pass_time(10)
    town.ferry("PATCH", "/secret-scanning/alerts/1", body={"state": "resolved", "resolution": "revoked"})

    def asked(**query: str) -> list[tuple[str, int]]:
        text = "&".join(f"{name}={value}" for name, value in query.items())
        rows: list[dict[str, Any]] = town.call("GET", f"/orgs/{ORG}/secret-scanning/alerts?{text}", owner).json()
        return [(row["repository"]["full_name"], row["number"]) for row in rows]

    assert asked() == [(FERRY, 2), (LEDGER, 1), (FERRY, 1)]
    assert asked(sort="updated") == [(FERRY, 1), (FERRY, 2), (LEDGER, 1)]
    assert asked(direction="asc", state="open") == [(LEDGER, 1), (FERRY, 2)]
    assert town.call("GET", f"/orgs/{ORG}/secret-scanning/alerts?sort=size", owner).status_code == 422


def test_who_shows_the_etag_gets_a_304_that_is_not_counted(town: Town, owner: str) -> None:
    path = f"/orgs/{ORG}/secret-scanning/alerts"
    first = town.call("GET", path, owner)
    again = town.call("GET", path, owner, If_None_Match=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["x-ratelimit-remaining"] == first.headers["x-ratelimit-remaining"]
    alert(town)
    changed = town.call("GET", path, owner, If_None_Match=first.headers["etag"])
    assert (changed.status_code, len(changed.json())) == (200, 1)
    assert town.call("GET", path, "quiet-otter", If_None_Match=changed.headers["etag"]).status_code in (403, 404)


def test_a_cursor_of_another_webhook_is_refused(town: Town, owner: str) -> None:
    hook = add(town, "http://127.0.0.1:9/in", owner)
    for _ in range(3):
        hooks.tell(town.state, town.state.repos[FERRY], "secret_scanning_alert", {})
    first = town.call("GET", f"/orgs/{ORG}/hooks/{hook}/deliveries?per_page=2", owner)
    more = first.links["next"]["url"]
    assert [len(first.json()), len(town.call("GET", more, owner).json())] == [2, 1]
    assert town.call("GET", f"/orgs/{ORG}/hooks/{hook}/deliveries?cursor=v1_1", owner).status_code == 422
