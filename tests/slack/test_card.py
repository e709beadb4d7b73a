"""The card: what it says when, and that Slack takes it whatever stands on the timeline."""

from __future__ import annotations

import itertools
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from bot.errors import InputError
from bot.slack import card, kit, names
from bot.slack.picture import Picture
from bot.store import DecisionRow, Store, iso
from tests.incidents import ASKED, ASKING, CLOSED, CUT, DECIDED, ID, KEY, LOOK, OUTCOME, PLAN, PROOF, ROW, START, house
from tests.slack.strict import check, walk
from tests.slack.timelines import picture, pictures

Story = list[tuple[str, str, Any]]


def text(posting: card.Posting) -> str:
    """All that is to be read."""
    return "\n".join(one["text"] for one in walk(posting.blocks) if one.get("type") in ("mrkdwn", "plain_text"))


def buttons(posting: card.Posting) -> dict[str, dict[str, Any]]:
    """The last button of each kind."""
    return {one["action_id"]: one for one in walk(posting.blocks) if one.get("type") == "button"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(pictures())
def test_slack_takes_every_card(drawn: Picture) -> None:
    posting = card.draw(drawn)
    check(posting.blocks)
    assert 0 < len(posting.text) <= 300
    assert drawn.drill == (posting.metadata["event_type"] == "bulkhead_drill")
    assert drawn.drill == posting.text.startswith("DRILL: ")
    assert drawn.drill == (card.DRILL_BANNER in text(posting))
    assert card.draw(drawn) == posting


def test_a_card_says_what_leaked_how_public_it_was_and_what_is_asked_of_whom() -> None:
    posting = card.draw(picture(ASKING, url="https://b.example"))
    said = text(posting)
    for words in (
        "Critical: Leaked AWS access key", f"aws-access-key `{KEY}` of account 1234", "Everybody could see it",
        "*Likely owner:* mara (90 of 100)", "0 of 1 proven dead", f"`{ROW}` suspected", "Asked of people: 1",
        "*deactivate*: Deactivate an IAM access key", "*Why:* this installation asks (rule mode-ask)",
        "*Breaks:* deploys of ferry", "*Can be undone*", "*One person must agree* until <!date^32472144000^",
        "left*), then more people are told", "nobody leads yet",
        f"<https://b.example/incidents/{ID}|The whole timeline>",
    ):  # fmt: skip
        assert words in said, words
    check(posting.blocks)
    assert posting.text == "critical: Leaked AWS access key (open, 0 of 1 proven dead; 1 question to people)"
    values = {name: json.loads(one["value"]) for name, one in buttons(posting).items()}
    ask = {"i": ID, "s": "deactivate", "p": PLAN, "a": 1}
    whole = {name: {"i": ID} for name in ("claim", "severity", "waive", "abort")}
    assert values == {"approve": ask, "deny": ask, "not-me": ask, **whole}
    assert "confirm" not in buttons(posting)["approve"], "it can be undone"


def asking(**ask: Any) -> Story:
    return [*ASKING[:-1], ("deactivate", "asked", ASKED | ask)]


def test_what_cannot_be_undone_asks_again_and_repeats_its_target() -> None:
    story = [(s, k, b | {"undo": "it is in pieces"} if k == "look" else b) for s, k, b in asking(undo=False)]
    posting = card.draw(picture(story))
    assert "*Cannot be undone*: it is in pieces" in text(posting)
    sure = buttons(posting)["approve"]["confirm"]
    assert sure["style"] == "danger"
    assert ID in sure["text"]["text"] and "Deactivate an IAM access key" in sure["text"]["text"]
    assert len(sure["text"]["text"]) <= 300


def test_two_must_agree_and_who_has_said_yes_is_shown() -> None:
    def yes(seq: int, by: str, plan: str = PLAN, kind: str = "approve") -> DecisionRow:
        return DecisionRow(
            seq=seq, incident=ID, step="deactivate", kind=kind, by=by, at=iso(START), plan_hash=plan, body={}
        )

    rows = [
        yes(1, "slack:U0BOB"),
        yes(2, "slack:U0BOB"),
        yes(3, "slack:U0EVE", "another plan"),
        yes(4, "kim", kind="deny"),
    ]
    said = text(card.draw(picture(asking(needs=2), decisions=rows)))
    assert "*Two different people must agree*" in said
    assert "*Yes so far:* <@U0BOB>; 1 more needed" in said
    assert "U0EVE" not in said and "kim" not in said


def test_what_silence_means_and_a_time_that_is_over() -> None:
    soon = iso(START + timedelta(hours=2))
    said = text(card.draw(picture(asking(on_silence="act", expires_at=soon))))
    assert "(*1 h 0 min left*), then it goes ahead by itself" in said
    assert re.search(r"Next, by itself:\* without an answer by .*\(1 h 0 min left\), deactivate goes ahead", said)
    over = text(card.draw(picture(asking(expires_at=iso(START)))))
    assert "The time for it ended" in over and "it still waits" in over
    assert "It waits" in text(card.draw(picture(asking(expires_at="", on_silence="hold"))))


def test_the_countdown_to_the_last_stolen_sessions_death() -> None:
    said = text(card.draw(picture(CUT)))
    assert re.search(r"What was stolen dies at the latest <!date\^\d+\^.*35 h 0 min left\*", said)
    assert "1 of 1" not in said, "a tail that runs is not closed"
    assert "then it closes" in said
    closed = text(card.draw(picture(CLOSED)))
    assert "dies at the latest" not in closed
    assert "1 of 1 proven dead: 1 refused (the old value was tried and refused)" in closed
    assert ":white_check_mark: closed" in closed and "nothing, it is over" in closed


def test_a_card_changes_no_more_often_than_its_coarse_countdown() -> None:
    drawn = [card.draw(picture(CUT, hours=1 + seconds / 3600)).blocks for seconds in range(0, 600, 20)]
    assert sum(1 for a, b in itertools.pairwise(drawn) if a != b) <= 1
    assert [kit.left(START + timedelta(seconds=s), START) for s in (-5, 30, 61, 5400, 36 * 3600 + 3599, 80 * 3600)] == [
        "over", "under a minute", "1 min", "1 h 30 min", "36 h 50 min", "3 d 8 h",
    ]  # fmt: skip


def person(link: str = "https://www.npmjs.com/settings") -> Story:
    before = {"needed": True, "cuts_own": False, "summary": "Ask mara", "who": "mara", "text": "revoke the token",
              "link": link, "choices": []}  # fmt: skip
    return [*ASKING[:3], ("revoke", "look", LOOK | {"before": before, "uses": "people.do"}),
            ("revoke", "asked", ASKED | {"purpose": "answer"})]  # fmt: skip


def test_a_persons_step_shows_its_link_as_text_and_turns_green_when_the_world_proves_it() -> None:
    posting = card.draw(picture(person()))
    assert "for mara: revoke the token\n<https://www.npmjs.com/settings|Open the page where it is done>" in text(
        posting
    )
    assert set(buttons(posting)) == {"answer", "not-me", "claim", "severity", "waive", "abort"}
    answered = [
        *person(),
        ("revoke", "decided", DECIDED | {"said": "answered", "answer": "done", "by": ["slack:U0MARA"]}),
    ]
    said = text(card.draw(picture(answered)))
    assert ":hourglass_flowing_sand: *revoke*: done by <@U0MARA>; it is being looked at" in said
    proven = text(card.draw(picture([*answered, ("revoke", "outcome", OUTCOME), ("revoke", "proof", PROOF)])))
    assert ":large_green_circle: *revoke*: done by <@U0MARA>; proven [refused]: AWS refuses the key" in proven
    refuted = text(card.draw(picture([*answered, ("revoke", "proof", PROOF | {"verdict": "refuted"})])))
    assert ":red_circle: *revoke*" in refuted


def test_the_surest_signs_come_first_and_what_was_found_twice_is_said_once() -> None:
    found = [{"sure": sure, "signal": "build-log", "says": says}
             for sure, says in (("likely", "a"), ("certain", "b"), ("certain", "b"), ("maybe", "c"))]  # fmt: skip
    outcome = OUTCOME | {"outcome": OUTCOME.get("outcome", {}) | {"findings": found}}
    said = text(card.draw(picture([*CUT, ("signals", "look", LOOK), ("signals", "outcome", outcome)])))
    assert "*3 signs of misuse*\ncertain, build-log: b (2 times)\nlikely, build-log: a" in said


def test_undo_is_offered_where_there_is_one_and_says_what_it_means() -> None:
    story = [*CUT, ("smash", "look", LOOK | {"undo": "in pieces", "kills": None}), ("smash", "outcome", OUTCOME),
             ("same", "look", LOOK), ("same", "outcome", OUTCOME | {"changed": False})]  # fmt: skip
    undos = [one for one in walk(card.draw(picture(story)).blocks) if one.get("action_id") == "undo"]
    assert [json.loads(one["value"]) for one in undos] == [{"i": ID, "s": "deactivate"}]
    assert "live again: two people must agree" in undos[0]["confirm"]["text"]["text"]
    asked = [*CUT, ("deactivate/undo", "asked", ASKED | {"purpose": "undo"})]
    drawn = card.draw(picture(asked))
    assert "undo" not in buttons(drawn)
    assert buttons(drawn)["approve"]["confirm"]["title"]["text"] == "This makes the leak live again"
    refused = [
        *asked,
        ("deactivate/undo", "decided", DECIDED | {"go": False}),
        ("deactivate/undo", "undo-refused", {"why": "x"}),
    ]
    assert "undo" in buttons(card.draw(picture(refused))), "it can be asked for again"
    undone = [*CLOSED, ("deactivate/undo", "undone", {"outcome": {}, "by": ["ann", "bo"], "kills": ROW})]
    reopened = card.draw(picture(undone))
    assert "*open*" in text(reopened)
    assert [json.loads(one["value"])["s"] for one in walk(reopened.blocks) if one.get("action_id") == "undo"] == [
        "end-sessions"
    ]


def test_roles_a_persons_severity_the_owners_answer_and_the_page_are_on_the_card() -> None:
    story: Story = [*ASKING, ("lead", "role", {"role": "lead", "who": "slack:U0ALICE"}),
                    ("severity", "severity", {"level": "low", "by": "slack:U0ALICE", "reason": "a test key"}),
                    ("owner", "owner-answer", {"said": "no", "by": "slack:U0MARA"}),
                    ("page", "paged", {"to": "PagerDuty"})]  # fmt: skip
    posting = card.draw(picture(story))
    said = text(posting)
    for words in ("*lead:* <@U0ALICE>", "*Severity low*, says <@U0ALICE>: a test key",
                  "<@U0MARA> says: *it was not me*", "*paged:* PagerDuty, not acknowledged yet"):  # fmt: skip
        assert words in said, words
    assert "nobody leads" not in said
    assert "hand-over" in buttons(posting) and "claim" not in buttons(posting)
    taken = [*story, ("page", "acknowledged", {"by": "slack:U0BOB", "to": "PagerDuty"})]
    assert "*acknowledged by* <@U0BOB>" in text(card.draw(picture(taken)))


def test_a_drill_cannot_be_mistaken() -> None:
    posting = card.draw(picture(ASKING, world="range"))
    first, last = posting.blocks[0], posting.blocks[-1]
    assert first == kit.header("DRILL. Nothing of this is real. Practise as if it were")
    assert card.DRILL_BANNER in json.dumps(last)
    assert posting.metadata == {
        "event_type": "bulkhead_drill",
        "event_payload": {"incident": ID, "drill": True, "what": "card"},
    }
    real = card.draw(picture(ASKING))
    assert "drill" not in json.dumps(real.blocks).lower()
    assert real.metadata["event_type"] == "bulkhead_incident"


def test_with_five_hundred_planted_things_the_worst_is_shown_and_the_rest_is_counted() -> None:
    plants = [{"kind": "access-key", "name": f"user-{k}", "id": f"id-{k}", "at": "", "event": ""} for k in range(500)]
    story: Story = [*CUT, ("find", "outcome", OUTCOME | {"plants": plants})]
    for k in range(500):
        look = LOOK | {"kills": f"aws-access-key:id-{k}"}
        story += [(f"planted#{k}", "look", look), (f"planted#{k}", "asked", ASKED)]
    story.append(("planted#77", "failed", {"error": "no answer", "on_failure": "ask", "denied": False}))
    posting = card.draw(picture(story))
    check(posting.blocks)
    said = text(posting)
    assert "*Asked of people: 500*" in said and "and 494 more questions" in said
    assert "`aws-access-key:id-77` failed" in said, "what is bad comes first"
    assert "and 493 more, 493 of them not settled" in said


def test_what_failed_is_told_until_it_is_mended() -> None:
    failed = [
        *ASKING[:-1],
        ("deactivate", "failed", {"error": "no answer from <AWS>", "on_failure": "ask", "denied": False}),
    ]
    assert ":red_circle: *deactivate* failed: no answer from &lt;AWS&gt;" in text(card.draw(picture(failed)))
    mended = [*failed, ("deactivate", "proof", PROOF)]
    assert "failed:" not in text(card.draw(picture(mended)))


def test_a_page_that_failed_stands_on_the_card_until_one_has_come_through() -> None:
    failed = [*ASKING, ("page/PagerDuty/1", "page-failed", {"to": "PagerDuty", "error": "PagerDuty answered 503"})]
    assert "failed: PagerDuty answered 503" in text(card.draw(picture(failed)))
    paged = [*failed, ("page/PagerDuty/1", "paged", {"to": "PagerDuty"})]
    assert "answered 503" not in text(card.draw(picture(paged)))


@pytest.mark.parametrize(
    ("story", "words"),
    [
        ([("incident", "opened", ASKING[0][2])], "triage ends"),
        ([*ASKING[:4], ("deactivate", "outcome", OUTCOME)], "deactivate is done and is being proven"),
        (ASKING[:4], "deactivate is under way"),
        (asking(on_silence="hold", expires_at=""), "nothing: it waits for people"),
        ([*CUT[:3], ("incident", "plan", {"mode": "observe", "steps": []})],
         "nothing: this installation only observes"),
        ([*CUT[:3], ("incident", "plan", {"mode": "act", "steps": [{"id": "rotate", "needs": ["deactivate"]}]})],
         "rotate, after deactivate"),
    ],
)  # fmt: skip
def test_what_happens_next_by_itself(story: Story, words: str) -> None:
    assert f"*Next, by itself:* {words}" in text(card.draw(picture(story)))


def test_before_triage_the_report_is_shown() -> None:
    said = text(card.draw(picture(ASKING[:1])))
    assert "*Reported:* our log shows a key" in said and "Triage has not ended yet" in said
    assert "Severity not known yet" in said


def test_an_event_whose_text_was_taken_out_leaves_the_card_standing() -> None:
    story = [(step, kind, None if kind in ("severity", "asked", "triage") else body) for step, kind, body in CUT]
    check(card.draw(picture(story)).blocks)


def test_the_card_of_a_stored_incident(tmp_path: Path) -> None:
    house(tmp_path, CUT)
    store = Store(f"sqlite:///{tmp_path / 'bulkhead.db'}")
    posting = card.incident_card(store, ID, START - timedelta(days=1), url="")
    assert "35 h 59 min" not in text(posting) and "35 h 50 min left" in text(posting), "the events' own clock counts"
    with pytest.raises(InputError, match="no incident"):
        card.incident_card(store, "inc-none", START, url="")
    store.close()


def test_names_are_mentions_for_slacks_people_only() -> None:
    assert names.display("slack:U123ABC") == "<@U123ABC>"
    assert [names.display(n) for n in ("slack:U1><!channel", "mara", "U123", "slack:", "")] == [
        "slack:U1&gt;&lt;!channel", "mara", "U123", "slack:", "nobody",
    ]  # fmt: skip
    assert names.user_of("slack:W0X") == "W0X" and names.user_of("slack:u0x") == ""


def test_texts_are_cut_outside_of_entities_and_tokens() -> None:
    assert kit.clip("a" * 9 + "&amp;", 12) == "a" * 9 + "…"
    assert kit.clip("ab <@U123>", 8) == "ab…"
    assert kit.clip("short", 5) == "short"
    assert len(kit.sections(["x" * 2000, "y" * 2000, "z" * 900])) == 2
    assert kit.value_of("i", "s" * 2000) == ""
