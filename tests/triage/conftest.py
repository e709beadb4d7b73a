"""The whole drill company on loopback, and a World that holds its AWS and its GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bot.clients import AwsClients, GitHubClient
from bot.evidence import EvidenceRoom
from bot.npm import NpmClient
from bot.sites import range_gcp, range_registries
from bot.store import Store
from bot.triage.identify import Recognizer
from bot.vault import Vault
from bot.world import World

if TYPE_CHECKING:
    from bot.range.server import Range

FERRY, LEDGER = "harbor-lights/ferry", "harbor-lights/ledger"
DEPLOY = ".github/workflows/deploy.yml"


@dataclass
class Company:
    """The range, the bot's World in it, and what the bot should find out by itself."""

    range: Range
    world: World
    vault: Vault
    recognizer: Recognizer
    key_id: str
    secret: str = field(repr=False)

    @property
    def state(self) -> Any:
        return self.range.github.state

    @property
    def account(self) -> Any:
        return self.range.aws.account

    @property
    def key(self) -> str:
        return f"aws-access-key:{self.key_id}"

    def as_nobody(self) -> World:
        """The same World, with identities that the providers know and allow nothing."""
        self.account.add_user("nobody", policy=None)
        key_id, secret = self.account.add_key("nobody")
        token = self.range.company.cast["github"]["quiet-otter"]
        aws = AwsClients(key_id=key_id, secret=secret, endpoint=self.range.aws_url)
        return replace(self.world, aws=aws, github=GitHubClient(token=token, base_url=self.range.github_url))

    def fault(self, server: str, route: str, status: int = 503) -> None:
        """From now on a provider answers a route with an error."""
        self.range.switchboard.add([{"server": server, "method": "*", "route": route, "status": status, "times": 0}])

    def commit(self, files: dict[str, str], *, repository: str = FERRY, by: str = "mara") -> str:
        """Commit; returns the commit's SHA."""
        return str(self.state.commit_files(repository, files, "Change", by, runs=False).sha)

    def run(self, workflow: str = DEPLOY, *, repository: str = FERRY, by: str = "mara") -> int:
        """Dispatch a workflow; returns the run's id."""
        repo = self.state.repos[repository]
        with self.state.lock:
            run = self.range.runner.dispatch(repo, repo.workflows[workflow], "main", self.state.accounts[by])
            self.range.runner.settle()
        return int(run.id)

    def finish(self, seconds: float = 3600) -> None:
        """Let whatever runs come to its end."""
        self.range.clock.advance(seconds)
        self.range.runner.settle()

    def url(self, run_id: int, repository: str = FERRY) -> str:
        return f"{self.range.github_url}/{repository}/actions/runs/{run_id}"

    def mutations(self) -> list[dict[str, Any]]:
        return [each for each in self.range.switchboard.requests() if each["mutating"]]


@pytest.fixture(scope="session")
def the_range() -> Iterator[Range]:
    """One for all tests; each resets it. Imported here: most tests need none."""
    from bot.range.server import Range

    range_ = Range()
    range_.start()
    yield range_
    range_.stop()


@pytest.fixture(scope="session")
def rules() -> Recognizer:
    """Kingfisher's rules, loaded once for all tests."""
    return Recognizer().warm()


@pytest.fixture
def company(the_range: Range, rules: Recognizer, tmp_path: Path) -> Iterator[Company]:
    cast = the_range.reset()
    store = Store(f"sqlite:///{tmp_path / 'test.db'}")
    store.migrate()
    vault, room = Vault(store, bytes(range(32))), EvidenceRoom(store, tmp_path / "evidence")
    mine = cast["aws"]["bulkhead-responder"]
    world = World(
        name="range", clock=the_range.clock, scrub=vault.scrubber,
        aws=AwsClients(key_id=mine["key_id"], secret=mine["secret"], endpoint=the_range.aws_url),
        github=GitHubClient(token=cast["github"]["bulkhead-bot"], base_url=the_range.github_url),
        secrets=vault.of("incident-1", the_range.clock), evidence=room.of("incident-1", the_range.clock),
        identities=(f"aws-access-key:{mine['key_id']}", "github-token:bulkhead-bot"),
        npm=NpmClient(
            token=cast["npm"]["bulkhead-bot"], base_url=the_range.npm.base_url, downloads_url=the_range.npm.base_url
        ),
        registries=range_registries(
            {name: server.base_url for name, server in the_range.registries.items()}, cast["registries"]
        ),
        gcp=range_gcp(the_range.gcp.base_url, cast["gcp"]["bulkhead-bot"], the_range.clock),
    )  # fmt: skip
    key_id, secret = the_range.company.deploy_key
    rules.fingerprinter = vault.fingerprinter
    yield Company(the_range, world, vault, rules, key_id, secret)
    store.close()
