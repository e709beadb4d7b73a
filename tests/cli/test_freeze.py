"""The kill switch as it is typed, and where it shows: the incident's page, doctor, metrics."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.app import opened
from bot.lessons.measures import Measures
from bot.settings import read
from bot.store import iso
from bot.web import metrics
from tests.cli.test_decisions import Type, home, typed
from tests.incidents import ASKING, ID
from tests.incidents import house as land_incident
from tests.keys import Ring, needs_keygen

__all__ = ["home", "typed"]
FROZEN = {"by": "ann", "at": iso(datetime.now(UTC)), "reason": "the policy is wrong"}


def test_it_is_thrown_shown_and_taken_back_with_a_reason(typed: Type, home: Path) -> None:
    land_incident(home, [*ASKING, ("deactivate", "frozen", FROZEN)])
    assert "say why: freeze needs --reason" in typed("freeze", "on", "--by", "ann", status=2).stderr
    assert "not one of the responders" in typed("freeze", "on", "--by", "zoe", "--reason", "x", status=3).stderr
    assert json.loads(typed("freeze", "show", "--json").stdout)["frozen"] is False
    typed("freeze", "on", "--by", "ann", "--reason", "the policy is wrong")
    shown = json.loads(typed("freeze", "show", "--json").stdout)
    assert (shown["frozen"], shown["by"], shown["reason"]) == (True, "ann", "the policy is wrong")
    assert shown["waits"] == {ID: ["deactivate"]}
    assert "frozen already" in typed("freeze", "on", "--by", "bo", "--reason", "me too").stdout
    assert "deactivate waits: ann has frozen everything: the policy is wrong" in typed("incident", "show", ID).stdout
    found = json.loads(typed("doctor", "--json", status=0).stdout)["findings"]
    assert [one["detail"] for one in found if one["name"] == "Frozen"] == ["by ann: the policy is wrong"]
    with opened(read(), sites={}) as bulkhead:
        frozen = bulkhead.switch.standing() is not None
        page = metrics.page(bulkhead.store, datetime.now(UTC), {}, Measures(bulkhead.store), frozen=frozen)
    assert b"bulkhead_frozen 1.0" in page
    typed("freeze", "off", "--by", "bo", "--reason", "mended")
    assert typed("freeze", "show").stdout.startswith("  It is not frozen.")
    assert "nothing is frozen" in typed("freeze", "off", "--by", "bo", "--reason", "mended", status=2).stderr


def test_the_setting_is_said_where_it_is_set(typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_FREEZE", "a new release is tried")
    assert "BULKHEAD_FREEZE is set here" in typed("freeze", "show").stdout
    found = json.loads(typed("doctor", "--json").stdout)["findings"]
    assert [one["suggestion"] for one in found if one["name"] == "Frozen"] == [
        "Take BULKHEAD_FREEZE out of the environment."
    ]


@needs_keygen
def test_where_decisions_are_signed_a_freeze_and_its_thaw_are(
    typed: Type, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = Ring(tmp_path / "keys")
    key = ring.key("ann")
    monkeypatch.setenv("BULKHEAD_SIGNERS", str(ring.signers))
    assert "must be signed here" in typed("freeze", "on", "--by", "ann", "--reason", "x", status=3).stderr
    typed("freeze", "on", "--by", "ann", "--reason", "x", "--sign", str(key))
    assert json.loads(typed("freeze", "show", "--json").stdout)["frozen"] is True
    assert "must be signed here" in typed("freeze", "off", "--by", "ann", "--reason", "y", status=3).stderr
    assert json.loads(typed("freeze", "show", "--json").stdout)["frozen"] is True
    typed("freeze", "off", "--by", "ann", "--reason", "y", "--sign", str(key))
    assert json.loads(typed("freeze", "show", "--json").stdout)["frozen"] is False
