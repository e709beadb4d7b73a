"""A drill's choices in Slack: put once, answered once by who may, told with what came of them, over when it is over."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot.app import SHIPPED
from bot.choices import REPORT
from bot.classroom import Classroom, open_put
from bot.learn.score import score
from bot.quiet import Quiet
from bot.range.slack import payloads
from bot.scenario import load_drills
from bot.schedule import DAYS
from bot.slack import choice_views
from bot.slack.choices import REMINDED, Threads
from bot.slack.features import FEATURES
from bot.slack.heard import carried
from bot.slack.kit import value_of
from bot.slack.room import Room
from bot.slack.telling import Telling
from bot.store import iso
from bot.store_drills import ALONE, FAILED, OVER, RUNNING, TEAM, Line, Lines, Order, Orders
from tests.played import played
from tests.slack.installed import Installed, installed
from tests.slack.strict import check, check_view
from tests.slack.workspace import Workspace, moved_in
from tests.slack_range import Slack, until

DRILLS = load_drills([SHIPPED / "drills"])
DRILL = DRILLS["aws-key-in-public-log"]


def test_every_line_and_every_form_fits_into_slack() -> None:
    order = Order(id="o" * 60, drill="aws-key-in-public-log", by="slack:U1", at="", mode=TEAM, state=RUNNING)
    for drill in DRILLS.values():
        told = {"title": drill.title, "briefing": drill.briefing, "by": drill.report.by, "text": drill.report.text}
        told["payloads"] = {"guardduty": json.dumps({"a": ["<&>`"] * 400}, indent=1)}
        lines = [line("alert", told)]
        for choice in drill.choices:
            options = {one.id: one.say for one in choice.options}
            put = line("put", {"choice": choice.id, "question": choice.question, "options": options, "again": True})
            check_view(choice_views.form(put, carried(o=order.id, n=put.name)))
            said = {"option": choice.best.id, "sure": True, "by": "slack:U1", "at": ""}
            lines += [put, replace(put, answer=said)]
            lines += [
                line("chosen", {"option": one.say, "grade": one.grade, "because": one.because})
                for one in choice.options
            ]
        lines += [line("inject", {"text": one.say}) for one in drill.injects]
        lines.append(line("consequence", {"story": ["it has happened"]}))
        scored = score(drill, [], [])
        found = [{"title": c.lesson, "owner": "slack:U1", "why": ""} for c in drill.choices]
        names = ("total", "choices", "time", "record", "sure_and_wrong")
        said = {name: getattr(scored, name) for name in names} | {"findings": found, "truth": drill.truth}
        lines.append(line("scored", said))
        for one in lines:
            check(choice_views.message(order, one).blocks)
        check(choice_views.home(replace(order, mode=ALONE), lines), 60)
    check_view(choice_views.pick([one for one in DRILLS.values() if one.choices], carried(c="C1")))
    check(choice_views.home(None, []))
    lost = replace(order, mode=ALONE, state=FAILED, note="played <already>")
    check(choice_views.home(lost, []))
    assert "played &lt;already&gt;" in json.dumps(choice_views.home(lost, []))


def line(kind: str, body: dict[str, Any]) -> Line:
    return Line(order_id="o", name=f"{kind}:1", n=1, kind=kind, body=body, answer={})


# in the team's channel ------------------------------------------------------------------------------------------------


@contextmanager
def taught(work: Workspace, mode: str, by: str = "alice") -> Iterator[tuple[Classroom, list[str]]]:
    """A drill whose first choices are put, by a worker of its own; what has happened because of them."""
    who, happened = f"slack:{work.slack.user(by)}", []
    channel = work.slack.channel("incidents")
    order = Order(id="o1", drill=DRILL.id, by=who, channel=channel, at="2999-01-01T00:00:00Z", state=RUNNING, mode=mode)
    Orders(work.house.store).order(order)

    def play(act: str) -> dict[str, Any]:
        happened.append(act)
        return {"story": [f"{act} has come of it."]}

    room = Classroom(work.house.store, order, DRILL, play)
    room.open("Our log shows a key.", {})
    with ThreadPoolExecutor(1) as pool:
        put = pool.submit(room.at, REPORT)
        try:
            yield room, happened
        finally:
            room.stop()
            if (error := put.exception(60)) is not None:
                assert "has ended before" in str(error)


def told(work: Workspace) -> list[Any]:
    """The messages of the drill, oldest first, once the board has told all there is."""
    board, store = work.room.board, work.house.store

    def all_told() -> bool:
        board.turn()
        return len(lines_of(work)) == len(Lines(store).of("o1"))

    until(all_told, 60)
    return lines_of(work)


def lines_of(work: Workspace) -> list[Any]:
    state = work.slack.range.state
    with state.lock:
        return [
            m for c in state.channels.values() if c.name == "incidents" for m in c.messages.values()
            if ((m.metadata or {}).get("event_payload") or {}).get("order") == "o1"
        ]  # fmt: skip


def waiting(work: Workspace) -> Line:
    """The question that waits."""
    found = until(lambda: open_put(Lines(work.house.store).of("o1")), 60)
    assert isinstance(found, Line)
    return found


def press(work: Workspace, user: str) -> None:
    """Press the button of the question that waits."""
    work.click(user, choice_views.CHOOSE, json.loads(value_of("o1", waiting(work).name)))


def submit(work: Workspace, user: str, option: str, sure: str = "yes") -> dict[str, Any]:
    for action, value in ((choice_views.OPTION, option), (choice_views.SURE, sure)):
        work.slack.hand(user, "fill", action_id=action, value=value)
    shown = work.slack.hand(user, "submit")
    work.idle()
    return shown


def texts(messages: list[Any]) -> str:
    return json.dumps([m.blocks for m in messages], ensure_ascii=False)


@pytest.fixture
def team(slack: Slack, tmp_path: Path) -> Iterator[Workspace]:
    with moved_in(slack, tmp_path / "home", slack_channel=slack.channel("incidents")) as work:
        yield work


@pytest.mark.slow
def test_a_harmful_answer_has_its_consequence_and_is_asked_again(team: Workspace) -> None:
    with taught(team, TEAM) as (room, happened):
        first = waiting(team)
        press(team, "alice")
        submit(team, "alice", "hide")
        again = until(lambda: (now := waiting(team)).name != first.name and now, 60)
        assert again.body["again"] and "hide" not in again.body["options"]
        press(team, "bob")
        submit(team, "bob", "cut", "no")
        until(lambda: "first" in room.choosing.taken, 60)
        taken = room.choosing.taken["first"]
        assert ([one.id for one in taken.options], taken.sure, happened) == (["hide", "cut"], True, ["hide", "show"])
        room.score(score(DRILL, [taken], [], owner=room.owner))
        messages = told(team)
    said = texts(messages)
    assert "Our log shows a key." in said and "hide has come of it." in said and "Score: " in said
    assert f"<@{team.slack.user('alice')}> has said" in said
    assert messages[0].thread_ts in (None, "", messages[0].ts)
    assert {m.thread_ts for m in messages[1:]} == {messages[0].ts}, "all of it is in one thread"
    until(lambda: team.room.board.turn() == 0 and choice_views.CHOOSE not in texts(lines_of(team)), 60)
    assert room.owner == f"slack:{team.slack.user('alice')}"


def test_who_is_no_responder_answers_nothing_and_who_is_late_is_told(team: Workspace) -> None:
    with taught(team, TEAM) as (room, _):
        press(team, "jonas")
        assert "not one of the responders" in team.whispers("jonas")[-1]
        press(team, "alice")
        press(team, "bob")
        team.slack.hand("alice", "submit")
        assert Lines(team.house.store).get("o1", waiting(team).name).answer == {}, "a form that says nothing"
        submit(team, "bob", "cut")
        until(lambda: room.choosing.taken, 60)
        refused = submit(team, "alice", "stop-first")
        assert "answered already, by somebody else" in json.dumps(refused) + json.dumps(team.slack.look("alice"))
        team.click("alice", choice_views.CHOOSE, json.loads(value_of("o1", "put:first:0")))
        assert "answered already" in team.whispers("alice")[-1]
        assert [one.id for one in room.choosing.taken["first"].options] == ["cut"]


def test_the_same_form_sent_at_once_by_two_counts_once(team: Workspace) -> None:
    with taught(team, TEAM) as (room, _):
        for user in ("alice", "bob"):
            press(team, user)
        sent = [_submission(team, user, option) for user in ("alice", "bob") for option in ("cut", "stop-first") * 3]
        with ThreadPoolExecutor(6) as pool:
            assert {one.status_code for one in pool.map(team.send, sent)} == {200}
        team.idle()
        until(lambda: room.choosing.taken, 60)
        answers = [one.answer for one in Lines(team.house.store).of("o1") if one.answer]
        assert len(answers) == 1
        assert room.choosing.taken["first"].first.id == answers[0]["option"]


def _submission(work: Workspace, user: str, option: str) -> dict[str, Any]:
    state, person = work.slack.range.state, work.slack.user(user)
    with state.lock:
        view = next(v for v in state.views.values() if v.body.get("callback_id") == choice_views.FORM)
        fields = {choice_views.OPTION: option, choice_views.SURE: "yes"}
        values = {n: {n: {"type": "radio_buttons", "selected_option": {"value": v}}} for n, v in fields.items()}
        return payloads.submission(state, state.people[person], replace(view, values=values))


@pytest.mark.slow
def test_a_restart_of_slacks_side_repeats_nothing_and_a_drill_that_ended_takes_no_answer(team: Workspace) -> None:
    with taught(team, TEAM) as (_, happened):
        name = waiting(team).name
        before = len(told(team))
        anew = Room(team.house, FEATURES)
        try:
            for _ in range(5):
                anew.board.turn()
            assert len(lines_of(team)) == before
        finally:
            anew.close()
        press(team, "alice")
        Orders(team.house.store).change("o1", state=FAILED, note="its company has ended with the worker")
        refused = submit(team, "alice", "hide")
        assert "this drill is over" in json.dumps(refused) + json.dumps(team.slack.look("alice"))
        team.click("bob", choice_views.CHOOSE, json.loads(value_of("o1", name)))
        assert "this drill is over" in team.whispers("bob")[-1]
        until(lambda: (team.room.board.turn(), "Nobody has answered it" in texts(lines_of(team)))[1], 60)
        assert choice_views.CHOOSE not in texts(lines_of(team))
    assert happened == []


def later(work: Workspace, after: timedelta, quiet: Quiet | None = None) -> Threads:
    """Slack's side of drills as it is so much later, started anew."""
    parts = work.room.board.parts
    telling = Telling(posts=parts.posts, wire=parts.wire, places=parts.places)
    called = replace(parts.called, quiet=quiet)
    return Threads(
        store=work.house.store, telling=telling, called=called, now=lambda: datetime.now(UTC) + after, _after=-1.0
    )  # fmt: skip


def reminders(work: Workspace) -> list[Any]:
    return [m for m in lines_of(work) if m.metadata["event_payload"]["what"] == "reminder"]


@pytest.mark.slow
def test_a_question_that_nobody_answers_is_called_out_once_and_not_in_quiet_hours(team: Workspace) -> None:
    begins, ends = ((datetime.now(UTC) + timedelta(hours=k)).time() for k in (-2, 2))
    quiet = Quiet(begins=begins, ends=ends, zone=ZoneInfo("UTC"))
    with taught(team, TEAM) as (room, _):
        waiting(team)
        told(team)
        assert later(team, REMINDED - timedelta(minutes=1)).turn() == 0, "they have time"
        assert later(team, REMINDED, quiet).turn() == 0, "a drill can wait until people are awake"
        assert until(lambda: later(team, timedelta(hours=3), quiet).turn(), 60) == 1, "then they are called"
        for _ in range(3):
            assert later(team, timedelta(hours=3)).turn() == 0, "a restart says nothing twice"
        (said,) = reminders(team)
        assert f"<!subteam^{team.slack.cast['groups']['responders']}>" in said.text
        assert "has waited 3 h" in said.text and DRILL.choices[0].question[:40] in said.text
        assert "4 hours" in texts([said]) and said.thread_ts
        press(team, "alice")
        submit(team, "alice", "cut")
        until(lambda: room.choosing.taken, 60)
        until(lambda: later(team, timedelta(hours=3)).turn() == 0, 60)
        assert len(reminders(team)) == 1, "what was answered calls nobody"


# alone ----------------------------------------------------------------------------------------------------------------


def home(work: Workspace, user: str) -> str:
    work.room.board.turn()
    return json.dumps((work.slack.look(user)["home"] or {}).get("blocks", []), ensure_ascii=False)


@pytest.mark.slow
def test_alone_it_is_asked_at_home_and_nobody_else_answers(team: Workspace) -> None:
    with taught(team, ALONE) as (room, happened):
        waiting(team)
        until(lambda: choice_views.CHOOSE in home(team, "alice"), 60)
        assert "Our log shows a key." in home(team, "alice")
        assert lines_of(team) == [], "nothing of it is said where the team reads"
        press(team, "bob")
        assert "somebody else trains alone here" in team.whispers("bob")[-1]
        press(team, "alice")
        submit(team, "alice", "hide")
        until(lambda: "hide has come of it." in home(team, "alice"), 60)
        assert happened == ["hide"]
        press(team, "alice")
        submit(team, "alice", "cut")
        until(lambda: room.choosing.taken, 60)
        Orders(team.house.store).change("o1", state=OVER)
        until(lambda: "It is over." in home(team, "alice"), 60)
        assert choice_views.ALONE_BUTTON in home(team, "alice")
        team.slack.hand("bob", "home")
        until(lambda: choice_views.ALONE_BUTTON in home(team, "bob"), 60)
        assert "Our log shows a key." not in home(team, "bob")


@pytest.mark.slow
def test_a_drill_alone_is_picked_in_a_form_by_responders_only(team: Workspace) -> None:
    orders = Orders(team.house.store)
    for user, said in (("jonas", "not one of the responders"), ("alice", "")):
        team.click(user, choice_views.ALONE_BUTTON, json.loads(value_of("", "alone")))
        team.slack.hand(user, "fill", action_id=choice_views.NAME, value=DRILL.id)
        refused = team.slack.hand(user, "submit")
        team.idle()
        assert said in json.dumps(refused) + json.dumps(team.slack.look(user))
    (order,) = orders.standing("ordered")
    assert (order.mode, order.drill, order.by) == (ALONE, DRILL.id, f"slack:{team.slack.user('alice')}")
    assert order.channel.startswith("D")
    team.command("bob", f"drill alone {DRILL.id}")
    team.command("bob", f"drill decide {DRILL.id}")
    assert [one.mode for one in orders.standing("ordered")] == [ALONE, ALONE, TEAM]
    for text, why in (("alone gcp-key-in-public-log", "no drill with choices"), ("decide nothing", "there are: ")):
        team.command("bob", f"drill {text}")
        assert why in team.whispers("bob")[-1]


@pytest.mark.slow
def test_nobody_is_waited_for_once_it_is_stopped(team: Workspace) -> None:
    with taught(team, TEAM) as (room, _):
        waiting(team)
        threading.Timer(0.1, room.stop).start()
    assert not room.choosing.taken


# whole ----------------------------------------------------------------------------------------------------------------


def home_in(work: Installed, user: str) -> str:
    return json.dumps((work.slack.look(user)["home"] or {}).get("blocks", []), ensure_ascii=False)


def answer_at_home(work: Installed, user: str, wanted: dict[str, list[str]]) -> None:
    """Answer the question that waits in somebody's home, by what is wanted of each choice in turn."""
    asked = "SELECT name, body FROM drill_line WHERE kind = 'put' AND answer = ''"
    (put,) = until(lambda: work.ask(asked), 120)
    until(lambda: put[0] in home_in(work, user), 60)
    choice = json.loads(put[1])["choice"]
    work.slack.hand(user, "click", home=True, action_id=choice_views.CHOOSE)
    until(lambda: work.slack.look(user)["modals"], 60)
    for action, value in ((choice_views.OPTION, wanted[choice].pop(0)), (choice_views.SURE, "yes")):
        work.slack.hand(user, "fill", action_id=action, value=value)
    work.slack.hand(user, "submit")
    until(lambda: work.ask("SELECT answer FROM drill_line WHERE name = ?", put[0])[0][0], 60)


@pytest.mark.slow
def test_alone_a_whole_drill_goes_wrong_is_put_right_and_scored(slack: Slack, tmp_path: Path) -> None:
    """A harmful answer publishes another version; the drill is contained all the same, by simulated responders."""
    wanted = {"rotated": ["look-elsewhere", "try-the-old"]}
    with installed(slack, tmp_path) as work:
        work.command("alice", "drill alone crates-token-rotated-halfway")
        until(lambda: "is ordered" in work.whispers("alice"), 60)
        while wanted["rotated"]:
            answer_at_home(work, "alice", wanted)
        until(lambda: work.ask("SELECT state FROM drill_order") == [("over",)], 180)
        until(lambda: "Score: " in home_in(work, "alice"), 60)
        said = home_in(work, "alice")
        assert "Some hours later harbor-beacon 2.4.2 is out" in said
        assert "What was really so" in said
        (ended,) = work.ask("SELECT body FROM timeline WHERE kind = 'drill-ended'")
        assert json.loads(ended[0])["contained"], ended
        (scored,) = work.ask("SELECT body FROM timeline WHERE kind = 'drill-scored'")
        assert json.loads(scored[0])["sure_and_wrong"] == 1
        agreed = {by for (by,) in work.ask("SELECT \"by\" FROM decision WHERE kind = 'approve'")}
        assert agreed and all(by.startswith("drill:") for by in agreed)
        assert work.cards("drills") == [], "it is nobody else's"
        work.stop()


@pytest.mark.slow
def test_a_worker_that_dies_in_the_middle_ends_the_drill_and_late_clicks_are_told(slack: Slack, tmp_path: Path) -> None:
    with installed(slack, tmp_path) as work:
        work.command("alice", "drill decide documentation-key-in-log")
        until(lambda: choice_views.CHOOSE in drilled(work), 120)
        work.kill()
        work.start()
        until(lambda: work.ask("SELECT state FROM drill_order") == [("failed",)], 60)
        until(lambda: "Nobody has answered it" in drilled(work), 60)
        until(lambda: "has ended without a result" in work.whispers("alice"), 60)
        # and the next one comes to its end, which is that there is nothing to cut
        work.command("alice", "drill decide documentation-key-in-log")
        for _ in range(len(DRILLS["documentation-key-in-log"].choices)):
            until(lambda: choice_views.CHOOSE in drilled(work), 120)
            name, best = _best(work)
            answer_in_the_channel(work, "bob", name, best)
            until(lambda name=name: choice_views.CHOOSE not in drilled(work) or _best(work)[0] != name, 60)
        until(lambda: "Score: 100 of 100" in drilled(work), 120)
        until(lambda: work.ask("SELECT state FROM drill_order ORDER BY at") == [("failed",), ("over",)], 60)
        assert work.ask("SELECT count(*) FROM incident") == [(0,)]
        work.stop()


def button_of(work: Installed, name: str) -> tuple[str, str] | None:
    """Where the button of a question stands in the channel of drills: its message and its block."""
    state = work.slack.range.state
    with state.lock:
        return next((
            (m.ts, str(b["block_id"])) for c in state.channels.values() if c.name == "drills"
            for m in c.messages.values() for b in m.blocks
            if choice_views.CHOOSE in (said := json.dumps(b)) and name in said
        ), None)  # fmt: skip


def answer_in_the_channel(work: Installed, user: str, name: str, option: str) -> None:
    """Press the button of a question in the channel of drills, and fill in its form."""
    ts, block = until(lambda: button_of(work, name), 60)
    work.slack.hand(user, "click", channel=work.drills, ts=ts, action_id=choice_views.CHOOSE, block_id=block)
    until(lambda: work.slack.look(user)["modals"], 60)
    for action, value in ((choice_views.OPTION, option), (choice_views.SURE, "yes")):
        work.slack.hand(user, "fill", action_id=action, value=value)
    work.slack.hand(user, "submit")


@pytest.mark.slow
def test_a_scheduled_drill_goes_wrong_is_put_right_by_the_team_and_is_scored(slack: Slack, tmp_path: Path) -> None:
    """The clock orders it, people answer and approve; a step of it fails until somebody in its company has acted."""
    wanted = {"whose-account": ["not-ours", "by-the-map"], "who-still-has-it": ["by-itself", "restart"]}
    due = datetime.now(UTC) - timedelta(minutes=30)
    with installed(slack, tmp_path) as work:
        at = f"{DAYS[due.weekday()]} {due:%H:%M}"
        work.command("alice", f"drill schedule weekly {at} aws-key-of-another-account <#{work.drills}>")
        until(lambda: work.ask("SELECT id FROM drill_schedule"), 60)
        assert work.ask("SELECT id FROM drill_order") == [], "the next one is in a week"
        work.ask("UPDATE drill_schedule SET last = ?", iso(due - timedelta(hours=1)))  # as if it had been made before

        def goes_on() -> bool:
            """People do what is asked of them; True once it is over."""
            if name := _waits(work):  # put:CHOICE:TURN
                answer_in_the_channel(work, "bob", name, wanted[name.split(":")[1]].pop(0))
                until(lambda: _waits(work) != name, 60)
            for card in work.cards("drills"):
                for user in ("alice", "bob"):
                    work.press(user, card, "approve", lambda _value: True)
            return work.ask("SELECT state FROM drill_order WHERE state IN ('over', 'failed')") != []

        until(goes_on, 300)
        assert work.ask("SELECT state, note, mode FROM drill_order") == [("over", "", TEAM)], work.log()
        assert wanted == {"whose-account": [], "who-still-has-it": []}
        (ended,) = work.ask("SELECT body FROM timeline WHERE kind = 'drill-ended'")
        assert json.loads(ended[0])["contained"], ended
        (scored,) = work.ask("SELECT body FROM timeline WHERE kind = 'drill-scored'")
        assert json.loads(scored[0])["sure_and_wrong"] == 2
        failed = [json.loads(body)["error"] for (body,) in work.ask("SELECT body FROM timeline WHERE kind = 'failed'")]
        assert any("berths/quay-aws is written by ExternalSecret quay-aws" in error for error in failed), failed
        until(lambda: "Score: " in drilled(work), 60)
        work.stop()


def _waits(work: Installed) -> str:
    """The name of the question that waits; "" for none."""
    rows = work.ask("SELECT name FROM drill_line WHERE kind = 'put' AND answer = ''")
    return str(rows[0][0]) if rows else ""


def drilled(work: Installed) -> str:
    """What stands in the channel of drills."""
    state = work.slack.range.state
    with state.lock:
        found = next(c for c in state.channels.values() if c.name == "drills")
        return json.dumps([m.blocks for m in found.messages.values()], ensure_ascii=False)


def _best(work: Installed) -> tuple[str, str]:
    """The question that waits, and its best answer."""
    rows = work.ask(
        "SELECT l.name, l.body FROM drill_line l JOIN drill_order o ON o.id = l.order_id "
        "WHERE l.kind = 'put' AND l.answer = '' AND o.state = 'running'"
    )
    if not rows:
        return "", ""
    choice = next(c for d in DRILLS.values() for c in d.choices if c.id == json.loads(rows[0][1])["choice"]
                  and c.question == json.loads(rows[0][1])["question"])  # fmt: skip
    return rows[0][0], choice.best.id


@pytest.mark.slow
def test_in_the_company_that_one_can_click_through_a_drill_asks_as_well(tmp_path: Path) -> None:
    with played(tmp_path) as running:

        def shown() -> str:
            return json.dumps((running.look("alice")["home"] or {}).get("blocks", []), ensure_ascii=False)

        name = "crates-token-rotated-halfway"
        running.act("alice", "command", channel="incidents", text=f"/bulkhead drill alone {name}")
        until(lambda: "put:rotated:0" in shown(), 120)
        running.act("alice", "click", home=True, action_id=choice_views.CHOOSE)
        until(lambda: running.look("alice")["modals"], 60)
        for action, value in ((choice_views.OPTION, "try-the-old"), (choice_views.SURE, "yes")):
            running.act("alice", "fill", action_id=action, value=value)
        running.act("alice", "submit")
        until(lambda: "Score: 100 of 100" in shown(), 240)
        running.act("alice", "command", channel="incidents", text=f"/bulkhead drill alone {name}")
        until(lambda: "was played in this company already" in shown(), 60)
