"""The kill switch in Slack: who may throw it, what it says, and the card of what waits."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.slack.card import incident_card
from tests.slack.workspace import INCIDENT, Workspace


def test_a_responder_freezes_and_another_thaws(work: Workspace) -> None:
    work.command("alice", "freeze the policy is wrong")
    stands = work.house.switch.standing()
    assert stands is not None
    assert (stands.by, stands.reason) == (f"slack:{work.slack.user('alice')}", "the policy is wrong")
    assert "no worker begins to change anything" in work.whispers("alice")[-1]
    work.command("carol", "freeze me too")
    assert "frozen already" in work.whispers("carol")[-1]
    work.command("carol", "thaw")
    assert "say why" in work.whispers("carol")[-1]
    work.command("carol", "thaw it is mended")
    assert work.house.switch.standing() is None
    assert [row.kind for row in work.house.store.decisions()] == ["freeze", "thaw"]


def test_who_is_no_responder_freezes_nothing_and_is_told_so(work: Workspace) -> None:
    work.command("jonas", "freeze please")
    assert "not one of the responders" in work.whispers("jonas")[-1]
    assert work.house.switch.standing() is None
    work.command("alice", "freeze")
    assert "say why" in work.whispers("alice")[-1]
    assert work.house.store.decisions() == []


def test_the_card_says_who_has_frozen_it_until_it_goes_on(work: Workspace) -> None:
    body = {"by": "ann", "at": "2026-03-01T12:00:00.000000Z", "reason": "the policy is <wrong>"}
    work.incident(("deactivate", "frozen", body))
    text = str(incident_card(work.house.store, INCIDENT, datetime.now(UTC)).blocks)
    assert "Frozen by ann:* the policy is &lt;wrong&gt;. Decisions still count. Waits: deactivate" in text
    thawed = {"by": "bo", "reason": "mended"}
    work.house.timeline.append(INCIDENT, "deactivate", "thawed", thawed, at="2999-01-01T00:00:00.000000Z").result()
    assert "Frozen" not in str(incident_card(work.house.store, INCIDENT, datetime.now(UTC)).blocks)
