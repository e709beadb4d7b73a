"""``bulkhead oidc migrate`` at the range's GitHub: shown first, then ordered, and an error of one ends no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bot.__main__ import app
from bot.app import opened
from bot.clients import GitHubClient
from bot.range.company import DEPLOY, FERRY, LEDGER
from bot.range.server import Range
from bot.settings import Settings

ROLE = "arn:aws:iam::123456789012:role/ferry"
Typed = Callable[..., Result]


@pytest.fixture
def typed(company: Range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    cast = company.reset()
    monkeypatch.setenv("BULKHEAD_HOME", str(tmp_path))
    monkeypatch.setenv("BULKHEAD_MODE", "ask")
    monkeypatch.setenv("BULKHEAD_GITHUB_API", company.github_url)
    monkeypatch.setenv("BULKHEAD_GITHUB_TOKEN", cast["github"]["bulkhead-bot"])
    return lambda *words: CliRunner().invoke(app, ["oidc", "migrate", *words])


def pulls(company: Range) -> list[dict[str, Any]]:
    github = GitHubClient(token=company.company.cast["github"]["mara"], base_url=company.github_url)
    return list(github.pages(f"/repos/{FERRY}/pulls", state="all"))


def test_it_is_shown_first_and_ordered_when_told_to(typed: Typed, company: Range, tmp_path: Path) -> None:
    shown = typed(FERRY, "--secret", "AWS_ACCESS_KEY_ID", "--role", ROLE)
    assert shown.exit_code == 0, shown.output
    assert "can move to OIDC" in shown.output
    assert f"{DEPLOY}: deploy gets an identity" in " ".join(shown.output.split())
    assert f"oidc migrate {FERRY} --open" in shown.output
    done = typed(FERRY, "--secret", "AWS_ACCESS_KEY_ID", "--role", ROLE, "--open", "--by", "ann")
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert "has landed" in told
    assert "No worker runs now" in told
    with opened(Settings(home=tmp_path), sites={}) as bulkhead:
        (row,) = bulkhead.store.inbox("landed")
    (wanted,) = row["body"]["credentials"]
    assert (row["body"]["by"], wanted["kind"]) == ("ann", "migration")
    assert wanted["id"] == f"{FERRY};secret=AWS_ACCESS_KEY_ID;role={ROLE}"
    assert pulls(company) == [], "the worker opens it, when people have agreed"


def test_of_many_each_gets_its_turn_and_an_error_shows_in_the_status(typed: Typed) -> None:
    done = typed("harbor-lights/nothing", LEDGER, FERRY, "--open", "--json")
    rows = json.loads(done.stdout)
    assert done.exit_code == 1
    assert "404" in rows[0]["error"]
    assert (rows[1]["needed"], rows[1]["report"], rows[1]["error"]) == (False, "", "")
    assert (rows[2]["new"], rows[2]["report"][:4]) == (True, "cli:")


def test_an_installation_that_only_observes_says_so_and_orders_nothing(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKHEAD_MODE", "observe")
    done = typed(FERRY, "--open")
    assert done.exit_code == 2
    assert "set BULKHEAD_MODE to ask" in " ".join(done.output.split())
    with opened(Settings(home=tmp_path), sites={}) as bulkhead:
        assert bulkhead.store.inbox() == []


def test_what_is_no_repository_is_refused_in_one_sentence(typed: Typed) -> None:
    done = typed("ferry")
    assert done.exit_code == 2
    assert "write OWNER/NAME" in " ".join(done.output.split())
