"""``bulkhead signals`` on files alone: no bot, no settings, nothing asked of anybody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bot.__main__ import app
from tests.signals import logs
from tests.signals.test_collect import JOB, MINTED, RUN, packument, record


def bulkhead(folder: Path, *args: str, said: str = "") -> Result:
    environment = {"HOME": str(folder), "BULKHEAD_HOME": str(folder / "never")}
    return CliRunner().invoke(app, ["signals", *args], env=environment, input=said)


def written(folder: Path, name: str, value: Any) -> str:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def test_a_session_after_its_job_and_a_version_by_token_and_a_secret_in_a_log(tmp_path: Path) -> None:
    run = {**RUN, "run_attempt": 1, "head_repository": RUN["repository"], "created_at": "2026-11-20T11:00:00Z"}
    runs = written(tmp_path, "runs.json", {"total_count": 1, "workflow_runs": [run]})
    jobs = written(tmp_path, "jobs.json", {"total_count": 1, "jobs": [{**JOB, "run_attempt": 1}]})
    minted = {**MINTED, "userIdentity": {**MINTED["userIdentity"], "userName": "repo:harbor/ferry:ref:refs/heads/main"}}
    rows = [minted, record(), record(eventTime="2026-11-20T12:30:00Z", eventID="e-late", eventName="GetObject")]
    trail = tmp_path / "trail"
    trail.mkdir()
    written(trail, "a.json", {"Records": rows})
    document = packument()
    for k in range(3):
        document["versions"][f"0.{k}.0"] = document["versions"]["1.0.0"]
        document["time"][f"0.{k}.0"] = f"2025-0{k + 1}-01T00:00:00Z"
    token = logs.secrets(2)[1]
    package = written(tmp_path, "p.json", document)
    files = ["--runs", runs, "--runs", jobs, "--cloudtrail", str(trail), "--package", package,
             "--logs", written(tmp_path, "log.txt", logs.stamped([*logs.log(30), f"T={token}"]))]  # fmt: skip
    done = bulkhead(tmp_path, "run", *files, "--json")
    assert done.exit_code == 4, done.stderr
    found = {(f["signal"], f["what"]) for f in json.loads(done.stdout)["findings"]}
    assert found >= {("token-lifetime", "after-job"), ("release-path", "token-upload"), ("build-log", "printed")}
    assert token not in done.stdout + done.stderr
    shown = bulkhead(tmp_path, "run", *files)
    page = " ".join(shown.stdout.split())
    assert "after its job had ended" in page
    assert "ruled out" in page
    assert "e-late" in page
    assert not (tmp_path / "never").exists(), "no folder of an installation is made"


def test_what_was_learned_is_written_and_used_and_status_0_says_nothing(tmp_path: Path) -> None:
    runs = written(tmp_path, "runs.json", {"total_count": 1, "workflow_runs": [RUN]})
    baseline = tmp_path / "usual.json"
    done = bulkhead(tmp_path, "run", "--runs", runs, "--baseline", str(baseline), "--learn")
    assert done.exit_code == 0, done.stderr
    assert "Still learning" in done.stdout
    assert json.loads(baseline.read_text())["entries"]
    assert bulkhead(tmp_path, "run", "--runs", runs, "--baseline", str(baseline), "--json").exit_code == 0


def test_known_secrets_by_fingerprints_that_hold_none(tmp_path: Path) -> None:
    value = logs.secrets(1)[0]
    prints = tmp_path / "prints.json"
    done = bulkhead(tmp_path, "fingerprint", str(prints), said=f"{value}\n")
    assert done.exit_code == 0, done.stderr
    key = prints.with_name("prints.json.key")
    assert key.stat().st_mode & 0o077 == 0
    assert value not in prints.read_text() + key.read_text() + done.stdout
    log = written(tmp_path, "log.txt", logs.stamped([*logs.log(5), value[::-1]]))
    found = json.loads(bulkhead(tmp_path, "run", "--logs", log, "--secrets", str(prints), "--json").stdout)["findings"]
    assert [(f["what"], f["sure"]) for f in found] == [("known-secret", "certain")]


@pytest.mark.parametrize(("args", "says"), [
    ([], "give at least one of"),
    (["--runs", "nowhere.json"], "nowhere.json cannot be read"),
    (["--cloudtrail", "nowhere"], "neither a folder nor a file"),
    (["--runs", "README.md"], "is not JSON: line 1"),
    (["--runs", "README.md", "--learn"], "--learn needs --baseline"),
    (["--logs", "README.md", "--networks", "300.1.1.1/8"], "is no network"),
    (["--logs", "README.md", "--identity", "arn"], "write ARN=OWNER/NAME"),
    (["--logs", "README.md", "--learn-until", "soon"], "is no time"),
    (["--logs", "README.md", "--baseline", "README.md"], "is no baseline"),
    (["--logs", "README.md", "--secrets", "README.md"], "README.md.key cannot be read"),
])  # fmt: skip
def test_bad_input_is_one_sentence_and_status_2(tmp_path: Path, args: list[str], says: str) -> None:
    done = bulkhead(tmp_path, "run", *args)
    assert done.exit_code == 2, done.stderr
    assert says in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("bulkhead:")]) == 1


def test_what_is_usual_is_listed_declared_and_pruned_by_people_with_their_names(tmp_path: Path) -> None:
    runs = written(tmp_path, "runs.json", {"total_count": 1, "workflow_runs": [RUN]})
    file = str(tmp_path / "usual.json")
    assert bulkhead(tmp_path, "run", "--runs", runs, "--baseline", file, "--learn").exit_code == 0
    learned = json.loads(bulkhead(tmp_path, "baseline", file, "--json").stdout)
    assert ("branch", "main", "learned") in {(e["feature"], e["value"], e["how"]) for e in learned}
    subject = next(e["subject"] for e in learned if e["feature"] == "branch")
    key = ("deploy-source", subject, "branch")
    assert bulkhead(tmp_path, "prune", file, *key, "main", "--by", "alice").exit_code == 0
    said = bulkhead(tmp_path, "declare", file, *key, "release-*", "--by", "bruno", "--until", "2099-01-01")
    assert said.exit_code == 0, said.stderr
    now = {e["value"]: e for e in json.loads(bulkhead(tmp_path, "baseline", file, "--json").stdout)}
    assert (now["main"]["how"], now["main"]["by"]) == ("pruned", "alice")
    assert (now["release-*"]["how"], now["release-*"]["until"][:4]) == ("declared", "2099")
    assert bulkhead(tmp_path, "run", "--runs", runs, "--baseline", file, "--learn").exit_code == 4, "main is not on it"
    again = {e["value"]: e["how"] for e in json.loads(bulkhead(tmp_path, "baseline", file, "--json").stdout)}
    assert again["main"] == "pruned", "what a person has pruned is not learned again"


@pytest.mark.parametrize(("more", "says"), [
    (["release-road", "a", "branch", "main"], "is no signal"),
    (["deploy-source", "a", "branch", "main", "--until", "2001-01-01"], "is over already"),
])  # fmt: skip
def test_a_declaration_that_cannot_hold_is_refused(tmp_path: Path, more: list[str], says: str) -> None:
    done = bulkhead(tmp_path, "declare", str(tmp_path / "usual.json"), *more, "--by", "alice")
    assert (done.exit_code, says in done.stderr) == (2, True)


def test_a_mute_has_an_owner_and_an_end_and_is_listed(tmp_path: Path) -> None:
    assert json.loads(bulkhead(tmp_path, "list", "--json").stdout) == []
    done = bulkhead(tmp_path, "mute", "api-target", "--until", "2099-01-01", "--why", "a migration", "--by", "alice")
    assert done.exit_code == 0, done.stderr
    (row,) = json.loads(bulkhead(tmp_path, "list", "--muted", "--json").stdout)
    assert (row["pattern"], row["by"], row["until"][:10], row["why"]) == (
        "api-target", "alice", "2099-01-01", "a migration",
    )  # fmt: skip
    assert "alice" in bulkhead(tmp_path, "list", "--muted").stdout
    late = bulkhead(tmp_path, "mute", "x", "--until", "2001-01-01", "--why", "no", "--by", "alice")
    assert (late.exit_code, "over already" in late.stderr) == (2, True)
