"""The same leak under OIDC: what is minted, what is refused, and the figures of two runs next to each other."""

from __future__ import annotations

from typing import Any

from bot.replay.contrast import NOT_TRIED, Run, answers, figures
from bot.replay.page import document
from bot.replay.scenes import chapters, scenes
from tests.incidents import ASKING, LOOK, OUTCOME, PROOF, TRIAGE, events
from tests.replay.test_page import made
from tests.replay.test_scenes import TOLD, WHOLE

SESSION = "AS" + "IA" + "MADEUPSESSION7EX"
FOUND = TRIAGE | {
    "credential": TRIAGE["credential"] | {"kind": "aws-session", "id": SESSION}, "live": "dead", "reach": [],
    "tails": [],
}  # fmt: skip
BEFORE = LOOK["before"] | {"by_identity": True, "role": "ferry-oidc", "subject": "repo:o/ferry:environment:production"}
DEAD = LOOK | {"kills": f"aws-session:{SESSION}", "before": BEFORE, "uses": "aws.end_session", "asks": False}
STORY: list[tuple[str, str, Any]] = [
    ASKING[0], ("incident", "triage", FOUND), ASKING[2], ("end", "look", DEAD),
    ("end", "outcome", OUTCOME | {"changed": False, "summary": "it is dead already"}),
    ("end", "proof", PROOF | {"detail": "AWS refuses it: ExpiredToken"}),
    ("incident", "closed", {"ledger": [], "failed": []}),
]  # fmt: skip


def act(name: str, minute: int, code: str = "", **more: Any) -> dict[str, Any]:
    at = f"2026-03-01T11:{minute:02}:00+00:00"
    return {"act": name, "ok": not code, "code": code, "made": "", "at": at} | more


MOVED: dict[str, Any] = {
    "migrate": {"story": ["The workflows were moved:", "http://127.0.0.1:1/pull/1"], "at": "2026-03-01T10:00:00+00:00"},
    "leak": {"run_url": "", "story": ["It printed its session:"], "at": "2026-03-01T11:00:00+00:00"},
    "abuse": {
        "acts": [
            act("github:ReadRunLog", 2), act("sts:GetCallerIdentity", 2),
            act("iam:CreateUser", 2, "AccessDenied", made="svc-cache-sync"),
            act("npm:Publish", 2, "E401", made="@o/ferry@1.4.3"),
            act("github:ForkPullRequest", 2, "no secret and no id-token endpoint there", said="opened a pull request"),
            act("sts:GetCallerIdentity", 16, "ExpiredToken", said="came back"),
            act("npm:Downloads", 40, made="0 times", said="published nothing"),
        ]
    },
    "tries-before": [{"name": "session", "said": "the session", "refused": True, "code": "ExpiredToken"}],
    "tries-after": [{"name": "fork", "said": "a fork", "refused": True, "code": "its job has no secret at all there"}],
}  # fmt: skip


def test_what_is_minted_for_one_job_is_refused_and_dead_before_anybody_cuts_it() -> None:
    shown = scenes(events(STORY), MOVED)
    assert [name for name, _ in chapters(shown)] == ["move", "leak", "abuse", "report", "contain", "again"]
    minted = next(scene for scene in shown if scene.mark == "Minted")
    assert [(m.what, m.origin) for m in minted.moves] == [("mint", "issuer"), ("ours", "runner")]
    assert "ferry-oidc for repo:o/ferry:environment:production" in minted.caption
    assert minted.signs["store"] == "no secret"
    refused = next(scene for scene in shown if scene.mark == "Refused")
    assert refused.caption == "The thief cannot make the user svc-cache-sync: refused, AccessDenied."
    assert refused.clock == "2 min 0 s after the leak"
    dead = [scene.things[0].state for scene in shown if scene.things]
    assert dead.index("dead") < [scene.chapter for scene in shown].index("report")
    assert set(dead[dead.index("dead") :]) == {"dead"}, "once it is over it stays over"
    assert "Cut" not in [scene.mark for scene in shown]
    assert next(scene for scene in shown if scene.mark == "Worthless").tone == "good"


def test_figures_stand_next_to_each_other_and_each_is_of_its_own_run() -> None:
    left, right = Run(events=tuple(events(WHOLE)), told=TOLD), Run(events=tuple(events(STORY)), told=MOVED)
    said = {row.ask: (row.stored, row.oidc) for row in figures(left, right)}
    assert said["How long was what leaked of use?"] == (
        "1 h 0 min, until it was cut", "no more than 16 min 0 s, then it was dead by itself",
    )  # fmt: skip
    assert said["Of what the thief tried with it, how much worked?"] == ("2 of 3", "1 of 5")
    assert said["What did the thief leave behind?"] == ("2 things", "nothing")
    assert said["Could it publish a version?"] == (NOT_TRIED, "no: refused, E401")
    assert said["How often was that version downloaded?"] == (NOT_TRIED, "never: there is none")
    assert said["What does the job of a fork's pull request get?"][1] == "no secret and no id-token endpoint there"
    assert said["How much had to be cut?"] == ("2 things", "nothing: it was dead already")


def test_what_was_published_and_downloaded_is_told_with_its_count() -> None:
    acts = [act("npm:Publish", 1, made="@o/ferry@1.4.3"), act("npm:Downloads", 2, made="47,510 times")]
    said = answers(Run(events=tuple(events(WHOLE)), told=TOLD | {"abuse": {"acts": acts}}))
    assert said["Could it publish a version?"] == "yes: @o/ferry@1.4.3"
    assert said["How often was that version downloaded?"] == "47,510 times"


def test_a_page_with_both_has_two_players_one_issuer_and_the_table() -> None:
    alone, both = document(made()), document(made(), contrast=made(STORY, MOVED))
    assert alone.count("data-player") + 1 == both.count("data-player")
    assert "OIDC issuer" in both.replace("of the OIDC issuer", "")
    assert "no secret and no id-token endpoint there" in both
    assert "The same leak, twice, in one range" in both
    assert "The same leak, twice, in one range" not in alone
