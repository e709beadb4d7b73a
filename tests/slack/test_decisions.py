"""Buttons and forms that decide: who may, what counts, what everybody else is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bot.signing import GROUPS
from tests.incidents import DECIDED
from tests.slack import deliveries
from tests.slack.test_door import ASKING, QUESTION
from tests.slack.workspace import INCIDENT, PLAN, Workspace, asked, moved_in
from tests.slack_range import Slack, until

STEP = {"i": INCIDENT, "s": "deactivate", "p": PLAN}


def rows(work: Workspace) -> list[tuple[str, str]]:
    """The decisions: kind, and the name of the cast."""
    names = {f"slack:{one['id']}": name for name, one in work.slack.cast["users"].items()}
    return [(row.kind, names[row.by]) for row in work.house.store.decisions()]


def last(work: Workspace, user: str) -> str:
    return work.whispers(user)[-1]


def submit(work: Workspace, user: str, **fields: str) -> dict[str, Any]:
    """Fill in the form on top and submit it."""
    for action, value in fields.items():
        work.slack.hand(user, "fill", action_id=action, value=value)
    shown = work.slack.hand(user, "submit")
    work.idle()
    return shown


def modal(work: Workspace, user: str) -> dict[str, Any] | None:
    """The form that somebody has open."""
    stack = work.slack.look(user)["modals"]
    return dict(stack[-1]) if stack else None


# approve and deny -----------------------------------------------------------------------------------------------------


def test_an_approval_names_the_groups_of_its_person_and_holds_before_the_worker(work: Workspace) -> None:
    work.incident(*ASKING)
    work.click("alice", "approve", STEP)
    (row,) = work.house.store.decisions()
    groups = work.slack.cast["groups"]
    assert set(row.body[GROUPS]) == {groups["responders"], groups["approvers"]}
    assert (row.kind, row.step, row.plan_hash, row.incident) == ("approve", "deactivate", PLAN, INCIDENT)
    assert work.house.attest(row) == ""
    assert work.house.desk.stands(row)
    assert "is on record" in last(work, "alice")


def test_who_is_in_no_group_is_told_so_and_counts_for_nothing(work: Workspace) -> None:
    work.incident(*ASKING)
    for action in ("approve", "deny", "not-me", "claim"):
        work.click("jonas", action, STEP)
        assert "not one of the responders" in last(work, "jonas")
    assert rows(work) == []
    assert work.events("not-me") + work.events("role") == []


def test_membership_is_asked_when_somebody_clicks(work: Workspace) -> None:
    work.incident(*ASKING)
    state, group = work.slack.range.state, work.slack.cast["groups"]["responders"]
    work.room.groups._now = lambda: 0.0  # a moment that does not pass: what was heard is still fresh
    work.click("jonas", "approve", STEP)
    with state.lock:
        state.groups[group].users.append(work.slack.user("jonas"))
    work.click("jonas", "approve", STEP)
    assert rows(work) == []
    work.room.groups._now = lambda: 8.1  # two groups
    work.click("jonas", "approve", STEP)
    assert rows(work) == [("approve", "jonas")]


def test_the_same_click_again_and_a_second_one_are_one_approval(work: Workspace) -> None:
    work.incident(*ASKING)
    for _ in range(3):
        work.click("alice", "approve", STEP)
    assert rows(work) == [("approve", "alice")]
    assert "was on record already" in last(work, "alice")


def test_another_plan_a_late_click_and_one_on_nothing_are_answered(work: Workspace) -> None:
    work.incident(*ASKING)
    work.click("alice", "approve", STEP | {"p": "0" * 16})
    assert "the plan of deactivate has changed" in last(work, "alice")
    work.click("alice", "approve", STEP | {"s": "nothing"})
    assert "does not wait for a decision" in last(work, "alice")
    work.click("alice", "approve", STEP | {"i": "inc-none"})
    assert "there is no incident" in last(work, "alice")
    work.click("alice", "approve", {})
    assert "there is no incident" in last(work, "alice")
    for step, kind, body in (("deactivate", "decided", DECIDED | {"by": ["slack:" + work.slack.user("bob")]}),):
        work.house.timeline.append(INCIDENT, step, kind, body, at="2026-03-02T00:00:00.000000Z").result()
    work.click("alice", "deny", STEP)
    assert f"decided already: approved by <@{work.slack.user('bob')}>" in last(work, "alice")
    assert rows(work) == []


def test_an_ask_whose_time_is_over_is_late(work: Workspace) -> None:
    work.incident(("deactivate", "asked", asked(expires_at="2026-01-01T00:00:00.000000Z", on_silence="act")))
    work.click("alice", "approve", STEP)
    assert "the time to decide on deactivate ended" in last(work, "alice")


def test_where_two_must_agree_it_takes_two_approvers_and_not_who_reported(work: Workspace) -> None:
    work.incident(("deactivate", "asked", asked(needs=2, group="two")), by="slack:" + work.slack.user("bob"))
    work.click("carol", "approve", STEP)
    assert "not one of the responders" in last(work, "carol"), "a responder who is no approver"
    work.click("bob", "approve", STEP)
    assert "reported this incident" in last(work, "bob")
    work.click("alice", "approve", STEP)
    assert "2 different people must agree" in last(work, "alice")
    work.click("bob", "deny", STEP)
    assert rows(work) == [("approve", "alice"), ("deny", "bob")], "to say no, nobody is excluded"


def test_a_person_with_a_name_elsewhere_is_one_person(slack: Slack, tmp_path: Path) -> None:
    with moved_in(slack, tmp_path, slack_people=f"jon={slack.user('alice')}") as work:
        work.incident(("deactivate", "asked", asked(needs=2, group="two")), by="jon")
        work.click("alice", "approve", STEP)
        assert "reported this incident" in last(work, "alice")


def test_slack_that_does_not_say_who_is_in_the_group_loses_no_click(work: Workspace) -> None:
    work.incident(*ASKING)
    fault = {"server": "slack", "route": "/api/usergroups.users.list", "status": 500, "times": 50}
    work.slack.switchboard.add([fault])
    work.send(work.button("alice", "approve", STEP))
    until(lambda: [row.tries for row in work.room.deliveries.waiting()] == [1])
    assert rows(work) == []
    work.slack.switchboard.clear_faults()
    (row,) = work.room.deliveries.waiting()
    work.room.work_again(row)
    work.idle()
    work.room.work_again(row)
    assert rows(work) == [("approve", "alice")]
    assert any("I try again by myself" in text for text in work.whispers("alice"))


def test_not_me_stands_on_the_timeline_and_decides_nothing(work: Workspace) -> None:
    work.incident(*ASKING)
    work.click("carol", "not-me", STEP)
    assert work.events("not-me") == [{"by": "slack:" + work.slack.user("carol"), "of": "deactivate"}]
    assert rows(work) == []
    work.click("carol", "not-me", STEP | {"s": "other"})
    assert "waits for nobody" in last(work, "carol")


# an answer ------------------------------------------------------------------------------------------------------------


def test_an_answer_is_given_in_a_form(work: Workspace) -> None:
    work.incident(*ASKING)
    work.click("alice", "answer", STEP | {"s": "tell"})
    shown = modal(work, "alice")
    assert shown is not None
    assert shown["callback_id"] == "answer_form"
    submit(work, "alice")
    (error,) = work.slack.look("alice")["modals"][-1]["errors"].values()
    assert "Say something" in error
    assert submit(work, "alice", answer_text="the laptop is off & <gone>")["ok"]
    assert modal(work, "alice") is None
    (row,) = work.house.store.decisions()
    assert (row.kind, row.step, row.body["text"]) == ("answer", "tell", "the laptop is off & <gone>")


def test_a_new_secret_goes_from_its_field_into_the_vault_and_nowhere_else(work: Workspace) -> None:
    for n, fields in enumerate(({"answer_secret": deliveries.SECRET}, {"answer_text": "npm_" + "a1B2" * 9})):
        name = f"inc-2026-03-01-0000000{n}"
        work.incident(*ASKING, incident=name)
        work.click("alice", "answer", {"i": name, "s": "tell"})
        submit(work, "alice", **fields)
        row = work.house.store.decisions(name)[-1]
        assert row.body["text"].startswith(f"vault:{name}:answer:tell:")
        opened = work.house.vault.open(row.body["text"])
        assert opened is not None
        assert opened.reveal() in fields.values()
    with work.house.store.connect() as c:
        held = "SELECT ref FROM vault WHERE sealed IS NOT NULL AND owner LIKE 'slack-delivery:%'"
        left = c.exec_driver_sql(held).fetchall()
    assert left == [], "what the deliveries brought is forgotten with them"


def test_a_question_that_is_settled_asks_nobody(work: Workspace) -> None:
    work.incident(*ASKING, ("tell", "decided", DECIDED))
    work.click("alice", "answer", STEP | {"s": "tell"})
    assert "waits for no answer" in last(work, "alice")
    assert modal(work, "alice") is None


def test_an_answer_of_somebody_who_may_not_is_refused_in_the_form(work: Workspace) -> None:
    question = asked(purpose="answer", what="Well?", plan_hash="f" * 16)
    work.incident(("tell", "look", QUESTION), ("tell", "asked", question))
    work.click("jonas", "answer", STEP | {"s": "tell"})
    submit(work, "jonas", answer_text="me, me")
    (error,) = work.slack.look("jonas")["modals"][-1]["errors"].values()
    assert "not one of the responders" in error
    assert rows(work) == []


# who leads, how bad it is, was it you ---------------------------------------------------------------------------------


def test_claim_and_hand_over(work: Workspace) -> None:
    alice, bob = ("slack:" + work.slack.user(name) for name in ("alice", "bob"))
    work.incident()
    work.click("alice", "claim", {"i": INCIDENT})
    assert work.events("role") == [{"role": "lead", "who": alice, "by": alice}]
    work.click("alice", "hand-over", {"i": INCIDENT})
    submit(work, "alice", who=work.slack.user("jonas"))
    (error,) = work.slack.look("alice")["modals"][-1]["errors"].values()
    assert "not one of the responders" in error
    submit(work, "alice", who=work.slack.user("bob"))
    assert work.events("role")[-1] == {"role": "lead", "who": bob, "by": alice}


def test_a_person_sets_the_severity(work: Workspace) -> None:
    work.incident()
    work.click("jonas", "severity", {"i": INCIDENT})
    assert modal(work, "jonas") is None
    work.click("carol", "severity", {"i": INCIDENT})
    submit(work, "carol", level="low", why="a toy account")
    said = {"level": "low", "by": "slack:" + work.slack.user("carol"), "reason": "a toy account"}
    assert work.events("severity")[-1] == said


def test_slack_that_takes_no_more_words_keeps_nobody_waiting(work: Workspace) -> None:
    """Its limit is said to last an hour: what somebody has decided is done, though they cannot be told so."""
    work.incident()
    limit = {"server": "slack", "status": 429, "code": "ratelimited", "headers": {"retry-after": "3600"}, "times": 0}
    work.slack.switchboard.add([limit | {"route": f"/api/chat.{name}"} for name in ("postEphemeral", "postMessage")])
    work.click("carol", "severity", {"i": INCIDENT})
    submit(work, "carol", level="low", why="a toy account")
    assert work.events("severity")[-1]["level"] == "low"
    button = work.button("carol", "claim", {"i": INCIDENT})
    work.send(button | {"response_url": ""})
    work.idle()
    assert [body["who"] for body in work.events("role")] == ["slack:" + work.slack.user("carol")]


def test_a_form_is_done_while_its_words_are_still_on_their_way(work: Workspace) -> None:
    work.incident()
    work.click("carol", "severity", {"i": INCIDENT})
    work.slack.switchboard.add([{"server": "slack", "route": "/api/chat.postEphemeral", "delay_s": 3, "times": 1}])
    work.slack.hand("carol", "fill", action_id="level", value="low")
    work.slack.hand("carol", "fill", action_id="why", value="a toy account")
    work.slack.hand("carol", "submit")
    until(lambda: not work.room.deliveries.waiting())
    assert work.room.asides, "the thread that Slack waits for has gone on"
    work.idle()
    assert "is low now" in last(work, "carol")


def test_whoever_was_asked_says_whether_it_was_them(work: Workspace) -> None:
    work.incident()
    mara = work.slack.user("mara")
    work.click("jonas", "was-me-yes", {"i": INCIDENT, "u": mara})
    assert work.events("owner-answer") == []
    work.click("mara", "was-me-no", {"i": INCIDENT, "u": mara})
    work.click("alice", "was-me-yes", {"i": INCIDENT, "u": mara})
    people = [(one["said"], one["by"]) for one in work.events("owner-answer")]
    assert people == [("no", f"slack:{mara}"), ("yes", "slack:" + work.slack.user("alice"))]
