"""GitHub's own published examples of its webhooks, fetched from npm when the test runs: each is taken or declined.

They are of api.github.com and of five releases of GitHub Enterprise Server, so fields are missing and fields are odd.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot import web
from bot.intake.github import FACTS
from bot.web.hooks import Hooks
from tests.intake.office import AT, Office, office, proof
from tests.test_web import Serving

__all__ = ["office"]  # a fixture
PACKAGE = "@octokit/webhooks-examples@7.6.1"
pytestmark = pytest.mark.slow


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'b.db'}"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, dict[str, Any]]]:
    """(release, event, payload) of every example."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("examples")
    if npm is None:
        pytest.skip("npm is not installed, and GitHub's examples come from its registry")
    done = subprocess.run([npm, "pack", PACKAGE], cwd=folder, capture_output=True, text=True, timeout=90, check=False)
    archive = next(iter(folder.glob("*.tgz")), None)
    if archive is None:
        pytest.skip(f"npm's registry gave no {PACKAGE}: {done.stderr.strip()[-200:]}")
    with tarfile.open(archive) as found:
        found.extractall(folder, filter="data")
    rows = []
    for index in sorted((folder / "package").glob("*/index.json")):
        for one in json.loads(index.read_text()):
            rows += [(index.parent.name, one["name"], payload) for payload in one["examples"]]
    return rows


@pytest.fixture
def client(office: Office) -> Iterator[httpx.Client]:
    pages = web.application(office.store, hooks=Hooks(office.door))
    with Serving(pages) as url, httpx.Client(base_url=url, trust_env=False) as found:
        yield found


def test_each_is_taken_or_declined_with_a_reason(
    office: Office, client: httpx.Client, published: list[tuple[str, str, dict[str, Any]]]
) -> None:
    ends: Counter[str] = Counter()
    taken: set[str] = set()
    for release, event, payload in published:
        body = json.dumps(payload).encode()
        headers = {**proof("github", body, AT, event), "content-type": "application/json"}
        answer = client.post("/hooks/github", content=body, headers=headers)
        said = answer.json()["status"]
        assert answer.status_code == 202, (release, event, said)
        assert said in ("landed", "was here already") or said.removeprefix("declined: ").strip(), (release, event)
        ends[said.partition(":")[0]] += 1
        if said == "landed":
            taken.add(event)
    assert len(published) > 200
    assert ends["landed"] > 50
    assert ends["declined"] > 50
    wanted = {"secret_scanning_alert", *FACTS} & {event for _, event, _ in published}
    assert wanted <= taken, "of every event that we keep at least one example is kept"
    office.inbox.work_all(office.store.inbox("landed"))
    assert not [row for row in office.store.inbox() if row["state"] == "landed"], "and all of them can be worked"
