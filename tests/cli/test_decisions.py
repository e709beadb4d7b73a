"""Signing, break-glass and review as they are typed, beside a store as a worker has left it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bot.__main__ import app
from bot.app import opened
from bot.engine.decisions import Ask, open_asks
from bot.settings import Settings, read
from bot.store import iso
from bot.timeline import load
from tests.incidents import ASKED, ASKING, ID, PLAN, house
from tests.keys import Ring, needs_keygen

TWO = [*ASKING[:-1], ("deactivate", "asked", ASKED | {"needs": 2, "group": "two"})]
Type = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("BULKHEAD_SIGNERS", "BULKHEAD_POLICY", "BULKHEAD_MODE", "BULKHEAD_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BULKHEAD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BULKHEAD_RESPONDERS", "ann,bo")
    return tmp_path / "home"


@pytest.fixture
def typed(home: Path) -> Type:
    """Type a command; its status must be the one that is expected."""

    def run(*args: str, status: int = 0) -> Result:
        result = CliRunner().invoke(app, list(args))
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result

    return run


def counted(settings: Settings) -> tuple[str, ...] | None:
    """Who has agreed, as a worker with these settings counts."""
    with opened(settings, sites={}) as bulkhead:
        events = load(bulkhead.store, ID)
        (ask,) = open_asks(events)
        assert isinstance(ask, Ask)
        found = bulkhead.desk.count(ask, bulkhead.store.decisions(ID), "jonas")
        return found.by if found else None


@needs_keygen
def test_a_decision_is_signed_with_a_key_of_the_list(
    typed: Type, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house(home, ASKING)
    ring = Ring(tmp_path / "keys")
    ann, bo = ring.key("ann"), ring.key("bo")
    monkeypatch.setenv("BULKHEAD_SIGNERS", str(ring.signers))
    approve = ("incident", "approve", ID, "deactivate", "--by", "ann")
    assert "must be signed" in typed(*approve, status=3).output
    assert "not one of ann" in typed(*approve, "--sign", str(bo), status=3).output
    assert "signed nothing" in typed(*approve, "--sign", str(tmp_path / "none"), status=2).output
    assert counted(read()) is None
    typed(*approve, "--sign", str(ann))
    assert counted(read()) == ("ann",)
    assert "on record already" in typed(*approve, "--sign", str(ann)).output
    for order in (["abort", ID], ["waive", ID, "x"], ["undo", ID, "deactivate"]):
        typed("incident", *order, "--reason", "x", "--by", "ann", status=2 if order[0] != "abort" else 3)


def test_a_list_of_signers_that_is_not_there_is_told_at_once(typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_SIGNERS", "/nowhere/allowed_signers")
    assert "BULKHEAD_SIGNERS" in typed("incident", "list", status=2).output


def test_a_broken_glass_stays_on_the_list_until_somebody_else_has_looked(typed: Type, home: Path) -> None:
    house(home, TWO)
    glass = ("incident", "approve", ID, "deactivate", "--break-glass", "--by", "ann")
    assert "--reason" in typed(*glass, status=2).output
    assert "reviews it within a day" in " ".join(typed(*glass, "--reason", "alone").output.split())
    assert counted(read()) == ("ann",)
    assert "reviews it until" not in typed("incident", "list").output, "the worker has not counted it yet"
    body = {"by": "ann", "reason": "alone", "review_by": iso(datetime(2026, 3, 2, tzinfo=UTC)), "plan_hash": PLAN}
    with opened(read(), sites={}) as bulkhead:  # what the worker writes
        at = iso(datetime(2026, 3, 1, tzinfo=UTC))
        bulkhead.timeline.append(ID, "deactivate", "break-glass", body, at=at).result()
        bulkhead.timeline.append(ID, "incident", "closed", {"ledger": [], "failed": []}, at=at).result()
    assert f"incident review {ID} --step deactivate" in typed("incident", "list").output
    (due,) = json.loads(typed("incident", "list", "--json").output)["reviews"]
    assert (due["by"], due["step"], due["due"]) == ("ann", "deactivate", "2026-03-02T00:00:00.000000Z")
    review = ("incident", "review", ID, "--step", "deactivate")
    assert "somebody else" in typed(*review, "--by", "ann", status=3).output
    assert "not one of the responders" in typed(*review, "--by", "mallory", status=3).output
    typed(*review, "--by", "bo", "--text", "it was right")
    assert json.loads(typed("incident", "list", "--json").output)["reviews"] == []
    assert "wait for a review: none" in typed(*review, "--by", "bo", status=2).output
    assert "reviewed" in typed("incident", "show", ID, "--timeline").output
    typed("incident", "verify", ID)


def test_an_approval_needs_no_reason(typed: Type, home: Path) -> None:
    house(home, ASKING)
    wanted = "belongs to --break-glass"
    assert wanted in typed("incident", "approve", ID, "deactivate", "--by", "ann", "--reason", "x", status=2).output
