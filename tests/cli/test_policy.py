"""``bulkhead policy``: every cell by its posture, and the rule that fires for a case."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bot.__main__ import app
from bot.app import SHIPPED, opened
from bot.engine.policy import Policy
from bot.settings import read
from bot.store import canonical, iso
from tests.incidents import ASKING, BOOK, ID, REPORT, ROW, START

SHIPPED_POLICY = (SHIPPED / "policy.yaml").read_text()
PLAYBOOK = (SHIPPED / "containment" / "aws-access-key.yaml").read_text()
Type = Callable[..., Result]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    for name in ("BULKHEAD_SIGNERS", "BULKHEAD_POLICY", "BULKHEAD_MODE", "BULKHEAD_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BULKHEAD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BULKHEAD_RESPONDERS", "ann,bo")

    def run(*args: str, status: int = 0) -> Result:
        result = CliRunner().invoke(app, list(args))
        assert result.exit_code == status, result.output
        return result

    return run


def test_show_lists_every_cell_once(typed: Type) -> None:
    said = json.loads(typed("policy", "show", "--json").output)
    policy = Policy.load(SHIPPED_POLICY)
    listed: dict[tuple[str, ...], tuple[str, str]] = {}
    for posture, areas in said["postures"].items():
        for area in areas:
            cells = list(itertools.product(*(area["covers"][name] for name in policy.postures.axes)))
            assert len(cells) == area["cells"]
            assert not listed.keys() & set(cells)
            listed |= dict.fromkeys(cells, (posture, area["id"]))
    assert listed == {cell: (rule["posture"], rule["id"]) for cell, rule in policy.postures.cells.items()}
    assert said["installation"] == {"mode": "observe", "responders": ["ann", "bo"]}
    assert said["brake"] == {"unattended_cuts": 5, "within_s": 600}


def test_show_says_it_in_words_and_one_posture_alone(typed: Type) -> None:
    page = typed("policy", "show").output
    for words in ("act: it is done at once", "two: two different people", "live-in-public", "after 5", "ann, bo"):
        assert words in page
    alone = typed("policy", "show", "--posture", "two").output
    assert "two: two different people" in alone
    assert "act: it is done at once" not in alone
    assert "there is no posture" in typed("policy", "show", "--posture", "three", status=2).output


def test_show_lists_every_cell_of_what_a_report_may_start(typed: Type) -> None:
    said = json.loads(typed("policy", "show", "--json").output)
    policy = Policy.load(SHIPPED_POLICY)
    listed: dict[tuple[str, ...], str] = {}
    for area in said["authorities"]:
        cells = list(itertools.product(*(area["covers"][name] for name in policy.authorities.axes)))
        assert len(cells) == area["cells"]
        assert not listed.keys() & set(cells)
        listed |= dict.fromkeys(cells, area["id"])
    assert listed == {cell: rule["id"] for cell, rule in policy.authorities.cells.items()}
    page = " ".join(typed("policy", "show").output.split())
    for words in ("A report starts an incident in which every change asks", "nobody-signed", "Storm: after 20"):
        assert words in page


STARTS = [
    ("source=signed by=github repository=ours", "act", "signed"),
    ("source=signed by=kingfisher repository=a/b", "act", "signed"),
    ("source=signed by=ci repository=other", "ask", "signed-of-elsewhere"),
    ("source=unsigned by=other", "ask", "nobody-signed"),
    ("by=github exposure=public kind=npm-token", "ask", "nobody-signed"),
    ("source=operator repository=unknown", "act", "a-person-of-ours"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "starts", "rule"), STARTS)
def test_test_says_what_a_report_may_start(typed: Type, case: str, starts: str, rule: str) -> None:
    args = [part for word in case.split() for part in (f"--{word.split('=')[0]}", word.split("=")[1])]
    found = json.loads(typed("policy", "test", *args, "--json").output)["authority"]
    assert (found["starts"], found["rule"]) == (starts, rule)
    assert f"Rule {rule}: {found['reason']}" in " ".join(typed("policy", "test", *args).output.split())


def test_whose_repository_it_is_is_said_by_the_policy(
    typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "policy.yaml"
    own.write_text(SHIPPED_POLICY.replace("ours: []", "ours: [harbor-lights/*]"))
    monkeypatch.setenv("BULKHEAD_POLICY", str(own))
    for repository, rule in (("Harbor-Lights/ferry", "signed"), ("river-works/ferry", "signed-of-elsewhere")):
        args = ("policy", "test", "--source", "signed", "--repository", repository, "--json")
        assert json.loads(typed(*args).output)["authority"]["rule"] == rule
    wrong = typed("policy", "test", "--source", "drill", "--by", "cli", status=2).output
    assert "the axis source has no value 'drill'" in wrong
    assert "the axis by has no value 'gihub'" in typed("policy", "test", "--by", "gihub", status=2).output


CASES = [
    ("source=operator possession=live effect=contain exposure=public kind=npm-token", "act", "exposed-and-live"),
    ("source=operator possession=live effect=contain exposure=public machine=exists", "one", "malware-on-a-machine"),
    ("source=signed possession=id-only effect=contain", "one", "cut-on-an-id-only"),
    ("source=unsigned possession=live effect=destroy", "two", "destroy-on-an-unsigned-report"),
    ("", "person", "unknown-effect"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "posture", "rule"), CASES, ids=[row[2] for row in CASES])
def test_test_says_which_rule_fires_and_why(typed: Type, case: str, posture: str, rule: str) -> None:
    args = [part for word in case.split() for part in (f"--{word.split('=')[0]}", word.split("=")[1])]
    found = json.loads(typed("policy", "test", *args, "--json").output)
    assert (found["posture"]["posture"], found["posture"]["rule"]) == (posture, rule)
    page = " ".join(typed("policy", "test", *args).output.split())
    assert f"Rule {rule}: {found['posture']['reason']}" in page
    assert "Mode observe: it would only be said, not done" in page


def test_a_typing_error_does_not_pass_for_unknown(typed: Type) -> None:
    assert "did you mean 'operator'" in typed("policy", "test", "--source", "operater", status=2).output
    assert "--incident and --step" in typed("policy", "test", "--incident", "x", status=2).output


def test_severity_is_said_when_it_is_asked_for(typed: Type) -> None:
    found = json.loads(typed("policy", "test", "--exposure", "public", "--live", "live", "--json").output)
    assert found["severity"]["rule"] == "live-in-public"


def test_a_policy_of_your_own_is_used(typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "policy.yaml"
    own.write_text(SHIPPED_POLICY.replace("unattended_cuts: 5", "unattended_cuts: 9"))
    monkeypatch.setenv("BULKHEAD_POLICY", str(own))
    assert json.loads(typed("policy", "show", "--json").output)["brake"]["unattended_cuts"] == 9
    own.write_text("kinds: {}\n")
    assert "the policy needs" in typed("policy", "show", status=2).output


def test_a_step_of_an_incident_is_told_with_what_stands_on_its_timeline(typed: Type) -> None:
    plant()
    of_step = ("policy", "test", "--incident", ID, "--step", "deactivate")
    found: dict[str, Any] = json.loads(typed(*of_step, "--json").output)
    assert found["case"]["exposure"] == "public"
    assert found["posture"]["rule"] == "exposed-and-live"
    assert found["stands"]["rule"] == "mode-ask"
    page = " ".join(typed(*of_step).output.split())
    assert "On the timeline since 2026-03-01" in page
    # What if only insiders could have seen it?
    other = typed(*of_step, "--exposure", "internal", "--json").output
    assert json.loads(other)["posture"]["rule"] == "live-undoable-cut"
    assert "did you mean 'rotate'" in typed("policy", "test", "--incident", ID, "--step", "rotat", status=2).output
    reads = typed("policy", "test", "--incident", ID, "--step", "find").output
    assert "only reads" in reads


def plant() -> None:
    """An incident that asks, with the text of its playbook."""
    book = BOOK | {"text": PLAYBOOK, "drill": "x"}
    body = {"report": REPORT, "inbox": "cli:1", "playbook": book, "repository": "o/ferry"}
    row = {"id": ID, "opened_at": iso(START), "world": "real", "status": "open", "title": "x", "credential_key": ROW}
    with opened(read(), sites={}) as bulkhead:
        with bulkhead.store.begin() as c:
            bulkhead.store.add_incident(c, row | {"body": canonical(body)})
        for step, kind, said in ASKING:
            bulkhead.timeline.append(ID, step, kind, said, at=iso(START)).result()
