"""The slash command: what each word does, and what an unknown one gets."""

from __future__ import annotations

import pytest

from bot.slack import room as room_module
from tests.slack import deliveries
from tests.slack.workspace import INCIDENT, Workspace, asked


def test_help_lists_every_word_and_so_does_a_word_that_nobody_knows(work: Workspace) -> None:
    for text in ("help", "", "HELP", "frobnicate now"):
        assert work.command("jonas", text) == {"ok": True}
        said = work.whispers("jonas")[-1]
        for name in work.room.commands.known:
            assert f"/bulkhead {name}" in said
    assert "'frobnicate'" in said


def test_what_is_said_back_can_neither_mention_nor_link(work: Workspace) -> None:
    work.command("jonas", "<!channel> *now*")
    assert "<!channel>" not in work.whispers("jonas")[-1]


def test_status_shows_what_is_open_to_responders_and_to_who_reported_it(work: Workspace) -> None:
    work.command("alice", "status")
    assert work.whispers("alice")[-1] == "No incident is open."
    work.incident(("deactivate", "asked", asked()), by="slack:" + work.slack.user("jonas"))
    for person in ("alice", "jonas"):
        work.command(person, "status")
        assert INCIDENT in work.whispers(person)[-1]
        assert "deactivate" in work.whispers(person)[-1]
        work.command(person, f"status {INCIDENT[:16]}")
        assert "Deactivate an IAM access key" in work.whispers(person)[-1]
    work.command("mara", "status")
    assert INCIDENT not in work.whispers("mara")[-1]
    work.command("mara", f"status {INCIDENT}")
    assert "is shown to responders" in work.whispers("mara")[-1]


def test_nothing_is_ever_answered_in_the_channel(work: Workspace) -> None:
    for text in ("help", "status", "note", "report AKIA", "drill list", "nonsense"):
        work.command("alice", text)
    assert len(work.whispers("alice")) == 5, "report opens its form instead"
    assert work.slack.messages("bob", "incidents") == []


def test_a_form_whose_check_comes_too_late_is_told_what_is_wrong(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "ANSWER_S", 0.0)
    work.incident()
    payload = deliveries.of(work, "view_submission", "waive_form", "jonas")
    assert work.send(payload).text == ""
    work.idle()
    said = work.whispers("jonas")[-1]
    assert said.startswith("What you sent does not count:")
    assert "not one of the responders" in said
