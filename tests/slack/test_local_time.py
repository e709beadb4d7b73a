"""Questions by direct message come by each person's own clock, and at nobody's night; the picture comes once."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from bot.posts import CARD, OVER, Posts
from bot.replay.strip import HEIGHT, WIDTH
from tests.slack.boards import Stage
from tests.slack.test_quiz import direct, teaching, turns
from tests.slack.test_written import ID, over_in_slack
from tests.slack_range import Slack

TUESDAY = datetime(2026, 3, 3, tzinfo=UTC)
ZONES = {"alice": "Asia/Tokyo", "bob": "America/Los_Angeles", "carol": "Europe/Berlin"}


def at(stage: Stage, hours: float) -> None:
    stage.hands.machine += (TUESDAY + timedelta(hours=hours) - stage.hands.at).total_seconds()
    stage.hands.at = TUESDAY + timedelta(hours=hours)


def test_each_is_asked_in_their_own_morning(slack: Slack, tmp_path: Path) -> None:
    with teaching(slack, tmp_path, TUESDAY) as (stage, teacher):
        state, one = slack.range.state, teacher()
        for name, zone in ZONES.items():
            state.people[slack.user(name)].tz = zone
            one.quiz.weekly(f"slack:{slack.user(name)}", TUESDAY - timedelta(days=1), on=True)
        asked = {}
        for hour in (0.9, 1.1, 8.9, 9.1, 17.9, 18.1):  # UTC: ten o'clock is at 1 in Tokyo, at 9 in Berlin, at 18 there
            at(stage, hour)
            turns(stage, one)
            asked[hour] = [name for name in ZONES if direct(stage, name)]
        assert asked == {
            0.9: [], 1.1: ["alice"], 8.9: ["alice"], 9.1: ["alice", "carol"], 17.9: ["alice", "carol"],
            18.1: ["alice", "bob", "carol"],
        }  # fmt: skip
        assert all(len(direct(stage, name)) == 1 for name in ZONES)


@pytest.mark.slow
def test_where_slack_does_not_tell_the_houses_clock_counts(slack: Slack, tmp_path: Path) -> None:
    with teaching(slack, tmp_path, TUESDAY) as (stage, teacher):
        state, one = slack.range.state, teacher()
        for name, zone in (("alice", ""), ("bob", "Mars/Olympus")):
            state.people[slack.user(name)].tz = zone
            one.quiz.weekly(f"slack:{slack.user(name)}", TUESDAY - timedelta(days=1), on=True)
        at(stage, 9.9)
        turns(stage, one)
        assert direct(stage, "alice") == direct(stage, "bob") == []
        at(stage, 10.1)
        turns(stage, one)
        assert (len(direct(stage, "alice")), len(direct(stage, "bob"))) == (1, 1)


@pytest.mark.slow
def test_without_the_scope_nothing_fails(slack: Slack, tmp_path: Path) -> None:
    with teaching(slack, tmp_path, TUESDAY) as (stage, teacher):
        token = slack.range.state.tokens[slack.cast["bot_token"]]
        token.scopes = tuple(scope for scope in token.scopes if scope != "users:read")
        one = teacher()
        one.quiz.weekly(f"slack:{slack.user('alice')}", TUESDAY - timedelta(days=1), on=True)
        at(stage, 10.1)
        turns(stage, one)
        assert len(direct(stage, "alice")) == 1


@pytest.mark.slow
def test_the_timeline_is_an_image_in_the_thread_once(slack: Slack, tmp_path: Path) -> None:
    noon = datetime.now(UTC).replace(hour=12, minute=0) + timedelta(days=1)  # a board tells what is new to it
    with teaching(slack, tmp_path, noon) as (stage, teacher):
        one = teacher()
        over_in_slack(stage, one)
        turns(stage, one, many=8)
        turns(stage, teacher())
        state = slack.range.state
        held = [state.files[f] for c in state.channels.values() for m in c.messages.values() for f in m.files]
        pictures = [file for file in held if file.name == f"{ID}-timeline.png"]
        assert len(pictures) == 1
        picture = Image.open(io.BytesIO(pictures[0].content or b""))
        assert (picture.format, picture.size) == ("PNG", (2 * WIDTH, 2 * HEIGHT))
        assert [row.state for row in Posts(stage.store).of(ID, "picture")] == [OVER]
        assert Posts(stage.store).get(f"{ID}/{CARD}") is not None
