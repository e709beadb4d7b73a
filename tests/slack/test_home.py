"""The app's home: what waits for whom, and that it is drawn when it is opened and when something changes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.slack.home import home_view
from bot.slack.picture import Picture
from bot.store import DecisionRow, iso
from tests.incidents import ASKED, ASKING, CUT, ID, PLAN, START
from tests.slack.strict import check_view, walk
from tests.slack.timelines import picture, pictures
from tests.slack.workspace import Workspace
from tests.slack_range import until

ALICE = "slack:U0ALICE"


def text(view: dict[str, Any]) -> str:
    return "\n".join(one["text"] for one in walk(view["blocks"]) if one.get("type") in ("mrkdwn", "plain_text"))


def named(drawn: Picture, name: str) -> Picture:
    """The same incident under another name."""
    return replace(drawn, row=replace(drawn.row, id=name))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(pictures(), max_size=4), st.booleans())
def test_slack_takes_every_home(drawn: list[Picture], may: bool) -> None:
    check_view(home_view(ALICE, [named(one, f"inc-{k}") for k, one in enumerate(drawn)], lambda _posture: may))


def test_what_waits_for_somebody_is_there_with_its_buttons_until_they_have_said_something() -> None:
    drawn = picture(ASKING)
    view = home_view(ALICE, [drawn], lambda _posture: True)
    assert "*Waits for you: 1*" in text(view)
    assert {"approve", "deny", "report_leak"} <= {one.get("action_id") for one in walk(view["blocks"])}
    said = DecisionRow(
        seq=1, incident=ID, step="deactivate", kind="approve", by=ALICE, at=iso(START), plan_hash=PLAN, body={}
    )
    assert "*Nothing waits for you*" in text(home_view(ALICE, [replace(drawn, decisions=[said])], lambda _p: True))
    passed = picture([*ASKING, ("x", "not-me", {"by": ALICE, "of": "deactivate"})])
    assert "*Nothing waits for you*" in text(home_view(ALICE, [passed], lambda _p: True))


def test_who_may_not_answer_is_not_asked_and_sees_no_incident_of_others() -> None:
    view = text(home_view(ALICE, [picture(ASKING)], lambda _posture: False))
    assert "*Nothing waits for you*" in view
    assert ID not in view
    assert "Report a leak" in view


def test_who_reported_is_not_asked_where_two_must_agree_but_sees_their_incident() -> None:
    opened = ASKING[0][2] | {"report": ASKING[0][2]["report"] | {"by": ALICE}}
    story = [("incident", "opened", opened), *ASKING[1:-1], ("deactivate", "asked", ASKED | {"needs": 2})]
    view = text(home_view(ALICE, [picture(story)], lambda _posture: True))
    assert "*Nothing waits for you*" in view and "*Your open incidents: 1*" in view
    other = text(home_view("slack:U0BOB", [picture(story)], lambda _posture: True))
    assert "*Waits for you: 1*" in other and "*Other open incidents: 1*" in other


def test_a_broken_glass_waits_for_somebody_elses_eye() -> None:
    glass = {"by": "slack:U0BOB", "reason": "alone", "review_by": iso(START + timedelta(days=1)), "plan_hash": PLAN}
    drawn = picture([*CUT, ("deactivate", "break-glass", glass)])
    assert "<@U0BOB> decided alone" in text(home_view(ALICE, [drawn], lambda _p: True))
    assert "decided alone" not in text(home_view("slack:U0BOB", [drawn], lambda _p: True))


def test_with_many_incidents_and_questions_the_view_fits() -> None:
    many = [named(picture(ASKING), f"inc-{k}") for k in range(200)]
    view = home_view(ALICE, many, lambda _posture: True)
    check_view(view)
    assert "*Waits for you: 200*" in text(view) and "and 192 more" in text(view)


def test_a_drill_in_which_somebody_took_part_is_theirs() -> None:
    drill = picture(
        [
            *ASKING,
            ("lead", "role", {"role": "lead", "who": ALICE}),
            ("incident", "closed", {"ledger": [], "failed": []}),
        ],
        world="range",
    )
    view = text(home_view(ALICE, [drill], lambda _posture: True))
    assert "*Your drills: 1*" in view and "*DRILL*" in view and "closed" in view
    assert "Your drills" not in text(home_view("slack:U0BOB", [drill], lambda _posture: True))


# in Slack ------------------------------------------------------------------------------------------------------------


def home_of(work: Workspace, name: str) -> str:
    """What somebody's home shows."""
    return json.dumps(work.slack.look(name)["home"], ensure_ascii=False)


def test_a_home_is_drawn_when_it_is_opened_and_anew_when_something_changes(work: Workspace) -> None:
    work.slack.hand("alice", "home")
    work.idle()
    until(lambda: work.room.board.turn() or "Nothing waits for you" in home_of(work, "alice"))
    assert "Report a leak" in home_of(work, "alice")
    work.incident(("deactivate", "asked", ASKED | {"expires_at": ""}))
    until(lambda: work.room.board.turn() or "Waits for you: 1" in home_of(work, "alice"))
    until(lambda: "Waits for you: 1" in home_of(work, "alice"))
    assert home_of(work, "bob") == "null" or "Waits" not in home_of(work, "bob"), "who has not opened theirs has none"


def test_who_is_in_no_group_sees_nothing_of_it(work: Workspace) -> None:
    work.incident(("deactivate", "asked", ASKED | {"expires_at": ""}))
    work.slack.hand("mara", "home")
    work.idle()
    until(lambda: work.room.board.turn() or "Nothing waits" in home_of(work, "mara"))
    until(lambda: "Nothing waits" in home_of(work, "mara"))
    assert "inc-2026" not in home_of(work, "mara")
