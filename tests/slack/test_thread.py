"""What the thread tells: every event once and in order, whatever stands on the timeline, and Slack takes it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.slack import calls, thread
from bot.slack.owner import owner_question
from bot.slack.picture import Picture
from tests.incidents import ASKED, ASKING, CLOSED, CUT, TRIAGE
from tests.slack.strict import check
from tests.slack.timelines import picture, pictures

CALLED = calls.Called(
    groups={"one": frozenset({"S0ONE"}), "two": frozenset({"S0TWO"})},
    people={"ann": "U0ANN"},
    oncall=frozenset({"S0CALL"}),
)
QUIETER = {"max_examples": 80, "deadline": None}
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def pieces(drawn: Picture) -> list[thread.Piece]:
    found, told = [], 0
    while (piece := thread.next_piece(drawn, told)) is not None:
        found.append(piece)
        assert piece.last > told
        told = piece.last
    return found


@settings(suppress_health_check=SLOW, **QUIETER)
@given(pictures())
def test_slack_takes_every_piece_and_together_they_are_the_whole_timeline(drawn: Picture) -> None:
    found = pieces(drawn)
    assert [n for piece in found for n in range(piece.first, piece.last + 1)] == [e.n for e in drawn.events]
    for piece in found:
        posting = thread.draw(drawn, piece, CALLED)
        if posting is not None:
            check(posting.blocks)
            assert 0 < len(posting.text) <= 300
            assert thread.draw(drawn, piece, CALLED) == posting


@settings(suppress_health_check=SLOW, **QUIETER)
@given(pictures(), st.integers(0, 40))
def test_a_piece_that_was_bound_before_the_timeline_grew_tells_the_same_lines(drawn: Picture, cut: int) -> None:
    """Lines never change once told; only questions do, when they are settled."""
    early = Picture(row=drawn.row, events=drawn.events[:cut], now=drawn.now)
    for piece in pieces(early):
        if piece.kind == thread.LINES:
            assert thread.draw(early, piece, CALLED) == thread.draw(drawn, piece, CALLED)


@settings(suppress_health_check=SLOW, **QUIETER)
@given(pictures())
def test_slack_takes_every_reminder_and_every_question_to_an_owner(drawn: Picture) -> None:
    for due in calls.reminders(drawn, CALLED, {}):
        check([{"type": "section", "text": {"type": "mrkdwn", "text": due.text, "verbatim": True}}])
    if drawn.triage is not None:
        check(owner_question(drawn, "ann", "U0ANN").blocks)


def test_a_question_calls_the_group_that_may_answer_and_a_persons_step_the_person() -> None:
    asked = thread.draw(picture(ASKING), thread.Piece(kind=thread.QUESTIONS, first=5, last=5), CALLED)
    assert asked is not None and "<!subteam^S0ONE> please answer" in str(asked.blocks)
    two = [*ASKING[:-1], ("deactivate", "asked", ASKED | {"group": "two", "needs": 2})]
    posting = thread.draw(picture(two), thread.Piece(kind=thread.QUESTIONS, first=5, last=5), CALLED)
    assert posting is not None and "<!subteam^S0TWO>" in str(posting.blocks)
    look = ASKING[3][2] | {"before": {"who": "Ann", "text": "revoke it", "summary": "x", "needed": True, "link": ""}}
    hers = [*ASKING[:3], ("revoke", "look", look), ("revoke", "asked", ASKED | {"purpose": "answer", "group": "act"})]
    posting = thread.draw(picture(hers), thread.Piece(kind=thread.QUESTIONS, first=5, last=5), CALLED)
    assert posting is not None and "<@U0ANN> please answer" in str(posting.blocks)


def test_the_chain_is_told_at_each_decision_and_at_the_end() -> None:
    drawn = picture(CLOSED)
    chained = [replace(event, hash=f"{event.n:064}") for event in drawn.events]
    hashed = Picture(row=drawn.row, now=drawn.now, events=chained)
    told = "".join(str(posting.blocks) for piece in pieces(hashed) if (posting := thread.draw(hashed, piece, CALLED)))
    assert [n for n in range(1, 13) if f"event {n}, chain `{n:064}`" in told] == [6, 12]


def test_a_step_of_a_person_stays_open_until_the_world_has_proven_it() -> None:
    story = [*ASKING[:-1], ("deactivate", "asked", ASKED | {"purpose": "answer"})]
    piece = thread.Piece(kind=thread.QUESTIONS, first=5, last=5)
    decided = ("deactivate", "decided", {"go": True, "said": "answered", "by": ["ann"], "answer": "done"})
    assert thread.waits(picture(story), piece)
    assert thread.waits(picture([*story, decided]), piece)
    assert not thread.waits(picture([*story, decided, CUT[-1]]), piece)


def test_the_owner_is_told_what_leaked_and_why_it_is_them() -> None:
    posting = owner_question(picture(CUT), "mara", "U0MARA")
    said = str(posting.blocks)
    assert TRIAGE["owners"][0]["reason"] in said and "Everybody could see it" in said
    assert '"u":"U0MARA"' in said
