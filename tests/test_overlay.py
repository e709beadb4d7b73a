"""A team's own playbooks, drills and questions beside the shipped ones, and all of it from an installed wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bot.app import SHIPPED, opened
from bot.errors import InputError
from bot.settings import Settings
from tests.cli.test_decisions import Type, home, typed

__all__ = ["home", "typed"]
ROOT = Path(__file__).parent.parent
BOOK, DRILL, QUESTION = "crates-token", "crates-token-in-public-log", "our-first-call"
OURS = "our-crates-drill"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with one of each: a playbook that replaces a shipped one, a drill that proves it, a question."""
    folder = tmp_path / "own"
    for name in ("drills", "quiz"):
        (folder / name).mkdir(parents=True)
    book = (SHIPPED / "containment" / f"{BOOK}.yaml").read_text()
    (folder / f"{BOOK}.yaml").write_text(book.replace(f"drill: {DRILL}", f"drill: {OURS}") + "# ours\n")
    drill = (SHIPPED / "drills" / f"{DRILL}.yaml").read_text()
    (folder / "drills" / f"{OURS}.yaml").write_text(drill.replace(f"id: {DRILL}", f"id: {OURS}\nscenario: {DRILL}"))
    quiz = (SHIPPED / "quiz" / "proof.yaml").read_text()
    (folder / "quiz" / "ours.yaml").write_text(quiz.replace("id: rotation-closes", f"id: {QUESTION}"))
    return folder


def test_a_teams_own_stand_beside_the_shipped_ones_and_replace_those_of_the_same_id(
    own: Path, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = {one["id"] for one in json.loads(typed("drill", "list", "--json").stdout)}
    monkeypatch.setenv("BULKHEAD_PLAYBOOKS", str(own))
    assert {one["id"] for one in json.loads(typed("drill", "list", "--json").stdout)} == shipped | {OURS}
    books = {one["id"]: one for one in json.loads(typed("playbook", "list", "--json").stdout)}
    assert (books[BOOK]["source"], books[BOOK]["drill"]) == (str(own / f"{BOOK}.yaml"), OURS)
    assert books["npm-token"]["source"].startswith(str(SHIPPED))
    typed("playbook", "check", str(own / f"{BOOK}.yaml"))


def test_the_bot_asks_the_teams_questions_and_offers_its_drills(own: Path, tmp_path: Path) -> None:
    with opened(Settings(home=tmp_path / "home", playbooks=own), sites={}) as bulkhead:
        assert OURS in bulkhead.drills
        assert QUESTION in bulkhead.quiz.bank.questions
    with opened(Settings(home=tmp_path / "home"), sites={}) as bulkhead:
        assert QUESTION not in bulkhead.quiz.bank.questions


def test_a_folder_that_is_not_there_is_said_and_one_without_drills_is_fine(own: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="BULKHEAD_PLAYBOOKS names"), opened(
        Settings(home=tmp_path / "home", playbooks=tmp_path / "nowhere"), sites={}
    ):
        pass
    shutil.rmtree(own / "drills")
    shutil.rmtree(own / "quiz")
    (own / f"{BOOK}.yaml").unlink()
    with opened(Settings(home=tmp_path / "home", playbooks=own), sites={}) as bulkhead:
        assert DRILL in bulkhead.drills


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_runs_a_drill_far_from_the_checkout(own: Path, tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    ours = ("AWS_", "BULKHEAD_", "GITHUB_", "PYTHON", "VIRTUAL_")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(ours)}

    def run(*args: str | Path, **more: str) -> str:
        command = list(map(str, args))
        done = subprocess.run(
            command, env=plain | more, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    run(uv, "build", "--wheel", "--quiet", "--out-dir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    which = ("--frozen", "--no-dev", "--extra", "range", "--no-emit-project", "--quiet", "--project", ROOT)
    pins = run(uv, "export", *which)
    (tmp_path / "pins.txt").write_text(pins)
    run(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    there = {"VIRTUAL_ENV": str(tmp_path / "venv")}
    run(uv, "pip", "install", "--quiet", "-r", tmp_path / "pins.txt", **there)
    run(uv, "pip", "install", "--quiet", "--no-deps", wheel, **there)
    bulkhead = tmp_path / "venv" / "bin" / "bulkhead"
    where = {"BULKHEAD_HOME": str(tmp_path / "home"), "BULKHEAD_PLAYBOOKS": str(own)}
    result = json.loads(run(bulkhead, "drill", "run", OURS, "--json", **where))
    assert (result["contained"], result["why_not"]) == (True, [])
    code = "import bot, playbooks; print(bot.__file__, playbooks.__file__)"
    assert str(ROOT) not in run(tmp_path / "venv" / "bin" / "python", "-c", code)
