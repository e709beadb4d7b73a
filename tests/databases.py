"""The two databases that Bulkhead runs on, for tests: ``database`` gives each test the URL of an empty one of each."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.postgres import server

Make = Callable[[], str]


def of_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all processes of this session share, and no other session does."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of this session's server, with {} for the database's name."""
    with server(of_session(tmp_path_factory) / "postgres") as url:
        yield url


@pytest.fixture
def new_postgres(postgres: str) -> Iterator[Make]:
    """Makes databases that have no tables at all; they are gone after the test."""
    made: list[str] = []

    def make() -> str:
        made.append(f"b_{uuid.uuid4().hex[:12]}")
        _admin(postgres, f"CREATE DATABASE {made[-1]}")
        return postgres.format(made[-1])

    yield make
    for name in made:
        _admin(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'b.db'}"
    make: Make = request.getfixturevalue("new_postgres")
    return make()


@pytest.fixture
def another(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a second empty database of the same kind."""
    if database.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'another.db'}"
    make: Make = request.getfixturevalue("new_postgres")
    return make()


def _admin(postgres: str, command: str) -> None:
    engine = sa.create_engine(postgres.format("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(command))
