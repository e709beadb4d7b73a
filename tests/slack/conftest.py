"""One Slack for the tests of a process; each test gets a new workspace in it, with our room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slack.workspace import Workspace, moved_in
from tests.slack_range import Slack, slack_served


@pytest.fixture(scope="session")
def slack_server() -> Iterator[Slack]:
    with slack_served() as slack:
        yield slack


@pytest.fixture
def slack(slack_server: Slack) -> Slack:
    """A workspace as it was on the first day."""
    slack_server.range.reset()
    slack_server.switchboard.clear_faults()
    return slack_server


@pytest.fixture
def work(slack: Slack, tmp_path: Path) -> Iterator[Workspace]:
    """The same, with Bulkhead's room in it."""
    with moved_in(slack, tmp_path / "home") as made:
        yield made
