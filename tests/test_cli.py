"""The commands, as they are typed: what they print, how they end, and what they never repeat."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bot.__main__ import app
from bot.app import SHIPPED, opened
from bot.drill import Range, range_up
from bot.settings import Settings
from tests.incidents import ASKED, ASKING, CLOSED, CUT, DECIDED, ID, KEY, PLAN, ROW, house

DRILL = "aws-key-in-public-log"
SECRET = "made+up/secret" + "x7Q" * 8 + "ab"
Type = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation in an empty folder, with two responders and no identity anywhere."""
    for name in [n for n in os.environ if n.startswith(("AWS_", "BULKHEAD_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("BULKHEAD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BULKHEAD_RESPONDERS", "ann,bo")
    return tmp_path / "home"


@pytest.fixture
def typed(home: Path) -> Type:
    """Type a command; its status must be the one that is expected."""

    def run(*args: str, status: int = 0, stdin: str = "") -> Result:
        result = CliRunner().invoke(app, list(args), input=stdin)
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture(scope="module")
def range_here() -> Iterator[Range]:
    with range_up() as running:
        yield running


def child(*args: str, home: Path, **env: str) -> dict[str, Any]:
    """What ``subprocess`` needs to type a command in a process of its own."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "BULKHEAD_", "GITHUB_"))}
    here = {"BULKHEAD_HOME": str(home), "BULKHEAD_WEB_PORT": "0", "AWS_EC2_METADATA_DISABLED": "true", **env}
    return {"args": [sys.executable, "-m", "bot", *args], "env": plain | here, "text": True}


def words(text: str) -> str:
    return " ".join(text.split())


# help and mistakes ---------------------------------------------------------------------------------------------------


def test_every_command_has_help(typed: Type) -> None:
    def listed(*args: str) -> list[str]:
        return re.findall(r"^  ([a-z]+)  ", typed(*args).stdout.partition("Commands:")[2], re.MULTILINE)

    top = ["doctor", "drill", "incident", "migrate", "playbook", "range", "report", "serve"]
    assert set(top) <= set(listed("--help"))
    groups = {
        "drill": ["list", "run"],
        "incident": ["list", "show", "approve", "deny", "answer", "abort", "undo", "waive", "verify", "export"],
        "playbook": ["list", "show", "schema", "check"],
        "range": ["up"],
    }
    for name, verbs in groups.items():
        assert set(verbs) <= set(listed(name, "--help"))
        for verb in verbs:
            assert typed(name, verb, "--help").stdout


def test_the_version_is_printed_without_a_home(typed: Type, home: Path) -> None:
    assert re.fullmatch(r"bulkhead \d+\.\d+\.\d+\n", typed("--version").stdout)
    assert not home.exists()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["nonsense"], "No such command"),
        (["incident", "show", "--nonsense"], "No such option"),
        (["drill", "run", "nonsense"], "there is no drill 'nonsense'; there are: action-tags-moved"),
        (["playbook", "show", "nonsense"], "there is no playbook 'nonsense'; there are: aws-access-key"),
        (["playbook", "check", "/nowhere/x.yaml"], "cannot be read"),
        (["incident", "show"], "say which incident; open now: none"),
        (["incident", "show", "inc-x"], "there is no incident 'inc-x'"),
        (["incident", "list", "--home", "/nowhere"], "holds no bulkhead.db"),
        (["drill", "run", DRILL, "--resume"], "give its folder (--home) and the range that it ran on (--range)"),
        (["drill", "run", DRILL, "--range", "/nowhere"], "/nowhere cannot be read"),
        (["report"], "say what has leaked"),
        (["report", "hello"], "was recognised in the report"),
        (["report", "--secrte"], "No such option"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(typed: Type, args: list[str], sentence: str) -> None:
    result = typed(*args, status=2)
    assert sentence in result.stderr
    assert result.stderr.startswith("bulkhead: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_every_problem_of_the_environment_is_told_at_once(typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_MODE", "perhaps")
    monkeypatch.setenv("BULKHEAD_VAULT_KEY", SECRET)
    stderr = typed("doctor", status=2).stderr
    assert "BULKHEAD_MODE" in stderr
    assert "BULKHEAD_VAULT_KEY" in stderr
    assert SECRET not in stderr


def test_a_line_that_is_not_of_a_range_is_refused(typed: Type, tmp_path: Path, range_here: Range) -> None:
    for text in ("", "[]", "{}", '{"aws": "http://10.0.0.1"}'):
        (tmp_path / "range.json").write_text(text)
        typed("drill", "run", DRILL, "--range", str(tmp_path / "range.json"), status=2)
    (tmp_path / "range.json").write_text(json.dumps(range_here.info | {"aws": "https://example.org"}))
    result = typed("drill", "run", DRILL, "--range", str(tmp_path / "range.json"), status=2)
    assert "a drill may only talk to the range" in result.stderr


# report --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        [f"{KEY} {SECRET}"], [KEY, SECRET], [SECRET], ["--secret", SECRET], ["--secret", f"SECRET_ACCESS_KEY={SECRET}"],
        ["gh" + "p_" + "a1B2" * 9], [f"--secret={SECRET}"], [f"--sekret={SECRET}"], [KEY, "--by", "ann", f"--{SECRET}"],
    ],
)  # fmt: skip
def test_a_secret_as_an_argument_is_refused_and_not_repeated(typed: Type, home: Path, args: list[str]) -> None:
    result = typed("report", *args, status=2)
    for part in (SECRET, SECRET[:20], "a1B2a1B2"):
        assert part not in result.output
    if not any(arg.startswith("--") and len(arg) > len("--secret") for arg in args):  # else it is no known option
        assert "shell's history" in result.stderr
        assert "treat it as exposed" in result.stderr
    assert json.loads(typed("incident", "list", "--json").stdout)["reports"] == []


def test_a_secret_from_standard_input_is_landed_and_sealed(typed: Type, home: Path) -> None:
    said = f"AWS_ACCESS_KEY_ID={KEY}\nAWS_SECRET_ACCESS_KEY={SECRET}\n"
    landed = json.loads(typed("report", "--secret", "--public", "--by", "jonas", "--json", stdin=said).stdout)
    assert landed["new"]
    rows = json.loads(typed("incident", "list", "--json").stdout)["reports"]
    assert [(row["id"], row["state"]) for row in rows] == [(landed["report"], "landed")]
    for file in home.rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes(), file
    with sqlite3.connect(home / "bulkhead.db") as database:
        body = json.loads(database.execute("select body from inbox").fetchone()[0])
        sealed = database.execute("select count(*) from vault where sealed is not null").fetchone()[0]
    database.close()
    assert body["credentials"][0]["id"] == KEY
    assert (body["by"], body["exposure"], body["world"]) == ("jonas", "public", "real")
    assert sealed == 1


def test_the_same_report_again_is_the_same_report(typed: Type) -> None:
    first, second = (json.loads(typed("report", KEY, "--json").stdout) for _ in range(2))
    if first["report"] == second["report"]:  # a report is drawn from its minute
        assert (first["new"], second["new"]) == (True, False)
    url = "https://github.com/harbor-lights/ferry/actions/runs/7"
    assert "has landed" in typed("report", "look", "at", url).stdout


# incidents -----------------------------------------------------------------------------------------------------------


def test_show_says_first_what_leaked_and_then_what_is_asked_with_the_command(typed: Type, home: Path) -> None:
    house(home, ASKING)
    text = words(typed("incident", "show").stdout)
    order = ["Leaked AWS access key", "critical", "Everybody could see it", "People are asked", "deactivate", "ledger"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    command = re.search(r"(incident approve .*?--plan \w+)", text)
    assert command is not None
    typed(*command[1].split(), "--by", "ann")


def test_show_for_a_program(typed: Type, home: Path) -> None:
    house(home, CUT)
    shown = json.loads(typed("incident", "show", ID[:14], "--json").stdout)
    assert shown["incident"]["id"] == ID
    assert shown["ledger"][0]["key"] == ROW
    assert (shown["ledger"][0]["state"], shown["ledger"][0]["proof"]) == ("tail_open", "refused")
    assert [tail["kind"] for tail in shown["tails"]] == ["sts-session"]
    assert len(shown["timeline"]) == len(CUT)
    assert shown["severity"]["level"] == "critical"


def test_show_counts_tails_down_and_tells_the_timeline_when_asked(typed: Type, home: Path) -> None:
    house(home, CUT)
    assert "a sts-session made from it may live for" in words(typed("incident", "show").stdout)
    assert "PROVEN" not in typed("incident", "show").stdout
    assert "PROVEN" in typed("incident", "show", "--timeline").stdout


def test_an_id_may_be_shortened_and_must_be_clear(typed: Type, home: Path) -> None:
    house(home, CLOSED, status="closed")
    assert "say which incident; open now: none" in typed("incident", "show", status=2).stderr
    assert ID in typed("incident", "show", "inc-2026").stdout
    assert typed("incident", "list").stdout.strip() == "no incident is open"
    assert ID in typed("incident", "list", "--all").stdout


def decisions(home: Path) -> list[tuple[str, str, str]]:
    database = sqlite3.connect(home / "bulkhead.db")
    found = database.execute('select step, kind, "by" from decision order by seq').fetchall()
    database.close()
    return found


def test_a_decision_counts_once_and_only_of_the_right_person_for_the_right_plan(typed: Type, home: Path) -> None:
    house(home, ASKING)
    assert (
        "eve is not one of the responders"
        in typed("incident", "approve", ID, "deactivate", "--by", "eve", status=3).stderr
    )
    other = typed("incident", "approve", ID, "deactivate", "--by", "ann", "--plan", "feed", status=3)
    assert "the plan of deactivate has changed" in other.stderr
    assert "what waits: deactivate" in typed("incident", "approve", ID, "rotate", "--by", "ann", status=3).stderr
    assert decisions(home) == []
    assert "is on record" in typed("incident", "approve", ID, "deactivate", "--as", "ann", "--plan", PLAN).stdout
    assert "on record already" in words(typed("incident", "approve", ID, "deactivate", "--by", "ann").stdout)
    typed("incident", "deny", ID, "deactivate", "--by", "bo")
    assert decisions(home) == [("deactivate", "approve", "ann"), ("deactivate", "deny", "bo")]


def test_several_steps_at_once_and_one_refusal_does_not_keep_the_others_back(typed: Type, home: Path) -> None:
    house(home, [*ASKING, ("rotate", "asked", ASKED)])
    typed("incident", "approve", ID, "deactivate", "nonsense", "rotate", "--by", "ann", status=3)
    assert decisions(home) == [("deactivate", "approve", "ann"), ("rotate", "approve", "ann")]
    typed("incident", "approve", ID, "deactivate", "rotate", "--by", "bo", "--plan", PLAN, status=2)


def test_what_is_decided_or_over_gets_an_answer(typed: Type, home: Path) -> None:
    house(home, CUT)
    assert (
        "decided already: approved by ann"
        in typed("incident", "approve", ID, "deactivate", "--by", "bo", status=3).stderr
    )
    assert "deactivate is decided" in typed("incident", "deny", ID, "deactivate", "--by", "bo", status=3).stderr


def test_an_answer_is_scrubbed(typed: Type, home: Path) -> None:
    question = ASKED | {"purpose": "answer", "what": "which step printed it?"}
    house(home, [*ASKING[:3], ("ask-owner", "asked", question)])
    assert "incident answer" in typed("incident", "show").stdout
    assert "waits for: answer" in typed("incident", "approve", ID, "ask-owner", "--by", "ann", status=3).stderr
    typed("incident", "answer", ID, "ask-owner", "  ", "--by", "ann", status=2)
    token = "gh" + "p_" + "a1B2" * 9
    typed("incident", "answer", ID, "ask-owner", f"step 3 printed {token}", "--by", "ann")
    database = sqlite3.connect(home / "bulkhead.db")
    assert token not in str(database.execute("select body from decision").fetchall())
    database.close()


def test_a_secret_answer_is_sealed_and_only_its_reference_is_on_record(typed: Type, home: Path) -> None:
    question = ASKED | {"purpose": "answer", "what": "make a new token"}
    house(home, [*ASKING[:3], ("rotate", "asked", question)])
    value = "made-up-" + "q7" * 12
    typed("incident", "answer", ID, "rotate", value, "--secret", "--by", "ann", status=2)
    typed("incident", "answer", ID, "store", "--secret", "--by", "ann", stdin=value, status=2)
    typed("incident", "answer", ID, "rotate", "--secret", "--by", "eve", stdin=value, status=3)
    typed("incident", "answer", ID, "rotate", "--secret", "--by", "ann", stdin=f"{value}\n")
    with opened(Settings(home=home), sites={}) as bulkhead:
        (row,) = bulkhead.store.decisions(ID)
        held = bulkhead.vault.open(row.body["text"])
    assert row.body["text"].startswith(f"vault:{ID}:answer:rotate:")
    assert held is not None
    assert held.reveal() == value
    assert value.encode() not in (home / "bulkhead.db").read_bytes()


def test_abort_undo_and_waive_want_a_reason_and_something_to_work_on(typed: Type, home: Path) -> None:
    house(home, [*ASKING, ("deactivate", "decided", DECIDED), ("deactivate", "outcome", CUT[6][2])])
    for verb, target in (("abort", []), ("undo", ["deactivate"]), ("waive", [ROW])):
        assert "needs --reason" in typed("incident", verb, ID, *target, "--by", "ann", status=2).stderr
        assert "not one of the" in typed("incident", verb, ID, *target, "--by", "eve", "--reason", "x", status=3).stderr
        typed("incident", verb, ID, *target, "--by", "ann", "--reason", "it is a test")
    assert (
        "has not been done" in typed("incident", "undo", ID, "rotate", "--by", "ann", "--reason", "x", status=2).stderr
    )
    assert (
        f"open are: {ROW}" in typed("incident", "waive", ID, "aws:x", "--by", "ann", "--reason", "x", status=2).stderr
    )
    assert decisions(home) == [("incident", "abort", "ann"), ("deactivate", "undo", "ann"), (ROW, "waive", "ann")]


def test_verify_holds_until_the_timeline_or_the_evidence_is_changed(typed: Type, home: Path) -> None:
    house(home, CLOSED, evidence=b"what was there before")
    shown = json.loads(typed("incident", "verify", ID, "--json").stdout)
    assert (shown["holds"], shown["events"], shown["evidence"]) == (True, len(CLOSED), 1)
    assert "holds" in typed("incident", "verify", ID).stdout
    digest = hashlib.sha256(b"what was there before").hexdigest()
    file = home / "evidence" / digest[:2] / digest
    file.chmod(0o600)
    file.write_bytes(b"something else")
    assert "the evidence key.json is gone or was changed" in words(typed("incident", "verify", ID, status=1).stdout)
    database = sqlite3.connect(home / "bulkhead.db")
    database.execute("update timeline set body = '{}' where n = 2")
    database.commit()
    database.close()
    wrong = json.loads(typed("incident", "verify", ID, "--json", status=1).stdout)["wrong"]
    assert any("the body of event 2" in text for text in wrong)


def test_export_writes_all_that_is_on_record_with_its_digests(typed: Type, home: Path, tmp_path: Path) -> None:
    house(home, CLOSED, evidence=b"what was there before")
    folder = tmp_path / "out"
    written = json.loads(typed("incident", "export", ID, "--out", str(folder), "--json").stdout)
    assert all((folder / name).is_file() for name in written["files"])
    lines = (folder / "timeline.jsonl").read_text().splitlines()
    assert [json.loads(line)["n"] for line in lines] == list(range(1, len(CLOSED) + 1))
    assert json.loads((folder / "ledger.json").read_text())[0]["state"] == "closed"
    manifest = json.loads((folder / "evidence" / "manifest.json").read_text())
    assert (folder / "evidence" / manifest[0]["sha256"]).read_bytes() == b"what was there before"
    checked = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=folder / "evidence", check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert "is there already and not empty" in typed("incident", "export", ID, "--out", str(folder), status=2).stderr


# playbooks -----------------------------------------------------------------------------------------------------------


def test_playbooks_are_listed_shown_and_described(typed: Type) -> None:
    listed = json.loads(typed("playbook", "list", "--json").stdout)
    assert ("aws-access-key", DRILL, "") in [(row["id"], row["drill"], row["drilled"]) for row in listed]
    steps = json.loads(typed("playbook", "show", "aws-access-key", "--json").stdout)["steps"]
    assert {"deactivate", "end-sessions", "rotate"} <= {step["id"] for step in steps}
    assert "Deactivate an IAM access key" in typed("playbook", "show", "aws-access-key").stdout
    assert json.loads(typed("playbook", "schema").stdout)["title"] == "Bulkhead playbook"
    assert "no mistake" in typed("playbook", "check").stdout


def test_check_says_every_mistake_with_its_line(typed: Type, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        "id: bad\ntitle: Bad\nmatch: {credential: x}\nsteps:\n  - id: a\n    uses: aws.nothing\n  - uses: 1\n"
    )
    lines = typed("playbook", "check", str(file), status=2).stdout.splitlines()
    assert len(lines) >= 2
    assert all(re.match(rf"\s*{re.escape(str(file))}:\d+: ", line) for line in lines)
    good = SHIPPED / "containment" / "aws-access-key.yaml"
    shown = json.loads(typed("playbook", "check", str(file), str(good), "--json", status=2).stdout)["files"]
    assert {problem["line"] for problem in shown[0]["problems"]} >= {6, 7}
    assert shown[1]["problems"] == []
    file.write_bytes(b"\xff\xfe")
    typed("playbook", "check", str(file), status=2)


def test_the_drills_are_listed(typed: Type) -> None:
    assert DRILL in [row["id"] for row in json.loads(typed("drill", "list", "--json").stdout)]
    assert DRILL in typed("drill", "list").stdout


# the installation ----------------------------------------------------------------------------------------------------


def test_doctor_offline_says_what_is_missing_and_ends_well(typed: Type) -> None:
    text = typed("doctor").stdout
    assert "GitHub: no identity" in text
    assert "it has no identity anywhere" in text
    found = json.loads(typed("doctor", "--json").stdout)
    assert found["broken"] is False
    assert "iam:UpdateAccessKey" in found["needed"]["aws"]


def test_migrate_makes_the_database_and_may_be_run_again(typed: Type, home: Path) -> None:
    for _ in range(2):
        assert "this version's form" in words(typed("migrate").stdout)
    assert (home / "bulkhead.db").is_file()


def test_a_range_that_is_up_prints_one_line_and_ends_with_its_input(tmp_path: Path) -> None:
    with subprocess.Popen(
        **child("range", "up", "--json", home=tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdin is not None and running.stdout is not None
        info = json.loads(running.stdout.readline())
        running.stdin.close()
        assert running.wait(20) == 0
    assert {"aws", "github", "control", "oidc_issuer", "pid", "cast"} <= set(info)


# whole drills --------------------------------------------------------------------------------------------------------


def test_a_drill_is_told_ends_well_and_can_be_looked_at_afterwards(typed: Type, home: Path, tmp_path: Path) -> None:
    ran = subprocess.run(**child("drill", "run", DRILL, home=home), capture_output=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    text = words(ran.stdout)
    order = [
        "The leak", "The abuse", "the leaked key: WORKS", "The report", "Containment", "PROVEN",
        "CLOSED", "The attacker tries again", "the leaked key: refused", "The ledger", "The timeline",
        "to the first cut", "Where it is", "Contained: every row closed on proof",
    ]  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "approved by alice (simulated)" in text
    assert max(len(line) for line in ran.stdout.splitlines() if " incident " not in line and "/" not in line) <= 100
    assert "\x1b" not in ran.stdout, "colour is for terminals"
    commands = [
        line.split(" incident ", 1)[1].split() for line in ran.stdout.splitlines() if " incident verify" in line
    ]
    typed("incident", *commands[0])
    folder = Path(commands[0][-1])
    assert folder.parent == home / "drills"
    assert not (home / "bulkhead.db").exists(), "a drill leaves the installation alone"
    shown = typed("incident", "show", commands[0][1], "--home", str(folder), "--timeline").stdout
    assert "a drill, nothing of it is real" in words(shown)
    exported = json.loads(
        typed(
            "incident", "export", commands[0][1], "--home", str(folder), "--out", str(tmp_path / "x"), "--json"
        ).stdout
    )
    assert exported["wrong"] == []
    assert "holds a drill already" in typed("drill", "run", DRILL, "--home", str(folder), status=2).stderr


@pytest.mark.slow
def test_a_drill_for_a_program_on_a_range_that_runs_already(home: Path, tmp_path: Path, range_here: Range) -> None:
    file = tmp_path / "range.json"
    file.write_text(json.dumps(range_here.info) + "\n")
    folder = tmp_path / "drill"
    where = ("--range", str(file), "--home", str(folder), "--json")
    ran = subprocess.run(**child("drill", "run", DRILL, *where, home=home), capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["contained"] is True
    assert {"ledger", "timeline", "time_to_first_cut_s", "time_to_all_dead_s", "attacker"} <= set(found)
    assert all(row["state"] == "closed" and row["proof"] in ("refused", "state") for row in found["ledger"])
    assert all(not t["refused"] for t in found["attacker"]["before"])
    assert all(t["refused"] for t in found["attacker"]["after"])
    changes = sum(r["mutating"] for r in range_here.get("/requests"))

    again = subprocess.run(
        **child("drill", "run", DRILL, "--resume", *where, home=home), capture_output=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["incident"] == found["incident"]
    assert sum(r["mutating"] for r in range_here.get("/requests")) == changes, "what was done is not done again"

    other = child("drill", "run", DRILL, "--range", str(file), home=home)
    used = subprocess.run(**other, capture_output=True, check=False)
    assert used.returncode == 2
    assert "a drill has used this range already" in used.stderr


@pytest.mark.slow
def test_a_playbook_is_proven_by_its_drill_and_that_stays_on_record(typed: Type) -> None:
    proven = json.loads(typed("playbook", "check", "--drill", "--json").stdout)
    assert {"playbook": "aws-access-key", "drill": DRILL, "contained": True, "why_not": []} in proven["drills"]
    without = {drill["playbook"] for drill in proven["drills"] if not drill["drill"]}
    assert {drill["playbook"] for drill in proven["drills"] if not drill["contained"]} == without != set()
    assert json.loads(typed("playbook", "list", "--json").stdout)[0]["drilled"].startswith(DRILL)
    found = json.loads(typed("doctor", "--json").stdout)["findings"]
    assert next(one for one in found if one["name"] == "Playbook aws-access-key")["state"] == "ok"


@pytest.mark.slow
def test_a_report_is_worked_by_the_worker_with_decisions_from_the_command_line(
    typed: Type, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with range_up() as running:
        me = running.info["cast"]["aws"]["bulkhead-responder"]
        settings = {
            "BULKHEAD_RESPONDERS": "ann,bo", "BULKHEAD_MODE": "ask", "BULKHEAD_GITHUB_API": running.info["github"],
            "BULKHEAD_GITHUB_TOKEN": running.info["cast"]["github"]["bulkhead-bot"],
            "AWS_ENDPOINT_URL": running.info["aws"],
            "AWS_ACCESS_KEY_ID": me["key_id"], "AWS_SECRET_ACCESS_KEY": me["secret"],
        }  # fmt: skip
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        leak = running.post("/drill/leak")
        # The leak has moved the range's clock; the worker goes by the machine's, and a cut-off is a time.
        running.post("/clock", {"advance_s": -running.get("/clock")["offset_s"]})
        running.post("/drill/abuse")
        typed("report", leak["run_url"], "--by", "jonas")
        with subprocess.Popen(
            **child("serve", home=home, **settings), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as worker:
            status = _agree_to_all(typed, time.monotonic() + 100)
            worker.send_signal(signal.SIGTERM)
            log, _ = worker.communicate(timeout=20)
        assert status == "closed", log
        assert worker.returncode == 0
        assert "PROVEN" in log
        tries = running.post("/drill/tries")
        assert [one["name"] for one in tries if not one["refused"]] == []
        assert running.post("/drill/collateral")["ok"]
    for value in (me["secret"], settings["BULKHEAD_GITHUB_TOKEN"]):
        assert value not in log


def _agree_to_all(typed: Type, deadline: float) -> str:
    """Ann, then Bo, agree to whatever is asked, until the incident is over or the deadline has passed."""
    while time.monotonic() < deadline:
        listed = json.loads(typed("incident", "list", "--all", "--json").stdout)["incidents"]
        if listed and listed[0]["status"] != "open":
            return str(listed[0]["status"])
        for one in listed:
            for ask in json.loads(typed("incident", "show", one["id"], "--json").stdout)["asks"]:
                verb, text = ("answer", ["it was step 3"]) if ask["purpose"] == "answer" else ("approve", [])
                for who in ("ann", "bo")[: ask["needs"]]:
                    CliRunner().invoke(app, ["incident", verb, one["id"], ask["step"], *text, "--by", who])
        time.sleep(0.3)
    return "open"
