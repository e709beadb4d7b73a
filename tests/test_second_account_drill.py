"""The drill of the second account's key, whole, as it is typed: every copy new, and what is a person's part."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bot.range.aws_sts import ACCOUNT, SECOND
from bot.range.second_account import ROLE_ARN

NAME = "aws-key-of-another-account"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # a whole drill, on a busy machine


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document that the command prints."""
    home = tmp_path_factory.mktemp("drill") / "home"
    command = [sys.executable, "-m", "bot", "drill", "run", NAME, "--json", "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def bodies(document: dict[str, Any], step: str, kind: str) -> list[dict[str, Any]]:
    """Of every item of a step, in their order."""
    found = [e for e in document["timeline"] if e["kind"] == kind and e["step"].partition("#")[0] == step]
    return [event["body"] for event in found]


def test_it_is_contained_in_its_own_account_and_the_session_in_the_other(drilled: dict[str, Any]) -> None:
    assert drilled["contained"], drilled["why_not"]
    (triage,) = bodies(drilled, "incident", "triage")
    assert triage["credential"]["account"] == SECOND
    rows = {row["key"]: row for row in drilled["ledger"]}
    assert {row["state"] for row in rows.values()} == {"closed"}
    assert rows[f"aws-role-sessions:{ROLE_ARN}"]["proof"] == "state"
    (look,) = bodies(drilled, "end-role-sessions", "look")
    assert f"harbor-releases of account {ACCOUNT}" in look["before"]["summary"]
    before = {one["name"]: one["refused"] for one in drilled["attacker"]["before"]}
    after = {one["name"]: one["code"] for one in drilled["attacker"]["after"] if one["refused"]}
    assert set(before.values()) == {False}
    assert after.keys() == before.keys()
    assert after["role-session"] == "AccessDenied"


def test_every_copy_gets_the_new_pair_and_is_proven(drilled: dict[str, Any]) -> None:
    (triage,) = bodies(drilled, "incident", "triage")
    assert [(copy["kind"], copy["name"]) for copy in triage["copies"]] == [
        ("vault", "ci/quay"), ("secretsmanager", "quay/deploy"), ("kubernetes", "quay/quay-aws"),
        ("kubernetes", "berths/quay-aws"),
    ]  # fmt: skip
    assert {(store["repository"], store["name"]) for store in triage["stores"]} == {
        ("harbor-lights/quay", "AWS_ACCESS_KEY_ID"), ("harbor-lights/quay", "AWS_SECRET_ACCESS_KEY"),
    }  # fmt: skip
    proofs = bodies(drilled, "store-copies", "proof")
    assert [proof["verdict"] for proof in proofs] == ["proven"] * 4
    changed = [body["outcome"]["changed"] for body in bodies(drilled, "store-copies", "outcome")]
    assert sorted(changed) == [False, True, True, True], "one was written by its controller"


def test_what_a_controller_writes_is_said_and_tried_again_once_somebody_has_had_it_read(
    drilled: dict[str, Any],
) -> None:
    (failed,) = {(e["step"], e["body"]["error"]) for e in drilled["timeline"] if e["kind"] == "failed"
                 and e["step"].startswith("store-copies")}  # fmt: skip
    step, error = failed
    assert "berths/quay-aws is written by ExternalSecret quay-aws" in error
    assert "kubectl -n berths annotate externalsecret quay-aws force-sync" in error
    order = [(e["step"], e["kind"]) for e in drilled["timeline"]]
    assert order.index((f"{step}/retry", "decided")) < order.index((step, "proof"))


def test_what_stood_in_each_copy_is_evidence_and_the_replay_names_the_role(drilled: dict[str, Any]) -> None:
    names = [row["name"] for row in drilled["evidence"] if row["name"].startswith("stores/")]
    assert len(names) == 3, "of each that was written"
    assert ROLE_ARN in (Path(drilled["folder"]) / "replay.html").read_text()
