"""A scan of history: the first alerts open, what works in public opens and asks, the rest waits; told once."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.policy import Policy, Storm
from bot.errors import PlaybookError
from bot.intake.inbox import Inbox
from bot.store_intake import again
from bot.story import Story
from tests.cli.test_policy import SHIPPED_POLICY
from tests.intake.office import Office, alert, office, proof

__all__ = ["office"]
SHIPPED = "storm: {incidents: 20, within_s: 3600}"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'b.db'}"


def work(office: Office, most: int = 3) -> Inbox:
    inbox = replace(office.inbox, storm=Storm(incidents=most, within_s=3600))
    inbox.work_all(sorted(office.store.inbox("landed"), key=lambda row: (row["rank"], row["id"])))
    return inbox


def send(office: Office, number: int, at: datetime = NOW, owner: str = "harbor-lights", **more: Any) -> None:
    body = alert(number, **more)
    body["repository"] |= {"full_name": f"{owner}/ferry", "id": 1000 + len(owner)}
    office.deliver("github", body, at=at)


def scan(office: Office) -> None:
    body = json.dumps({"action": "completed", "type": "backfill", "source": "git", "repository": {
        "full_name": "harbor-lights/ferry"
    }}).encode()  # fmt: skip
    office.deliver("github", body, {**proof("github", body, NOW), "x-github-event": "secret_scanning_scan"}, at=NOW)


def states(office: Office) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in office.store.inbox():
        found[row["state"]] = found.get(row["state"], 0) + 1
    return found


def test_after_the_first_ones_the_rest_waits_and_it_is_told_once(office: Office) -> None:
    scan(office)
    for number in range(1, 11):
        send(office, number)
    work(office)
    assert len(office.store.incidents()) == 3
    assert states(office) == {"worked": 4, "held": 7}, "the scan itself is a fact"
    (told,) = [event for row in office.store.incidents() for event in office.events(row.id, "storm")]
    assert told.incident == office.store.incidents()[0].id
    assert "after a scan of history (backfill)" in office.store.inbox("held")[0]["note"]
    assert "more than 3 alerts of harbor-lights" in Story().event(told)[0].text


def test_what_works_and_everybody_can_see_opens_and_asks(office: Office) -> None:
    for number in range(1, 7):
        send(office, number, publicly_leaked=True, validity="active")
    for number in range(7, 13):
        send(office, number, validity="unknown")
    work(office)
    rows = office.store.incidents()
    assert len(rows) == 6
    assert states(office) == {"worked": 6, "held": 6}
    asks = [row.body["report"]["asks"] for row in rows]
    assert sorted(asks) == [False] * 3 + [True] * 3
    assert {row.body["report"]["authority"] for row in rows if row.body["report"]["asks"]} == {"storm"}


def test_another_owner_another_hour_and_a_known_credential_are_no_storm(office: Office) -> None:
    for number in range(1, 6):
        send(office, number)
    work(office)
    send(office, 1, owner="river-works")
    send(office, 9, at=NOW + timedelta(hours=2))
    first = office.store.incidents()[0]
    number = int(first.credential_key.rpartition(":")[2])
    send(office, number, action="reopened")
    held = len(office.store.inbox("held"))
    work(office)
    assert len(office.store.inbox("held")) == held
    assert len(office.store.incidents()) == 5


def test_scanners_and_people_are_not_counted_and_not_held(office: Office) -> None:
    from tests.intake.test_opening import gitleaks

    for number in range(6):
        office.deliver("gitleaks", gitleaks("npm" + "_" + f"M4d{number}" * 9, f"file-{number}"))
    work(office)
    assert len(office.store.incidents()) == 6
    for number in range(1, 5):
        send(office, number, at=datetime.now(UTC))
    work(office)
    assert len(office.store.incidents()) == 9, "three of the alerts, whatever else was opened"
    (row,) = office.store.inbox("held")
    assert again(office.store, row["id"], row["body"] | {"trust": "operator", "by": "ann"})
    work(office)
    assert len(office.store.incidents()) == 10, "a person has let it in"


def test_worked_again_after_a_crash_it_is_the_same(office: Office) -> None:
    for number in range(1, 8):
        send(office, number)
    rows = office.store.inbox("landed")
    inbox = work(office)
    before = {row.id for row in office.store.incidents()}
    inbox.work_all(rows)  # as if it had died before it could write what became of them
    assert {row.id for row in office.store.incidents()} == before


@settings(max_examples=15, deadline=None)
@given(most=st.integers(-3, 20_000), within=st.integers(-3, 100_000))
def test_a_policy_says_how_many_and_a_policy_without_it_has_a_bound(most: int, within: int) -> None:
    text = SHIPPED_POLICY.replace(SHIPPED, f"storm: {{incidents: {most}, within_s: {within}}}")
    if 1 <= most <= 10_000 and 1 <= within <= 86_400:
        assert Policy.load(text).storm == Storm(incidents=most, within_s=within)
    else:
        with pytest.raises(PlaybookError):
            Policy.load(text)
    assert Policy.load(SHIPPED_POLICY.replace(SHIPPED, "")).storm == Storm()
