"""``bulkhead campaign``: what is typed, what lands, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bot.__main__ import app
from bot.app import opened
from bot.settings import read


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_HOME", str(tmp_path))


def typed(*args: str) -> Result:
    return CliRunner().invoke(app, ["campaign", *args])


WHAT = ("--action", "tj-actions/changed-files@" + "a" * 40, "--from", "2026-03-14T16:00Z", "--to", "2026-03-15")


def test_the_same_question_lands_under_one_name() -> None:
    done = typed("open", *WHAT, "--org", "harbor-lights", "--repo", "river-works/ferry", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["campaign"] == (
        f"action:{WHAT[1]};2026-03-14T16:00Z..2026-03-15T00:00Z;harbor-lights,river-works/ferry"
    )
    assert "campaign show" in typed("open", *WHAT, "--org", "harbor-lights").output
    with opened(read(), sites={}) as bulkhead:
        rows = bulkhead.store.inbox("landed")
    assert len(rows) == 2
    assert rows[0]["body"]["credentials"][0]["kind"] == "campaign"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("open", "--from", "2026-03-14", "--org", "x"), "name one thing"),
        (("open", *WHAT, "--package", "a@1", "--org", "x"), "name one thing"),
        (("open", "--action", "tj-actions@v1", "--from", "2026-03-14", "--org", "x"), "is no action"),
        (("open", "--action", "a/b", "--from", "2026-03-14", "--org", "x"), "is no action"),
        (("open", *WHAT), "say where to look"),
        (("open", *WHAT, "--org", "a/b"), "--org takes OWNER"),
        (("open", *WHAT, "--repo", "harbor-lights"), "--repo takes OWNER/REPOSITORY"),
        (("open", "--action", "a/b@v1", "--from", "yesterday", "--org", "x"), "ISO 8601"),
        (("open", "--action", "a/b@v1", "--from", "2026-03-14", "--to", "2026-03-13", "--org", "x"), "before --to"),
        (("show",), "there is no campaign"),
    ],
)
def test_bad_input_is_one_sentence(args: tuple[str, ...], said: str) -> None:
    done = typed(*args)
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.output.split())
