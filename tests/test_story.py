"""The story: what is said of every kind of event, by whom it is known, and that it fits a narrow terminal."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.story import GRADES, Line, Story, clock, countdown, milestones, seconds, shown, signs, tries, waiting
from tests.incidents import ASKED, ASKING, CLOSED, CUT, ID, KEY, ROW, START, events

BOT = Path(__file__).parent.parent / "bot"


def told(story: list[tuple[str, str, Any]]) -> str:
    teller = Story()
    return "\n".join(line.plain() for event in events(story) for line in teller.event(event))


def one(kind: str, body: Any, step: str = "deactivate") -> str:
    """What is said of one event, after those of a cut."""
    teller = Story()
    *before, last = events([*CUT, (step, kind, body)])
    for event in before:
        teller.event(event)
    return " ".join(" ".join(line.plain().split()) for line in teller.event(last))


def test_a_whole_incident_reads_from_the_report_to_the_end() -> None:
    text = " ".join(told(CLOSED).split())
    said = [
        f"incident {ID}", f"aws-access-key {KEY} of account 1234; it works", "Everybody could see it since",
        "run 7: deploy.txt, line 54 (base64)", "Likely owner: mara (90 of 100: tag owner; wrote the workflow, and",
        "deploy (unknown)", "Not known: Who made it is not in the trail", "critical It works",
        "This stops: deploys of ferry",
        "one of the responders must agree", "approved by ann", "the key no longer works",
        "[refused] AWS refuses the key", "sts-session) can live until 2026-03-03", "ended by end-sessions", "CLOSED",
    ]  # fmt: skip
    places = [text.index(part) for part in said]
    assert places == sorted(places)


def test_the_clock_counts_from_the_report() -> None:
    line = next(line for line in told(CUT).splitlines() if "PROVEN" in line)
    assert line.split()[0] == "+10.5"
    assert [clock(s) for s in (-1, 4.25, 60, 725, 129540)] == ["+0.0 s", "+4.2 s", "+01:00", "+12:05", "+35:59:00"]
    assert [seconds(s) for s in (4.25, 725, 129540)] == ["4.2 s", "12 min 5 s", "35 h 59 min"]


def test_no_line_is_wider_than_the_terminal_but_for_a_long_word_and_a_command() -> None:
    teller = Story()
    lines = [line for event in events(CLOSED) for line in teller.event(event)]
    for width in (60, 100):
        shown = [text for line in lines for text in line.plain(width).splitlines()]
        assert max(map(len, shown)) <= width
    command = Line("bulkhead incident approve " + "x" * 200, command=True).plain(60)
    assert "\n" not in command


def test_every_kind_of_event_that_is_written_is_told() -> None:
    written: set[str] = set()
    writers = ("write", "once", "append")
    for path in [*(BOT / "engine").glob("*.py"), *(BOT / "intake").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in writers:
                named = node.args[2 if getattr(node.func, "attr", "") == "append" else 1 : 3]
                written |= {a.value for a in named if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    assert {"opened", "look", "asked", "decided", "outcome", "proof", "closed", "undone", "sighting"} <= written
    silent = {"planned-later", "tail-ended"}  # the first says nothing new; the second is told by its tail
    teller = {name.removeprefix("_on_").replace("_", "-") for name in dir(Story) if name.startswith("_on_")}
    assert written - teller - silent == set()


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("proof", {"verdict": "refuted", "detail": "IAM shows it Active"}, "REFUTED deactivate: IAM shows"),
        ("proof", {"verdict": "not_yet", "detail": "still Active"}, "NOT YET deactivate: still Active"),
        ("failed", {"error": "no answer", "on_failure": "ask"}, "people are asked whether to try again"),
        ("failed", {"error": "no answer", "on_failure": "stop"}, "the playbook stops"),
        ("paused", {"provider": "github", "seconds": 75, "why": ""}, "github asks for a pause of 1 min 15 s"),
        ("evidence", {"files": [], "gap": "too slow"}, "evidence is missing: too slow"),
        ("evidence", {"files": [{"name": "a.zip", "size": 9, "sha256": "f" * 64, "original_sha256": "e" * 64}]},
         "a.zip (9 bytes, scrubbed, sha256 ffffffffffff…)"),
        ("skipped", {"why": "there is nothing to do it to"}, "skipped deactivate: there is nothing"),
        ("silent", {"asked": 1, "on_silence": "hold"}, "nobody answered in time"),
        ("waived", {"row": ROW, "by": "ann", "reason": "it is a test"}, f"{ROW} by ann, without proof: it is a test"),
        ("undone", {"outcome": {}, "by": ["ann", "bo"], "kills": ROW}, f"agreed by ann, bo; {ROW} may be live again"),
        ("undo-refused", {"why": "it changed"}, "refused deactivate: it changed"),
        ("aborted", {"by": "ann"}, "ABORTED by ann: no new step begins"),
        ("broken", {"error": "an invariant"}, "BROKEN an invariant"),
        ("sighting", {"by": "bo", "url": "", "text": "here too"}, "bo reports the same credential again: here too"),
        ("decided", {"go": True, "said": "answered", "by": ["ann"], "answer": "step 3"}, "answered by ann: step 3"),
        ("decided", {"go": True, "said": "nobody answered in time, policy goes on", "by": []}, "policy goes on"),
        ("outcome", {"changed": False, "summary": "", "plants": []}, "found deactivate: no change was needed"),
        ("paged", {"to": "PagerDuty"}, "paged PagerDuty"),
        ("acknowledged", {"by": "ann", "to": "PagerDuty"}, "awake ann has taken the page of PagerDuty"),
        ("page-failed", {"to": "PagerDuty", "error": "503"}, "NO PAGE PagerDuty could not be reached: 503"),
    ],
)  # fmt: skip
def test_what_is_said_of_an_event(kind: str, body: Any, words: str) -> None:
    assert words in one(kind, body)


def test_an_event_whose_text_was_taken_out_is_told_as_such() -> None:
    assert "the text of proof was taken out" in one("proof", None)


def test_two_must_agree_and_what_silence_means_is_said() -> None:
    assert "two different people of the responders must agree" in one("asked", ASKED | {"needs": 2})
    assert "(then it goes on by itself)" in one("asked", ASKED | {"on_silence": "act"})
    assert "until" not in one("asked", ASKED | {"expires_at": ""})


def test_what_is_waited_for_counts_down_and_goes_when_it_is_over() -> None:
    teller = Story()
    seen: dict[str, list[str]] = {}
    for event in events(CLOSED):
        teller.event(event)
        seen[f"{event.step} {event.kind}"] = waiting(teller, START + timedelta(hours=1, seconds=10.5))
    assert seen["deactivate asked"] == ["waits for people: deactivate: Deactivate an IAM access key"]
    tail = [f"tail 34:59:58  sts-session minted from {ROW}"]  # it lives 36 h from the proof, less the triage's second
    assert seen["deactivate decided"] == []
    assert seen["deactivate proof"] == tail
    assert seen["end-sessions proof"] == []
    assert countdown(START, START + timedelta(hours=1)) == "0:00:00"


def test_what_would_be_done_is_told_in_observe_mode_only() -> None:
    planned = {
        "before": {"needed": True, "summary": "the key is Active"},
        "breaks": {"stops": [], "unknown": True},
        "ruling": {},
    }
    for mode in ("observe", "act"):
        text = told(
            [*CUT[:3], ("incident", "plan", {"playbook": "x", "mode": mode, "steps": []}), ("late", "planned", planned)]
        )
        assert ("would do" in text) is (mode == "observe")
        assert ("What this stops could not be found out" in " ".join(text.split())) is (mode == "observe")


def test_a_try_that_works_is_never_told_as_refused() -> None:
    lines = [
        line.plain()
        for line in tries("Tried:", [
            {"name": "key", "refused": True, "code": "InvalidAccessKeyId", "identity_code": "InvalidClientTokenId"},
            {"name": "saved-session", "refused": True, "code": "AccessDenied", "identity_code": ""},
            {"name": "role-session", "refused": False, "code": "", "identity_code": ""},
            {"name": "second-key", "refused": False, "code": "SlowDown", "identity_code": ""},
        ])
    ]  # fmt: skip
    assert "refused, InvalidAccessKeyId: AWS no longer knows the key" in lines[1]
    assert "still tells it its own" in " ".join(lines[2].split())
    assert lines[3].endswith("the role session it opened: WORKS")
    assert lines[4].endswith("WORKS (SlowDown)")


def test_before_the_report_the_leak_and_the_abuse_are_told() -> None:
    teller = Story()
    acts = [
        {"act": "iam:CreateUser", "ok": True, "code": "", "made": "svc"},
        {"act": "s3:X", "ok": False, "code": "No", "made": ""},
    ]
    text = "\n".join(
        line.plain()
        for kind, data in [
            ("leak", {"run_url": "http://127.0.0.1:1/o/r/actions/runs/7", "run_id": 7, "second_run_id": 8}),
            ("abuse", {"acts": acts}), ("report", {"by": "jonas (simulated)", "text": "look"}),
            ("refused", {"by": "eve", "why": "not one of them"}), ("something new", {}),
        ]
        for line in teller.tell(kind, data)
    )  # fmt: skip
    for words in (
        "/o/r/actions/runs/7",
        "- made the user svc",
        "- s3:X (refused: No)",
        "jonas (simulated) writes: look",
        "eve does not",
    ):
        assert words in text


def test_the_short_timeline_shows_each_cut_and_how_its_death_is_known() -> None:
    lines = [line.plain() for line in milestones(events(CLOSED))]
    assert [re.split(r"\s{2,}", line.strip())[1].split()[0] for line in lines] == ["opened", "cut", "dead", "closed"]
    assert GRADES["refused"] in lines[2]


def test_a_cut_that_only_a_word_shows_is_not_called_dead() -> None:
    told = [(step, kind, body | {"grade": "word"} if kind == "proof" else body) for step, kind, body in CLOSED]
    lines = [re.split(r"\s{2,}", line.plain().strip())[1].split()[0] for line in milestones(events(told))]
    assert lines == ["opened", "cut", "word", "closed"]


def test_what_people_say_beside_their_decisions_is_told() -> None:
    said = [
        ("a", "role", {"role": "lead", "who": "ann", "by": "ann"}),
        ("b", "role", {"role": "lead", "who": "ben", "by": "ann"}),
        ("c", "note", {"by": "ann", "text": "unplugged it", "act": True}),
        ("d", "note", {"by": "ann", "text": "soon", "act": False}),
        ("e", "not-me", {"by": "cleo", "of": "deactivate"}), ("f", "owner-answer", {"by": "mara", "said": "no"}),
        ("g", "severity", {"level": "low", "by": "ann", "reason": "a toy account"}),
    ]  # fmt: skip
    story = Story()
    told = [line for event in events([*ASKING, *said]) for line in story.event(event)][-len(said) :]
    assert [(line.mark, line.text) for line in told] == [
        ("lead", "ann takes it now"), ("lead", "ben has it now, says ann"), ("by hand", "ann: unplugged it"),
        ("update", "ann: soon"), ("not me", "deactivate: cleo is not the one to decide; the others go on being asked"),
        ("owner", "mara says that it was not them"), ("low", "a toy account"),
    ]  # fmt: skip


def test_signs_of_misuse_are_told_with_what_they_rest_on() -> None:
    sign = {"signal": "api-target", "sure": "likely", "what": "new-service", "name": "n", "at": "",
            "says": "user/ferry-ci called iam:CreateUser", "evidence": ["cloudtrail: LookupEvents event e-1"],
            "ruled_out": []}  # fmt: skip
    body = {"changed": False, "summary": "Signs of misuse: api-target 1", "outcome": {"findings": [sign]}}
    assert signs(body) == [sign]
    assert shown(sign) == "api-target: user/ferry-ci called iam:CreateUser [cloudtrail: LookupEvents event e-1]"
    assert signs({"outcome": {"findings": [sign | {"sure": "possible"}]}}) == [], "that is a line of a digest"
