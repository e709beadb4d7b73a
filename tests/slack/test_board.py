"""The board over a Slack that is as strict as the real one: one card, each event once, whatever happens in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.heartbeat import Alarm
from bot.quiet import Quiet
from bot.slack.follow import alarm_of
from bot.store import iso
from bot.timeline import verify
from tests.incidents import ASKED, ASKING, CLOSED, DECIDED, ID, LOOK, SEVERITY
from tests.slack.boards import Stage, staged, what, words
from tests.slack.workspace import Workspace
from tests.slack_range import Slack

LOW = ("incident", "severity", SEVERITY | {"level": "medium"})
PUBLIC = [LOW if kind == "severity" else (step, kind, body) for step, kind, body in ASKING]
REST = CLOSED[len(ASKING) :]


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


def test_after_a_restart_nothing_is_said_again(stage: Stage) -> None:
    stage.open()
    stage.grow(PUBLIC)
    stage.settle(stage.board())
    before = stage.messages()
    stage.settle(stage.board())
    assert [m["ts"] for m in stage.messages()] == [m["ts"] for m in before]
    stage.grow(REST)
    stage.settle(stage.board())
    assert len(stage.cards()) == 1


class Died(BaseException):
    """What a killed process does at a boundary: nothing more."""


def test_wherever_it_dies_there_is_one_card_and_each_event_is_told_once(stage: Stage) -> None:
    """The process dies before and after each of its calls, one after the other; the next one goes on."""
    stage.open()
    stage.grow(PUBLIC)
    rest, deaths, names = list(REST), 0, set()
    for limit in range(1, 200):
        passed = 0

        def boundary(name: str, limit: int = limit) -> None:
            nonlocal passed
            passed += 1
            if passed == limit % 11 + 1:
                names.add(name)
                raise Died

        try:
            stage.settle(stage.board(boundary=boundary))
        except Died:
            deaths += 1
            stage.hands.pass_time(5)
            continue
        if not rest:
            break
        stage.grow([rest.pop(0)])
    assert deaths > 20
    assert {"before chat.postMessage", "after chat.postMessage", "after chat.update"} <= names
    assert len(stage.cards()) == 1
    told_once(stage)


def told_once(stage: Stage, channel: str = "incidents") -> None:
    """Every event of the closed incident is in the thread once, in order, and its files are there once."""
    text = words(stage.thread(channel))
    marks = ["*opened*", "*Medium*", "*decided* deactivate", "*done* deactivate", "*PROVEN* deactivate",
             "*done* end-sessions", "*CLOSED*"]  # fmt: skip
    marks[1] = "*medium*"
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert [text.count(mark) for mark in marks] == [1] * len(marks)
    assert len([m for m in stage.thread(channel) if what(m) == "questions"]) == 1
    files = [f for m in stage.files(channel) for f in m]
    assert sorted(f.rpartition("-")[0].removeprefix(f"{ID}-") for f in files) == ["evidence", "timeline"]


def lose(stage: Stage, route: str, *, after: bool, times: int = 1, **what_else: object) -> None:
    stage.slack.switchboard.add(
        [{"server": "slack", "method": "*", "route": route, "after_commit": after, "times": times}
         | (what_else or {"reset": True})]
    )  # fmt: skip


@pytest.mark.parametrize("after", [True, False])
def test_an_answer_that_was_lost_makes_no_second_card_and_loses_no_event(stage: Stage, after: bool) -> None:
    board = stage.board()
    stage.open()
    stage.grow(PUBLIC)
    for _ in range(3):
        lose(stage, "*/chat.postMessage", after=after)
        stage.settle(board)
        stage.hands.pass_time(60)
    stage.grow(REST)
    lose(stage, "*/chat.postMessage", after=after)
    lose(stage, "*/chat.update", after=after)
    for _ in range(4):
        stage.settle(board)
        stage.hands.pass_time(60)
    assert len(stage.cards()) == 1
    told_once(stage)


def test_slack_down_for_an_hour_and_the_card_catches_up(stage: Stage) -> None:
    board = stage.board()
    board.turn()
    stage.open()
    stage.grow(PUBLIC)
    lose(stage, "*", after=False, times=0)
    calls = 0
    for _ in range(60):
        calls += board.turn()
        stage.hands.pass_time(60)
    assert not stage.messages()
    stage.grow(REST)
    requests = len(stage.slack.switchboard.requests())
    assert requests <= 150, "it does not hammer at a closed door"
    stage.slack.switchboard.clear_faults()
    stage.hands.pass_time(60)
    stage.settle(board)
    (card,) = stage.cards()
    assert ":white_check_mark: closed" in words([card])
    text = words(stage.thread())
    assert text.count("*CLOSED*") == 1 and text.count("*opened*") == 1
    assert "action_id" not in text.replace("undo", ""), "what was settled meanwhile is not asked"


def test_slacks_limits_are_kept_and_retry_after_is_obeyed(stage: Stage) -> None:
    """Twenty incidents at once in one channel: never more than a message a second, and no 429 at all."""
    board = stage.board()
    for k in range(20):
        stage.open(f"inc-{k}")
        stage.grow(PUBLIC, f"inc-{k}")
    while len(stage.cards()) < 20:
        board.turn()
        stage.hands.pass_time(0.3)
    codes = [r["status"] for r in stage.slack.switchboard.requests()]
    assert 429 not in codes
    first = [m["ts"] for m in stage.messages()[:20]]
    assert {m["ts"] for m in stage.cards()} == set(first), "cards come before anything else"
    lose(stage, "*/chat.postMessage", after=False, status=429, code="ratelimited", headers={"retry-after": "30"})
    before = len(stage.messages())
    stage.hands.pass_time(2)
    board.turn()
    stage.hands.pass_time(29)
    board.turn()
    assert len(stage.messages()) == before
    stage.hands.pass_time(2)
    board.turn()
    assert len(stage.messages()) > before


# where it is told ----------------------------------------------------------------------------------------------------


def test_what_is_bad_gets_a_private_channel_with_the_leads_and_the_one_who_reported(stage: Stage) -> None:
    stage.open(by="slack:jonas")
    stage.grow(ASKING)
    stage.settle(stage.board())
    assert not stage.messages("incidents")
    assert stage.private() and len(stage.cards(ID)) == 1
    members = stage.members(ID)
    assert {stage.slack.user("alice"), stage.slack.user("jonas")} <= members
    assert stage.slack.user("mallory") not in members
    stage.grow([("lead", "role", {"role": "lead", "who": f"slack:{stage.slack.user('bob')}", "by": "ann"})])
    stage.settle(stage.board())
    assert stage.slack.user("bob") in stage.members(ID)


def test_a_crash_after_the_channel_was_made_finds_it_again(stage: Stage) -> None:
    stage.open()
    stage.grow(ASKING)

    def boundary(name: str) -> None:
        if name == "after conversations.create":
            raise Died

    with pytest.raises(Died):
        stage.settle(stage.board(boundary=boundary))
    stage.settle(stage.board())
    assert len(stage.cards(ID)) == 1
    assert not stage.private(f"{ID}-2")


def test_a_name_that_somebody_else_has_taken_is_left_to_them(stage: Stage) -> None:
    stage.slack.range.state.add_channel(
        ID, [stage.slack.user("mara")], kind="private", creator=stage.slack.user("mara")
    )
    stage.open()
    stage.grow(ASKING)
    stage.settle(stage.board())
    assert not stage.messages(ID)
    assert len(stage.cards(f"{ID}-2")) == 1


def test_nothing_is_ever_told_where_outsiders_read_along(stage: Stage) -> None:
    stage.open()
    stage.grow(PUBLIC)
    stage.settle(stage.board(channel="shared-with-vendor"))
    assert not stage.messages("shared-with-vendor")
    assert len(stage.cards(ID)) == 1


def test_a_channel_that_becomes_shared_loses_the_card(stage: Stage) -> None:
    board = stage.board()
    stage.open()
    stage.grow(PUBLIC)
    stage.settle(board)
    state = stage.slack.range.state
    found = next(c for c in state.channels.values() if c.name == "incidents")
    found.is_ext_shared = True
    stage.hands.pass_time(70)
    stage.settle(board)
    assert not stage.cards("incidents")
    assert "aws-access-key" not in words([m for m in stage.messages("incidents") if not m["thread_ts"]])
    assert len(stage.cards(ID)) == 1


def test_when_it_turns_out_to_be_bad_the_card_moves_and_is_never_there_twice(stage: Stage) -> None:
    board = stage.board()
    stage.open()
    stage.grow(PUBLIC)
    stage.settle(board)
    worse = {"level": "critical", "by": f"slack:{stage.slack.user('alice')}", "reason": "it is the signing key"}
    stage.grow([("severity", "severity", worse)])
    for _ in range(60):
        board.turn()
        stage.hands.pass_time(0.4)
        assert len(stage.cards("incidents")) + (len(stage.cards(ID)) if stage.private() else 0) <= 1
    assert len(stage.cards(ID)) == 1
    assert "goes on in a channel of its own" in words(stage.messages("incidents"))
    told = words(stage.thread("incidents")) + words(stage.thread(ID))
    assert told.count("*opened*") == 1


def test_drills_are_told_in_their_channel_and_marked_everywhere(stage: Stage) -> None:
    stage.open(world="range")
    stage.grow(ASKING)
    stage.settle(stage.board())
    messages = stage.messages("incidents")
    assert len(messages) > 2 and not stage.private()
    for message in messages:
        assert "DRILL. Nothing of this is real" in words([message])
        assert message["text"].startswith("DRILL")
        assert message["metadata"]["event_type"] == "bulkhead_drill"


def test_a_card_that_somebody_deletes_is_there_again(stage: Stage) -> None:
    board = stage.board()
    stage.open()
    stage.grow(PUBLIC)
    stage.settle(board)
    state = stage.slack.range.state
    found = next(c for c in state.channels.values() if c.name == "incidents")
    del found.messages[stage.cards()[0]["ts"]]
    stage.grow([("deactivate", "decided", DECIDED)])
    stage.settle(board)
    assert len(stage.cards()) == 1


# people --------------------------------------------------------------------------------------------------------------


def told_to(stage: Stage, kind: str) -> list[str]:
    return [words([m]) for m in stage.thread() if what(m) == kind]


def asking_until(stage: Stage, minutes: float, **ask: object) -> None:
    stage.open()
    stage.grow(PUBLIC[:-1])
    until = iso(stage.hands.at + timedelta(minutes=minutes)) if minutes else ""
    stage.grow([("deactivate", "asked", ASKED | {"expires_at": until} | ask)])


def test_a_broken_glass_is_told_to_those_who_review_until_one_of_them_has_also_after_the_close(stage: Stage) -> None:
    due = stage.hands.at + timedelta(days=1)
    glass = {"by": "slack:U0BOB", "reason": "nobody else is awake", "plan_hash": "2" * 16, "review_by": iso(due)}
    stage.open()
    stage.grow([*PUBLIC, ("deactivate", "break-glass", glass)])
    board, group = stage.board(quiet=Quiet.read("00:00-23:59 UTC")), stage.slack.cast["groups"]["approvers"]
    stage.settle(board)
    (first,) = told_to(stage, "reminder")
    assert f"<!subteam^{group}>" in first and "nobody else is awake" in first, "told at once, at any hour"
    stage.grow(REST)
    stage.settle(board)
    assert '"action_id": "review"' in words(stage.cards()), "an incident that is over still waits for it"
    board = stage.board()  # without quiet hours: by day
    stage.settle(board)
    assert len(told_to(stage, "reminder")) == 1
    stage.hands.pass_time(25 * 3600)
    stage.settle(board)
    assert "which was due" in told_to(stage, "reminder")[1]
    reviewed = {"by": "slack:U0ALICE", "of": "slack:U0BOB", "text": "it was right"}
    stage.grow([("deactivate", "reviewed", reviewed)])
    stage.settle(board)
    assert '"action_id": "review"' not in words(stage.cards())
    assert words(stage.thread()).count("*reviewed* deactivate") == 1
    stage.hands.pass_time(25 * 3600)
    stage.settle(board)
    assert len(told_to(stage, "reminder")) == 2


def test_nobody_answers_and_others_are_called_before_the_time_is_over(stage: Stage) -> None:
    asking_until(stage, 30)
    groups = stage.slack.cast["groups"]
    stage.settle(stage.board())
    assert not told_to(stage, "reminder")
    stage.hands.pass_time(11 * 60)
    stage.settle(stage.board())
    (first,) = told_to(stage, "reminder")
    assert f"<!subteam^{groups['responders']}>" in first and "min left" in first
    stage.hands.pass_time(10 * 60)
    stage.settle(stage.board())
    assert f"<!subteam^{groups['oncall']}>" in told_to(stage, "reminder")[1]
    stage.hands.pass_time(60)
    stage.settle(stage.board())
    assert len(told_to(stage, "reminder")) == 2, "each once, across restarts"
    stage.grow([("deactivate", "decided", DECIDED)])
    stage.hands.pass_time(3600)
    stage.settle(stage.board())
    assert len(told_to(stage, "reminder")) == 2, "nobody is called for what is settled"


def test_of_calls_that_came_due_while_nobody_ran_only_the_latest_is_made(stage: Stage) -> None:
    asking_until(stage, 30)
    stage.settle(stage.board())
    stage.hands.pass_time(25 * 60)
    stage.settle(stage.board())
    assert len(told_to(stage, "reminder")) == 1
    assert f"<!subteam^{stage.slack.cast['groups']['oncall']}>" in told_to(stage, "reminder")[0]


def test_the_lead_is_called_first_where_there_is_one(stage: Stage) -> None:
    asking_until(stage, 30)
    alice = stage.slack.user("alice")
    stage.grow([("lead", "role", {"role": "lead", "who": f"slack:{alice}", "by": "ann"})])
    stage.settle(stage.board())
    stage.hands.pass_time(11 * 60)
    stage.settle(stage.board())
    assert f"<@{alice}>" in told_to(stage, "reminder")[0]


def test_who_says_that_it_is_not_theirs_brings_the_next_call_forward(stage: Stage) -> None:
    asking_until(stage, 30)
    stage.settle(stage.board())
    stage.grow([("x", "not-me", {"by": "slack:U0ANN", "of": "deactivate"})])
    stage.settle(stage.board())
    assert len(told_to(stage, "reminder")) == 1
    stage.grow([("y", "not-me", {"by": "slack:U0ANN", "of": "deactivate"})])
    stage.settle(stage.board())
    assert len(told_to(stage, "reminder")) == 1, "the same person again changes nothing"
    stage.grow([("z", "not-me", {"by": "slack:U0BEN", "of": "deactivate"})])
    stage.settle(stage.board())
    assert f"<!subteam^{stage.slack.cast['groups']['oncall']}>" in told_to(stage, "reminder")[1]


def test_at_night_nobody_is_called_for_what_can_wait(stage: Stage) -> None:
    stage.hands.at = datetime(2099, 3, 1, 21, 50, tzinfo=UTC)
    quiet = Quiet.read("22:00-07:00")
    asking_until(stage, 0, on_silence="hold")
    stage.settle(stage.board(quiet=quiet))
    stage.hands.pass_time(3 * 3600)
    stage.settle(stage.board(quiet=quiet))
    assert not told_to(stage, "reminder")
    stage.hands.pass_time(6.5 * 3600)
    stage.settle(stage.board(quiet=quiet))
    assert len(told_to(stage, "reminder")) == 1


def test_at_night_people_are_called_all_the_same_for_what_cannot_wait(stage: Stage) -> None:
    stage.hands.at = datetime(2099, 3, 1, 21, 50, tzinfo=UTC)
    quiet = Quiet.read("22:00-07:00")
    asking_until(stage, 60, on_silence="escalate")
    stage.settle(stage.board(quiet=quiet))
    stage.hands.pass_time(45 * 60)
    stage.settle(stage.board(quiet=quiet))
    assert len(told_to(stage, "reminder")) == 1


def dms(stage: Stage, name: str) -> list[dict[str, object]]:
    """What the bot has sent to somebody directly."""
    state, user = stage.slack.range.state, stage.slack.user(name)
    found = [c.id for c in state.channels.values() if c.kind == "im" and user in c.members]
    return [m for channel in found for m in stage.messages(channel)]


def test_the_likely_owner_is_asked_whether_it_was_them_and_sees_what_was_answered(stage: Stage) -> None:
    board = stage.board()
    stage.open()
    stage.grow(PUBLIC)
    stage.settle(board)
    (question,) = dms(stage, "mara")
    assert "A credential that seems to be yours has leaked" in words([question])
    assert '"action_id": "was-me-no"' in words([question])
    stage.settle(stage.board())
    assert len(dms(stage, "mara")) == 1
    stage.grow([("owner", "owner-answer", {"said": "no", "by": f"slack:{stage.slack.user('mara')}"})])
    stage.settle(stage.board())
    (answered,) = dms(stage, "mara")
    assert "*it was not me*" in words([answered]) and "action_id" not in words([answered])


def test_when_the_owner_does_not_answer_the_next_one_is_asked_and_then_those_on_call(stage: Stage) -> None:
    owners = [{"name": n, "score": 90 - k, "reason": "tag owner"} for k, n in enumerate(["mara", "nobody-here", "bob"])]
    stage.open()
    stage.grow([(s, k, b | {"owners": owners} if k == "triage" else b) for s, k, b in PUBLIC])
    stage.settle(stage.board())
    assert len(dms(stage, "mara")) == 1 and not dms(stage, "bob")
    stage.hands.pass_time(11 * 60)
    stage.settle(stage.board())
    assert len(dms(stage, "bob")) == 1
    assert not told_to(stage, "owner")
    stage.hands.pass_time(20 * 60)
    stage.settle(stage.board())
    assert f"<!subteam^{stage.slack.cast['groups']['oncall']}>" in told_to(stage, "owner")[0]
    stage.hands.pass_time(3600)
    stage.settle(stage.board())
    assert (len(dms(stage, "mara")), len(dms(stage, "bob")), len(told_to(stage, "owner"))) == (1, 1, 1)


def test_who_reported_it_is_not_asked_whether_it_was_them(stage: Stage) -> None:
    stage.open(by="slack:mara")
    by = f"slack:{stage.slack.user('mara')}"
    opened = PUBLIC[0][2] | {"report": PUBLIC[0][2]["report"] | {"by": by}}
    stage.grow([("incident", "opened", opened), *PUBLIC[1:]])
    stage.settle(stage.board())
    assert not dms(stage, "mara")


# what goes out -------------------------------------------------------------------------------------------------------


def test_a_secret_that_this_process_knows_never_goes_out(stage: Stage) -> None:
    value = "made-up-" + "hunter-two"
    stage.scrub = lambda text: text.replace(value, "[secret]")
    stage.open()
    stage.grow([*PUBLIC, ("x", "failed", {"error": f"no: {value}", "on_failure": "ask", "denied": False}), *REST])
    stage.settle(stage.board())
    everything = repr(stage.slack.range.state.channels) + repr(stage.slack.range.state.files)
    assert value not in everything and "[secret]" in everything


def test_the_files_at_the_end_hold_the_whole_chain_and_the_list_of_the_evidence(stage: Stage) -> None:
    stage.open()
    stage.store.add_evidence({"incident": ID, "name": "key.json", "sha256": "f" * 64, "size": 9, "original_sha256": "",
                              "at": iso(stage.hands.at)})  # fmt: skip
    stage.grow([*PUBLIC, *REST])
    stage.settle(stage.board())
    texts = {f.name: (f.content or b"").decode() for f in stage.slack.range.state.files.values()}
    (timeline,) = [text for name, text in texts.items() if "timeline" in name]
    (listed,) = [json.loads(text) for name, text in texts.items() if "evidence" in name]
    events = [json.loads(line) for line in timeline.splitlines()]
    row = stage.store.incident(ID)
    assert verify(events, row.head_n, row.head_hash) == []
    assert listed["timeline"] == {"events": row.head_n, "head": row.head_hash}
    assert [e["name"] for e in listed["evidence"]] == ["key.json"]
    assert [r["state"] for r in listed["ledger"]] == ["closed"]


def test_many_questions_at_once_are_all_asked_with_their_buttons_and_each_once(stage: Stage) -> None:
    stage.open()
    stage.grow(PUBLIC[:3])
    many = 60
    for k in range(many):
        stage.grow([(f"planted#{k}", "look", LOOK | {"kills": None}), (f"planted#{k}", "asked", ASKED)])
    stage.settle(stage.board(), most=2000)
    blocks = [b for m in stage.thread() if what(m) == "questions" for b in m["blocks"]]
    values = [
        e["value"] for b in blocks if b["type"] == "actions" for e in b["elements"] if e["action_id"] == "approve"
    ]
    assert sorted(json.loads(v)["s"] for v in values) == sorted(f"planted#{k}" for k in range(many))


def test_a_silent_worker_is_told_in_the_channel_and_never_where_outsiders_read(work: Workspace) -> None:
    slack, house = work.slack, work.house
    silent = Alarm(role="worker", back=False, text="the worker has said nothing for 75 s")
    for name in ("incidents", "shared-with-vendor"):
        house.settings.slack_channel = slack.channel(name)
        alarm_of(house)(silent)
    assert [m["text"] for m in slack.messages("alice", "incidents")] == [f"Bulkhead itself: {silent.text}"]
    assert slack.messages("mallory", "shared-with-vendor") == []


def test_many_incidents_wait_their_turn_and_none_is_left_out(stage: Stage) -> None:
    """A dozen incidents: every one has its card and its whole thread in the end, one message a second at most."""
    board = stage.board()
    for k in range(12):
        stage.open(f"inc-{k}", world="range")
        stage.grow(ASKING, f"inc-{k}")
    stage.settle(board, most=3000)
    assert len(stage.cards()) == 12
    assert words(stage.thread()).count("*opened*") == 12
    assert 429 not in [r["status"] for r in stage.slack.switchboard.requests()]


def test_where_no_private_channel_may_be_made_it_is_told_in_the_incidents_channel(stage: Stage) -> None:
    state = stage.slack.range.state
    token = state.tokens[state.app.bot_token]
    token.scopes = tuple(scope for scope in token.scopes if scope != "groups:write")
    stage.open()
    stage.grow(ASKING)
    stage.settle(stage.board())
    stage.settle(stage.board())
    assert len(stage.cards("incidents")) == 1 and not stage.private()
    stage.grow(REST)
    stage.settle(stage.board())
    assert words(stage.thread()).count("*CLOSED*") == 1 and stage.files()


def test_where_nobody_can_be_let_in_all_else_goes_on(stage: Stage) -> None:
    state = stage.slack.range.state
    token = state.tokens[state.app.bot_token]
    token.scopes = tuple(scope for scope in token.scopes if scope != "usergroups:read")
    stage.open()
    stage.grow([*ASKING, *REST])
    stage.settle(stage.board())
    assert len(stage.cards(ID)) == 1 and stage.files(ID)
