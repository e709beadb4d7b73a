"""The commands that run as processes: what they refuse at start on each database, and a whole drill on PostgreSQL."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from bot.__main__ import app
from bot.app import PAGES_AT, SHIPPED, opened
from bot.settings import Settings
from bot.store import iso
from bot.store_drills import FAILED, ORDERED, OVER, RUNNING, Order, Orders
from bot.store_intake import waiting
from tests.databases import Make
from tests.incidents import ASKING, ID, land

Env = dict[str, str]
Typed = Callable[..., Result]


@pytest.fixture
def installation(new_postgres: Make, tmp_path: Path) -> Env:
    """What the environment of every process on PostgreSQL says."""
    return {
        "BULKHEAD_DATABASE_URL": new_postgres(), "BULKHEAD_EVIDENCE": str(tmp_path / "shared"),
        "BULKHEAD_VAULT_KEY": base64.b64encode(bytes(range(32))).decode(),
    }  # fmt: skip


def child(*args: str, home: Path, settings: Env) -> dict[str, Any]:
    """A command in a process of its own, with nothing of this machine's settings."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "BULKHEAD_", "GITHUB_"))}
    here = {"BULKHEAD_HOME": str(home / "home"), "BULKHEAD_WEB_PORT": "0", "AWS_EC2_METADATA_DISABLED": "true"}
    return {"args": [sys.executable, "-m", "bot", *args], "env": plain | here | settings, "text": True}


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Type a command."""
    for name in [n for n in os.environ if n.startswith(("AWS_", "BULKHEAD_", "GITHUB_"))]:
        monkeypatch.delenv(name)

    def run(*args: str, **settings: str) -> Result:
        here = {"BULKHEAD_HOME": str(tmp_path / "home"), "AWS_EC2_METADATA_DISABLED": "true"}
        return CliRunner().invoke(app, list(args), env=here | settings)

    return run


@pytest.mark.parametrize("process", ["worker", "clock", "web"])
def test_split_processes_are_refused_on_sqlite(typed: Typed, process: str) -> None:
    done = typed(process)
    assert done.exit_code == 2
    assert "SQLite, which serves one process: run `bulkhead serve`" in done.stderr


def test_what_postgresql_needs_is_said_at_once_and_nothing_is_done(typed: Typed, installation: Env) -> None:
    url = installation["BULKHEAD_DATABASE_URL"]
    done = typed("migrate", BULKHEAD_DATABASE_URL=url)
    assert done.exit_code == 2
    assert "BULKHEAD_VAULT_KEY" in done.stderr
    assert "BULKHEAD_EVIDENCE" in done.stderr
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    assert sa.inspect(engine).get_table_names() == []


def test_only_a_release_migrates_postgresql_and_another_vault_key_is_refused(typed: Typed, installation: Env) -> None:
    early = typed("incident", "list", **installation)
    assert early.exit_code == 1
    assert "run `bulkhead migrate` first" in early.stderr
    assert typed("migrate", **installation).exit_code == 0
    assert typed("migrate", **installation).exit_code == 0
    assert typed("incident", "list", **installation).exit_code == 0
    other = installation | {"BULKHEAD_VAULT_KEY": base64.b64encode(bytes(32)).decode()}
    wrong = typed("incident", "list", **other)
    assert wrong.exit_code == 1
    assert "not the one this database was sealed with" in wrong.stderr


def test_a_database_that_does_not_answer_is_one_sentence(typed: Typed, installation: Env, tmp_path: Path) -> None:
    away = installation | {"BULKHEAD_DATABASE_URL": f"postgresql+psycopg://u:made-up-word@/b?host={tmp_path}"}
    done = typed("incident", "list", **away)
    assert done.exit_code == 1
    assert done.stderr.startswith("bulkhead: the database does not answer")
    assert "made-up-word" not in done.stderr + done.stdout


def test_a_link_that_is_typed_opens_the_page_that_another_process_serves(
    typed: Typed, installation: Env, tmp_path: Path
) -> None:
    here = {name.removeprefix("BULKHEAD_").lower(): value for name, value in installation.items()}
    with opened(Settings(home=tmp_path / "home", **here), sites={}, release=True) as bulkhead:
        land(bulkhead, ASKING, "open", b"")
        assert typed("incident", "open", ID, **installation).exit_code == 2, "nobody serves the pages yet"
        web = child("web", home=tmp_path, settings=installation)
        with subprocess.Popen(**web, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            give_up = time.monotonic() + 60
            while not bulkhead.store.setting(PAGES_AT):
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < give_up
                time.sleep(0.05)
            link = json.loads(typed("incident", "open", ID, "--json", **installation).stdout)["link"]
            with httpx.Client(trust_env=False, follow_redirects=True) as browser:
                assert "Open the incident" in browser.get(link).text
                page = browser.post(link)
            assert (page.status_code, page.url.path) == (200, f"/incidents/{ID}")
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert link.rsplit("/", 1)[1] not in said


def test_a_worker_whose_sessions_are_ended_in_the_middle_of_a_query_goes_on(installation: Env, tmp_path: Path) -> None:
    here = {name.removeprefix("BULKHEAD_").lower(): value for name, value in installation.items()}
    with opened(Settings(home=tmp_path / "home", **here), sites={}, release=True) as bulkhead:
        worker = child("worker", home=tmp_path, settings=installation)

        def until(condition: Callable[[], object]) -> None:
            give_up = time.monotonic() + 60
            while not condition():
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < give_up
                time.sleep(0.05)

        def report(key: str) -> None:
            bulkhead.inbox.land(source="cli", world="real", by="jonas", text=key, at=datetime.now(UTC))
            until(lambda: not waiting(bulkhead.store, 10))

        with subprocess.Popen(**worker, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                report("AKIAMADEUPMADEUPMAD2")
                admin = sa.create_engine(installation["BULKHEAD_DATABASE_URL"], poolclass=sa.NullPool)
                with admin.begin() as c, admin.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
                    c.execute(sa.text("LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE"))
                    held = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    until(lambda: other.execute(sa.text(held)).scalars().all())
                report("AKIAMADEUPMADEUPMAD3")
                process.send_signal(signal.SIGTERM)
                said, _ = process.communicate(timeout=30)
            finally:
                process.kill()
    assert process.returncode == 0, said
    assert "goes on in a moment: the database went away" in said


@pytest.mark.slow
def test_a_drill_that_was_ordered_is_run_by_a_worker_and_ended_when_that_is_gone(
    installation: Env, tmp_path: Path
) -> None:
    here = {name.removeprefix("BULKHEAD_").lower(): value for name, value in installation.items()}
    with opened(Settings(home=tmp_path / "home", **here), sites={}, release=True) as bulkhead:
        orders = Orders(bulkhead.store)
        orders.order(Order(id="weekly-1", drill="github-pat-in-image", by="schedule:weekly", at=iso(datetime.now(UTC))))

        def worker(until: Callable[[Order], object]) -> None:
            with subprocess.Popen(**child("worker", home=tmp_path, settings=installation)) as process:
                give_up = time.monotonic() + 90
                while not until(orders.standing(ORDERED, RUNNING, OVER, FAILED)[0]):
                    assert process.poll() is None
                    assert time.monotonic() < give_up
                    time.sleep(0.1)
                process.kill()

        worker(lambda order: order.incident)
        worker(lambda order: order.state == FAILED)
        assert [row.status for row in bulkhead.store.incidents()] == ["aborted"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in (SHIPPED / "drills").glob("*.yaml")))
def test_the_drill_is_contained_on_postgresql_in_a_schema_of_its_own(
    typed: Typed, installation: Env, tmp_path: Path, name: str
) -> None:
    url = installation["BULKHEAD_DATABASE_URL"]
    # In a process of its own, as it is typed: four drills in this one would share what DBOS keeps for a process.
    drill = child("drill", "run", name, "--json", home=tmp_path, settings={"BULKHEAD_DATABASE_URL": url})
    done = subprocess.run(**drill, capture_output=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert (result["contained"], result["why_not"]) == (True, [])
    assert not (Path(result["folder"]) / "bulkhead.db").exists()
    there = ("--home", result["folder"], "--json")
    if result["incident"]:  # a false alarm opens none
        verified = typed("incident", "verify", result["incident"], *there, BULKHEAD_DATABASE_URL=url)
        assert json.loads(verified.stdout)["holds"] is True
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as c:
        query = "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename = 'timeline'"
        found = c.execute(sa.text(query)).scalars().all()
    assert [name[:6] for name in found] == ["drill_"], "the installation's own tables are not touched"
