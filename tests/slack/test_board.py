"""The board over a Slack that is as strict as the real one: one card, each event once, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.incidents import ASKING, CLOSED, ID, SEVERITY
from tests.slack.boards import Stage, staged, what, words
from tests.slack_range import Slack, slack_served

LOW = ("incident", "severity", SEVERITY | {"level": "medium"})
PUBLIC = [LOW if kind == "severity" else (step, kind, body) for step, kind, body in ASKING]
REST = CLOSED[len(ASKING) :]


@pytest.fixture(scope="module")
def slack() -> Iterator[Slack]:
    with slack_served() as served:
        yield served


@pytest.fixture
def stage(slack: Slack, tmp_path: Path) -> Iterator[Stage]:
    with staged(slack, tmp_path) as made:
        yield made


def test_one_card_edited_in_place_and_a_thread_that_tells_each_event_once(stage: Stage) -> None:
    board = stage.board()
    stage.open()
    stage.grow(PUBLIC)
    stage.settle(board)
    (card,) = stage.cards()
    assert "Medium: Leaked AWS access key" in words([card])
    assert "Asked of people: 1" in words([card])
    questions = [m for m in stage.thread() if what(m) == "questions"]
    assert len(questions) == 1
    assert f"<!subteam^{stage.slack.cast['groups']['responders']}> please answer" in words(questions)
    stage.grow(REST)
    stage.settle(board)
    (after,) = stage.cards()
    assert after["ts"] == card["ts"]
    assert ":white_check_mark: closed" in words([after])
    told = words(stage.thread())
    for once in ("*opened*", "*triage* aws-access-key", "*decided* deactivate: approved by ann", "*CLOSED*",
                 "*done* deactivate: the key no longer works", "*deactivate*: approved by ann"):  # fmt: skip
        assert told.count(once) == 1, once
    assert '"action_id": "approve"' not in words(stage.messages())
    decided = next(e for e in stage.store.events(ID) if e["kind"] == "decided")
    closed = next(e for e in stage.store.events(ID) if e["kind"] == "closed")
    for event in (decided, closed):
        assert told.count(f"event {event['n']}, chain `{event['hash']}`") == 1
