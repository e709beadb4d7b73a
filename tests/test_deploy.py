"""docs/deploy.md, typed by a stranger: every command of it in a fresh checkout. And what the container promises."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.postgres import WHEEL

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "deploy.md").read_text()
SCRIPT = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
CONTAINER = (ROOT / "docs" / "deploy" / "Containerfile").read_text()


def checkout(target: Path) -> None:
    """What git knows of this folder, elsewhere."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_stranger_follows_the_page_to_an_incident_that_survives_a_worker(postgres: str, tmp_path: Path) -> None:
    here = tmp_path / "bulkhead"
    checkout(here)
    url = sa.make_url(postgres.format("postgres"))
    ours = ("AWS_", "BULKHEAD_", "GITHUB_", "PG", "PYTHON", "VIRTUAL_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    env |= {"PATH": f"{WHEEL / 'bin'}:{env['PATH']}", "PGHOST": str(url.query["host"]), "PGUSER": str(url.username)}
    env |= {"AWS_EC2_METADATA_DISABLED": "true"}
    # What somebody types goes to a shell that knows aliases; here it also stops at the first command that fails.
    script = f"set -eu\nshopt -s expand_aliases\n{SCRIPT}"
    with subprocess.Popen(
        ["bash", "-c", script], cwd=here, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as typed:  # fmt: skip
        try:
            said, _ = typed.communicate(timeout=500)
        finally:
            if typed.poll() is None:
                os.killpg(typed.pid, signal.SIGKILL)
            subprocess.run(["dropdb", "--force", "bulkhead"], env=env, check=False, capture_output=True, timeout=60)
    assert typed.returncode == 0, said[-4000:]
    (tries,) = [json.loads(line) for line in said.splitlines() if line.startswith("[{")]
    assert tries
    assert all(one["refused"] for one in tries), tries
    assert re.search(r"holds: \d+ events follow from one another", said)
    assert "PROVEN" in (here / "run" / "worker-2.log").read_text() + (here / "run" / "worker-1.log").read_text()


def test_the_page_has_no_command_that_the_test_does_not_run() -> None:
    prose = re.sub(r"^```sh\n.*?^```$", "", PAGE, flags=re.DOTALL | re.MULTILINE)
    other = re.findall(r"^    \S.*$", prose, re.MULTILINE)
    assert [line.split()[:3] for line in other] == [["sudo", "apt-get", "install"]]


def test_the_container_runs_as_a_plain_user_over_one_writable_folder() -> None:
    last = CONTAINER.split("\nFROM ")[-1]
    assert re.search(r"^USER \d{4,}$", last, re.MULTILINE), "a number: Kubernetes can tell that it is not root"
    assert re.findall(r"^VOLUME (\S+)$", last, re.MULTILINE) == ["/data"]
    assert "BULKHEAD_HOME=/data" in last
    assert "--require-hashes" in CONTAINER
    uv = re.search(r'"uv==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert uv is not None
    assert f"uv=={uv[1]}" in CONTAINER


@pytest.mark.slow
def test_what_the_container_starts_writes_nowhere_but_into_its_volume(tmp_path: Path) -> None:
    """The image's entry point under its environment, with all of this machine read-only but /data and /tmp."""
    said = dict(re.findall(r"(\w+)=(\S+)", CONTAINER[CONTAINER.index("ENV PATH") : CONTAINER.index("USER ")]))
    data, tmp = tmp_path / "data", tmp_path / "tmp"
    moved = {name: re.sub("^/data", str(data), re.sub("^/tmp", str(tmp), value)) for name, value in said.items()}
    env = moved | {"PATH": os.environ["PATH"], "TMPDIR": str(tmp), "BULKHEAD_WEB_PORT": "0"}
    binds = "".join(f"mkdir {folder} && mount --bind {folder} {folder} && " for folder in (data, tmp))
    shut = [
        "unshare", "-rm", "sh", "-c", f'mount --make-rprivate / && {binds} mount -o remount,ro,bind / && exec "$@"', "-"
    ]  # fmt: skip
    if subprocess.run([*shut, "true"], check=False, capture_output=True, timeout=60).returncode:
        pytest.skip("this machine lets nobody make a mount namespace")
    data.rmdir()
    tmp.rmdir()
    inside = f"""
cd /
! touch {ROOT}/written 2>/dev/null || exit 9
{sys.executable} -m bot serve & serving=$!
until [ -e {data}/vault.key ]; do sleep 0.2; done
{sys.executable} -m bot report {"AK" + "IA"}QRSTUVWXYZ234567 --by ann || exit 8
sleep 3
kill $serving
wait $serving
"""
    done = subprocess.run(
        [*shut, "bash", "-c", inside], env=env | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "has landed" in done.stdout
    for bad in ("Traceback", "Read-only", "Permission denied"):
        assert bad not in done.stdout, done.stdout
    assert {"bulkhead.db", "vault.key", "kingfisher"} <= {path.name for path in data.iterdir()}
