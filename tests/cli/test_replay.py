"""Replays as files: exported, found again, refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.cli.replay import FILE
from tests.cli.test_decisions import Type, home, typed
from tests.incidents import CLOSED, ID, house

__all__ = ["home", "typed"]  # fixtures


@pytest.fixture
def closed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one closed incident; commands are typed beside it."""
    monkeypatch.chdir(tmp_path)
    house(home, CLOSED, status="closed")
    return home


def test_an_incident_is_exported_as_one_page(closed: Path, typed: Type) -> None:
    typed("incident", "export", ID, "--html")
    text = Path(f"{ID}.html").read_text(encoding="utf-8")
    assert "Leaked AWS access key" in text
    assert text.count('<li class="scene') > 5
    assert "is there already" in typed("incident", "export", ID, "--html", status=2).output
    said = json.loads(typed("incident", "export", ID, "--html", "--json", "--out", "other.html").output)
    assert said == {"incident": ID, "file": "other.html"}
    assert Path("other.html").read_text(encoding="utf-8") == text


def test_a_replay_is_written_and_named(closed: Path, typed: Type) -> None:
    file = json.loads(typed("replay", ID, "--no-open", "--json").output)["file"]
    assert Path(file).parent == closed
    assert Path(file).name in typed("replay", file, "--no-open").output.replace("\n", "")


def test_without_a_name_it_is_the_drill_that_was_run_last(home: Path, typed: Type) -> None:
    assert "no drill has left a replay" in typed("replay", "--no-open", status=2).output.replace("\n", " ")
    for name in ("20260101T000000Z-a", "20260301T000000Z-b", "20260201T000000Z-c"):
        (home / "drills" / name).mkdir(parents=True)
        (home / "drills" / name / FILE).write_text("x")
    assert "20260301T000000Z-b" in typed("replay", "--no-open").output.replace("\n", "")


def test_a_contrast_is_for_drills_that_have_one(home: Path, typed: Type) -> None:
    said = typed("drill", "run", "github-pat-in-image", "--contrast", status=2).output
    assert "nobody has played github-pat-in-image under OIDC" in said
    assert not (home / "drills").exists()
    (home / "vault.key").parent.mkdir(parents=True, exist_ok=True)
    (home / "bulkhead.db").touch()
    line = ("--home", str(home), "--range", str(home / "line"), "--resume", "--contrast")
    assert "leave it out to go on" in typed("drill", "run", "aws-key-in-public-log", *line, status=2).output


def test_what_is_not_there_is_said_in_a_sentence(closed: Path, typed: Type) -> None:
    typed("replay", "inc-none", "--no-open", status=2)
    away = str(closed / "no" / "such" / "file.html")
    assert "cannot be written" in typed("incident", "export", ID, "--html", "--out", away, status=2).output
