"""Set-up: the targets, the lock, and what .ci/setup says and leaves alone. Nothing here reaches the network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARSER = "bot/oidc/parser"
LOCK = f"{PARSER}/package-lock.json"
TARGETS = {
    "drill": ".venv/bin/bulkhead drill run aws-key-in-public-log",
    "test": '-m pytest -n 4 --dist worksteal -m "not slow"',
    "test-all": "-m pytest -n 4",
    "check": ".venv/bin/mypy",
    "serve": ".venv/bin/bulkhead serve",
}


def run(*command: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"], "HOME": str(cwd)} | env
    return subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What set-up reads, in a folder with a space in its name, with an environment that is up to date."""
    folder = tmp_path / "a check out"
    (folder / ".ci").mkdir(parents=True)
    (folder / PARSER).mkdir(parents=True)
    for name in ("pyproject.toml", "uv.lock", "Makefile", ".ci/setup", ".ci/run", ".ci/parser", LOCK):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    sums = run("cksum", "pyproject.toml", "uv.lock", ".ci/setup", LOCK, cwd=folder).stdout.strip()
    (folder / ".venv" / "ready").write_text(f"{sums} {folder.resolve()}\n")
    return folder


@pytest.fixture
def no_python(tmp_path: Path) -> str:
    """A path with what the script needs, and a python3 that is too old."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "cksum", "cat", "dirname"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    old = tools / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.6.15 && exit 0\nexit 1\n')
    old.chmod(0o755)
    return str(tools)


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_sets_up_first_and_then_does_its_work(target: str, tmp_path: Path) -> None:
    done = run("make", "-C", str(ROOT), "-n", target, cwd=tmp_path, MAKEFLAGS="")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("make")]
    assert lines[0] == "sh .ci/setup"
    assert TARGETS[target] in "\n".join(lines[1:])


def test_every_target_says_what_it_is_for() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):", text, re.MULTILINE)
    assert set(targets) == set(re.findall(r"^([a-z-]+):.*  ## \S", text, re.MULTILINE))
    assert set(targets) >= set(TARGETS)


def test_the_lock_is_in_step_with_the_project(tmp_path: Path) -> None:
    uv = Path(sys.prefix) / "bin" / "uv"
    done = run(str(uv), "lock", "--check", "--offline", cwd=ROOT, UV_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_set_up_does_nothing_when_nothing_changed(checkout: Path, no_python: str) -> None:
    done = run("sh", ".ci/setup", cwd=checkout, PATH=no_python)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("changed", ["pyproject.toml", "uv.lock", ".ci/setup", LOCK])
def test_set_up_is_done_again_when_something_changed(checkout: Path, no_python: str, changed: str) -> None:
    with (checkout / changed).open("a") as file:
        file.write("\n# changed\n")
    done = run("sh", ".ci/setup", cwd=checkout, PATH=no_python)
    assert done.returncode == 1
    assert done.stderr == "set-up: Python 3.11 or newer is needed as python3; this machine has Python 3.6.15\n"


def test_a_folder_that_was_moved_is_set_up_again(checkout: Path, no_python: str) -> None:
    moved = checkout.rename(checkout.with_name("elsewhere"))
    assert run("sh", ".ci/setup", cwd=moved, PATH=no_python).returncode == 1


@pytest.mark.parametrize(
    ("node", "npm", "said", "left"),
    [
        pytest.param(None, None, "is left out: it wants Node 20.6 or newer", [], id="no-node"),
        pytest.param("exit 1", "exit 0", "is left out: it wants Node 20.6 or newer", [], id="an-old-node"),
        pytest.param("exit 0", None, "is left out: it wants Node 20.6 or newer", [], id="no-npm"),
        pytest.param("exit 0", "mkdir node_modules; exit 1", "it could not be installed and is left out", [],
                     id="no-registry"),
        pytest.param("exit 0", "mkdir node_modules", "5/5 GitHub's parser of workflows, from npm", ["node_modules"],
                     id="there"),
    ],
)  # fmt: skip
def test_githubs_parser_is_installed_where_node_is_and_never_missed(
    checkout: Path, no_python: str, node: str | None, npm: str | None, said: str, left: list[str]
) -> None:
    tools = Path(no_python)
    for name in ("mkdir", "rm"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    for name, text in (("node", node), ("npm", npm)):
        if text is not None:
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)
    done = run("sh", ".ci/parser", cwd=checkout, PATH=no_python)
    assert (done.returncode, said in done.stderr) == (0, True), done.stderr
    assert [each.name for each in (checkout / PARSER).iterdir() if each.is_dir()] == left


# The fake make: ``fails`` is what of "test", "slow", "again" and "crash" does not pass.
@pytest.mark.parametrize(
    ("already", "fails", "ran", "passes"),
    [
        ("0", "", "test slow crash", True), ("3000", "", "test", True), ("0", "test", "test", False),
        ("0", "slow", "test slow again crash", True), ("0", "slow again", "test slow again", False),
        ("0", "crash", "test slow crash", True),
    ],
)  # fmt: skip
def test_continuous_integration_runs_the_slow_tests_when_there_is_time_and_fails_for_what_fails_twice(
    checkout: Path, tmp_path: Path, already: str, fails: str, ran: str, passes: bool
) -> None:
    tools = tmp_path / "fake"
    tools.mkdir()
    (tools / "make").write_text(
        f"""#!/bin/sh
case "$*" in
*last-failed*) what=again ;; *--ignore=tests/test_crash*) what=slow ;; *test_crash*) what=crash ;; *) what=test ;;
esac
echo $what >>"{tmp_path}/ran"
case " {fails} " in *" $what "*) exit 2 ;; esac
"""
    )
    (tools / "make").chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    done = run("bash", ".ci/run", cwd=checkout, PATH=path, SECONDS=already)  # bash goes on counting from SECONDS
    assert (done.returncode == 0) is passes, done.stderr
    assert (tmp_path / "ran").read_text().split() == ran.split()
    assert ("skipped make test-all" in done.stdout) == (already != "0")


def test_every_dependency_and_every_silenced_rule_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    blocks = re.findall(r"^(?:dependencies|range|ignore) = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for line in "".join(blocks).splitlines():
        assert line.lstrip().startswith("#") or re.search(r'",\s+# \S', line), line
