"""Uploads of runs: a token of the issuer, for us, of a listed repository; tried against the range's own issuer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest

from bot.errors import Unavailable
from bot.intake import sources
from bot.intake.ci import Runs
from bot.intake.delivery import Delivery
from bot.intake.door import Answer, Door
from bot.range.clock import RangeClock
from bot.range.issuer import GITHUB_ISSUER, OidcIssuer
from tests.intake.office import TOKEN, Office
from tests.intake.test_opening import gitleaks

AUDIENCE = "https://bulkhead.example"
RUN: Mapping[str, Any] = {
    "sub": "repo:harbor-lights/ferry:ref:refs/heads/main", "repository": "harbor-lights/ferry", "run_id": "4711",
    "actor": "mara",
}  # fmt: skip


class Keys:
    """The issuer's keys, and how often they were asked for."""

    def __init__(self, issuer: OidcIssuer) -> None:
        self.issuer, self.asked, self.away = issuer, 0, False

    def __call__(self, url: str) -> bytes:
        assert url == f"{GITHUB_ISSUER}/.well-known/jwks"
        self.asked += 1
        if self.away:
            raise Unavailable("away", provider="http")
        return json.dumps(self.issuer.jwks()).encode()


@pytest.fixture
def issuer() -> OidcIssuer:
    clock = RangeClock()
    clock.advance(datetime.now(UTC).timestamp() - clock.time())
    return OidcIssuer(clock)


@pytest.fixture
def keys(issuer: OidcIssuer) -> Keys:
    return Keys(issuer)


@pytest.fixture
def door(office: Office, keys: Keys) -> Door:
    runs = Runs(GITHUB_ISSUER, AUDIENCE, ("Harbor-Lights/*",), f"{GITHUB_ISSUER}/.well-known/jwks", keys)
    return Door(sources.built({}, runs=runs), office.inbox)


def upload(door: Door, token: str, body: object) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return door.receive(Delivery(source="ci", body=raw, headers=headers, at=datetime.now(UTC)))


def test_a_report_of_a_listed_repositorys_run_opens_incidents_that_act(
    office: Office, door: Door, issuer: OidcIssuer, keys: Keys
) -> None:
    token = issuer.mint(dict(RUN), AUDIENCE)
    assert upload(door, token, gitleaks(TOKEN)).text == "landed"
    (incident,) = office.work()
    row = office.store.incident(incident)
    assert row.body["repository"] == "harbor-lights/ferry", "the token says which; the file did not"
    report = row.body["report"]
    assert (report["trust"], report["asks"]) == ("signed", False)
    assert report["by"] == "mara in run 4711 of harbor-lights/ferry"
    assert "actions/runs/4711" in report["text"]
    assert token.encode() not in office.bytes()
    upload(door, token, gitleaks(TOKEN, "b", 2))
    assert keys.asked == 1


@pytest.mark.parametrize(
    ("claims", "audience", "ttl", "status", "reason"),
    [
        ({"repository": "quiet-otter/ferry"}, AUDIENCE, 300, 403, "repository"),
        ({"repository": "harbor-lights-evil/ferry"}, AUDIENCE, 300, 403, "repository"),
        ({"iss": "https://attacker.example"}, AUDIENCE, 300, 401, "issuer"),
        ({}, "sts.amazonaws.com", 300, 401, "audience"),
        ({}, AUDIENCE, -120, 401, "stale"),
        ({"run_id": None}, AUDIENCE, 300, 401, "token"),
    ],
)
def test_another_repository_issuer_audience_or_time_may_not(
    office: Office, door: Door, issuer: OidcIssuer, claims: dict[str, Any], audience: str, ttl: int, status: int,
    reason: str,
) -> None:  # fmt: skip
    body = {k: v for k, v in {**RUN, **claims}.items() if v is not None}
    assert upload(door, issuer.mint(body, audience, ttl), gitleaks(TOKEN)).status == status
    assert door.counts == {("ci", reason): 1}
    assert office.store.inbox() == []


def test_a_token_of_another_key_or_without_a_signature_proves_nothing(
    office: Office, door: Door, issuer: OidcIssuer
) -> None:
    stranger = OidcIssuer(RangeClock()).mint(dict(RUN), AUDIENCE)
    good = issuer.mint(dict(RUN), AUDIENCE)
    head, claims, _ = good.split(".")
    (key,) = issuer.jwks()["keys"]
    none = jwt.encode(dict(RUN), "", algorithm="none", headers={"kid": key["kid"]})
    public = jwt.encode({**RUN, "exp": 2**33, "iat": 1, "iss": GITHUB_ISSUER, "aud": AUDIENCE}, key["n"] * 2,
                        algorithm="HS256", headers={"kid": key["kid"]})  # fmt: skip
    for token in (stranger, f"{head}.{claims}.", f"{head}.{claims}.AAAA", none, public, "x", "a.b.c", ""):
        assert upload(door, token, gitleaks(TOKEN)).status == 401
    assert office.store.inbox() == []


def test_when_the_issuers_keys_are_away_the_run_is_told_to_come_again(
    office: Office, door: Door, issuer: OidcIssuer, keys: Keys
) -> None:
    keys.away = True
    assert upload(door, issuer.mint(dict(RUN), AUDIENCE), gitleaks(TOKEN)).status == 503


def test_what_is_no_report_is_said_and_kept_as_dead(office: Office, door: Door, issuer: OidcIssuer) -> None:
    token = issuer.mint(dict(RUN), AUDIENCE)
    answer = upload(door, token, {"a": TOKEN})
    assert (answer.status, "no report that we can read" in answer.text) == (422, True)
    assert upload(door, token, []).text == "declined: it holds no finding", "an empty list is a report of gitleaks"
    assert [row["state"] for row in office.store.inbox()] == ["dead"]
    assert TOKEN.encode() not in office.bytes()
