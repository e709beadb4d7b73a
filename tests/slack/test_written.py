"""The post-mortem in Slack: told once under its incident, written by several people, published by who may."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.learn.draft import draft
from bot.learn.edits import FIELDS, fold
from bot.learn.follow_up import follow_up
from bot.learn.postmortem import Standing
from bot.lessons.postmortem import STEP, Postmortems, View
from bot.slack import written_views as views
from bot.slack.kit import value_of
from bot.slack.picture import Picture
from bot.slack.teacher import Teacher
from bot.store_learn import WrittenRow
from tests.incidents import CLOSED, KEY, TRIAGE
from tests.learn.test_edits import E
from tests.learn.test_postmortem import CHECKED, OWNED, STORE
from tests.slack.boards import Stage, what
from tests.slack.strict import check, check_view
from tests.slack.test_quiz import TUESDAY, teaching, turns
from tests.slack.timelines import NASTY, TEXT, pictures
from tests.slack.workspace import INCIDENT, Workspace
from tests.slack_range import Slack, until

HERE = {"i": INCIDENT}


def over(work: Workspace, by: str = "jonas") -> Postmortems:
    """The made-up incident, closed, its post-mortem begun."""
    work.incident(*CLOSED[3:], by=by)
    work.house.postmortems.begin(INCIDENT)
    return work.house.postmortems


def submit(work: Workspace, user: str, **fields: str) -> dict[str, Any]:
    """Fill in the form on top, whose fields of words carry the number of the last edit that it shows, and send it."""
    view = form(work, user)
    assert view is not None
    ids = {block["element"]["action_id"].partition(":")[0]: block["element"]["action_id"]
           for block in view["blocks"] if block["type"] == "input"}  # fmt: skip
    for name, value in fields.items():
        work.slack.hand(user, "fill", action_id=ids[name], value=value)
    shown = work.slack.hand(user, "submit")
    work.idle()
    return shown


def form(work: Workspace, user: str) -> dict[str, Any] | None:
    stack = work.slack.look(user)["modals"]
    return dict(stack[-1]) if stack else None


# every payload -------------------------------------------------------------------------------------------------------

STATES = st.sampled_from(["open", "done", "reopened"])
STANDING = st.builds(
    lambda title, owner, state, detail, checked: Standing(
        what=replace(CHECKED if checked else OWNED, title=title[:150] or "x", owner=owner), state=state, detail=detail,
        url="https://github.com/o/r/issues/1",
    ),
    TEXT, st.sampled_from(["ann", "slack:U0ALICE", "", "<@U0EVIL>"]), STATES, TEXT, st.booleans(),
)  # fmt: skip


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(pictures(), st.lists(STANDING, max_size=14), st.lists(st.sampled_from(NASTY), max_size=6), st.booleans())
def test_slack_takes_every_message_and_form(
    drawn: Picture, standing: list[Standing], said: list[str], published: bool
) -> None:
    standing = [replace(one, what=replace(one.what, id=f"f{k}")) for k, one in enumerate(standing)]
    names = [*FIELDS] * 2
    edits = [E(n, text[:3000], field=names[n], by=f"slack:U0{n}") for n, text in enumerate(said, 1)]
    begun = WrittenRow(incident="i", drafted_at="2026-03-01T12:00:00.000000Z",
                       published_at="2026-03-02T12:00:00.000000Z" if published else "",
                       published_by="slack:U0BOB")  # fmt: skip
    view = View(
        row=drawn.row, events=drawn.events, draft=draft(drawn.row.id, drawn.row.title, drawn.row.world, drawn.events),
        written=fold(edits), follow_ups=standing, begun=begun,
    )  # fmt: skip
    check(views.message(view, "https://b.example").blocks)
    for which in (views.WRITE, views.CORRECT):
        check_view(views.words(view, which, "{}", beside=True))
    for one in [None, *(each.what for each in standing[:3])]:
        check_view(views.follow_up(view, one, "{}"))
    check([{"type": "section", "text": {"type": "mrkdwn", "text": views.nudge(view, ["<@U0A>"]), "verbatim": True}}])
    for late in standing[:3]:
        text = views.overdue(view, replace(late, what=replace(late.what, due="2026-03-01")), "<@U0A>", TUESDAY)
        check([{"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}])


# writing -------------------------------------------------------------------------------------------------------------


def test_two_people_have_the_same_form_open_and_no_word_is_lost(work: Workspace) -> None:
    books = over(work)
    for user in ("alice", "bob"):
        work.click(user, views.WRITE, HERE)
    assert submit(work, "alice", lucky="the thief slept", durable_fix="OIDC since today")["ok"]
    assert form(work, "alice") is None
    submit(work, "bob", lucky="it was a Sunday")
    shown = form(work, "bob")
    assert shown is not None and "Somebody else wrote here while you did" in json.dumps(shown["blocks"])
    assert "the thief slept\\nit was a Sunday" in json.dumps(shown["blocks"]), "both stand in the field now"
    view = books.view(INCIDENT)
    assert set(view.written.conflicts) == {"lucky"}, "what bob had not touched is alice's"
    assert view.field("durable_fix") == "OIDC since today"
    assert submit(work, "bob", lucky="It was a Sunday, and the thief slept")["ok"]
    view = books.view(INCIDENT)
    assert view.written.conflicts == {} and view.field("lucky") == "It was a Sunday, and the thief slept"
    alice, bob = (f"slack:{work.slack.user(name)}" for name in ("alice", "bob"))
    assert set(view.written.authors) == {alice, bob} and view.field("durable_fix") == "OIDC since today"


def test_the_draft_can_be_corrected_and_an_untouched_form_changes_nothing(work: Workspace) -> None:
    books = over(work)
    work.click("alice", views.CORRECT, HERE)
    before = books.view(INCIDENT).written
    assert submit(work, "alice")["ok"]
    assert books.view(INCIDENT).written == before
    work.click("alice", views.CORRECT, HERE)
    submit(work, "alice", summary="In our own words")
    assert books.view(INCIDENT).field("summary") == "In our own words"


def test_who_is_no_responder_writes_nothing_but_who_reported_does(work: Workspace) -> None:
    books = over(work, by=f"slack:{work.slack.user('jonas')}")
    for action in (views.WRITE, views.CORRECT, views.ADD, views.CHANGE, views.SAY_DONE, views.PUBLISH):
        work.click("mara", action, HERE | {"s": "migration"})
        assert form(work, "mara") is None
        said = work.whispers("mara")[-1]
        assert "not one of the responders" in said or "cannot be published" in said
    work.click("jonas", views.WRITE, HERE)
    submit(work, "jonas", lucky="I looked by chance")
    assert books.view(INCIDENT).field("lucky") == "I looked by chance"


def test_a_secret_that_is_typed_into_a_form_is_kept_nowhere(work: Workspace) -> None:
    books = over(work)
    value = "npm_" + "a1B2" * 9
    work.click("alice", views.WRITE, HERE)
    submit(work, "alice", lucky=f"it was {value}")
    assert value not in books.view(INCIDENT).field("lucky") and "[secret hmac:" in books.view(INCIDENT).field("lucky")


# follow-ups ----------------------------------------------------------------------------------------------------------


def test_a_follow_up_has_owner_date_and_a_check_from_what_triage_found(work: Workspace) -> None:
    books = over(work)
    work.click("alice", views.ADD, HERE)
    submit(work, "alice", title="Delete the secret", owner=work.slack.user("bob"), due="2026-12-01", check="0")
    view = books.view(INCIDENT)
    (one,) = [each.what for each in view.follow_ups if each.what.id != "migration"]
    assert (one.title, one.owner, one.due) == ("Delete the secret", f"slack:{work.slack.user('bob')}", "2026-12-01")
    assert one.check == f"key-dead {KEY}" and one.worth == "remove"
    work.click("bob", views.CHANGE, json.loads(value_of(INCIDENT, one.id)))
    submit(work, "bob", title="Delete it", due="2026-12-02")
    changed = next(each.what for each in books.view(INCIDENT).follow_ups if each.what.id == one.id)
    assert changed == replace(one, title="Delete it", due="2026-12-02", rung=changed.rung)
    work.click("alice", views.ADD, HERE)
    submit(work, "alice", title="Tell people", rung="train")
    plain = next(each for each in books.view(INCIDENT).follow_ups if each.what.title == "Tell people")
    work.click("carol", views.SAY_DONE, json.loads(value_of(INCIDENT, plain.what.id)))
    assert next(e for e in books.view(INCIDENT).follow_ups if e.what.id == plain.what.id).state == "done"


def test_it_is_published_by_a_click_which_is_attested_and_counts_once(work: Workspace) -> None:
    books = over(work)
    work.click("alice", views.PUBLISH, HERE)
    assert "cannot be published yet" in work.whispers("alice")[-1]
    books.edit(INCIDENT, {"durable_fix": "OIDC", "lucky": "x"}, by="ann", key="k1")
    books.follow(INCIDENT, OWNED, by="ann", key="k2")
    for _ in range(3):
        work.click("alice", views.PUBLISH, HERE)
    (order,) = work.house.store.decisions()
    assert (order.kind, order.step, order.by) == ("follow-up", STEP, f"slack:{work.slack.user('alice')}")
    assert work.house.desk.stands(order), "it holds before the worker"
    assert work.events("postmortem")[-1]["state"] == "published"
    assert "was published" in work.whispers("alice")[-1]
    work.click("bob", views.WRITE, HERE)
    assert "stays as it is" in work.whispers("bob")[-1]


# the message under the incident --------------------------------------------------------------------------------------


def told(stage: Stage) -> list[dict[str, Any]]:
    """The messages of a post-mortem and what calls people to it; a bad incident has a channel of its own."""
    return [m for m in stage.thread(ID) if what(m) in ("post-mortem", "nudge")]


def over_in_slack(stage: Stage, teacher: Teacher) -> None:
    """An incident that is over, told to its end, its post-mortem begun."""
    stage.open()
    stage.grow(STORY_WHOLE)
    with stage.store.begin() as c:
        c.exec_driver_sql("UPDATE incident SET status = 'closed'")
    stage.settle(stage.board())
    teacher.postmortems.begin(ID)
    stage.settle(stage.board())


STORY_WHOLE = [(s, k, TRIAGE | {"stores": [STORE]} if k == "triage" else b) for s, k, b in CLOSED]
ID = INCIDENT


def test_it_is_told_once_kept_in_step_and_never_at_night(slack: Slack, tmp_path: Path) -> None:
    night = datetime.now(UTC).replace(hour=23, minute=0) + timedelta(days=1)
    with teaching(slack, tmp_path, night) as (stage, teacher):
        one = teacher()
        over_in_slack(stage, one)
        turns(stage, one)
        assert told(stage) == [], "it can wait until the morning"
        stage.hands.at = night + timedelta(hours=11)
        turns(stage, one, teacher())
        (message,) = told(stage)
        assert "The durable fix is not written" in json.dumps(message["blocks"])
        books = one.postmortems
        books.edit(ID, {"durable_fix": "OIDC"}, by="slack:U0ALICE", key="k1")
        books.follow(ID, OWNED, by="ann", key="k2")
        turns(stage, teacher())
        (message,) = told(stage)
        shown = json.dumps(message["blocks"])
        assert "Nothing is missing" in shown and '"pm-publish"' in shown and "Take the key out" in shown
        calls = len(stage.slack.switchboard.requests())
        turns(stage, one, many=6)
        said = [r for r in stage.slack.switchboard.requests()[calls:] if "chat." in r["route"]]
        assert said == [], "what stands is not said again"


def test_reminders_come_after_one_three_and_five_days(slack: Slack, tmp_path: Path) -> None:
    start = datetime.now(UTC).replace(hour=11, minute=0) + timedelta(days=1)
    with teaching(slack, tmp_path, start) as (stage, teacher):
        one = teacher()
        over_in_slack(stage, one)
        turns(stage, one)
        counts = []
        for day in (0.5, 1.1, 2, 3.1, 4, 5.1, 9):
            stage.hands.at = start + timedelta(days=day, hours=-12 * (day == 0.5))
            turns(stage, teacher(), teacher())
            counts.append(len(told(stage)) - 1)
        assert counts[0] == 0 and counts[-1] == 3 and sorted(counts) == counts
        texts = [m["text"] for m in told(stage)[1:]]
        assert all("waits:" in text and "durable fix" in text for text in texts)


def test_after_an_outage_only_the_latest_reminder_is_made(slack: Slack, tmp_path: Path) -> None:
    start = datetime.now(UTC).replace(hour=11, minute=0) + timedelta(days=1)
    with teaching(slack, tmp_path, start) as (stage, teacher):
        one = teacher()
        over_in_slack(stage, one)
        turns(stage, one)
        stage.hands.at = start + timedelta(days=6)
        turns(stage, teacher())
        assert len(told(stage)) == 2


def test_whoever_is_late_is_called_once_a_week(slack: Slack, tmp_path: Path) -> None:
    start = datetime.now(UTC).replace(hour=11, minute=0) + timedelta(days=1)
    with teaching(slack, tmp_path, start) as (stage, teacher):
        one = teacher()
        over_in_slack(stage, one)
        late = follow_up("a1", title="Take it out", owner="alice", due=f"{start - timedelta(days=30):%Y-%m-%d}")
        one.postmortems.follow(ID, late, by="ann", key="k1")
        turns(stage, one, teacher())
        turns(stage, teacher())
        (call,) = [m for m in told(stage) if "days late" in m["text"]]
        assert f"<@{slack.user('alice')}>" in json.dumps(call["blocks"])
        stage.hands.pass_time(7 * 86_400)
        turns(stage, teacher())
        assert len([m for m in told(stage) if "days late" in m["text"]]) == 2
        one.postmortems.done(ID, "a1", by="alice")
        stage.hands.pass_time(7 * 86_400)
        turns(stage, teacher())
        assert len([m for m in told(stage) if "days late" in m["text"]]) == 2


def test_a_follow_up_that_is_reopened_is_told_in_the_thread(slack: Slack, tmp_path: Path) -> None:
    start = datetime.now(UTC).replace(hour=11, minute=0) + timedelta(days=1)
    with teaching(slack, tmp_path, start) as (stage, teacher):
        one = teacher()
        over_in_slack(stage, one)
        files = stage.files(ID)
        books = one.postmortems
        books.follow(ID, CHECKED, by="ann", key="k1")
        for state, detail in (("done", "is gone"), ("reopened", "old secret still exists")):
            books.stand(books.view(ID), CHECKED, state, detail, "2026-03-05T12:00:00.000000Z")
            stage.settle(stage.board())
        thread = json.dumps([m["blocks"] for m in stage.thread(ID)])
        assert "is reopened" in thread and "old secret still exists" in thread
        assert stage.files(ID) == files


def test_the_homes_of_people_have_the_quiz(work: Workspace) -> None:
    work.slack.hand("alice", "home")
    work.idle()
    until(lambda: work.room.board.turn() or "Check yourself" in json.dumps(work.slack.look("alice")["home"]))
    assert "One a week, please" in json.dumps(work.slack.look("alice")["home"])
    work.click("alice", "quiz-weekly", {"i": "on"})
    until(lambda: work.room.board.turn() or "Once a week: stop" in json.dumps(work.slack.look("alice")["home"]))
