"""Signal 1: red on the attack, silent on what only looks like it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.signals import deploy_source
from bot.signals.baseline import Baseline, Entry
from bot.signals.facts import AnyFact, Deployment, Push, Run, WorkflowFile
from bot.signals.findings import Finding, Sure
from bot.signals.given import Given
from tests.signals.histories import DEPLOY, REPO, START, O, run

GIVEN = Given(now=datetime(2026, 12, 1, tzinfo=UTC))
LATER = START + timedelta(days=20)


def learned(**kw: str) -> tuple[Baseline, list[AnyFact]]:
    baseline = Baseline()
    usual: list[AnyFact] = [
        run(k, START + timedelta(hours=k), DEPLOY, actor=("mara", "jonas")[k % 2]) for k in range(40)
    ]
    assert list(deploy_source.judge(usual, baseline, GIVEN)) == []
    return baseline, usual


def judge(baseline: Baseline, *facts: AnyFact) -> list[Finding]:
    return list(deploy_source.judge(facts, baseline, GIVEN))


ATTACKS: dict[str, tuple[Run, Sure]] = {
    "new-branch": (run(99, LATER, DEPLOY, branch="quiet"), Sure.LIKELY),
    "new-event": (run(99, LATER, DEPLOY, event="pull_request_target"), Sure.CERTAIN),
    "new-actor": (run(99, LATER, DEPLOY, actor="stranger"), Sure.LIKELY),
    "new-head": (run(99, LATER, DEPLOY, head="stranger/ferry"), Sure.CERTAIN),
    "rerun-by-another": (run(99, LATER, DEPLOY, again="stranger", attempt=2), Sure.LIKELY),
    "new-workflow": (run(99, LATER, ".github/workflows/security-scan.yml"), Sure.LIKELY),
}


@pytest.mark.parametrize("what", ATTACKS)
def test_red_with_the_attack_and_once_only(what: str) -> None:
    baseline, _ = learned()
    attack, sure = ATTACKS[what]
    found = judge(baseline, attack)
    assert (what, sure) in [(f.what, f.sure) for f in found]
    again = judge(baseline, replace(attack, at=LATER + timedelta(hours=1)))
    assert {f.name for f in again} == {f.name for f in found}, "what was found strange is not learned"


BENIGN: dict[str, list[AnyFact]] = {
    "a re-run by a maintainer": [run(99, LATER, DEPLOY, actor="mara", again="jonas", attempt=2)],
    "the next version's tag": [run(98, LATER, DEPLOY, branch="main"), run(99, LATER, DEPLOY, branch="main")],
    "a newcomer who has pushed before": [
        Push(at=LATER, origin=O, repository=REPO, ref="refs/heads/fix", before="", after="a" * 40, kind="push",
             actor="ines"), run(99, LATER + timedelta(hours=1), DEPLOY, actor="ines"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("why", BENIGN)
def test_silent_on_what_only_looks_like_it(why: str) -> None:
    baseline, _ = learned()
    assert [f.says for f in judge(baseline, *BENIGN[why])] == []


def test_by_hand_and_a_reviewed_new_workflow_are_lines_of_a_digest_at_most() -> None:
    baseline, _ = learned()
    by_hand = run(98, LATER, DEPLOY, event="workflow_dispatch")
    brought = run(99, LATER, ".github/workflows/docs.yml")
    checked = run(97, LATER, ".github/workflows/lint.yml", event="pull_request")
    merge = Push(at=LATER, origin=O, repository=REPO, ref="refs/heads/main", before="", after=brought.sha,
                 kind="pr_merge", actor="jonas")  # fmt: skip
    found = judge(baseline, checked, by_hand, merge, brought)
    assert {f.sure for f in found} == {Sure.POSSIBLE}
    assert len(found) == 3


def test_before_enough_was_seen_nothing_is_news() -> None:
    assert judge(Baseline(), *(run(k, START + timedelta(hours=k), DEPLOY, actor=f"new-{k}") for k in range(4))) == []


def test_a_branch_for_every_run_is_not_judged_by_its_branch() -> None:
    baseline = Baseline()
    names = "abcdefghijklmnopqrstuvwxyz"
    many = [run(k, START + timedelta(hours=k), DEPLOY, branch=f"preview-{names[k % 26]}{names[k // 26]}")
            for k in range(40)]  # fmt: skip
    judge(baseline, *many)
    assert judge(baseline, run(99, LATER, DEPLOY, branch="preview-zz")) == []


def test_a_declared_list_is_all_that_is_right_and_has_an_end() -> None:
    baseline, _ = learned()
    subject = f"{REPO}:{DEPLOY}"
    baseline.put(Entry(signal="deploy-source", subject=subject, feature="branch", value="release-*", first=START,
                       last=START, how="declared", by="alice", until=LATER + timedelta(days=1)))  # fmt: skip
    assert judge(baseline, run(98, LATER, DEPLOY, branch="release-7")) == []
    assert [f.sure for f in judge(baseline, run(99, LATER, DEPLOY, branch="main"))] == [Sure.CERTAIN]
    baseline.forget(LATER + timedelta(days=2))
    assert judge(baseline, run(97, LATER + timedelta(days=2), DEPLOY, branch="main")) == []


def test_what_a_person_has_pruned_is_news_again() -> None:
    baseline, _ = learned()
    subject = f"{REPO}:{DEPLOY}"
    gone = baseline.entries["deploy-source", subject, "event", "push"]
    baseline.put(replace(gone, how="pruned", by="alice"))
    assert "new-event" in [f.what for f in judge(baseline, run(99, LATER, DEPLOY))]


def test_what_was_not_seen_for_a_season_is_new_again() -> None:
    baseline, _ = learned()
    late = START + timedelta(days=200)
    fresh = [run(500 + k, late + timedelta(minutes=k), DEPLOY, actor="jonas") for k in range(2)]
    assert "new-workflow" in [f.what for f in judge(baseline, *fresh)]


def test_a_workflow_file_pushed_past_review_that_names_secrets() -> None:
    baseline, _ = learned()
    file = WorkflowFile(at=LATER, origin=O, repository=REPO, branch="main", path=".github/workflows/scan.yml", new=True,
                        actor="mara", sha="c" * 40, secrets=("AWS_ACCESS_KEY_ID",))  # fmt: skip
    (found,) = judge(baseline, file)
    assert (found.what, found.sure) == ("new-workflow", Sure.LIKELY)
    assert "AWS_ACCESS_KEY_ID" in found.says
    old = replace(file, path=DEPLOY, new=False)
    assert judge(baseline, old, replace(old, branch="release-1.3", new=True)) == [], "an old file on a new branch"


def test_a_deployment_by_somebody_and_from_somewhere_new() -> None:
    baseline = Baseline()
    usual = Deployment(at=START, origin=O, repository=REPO, id=1, environment="production", ref="main", sha="a" * 40,
                       creator="github-actions[bot]")  # fmt: skip
    judge(baseline, *(replace(usual, id=k, at=START + timedelta(hours=k)) for k in range(40)))
    odd = replace(usual, id=99, at=LATER, ref="quiet", creator="stranger")
    assert {f.what for f in judge(baseline, odd)} == {"new-ref", "new-creator"}
