"""Who reports what cannot be worked is told so, once, when Slack can be reached."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.slack import unworked
from bot.store import iso
from tests.slack.workspace import Workspace


def dead(work: Workspace, by: str, name: str, source: str = "slack") -> None:
    store = work.house.store
    row = {"id": f"{source}:{name}", "source": source, "landed_at": iso(datetime.now(UTC)), "raw_sha256": "0" * 64,
           "body": {"by": by, "world": "real", "text": "x"}}  # fmt: skip
    with store.begin() as c:
        store.land(c, row)
        store.set_inbox(c, row["id"], "dead", "no credential that a playbook knows was found in <it>")


def test_who_reported_is_told_once_and_alone_that_nothing_was_cut(work: Workspace) -> None:
    dead(work, f"slack:{work.slack.user('jonas')}", "one")
    dead(work, "ann", "two", source="cli")
    assert unworked.tell(work.room) == 1
    assert unworked.tell(work.room) == 0
    told = work.whispers("jonas")
    assert len(told) == 1
    assert "`slack:one` could not be worked, and *nothing was cut*" in told[0]
    assert "&lt;it&gt;" in told[0]
    assert work.whispers("alice") == []


def test_while_slack_is_away_it_waits(work: Workspace) -> None:
    dead(work, f"slack:{work.slack.user('jonas')}", "one")
    work.slack.switchboard.add([{"server": "slack", "status": 503}])
    try:
        assert unworked.tell(work.room) == 0
    finally:
        work.slack.switchboard.clear_faults()
    assert unworked.tell(work.room) == 1


def test_somebody_who_cannot_be_written_to_does_not_keep_the_others_waiting(work: Workspace) -> None:
    dead(work, "slack:U0NOBODY", "one")
    dead(work, f"slack:{work.slack.user('jonas')}", "two")
    assert unworked.tell(work.room) == 2
    assert len(work.whispers("jonas")) == 1


def test_the_open_room_tells_by_itself(work: Workspace) -> None:
    assert [job for job in work.room.jobs if "unworked" in getattr(job, "__module__", "")]
