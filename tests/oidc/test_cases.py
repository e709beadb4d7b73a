"""Every recipe against files of our own: before and after, and what is refused with which code.

A case is a file in ``cases/PROVIDER/``: ``NAME.before.yml`` with ``NAME.after.yml`` beside it, or
``NAME.refuse.CODE.yml``; ``NAME.values.json`` holds what people answered. New ones are found by themselves.
"""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from bot.oidc.hands import HANDS
from bot.oidc.plan import Plan, plan
from bot.oidc.refusal import CODES, Refusal
from bot.oidc.repository import FOLDER, Repository
from bot.oidc.splice import restored
from bot.oidc.work import Answers

CASES = Path(__file__).parent / "cases"
BEFORE = sorted(CASES.glob("*/*.before.yml"))
REFUSED = sorted(CASES.glob("*/*.refuse.*.yml"))


def name_of(path: Path) -> str:
    return f"{FOLDER}{path.name.split('.')[0]}.yml"


def planned(path: Path, data: bytes | None = None) -> Plan:
    said = path.with_name(f"{path.name.split('.')[0]}.values.json")
    values = json.loads(said.read_text()) if said.is_file() else {}
    answers = Answers(default_permissions=values.pop("default_permissions", ""), values=values)
    return plan(Repository.of({name_of(path): path.read_bytes() if data is None else data}), answers)


def case_id(path: Path) -> str:
    return f"{path.parent.name}-{path.name.removesuffix('.yml')}"


@pytest.mark.parametrize("path", BEFORE, ids=case_id)
def test_a_file_becomes_what_was_written_by_hand(path: Path) -> None:
    made = planned(path)
    assert [str(outcome.refusal) for outcome in made.refused] == []
    assert (
        made.after.files[name_of(path)].decode() == path.with_name(path.name.replace(".before.", ".after.")).read_text()
    )


@pytest.mark.parametrize("path", BEFORE, ids=case_id)
def test_a_second_run_finds_nothing_to_change(path: Path) -> None:
    again = planned(path, path.with_name(path.name.replace(".before.", ".after.")).read_bytes())
    assert again.changed == {}
    assert again.outcomes == ()


@pytest.mark.parametrize("path", BEFORE, ids=case_id)
def test_taking_the_edits_back_gives_the_file_byte_for_byte(path: Path) -> None:
    made = planned(path)
    text = made.after.files[name_of(path)].decode()
    for outcome in reversed(made.outcomes):
        text = restored(text, outcome.splices.get(name_of(path), ()))
    assert text.encode() == path.read_bytes()


@pytest.mark.parametrize("path", REFUSED, ids=case_id)
def test_what_cannot_be_migrated_is_refused_whole_with_its_code(path: Path) -> None:
    made = planned(path)
    assert {o.refusal.code for o in made.outcomes if o.refusal} == {path.name.split(".")[2]}
    assert made.changed == {}
    assert made.migrated == []


def test_every_recipe_has_cases_of_both_kinds() -> None:
    for provider in HANDS:
        assert any(path.parent.name == provider for path in BEFORE), f"{provider} has no case with before and after"
        assert any(path.parent.name == provider for path in REFUSED), f"{provider} has no case that is refused"


def test_every_before_has_an_after_and_no_after_stands_alone() -> None:
    afters = {path.name.replace(".after.", ".before.") for path in CASES.glob("*/*.after.yml")}
    assert afters == {path.name for path in BEFORE}


def test_the_list_of_refusals_is_closed() -> None:
    assert all(path.name.split(".")[2] in CODES for path in REFUSED)
    with pytest.raises(ValueError, match="not in the list"):
        Refusal("because", "it is so")


def test_a_comment_that_asks_to_keep_a_release_is_told() -> None:
    (outcome,) = planned(CASES / "npm" / "words-above-a-step.before.yml").migrated
    assert any("a comment at step 'Publish' asks to keep its release" in note for note in outcome.notes)


def test_no_network_is_used_to_plan_and_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a plan asked the network")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refused)
    monkeypatch.setattr(subprocess, "Popen", refused)  # nor by another program
    with pytest.raises(AssertionError):
        urllib.request.urlopen("http://127.0.0.1:9/")
    for path in BEFORE:
        assert planned(path).changed
