"""What was announced of a change of policy, in the channel: each note once, and only what its person has signed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.engine.announced import Notes
from bot.engine.compared import compare
from bot.engine.decisions import Desk, unsigned
from bot.engine.policy import Policy
from bot.posts import Posts
from bot.signing import Attestor
from bot.slack.announce import Announcer
from bot.slack.telling import Telling
from bot.store import iso
from bot.tables import decision
from tests.slack.boards import staged, words
from tests.slack_range import Slack
from tests.test_policy_notes import TEXT, announced, changed, first_asking


@pytest.mark.slow
def test_slack_is_told_once_and_never_of_a_note_that_does_not_hold(slack: Slack, tmp_path: Path) -> None:
    other = changed(lambda document: first_asking(document).update(posture="one"))
    with staged(slack, tmp_path) as stage:
        attestor = Attestor(b"k" * 32, stage.store.database_id())
        notes = Notes(stage.store, Desk(stage.store, lambda *_: True, unsigned), attestor)
        early = announced(notes, other)

        def announcer() -> Announcer:
            parts = stage.board().parts
            telling = Telling(posts=Posts(stage.store), wire=parts.wire, places=parts.places)
            channel = stage.slack.channel("incidents")
            return Announcer(notes=notes, telling=telling, channel=channel, since=lambda: since)

        since = iso(datetime.now(UTC))
        speaker = announcer()
        later = notes.announce(
            other, TEXT, compare(Policy.load(other), Policy.load(TEXT)), by="slack:U0<!here>",
            at=datetime.now(UTC), reason="it was <!channel> wrong",
        )  # fmt: skip
        for _ in range(4):
            speaker.turn()
            announcer().turn()
            stage.hands.pass_time(2)
        (message,) = stage.messages()
        assert message["metadata"]["event_payload"]["seq"] == later.seq != early.seq
        assert "People are asked more" in words([message])
        assert "<!channel>" not in words([message])
        third = announced(notes, other, by="bo")
        with stage.store.begin() as c:
            c.execute(sa.update(decision).where(decision.c.seq == third.seq).values(by="ann"))
        announcer().turn()
        assert len(stage.messages()) == 1
