"""``bulkhead postmortem`` as it is typed: written, followed up, published, taken out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.incidents import CLOSED, ID, house
from tests.learn.test_page import Tags
from tests.learn.test_quiz import bulkhead


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BULKHEAD_RESPONDERS", "ann,bob")
    house(tmp_path, CLOSED, status="closed")
    return tmp_path


def test_from_the_draft_to_a_file(home: Path) -> None:
    def typed(*words: str, said: str = "", status: int = 0) -> str:
        done = bulkhead(home, "postmortem", *words, said=said)
        assert done.exit_code == status, done.output
        return done.output

    assert "is not written" in typed("publish", ID, "--by", "ann", status=2)
    typed("edit", ID, "durable_fix", "--by", "ann", said="The job takes a role by OIDC\n")
    typed("edit", ID, "lucky", "It was slow", "--by", "ann")
    assert "somebody else wrote it too" in typed("edit", ID, "lucky", "It was late", "--seen", "0", "--by", "bob")
    assert "several people at once (ann, bob)" in typed("show", ID)
    typed("edit", ID, "lucky", "It was slow and late", "--by", "bob")
    assert "no field 'luck'" in typed("edit", ID, "luck", "x", status=2)
    assert "is written: secret-gone" in typed("follow", ID, "Cut it", "--check", "secret-gone x", status=2)
    line = ("--owner", "ann", "--due", "2026-12-01", "--check", "secret-gone o/ferry KEY")
    name = typed("follow", ID, "Delete the secret", *line, "--by", "ann").strip().partition(":")[0]
    typed("follow", ID, "--id", name, "--due", "2026-12-02", "--by", "bob")
    assert "a machine looks at this one" in typed("done", ID, name, status=2)
    shown = json.loads(typed("show", ID, "--json"))
    (one,) = shown["follow_ups"]
    assert (one["title"], one["owner"], one["due"], one["state"]) == ("Delete the secret", "ann", "2026-12-02", "open")
    assert shown["missing"] == [] and shown["fields"]["lucky"] == "It was slow and late"
    assert "is not one of the responders" in typed("publish", ID, "--by", "mallory", status=3)
    assert "is published" in typed("publish", ID, "--by", "bob")
    assert "was published" in typed("publish", ID, "--by", "ann", status=2)
    assert "published" in typed("list")
    page = home / "p.html"
    typed("export", ID, "--html", "--out", str(page))
    read = Tags()
    read.feed(page.read_text())
    assert read.open == [] and "Delete the secret" in page.read_text()
    assert "is there already" in typed("export", ID, "--out", str(page), status=2)
    assert typed("export", ID).startswith("# Post-mortem: Leaked AWS access key")


def test_an_incident_that_there_is_not(home: Path) -> None:
    done = bulkhead(home, "postmortem", "show", "inc-none")
    assert done.exit_code == 2 and "say which incident" in done.output
