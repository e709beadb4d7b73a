"""A small GitHub of the range's kind, served on loopback, and a World that holds it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from bot.clients import AwsClients, GitHubClient
from bot.evidence import EvidenceRoom
from bot.redact import Fingerprinter, Scrubber
from bot.store import Store
from bot.vault import Vault
from bot.world import World
from tests.databases import another, database, new_postgres, postgres

if TYPE_CHECKING:
    from bot.action import Action
    from bot.range.clock import RangeClock
    from bot.range.github import GitHubRange
    from bot.range.server import Range
    from bot.range.switchboard import Switchboard

__all__ = ["another", "database", "new_postgres", "postgres"]  # fixtures for all tests

ORG, FERRY = "harbor-lights", "harbor-lights/ferry"
DEPLOY = ".github/workflows/deploy.yml"


def made_up_key() -> tuple[str, str]:
    """An AWS key pair that looks real enough to be found and is plainly made up."""
    return "AK" + "IA" + "MADEUPKEY7EXAMPL", "made+up/secret" + "x7Q" * 8 + "ab"


DEPLOY_TEXT = """\
name: Deploy
on:
  workflow_dispatch:
jobs:
  deploy:
    runs-on: ubuntu-latest
    permissions:
      contents: read
    env:
      AWS_ACCESS_KEY_ID: ${{ secrets.AWS_ACCESS_KEY_ID }}
      AWS_SECRET_ACCESS_KEY: ${{ secrets.AWS_SECRET_ACCESS_KEY }}
    steps:
      - name: Debug
        run: env | base64
      - name: Smoke test
        run: sleep 1800
"""


@dataclass
class Ferry:
    """The organization harbor-lights with its repository ferry, and the bot's World. ``tokens`` by login."""

    github: GitHubRange
    switchboard: Switchboard
    clock: RangeClock
    url: str
    tokens: dict[str, str] = field(repr=False)
    world: World
    room: EvidenceRoom
    scrubber: Scrubber
    fingerprinter: Fingerprinter
    aws: tuple[str, str] = field(repr=False)

    @property
    def state(self) -> Any:
        return self.github.state

    def commit(self, files: dict[str, str], *, repository: str = FERRY, runs: bool = False) -> str:
        """Commit as mara; returns the commit's SHA."""
        return str(self.state.commit_files(repository, files, "Change", "mara", runs=runs).sha)

    def run(self, workflow: str = DEPLOY, *, repository: str = FERRY, ref: str = "main") -> int:
        """Dispatch a workflow as mara; returns the run's id."""
        state = self.state
        repo = state.repos[repository]
        with state.lock:
            run = self.github.runner.dispatch(repo, repo.workflows[workflow], ref, state.accounts["mara"])
            self.github.runner.settle()
        return int(run.id)

    def pass_time(self, seconds: float) -> None:
        """Move the range's clock, and let the runner see it."""
        self.clock.advance(seconds)
        self.github.runner.settle()

    def mutations(self) -> list[dict[str, Any]]:
        """The requests so far that can change something."""
        self.client("mara").get("/rate_limit")  # the server logs a request after its answer, and before the next one
        return [each for each in self.switchboard.requests() if each["mutating"]]

    def client(self, login: str) -> GitHubClient:
        return GitHubClient(token=self.tokens[login], base_url=self.url)


@pytest.fixture(scope="module")
def company() -> Iterator[Range]:
    """The whole range in this process, with its company."""
    from bot.range.server import Range

    range_ = Range()
    range_.start()
    yield range_
    range_.stop()


@pytest.fixture(scope="session")
def github_server() -> Iterator[tuple[GitHubRange, Switchboard, RangeClock, str]]:
    """One server for all tests; each resets it. Imported here: most tests need no range."""
    from bot.range.clock import RangeClock
    from bot.range.github import GitHubRange
    from bot.range.issuer import OidcIssuer
    from bot.range.runner import Runner
    from bot.range.switchboard import Switchboard

    clock = RangeClock()
    switchboard, issuer = Switchboard(clock), OidcIssuer(clock)
    github = GitHubRange(clock, switchboard, issuer, Runner(clock, issuer))
    server = uvicorn.Server(uvicorn.Config(github.asgi, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield github, switchboard, clock, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(5)


@pytest.fixture
def ferry(github_server: tuple[GitHubRange, Switchboard, RangeClock, str], tmp_path: Path) -> Iterator[Ferry]:
    """harbor-lights/ferry with its deploy workflow and secrets, a minute after they were set."""
    github, switchboard, clock, url = github_server
    clock.set(0.0)
    switchboard.reset()
    github.reset()
    tokens, aws = _seed(github.state)
    clock.advance(60)
    store = Store(f"sqlite:///{tmp_path / 'test.db'}")
    store.migrate()
    vault, room = Vault(store, bytes(range(32))), EvidenceRoom(store, tmp_path / "evidence")
    fingerprinter = vault.fingerprinter
    scrubber = Scrubber(fingerprinter)
    world = World(
        name="range", aws=AwsClients(endpoint="http://127.0.0.1:9"), clock=clock,
        github=GitHubClient(token=tokens["bulkhead-bot"], base_url=url),
        secrets=vault.of("incident-1", clock), evidence=room.of("incident-1", clock), scrub=scrubber.scrub,
        identities=("github-token:bulkhead-bot",),
    )  # fmt: skip
    yield Ferry(github, switchboard, clock, url, tokens, world, room, scrubber, fingerprinter, aws)
    store.close()


def _seed(state: Any) -> tuple[dict[str, str], tuple[str, str]]:
    people = ("mara", "jonas", "bulkhead-bot", "quiet-otter")
    for login in people:
        state.add_user(login)
    state.add_org(ORG)
    state.add_member(ORG, "mara")
    state.add_member(ORG, "bulkhead-bot", role="admin")
    state.add_repo(FERRY)
    for login in ("mara", "bulkhead-bot"):
        state.add_collaborator(FERRY, login, "admin")
    state.commit_files(FERRY, {"README.md": "# ferry\n", DEPLOY: DEPLOY_TEXT}, "Start", "mara", runs=False)
    aws = made_up_key()
    state.set_secret(FERRY, "AWS_ACCESS_KEY_ID", aws[0])
    state.set_secret(FERRY, "AWS_SECRET_ACCESS_KEY", aws[1])
    scopes = ("repo", "workflow", "admin:org")
    tokens = {login: state.add_token(login, scopes=() if login == "quiet-otter" else scopes) for login in people}
    return tokens, aws


@dataclass
class FastClock:
    """A clock on which each look takes a while: waits end after a few of them."""

    clock: RangeClock
    seconds: float = 6.0

    def now(self) -> Any:
        self.clock.advance(self.seconds)
        return self.clock.now()


def done(ferry: Ferry, action: Action[Any, Any, Any], given: Any) -> tuple[Any, Any, Any]:
    """Look, run and prove: Before, Outcome, Proof."""
    before = action.look(ferry.world, given)
    outcome = action.run(ferry.world, given, before)
    return before, outcome, action.prove(ferry.world, given, before, outcome)
