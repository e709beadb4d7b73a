"""The drills of a campaign: a tampered action that printed secrets, a poisoned scanner that sent them away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bot import rehearsal
from bot.__main__ import app as commands
from bot.actions import CATALOGUE
from bot.app import SHIPPED
from bot.drill import not_contained
from bot.engine.ledger import Ledger, Row
from bot.errors import PlaybookError
from bot.model import RowState
from bot.playbook import load_folder
from bot.range.company import FERRY
from bot.range.registries.theft import BAD, SHOPS
from bot.scenario import Drill, load_drill
from tests.test_canaries import everything, found_in
from tests.test_registry_drills import play

CRATE, GEM, WHEEL = (SHOPS[name] for name in ("crates", "rubygems", "pypi"))
SCANNER = (SHIPPED / "drills" / "scanner-sends-secrets.yaml").read_text()


def shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The table of progress, as the command prints it."""
    monkeypatch.setenv("BULKHEAD_HOME", str(home))
    done = CliRunner().invoke(commands, ["campaign", "show", "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_tampered_action_is_followed_through_every_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    result, state, canaries, told = play("action-tags-moved", tmp_path)
    assert result.contained, result.why_not
    before, after = ({t["name"]: t["refused"] for t in result.attacker[k]} for k in ("before", "after"))
    assert [name for name, refused in before.items() if refused] == ["role-session"], "which has ended by itself"
    assert set(after.values()) == {True}
    assert before.keys() == after.keys() >= {"key", "role-session", "crates-token", "rubygems-token", "logs"}

    rows = {row["key"].partition(":")[0]: row for row in result.ledger if not row["key"].startswith("github-token:")}
    assert set(rows) == {"campaign", "aws-access-key", "crates-token", "rubygems-key"}, "no name without its value"
    assert {(row["state"], row["proof"]) for row in rows.values()} == {("closed", "refused"), ("closed", "state")}
    assert rows["campaign"]["step"] == "stop-use"

    progress = shown(tmp_path, monkeypatch)
    places = {each["repository"]: each for each in progress["repositories"]}
    assert set(places) == {FERRY, CRATE.repository, GEM.repository}, "the one that pins it ran in the same hour"
    assert {(each["runs"], tuple(each["open"])) for each in places.values()} == {(1, ())}
    assert {each["status"] for each in progress["children"]} == {"closed"}
    assert len(progress["children"]) == 3

    held = state["registries"]
    assert [v for v, mark in held["crates"]["packages"][CRATE.package].items() if mark] == [BAD]
    assert [v for v, mark in held["rubygems"]["packages"][GEM.package].items() if mark] == [BAD]
    assert not any("revoked" in token for token in held["pypi"]["tokens"])
    for shop in (CRATE, GEM):
        assert state["github"]["secrets"].get(f"actions repository {shop.repository}", {}) == {}
        repository = state["github"]["repositories"][shop.repository]
        assert repository["pulls"] == {}, "nothing there publishes by a workflow"
    assert WHEEL.secret in state["github"]["secrets"][f"actions repository {WHEEL.repository}"]
    _nothing_secret(tmp_path, canaries, told)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_a_scanner_sent_away_is_known_by_its_id_or_signed_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    result, state, canaries, told = play("scanner-sends-secrets", tmp_path)
    assert result.contained, result.why_not
    before, after = ({t["name"]: t["refused"] for t in result.attacker[k]} for k in ("before", "after"))
    assert before == {"key": False, "saved-session": False, "crates-token": False, "default-crate": True}
    assert set(after.values()) == {True}
    rows = {row["key"].partition(":")[0]: row for row in result.ledger if not row["key"].startswith("github-token:")}
    assert set(rows) == {"campaign", "aws-access-key", "secret"}, (
        "the key by its user's tag, the token by its name only"
    )
    assert (rows["aws-access-key"]["state"], rows["aws-access-key"]["proof"]) == ("closed", "state")
    assert (rows["secret"]["key"], rows["secret"]["state"], rows["secret"]["waived_by"]) == (
        f"secret:repository:{CRATE.repository}/{CRATE.secret}", "waived", "alice (simulated)",
    )  # fmt: skip
    progress = shown(tmp_path, monkeypatch)
    assert [each["repository"] for each in progress["repositories"]] == sorted([FERRY, CRATE.repository])
    assert [each["row"].partition(":")[0] for each in progress["children"]] == ["aws-access-key"]
    assert state["registries"]["crates"]["tokens"] == ["bulkhead: live", "release: revoked"]
    _nothing_secret(tmp_path, canaries, told)


def _nothing_secret(home: Path, canaries: set[str], told: str) -> None:
    assert [(n, hit) for n, data in everything(home) if (hit := found_in(data, canaries))] == []
    assert found_in(told.encode(), canaries) == []


# What a drill's file may say of them


def loaded(text: str) -> Drill:
    return load_drill(text, "it.yaml", load_folder([SHIPPED / "containment"], CATALOGUE))


def test_a_row_counts_as_signed_for_only_where_the_drill_says_so() -> None:
    one = loaded(SCANNER)
    key = f"secret:repository:{CRATE.repository}/{CRATE.secret}"
    row = Row(key=key, how="it", state=RowState.WAIVED)
    fine = {"ok": True, "detail": {}}
    tries = [{"name": name, "refused": True} for name in one.refused]
    assert rehearsal.signed_for(one, key) is one.signs[CRATE.secret]
    assert rehearsal.signed_for(one, f"crates-token:{CRATE.secret}") is None
    assert rehearsal.signed_for(one, "secret:repository:a/b/OTHER") is None
    ledger = Ledger()
    ledger.rows[key] = row
    assert not_contained(one, ledger, tries, fine) == []
    row.state = RowState.SUSPECTED
    assert not_contained(one, ledger, tries, fine) == [f"{key} is suspected, not closed on proof"]
    ledger.rows = {"secret:repository:a/b/OTHER": Row(key="secret:repository:a/b/OTHER", how="", state=RowState.WAIVED)}
    assert not_contained(one, ledger, tries, fine) == ["secret:repository:a/b/OTHER is waived, not closed on proof"]


@pytest.mark.parametrize("old, new, why", [
    ("does: revoke-crates-token", "does: rm -rf", "what is done for CARGO_REGISTRY_TOKEN must be one of"),
    (", says: Mara has revoked it on crates.io and made a new one.", "", "signs.CARGO_REGISTRY_TOKEN"),
    ("beside: [aws-access-key]", "beside: [aws-access-kez]", "did you mean 'aws-access-key'"),
    ("beside: [aws-access-key]\n", "", "has no step 'ask-owner'"),
    ("{campaign}", "{campaigns}", "nothing else in braces"),
])  # fmt: skip
def test_what_a_file_may_not_say(old: str, new: str, why: str) -> None:
    assert old in SCANNER
    with pytest.raises(PlaybookError) as caught:
        loaded(SCANNER.replace(old, new))
    assert why in str(caught.value)
