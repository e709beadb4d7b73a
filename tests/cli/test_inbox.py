"""The inbox and scanner files, as they are typed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.__main__ import app
from bot.app import opened
from bot.intake.delivery import Delivery, Reading, Seen, Sender
from bot.model import Trust
from bot.settings import read
from bot.sites import real_site
from tests.cli.test_decisions import Type, home, typed
from tests.intake.office import KEY_ID, PAT, SECRET, TOKEN
from tests.intake.test_scanners import baseline, gitleaks, kingfisher

__all__ = ["home", "typed"]  # fixtures


def deliver(text: str, called: str = "npm_access_token", kind: str = "npm-token") -> str:
    """Land one unsigned delivery; returns its id."""
    delivery = Delivery(source="gitleaks", body=text.encode(), headers={}, at=datetime.now(UTC))
    seen = Seen(called=called, kind=kind, value=text, text=text, where=".env", line=3)
    with opened(read(), sites={}) as bulkhead:
        sender = Sender(trust=Trust.UNSIGNED, by="gitleaks")
        return bulkhead.inbox.receive(delivery, sender, Reading(event="x", seen=(seen,), text="found")).id


def work() -> None:
    """What a worker does with the inbox."""
    with opened(read(), sites={"real": real_site(read())}) as bulkhead:
        bulkhead.inbox.work_all(bulkhead.store.inbox("landed"))


@pytest.mark.parametrize(("text", "form"), [(gitleaks(), "gitleaks"), (kingfisher("webhook"), "kingfisher")])
def test_a_scanners_file_lands_and_says_what_will_become_of_it(
    typed: Type, tmp_path: Path, text: str, form: str
) -> None:
    file = tmp_path / "report.json"
    file.write_text(text)
    said = typed("report", "--file", str(file), "--by", "ann", "--json").output
    told = json.loads(said)
    assert (told["format"], told["new"]) == (form, True)
    assert [one["becomes"] for one in told["credentials"]] == ["opens", "opens"]
    assert SECRET not in said
    assert TOKEN not in said
    again = typed("report", "--file", str(file), "--format", form, "--by", "ann").output
    assert "was here already" in again
    work()
    after = typed("report", "--file", str(file), "--by", "ann").output
    assert "a sighting on inc-" in after
    listed = typed("incident", "list").output
    assert listed.count("inc-") == 2
    typed("report", "--file", str(file), "--format", "trufflehog", status=2)


def test_a_report_comes_by_standard_input_too(home: Path) -> None:
    result = CliRunner().invoke(app, ["report", "--file", "-", "--by", "ann", "--public"], input=baseline())
    assert result.exit_code == 0, result.output
    assert "2 findings" in result.output
    with opened(read(), sites={}) as bulkhead:
        (row,) = bulkhead.store.inbox("landed")
    assert {case["exposure"] for case in row["body"]["cases"]} == {"public"}
    assert (row["body"]["trust"], row["body"]["by"]) == ("operator", "ann")


@pytest.mark.parametrize(
    ("args", "content", "said"),
    [
        (["--file", "F"], "no JSON", "not JSON"),
        (["--file", "F"], '{"a": 1}', "no report that we can read"),
        (["--file", "none-of-that-name"], "", "cannot be read"),
        (["--file", "F", "--format", "xml"], "[]", "--format is one of auto, trufflehog"),
        (["--file", "F", "--secret"], "[]", "--file goes with"),
        (["--file", "F", "some", "text"], "[]", "--file goes with"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_and_status_2(
    typed: Type, tmp_path: Path, args: list[str], content: str, said: str
) -> None:
    file = tmp_path / "report"
    file.write_text(content)
    assert said in typed("report", *[str(file) if a == "F" else a for a in args], status=2).output


def test_a_report_in_which_nothing_was_found_lands_nothing(typed: Type, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text("[]")
    assert "nothing was found" in typed("report", "--file", str(file)).output
    assert json.loads(typed("inbox", "list", "--json").output) == {"deliveries": []}


def test_deliveries_are_listed_shown_and_worked_again(typed: Type) -> None:
    name = deliver(TOKEN)
    odd = deliver("correct horse battery made up", "house-password", "")
    assert "nothing dead" in typed("inbox", "list", "--state", "dead").output
    work()
    rows = json.loads(typed("inbox", "list", "--json").output)["deliveries"]
    assert {row["id"]: row["state"] for row in rows} == {name: "worked", odd: "dead"}
    shown = typed("inbox", "show", odd[:18]).output
    assert "no playbook knows house-password" in " ".join(shown.split())
    assert "correct horse" not in shown
    assert TOKEN not in typed("inbox", "show", name, "--json").output
    assert "only what is dead or held" in typed("inbox", "replay", name, status=2).output
    assert "landed again" in typed("inbox", "replay", odd).output
    assert json.loads(typed("inbox", "list", "--state", "landed", "--json").output)["deliveries"][0]["id"] == odd
    work()
    assert "landed again" in typed("inbox", "replay", "--dead").output
    assert "say which delivery" in typed("inbox", "show", "gitleaks:", status=2).output
    assert "name one delivery" in typed("inbox", "replay", status=2).output
    assert "--state is one of" in typed("inbox", "list", "--state", "x", status=2).output


def test_what_policy_holds_is_let_in_on_a_persons_word(
    typed: Type, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bot.app import SHIPPED

    text = (SHIPPED / "policy.yaml").read_text()
    at = text.index("- id: nobody-signed")
    house = home.parent / "policy.yaml"
    house.write_text(text[:at] + text[at:].replace("starts: ask", "starts: hold", 1))
    monkeypatch.setenv("BULKHEAD_POLICY", str(house))
    name = deliver(PAT, "github-pat", "github-pat-classic")
    work()
    assert "nobody-signed" in typed("inbox", "list", "--state", "held").output
    typed("inbox", "replay", name)
    work()
    assert json.loads(typed("inbox", "list", "--json").output)["deliveries"][0]["state"] == "held", "not by itself"
    typed("inbox", "replay", name, "--open", "--by", "ann")
    work()
    with opened(read(), sites={}) as bulkhead:
        (incident,) = bulkhead.store.incidents()
        assert incident.body["report"]["trust"] == "operator"
        assert incident.body["report"]["by"] == "ann"
        assert [s.reveal() for s in bulkhead.vault.held(incident.id)] == [PAT]


def test_two_incidents_of_one_credential_are_merged_by_who_may(typed: Type) -> None:
    deliver(TOKEN)
    deliver(PAT, "github-pat", "github-pat-classic")
    work()
    with opened(read(), sites={}) as bulkhead:
        one, two = (row.id for row in bulkhead.store.incidents())
    why = ("--reason", "it is one credential")
    typed("incident", "merge", one, "--into", two, *why, "--by", "mallory", status=3)
    typed("incident", "merge", one, "--into", one, *why, "--by", "ann", status=2)
    assert "merged into" in typed("incident", "merge", one, "--into", two, *why, "--by", "ann").output
    shown = " ".join(typed("incident", "show", one, "--timeline").output.split())
    assert f"into {two} by ann: it is one credential" in shown
    with opened(read(), sites={}) as bulkhead:
        assert [row.kind for row in bulkhead.store.decisions(one)] == ["merge"]
        assert bulkhead.store.decisions(one)[0].body["into"] == two
    assert KEY_ID not in shown
