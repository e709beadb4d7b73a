"""The commands that run as processes: what they refuse at start on each database, and a whole drill on PostgreSQL."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.databases import Make

Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def installation(new_postgres: Make, tmp_path: Path) -> dict[str, str]:
    """What the environment of every process on PostgreSQL says."""
    return {
        "BULKHEAD_DATABASE_URL": new_postgres(), "BULKHEAD_EVIDENCE": str(tmp_path / "shared"),
        "BULKHEAD_VAULT_KEY": base64.b64encode(bytes(range(32))).decode(),
    }  # fmt: skip


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    """Type a command in a process of its own, with nothing of this machine's settings."""

    def run(*args: str, **settings: str) -> subprocess.CompletedProcess[str]:
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "BULKHEAD_", "GITHUB_"))}
        here = {"BULKHEAD_HOME": str(tmp_path / "home"), "AWS_EC2_METADATA_DISABLED": "true"}
        command = [sys.executable, "-m", "bot", *args]
        return subprocess.run(command, env=plain | here | settings, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("process", ["worker", "clock", "web"])
def test_split_processes_are_refused_on_sqlite(typed: Typed, process: str) -> None:
    done = typed(process)
    assert done.returncode == 2
    assert "SQLite, which serves one process: run `bulkhead serve`" in done.stderr


def test_what_postgresql_needs_is_said_at_once_before_anything_is_done(typed: Typed, installation: dict[str, str]) -> None:
    url = installation["BULKHEAD_DATABASE_URL"]
    done = typed("migrate", BULKHEAD_DATABASE_URL=url)
    assert done.returncode == 2
    assert "BULKHEAD_VAULT_KEY" in done.stderr
    assert "BULKHEAD_EVIDENCE" in done.stderr
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    assert sa.inspect(engine).get_table_names() == []


def test_only_a_release_migrates_postgresql_and_another_vault_key_is_refused(
    typed: Typed, installation: dict[str, str]
) -> None:
    early = typed("incident", "list", **installation)
    assert early.returncode == 1
    assert "run `bulkhead migrate` first" in early.stderr
    assert typed("migrate", **installation).returncode == 0
    assert typed("migrate", **installation).returncode == 0
    assert typed("incident", "list", **installation).returncode == 0
    other = installation | {"BULKHEAD_VAULT_KEY": base64.b64encode(bytes(32)).decode()}
    wrong = typed("incident", "list", **other)
    assert wrong.returncode == 1
    assert "not the one this database was sealed with" in wrong.stderr


def test_a_database_that_does_not_answer_is_one_sentence(typed: Typed, installation: dict[str, str], tmp_path: Path) -> None:
    away = installation | {"BULKHEAD_DATABASE_URL": f"postgresql+psycopg://u:made-up-word@/b?host={tmp_path}"}
    done = typed("incident", "list", **away)
    assert done.returncode == 1
    assert done.stderr.startswith("bulkhead: the database does not answer")
    assert "made-up-word" not in done.stderr + done.stdout


@pytest.mark.slow
def test_the_drill_is_contained_on_postgresql_in_a_schema_of_its_own(typed: Typed, installation: dict[str, str]) -> None:
    url = installation["BULKHEAD_DATABASE_URL"]
    done = typed("drill", "run", "aws-key-in-public-log", "--json", BULKHEAD_DATABASE_URL=url)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert (result["contained"], result["why_not"]) == (True, [])
    assert not (Path(result["folder"]) / "bulkhead.db").exists()
    verified = typed("incident", "verify", result["incident"], "--home", result["folder"], "--json", BULKHEAD_DATABASE_URL=url)
    assert json.loads(verified.stdout)["holds"] is True
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as c:
        found = c.execute(sa.text("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename = 'timeline'")).scalars().all()
    assert [name[:6] for name in found] == ["drill_"], "the installation's own tables are not touched"
