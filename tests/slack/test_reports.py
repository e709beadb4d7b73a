"""Reports from Slack: by command, form and shortcut; what was entered as a secret stands nowhere but in the vault."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.slack.deliveries import SECRET
from tests.slack.test_decisions import modal, submit
from tests.slack.workspace import KEY, Workspace
from tests.slack_range import until

TOKEN = "github_pat_" + "11ABCDEFG0" + "aB3" * 24
DRAWN = "kQ7" * 12  # no rule knows it: repeated, it is too regular for a key


def landed(work: Workspace) -> dict[str, Any]:
    (row,) = work.house.store.inbox()
    return dict(row)


def everywhere(work: Workspace) -> bytes:
    """Every file of the installation but the sealed values, and the log."""
    work.house.timeline.close()
    data = b""
    for path in Path(work.house.settings.home).rglob("*"):
        data += path.read_bytes() if path.is_file() else b""
    return data


def test_the_form_lands_a_report_and_shows_its_secret_nowhere(
    work: Workspace, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    caplog.set_level("DEBUG")
    assert work.command("jonas", "report")["ok"]
    shown = modal(work, "jonas")
    assert shown is not None
    assert shown["callback_id"] == "report_form"
    fields = {"leaked_secret": f"{KEY} {SECRET}", "repository": "harbor-lights/ferry", "exposure": "public",
              "machine": "exists", "machine_name": "laptop of mara"}  # fmt: skip
    assert submit(work, "jonas", **fields)["ok"]
    assert modal(work, "jonas") is None
    row = landed(work)
    body = row["body"]
    assert (row["source"], body["by"], body["world"]) == ("slack", "slack:" + work.slack.user("jonas"), "real")
    assert (body["exposure"], body["machine"], body["machine_name"]) == ("public", "exists", "laptop of mara")
    (credential,) = body["credentials"]
    assert (credential["id"], credential["fingerprint"]) == (KEY, work.house.vault.fingerprint(SECRET))
    (held,) = {secret.reveal() for secret in work.house.vault.held(row["id"])}
    assert held == SECRET
    assert "has landed" in work.whispers("jonas")[-1]
    for place in (caplog.text.encode(), everywhere(work), "".join(work.whispers("jonas")).encode()):
        assert SECRET.encode() not in place
        assert SECRET[5:35].encode() not in place


def test_a_secret_that_nobody_recognises_is_not_written_down_either(work: Workspace) -> None:
    work.command("jonas", "report")
    submit(work, "jonas", leaked_secret=f"{KEY} {DRAWN}", where="https://github.com/harbor-lights/ferry/actions/runs/7")
    assert landed(work)["body"]["credentials"][0]["id"] == KEY
    assert DRAWN.encode() not in everywhere(work)


def test_a_form_that_names_nothing_stays_open_and_says_so(work: Workspace) -> None:
    work.command("jonas", "report")
    submit(work, "jonas")
    shown = modal(work, "jonas")
    assert shown is not None
    assert "I recognise nothing" in shown["errors"]["where"]
    submit(work, "jonas", leaked_secret="hunter2 is no token")
    shown = modal(work, "jonas")
    assert shown is not None
    assert "I recognise nothing" in shown["errors"]["secret"]
    assert work.house.store.inbox() == []
    submit(work, "jonas", where="https://github.com/harbor-lights/ferry/actions/runs/7")
    assert modal(work, "jonas") is None
    assert landed(work)["body"]["url"].endswith("/runs/7")


def test_the_word_fills_in_the_place(work: Workspace) -> None:
    work.command("jonas", "report https://github.com/harbor-lights/ferry/actions/runs/7")
    submit(work, "jonas")
    assert landed(work)["body"]["url"] == "https://github.com/harbor-lights/ferry/actions/runs/7"


def test_what_is_entered_is_recognised_while_the_form_is_open(work: Workspace) -> None:
    work.command("jonas", "report")
    work.slack.hand("jonas", "fill", action_id="leaked_secret", value=f"{KEY} {SECRET}", key="character")

    def line() -> str:
        shown = modal(work, "jonas") or {}
        return next((str(b["elements"][0]["text"]) for b in shown["blocks"] if b["block_id"] == "recognised"), "")

    until(lambda: "unknown" in line(), 40)
    assert KEY in line()
    assert "AWS access key" in line()
    assert SECRET not in line()
    work.idle()
    work.slack.hand("jonas", "fill", action_id="leaked_secret", value="no secret at all", key="character")
    until(lambda: "I do not recognise this" in line())
    submit(work, "jonas", leaked_secret=f"{KEY} {SECRET}")
    assert landed(work)["body"]["credentials"][0]["id"] == KEY, "drawn anew, the form keeps what was entered"


@pytest.mark.parametrize("text", ["status {}", "{}", "report {}", "note it was {}"])
@pytest.mark.parametrize("secret", [TOKEN, f"{KEY} {SECRET}", f"{KEY} {DRAWN}"], ids=["token", "pair", "odd pair"])
def test_a_secret_in_a_command_is_caught_told_and_reported(
    work: Workspace, caplog: pytest.LogCaptureFixture, text: str, secret: str
) -> None:
    caplog.set_level("DEBUG")
    work.command("jonas", text.format(secret))
    (said,) = work.whispers("jonas")
    assert "I did not store it in the clear" in said
    assert "counts as exposed" in said
    assert "Revoke it" in said
    assert len(landed(work)["body"]["credentials"]) == 1
    value = secret.split()[-1]
    for place in (said.encode(), caplog.text.encode(), everywhere(work)):
        assert value.encode() not in place


def test_a_word_that_looks_drawn_is_caught_too_and_says_that_nothing_knows_it(work: Workspace) -> None:
    work.command("jonas", f"note the password was {DRAWN}")
    (said,) = work.whispers("jonas")
    assert "No playbook of mine knows its kind" in said
    assert work.house.store.inbox() == []
    assert DRAWN.encode() not in everywhere(work)


def test_a_message_that_holds_a_secret_is_reported_by_its_shortcut(work: Workspace) -> None:
    channel = work.slack.channel("incidents")
    ts = work.slack.hand("mara", "message", channel=channel, text=f"why does this fail? {KEY} {SECRET}")["ts"]
    work.slack.hand("jonas", "shortcut", callback_id="report_message", channel=channel, ts=ts)
    work.idle()
    row = landed(work)
    assert row["body"]["exposure"] == "internal"
    assert row["body"]["credentials"][0]["fingerprint"] == work.house.vault.fingerprint(SECRET)
    assert "Deleting the message does not contain it" in work.whispers("jonas")[-1]
    assert SECRET.encode() not in everywhere(work)


def test_a_message_in_which_nothing_is_recognised_opens_the_form_with_its_address(work: Workspace) -> None:
    channel = work.slack.channel("incidents")
    ts = work.slack.hand("mara", "message", channel=channel, text="our deploy is odd")["ts"]
    work.slack.hand("jonas", "shortcut", callback_id="report_message", channel=channel, ts=ts)
    work.idle()
    shown = modal(work, "jonas")
    assert shown is not None
    where = next(block for block in shown["blocks"] if block["block_id"] == "where")
    assert f"p{ts.replace('.', '')}" in where["element"]["initial_value"]


def test_the_global_shortcut_opens_the_form(work: Workspace) -> None:
    work.slack.hand("jonas", "shortcut", callback_id="report_leak")
    work.idle()
    shown = modal(work, "jonas")
    assert shown is not None
    assert shown["callback_id"] == "report_form"


def test_nothing_that_lets_its_holder_speak_is_written_down(work: Workspace) -> None:
    state = work.slack.range.state
    work.command("jonas", "help")
    work.click("jonas", "approve", {})
    with state.lock:
        hooks, triggers = list(state.hooks), list(state.triggers)
    assert hooks
    assert triggers
    work.house.store.close()
    with sqlite3.connect(work.house.settings.home / "bulkhead.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = everywhere(work)
    for secret in (*hooks, *triggers, state.app.verification, state.app.bot_token):
        assert secret.encode() not in kept
