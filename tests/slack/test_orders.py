"""What nobody had asked for, ordered in Slack: an undo, a waiver, an abort, one word for two; and who is refused."""

from __future__ import annotations

from typing import Any

from bot.engine.decisions import GLASS, reviews_due
from bot.slack import orders
from bot.timeline import load
from tests.incidents import OUTCOME, ROW
from tests.slack.test_decisions import STEP, last, modal, rows, submit
from tests.slack.test_door import ASKING, DONE
from tests.slack.workspace import INCIDENT, PLAN_OF_TWO, Workspace, asked

IT = {"i": INCIDENT}
TWO = {"i": INCIDENT, "s": "two", "p": PLAN_OF_TWO}
ALONE = {"i": INCIDENT, "s": "alone", "a": "1"}
LATE = "2026-03-02T00:00:00.000000Z"


def error(work: Workspace, user: str) -> str:
    """What the form on top says is wrong."""
    (said,) = work.slack.look(user)["modals"][-1]["errors"].values()
    return str(said)


def end(work: Workspace, kind: str = "closed", body: dict[str, Any] | None = None) -> None:
    """The incident is over, as its own run says."""
    work.house.timeline.append(INCIDENT, "incident", kind, body or {"ledger": [], "failed": []}, at=LATE).result()


# an undo --------------------------------------------------------------------------------------------------------------


def test_an_undo_is_ordered_with_a_reason(work: Workspace) -> None:
    work.incident(*DONE)
    work.click("alice", "undo", STEP)
    assert submit(work, "alice", reason="it was the wrong key")["ok"]
    (row,) = work.house.store.decisions()
    assert (row.kind, row.step, row.body["reason"]) == ("undo", "deactivate", "it was the wrong key")
    assert work.house.desk.stands(row)
    work.click("jonas", "undo", STEP)
    submit(work, "jonas", reason="please")
    (error,) = work.slack.look("jonas")["modals"][-1]["errors"].values()
    assert "not one of the responders" in error


def test_nothing_is_undone_that_was_not_done(work: Workspace) -> None:
    work.incident(*ASKING)
    work.click("alice", "undo", STEP)
    submit(work, "alice", reason="why not")
    (error,) = work.slack.look("alice")["modals"][-1]["errors"].values()
    assert "has not been done" in error
    work.house.timeline.append(INCIDENT, "deactivate", "outcome", OUTCOME, at="2026-03-02T00:00:00.000000Z").result()
    assert submit(work, "alice")["ok"]


# a waiver -------------------------------------------------------------------------------------------------------------


def test_a_row_is_waived_after_it_was_named_again_with_a_reason_and_a_name(work: Workspace) -> None:
    work.incident(*ASKING)
    work.click("alice", "waive", IT)
    shown = modal(work, "alice")
    assert shown is not None
    assert ROW in str(shown["blocks"]), "the only row that is open is asked about at once"
    assert "nobody has proven that it is dead" in str(shown["blocks"])
    assert submit(work, "alice", reason="it was a key of the test account")["ok"]
    (row,) = work.house.store.decisions()
    assert (row.kind, row.step, row.body["reason"]) == ("waive", ROW, "it was a key of the test account")
    assert work.house.desk.stands(row), "the worker counts it"
    assert ROW in last(work, "alice")


def test_of_several_rows_one_is_chosen_and_the_form_goes_on_with_it(work: Workspace) -> None:
    work.incident(*ASKING)
    other = "oidc-role:deploy"
    child = {"row": other, "incident": "inc-2"}
    work.house.timeline.append(INCIDENT, "beside#0", "child", child, at=LATE).result()
    left = orders.open_rows(load(work.house.store, INCIDENT))
    assert {one.key for one in left} >= {ROW, other}
    work.click("alice", "waive", IT)
    shown = modal(work, "alice")
    assert shown is not None
    assert shown["submit"] is None, "nothing counts before a row is chosen"
    work.slack.hand("alice", "click", action_id=orders.ROW, value=orders.named(other))
    work.idle()
    shown = modal(work, "alice")
    assert shown is not None
    assert other in str(shown["blocks"])
    assert submit(work, "alice", reason="no such role")["ok"]
    (row,) = work.house.store.decisions()
    assert (row.kind, row.step) == ("waive", other)


def test_who_is_no_responder_gets_no_form_and_who_was_one_is_refused_when_it_is_sent(work: Workspace) -> None:
    work.incident(*ASKING)
    for action in ("waive", "abort"):
        work.click("jonas", action, IT)
        assert "not one of the responders" in last(work, "jonas")
        assert modal(work, "jonas") is None
        work.click("carol", action, IT)
        assert modal(work, "carol") is not None
        state, group = work.slack.range.state, work.slack.cast["groups"]["responders"]
        work.room.groups._known.clear()
        with state.lock:
            state.groups[group].users.remove(work.slack.user("carol"))
        submit(work, "carol", reason="let me")
        assert "not one of the responders" in error(work, "carol")
        with state.lock:
            state.groups[group].users.append(work.slack.user("carol"))
        work.room.groups._known.clear()
        work.slack.hand("carol", "close")
    assert rows(work) == []


def test_a_row_that_is_settled_meanwhile_and_an_incident_that_is_over_are_answered(work: Workspace) -> None:
    work.incident(*ASKING)
    work.click("alice", "waive", IT)
    work.click("bob", "abort", IT)
    body = {"row": ROW, "by": "ann", "reason": "hers"}
    work.house.timeline.append(INCIDENT, f"row:{ROW}", "waived", body, at=LATE).result()
    submit(work, "alice", reason="mine")
    assert "settled by now" in error(work, "alice")
    work.click("carol", "waive", IT)
    assert "no row is open any more" in last(work, "carol")
    end(work)
    submit(work, "bob", reason="stop it")
    assert "is over already" in error(work, "bob")
    for action in ("waive", "abort"):
        work.click("carol", action, IT)
        assert "is over already" in last(work, "carol")
    assert rows(work) == []


# an abort -------------------------------------------------------------------------------------------------------------


def test_an_abort_has_a_reason_and_is_one_however_often_it_is_sent(work: Workspace) -> None:
    work.incident(*ASKING)
    for _ in range(2):
        work.click("carol", "abort", IT)
        shown = modal(work, "carol")
        assert shown is not None
        assert "1 of its credentials are not proven dead" in str(shown["blocks"])
        assert submit(work, "carol", reason="a false alarm")["ok"]
    (row,) = work.house.store.decisions()
    assert (row.kind, row.step, row.body["reason"]) == ("abort", "incident", "a false alarm")
    assert work.house.desk.stands(row)
    assert "was on record already" in last(work, "carol")


# break-glass ----------------------------------------------------------------------------------------------------------


def test_one_persons_word_for_two_with_a_reason_and_only_of_those_who_may(work: Workspace) -> None:
    work.incident(*ASKING)
    for stranger in ("carol", "jonas"):  # a responder who is no approver, and nobody
        work.click(stranger, GLASS, TWO)
        assert "not one of those who may decide" in last(work, stranger)
    work.click("alice", GLASS, TWO)
    submit(work, "alice", reason=" ")
    assert "reason" in error(work, "alice")
    assert submit(work, "alice", reason="nobody else is awake")["ok"]
    (row,) = work.house.store.decisions()
    said = (row.kind, row.step, row.plan_hash, row.body["reason"])
    assert said == (GLASS, "two", PLAN_OF_TWO, "nobody else is awake")
    assert work.house.attest(row) == ""
    assert "somebody else reviews it within a day" in last(work, "alice")
    work.click("alice", GLASS, TWO)
    assert submit(work, "alice", reason="nobody else is awake")["ok"]
    assert len(work.house.store.decisions()) == 1


def test_the_glass_stays_whole_for_another_plan_where_one_decides_for_who_reported_and_twice_an_hour(
    work: Workspace,
) -> None:
    work.incident(*ASKING, by="slack:" + work.slack.user("bob"))
    refused = [
        ("alice", TWO | {"p": "9" * 16}, "the plan of two has changed"),
        ("alice", STEP, "so there is no glass to break"), ("bob", TWO, "reported this incident"),
    ]  # fmt: skip
    for user, value, why in refused:
        work.click(user, GLASS, value)
        submit(work, user, reason="I am alone")
        assert why in error(work, user)
        work.slack.hand(user, "close")
    work.click("alice", GLASS, TWO)
    assert submit(work, "alice", reason="I am alone")["ok"]
    other = "inc-2026-03-01-00000002"
    work.incident(("two", "asked", asked(needs=2, group="two", plan_hash="7" * 16)), incident=other)
    work.click("alice", GLASS, {"i": other, "s": "two", "p": "7" * 16})
    submit(work, "alice", reason="again")
    assert "and may again at" in error(work, "alice")
    work.click("alice", GLASS, {"i": other, "s": "nothing"})
    assert "waits for nobody" in last(work, "alice")
    assert rows(work) == [(GLASS, "alice")]


def test_another_person_reviews_it_once_also_when_the_incident_is_over(work: Workspace) -> None:
    hers = {"by": "slack:" + work.slack.user("alice"), "reason": "I was alone", "plan_hash": "4" * 16,
            "review_by": "2999-01-01T00:00:00.000000Z"}  # fmt: skip
    work.incident(*ASKING, ("hers", GLASS, hers))
    end(work)
    work.click("alice", "review", ALONE | {"s": "hers"})
    assert "somebody else reviews it" in last(work, "alice")
    work.click("carol", "review", ALONE)
    assert "not one of those who may review" in last(work, "carol")
    for user in ("alice", "bob"):
        work.click(user, "review", ALONE)
    shown = modal(work, "bob")
    assert shown is not None
    assert "nobody was awake" in str(shown["blocks"])
    assert submit(work, "bob", found="it was right")["ok"]
    (event,) = work.events("reviewed")
    assert event == {"by": "slack:" + work.slack.user("bob"), "of": "ann", "text": "it was right"}
    assert rows(work) == [("review", "bob")]
    assert [due.step for due in reviews_due(load(work.house.store, INCIDENT))] == ["hers"]
    submit(work, "alice", found="I too")
    assert f"reviewed already by <@{work.slack.user('bob')}>" in error(work, "alice")
    work.click("bob", "review", ALONE)
    assert "was reviewed already" in last(work, "bob")
