"""Events and told acts -> scenes: everything that was cut and proven is shown, in order, and nothing is invented."""

from __future__ import annotations

from typing import Any

import pytest

from bot.replay.nouns import CHAPTERS, PLACES, STATES, Scene
from bot.replay.picture import LAYOUTS, MOVERS, draw
from bot.replay.scenes import chapters, scenes
from bot.timeline import Event
from tests.incidents import ASKING, CLOSED, CUT, KEY, PROOF, ROW, events

PLAN = {
    "mode": "act", "playbook": "aws-access-key",
    "steps": [{"id": "deactivate", "uses": "aws.deactivate_access_key", "person": False, "needs": []}],
}  # fmt: skip
USER = {"kind": "user", "name": "svc-cache-sync", "id": "", "at": "", "event": "e-1"}
FOUND_LOOK = {
    "uses": "aws.find_planted", "effect": "read", "kills": None, "ends": None, "asks": False, "title": "Find",
    "before": {"needed": True, "summary": "what it planted"}, "breaks": {"stops": [], "unknown": False},
}  # fmt: skip
FOUND = {"changed": False, "summary": "1 thing planted", "plants": [USER], "outcome": {}, "prove_by": ""}
CUT_USER = FOUND_LOOK | {"uses": "aws.disable_planted", "effect": "contain", "kills": "aws-user:svc-cache-sync"}
DISABLED = {"changed": True, "summary": "user svc-cache-sync is disabled", "plants": [], "outcome": {}, "prove_by": ""}
STATE = PROOF | {"grade": "state", "detail": "IAM shows user svc-cache-sync disabled"}
WHOLE: list[tuple[str, str, Any]] = [
    *ASKING[:3], ("incident", "plan", PLAN), *CLOSED[3:-1], ("find", "look", FOUND_LOOK), ("find", "outcome", FOUND),
    ("planted#0", "look", CUT_USER), ("planted#0", "outcome", DISABLED), ("planted#0", "proof", STATE), CLOSED[-1],
]  # fmt: skip
TOLD = {
    "leak": {"run_url": "http://127.0.0.1:1/runs/1", "story": ["A run printed it:", "http://127.0.0.1:1/runs/1"]},
    "abuse": {
        "acts": [
            {"act": "github:ReadRunLog", "ok": True, "code": "", "made": ""},
            {"act": "iam:CreateUser", "ok": True, "code": "", "made": "svc-cache-sync"},
            {"act": "sts:GetSessionToken", "ok": True, "code": "", "made": "ferry-ci"},
            {"act": "iam:GetRole", "ok": False, "code": "AccessDenied", "made": ""},
        ]
    },
    "tries-before": [{"name": "key", "refused": False, "code": "", "identity_code": ""}],
    "tries-after": [{"name": "key", "refused": True, "code": "InvalidAccessKeyId", "identity_code": ""}],
}  # fmt: skip


def marks(shown: list[Scene]) -> list[str]:
    return [scene.mark for scene in shown]


def state(scene: Scene, name: str) -> str:
    return next(thing.state for thing in scene.things if name in thing.name)


def test_a_real_incident_is_drawn_from_its_timeline_alone() -> None:
    shown = scenes(events(CLOSED))
    assert [chapter for chapter, _ in chapters(shown)] == ["leak", "report", "contain"]
    assert marks(shown)[0] == "Leaks"
    assert "Everybody could see it" in shown[0].caption
    assert marks(shown)[-1] == "Closed"
    assert [one for one in marks(shown) if one in ("Cut", "Proven", "Lives on", "Ended")] == [
        "Cut", "Proven", "Lives on", "Proven", "Ended",
    ]  # fmt: skip
    assert not any(move.origin == "attacker" and move.what == "token" for scene in shown for move in scene.moves)


def test_a_drill_adds_what_it_has_told_before_and_after() -> None:
    shown = scenes(events(WHOLE), TOLD)
    assert [chapter for chapter, _ in chapters(shown)] == [one for one in CHAPTERS if one != "move"]
    abuse = [scene for scene in shown if scene.chapter == "abuse"]
    assert marks(abuse) == ["Stolen", "Abused", "Abused", "Refused", "Works"]
    assert [scene.moves[0].what for scene in abuse] == ["token", "use", "use", "stop", "use"]
    assert state(abuse[1], "svc-cache-sync") == "works"
    again = [scene for scene in shown if scene.chapter == "again"]
    assert again[-1].caption == "The thief tries the leaked key: refused: AWS no longer knows the key."


def test_what_a_thief_has_made_is_the_same_thing_when_it_is_found_and_cut() -> None:
    shown = scenes(events(WHOLE), TOLD)
    names = [thing.name for thing in shown[-1].things]
    assert len(names) == len(set(names)) == 3
    made = next(scene for scene in shown if any("user svc" in thing.name for thing in scene.things))
    assert (made.chapter, state(made, "user svc")) == ("abuse", "works")
    assert {thing.state for thing in shown[-1].things} == {"dead"}
    assert {thing.note for thing in shown[-1].things} >= {"the old value was tried and refused"}


def test_a_session_outlives_its_key_until_it_is_ended() -> None:
    shown = scenes(events(WHOLE), TOLD)
    tail = next(n for n, scene in enumerate(shown) if scene.mark == "Lives on")
    assert state(shown[tail], "AWS key") == "dead"
    assert state(shown[tail], "saved session") == "lives"
    assert "35 h 59 min more" in shown[tail].caption
    ended = next(scene for scene in shown[tail:] if scene.mark == "Ended")
    assert state(ended, "saved session") == "dead"


def test_every_proof_of_a_cut_is_shown_with_its_grade() -> None:
    shown = scenes(events(WHOLE), TOLD)
    proven = {scene.how: scene.caption for scene in shown if scene.mark == "Proven"}
    assert "AWS refuses the key." in proven["the old value was tried and refused"]
    assert "IAM shows user svc-cache-sync disabled." in proven["the provider's own record shows it"]


@pytest.mark.parametrize("told", [{}, TOLD], ids=["real", "drill"])
def test_an_incident_can_be_replayed_at_any_moment_of_it(told: dict[str, Any]) -> None:
    whole = events(WHOLE)
    for n in range(len(whole) + 1):
        shown = scenes(whole[:n], told)
        assert shown == scenes(whole[:n], told), "the same events give the same scenes"
        assert [scene.event for scene in shown if scene.event] == sorted(s.event for s in shown if s.event)
        assert [list(CHAPTERS).index(scene.chapter) for scene in shown] == sorted(
            list(CHAPTERS).index(scene.chapter) for scene in shown
        )
        for scene in shown:
            assert scene.caption
            assert {thing.state for thing in scene.things} <= STATES.keys()
            assert {p for move in scene.moves for p in (move.origin, move.target)} <= PLACES.keys()
            assert {move.what for move in scene.moves} <= MOVERS.keys()


def test_an_event_whose_text_was_taken_out_and_one_of_a_kind_unknown_do_no_harm() -> None:
    whole = [*events(CUT)]
    erased = [Event(**{**vars_of(e), "body": None}) if e.kind == "severity" else e for e in whole]
    strange = Event(**{**vars_of(whole[-1]), "n": 99, "kind": "of-tomorrow", "body": {"x": 1}})
    shown = scenes([*erased, strange])
    assert "Erased" in marks(shown)


def vars_of(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in Event.__dataclass_fields__}


def test_a_clock_that_is_set_back_does_not_shuffle_the_timeline() -> None:
    straight = events(WHOLE)
    back = [
        Event(**(vars_of(event) | {"at": straight[0].at})) if event.n > 6 else event for event in straight
    ]  # fmt: skip
    assert marks(scenes(back)) == marks(scenes(straight))


def test_without_any_event_there_is_no_scene() -> None:
    assert scenes([]) == []


def test_the_clock_counts_from_the_report_and_back_from_it() -> None:
    shown = scenes(events(WHOLE), TOLD)
    assert shown[0].clock == "1 h 0 min before the report"
    assert next(s for s in shown if s.mark == "Reported").clock == "the report"
    assert next(s for s in shown if s.mark == "Cut").clock == "+10.5 s"


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: one.name)
def test_a_picture_holds_what_moves_and_crosses_out_what_is_dead(layout: Any) -> None:
    shown = scenes(events(WHOLE), TOLD)
    first, last = draw(shown[0], layout, PLACES), draw(shown[-1], layout, PLACES)
    assert 'class="move token"' in first
    assert "#k-dead" not in first
    assert last.count("#k-dead") >= 3
    assert KEY not in last, "the picture has short names"


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: one.name)
def test_no_place_lies_over_another_and_all_lie_in_the_picture(layout: Any) -> None:
    (w, h), at = layout.box, layout.at
    assert at.keys() == PLACES.keys()
    for place, (x, y) in at.items():
        assert w / 2 <= x <= layout.width - w / 2
        assert h / 2 <= y <= layout.height - h / 2
        for other, (ox, oy) in at.items():
            assert place == other or abs(x - ox) >= w + 8 or abs(y - oy) >= h + 8, (place, other)


def test_row_names_are_for_people() -> None:
    shown = scenes(events(CUT))
    assert ROW not in {thing.name for thing in shown[-1].things}
    assert f"AWS key {KEY[:4]}…{KEY[-4:]}" in {thing.name for thing in shown[-1].things}
